//! JUnit XML, as other CI systems read it.
//!
//! There is no standard; the elements are those that Jenkins, GitLab and
//! Maven Surefire agree on (`rerunFailure` and `flakyFailure` are Surefire's).
//! A file never looks greener than the run: what did not run is an error, and
//! so is a run that ended before its tests.

use std::io::Write;
use std::time::Duration;

use quick_junit::{
    NonSuccessKind, Report, SerializeError, TestCase, TestCaseStatus, TestRerun, TestSuite,
};
use seatrial_core::failure::{Failure, Fault};
use seatrial_core::verdict::Verdict;
use seatrial_protocol::test::TestOutcome;

use crate::ending;
use crate::summary::{Summary, TestSummary, Try};

/// Why JUnit XML could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write JUnit XML")]
pub struct JunitError(#[source] SerializeError);

/// Writes a run as JUnit XML: a test suite for each suite, environment and
/// program, a test case for each test and subtest.
///
/// # Errors
/// When `out` cannot be written.
pub fn junit(summary: &Summary, out: &mut dyn Write) -> Result<(), JunitError> {
    let mut report = Report::new(summary.run.as_ref().map_or("seatrial", |run| &run.project));
    report.set_time(Duration::from_micros(summary.wall_us()));
    let mut suites: Vec<(String, TestSuite, Duration)> = Vec::new();
    for test in summary.tests() {
        let name = suite_name(test);
        let place = suites.iter().position(|(known, ..)| *known == name).unwrap_or_else(|| {
            suites.push((name.clone(), TestSuite::new(name.as_str()), Duration::ZERO));
            suites.len() - 1
        });
        let (_, suite, time) = &mut suites[place];
        // The time of a test has that of its subtests in it.
        if !test.subtest {
            *time += Duration::from_micros(test.took_us());
        }
        suite.add_test_case(test_case(test, &name));
    }
    for (_, mut suite, time) in suites {
        suite.set_time(time);
        report.add_test_suite(suite);
    }
    if let Some(suite) = run_suite(summary) {
        report.add_test_suite(suite);
    }
    report.serialize(out).map_err(JunitError)
}

fn suite_name(test: &TestSummary) -> String {
    match &test.environment {
        Some(environment) => format!("{} on {environment}", test.group()),
        None => test.group(),
    }
}

fn test_case(test: &TestSummary, class: &str) -> TestCase {
    let is_bad = |one: &&Try| {
        !matches!(one.outcome.verdict(), None | Some(Verdict::Passed | Verdict::Flaky))
    };
    let mut status = match test.verdict() {
        None => TestCaseStatus::skipped(),
        Some(Verdict::Passed | Verdict::Flaky) => {
            let mut status = TestCaseStatus::success();
            status.add_reruns(test.tries.iter().filter(is_bad).map(rerun));
            status
        }
        Some(verdict) => {
            let mut status = TestCaseStatus::non_success(kind(verdict));
            status.set_type(verdict.word());
            status.set_message(verdict.word());
            // The first that went wrong is the failure, what follows its reruns.
            let mut bad = test.tries.iter().filter(is_bad);
            if let Some(first) = bad.next() {
                status.set_type(outcome_word(first.outcome));
                status.set_message(message(first));
                status.set_description(description(first));
            }
            if test.breaks_its_environment() {
                status.set_message("breaks its environment");
            }
            status.add_reruns(bad.map(rerun));
            status
        }
    };
    if let (None, Some(one)) = (test.verdict(), test.tries.last()) {
        status.set_message(one.message.as_deref().unwrap_or("skipped itself"));
    }
    let mut case = TestCase::new(test.name.as_str(), status);
    case.set_classname(class);
    case.set_time(Duration::from_micros(test.tries.last().map_or(0, |one| one.duration_us)));
    case
}

fn rerun(one: &Try) -> TestRerun {
    let mut rerun = TestRerun::new(one.outcome.verdict().map_or(NonSuccessKind::Error, kind));
    rerun.set_time(Duration::from_micros(one.duration_us));
    rerun.set_type(outcome_word(one.outcome));
    rerun.set_message(message(one));
    rerun.set_description(description(one));
    rerun
}

fn kind(verdict: Verdict) -> NonSuccessKind {
    match verdict {
        Verdict::Failed => NonSuccessKind::Failure,
        _ => NonSuccessKind::Error,
    }
}

fn outcome_word(outcome: TestOutcome) -> &'static str {
    match outcome {
        TestOutcome::Passed => "passed",
        TestOutcome::Failed => "failed",
        TestOutcome::Flaky => "flaky",
        TestOutcome::Skipped => "skipped",
        TestOutcome::NotRun => "not-run",
        TestOutcome::TimedOut => "timed-out",
        TestOutcome::Broken => "broken",
        TestOutcome::Cancelled => "cancelled",
    }
}

