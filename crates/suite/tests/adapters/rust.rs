//! The `rust` adapter against a real Rust test program, built here with
//! `rustc --test`.

use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use seatrial_core::pipeline::{Adapter, Suite};
use seatrial_suite::run::{self, Options};
use seatrial_suite::{Exit, Program, select};

use crate::support::{Seen, drive, listed, suite};

fn program() -> Program {
    static DIRECTORY: OnceLock<tempfile::TempDir> = OnceLock::new();
    let directory = DIRECTORY.get_or_init(|| {
        let directory = tempfile::tempdir().unwrap();
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
        let output = Command::new("rustc")
            .args(["--edition", "2024", "--test", "-o"])
            .arg(directory.path().join("fixture.test"))
            .arg("fixture.rs")
            .current_dir(fixtures.join("rust"))
            .output()
            .expect("these tests need `rustc`");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        directory
    });
    let path = directory.path().join("fixture.test");
    Program { name: "fixture.test".to_owned(), path: path.to_str().unwrap().to_owned() }
}

fn ran(suite: &Suite, test: &str) -> Seen {
    let listing = listed(suite, program(), &[]).unwrap().only(vec![test.to_owned()]);
    let options = Options { parallel: 4, reports: "/nowhere".to_owned() };
    let invocations = run::run(suite, &listing, &options);
    assert_eq!(invocations.len(), 1);
    drive(&invocations[0], &[])
}

#[test]
fn lists_what_it_has_and_runs_each_test_in_a_process_of_its_own() {
    let rust = suite(Adapter::Rust);
    let listing = listed(&rust, program(), &[]).unwrap();
    assert_eq!(listing.tests.len(), 11, "{:?}", listing.tests);
    let selected = select::select("unit", vec![listing], &["passes$".to_owned()]).unwrap();
    assert_eq!(selected[0].tests, ["module::passes", "passes"]);
    let options = Options { parallel: 4, reports: "/nowhere".to_owned() };
    let invocations = run::run(&rust, &selected[0], &options);
    let argv: Vec<_> = invocations.iter().map(|i| i.argv[1..].join(" ")).collect();
    assert_eq!(argv, ["--exact --nocapture -- module::passes", "--exact --nocapture -- passes"]);
}

#[test]
fn how_tests_end() {
    let tests = [
        "passes",
        "module::passes",
        "fails",
        "ignored",
        "panics_as_it_should",
        "does_not_panic",
        "returns_an_error",
        "aborts",
        "exits_with_zero",
        "prints_a_result",
    ];
    let said = tests.map(|test| {
        let seen = ran(&suite(Adapter::Rust), test);
        format!("{} {}", seen.outcomes(), seen.message(test)).trim_end().to_owned()
    });
    insta::assert_snapshot!(said.join("\n"), @r"
    passes passed
    module::passes passed
    fails failed panicked at fixture.rs:13:5: assertion `left == right` failed: arithmetic
    ignored skipped
    panics_as_it_should passed
    does_not_panic failed exit code 101
    returns_an_error failed exit code 101
    aborts failed signal 6
    exits_with_zero failed its program ended normally without saying how it ended
    prints_a_result failed panicked at fixture.rs:58:5: failed all the same
    ");
}

#[test]
fn what_a_test_writes_is_its_own_and_is_there_when_it_dies() {
    let seen = ran(&suite(Adapter::Rust), "aborts");
    assert!(seen.output(Some("aborts")).contains("last words"), "{:?}", seen.events);
    let seen = ran(&suite(Adapter::Rust), "fails");
    assert!(seen.output(Some("fails")).contains("about to fail"), "{:?}", seen.events);
}

#[test]
fn a_test_that_never_ends_is_stopped() {
    let rust = Suite { test_timeout: Duration::from_millis(500), ..suite(Adapter::Rust) };
    let seen = ran(&rust, "never_ends");
    assert_eq!(seen.outcomes(), "never_ends timed-out");
    assert!(seen.output(Some("never_ends")).contains("waiting"), "{:?}", seen.events);
}

#[test]
fn a_test_that_is_no_longer_there_fails() {
    let seen = ran(&suite(Adapter::Rust), "passe");
    assert_eq!(seen.exit, Exit::Code(0));
    assert_eq!(seen.outcomes(), "passe failed");
}

#[test]
fn other_programs_are_refused() {
    let failure = |path: &str| {
        let program = Program { name: "other".to_owned(), path: path.to_owned() };
        let failure = listed(&suite(Adapter::Rust), program, &[]).unwrap_err();
        format!("{}: {}", failure.code, failure.message)
    };
    insta::assert_snapshot!(
        [failure("/bin/echo"), failure("/bin/cat")].join("\n"),
        @r"
        suite.not_a_test_program: `other` did not answer as a Rust test program does (exit code 0)
        suite.not_a_test_program: `other` did not answer as a Rust test program does (exit code 1)
        "
    );
}
