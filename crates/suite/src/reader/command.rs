//! Reads the suites that are a command: `exec`, whose exit code is the result,
//! and `junit`, whose report is.

use std::time::Duration;

use seatrial_core::failure::Failure;
use seatrial_core::pipeline::Adapter;
use seatrial_protocol::test::TestOutcome;

use crate::lines::Lines;
use crate::program_failure::{contradiction, not_a_test_program};
use crate::reader::board::Board;
use crate::{Exit, Invocation, junit};

#[derive(Debug)]
pub(crate) struct CommandReader {
    lines: Lines,
}

impl CommandReader {
    pub(crate) fn new() -> Self {
        Self { lines: Lines::new(None) }
    }

    pub(crate) fn push(&mut self, board: &mut Board, bytes: &[u8]) {
        let test = board.running().pop();
        self.lines.push(bytes, |line| board.output(test.as_deref(), line));
    }

    pub(crate) fn finish(
        &mut self,
        board: &mut Board,
        invocation: &Invocation,
        at: Duration,
        exit: &Exit,
        report: Option<&[u8]>,
    ) -> Option<Failure> {
        let test = board.running().pop();
        self.lines.finish(|line| board.output(test.as_deref(), line));
        if invocation.adapter == Adapter::Junit {
            return read_report(board, invocation, at, exit, report);
        }
        let (outcome, message) = match exit {
            Exit::Code(0) => (TestOutcome::Passed, None),
            Exit::Stopped(outcome) => (*outcome, Some(exit.to_string())),
            Exit::Code(_) | Exit::Signal(_) => (TestOutcome::Failed, Some(exit.to_string())),
            Exit::NotStarted(_) => {
                board.end(
                    at,
                    &invocation.program.name,
                    TestOutcome::Failed,
                    None,
                    Some(exit.to_string()),
                );
                return Some(not_a_test_program(invocation, exit, ""));
            }
        };
        board.end(at, &invocation.program.name, outcome, None, message);
        None
    }
}

