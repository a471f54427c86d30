//! The `go` adapter against a real Go test program, built here with `go`.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::support::{Seen, listed, program, suite};
use seatrial_core::pipeline::{Adapter, Suite};
use seatrial_protocol::test::TestOutcome;
use seatrial_suite::{Exit, Program, select};

fn ran(tests: &[&str]) -> Seen {
    crate::support::ran(&suite(Adapter::Go), program("go"), tests, &[])
}

fn ran_main(main: &str, tests: &[&str]) -> Seen {
    crate::support::ran(&suite(Adapter::Go), program("go"), tests, &[("MAIN", main)])
}

#[test]
fn lists_tests_examples_and_fuzz_targets_and_no_benchmarks() {
    let listing = listed(&suite(Adapter::Go), program("go"), &[]).unwrap();
    for test in ["TestPass", "TestÜmlaut", "Example", "FuzzSeeds"] {
        assert!(listing.tests.iter().any(|t| t == test), "{:?}", listing.tests);
    }
    assert!(!listing.tests.iter().any(|t| t.starts_with("Benchmark")));
    let selected = select::select("e2e", vec![listing], &["^TestParallel".to_owned()]).unwrap();
    assert_eq!(selected[0].tests, ["TestParallelSubtests", "TestParallelA", "TestParallelB"]);
}

