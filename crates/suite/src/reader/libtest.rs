//! Reads a Rust test program that runs one test: its exit code is the result,
//! and what it writes last must agree with it.

use std::time::Duration;

use seatrial_core::failure::Failure;
use seatrial_protocol::test::TestOutcome;

use crate::libtest::Summary;
use crate::lines::Lines;
use crate::program_failure::not_a_test_program;
use crate::reader::board::Board;
use crate::{Exit, Invocation};

/// Bytes of a panic's text that are shown as the reason.
const MESSAGE: usize = 1 << 10;

#[derive(Debug)]
pub(crate) struct LibtestReader {
    lines: Lines,
    state: State,
}

#[derive(Debug, Default)]
struct State {
    summary: Option<Summary>,
    /// Where the first panic was, and what it said.
    panic: Option<String>,
    /// The next line is what the panic said.
    in_panic: bool,
}

impl LibtestReader {
    pub(crate) fn new() -> Self {
        Self { lines: Lines::new(None), state: State::default() }
    }

    pub(crate) fn push(&mut self, board: &mut Board, bytes: &[u8]) {
        let (state, test) = (&mut self.state, board.running().pop());
        self.lines.push(bytes, |line| {
            state.line(line);
            board.output(test.as_deref(), line);
        });
    }

    pub(crate) fn finish(
        &mut self,
        board: &mut Board,
        invocation: &Invocation,
        at: Duration,
        exit: &Exit,
    ) -> Option<Failure> {
        let (state, test) = (&mut self.state, board.running().pop());
        self.lines.finish(|line| {
            state.line(line);
            board.output(test.as_deref(), line);
        });
        let test = test?;
        let (outcome, message) = match exit {
            Exit::NotStarted(_) => {
                board.end(at, &test, TestOutcome::Failed, None, Some(exit.to_string()));
                return Some(not_a_test_program(invocation, exit, ""));
            }
            Exit::Stopped(outcome) => (*outcome, Some(exit.to_string())),
            Exit::Code(0) => match state.summary {
                Some(Summary::Passed) => (TestOutcome::Passed, None),
                Some(Summary::Ignored) => (TestOutcome::Skipped, None),
                Some(Summary::Failed) => (TestOutcome::Failed, contradiction("failed")),
                Some(Summary::Other) => (TestOutcome::Failed, contradiction("did not run")),
                // As after std::process::exit(0) in the test.
                None => (
                    TestOutcome::Failed,
                    Some("its program ended normally without saying how it ended".to_owned()),
                ),
            },
            Exit::Code(_) | Exit::Signal(_) => {
                (TestOutcome::Failed, state.panic.take().or_else(|| Some(exit.to_string())))
            }
        };
        board.end(at, &test, outcome, None, message);
        None
    }
}

fn contradiction(what: &str) -> Option<String> {
    Some(format!("its program says that it {what}, and its exit code that it passed"))
}

impl State {
    fn line(&mut self, line: &str) {
        let line = line.trim_end();
        if let Some(summary) = Summary::parse(line) {
            self.summary = Some(summary);
        }
        if self.in_panic {
            self.in_panic = false;
            if let Some(panic) = &mut self.panic {
                let end = line.floor_char_boundary(MESSAGE);
                panic.push_str(&format!(": {}", &line[..end]));
            }
        } else if self.panic.is_none()
            && line.trim_start().starts_with("thread '")
            && let Some((_, place)) = line.split_once(" panicked at ")
            && place.len() <= MESSAGE
        {
            self.panic = Some(format!("panicked at {}", place.trim_end_matches(':')));
            self.in_panic = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use seatrial_core::pipeline::Adapter;
    use seatrial_protocol::test::TestEvent;

    use super::*;
    use crate::Program;
    use crate::reader::Reader;

    fn read(output: &str, exit: &Exit) -> String {
        let invocation = Invocation {
            adapter: Adapter::Rust,
            program: Program { name: "api.test".to_owned(), path: "/tests/api.test".to_owned() },
            tests: vec!["m::works".to_owned()],
            argv: Vec::new(),
            env: Default::default(),
            report: None,
            timeout: Duration::from_secs(60),
            test_timeout: Duration::from_secs(60),
            stop_signal: 15,
        };
        let mut reader = Reader::new(&invocation);
        assert_eq!(reader.deadline(), Duration::from_secs(60));
        let mut events = reader.push(Duration::ZERO, output.as_bytes());
        let ending = reader.finish(Duration::from_secs(1), exit, None);
        assert_eq!(ending.not_run, Vec::<String>::new());
        events.extend(ending.events);
        let finished = events.into_iter().filter_map(|event| match event {
            TestEvent::Finished { test, outcome, message, .. } => {
                let said = format!("{test} {outcome:?} {}", message.unwrap_or_default());
                Some(said.trim_end().to_owned())
            }
            _ => None,
        });
        let failure = ending.failure.map(|f| format!("! {}: {}", f.code, f.message));
        finished.chain(failure).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn exit_code_and_last_words_must_agree() {
        let passed = "test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured\n";
        let failed = "thread 'm::works' (7) panicked at src/a.rs:2:5:\nno luck\nstack\n\
                      test result: FAILED. 0 passed; 1 failed; 0 ignored\n";
        let none = "test result: ok. 0 passed; 0 failed; 0 ignored; 1 filtered out\n";
        let said = [
            read(passed, &Exit::Code(0)),
            read("test result: ok. 0 passed; 0 failed; 1 ignored\n", &Exit::Code(0)),
            read(failed, &Exit::Code(101)),
            read(failed, &Exit::Code(0)),
            read(passed, &Exit::Code(101)),
            read(none, &Exit::Code(0)),
            read("", &Exit::Code(0)),
            read("", &Exit::Signal(6)),
            read(failed, &Exit::Stopped(TestOutcome::TimedOut)),
            read("", &Exit::Stopped(TestOutcome::Cancelled)),
            read("", &Exit::NotStarted("Exec format error (os error 8)".to_owned())),
        ];
        insta::assert_snapshot!(said.join("\n"), @r"
        m::works Passed
        m::works Skipped
        m::works Failed panicked at src/a.rs:2:5: no luck
        m::works Failed its program says that it failed, and its exit code that it passed
        m::works Failed exit code 101
        m::works Failed its program says that it did not run, and its exit code that it passed
        m::works Failed its program ended normally without saying how it ended
        m::works Failed signal 6
        m::works TimedOut stopped, out of time
        m::works Cancelled stopped
        m::works Failed not started: Exec format error (os error 8); ! suite.not_a_test_program: `api.test` is not a program (Exec format error (os error 8))
        ");
    }
}
