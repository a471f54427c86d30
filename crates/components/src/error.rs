//! Why components could not be installed, and what a person can do about it.

use std::io;
use std::path::{Path, PathBuf};

use seatrial_core::failure::{Failure, Retry};

use crate::archive::ArchiveError;
use crate::checksum::ChecksumError;
use crate::fetch::FetchError;
use crate::go::GoError;

/// What to do about a file that is there and wrong.
const SUSPECT: &str = "do not use this file; try another network, or build with `--from go`";

/// Why an installation stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The cache directory cannot be used.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was to be done.
        action: &'static str,
        /// To what.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A file of a release cannot be had.
    #[error("cannot download {url}")]
    Fetch {
        /// The file's address.
        url: String,
        /// Why not.
        #[source]
        source: Box<FetchError>,
    },
    /// A file of a release is not what it should be.
    #[error("checksum of {url}")]
    Checksum {
        /// The file's address.
        url: String,
        /// What is wrong.
        #[source]
        source: ChecksumError,
    },
    /// An archive is refused.
    #[error("cannot unpack {file}")]
    Archive {
        /// The archive's name.
        file: String,
        /// Why.
        #[source]
        source: ArchiveError,
    },
    /// A build from Go modules is not possible or failed.
    #[error(transparent)]
    Go(#[from] GoError),
    /// Neither source works.
    #[error("{component}: no release ({release}), and no build either")]
    NoSource {
        /// The component's name.
        component: String,
        /// Why there is no release.
        release: String,
        /// Why it was not built.
        #[source]
        build: Box<Error>,
    },
    /// The component cannot come from where it was asked to.
    #[error("{component} has neither a release nor a Go build in the lock")]
    Nowhere {
        /// The component's name.
        component: String,
    },
    /// The directory to install from is not one of ours.
    #[error("{} is no directory of installed components", path.display())]
    NotInstalled {
        /// The directory.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The directory to install from holds something else than the lock wants.
    #[error("{}: {component} {wanted} is wanted, found {found}", path.display())]
    OtherVersion {
        /// The directory.
        path: PathBuf,
        /// The component's name.
        component: String,
        /// Its locked version.
        wanted: String,
        /// The version that is there, or `nothing`.
        found: String,
    },
    /// A file to install from is not what its own manifest says.
    #[error("{} is damaged: its content is not what components.json says", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
    },
}

impl Error {
    /// Whether another source may do what this one could not, because this
    /// one is not there. What *is* there and wrong is never passed over.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Fetch { source, .. } if source.is_unavailable())
    }

    /// The failure of a run for want of components, with what to do now.
    #[must_use]
    pub fn failure(&self) -> Failure {
        let mut failure = Failure::environment(self.code(), Failure::chain(self));
        if !self.is_unavailable() {
            failure.retry = Retry::Never;
        }
        if let Some(output) = self.output() {
            failure = failure.detail(output);
        }
        match self.hint() {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }

    /// A stable dotted code for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Io { .. } => "components.cache",
            Self::Fetch { source, .. } => match **source {
                FetchError::TooLarge { .. } => "components.too-large",
                _ => "components.download",
            },
            Self::Checksum { .. } => "components.checksum",
            Self::Archive { source, .. } => source.code(),
            Self::Go(GoError::Failed { .. } | GoError::Start { .. }) => "components.build",
            Self::Go(_) => "components.prerequisite",
            Self::NoSource { build, .. } => build.code(),
            Self::Nowhere { .. } => "components.lock",
            Self::NotInstalled { .. } | Self::OtherVersion { .. } | Self::Damaged { .. } => {
                "components.from-dir"
            }
        }
    }

    fn output(&self) -> Option<&str> {
        match self {
            Self::Go(GoError::Failed { output, .. }) => Some(output),
            Self::NoSource { build, .. } => build.output(),
            _ => None,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => {
                "free some disk space: components and Go's build cache take about 6 GB".to_owned()
            }
            Self::Io { path, .. } => format!("check the permissions of {}", path.display()),
            Self::Fetch { source, .. } => match **source {
                FetchError::TooLarge { .. } | FetchError::BadRange { .. } => SUSPECT.to_owned(),
                _ => "check the network or HTTPS_PROXY, build the components with \
                `--from go`, or copy them from another machine with `--from DIR`"
                    .to_owned(),
            },
            Self::Checksum {
                source: ChecksumError::Mismatch { recorded: Some(path), .. }, ..
            } => {
                format!(
                    "the publisher replaced the file or somebody changes it on the way; only if \
                     you know why, remove {}",
                    path.display()
                )
            }
            Self::Checksum { .. } | Self::Archive { .. } => SUSPECT.to_owned(),
            Self::Go(GoError::Missing) => {
                "install Go: https://go.dev/dl, or your distribution's package".to_owned()
            }
            Self::Go(GoError::TooOld { needed, .. }) => {
                format!("install Go {needed} or newer: https://go.dev/dl")
            }
            Self::Go(GoError::Needs(need)) => {
                let package = match need.as_str() {
                    "cc" => "gcc libc6-dev",
                    "libseccomp" => "libseccomp-dev",
                    other => other,
                };
                format!("on Debian or Ubuntu: apt-get install {package}")
            }
            Self::Go(GoError::Failed { .. }) => {
                "what Go needs to download comes through GOPROXY; check it with `go env GOPROXY`"
                    .to_owned()
            }
            Self::NoSource { build, .. } => return build.hint(),
            Self::NotInstalled { .. } | Self::OtherVersion { .. } | Self::Damaged { .. } => {
                "copy the directory that `seatrial components status` names on a machine with \
                 the same version of Seatrial, with all that is in it"
                    .to_owned()
            }
            Self::Go(_) | Self::Nowhere { .. } => return None,
        })
    }
}

/// Adds to a system error what was being done.
pub(crate) trait IoContext<T> {
    fn doing(self, action: &'static str, path: &Path) -> Result<T, Error>;
}

impl<T> IoContext<T> for io::Result<T> {
    fn doing(self, action: &'static str, path: &Path) -> Result<T, Error> {
        self.map_err(|source| Error::Io { action, path: path.to_owned(), source })
    }
}
