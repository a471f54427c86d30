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
                // A name that was there before is found by the second start.
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
