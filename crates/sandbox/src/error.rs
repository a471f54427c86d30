use std::io;
use std::path::PathBuf;

use seatrial_core::failure::Failure;

/// Why something could not be run apart.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An operation of this process on a file or directory failed.
    #[error("cannot {what} {}", path.display())]
    File {
        /// The verb.
        what: &'static str,
        /// What it was done to.
        path: PathBuf,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// A system call of this process failed.
    #[error("cannot {what}")]
    System {
        /// What was tried.
        what: String,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// The process that was started apart could not set itself up. It ran
    /// nothing: the sandbox fails closed.
    #[error("cannot set up the sandbox: {0}")]
    Setup(String),
    /// The process that was started apart ended without saying why.
    #[error("the sandbox ended early while {0}")]
    Gone(&'static str),
    /// The sandbox was set up, but the kernel does not start the program: there
    /// is none, it may not be executed, or it is not one.
    #[error("{0}")]
    NotStarted(String),
    /// A specification that can never be carried out.
    #[error("{0}")]
    Refused(String),
    /// The machine lacks something that is needed.
    #[error("{0}")]
    Missing(String),
}

impl Error {
    /// This error as what ends a node of the plan.
    #[must_use]
    pub fn failure(&self) -> Failure {
        let message = Failure::chain(self);
        match self {
            Self::Refused(_) | Self::NotStarted(_) => Failure::config("sandbox.refused", message),
            _ => Failure::environment("sandbox.failed", message)
                .hint("run `seatrial doctor` to see what this machine lacks"),
        }
    }

    pub(crate) fn system(what: impl Into<String>, source: impl Into<io::Error>) -> Self {
        Self::System { what: what.into(), source: source.into() }
    }

    pub(crate) fn file(
        what: &'static str,
        path: impl Into<PathBuf>,
        source: impl Into<io::Error>,
    ) -> Self {
        Self::File { what, path: path.into(), source: source.into() }
    }
}

/// Adds to a raw error what was tried.
pub(crate) trait Tried<T> {
    /// Names what was tried.
    fn tried(self, what: impl FnOnce() -> String) -> Result<T, Error>;
}

impl<T, E: Into<io::Error>> Tried<T> for Result<T, E> {
    fn tried(self, what: impl FnOnce() -> String) -> Result<T, Error> {
        self.map_err(|source| Error::system(what(), source))
    }
}
