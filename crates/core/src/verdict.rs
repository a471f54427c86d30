//! What is said of a test, and of a run.

use serde::{Deserialize, Serialize};

use crate::failure::{Failure, Fault};

/// The verdict of a test or run. The order is that of precedence: the verdict
/// of many is the greatest of theirs, so `Passed` is the least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It ran and nothing was wrong.
    Passed,
    /// It failed and then passed, in another environment.
    Flaky,
    /// It was selected and did not run. Never counts as passed.
    NotRun,
    /// Somebody stopped it. Never counts as passed.
    Cancelled,
    /// Infrastructure or configuration failed, not the product.
    Broken,
    /// The product, or its test, failed.
    Failed,
}

impl Verdict {
    /// The verdict of several: the worst of them; of none, `None`, since
    /// nothing is not a pass.
    #[must_use]
    pub fn of_all(verdicts: impl IntoIterator<Item = Self>) -> Option<Self> {
        verdicts.into_iter().max()
    }

    /// The verdict of a test with this verdict that then, tried again in
    /// another environment, had the verdict `again`. A try that broke or did not
    /// run says nothing about the product, so the other one counts; but a test
    /// that breaks two environments failed.
    #[must_use]
    pub fn retried(self, again: Self) -> Self {
        match (self, again) {
            (Self::Passed | Self::Flaky, Self::Failed)
            | (Self::Failed | Self::Flaky, Self::Passed) => Self::Flaky,
            (Self::Broken, Self::Broken) => Self::Failed,
            (Self::NotRun, other) | (other, Self::NotRun) => other,
            (Self::Broken, other) | (other, Self::Broken) => other,
            (before, again) => before.max(again),
        }
    }

    /// The verdict of a run that a failure ended.
    #[must_use]
    pub fn of_failure(failure: &Failure) -> Self {
        match failure.fault {
            Fault::Product => Self::Failed,
            Fault::Config | Fault::Environment => Self::Broken,
        }
    }

    /// The exit code of a `seatrial` command with this verdict.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Passed | Self::Flaky => exit_code::PASSED,
            Self::Failed => exit_code::FAILED,
            Self::Broken | Self::NotRun => exit_code::BROKEN,
            Self::Cancelled => exit_code::CANCELLED,
        }
    }

    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Flaky => "flaky",
            Self::NotRun => "not-run",
            Self::Cancelled => "cancelled",
            Self::Broken => "broken",
            Self::Failed => "failed",
        }
    }
}

/// Exit codes of the `seatrial` command. Scripts may rely on them.
pub mod exit_code {
    /// Everything passed.
    pub const PASSED: u8 = 0;
    /// The product or a test failed.
    pub const FAILED: u8 = 1;
    /// Bad use of the command line, or a bad pipeline file.
    pub const USAGE: u8 = 2;
    /// Infrastructure failed: nothing is said about the product.
    pub const BROKEN: u8 = 3;
    /// Somebody stopped it (128 + SIGINT).
    pub const CANCELLED: u8 = 130;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_retry_never_makes_green_what_was_not() {
        use Verdict::{Broken, Cancelled, Failed, Flaky, Passed};
        assert_eq!(Failed.retried(Passed), Flaky);
        assert_eq!(Failed.retried(Failed), Failed);
        assert_eq!(Failed.retried(Cancelled), Failed);
        assert_eq!(Broken.retried(Passed), Passed);
        assert_eq!(Failed.retried(Broken), Failed);
        assert_eq!(Broken.retried(Broken), Failed, "it breaks its environment");
        assert_eq!(Flaky.retried(Passed), Flaky);
        assert_eq!(Verdict::NotRun.retried(Passed), Passed);
        assert_eq!(Verdict::NotRun.retried(Verdict::NotRun), Verdict::NotRun);
    }

    #[test]
    fn the_worst_wins_and_nothing_is_no_pass() {
        use Verdict::{Broken, Cancelled, Failed, Flaky, NotRun, Passed};
        assert_eq!(Verdict::of_all([]), None);
        assert_eq!(Verdict::of_all([Passed, Passed]), Some(Passed));
        assert_eq!(Verdict::of_all([Passed, Flaky]), Some(Flaky));
        assert_eq!(Verdict::of_all([Broken, Failed, Passed]), Some(Failed));
        assert_eq!(Verdict::of_all([Flaky, Broken]), Some(Broken));
        for never_green in [NotRun, Cancelled, Broken, Failed] {
            let all = Verdict::of_all([Passed, never_green, Flaky]);
            assert_ne!(all.map(Verdict::exit_code), Some(exit_code::PASSED), "{never_green:?}");
        }
    }
}