fn read_report(
    board: &mut Board,
    invocation: &Invocation,
    at: Duration,
    exit: &Exit,
    report: Option<&[u8]>,
) -> Option<Failure> {
    let name = &invocation.program.name;
    if let Exit::NotStarted(_) = exit {
        return Some(not_a_test_program(invocation, exit, ""));
    }
    let problem = match report.map(junit::parse) {
        None => Some(
            Failure::product("report.missing", format!("`{name}` left no report ({exit})"))
                .hint("it must write JUnit XML to the file that $JUNIT names"),
        ),
        Some(Err(error)) => Some(
            Failure::product("report.bad_xml", format!("the report of `{name}` {error} ({exit})"))
                .hint("a report is JUnit XML in UTF-8, without a document type"),
        ),
        Some(Ok(report)) => {
            for case in &report.cases {
                if board.start_reported(&case.name) {
                    if !case.output.is_empty() {
                        board.output(Some(&case.name), &case.output);
                    }
                    let duration = Some((case.time, Duration::ZERO));
                    board.end(at, &case.name, case.outcome, duration, case.message.clone());
                }
            }
            let declared = report.declared_failures && !board.any_failed();
            declared.then(|| {
                contradiction(
                    invocation,
                    "its report counts failures and shows none",
                    board.outside(),
                )
            })
        }
    };
    match exit {
        // It had no chance to finish its report.
        Exit::Stopped(TestOutcome::TimedOut) => Some(
            Failure::product(
                "suite.timed_out",
                format!("`{name}` ran out of time ({:?})", invocation.timeout),
            )
            .detail(board.outside())
            .hint("a `junit` suite is one command: its `test-timeout` is that of all its tests"),
        ),
        Exit::Stopped(_) => None,
        _ if problem.is_some() => {
            problem.map(|p| if p.detail.is_empty() { p.detail(board.outside()) } else { p })
        }
        Exit::Code(0) if board.any_failed() => Some(contradiction(
            invocation,
            "a test failed, and its exit code says that none did",
            board.outside(),
        )),
        Exit::Code(0) => None,
        _ if !board.any_failed() => Some(contradiction(
            invocation,
            &format!("no test failed, and its end says that it failed ({exit})"),
            board.outside(),
        )),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use seatrial_protocol::test::TestEvent;

    use super::*;
    use crate::Program;
    use crate::reader::Reader;

    /// Outcomes, then `!` and the code of the failure.
    fn read(adapter: Adapter, exit: &Exit, report: Option<&str>) -> String {
        let program = Program { name: "smoke".to_owned(), path: String::new() };
        let tests = if adapter == Adapter::Exec { vec!["smoke".to_owned()] } else { Vec::new() };
        let invocation = Invocation {
            adapter,
            program,
            tests,
            argv: Vec::new(),
            env: Default::default(),
            report: None,
            timeout: Duration::from_secs(60),
            test_timeout: Duration::from_secs(60),
            stop_signal: 15,
        };
        let mut reader = Reader::new(&invocation);
        assert_eq!(reader.deadline(), Duration::from_secs(60));
        let mut events = reader.push(Duration::ZERO, b"one\ntwo");
        let ending = reader.finish(Duration::from_secs(1), exit, report.map(str::as_bytes));
        assert_eq!(ending.not_run, Vec::<String>::new());
        events.extend(ending.events);
        let mut said = String::new();
        for event in events {
            match event {
                TestEvent::Started { .. } => {}
                TestEvent::Output { test, text, .. } => {
                    said.push_str(&format!("{} wrote {text:?}; ", test.unwrap_or_default()));
                }
                TestEvent::Finished { test, outcome, message, .. } => {
                    said.push_str(&format!("{test} {outcome:?} {}; ", message.unwrap_or_default()));
                }
            }
        }
        if let Some(failure) = ending.failure {
            said.push_str(&format!("! {}: {}", failure.code, failure.message));
        }
        said.trim_end().to_owned()
    }

    #[test]
    fn the_exit_code_of_a_command() {
        let exec = |exit| read(Adapter::Exec, &exit, None);
        let said = [
            exec(Exit::Code(0)),
            exec(Exit::Code(3)),
            exec(Exit::Signal(9)),
            exec(Exit::Stopped(TestOutcome::TimedOut)),
            exec(Exit::Stopped(TestOutcome::Cancelled)),
            exec(Exit::NotStarted("no such file".to_owned())),
        ];
        insta::assert_snapshot!(said.join("\n"), @r#"
        smoke wrote "one\n"; smoke wrote "two"; smoke Passed ;
        smoke wrote "one\n"; smoke wrote "two"; smoke Failed exit code 3;
        smoke wrote "one\n"; smoke wrote "two"; smoke Failed signal 9;
        smoke wrote "one\n"; smoke wrote "two"; smoke TimedOut stopped, out of time;
        smoke wrote "one\n"; smoke wrote "two"; smoke Cancelled stopped;
        smoke wrote "one\n"; smoke wrote "two"; smoke Failed not started: no such file; ! suite.not_a_test_program: `smoke` could not be started: no such file
        "#);
    }

    #[test]
    fn report_and_exit_code_must_agree() {
        let good = "<testsuite><testcase name='a'/></testsuite>";
        let bad = "<testsuite failures='1'><testcase name='a'><failure message='no'/></testcase></testsuite>";
        let hidden = "<testsuite failures='1'><testcase name='a'/></testsuite>";
        let twice = "<testsuite><testcase name='a'/><testcase name='a'/></testsuite>";
        let junit = |code, report| read(Adapter::Junit, &Exit::Code(code), report);
        let said = [
            junit(0, Some(good)),
            junit(1, Some(bad)),
            junit(0, Some(bad)),
            junit(1, Some(good)),
            junit(0, Some(hidden)),
            junit(0, Some(twice)),
            junit(0, Some("<testsuite/>")),
            junit(0, None),
            read(Adapter::Junit, &Exit::Stopped(TestOutcome::TimedOut), Some(good)),
        ];
        insta::assert_snapshot!(said.join("\n"), @r#"
        wrote "one\n";  wrote "two"; a Passed ;
        wrote "one\n";  wrote "two"; a Failed no;
        wrote "one\n";  wrote "two"; a Failed no; ! report.contradiction: `smoke` contradicts itself: a test failed, and its exit code says that none did
        wrote "one\n";  wrote "two"; a Passed ; ! report.contradiction: `smoke` contradicts itself: no test failed, and its end says that it failed (exit code 1)
        wrote "one\n";  wrote "two"; a Passed ; ! report.contradiction: `smoke` contradicts itself: its report counts failures and shows none
        wrote "one\n";  wrote "two"; a Passed ; ! report.ambiguous: `a` of `smoke` is in the report twice
        wrote "one\n";  wrote "two"; ! report.bad_xml: the report of `smoke` has no test cases (exit code 0)
        wrote "one\n";  wrote "two"; ! report.missing: `smoke` left no report (exit code 0)
        wrote "one\n";  wrote "two"; a Passed ; ! suite.timed_out: `smoke` ran out of time (60s)
        "#);
    }
}
