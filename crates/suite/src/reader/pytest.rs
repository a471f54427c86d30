//! Reads pytest with our plugin in it.

use std::time::Duration;

use seatrial_core::failure::Failure;

use crate::lines::Lines;
use crate::program_failure::contradiction;
use crate::pytest::{Event, MARK};
use crate::reader::board::Board;
use crate::reader::end::{cut_short, nobody_failed, not_started, stopped};
use crate::{Exit, Invocation};

/// The plugin's durations are those of the phases of a test: what is between
/// them is ours.
const PRECISION: Duration = Duration::from_millis(1);

#[derive(Debug)]
pub(crate) struct PytestReader {
    lines: Lines,
    state: State,
}

#[derive(Debug, Default)]
struct State {
    /// What pytest says that its exit code is.
    ended: Option<i32>,
}

impl PytestReader {
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
        match (exit, state.ended) {
            (Exit::NotStarted(_), _) => Some(not_started(board, invocation, exit)),
            (Exit::Stopped(outcome), _) => stopped(board, invocation, at, *outcome),
            (Exit::Code(code), Some(ended @ (0 | 1))) if *code == ended => {
                board.close(at);
                let what = match (ended, board.any_failed()) {
                    (0, false) | (1, true) => return None,
                    (0, true) => "a test failed, and its exit code says that none did",
                    _ => "no test failed, and its exit code says that one did",
                };
                Some(contradiction(invocation, &format!("{what} ({exit})"), board.outside()))
            }
            (Exit::Code(_) | Exit::Signal(_), _) => {
                cut_short(board, at, exit);
                nobody_failed(board, invocation, exit)
            }
        }
    }
}

impl State {
    fn line(&mut self, board: &mut Board, at: Duration, line: &str) {
        let possible = match Event::parse(line) {
            Some(Event::Started { test }) => board.start(at, &test),
            Some(Event::Finished { test, outcome, message, seconds, output })
                if board.is_running(&test) || board.outcome(&test).is_some() =>
            {
                if !output.is_empty() {
                    board.output(Some(&test), &output);
                }
                let duration = Duration::try_from_secs_f64(seconds).ok();
                let message = (!message.is_empty()).then_some(message);
                let duration = duration.map(|said| (said, PRECISION));
                board.end(at, &test, outcome.into(), duration, message)
            }
            Some(Event::Ended { code }) => {
                self.ended = Some(code);
                true
            }
            _ => false,
        };
        if !possible {
            let test = board.running().pop();
            board.output(test.as_deref(), line);
        }
    }
}