/// The line that lists of failures show.
fn message(one: &Try) -> &str {
    let first = one.message.as_deref().and_then(|message| message.lines().next());
    first.unwrap_or_else(|| outcome_word(one.outcome))
}

fn description(one: &Try) -> String {
    let parts: Vec<&str> =
        [&one.message, &one.output].into_iter().flatten().map(String::as_str).collect();
    parts.join("\n\n")
}

/// What is said of the run itself, where that is not said by a test.
fn run_suite(summary: &Summary) -> Option<TestSuite> {
    let mut suite = TestSuite::new("seatrial");
    for (node, failure) in summary.failures() {
        let name = node.map_or_else(|| failure.code.clone(), |node| summary.node_name(node));
        suite.add_test_case(failure_case(&name, failure));
    }
    let green = matches!(summary.verdict(), Some(Verdict::Passed | Verdict::Flaky));
    let counts = summary.counts();
    let shown = counts.failed + counts.broken + counts.cancelled + counts.not_run > 0;
    if !green && !shown && suite.test_cases.is_empty() {
        let (word, why) = match summary.verdict() {
            Some(verdict) => (verdict.word(), ending::reason(summary, verdict)),
            None => ("none", "this run ended without a verdict".to_owned()),
        };
        let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
        status.set_type(word);
        status.set_message(why);
        let mut case = TestCase::new("run", status);
        case.set_classname("seatrial");
        suite.add_test_case(case);
    }
    (!suite.test_cases.is_empty()).then_some(suite)
}

fn failure_case(name: &str, failure: &Failure) -> TestCase {
    let kind = match failure.fault {
        Fault::Product => NonSuccessKind::Failure,
        Fault::Config | Fault::Environment => NonSuccessKind::Error,
    };
    let mut status = TestCaseStatus::non_success(kind);
    status.set_type(failure.code.as_str());
    status.set_message(failure.message.lines().next().unwrap_or_default());
    let mut text = failure.message.clone();
    for part in [failure.detail.clone(), failure.hints.join("\n")] {
        if !part.is_empty() {
            text.push_str("\n\n");
            text.push_str(&part);
        }
    }
    status.set_description(text);
    let mut case = TestCase::new(name, status);
    case.set_classname("seatrial");
    case
}

#[cfg(test)]
mod tests {
    use seatrial_protocol::event::RunEvent;

    use super::*;
    use crate::sample;

    fn xml(events: &[RunEvent]) -> String {
        let mut out = Vec::new();
        junit(&Summary::from_events(events), &mut out).expect("memory can be written");
        String::from_utf8(out).expect("XML is UTF-8")
    }

