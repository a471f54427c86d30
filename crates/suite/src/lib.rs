//! Test adapters: how the tests of a suite are listed, run and read.
//!
//! Owns the command lines of test programs and the meaning of what they write.
//! Does no I/O and reads no clock: it starts no process and opens no file. The
//! worker starts an [`Invocation`] in a sandbox, feeds the bytes it writes to
//! a [`reader::Reader`] with the time, and passes the events on:
//!
//! ```
//! use std::time::Duration;
//! use seatrial_core::failure::Failure;
//! use seatrial_core::pipeline::Suite;
//! use seatrial_protocol::test::TestEvent;
//! use seatrial_suite::list::{self, List};
//! use seatrial_suite::reader::Reader;
//! use seatrial_suite::{Exit, Invocation, Program, run, select};
//!
//! struct Ran { output: Vec<u8>, exit: Exit, report: Option<Vec<u8>> }
//!
//! /// `start` runs one command in the sandbox, stdout and stderr in one pipe.
//! fn suite(
//!     name: &str,
//!     suite: &Suite,
//!     programs: Vec<Program>,
//!     start: impl Fn(&Invocation) -> Ran,
//! ) -> Result<(Vec<TestEvent>, Vec<Failure>), Failure> {
//!     let mut listings = Vec::new();
//!     for program in programs {
//!         listings.push(match list::list(suite, program, "/reports/list")? {
//!             List::Known(listing) => listing,
//!             List::Ask(ask) => {
//!                 let ran = start(&ask);
//!                 list::parse(&ask, &ran.output, &ran.exit, ran.report.as_deref())?
//!             }
//!         });
//!     }
//!     let (mut events, mut failures) = (Vec::new(), Vec::new());
//!     for listing in select::select(name, listings, &suite.select)? {
//!         let options = run::Options { parallel: 2, reports: "/reports/run".into() };
//!         for invocation in run::run(suite, &listing, &options) {
//!             let mut reader = Reader::new(&invocation);
//!             // In the worker: for each chunk as it comes, and a timer that
//!             // stops the program when `reader.deadline()` has passed.
//!             let ran = start(&invocation);
//!             events.extend(reader.push(Duration::ZERO, &ran.output));
//!             let end = reader.finish(Duration::from_secs(1), &ran.exit, ran.report.as_deref());
//!             // Here nothing is run again. The worker starts `end.not_run`
//!             // again (`listing.only(...)`) as long as some test has ended.
//!             let (last, failure) = end.settle();
//!             events.extend(last);
//!             failures.extend(failure);
//!         }
//!     }
//!     Ok((events, failures))
//! }
//! ```

use std::collections::BTreeMap;
use std::time::Duration;

use seatrial_core::pipeline::Adapter;
use seatrial_protocol::test::TestOutcome;

pub mod junit;
pub mod list;
pub mod reader;
pub mod run;
pub mod select;

mod ginkgo_report;
mod libtest;
mod lines;
mod program_failure;
mod pytest;

/// How many bytes of a report are read; a longer one is refused. The worker
/// reads one byte more than this and no further.
pub const REPORT_LIMIT: usize = 64 << 20;

/// How long a program has between [`Invocation::stop_signal`] and SIGKILL.
pub const STOP_GRACE: Duration = Duration::from_secs(5);

/// A file that holds tests, or the command of a suite.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// What it is called in results, unique in its suite: `e2e.test`. The
    /// suite's name when the suite is a command or pytest.
    pub name: String,
    /// Where it is inside the sandbox: `/tests/e2e.test`. Unused when the
    /// suite is a command or pytest.
    pub path: String,
}

/// One process to start: all that the worker needs to know about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invocation {
    /// How its output is read.
    pub adapter: Adapter,
    /// Whose tests it runs.
    pub program: Program,
    /// The tests it must run; empty where only its report tells (`junit`), and
    /// when it lists.
    pub tests: Vec<String>,
    /// Program and arguments. Started as they are, never through a shell.
    pub argv: Vec<String>,
    /// Environment variables besides those of the suite and the environment.
    pub env: BTreeMap<String, String>,
    /// A file that the program writes and that is read when it has ended. Its
    /// directory exists, the file does not.
    pub report: Option<String>,
    /// How long all of it may take.
    pub timeout: Duration,
    /// How long one test in it may take, from its start.
    pub test_timeout: Duration,
    /// The signal that asks it to stop in a way that tells most: SIGQUIT makes
    /// a Go program write its stacks, SIGINT makes Ginkgo clean up and report.
    pub stop_signal: i32,
}

/// How a process ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exit {
    /// By itself, with this code.
    Code(i32),
    /// By a signal that the worker did not send.
    Signal(i32),
    /// The worker stopped it, and this is what that says of the tests that
    /// were running: `TimedOut`, `Cancelled` or `Broken`.
    Stopped(TestOutcome),
    /// It could not be started: the system's reason.
    NotStarted(String),
}

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(signal) => write!(f, "signal {signal}"),
            Self::Stopped(TestOutcome::TimedOut) => f.write_str("stopped, out of time"),
            Self::Stopped(TestOutcome::Broken) => f.write_str("stopped, environment broken"),
            Self::Stopped(_) => f.write_str("stopped"),
            Self::NotStarted(reason) => write!(f, "not started: {reason}"),
        }
    }
}
