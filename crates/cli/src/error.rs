//! What ends a command early, and the exit code that it gives.

use seatrial_config::Diagnostic;
use seatrial_core::failure::{Failure, Fault};
use seatrial_core::verdict::exit_code;

/// What ends a command early.
#[derive(Debug)]
pub(crate) enum CommandError {
    /// Mistakes in the pipeline file or in values for it.
    Diagnostics(Vec<Diagnostic>),
    /// Anything else.
    Failure(Failure),
}

impl CommandError {
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Diagnostics(_) => exit_code::USAGE,
            Self::Failure(failure) => match failure.fault {
                Fault::Config => exit_code::USAGE,
                Fault::Product => exit_code::FAILED,
                Fault::Environment => exit_code::BROKEN,
            },
        }
    }
}

impl From<Failure> for CommandError {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

impl From<seatrial_store::StoreError> for CommandError {
    fn from(error: seatrial_store::StoreError) -> Self {
        Self::Failure(error.into())
    }
}

impl From<seatrial_source::SourceError> for CommandError {
    fn from(error: seatrial_source::SourceError) -> Self {
        Self::Failure(error.into())
    }
}

impl From<std::io::Error> for CommandError {
    fn from(error: std::io::Error) -> Self {
        Self::Failure(Failure::environment("cli.io", error.to_string()))
    }
}
