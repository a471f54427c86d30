//! A Git work tree on the disk.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::error::SourceError;
use crate::files::{Listing, ProjectFiles};
use crate::git;

/// A directory of a Git work tree: the project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkTree {
    dir: PathBuf,
    top: PathBuf,
}

/// Where a work tree stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// The commit that is checked out; `None` before the first one.
    pub commit: Option<String>,
    /// The branch; `None` on a detached head.
    pub branch: Option<String>,
    /// Whether a file differs from the commit, is new or is gone, within the
    /// project directory.
    pub dirty: bool,
}

impl WorkTree {
    /// Opens the work tree that `dir` is in.
    ///
    /// # Errors
    /// [`SourceError::NotAWorkTree`] when it is in none (a bare repository is
    /// none); others when `dir` or git cannot be used.
    pub fn open(dir: &Path) -> Result<Self, SourceError> {
        let refuse = |source| SourceError::Directory { dir: dir.to_owned(), source };
        let dir = dir.canonicalize().map_err(refuse)?;
        let answer = git::ask(&dir, &["rev-parse", "--show-toplevel"])?;
        let top = first_line(answer.stdout);
        match top {
            Some(top) if answer.success => Ok(Self { dir, top: top.into() }),
            _ => Err(SourceError::NotAWorkTree(dir)),
        }
    }

    /// The project directory, without symbolic links.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The top directory of the work tree.
    #[must_use]
    pub fn top(&self) -> &Path {
        &self.top
    }

    /// Where the work tree stands.
    ///
    /// # Errors
    /// When git fails.
    pub fn head(&self) -> Result<Head, SourceError> {
        let commit = ["rev-parse", "--verify", "--quiet", "--end-of-options", "HEAD^{commit}"];
        let branch = ["symbolic-ref", "--quiet", "--short", "HEAD"];
        let status = ["status", "--porcelain", "-z", "--untracked-files=normal", "--", "."];
        let line = |arguments: &[&str]| -> Result<Option<String>, SourceError> {
            let answer = git::ask(&self.dir, arguments)?;
            Ok(first_line(answer.stdout).filter(|_| answer.success))
        };
        Ok(Head {
            commit: line(&commit)?,
            branch: line(&branch)?,
            dirty: !git::run(&self.dir, &status)?.is_empty(),
        })
    }

    /// Lists the files of the project and looks at each one once.
    ///
    /// # Errors
    /// When git fails, a path is not UTF-8 or there are more than a million files.
    pub fn files(&self) -> Result<ProjectFiles, SourceError> {
        let tracked = ["ls-files", "-z", "--cached", "--recurse-submodules"];
        let untracked = ["ls-files", "-z", "--others", "--exclude-standard"];
        let seen_at = SystemTime::now();
        std::thread::scope(|scope| {
            // Looking for untracked files reads every directory; meanwhile the
            // others are looked at.
            let untracked = scope.spawn(|| git::run(&self.dir, &untracked));
            let mut listing = Listing::new(&self.dir);
            listing.add(&git::run(&self.dir, &tracked)?, true)?;
            listing.add(&untracked.join().expect("running git does not panic")?, false)?;
            Ok(listing.finish(seen_at))
        })
    }
}

fn first_line(bytes: Vec<u8>) -> Option<String> {
    let text = String::from_utf8(bytes).ok()?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    (!line.is_empty()).then(|| line.to_owned())
}