    #[test]
    fn failed_run() {
        insta::assert_snapshot!(xml(&sample::failed()), @r#"
        <?xml version="1.0" encoding="UTF-8"?>
        <testsuites name="guestbook" tests="5" skipped="0" failures="4" errors="0" time="21.612">
            <testsuite name="e2e/api.test on default" tests="5" skipped="0" errors="0" failures="4" time="7.897">
                <testcase name="TestDNS" classname="e2e/api.test on default" time="0.200"/>
                <testcase name="TestConfig" classname="e2e/api.test on default" time="0.699">
                    <failure message="failed" type="failed">config_test.go:12: want 2
            got 1</failure>
                </testcase>
                <testcase name="TestScale" classname="e2e/api.test on default" time="1.998">
                    <failure message="failed" type="failed"></failure>
                </testcase>
                <testcase name="TestProbe" classname="e2e/api.test on default" time="5.000">
                    <failure message="timed-out" type="timed-out"></failure>
                </testcase>
                <testcase name="TestScale/down" classname="e2e/api.test on default" time="0.900">
                    <failure message="failed" type="failed">scale_test.go:40: still 3 pods</failure>
                </testcase>
            </testsuite>
        </testsuites>
        "#);
    }

    #[test]
    fn flaky_run() {
        insta::assert_snapshot!(xml(&sample::flaky()), @r#"
        <?xml version="1.0" encoding="UTF-8"?>
        <testsuites name="guestbook" tests="1" skipped="0" failures="0" errors="0" time="16.002">
            <testsuite name="e2e/api.test on default" tests="1" skipped="0" errors="0" failures="0" time="1.600">
                <testcase name="TestScale" classname="e2e/api.test on default" time="0.900">
                    <flakyFailure time="0.700" message="failed" type="failed">scale_test.go:40: still 3 pods</flakyFailure>
                </testcase>
            </testsuite>
        </testsuites>
        "#);
    }

    #[test]
    fn a_part_that_is_not_in_the_next_try_is_no_failure() {
        insta::assert_snapshot!(xml(&sample::retried()), @r#"
        <?xml version="1.0" encoding="UTF-8"?>
        <testsuites name="guestbook" tests="3" skipped="0" failures="0" errors="0" time="24.462">
            <testsuite name="e2e/api.test on default" tests="3" skipped="0" errors="0" failures="0" time="1.897">
                <testcase name="TestConfig" classname="e2e/api.test on default" time="0.299"/>
                <testcase name="TestScale" classname="e2e/api.test on default" time="1.199">
                    <flakyFailure time="0.399" message="failed" type="failed"></flakyFailure>
                </testcase>
                <testcase name="TestScale/down" classname="e2e/api.test on default" time="0.300">
                    <flakyFailure time="0.300" message="failed" type="failed">scale_test.go:40: still 3 pods</flakyFailure>
                </testcase>
            </testsuite>
        </testsuites>
        "#);
    }

    #[test]
    fn a_run_that_broke_before_its_tests_is_an_error() {
        insta::assert_snapshot!(xml(&sample::broken()), @r#"
        <?xml version="1.0" encoding="UTF-8"?>
        <testsuites name="guestbook" tests="1" skipped="0" failures="0" errors="1" time="1.402">
            <testsuite name="seatrial" tests="1" skipped="0" errors="1" failures="0">
                <testcase name="default/boot" classname="seatrial">
                    <error message="kube-apiserver of default ended with exit code 1" type="cluster.component_died">kube-apiserver of default ended with exit code 1

        error: bind: address already in use

        run `seatrial doctor`</error>
                </testcase>
            </testsuite>
        </testsuites>
        "#);
    }

    #[test]
    fn a_death_is_an_error_only_of_a_test_that_it_befell_twice() {
        insta::assert_snapshot!(xml(&sample::tried_elsewhere()), @r#"
        <?xml version="1.0" encoding="UTF-8"?>
        <testsuites name="guestbook" tests="2" skipped="0" failures="0" errors="0" time="25.562">
            <testsuite name="e2e/api.test on default" tests="2" skipped="0" errors="0" failures="0" time="2.696">
                <testcase name="TestConfig" classname="e2e/api.test on default" time="0.299"/>
                <testcase name="TestScale" classname="e2e/api.test on default" time="1.199">
                    <flakyError time="0.899" message="broken" type="broken">scaling up</flakyError>
                </testcase>
            </testsuite>
        </testsuites>
        "#);
        insta::assert_snapshot!(xml(&sample::breaks_its_environment()), @r#"
        <?xml version="1.0" encoding="UTF-8"?>
        <testsuites name="guestbook" tests="3" skipped="0" failures="1" errors="1" time="25.254">
            <testsuite name="e2e/api.test on default" tests="2" skipped="0" errors="0" failures="1" time="2.396">
                <testcase name="TestConfig" classname="e2e/api.test on default" time="0.299"/>
                <testcase name="TestScale" classname="e2e/api.test on default" time="0.899">
                    <failure message="breaks its environment" type="broken">scaling up</failure>
                    <rerunError time="0.899" message="broken" type="broken">scaling up</rerunError>
                </testcase>
            </testsuite>
            <testsuite name="seatrial" tests="1" skipped="0" errors="1" failures="0">
                <testcase name="default/e2e#2" classname="seatrial">
                    <error message="etcd of node c0n0 ended by itself (signal 9)" type="cluster.component_died">etcd of node c0n0 ended by itself (signal 9)

        raft: became leader</error>
                </testcase>
            </testsuite>
        </testsuites>
        "#);
    }

    #[test]
    fn a_run_without_a_verdict_is_an_error() {
        let events = sample::passed();
        let xml = xml(&events[..3]);
        assert!(xml.contains(r#"errors="1""#), "{xml}");
        assert!(xml.contains("this run ended without a verdict"), "{xml}");
    }

    #[test]
    fn what_tests_print_stays_legal_xml() {
        let mut events = sample::failed();
        sample::poison(&mut events, "\u{0}\u{1b}[31m]]></failure>\u{fffe}\u{8}&<");
        let xml = xml(&events);
        let bad = |c: char| c.is_control() && c != '\n' || matches!(c, '\u{fffe}' | '\u{ffff}');
        assert!(!xml.contains(bad), "{xml:?}");
        let read = Report::deserialize_from_str(&xml).expect("it can be read back");
        assert_eq!((read.tests, read.failures), (5, 4));
    }
}
