//! Reads what a test program writes, as it writes it, into test events.
//!
//! A reader believes nothing that is merely printed: Go's results are framed,
//! a command's report is read after its end, and at the end exit code, results
//! and what should have run are held against each other. Whatever does not fit
//! is a failure; nothing that did not demonstrably pass is a pass. (A program
//! that forges all of it, frames and exit code, cannot be told from an honest
//! one: it is the authority on its own tests.)
//!
//! Used by the worker, one reader for each started [`Invocation`].

use std::time::Duration;

use seatrial_core::failure::Failure;
use seatrial_core::pipeline::Adapter;
use seatrial_protocol::test::{TestEvent, TestOutcome};

use crate::reader::board::Board;
use crate::{Exit, Invocation};

mod board;
mod command;
mod end;
mod ginkgo;
mod go;
mod libtest;
mod pytest;

/// How much longer than its time-out a test may run before the worker stops
/// its program: the program's own time-out says more, so it goes first.
const TIMEOUT_SLACK: Duration = Duration::from_secs(2);

/// How long a program may take besides its tests.
const SETUP_SLACK: Duration = Duration::from_secs(60);

/// Reads the output of one invocation.
#[derive(Debug)]
pub struct Reader {
    invocation: Invocation,
    board: Board,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Go(go::GoReader),
    Ginkgo(ginkgo::GinkgoReader),
    Libtest(libtest::LibtestReader),
    Pytest(pytest::PytestReader),
    Command(command::CommandReader),
}

/// What there is to say when a program has ended.
#[derive(Debug, Clone, PartialEq)]
#[must_use]
pub struct Ending {
    /// The last events.
    pub events: Vec<TestEvent>,
    /// Tests that should have run and did not, or were cut off through no
    /// fault of theirs. Some of them may have started; none has ended. They
    /// can be run again, as long as some test of this invocation ended; else
    /// [`Ending::settle`].
    pub not_run: Vec<String>,
    /// Why they did not run; empty when `not_run` is.
    pub reason: String,
    /// What is wrong apart from tests that failed. The run fails with it, even
    /// if every test passed.
    pub failure: Option<Failure>,
    program: String,
}

impl Reader {
    /// A reader of what `invocation` writes.
    #[must_use]
    pub fn new(invocation: &Invocation) -> Self {
        let kind = match invocation.adapter {
            Adapter::Go => Kind::Go(go::GoReader::new()),
            Adapter::Ginkgo => Kind::Ginkgo(ginkgo::GinkgoReader::new(&invocation.tests)),
            Adapter::Rust => Kind::Libtest(libtest::LibtestReader::new()),
            Adapter::Pytest => Kind::Pytest(pytest::PytestReader::new()),
            Adapter::Junit | Adapter::Exec => Kind::Command(command::CommandReader::new()),
        };
        let board = Board::new(&invocation.program.name, &invocation.tests);
        let mut reader = Self { invocation: invocation.clone(), board, kind };
        // The whole process is one test.
        if matches!(invocation.adapter, Adapter::Exec | Adapter::Rust) {
            for test in &reader.invocation.tests {
                reader.board.start(Duration::ZERO, test);
            }
        }
        reader
    }

    /// Takes bytes that the program wrote, to stdout and stderr alike, and
    /// says what happened. `at` is the time since the program started, by a
    /// clock that never goes back. How the bytes are cut does not matter,
    /// apart from how output is spread over events.
    #[must_use]
    pub fn push(&mut self, at: Duration, bytes: &[u8]) -> Vec<TestEvent> {
        let board = &mut self.board;
        match &mut self.kind {
            Kind::Go(reader) => reader.push(board, at, bytes),
            Kind::Ginkgo(reader) => reader.push(board, at, bytes),
            Kind::Libtest(reader) => reader.push(board, bytes),
            Kind::Pytest(reader) => reader.push(board, at, bytes),
            Kind::Command(reader) => reader.push(board, bytes),
        }
        board.take_events()
    }

    /// When the program is to be stopped, as a time since it started, unless
    /// something else happens before: a test or all of it is out of time. Ask
    /// again after each [`Reader::push`]; then send
    /// [`Invocation::stop_signal`], and SIGKILL after [`crate::STOP_GRACE`].
    #[must_use]
    pub fn deadline(&self) -> Duration {
        let whole = self.invocation.timeout.saturating_add(SETUP_SLACK);
        match self.invocation.adapter {
            Adapter::Go | Adapter::Ginkgo | Adapter::Pytest => {
                let test = self.invocation.test_timeout.saturating_add(TIMEOUT_SLACK);
                self.board.first_overdue(test).map_or(whole, |at| at.min(whole))
            }
            Adapter::Rust | Adapter::Exec | Adapter::Junit => self.invocation.timeout,
        }
    }

    /// The program has ended: `exit` says how, `report` is the content of
    /// [`Invocation::report`] if that file exists.
    pub fn finish(mut self, at: Duration, exit: &Exit, report: Option<&[u8]>) -> Ending {
        let (invocation, board) = (&self.invocation, &mut self.board);
        let failure = match &mut self.kind {
            Kind::Go(reader) => reader.finish(board, invocation, at, exit),
            Kind::Ginkgo(reader) => reader.finish(board, invocation, at, exit, report),
            Kind::Libtest(reader) => reader.finish(board, invocation, at, exit),
            Kind::Pytest(reader) => reader.finish(board, invocation, at, exit),
            Kind::Command(reader) => reader.finish(board, invocation, at, exit, report),
        };
        // Two results of one test are the worse finding: nothing else that
        // this program says can be relied on.
        let failure = self.board.take_ambiguous().or(failure);
        Ending {
            events: self.board.take_events(),
            not_run: self.board.not_run(),
            reason: self.board.take_reason(),
            failure,
            program: self.invocation.program.name,
        }
    }
}

impl Ending {
    /// Of an invocation that was not even begun: none of its tests ran, and
    /// none is said to have started.
    pub fn not_begun(invocation: &Invocation, why: &Exit) -> Self {
        Self {
            events: Vec::new(),
            not_run: invocation.tests.clone(),
            reason: why.to_string(),
            failure: None,
            program: invocation.program.name.clone(),
        }
    }

    /// Nothing is run again: all events that there are to say, those of tests
    /// that did not run included, and the failure.
    #[must_use]
    pub fn settle(mut self) -> (Vec<TestEvent>, Option<Failure>) {
        for test in self.not_run {
            self.events.push(TestEvent::Finished {
                program: self.program.clone(),
                test,
                outcome: TestOutcome::NotRun,
                duration_us: 0,
                message: Some(self.reason.clone()),
            });
        }
        (self.events, self.failure)
    }
}
