//! Reads a Go test program started with `-test.v=test2json`.
//!
//! In that mode package `testing` writes a SYN byte (0x16) before each line
//! that reports on tests; Go's own reader is `cmd/internal/test2json`. Lines
//! without it are output, whatever they look like, and so are framed lines
//! that cannot be true.

use std::time::Duration;

use seatrial_core::failure::Failure;
use seatrial_protocol::test::TestOutcome;

use crate::lines::Lines;
use crate::program_failure::{contradiction, not_a_test_program};
use crate::reader::board::Board;
use crate::reader::end::{cut_short, nobody_failed, not_started, stopped};
use crate::{Exit, Invocation};

const MARK: u8 = 0x16;

/// Longer frames are output; Go's reader has the same bound.
const FRAME_LIMIT: usize = 4096;

/// Go prints durations with two digits: half of the last one.
const PRECISION: Duration = Duration::from_millis(5);

#[derive(Debug)]
pub(crate) struct GoReader {
    lines: Lines,
    state: State,
}

#[derive(Debug, Default)]
struct State {
    /// Whose output the next line is.
    current: Option<String>,
    /// A test that failed. What follows, up to the next frame, is still about
    /// it: the trace of a panic comes after the result.
    failed: Option<(String, Duration)>,
    /// The panic of that test, which ends the program.
    panic: Option<String>,
    /// The program's own time-out ended it.
    timed_out: bool,
    /// The last word: `PASS` (true) or `FAIL`.
    verdict: Option<bool>,
}

