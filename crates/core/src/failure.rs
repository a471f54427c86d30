//! What ends a node or a run before it passes: whose fault, whether trying
//! again helps, and what to do now. Exit codes and verdicts derive from it.

use serde::{Deserialize, Serialize};

/// Whose fault a failure is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// The product or its tests: a build that does not compile, a test that
    /// fails, a Deployment that does not become available.
    Product,
    /// The pipeline file or the command line.
    Config,
    /// The machine, the network, a component of the cluster, or Seatrial.
    Environment,
}

/// Whether doing the same again can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Retry {
    /// The same input gives the same failure.
    Never,
    /// Nothing was left half done, and the cause may have passed.
    Safe,
}

/// A failure as it is shown, recorded and decided upon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// Whose fault it is.
    pub fault: Fault,
    /// Whether a retry helps.
    pub retry: Retry,
    /// A stable dotted code, such as `build.failed`, for programs.
    pub code: String,
    /// One paragraph for a person: what failed, with the chain of causes.
    pub message: String,
    /// What to look at: the end of a log, the last state that was waited for.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// What to do now, each one sentence.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hints: Vec<String>,
}

impl Failure {
    /// The code of a component of a cluster that ended by itself: what was
    /// being done there is void.
    pub const COMPONENT_DIED: &str = "cluster.component_died";

    /// A failure of the product or its tests, which a retry does not mend.
    #[must_use]
    pub fn product(code: &str, message: impl Into<String>) -> Self {
        Self::new(Fault::Product, Retry::Never, code, message)
    }

    /// A mistake in the pipeline file or on the command line.
    #[must_use]
    pub fn config(code: &str, message: impl Into<String>) -> Self {
        Self::new(Fault::Config, Retry::Never, code, message)
    }

    /// A failure of the machine, the network or Seatrial.
    #[must_use]
    pub fn environment(code: &str, message: impl Into<String>) -> Self {
        Self::new(Fault::Environment, Retry::Safe, code, message)
    }

    /// Adds what to do now.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Adds what to look at.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }

    /// The message of `error` and of all its sources, `: ` between them.
    #[must_use]
    pub fn chain(error: &dyn std::error::Error) -> String {
        let mut text = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            text.push_str(": ");
            text.push_str(&cause.to_string());
            source = cause.source();
        }
        text
    }

    fn new(fault: Fault, retry: Retry, code: &str, message: impl Into<String>) -> Self {
        Self {
            fault,
            retry,
            code: code.to_owned(),
            message: message.into(),
            detail: String::new(),
            hints: Vec::new(),
        }
    }
}