#[test]
fn ordinary_results() {
    let seen = ran(&[
        "TestPass",
        "TestFail",
        "TestSkip",
        "TestÜmlaut",
        "TestSubtests",
        "TestParallelSubtests",
        "TestParallelA",
        "TestParallelB",
        "Example",
        "FuzzSeeds",
    ]);
    insta::assert_snapshot!(seen.outcomes(), @r"
    Example passed
    FuzzSeeds passed
    FuzzSeeds/seed#0 passed
    TestFail failed
    TestParallelA passed
    TestParallelB passed
    TestParallelSubtests failed
    TestParallelSubtests/part0 passed
    TestParallelSubtests/part1 passed
    TestParallelSubtests/part2 failed
    TestParallelSubtests/part3 passed
    TestPass passed
    TestSkip skipped
    TestSubtests failed
    TestSubtests/a/b failed
    TestSubtests/a/b/deep failed
    TestSubtests/ok passed
    TestSubtests/same passed
    TestSubtests/same#01 passed
    TestSubtests/skipped skipped
    TestSubtests/with_space_and_(1.00s) passed
    TestÜmlaut passed
    ");
    assert!(seen.output(Some("TestFail")).contains("got 1, want 2"));
    assert!(seen.output(Some("TestSubtests/a/b/deep")).contains("deep failure"));
    assert!(seen.output(Some("TestSkip")).contains("not today"));
    assert!(seen.output(Some("TestParallelSubtests/part2")).contains("part 2 fails"));
}

/// Go's own reader of the same bytes is the model.
#[test]
fn agrees_with_gos_own_reader() {
    let seen = ran(&[
        "TestPass",
        "TestFail",
        "TestSkip",
        "TestSubtests",
        "TestParallelSubtests",
        "TestParallelA",
        "TestParallelB",
        "TestOddOutput",
        "TestPrintsResults",
        "Example",
        "FuzzSeeds",
    ]);
    let mut reference = Command::new("go")
        .args(["tool", "test2json"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = reference.stdin.take().unwrap();
    let bytes = seen.bytes.clone();
    let writer = std::thread::spawn(move || stdin.write_all(&bytes));
    let output = reference.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    let mut expected = BTreeMap::new();
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        let (Some(test), Some(action)) = (event["Test"].as_str(), event["Action"].as_str()) else {
            continue;
        };
        let outcome = match action {
            "pass" => TestOutcome::Passed,
            "fail" => TestOutcome::Failed,
            "skip" => TestOutcome::Skipped,
            _ => continue,
        };
        expected.insert(test.to_owned(), outcome);
    }
    assert!(expected.len() > 15, "{expected:?}");
    let ours: BTreeMap<_, _> =
        expected.keys().filter_map(|test| Some((test.clone(), seen.outcome(test)?))).collect();
    assert_eq!(ours, expected);
    assert_eq!(seen.outcomes().lines().count(), expected.len());
}

#[test]
fn a_panic_fails_its_test_and_the_rest_has_not_run() {
    let seen = ran(&["TestPass", "TestPanic", "TestSlow"]);
    insta::assert_snapshot!(seen.outcomes(), @r"
    TestPanic failed
    TestPass passed
    TestSlow (not run)
    ");
    assert_eq!(seen.message("TestPanic"), "panic: boom");
    assert_eq!(seen.reason, "its program died in `TestPanic` before");
    assert!(seen.output(Some("TestPanic")).contains("goroutine "));

    let seen = ran(&["TestPass", "TestSubtestPanic", "TestSlow"]);
    insta::assert_snapshot!(seen.outcomes(), @r"
    TestPass passed
    TestSubtestPanic failed
    TestSubtestPanic/inner failed
    TestSlow (not run)
    ");
    assert_eq!(seen.message("TestSubtestPanic"), "panic: inner boom");
}

#[test]
fn a_panic_beside_another_test_is_not_the_others_fault() {
    let seen = ran(&["TestBystander", "TestCulprit"]);
    insta::assert_snapshot!(seen.outcomes(), @r"
    TestCulprit failed
    TestBystander (not run)
    ");
}

#[test]
fn a_program_that_ends_in_a_test_is_never_green() {
    for (test, message) in [
        ("TestGoroutinePanic", "its program ended while it ran (exit code 2)"),
        ("TestExit1", "its program ended while it ran (exit code 1)"),
        ("TestRawExit0", "its program ended while it ran (exit code 0)"),
        ("TestKilled", "its program ended while it ran (signal 9)"),
    ] {
        let seen = ran(&["TestPass", test, "TestSlow"]);
        assert_eq!(
            seen.outcomes(),
            if test < "TestPass" {
                format!("{test} failed\nTestPass passed\nTestSlow (not run)")
            } else {
                format!("TestPass passed\n{test} failed\nTestSlow (not run)")
            }
        );
        assert_eq!(seen.message(test), message);
        assert!(seen.reason.contains(test), "{}", seen.reason);
    }
    // Package testing turns this one into a panic, since we ask it to.
    let seen = ran(&["TestPass", "TestExit0", "TestSlow"]);
    insta::assert_snapshot!(seen.outcomes(), @r"
    TestExit0 failed
    TestPass passed
    TestSlow (not run)
    ");
    assert!(
        seen.message("TestExit0").contains("unexpected call to os.Exit(0)"),
        "{}",
        seen.message("TestExit0")
    );
}

#[test]
fn what_was_not_run_can_be_run_again() {
    let mut waiting = vec!["TestPanic", "TestExit1", "TestPass", "TestRawExit0", "TestPass2"];
    let mut failed = Vec::new();
    let mut rounds = 0;
    while !waiting.is_empty() {
        let seen = ran(&waiting);
        assert!(seen.not_run.len() < waiting.len(), "no progress: {:?}", seen.not_run);
        failed.extend(
            waiting.iter().filter(|t| seen.outcome(t) == Some(TestOutcome::Failed)).copied(),
        );
        waiting.retain(|test| seen.not_run.iter().any(|n| n == test));
        rounds += 1;
    }
    // In the order of the source, which is the order in which Go runs them.
    assert_eq!(
        (failed.as_slice(), rounds),
        (["TestPanic", "TestExit1", "TestRawExit0"].as_slice(), 3)
    );
}

#[test]
fn what_test_main_does_cannot_make_it_green() {
    let before = ran_main("exit-before", &["TestPass"]);
    assert_eq!(before.outcomes(), "TestPass (not run)\n! suite.program_died");
    let failure = before.failure.unwrap();
    assert_eq!(failure.message, "`go.test` ended before its first test (exit code 1)");
    assert_eq!(failure.detail, "cannot reach the cluster\n");

    assert_eq!(
        ran_main("never-runs", &["TestPass"]).outcomes(),
        "TestPass (not run)\n! suite.program_died"
    );
    assert_eq!(
        ran_main("fails-after", &["TestPass"]).outcomes(),
        "TestPass passed\n! report.contradiction"
    );
    assert_eq!(
        ran_main("drops-code", &["TestFail"]).outcomes(),
        "TestFail failed\n! report.contradiction"
    );
    // It says PASS in the right frame, and ran nothing.
    let prints = ran_main("prints-pass", &["TestPass"]);
    assert_eq!(prints.outcomes(), "TestPass failed\n! report.contradiction");
    assert!(prints.message("TestPass").contains("without running it"));
}

#[test]
fn time_out_of_a_test_by_the_program_itself() {
    let suite = Suite { test_timeout: Duration::from_millis(700), ..suite(Adapter::Go) };
    let seen = crate::support::ran(&suite, program("go"), &["TestHangs"], &[]);
    insta::assert_snapshot!(seen.outcomes(), @"TestHangs timed-out");
    assert_eq!(seen.exit, Exit::Code(2));
    assert!(seen.output(Some("TestHangs")).contains("panic: test timed out after 700ms"));

    let seen = crate::support::ran(&suite, program("go"), &["TestHangsInside"], &[]);
    insta::assert_snapshot!(seen.outcomes(), @r"
    TestHangsInside timed-out
    TestHangsInside/here timed-out
    ");
}

#[test]
fn time_out_of_one_test_among_several_by_the_worker() {
    // Together they have 9 s, so the program itself would wait far longer.
    let suite = Suite { test_timeout: Duration::from_millis(1500), ..suite(Adapter::Go) };
    let tests = ["TestPass", "TestHangs", "TestSlow", "TestPass2", "TestPass3", "TestSkip"];
    let seen = crate::support::ran(&suite, program("go"), &tests, &[]);
    insta::assert_snapshot!(seen.outcomes(), @r"
    TestHangs timed-out
    TestPass passed
    TestPass2 passed
    TestPass3 passed
    TestSkip skipped
    TestSlow (not run)
    ");
    assert_eq!(seen.exit, Exit::Stopped(TestOutcome::TimedOut));
    let output = seen.output(Some("TestHangs"));
    assert!(output.contains("SIGQUIT") && output.contains("fixture.TestHangs"), "{output}");
}

#[test]
fn printed_results_are_output() {
    let seen = ran(&["TestPrintsResults", "TestPass"]);
    insta::assert_snapshot!(seen.outcomes(), @r"
    TestPass passed
    TestPrintsResults failed
    ");
    insta::assert_snapshot!(seen.output(Some("TestPrintsResults")), @r"
    === RUN   TestPrintsResults
    --- PASS: TestPrintsResults (0.00s)
    PASS
    ok  	seatrial.example/fixture	0.001s
    ::set-env name=PATH::/evil
    ##vso[task.setvariable variable=x]y
    ");
}

#[test]
fn forged_frames_are_found_out() {
    assert_eq!(
        ran(&["TestForgesItself"]).outcomes(),
        "TestForgesItself passed\n! report.ambiguous"
    );
    let next = ran(&["TestForgesNext", "TestForgesVictim"]);
    assert_eq!(
        next.outcomes(),
        "TestForgesNext passed\nTestForgesVictim passed\n! report.ambiguous"
    );
    assert_eq!(ran(&["TestForgesExit"]).outcomes(), "TestForgesExit passed\n! suite.program_died");
    // Nobody selected it: these lines are only text.
    let unknown = ran(&["TestForgesUnknown"]);
    assert_eq!(unknown.outcomes(), "TestForgesUnknown passed");
    assert!(unknown.output(Some("TestForgesUnknown")).contains("--- FAIL: TestNobody"));
}

#[test]
fn odd_output_is_kept_as_it_is() {
    let seen = ran(&["TestOddOutput", "TestLongLine"]);
    assert_eq!(seen.outcomes(), "TestLongLine passed\nTestOddOutput passed");
    assert_eq!(
        seen.output(Some("TestOddOutput")),
        "a \x16 mark, \x16--- nothing\n\x16\x1b[31mred\x1b[0m \x1b]52;c;aGk=\x07\x1b[2J\n\
         \u{fffd}\u{fffd}\nto stderr\nno line feed at the end"
    );
    let long = seen.output(Some("TestLongLine"));
    assert!(long.ends_with("x [line cut, 2097153 more bytes]\n"), "{}", long.len());
}

#[test]
fn programs_that_are_no_test_programs() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(path("text"), "just text\n").unwrap();
    std::fs::write(
        path("other-machine"),
        b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\xb7\0\x01\0\0\0",
    )
    .unwrap();
    std::fs::write(path("script"), "#!/bin/sh\necho hello there\n").unwrap();
    std::fs::write(path("crash"), "#!/bin/sh\necho on fire >&2\nkill -SEGV $$\n").unwrap();
    std::fs::write(path("flags"), "package main\nimport (\"flag\"; \"fmt\")\nfunc main() { flag.Parse(); fmt.Println(\"served\") }\n").unwrap();
    std::fs::rename(path("flags"), path("main.go")).unwrap();
    let built = Command::new("go")
        .args(["build", "-o", &path("flags"), &path("main.go")])
        .env("GO111MODULE", "off")
        .status();
    assert!(built.unwrap().success());
    for name in ["other-machine", "script", "crash"] {
        let status = Command::new("chmod").args(["+x", &path(name)]).status();
        assert!(status.unwrap().success());
    }
    let mut said = String::new();
    for name in ["text", "missing", "other-machine", "script", "crash", "flags"] {
        for adapter in [Adapter::Go, Adapter::Ginkgo] {
            let program = Program { name: name.to_owned(), path: path(name) };
            let failure = listed(&suite(adapter), program, &[]).unwrap_err();
            assert_eq!(failure.code, "suite.not_a_test_program");
            said.push_str(&failure.message);
            if let Some(line) = failure.detail.lines().next() {
                said.push_str(&format!(" | {line}"));
            }
            said.push('\n');
        }
    }
    insta::assert_snapshot!(said, @r"
    `text` could not be started: Permission denied (os error 13)
    `text` could not be started: Permission denied (os error 13)
    `missing` could not be started: No such file or directory (os error 2)
    `missing` could not be started: No such file or directory (os error 2)
    `other-machine` is not a program (Exec format error (os error 8))
    `other-machine` is not a program (Exec format error (os error 8))
    `script` did not answer as a Go test program does (exit code 0) | hello there
    `script` did not answer as a test program with Ginkgo specs does (exit code 0) | hello there
    `crash` did not answer as a Go test program does (signal 11) | on fire
    `crash` did not answer as a test program with Ginkgo specs does (signal 11) | on fire
    `flags` is not a Go test program: it does not know the flags of one (exit code 2) | flag provided but not defined: -test.list
    `flags` is not a test program with Ginkgo specs: it does not know the flags of one (exit code 2) | flag provided but not defined: -ginkgo.dry-run
    ");
}
