//! What can go wrong in the store, and whose fault it is.

use std::io;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use seatrial_core::digest::Digest;
use seatrial_core::failure::Failure;

use crate::manifest::TreeError;
use crate::state_dir::StateDirProblem;

/// An error of the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The state directory cannot be used.
    #[error("state directory {}: {problem}", dir.display())]
    StateDir {
        /// The directory.
        dir: PathBuf,
        /// What is wrong with it.
        problem: StateDirProblem,
    },
    /// An operation on a file failed.
    #[error("cannot {what} {}", path.display())]
    Io {
        /// The operation, as in "cannot …".
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The answer of the kernel.
        #[source]
        source: io::Error,
    },
    /// A record could not be read or written.
    #[error("cannot {what} in the records of the store")]
    Records {
        /// The operation, as in "cannot …".
        what: &'static str,
        /// The answer of the database.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// An earlier write did not reach the disk; the state of the page cache is
    /// unknown since then, so nothing is accepted until the process restarts.
    #[error("the store takes no more writes: a write to {} did not reach the disk", path.display())]
    Poisoned {
        /// The file whose sync failed.
        path: PathBuf,
    },
    /// Content is not what its digest says.
    #[error("content is {found}, not {expected}")]
    DigestMismatch {
        /// What it was said to be.
        expected: Digest,
        /// What it is.
        found: Digest,
    },
    /// Content has more bytes than allowed.
    #[error("content is larger than {limit} bytes")]
    TooLarge {
        /// The limit.
        limit: u64,
    },
    /// The store has no such blob.
    #[error("no blob {0} in the store")]
    NoBlob(Digest),
    /// The store has no such tree.
    #[error("no tree {0} in the store")]
    NoTree(Digest),
    /// Files that cannot be a tree.
    #[error("{0}")]
    Tree(TreeError),
    /// Events do not follow on those that are there.
    #[error("run {run} continues with event {expected}, not {found}")]
    Sequence {
        /// The run.
        run: String,
        /// The next sequence number.
        expected: u64,
        /// What was offered.
        found: u64,
    },
    /// Log bytes do not follow on, or differ from, those that are there.
    #[error("log continues at offset {expected}, not {found}")]
    LogOffset {
        /// The next offset.
        expected: u64,
        /// What was offered.
        found: u64,
    },
    /// No run has this name.
    #[error("no run `{0}`")]
    NoRun(String),
    /// More than one run has a name like this.
    #[error("`{text}` can be any of {}", runs.join(", "))]
    AmbiguousRun {
        /// What was asked for.
        text: String,
        /// Which runs it can be.
        runs: Vec<String>,
    },
}

impl StoreError {
    pub(crate) fn io(what: &'static str, path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> Self {
        let path = path.as_ref().to_owned();
        move |source| Self::Io { what, path, source }
    }

    pub(crate) fn records<E>(what: &'static str) -> impl FnOnce(E) -> Self
    where
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        move |source| Self::Records { what, source: source.into() }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::StateDir { .. } => "server.data_dir",
            Self::Io { source, .. } => lack(source).map_or("store.io", |lack| lack.code),
            Self::Records { source, .. } => {
                lack_of_records(source.as_ref()).map_or("store.records", |lack| lack.code)
            }
            Self::Poisoned { .. } => "store.poisoned",
            Self::DigestMismatch { .. } => "cas.digest_mismatch",
            Self::TooLarge { .. } => "cas.too_large",
            Self::NoBlob(_) | Self::NoTree(_) => "cas.missing",
            Self::Tree(error) => error.code(),
            Self::Sequence { .. } => "run.sequence",
            Self::LogOffset { .. } => "log.offset",
            Self::NoRun(_) | Self::AmbiguousRun { .. } => "run.unknown",
        }
    }
}

/// Something that a machine has too little of, and whoever runs it can give.
struct Lack {
    code: &'static str,
    hint: &'static str,
}

const FULL: &Lack = &Lack {
    code: "store.full",
    hint: "make room on the disk of the state directory (`df -h`, `df -i`); `seatrial gc` helps",
};
const READ_ONLY: &Lack = &Lack {
    code: "store.read_only",
    hint: "the file system of the state directory is read-only: look into `dmesg`, or use another with --state-dir",
};
const FILES: &Lack =
    &Lack { code: "store.open_files", hint: "let it open more files: `ulimit -n 1024`" };
/// The database says only that something went wrong with a file of it.
const SOME: &Lack = &Lack {
    code: "store.records",
    hint: "the disk of the state directory may have failed (`dmesg`) or have no room or inodes left (`df -h`, `df -i`), or this process may open too few files (`ulimit -n`)",
};
const LACKS: [&Lack; 4] = [FULL, READ_ONLY, FILES, SOME];

/// The kernel's answer, also where a library has put its own words around it.
pub(crate) fn errno(error: &io::Error) -> Option<Errno> {
    if let Some(code) = error.raw_os_error() {
        return Some(Errno::from_raw(code));
    }
    // Some lacks have a kind of their own. Of the others `tempfile`, which names
    // the path, keeps the text alone.
    match error.kind() {
        io::ErrorKind::StorageFull => Some(Errno::ENOSPC),
        io::ErrorKind::QuotaExceeded => Some(Errno::EDQUOT),
        io::ErrorKind::ReadOnlyFilesystem => Some(Errno::EROFS),
        _ => {
            let text = error.to_string();
            let (code, _) = text.split_once("(os error ")?.1.split_once(')')?;
            code.parse().ok().map(Errno::from_raw)
        }
    }
}

/// What the kernel's answer says that there is too little of.
fn lack(error: &io::Error) -> Option<&'static Lack> {
    Some(match errno(error)? {
        Errno::ENOSPC | Errno::EDQUOT => FULL,
        Errno::EROFS => READ_ONLY,
        Errno::EMFILE | Errno::ENFILE => FILES,
        _ => return None,
    })
}

/// The same of the database's, which does not pass on what the kernel said.
fn lack_of_records(error: &(dyn std::error::Error + 'static)) -> Option<&'static Lack> {
    use rusqlite::ErrorCode;
    Some(match error.downcast_ref::<rusqlite::Error>()?.sqlite_error_code()? {
        ErrorCode::DiskFull => FULL,
        ErrorCode::ReadOnly => READ_ONLY,
        ErrorCode::CannotOpen | ErrorCode::SystemIoFailure => SOME,
        _ => return None,
    })
}

impl From<TreeError> for StoreError {
    fn from(error: TreeError) -> Self {
        Self::Tree(error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let message = Failure::chain(&error);
        let code = error.code();
        match &error {
            StoreError::StateDir { problem, .. } => {
                Failure::environment(code, message).hint(problem.hint())
            }
            StoreError::Tree(_) => Failure::product(code, message),
            StoreError::NoRun(_) | StoreError::AmbiguousRun { .. } => {
                Failure::config(code, message).hint("`seatrial runs` lists what was recorded")
            }
            StoreError::Poisoned { .. } => Failure::environment(code, message)
                .hint("check the disk (`dmesg`), then start again"),
            _ => {
                let failure = Failure::environment(code, message);
                match LACKS.iter().find(|lack| lack.code == code) {
                    Some(lack) => failure.hint(lack.hint),
                    None => failure,
                }
            }
        }
    }
}
