use std::io;
use std::path::PathBuf;
use std::time::Duration;

use seatrial_core::failure::Failure;
use seatrial_core::quantity::show_duration;
use seatrial_sandbox::action::Status;

/// Why an environment could not be booted or used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A specification that can never be carried out.
    #[error("{0}")]
    Refused(String),
    /// Namespaces, links, mounts or control groups could not be made.
    #[error("cannot make the environment's namespaces")]
    Sandbox(#[from] seatrial_sandbox::Error),
    /// A file of the environment could not be written or read.
    #[error("cannot {what} {}", path.display())]
    File {
        /// The verb.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// A key or certificate could not be made.
    #[error("cannot make the cluster's certificates")]
    Certificates(#[from] rcgen::Error),
    /// A component ended, which none does by itself.
    #[error("{name} on {node} ended with {}", show_status(*.status))]
    Died {
        /// The component.
        name: String,
        /// The node.
        node: String,
        /// How it ended.
        status: Status,
        /// The end of what it wrote.
        log_tail: String,
    },
    /// A program could not be started.
    #[error("cannot start {name}: {why}")]
    NotStarted {
        /// The program.
        name: String,
        /// Why.
        why: String,
    },
    /// Something that was waited for did not come.
    #[error("{what} did not come within {}; last seen: {last}", show_duration(*.after))]
    Late {
        /// What was waited for.
        what: String,
        /// How long.
        after: Duration,
        /// The last state.
        last: String,
    },
    /// The API server refused something that it never should.
    #[error("the API server refused to {what}")]
    Api {
        /// What was asked.
        what: String,
        /// Its answer.
        #[source]
        source: Box<kube::Error>,
    },
    /// The environment's first process is gone.
    #[error("the environment ended")]
    Gone,
    /// A socket could not be used.
    #[error("cannot {what}")]
    Socket {
        /// What was tried.
        what: String,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
}

impl Error {
    /// This error as what ends a node of the plan.
    #[must_use]
    pub fn failure(&self) -> Failure {
        let message = Failure::chain(self);
        match self {
            Self::Refused(_) => Failure::config("cluster.refused", message),
            Self::Sandbox(error) => error.failure(),
            Self::Died { log_tail, .. } => {
                Failure::environment(Failure::COMPONENT_DIED, message).detail(log_tail)
            }
            Self::Late { last, .. } => Failure::environment("cluster.late", message)
                .detail(last)
                .hint("the machine may be overloaded: boot fewer environments at once"),
            _ => Failure::environment("cluster.failed", message),
        }
    }

    pub(crate) fn file(what: &'static str, path: impl Into<PathBuf>, source: io::Error) -> Self {
        Self::File { what, path: path.into(), source }
    }

    pub(crate) fn api(what: impl Into<String>, source: kube::Error) -> Self {
        Self::Api { what: what.into(), source: Box::new(source) }
    }
}

pub(crate) fn show_status(status: Status) -> String {
    match status {
        Status::Code(code) => format!("exit code {code}"),
        Status::Signal(signal) => format!("signal {signal}"),
    }
}