#[derive(Debug, PartialEq)]
enum Frame<'a> {
    Run(&'a str),
    Pause(&'a str),
    Continue(&'a str),
    /// Output that follows is of this test; empty: of none.
    Name(&'a str),
    /// An attribute or artifact of a test: shown as its output.
    Note(&'a str),
    Result(TestOutcome, &'a str, Duration),
    Verdict(bool),
}

impl GoReader {
    pub(crate) fn new() -> Self {
        Self { lines: Lines::new(Some(MARK)), state: State::default() }
    }

    pub(crate) fn push(&mut self, board: &mut Board, at: Duration, bytes: &[u8]) {
        let state = &mut self.state;
        self.lines.push(bytes, |line| state.line(board, at, line));
    }

    pub(crate) fn finish(
        &mut self,
        board: &mut Board,
        invocation: &Invocation,
        at: Duration,
        exit: &Exit,
    ) -> Option<Failure> {
        let state = &mut self.state;
        self.lines.finish(|line| state.line(board, at, line));
        let failed = state.failed.as_ref().map(|(name, _)| name.clone());
        let panic = state.panic.clone();
        state.end_failed(board, at);
        match (exit, state.verdict) {
            (Exit::NotStarted(_), _) => Some(not_started(board, invocation, exit)),
            (Exit::Stopped(outcome), _) => stopped(board, invocation, at, *outcome),
            (Exit::Code(_) | Exit::Signal(_), Some(verdict)) => {
                board.close(at);
                let code = *exit == Exit::Code(0);
                disagreement(verdict, code, board.any_failed()).map(|what| {
                    contradiction(invocation, &format!("{what} ({exit})"), board.outside())
                })
            }
            (Exit::Code(_) | Exit::Signal(_), None) => {
                let running = board.running();
                if state.timed_out {
                    let reason = "its program ran out of time before".to_owned();
                    board.cut_off(at, &running, TestOutcome::TimedOut, "ran out of time", reason);
                } else if let (Some(test), Some(_)) = (failed, panic) {
                    let reason = format!("its program died in `{test}` before");
                    board.cut_off(at, &[], TestOutcome::Failed, "", reason);
                } else {
                    cut_short(board, at, exit);
                }
                let output = board.outside();
                let knows_no_flags = *exit == Exit::Code(2)
                    && !board.any_failed()
                    && !board.any_started()
                    && output.contains("flag provided but not defined");
                match knows_no_flags {
                    true => Some(not_a_test_program(invocation, exit, &output)),
                    false => nobody_failed(board, invocation, exit),
                }
            }
        }
    }
}

/// How verdict, exit code and results disagree, if they do.
fn disagreement(verdict: bool, code_is_zero: bool, any_failed: bool) -> Option<&'static str> {
    match (verdict, code_is_zero, any_failed) {
        (true, true, false) | (false, false, true) => None,
        (true, _, true) => Some("it says PASS, though a test failed"),
        (true, false, false) => Some("it says PASS, and its exit code says that it failed"),
        (false, true, _) => Some("it says FAIL, and its exit code says that it passed"),
        (false, false, false) => Some("it says FAIL, and no test failed"),
    }
}

impl State {
    fn line(&mut self, board: &mut Board, at: Duration, line: &str) {
        if let Some(frame) = parse(line)
            && self.frame(board, at, &frame, line)
        {
            return;
        }
        // These only sharpen what is said of tests that failed anyway.
        if line.contains("panic: test timed out after ") {
            self.timed_out = true;
        }
        if self.failed.is_some()
            && self.panic.is_none()
            && let Some((_, text)) = line.split_once("panic: ")
            && let Some((text, _)) = text.split_once(" [recovered")
        {
            self.panic = Some(format!("panic: {text}"));
        }
        board.output(self.current.as_deref(), line);
    }

    /// Does what a frame says; `false` when it cannot be true.
    fn frame(&mut self, board: &mut Board, at: Duration, frame: &Frame<'_>, line: &str) -> bool {
        // A frame for a test that has failed and not been said to have: the
        // second result must find the first.
        self.end_failed(board, at);
        let current = match *frame {
            Frame::Run(test) if board.start(at, test) => Some(test),
            Frame::Pause(test) if board.pause(at, test) => Some(test),
            Frame::Continue(test) if board.go_on(at, test) => Some(test),
            Frame::Name("") => None,
            Frame::Name(test) if board.is_running(test) => Some(test),
            Frame::Note(test) if board.is_running(test) => {
                board.output(Some(test), line.trim_start_matches('\x16'));
                Some(test)
            }
            Frame::Result(TestOutcome::Failed, test, duration) if board.is_running(test) => {
                self.failed = Some((test.to_owned(), duration));
                Some(test)
            }
            Frame::Result(outcome, test, duration)
                if board.end(at, test, outcome, Some((duration, PRECISION)), None) =>
            {
                // What follows is of what this was part of, if of anything.
                test.rsplit_once('/').map(|(parent, _)| parent).filter(|p| board.is_running(p))
            }
            Frame::Verdict(pass) => {
                self.verdict = Some(pass && self.verdict.unwrap_or(true));
                None
            }
            _ => return false,
        };
        self.current = current.map(str::to_owned);
        self.timed_out = false;
        true
    }

    fn end_failed(&mut self, board: &mut Board, at: Duration) {
        if let Some((test, duration)) = self.failed.take() {
            let message = self.panic.take();
            board.end(at, &test, TestOutcome::Failed, Some((duration, PRECISION)), message);
        }
    }
}

fn parse(line: &str) -> Option<Frame<'_>> {
    let frame = line.strip_prefix('\x16')?;
    // A frame is always a whole line.
    let frame = frame.strip_suffix('\n')?;
    let frame = frame.strip_suffix('\r').unwrap_or(frame);
    if frame.len() > FRAME_LIMIT {
        return None;
    }
    if let Some(update) = frame.strip_prefix("=== ") {
        let (action, rest) = update.split_once(' ').unwrap_or((update, ""));
        let name = rest.trim();
        let first = name.split(' ').next().unwrap_or(name);
        return match action {
            "NAME" => Some(Frame::Name(name)),
            _ if name.is_empty() => None,
            "RUN" => Some(Frame::Run(name)),
            "PAUSE" => Some(Frame::Pause(name)),
            "CONT" => Some(Frame::Continue(name)),
            "ATTR" | "ARTIFACTS" => Some(Frame::Note(first)),
            _ => None,
        };
    }
    match frame {
        "PASS" => return Some(Frame::Verdict(true)),
        "FAIL" => return Some(Frame::Verdict(false)),
        _ => {}
    }
    // Results of subtests are indented in some versions of Go.
    let result = frame.trim_start_matches("    ").strip_prefix("--- ")?;
    let (outcome, rest) = result.split_once(": ")?;
    let outcome = match outcome {
        "PASS" => TestOutcome::Passed,
        "FAIL" => TestOutcome::Failed,
        "SKIP" => TestOutcome::Skipped,
        _ => return None,
    };
    let (name, duration) = rest.rsplit_once(" (")?;
    let seconds: f64 = duration.strip_suffix("s)")?.parse().ok()?;
    let duration = Duration::try_from_secs_f64(seconds).ok()?;
    Some(Frame::Result(outcome, name, duration))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames() {
        let parse = |text: &'static str| parse(text);
        assert_eq!(parse("\x16=== RUN   TestA/x\n"), Some(Frame::Run("TestA/x")));
        assert_eq!(parse("\x16=== NAME  \n"), Some(Frame::Name("")));
        assert_eq!(parse("\x16=== NAME\n"), Some(Frame::Name("")));
        assert_eq!(
            parse("\x16--- FAIL: TestA/x_(1s) (0.25s)\r\n"),
            Some(Frame::Result(TestOutcome::Failed, "TestA/x_(1s)", Duration::from_millis(250)))
        );
        assert_eq!(parse("\x16=== ATTR  TestA key some value\n"), Some(Frame::Note("TestA")));
        assert_eq!(parse("\x16PASS\n"), Some(Frame::Verdict(true)));
        for output in [
            "--- PASS: TestA (0.00s)\n",
            "PASS\n",
            "\x16PASS",
            "\x16PASS ok\n",
            "\x16=== RUN\n",
            "\x16=== BOOM  TestA\n",
            "\x16--- PASS: TestA\n",
            "\x16--- PASS: TestA (-1s)\n",
            "\x16--- PASS: TestA (NaNs)\n",
            "\x16--- PASS: TestA (1e400s)\n",
        ] {
            assert_eq!(parse(output), None, "{output:?}");
        }
    }
}
