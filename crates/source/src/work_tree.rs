//! A Git work tree on the disk.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use seatrial_store::Store;

use crate::error::SourceError;
use crate::files::{Listing, ProjectFiles, stamp};
use crate::git;

/// A directory of a Git work tree: the project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkTree {
    dir: PathBuf,
    top: PathBuf,
    /// Git's index.
    index: PathBuf,
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
        let answer = git::ask(&dir, &["rev-parse", "--show-toplevel", "--git-path", "index"])?;
        let text = String::from_utf8(answer.stdout).unwrap_or_default();
        match text.strip_suffix('\n').and_then(|text| text.split_once('\n')) {
            Some((top, index)) if answer.success => {
                let index = dir.join(index);
                Ok(Self { dir, top: top.into(), index })
            }
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

    /// Where the work tree stands, with `files` as it has them. What Git
    /// says of a state is kept: it looks at every file once more to say it.
    ///
    /// # Errors
    /// When git fails or the store cannot be read or written.
    pub fn head(&self, files: &ProjectFiles, store: &Store) -> Result<Head, SourceError> {
        let commit = ["rev-parse", "--verify", "--quiet", "--end-of-options", "HEAD^{commit}"];
        let branch = ["symbolic-ref", "--quiet", "--short", "HEAD"];
        let line = |arguments: &[&str]| -> Result<Option<String>, SourceError> {
            let answer = git::ask(&self.dir, arguments)?;
            Ok(first_line(answer.stdout).filter(|_| answer.success))
        };
        let (commit, branch) = (line(&commit)?, line(&branch)?);
        let index = nix::sys::stat::lstat(&self.index).ok();
        let state = index.zip(commit.as_deref());
        let state = state.and_then(|(index, commit)| files.state(commit, stamp(&index)));
        if let Some(state) = state
            && let Some(dirty) = store.kept_dirty(state)?
        {
            return Ok(Head { commit, branch, dirty });
        }
        let status = ["status", "--porcelain", "-z", "--untracked-files=normal", "--", "."];
        let dirty = !git::run(&self.dir, &status)?.is_empty();
        if let Some(state) = state {
            store.keep_dirty(state, dirty)?;
        }
        Ok(Head { commit, branch, dirty })
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
