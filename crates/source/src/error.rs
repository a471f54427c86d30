//! What can go wrong with sources, and whose fault it is.

use std::io;
use std::path::PathBuf;

use seatrial_core::failure::Failure;
use seatrial_store::StoreError;
use seatrial_store::manifest::TreeError;

/// An error of a source.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// There is no git binary, or it cannot be run.
    #[error("cannot run git")]
    NoGit(#[source] io::Error),
    /// The directory is in no Git work tree.
    #[error("{} is not in a Git work tree", .0.display())]
    NotAWorkTree(PathBuf),
    /// The directory does not exist or cannot be entered.
    #[error("cannot open the directory {}", dir.display())]
    Directory {
        /// The directory.
        dir: PathBuf,
        /// The answer of the kernel.
        #[source]
        source: io::Error,
    },
    /// Git gave up.
    #[error("git {command} failed: {stderr}")]
    Git {
        /// The subcommand.
        command: String,
        /// The end of what it printed.
        stderr: String,
    },
    /// A name that is no branch, tag or full commit id.
    #[error("`{}` is no branch, tag or commit: {reason}", name.escape_debug())]
    BadRef {
        /// The name.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A pattern that cannot be used.
    #[error("the pattern `{}` cannot be used: {reason}", pattern.escape_debug())]
    BadPattern {
        /// The pattern.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Patterns that no file matches.
    #[error("no file of the project matches {}", .0.join(", "))]
    NoMatch(Vec<String>),
    /// Files that cannot be a tree.
    #[error("the work tree cannot be used: {0}")]
    UnsafeTree(TreeError),
    /// Two paths that many file systems cannot keep apart.
    #[error("`{}` and `{}` are one name where case or Unicode form is not told apart", .0.escape_debug(), .1.escape_debug())]
    Clash(String, String),
    /// More than the source of a run may have.
    #[error("the work tree has more than {limit} {what}")]
    Quota {
        /// Of what.
        what: &'static str,
        /// How many are allowed.
        limit: u64,
    },
    /// A file of the project cannot be read.
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
    /// The store failed.
    #[error(transparent)]
    Store(StoreError),
}

impl From<StoreError> for SourceError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Tree(error) => Self::UnsafeTree(error),
            error => Self::Store(error),
        }
    }
}

impl From<TreeError> for SourceError {
    fn from(error: TreeError) -> Self {
        Self::UnsafeTree(error)
    }
}

impl From<SourceError> for Failure {
    fn from(error: SourceError) -> Self {
        let message = Failure::chain(&error);
        match error {
            SourceError::NoGit(error) if error.kind() != io::ErrorKind::NotFound => {
                Self::environment("git.failed", message)
                    .hint("this machine refused: too few open files (`ulimit -n`) or processes (`ulimit -u`)?")
            }
            SourceError::NoGit(_) => Self::environment("git.missing", message)
                .hint("install Git (`apt-get install git`)"),
            SourceError::NotAWorkTree(_) => Self::config("git.no_work_tree", message)
                .hint("make it one: `git init && git add --all`"),
            SourceError::Directory { .. } => Self::config("source.directory", message),
            SourceError::Git { .. } => Self::environment("git.failed", message),
            SourceError::BadRef { .. } => Self::config("git.bad_ref", message)
                .hint("give a branch, a tag, or all digits of a commit id"),
            SourceError::BadPattern { .. } => Self::config("source.bad_pattern", message),
            SourceError::NoMatch(_) => Self::config("source.no_match", message)
                .hint("ignored files are not part of a project (`git check-ignore -v PATH`)"),
            SourceError::UnsafeTree(_) | SourceError::Clash(..) => {
                Self::config("git.unsafe_tree", message)
            }
            SourceError::Quota { .. } => Self::config("git.quota", message),
            SourceError::Io { .. } => Self::environment("source.io", message),
            SourceError::Store(error) => error.into(),
        }
    }
}
