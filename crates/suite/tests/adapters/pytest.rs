//! The `pytest` adapter against pytest.

use std::path::Path;
use std::time::Duration;

use seatrial_core::pipeline::{Adapter, Suite};
use seatrial_suite::Program;

use crate::support::{Seen, listed, suite};

fn pytest(args: &[&str]) -> Suite {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/pytest");
    let root = format!("--rootdir={}", fixture.display());
    let mut all = vec![root, fixture.join("tests").display().to_string()];
    all.extend(args.iter().map(ToString::to_string));
    Suite { args: all, ..suite(Adapter::Pytest) }
}

fn program() -> Program {
    Program { name: "py".to_owned(), path: String::new() }
}

fn ran(suite: &Suite, tests: &[&str]) -> Seen {
    let tests: Vec<_> = tests.iter().map(|test| format!("tests/test_fixture.py::{test}")).collect();
    let tests: Vec<_> = tests.iter().map(String::as_str).collect();
    crate::support::ran(suite, program(), &tests, &[])
}

#[test]
fn lists_and_runs_by_node_id() {
    let listing = listed(&pytest(&[]), program(), &[]).unwrap();
    assert_eq!(listing.tests.len(), 14, "{:?}", listing.tests);
    let seen = ran(
        &pytest(&[]),
        &[
            "test_passes",
            "test_fails",
            "test_skipped",
            "test_expected_to_fail",
            "test_passes_unexpectedly",
            "test_setup",
            "test_teardown",
            "test_parameters[a b]",
            "test_parameters[\\x16]",
            "TestUnit::test_case",
            "test_forges_a_result",
        ],
    );
    insta::assert_snapshot!(seen.outcomes(), @r"
    tests/test_fixture.py::TestUnit::test_case passed
    tests/test_fixture.py::test_expected_to_fail skipped
    tests/test_fixture.py::test_fails failed
    tests/test_fixture.py::test_forges_a_result passed
    tests/test_fixture.py::test_parameters[\x16] passed
    tests/test_fixture.py::test_parameters[a b] failed
    tests/test_fixture.py::test_passes passed
    tests/test_fixture.py::test_passes_unexpectedly failed
    tests/test_fixture.py::test_setup failed
    tests/test_fixture.py::test_skipped skipped
    tests/test_fixture.py::test_teardown failed
    ");
    let test = |name: &str| format!("tests/test_fixture.py::{name}");
    insta::assert_snapshot!(
        ["test_fails", "test_skipped", "test_setup", "test_teardown"]
            .map(|name| seen.message(&test(name)))
            .join("\n"),
        @r"
        AssertionError: arithmetic
        assert (1 + 1) == 3
        Skipped: not today
        in its setup: RuntimeError: no setup
        in its teardown: RuntimeError: no teardown
        "
    );
    let output = seen.output(Some(&test("test_fails")));
    assert!(output.contains("about to fail") && output.contains("arithmetic"), "{output}");
}

#[test]
fn a_test_that_ends_the_program_failed_and_the_others_can_run_again() {
    let seen = ran(&pytest(&[]), &["test_passes", "test_dies", "test_hangs"]);
    insta::assert_snapshot!(seen.outcomes(), @r"
    tests/test_fixture.py::test_dies failed
    tests/test_fixture.py::test_passes passed
    tests/test_fixture.py::test_hangs (not run)
    ");
}

#[test]
fn a_test_that_hangs_is_stopped() {
    let suite = Suite { test_timeout: Duration::from_secs(1), ..pytest(&[]) };
    let seen = ran(&suite, &["test_passes", "test_hangs"]);
    insta::assert_snapshot!(seen.outcomes(), @r"
    tests/test_fixture.py::test_hangs timed-out
    tests/test_fixture.py::test_passes passed
    ");
}

#[test]
fn what_cannot_be_collected_is_told() {
    let bad = tempfile::tempdir().unwrap();
    std::fs::write(bad.path().join("test_bad.py"), "import nothing_of_this_name\n").unwrap();
    let args = vec![bad.path().display().to_string()];
    let suite = Suite { args, ..suite(Adapter::Pytest) };
    let failure = listed(&suite, program(), &[]).unwrap_err();
    insta::assert_snapshot!(format!("{}: {}", failure.code, failure.message), @r"suite.not_a_test_program: `py` did not answer as pytest does (exit code 2)");
    assert!(failure.detail.contains("nothing_of_this_name"), "{failure:?}");
    let empty = tempfile::tempdir().unwrap();
    let args = vec![empty.path().display().to_string()];
    let listing = listed(&Suite { args, ..suite }, program(), &[]).unwrap();
    assert_eq!(listing.tests, Vec::<String>::new());
}
