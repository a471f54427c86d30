//! The `ginkgo` adapter against a real Ginkgo suite, built here with `go`.

use std::time::Duration;

use crate::support::{Seen, listed, program, suite};
use seatrial_core::pipeline::{Adapter, Suite};
use seatrial_protocol::test::TestEvent;

fn ran(tests: &[&str], env: &[(&str, &str)]) -> Seen {
    crate::support::ran(&suite(Adapter::Ginkgo), program("ginkgo"), tests, env)
}

#[test]
fn lists_specs_by_a_dry_run() {
    let listing = listed(&suite(Adapter::Ginkgo), program("ginkgo"), &[]).unwrap();
    insta::assert_snapshot!(listing.tests.join("\n"), @r"
    [sig-apps] Thing passes [Conformance]
    [sig-apps] Thing passes with labels
    [sig-apps] Thing fails
    [sig-apps] Thing panics
    [sig-apps] Thing skips
    [sig-apps] Thing passes when tried again
    [sig-apps] Thing fails in cleanup
    [sig-apps] Thing prints an end
    [sig-apps] Thing prints a start
    [sig-apps] Thing hangs
    [sig-apps] Thing hangs for good
    [sig-apps] Thing exits with 0
    [sig-apps] Thing exits raw with 0
    [sig-apps] Thing is slow
    [sig-apps] Thing
    Ordered first fails
    Ordered second follows
    ");
    let filtered =
        Suite { args: vec!["--ginkgo.label-filter=slow".to_owned()], ..suite(Adapter::Ginkgo) };
    assert_eq!(
        listed(&filtered, program("ginkgo"), &[]).unwrap().tests,
        ["[sig-apps] Thing passes with labels"]
    );
    let failure =
        listed(&suite(Adapter::Ginkgo), program("ginkgo"), &[("FOCUS", "1")]).unwrap_err();
    assert_eq!(failure.code, "suite.focused");
}

#[test]
fn ordinary_results() {
    let seen = ran(
        &[
            "[sig-apps] Thing passes [Conformance]",
            "[sig-apps] Thing passes with labels",
            "[sig-apps] Thing fails",
            "[sig-apps] Thing panics",
            "[sig-apps] Thing skips",
            "[sig-apps] Thing passes when tried again",
            "[sig-apps] Thing fails in cleanup",
            "[sig-apps] Thing is slow",
            "[sig-apps] Thing",
        ],
        &[],
    );
    insta::assert_snapshot!(seen.outcomes(), @r"
    [sig-apps] Thing fails failed
    [sig-apps] Thing fails in cleanup failed
    [sig-apps] Thing is slow passed
    [sig-apps] Thing panics failed
    [sig-apps] Thing passed
    [sig-apps] Thing passes [Conformance] passed
    [sig-apps] Thing passes when tried again flaky
    [sig-apps] Thing passes with labels passed
    [sig-apps] Thing skips skipped
    ");
    let output = seen.output(Some("[sig-apps] Thing passes [Conformance]"));
    assert!(output.contains("plain output"), "{output}");
    assert!(
        seen.message("[sig-apps] Thing fails").starts_with("[FAILED] expected 1, got 2\n"),
        "{}",
        seen.message("[sig-apps] Thing fails")
    );
    assert!(seen.message("[sig-apps] Thing panics").contains("boom"));
    assert!(seen.message("[sig-apps] Thing skips").contains("not today"));
}

/// Each spec's events come between those of its neighbours, not at the end.
#[test]
fn events_are_live() {
    let seen = ran(&["[sig-apps] Thing is slow", "[sig-apps] Thing passes with labels"], &[]);
    let order: Vec<&str> = seen
        .events
        .iter()
        .filter_map(|event| match event {
            TestEvent::Started { test, .. } | TestEvent::Finished { test, .. } => {
                Some(test.as_str())
            }
            TestEvent::Output { .. } => None,
        })
        .collect();
    assert_eq!(order.len(), 4);
    assert_eq!((order[0], order[2]), (order[1], order[3]));
    let slow = seen.events.iter().find_map(|event| match event {
        TestEvent::Finished { test, duration_us, .. } if test.ends_with("slow") => {
            Some(*duration_us)
        }
        _ => None,
    });
    assert!(slow.unwrap() >= 99_000, "{slow:?}");
}

#[test]
fn only_what_was_selected_runs() {
    let seen = ran(&["[sig-apps] Thing passes [Conformance]"], &[]);
    insta::assert_snapshot!(seen.outcomes(), @"[sig-apps] Thing passes [Conformance] passed");
    assert!(String::from_utf8_lossy(&seen.bytes).contains("Ran 1 of 18 Specs"));
}

#[test]
fn an_earlier_failure_in_an_ordered_container() {
    let seen = ran(&["Ordered first fails", "Ordered second follows"], &[]);
    insta::assert_snapshot!(seen.outcomes(), @r"
    Ordered first fails failed
    Ordered second follows not-run
    ");
}

#[test]
fn what_the_setup_does() {
    let spec = ["[sig-apps] Thing passes [Conformance]"];
    let failed = ran(&spec, &[("BEFORE", "fail")]);
    insta::assert_snapshot!(failed.outcomes(), @r"
    [sig-apps] Thing passes [Conformance] (not run)
    ! suite.setup_failed
    ");
    let failure = failed.failure.unwrap();
    assert_eq!(failure.message, "[BeforeSuite] of `ginkgo.test` failed");
    assert!(failure.detail.starts_with("no cluster\n"), "{}", failure.detail);
    insta::assert_snapshot!(ran(&spec, &[("BEFORE", "skip")]).outcomes(), @"[sig-apps] Thing passes [Conformance] skipped");
    insta::assert_snapshot!(ran(&spec, &[("BEFORE", "exit")]).outcomes(), @r"
    [sig-apps] Thing passes [Conformance] (not run)
    ! suite.setup_failed
    ");
}

#[test]
fn a_program_that_ends_in_a_spec_is_never_green() {
    let seen = ran(&["[sig-apps] Thing exits raw with 0", "[sig-apps] Thing is slow"], &[]);
    insta::assert_snapshot!(seen.outcomes(), @r"
    [sig-apps] Thing exits raw with 0 failed
    [sig-apps] Thing is slow (not run)
    ");
    assert_eq!(
        seen.message("[sig-apps] Thing exits raw with 0"),
        "its program ended while it ran (exit code 0)"
    );
    let seen = ran(&["[sig-apps] Thing exits with 0"], &[]);
    insta::assert_snapshot!(seen.outcomes(), @"[sig-apps] Thing exits with 0 failed");
}

#[test]
fn what_a_spec_prints_is_not_believed() {
    let end = ran(&["[sig-apps] Thing prints an end"], &[]);
    insta::assert_snapshot!(end.outcomes(), @r"
    [sig-apps] Thing prints an end passed
    ! report.contradiction
    ");
    let start =
        ran(&["[sig-apps] Thing prints a start", "[sig-apps] Thing passes [Conformance]"], &[]);
    insta::assert_snapshot!(start.outcomes(), @r"
    [sig-apps] Thing passes [Conformance] passed
    [sig-apps] Thing prints a start passed
    ");
}

#[test]
fn time_outs() {
    let suite = Suite { test_timeout: Duration::from_millis(700), ..suite(Adapter::Ginkgo) };
    let ran = |tests: &[&str]| crate::support::ran(&suite, program("ginkgo"), tests, &[]);
    // Ginkgo's own time-out: the spec is asked to stop, and does.
    insta::assert_snapshot!(ran(&["[sig-apps] Thing hangs"]).outcomes(), @"[sig-apps] Thing hangs timed-out");
    // This one does not listen; the worker ends the program.
    insta::assert_snapshot!(ran(&["[sig-apps] Thing hangs for good"]).outcomes(), @"[sig-apps] Thing hangs for good timed-out");
}
