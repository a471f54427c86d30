//! What tests do, as adapters read it.

use seatrial_core::verdict::Verdict;
use serde::{Deserialize, Serialize};

/// How one try of a test ended, as its own program said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum TestOutcome {
    /// It passed.
    Passed,
    /// It failed, panicked, or its program died in it.
    Failed,
    /// It failed and then passed, tried again by its own program.
    Flaky,
    /// It skipped itself. Neither a pass nor a failure.
    Skipped,
    /// It was selected and did not run, since its program ended before.
    NotRun,
    /// It took longer than it may.
    TimedOut,
    /// Its environment failed under it: nothing is said about the product.
    Broken,
    /// Somebody stopped the run.
    Cancelled,
}

impl TestOutcome {
    /// The verdict of a test with only this try; `None` when it skipped.
    #[must_use]
    pub fn verdict(self) -> Option<Verdict> {
        match self {
            Self::Passed => Some(Verdict::Passed),
            Self::Flaky => Some(Verdict::Flaky),
            Self::NotRun => Some(Verdict::NotRun),
            Self::Failed | Self::TimedOut => Some(Verdict::Failed),
            Self::Broken => Some(Verdict::Broken),
            Self::Cancelled => Some(Verdict::Cancelled),
            Self::Skipped => None,
        }
    }
}

/// Something that happened while tests ran.
///
/// A test is named by its program and its own name, subtests with `/` between
/// the parts as Go writes them: program `e2e.test`, test `TestScale/up`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "type")]
pub enum TestEvent {
    /// A test began.
    Started {
        /// Its program.
        program: String,
        /// Its name.
        test: String,
    },
    /// A test wrote something. Bytes that are not UTF-8 were replaced.
    Output {
        /// Its program.
        program: String,
        /// Its name; `None`: the program outside any test.
        test: Option<String>,
        /// What it wrote.
        text: String,
    },
    /// A test ended.
    Finished {
        /// Its program.
        program: String,
        /// Its name.
        test: String,
        /// How.
        outcome: TestOutcome,
        /// How long it took, in microseconds.
        duration_us: u64,
        /// Why it failed, where the program says so apart from its output.
        message: Option<String>,
    },
}
