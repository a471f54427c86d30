//! What an installation says while it works.

use std::fmt;
use std::time::Duration;

use crate::Source;

/// One thing that happened to one component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// The component's name.
    pub component: String,
    /// Its version.
    pub version: String,
    /// What happened.
    pub step: Step,
}

/// What happened to a component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// It was there already.
    Present,
    /// Another process is making it; this one waits and then uses it.
    Waiting,
    /// A file of the release is on its way. Comes often: draw it over.
    Downloading {
        /// The file's name.
        file: String,
        /// Bytes that are here, an earlier try's included.
        done: u64,
        /// Bytes in all, if the server said so.
        total: Option<u64>,
    },
    /// The connection was lost; the next try goes on from what is here.
    Resuming {
        /// What happened.
        reason: String,
    },
    /// The release cannot be had now, so the component is built from Go
    /// modules instead.
    FallingBack {
        /// Why not.
        reason: String,
    },
    /// Go downloads the source. Comes about once a second: draw it over.
    Fetching {
        /// Time since that began.
        elapsed: Duration,
        /// Modules that had to be downloaded until now.
        modules: usize,
    },
    /// Go builds it. Comes about once a second: draw it over.
    Building {
        /// Time since the build began.
        elapsed: Duration,
        /// Packages compiled now; those in Go's cache do not count.
        compiled: usize,
        /// Packages in all.
        packages: usize,
    },
    /// It is optional, cannot be had, and is left out.
    LeftOut {
        /// Why not.
        reason: String,
    },
    /// It is there now.
    Done {
        /// Where it came from.
        source: Source,
        /// How long that took.
        elapsed: Duration,
    },
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.component, self.version, self.step)
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Present => f.write_str("present"),
            Self::Waiting => f.write_str("waiting for another process that makes it"),
            Self::Downloading { file, done, total: Some(total) } => {
                write!(f, "downloading {file}, {} of {} MiB", done >> 20, total >> 20)
            }
            Self::Downloading { file, done, total: None } => {
                write!(f, "downloading {file}, {} MiB", done >> 20)
            }
            Self::Resuming { reason } => write!(f, "connection lost ({reason}), resuming"),
            Self::FallingBack { reason } => {
                write!(f, "no release ({reason}), building it from Go modules")
            }
            Self::Fetching { elapsed, modules } => {
                write!(f, "fetching source, {} s, {modules} modules", elapsed.as_secs())
            }
            Self::Building { elapsed, compiled, packages } => {
                let seconds = elapsed.as_secs();
                write!(f, "building, {seconds} s, {compiled} of at most {packages} packages")
            }
            Self::LeftOut { reason } => write!(f, "left out: {reason}"),
            Self::Done { source: Source::Go, elapsed } => {
                write!(f, "built in {:.1} s", elapsed.as_secs_f64())
            }
            Self::Done { source, elapsed } => {
                write!(f, "installed from {source} in {:.1} s", elapsed.as_secs_f64())
            }
        }
    }
}
