//! The local repository that every system gets the project from, with a commit
//! for each run that needs a change.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context as _;

use super::measured;
use super::record::Case;
use crate::bench::product::output;

/// The branch without a change.
pub(crate) const BASE: &str = "base";

/// The project's repository.
pub(crate) struct Project {
    origin: PathBuf,
    work: PathBuf,
    /// The project as it is, by the first digits of its tree's digest.
    pub(crate) tree: String,
}

/// A change of one file: what is written in the place of what.
struct Change {
    path: &'static str,
    from: &'static str,
    to: String,
}

/// What a case changes; `salt` makes it a change that nobody has seen before.
fn change(case: Case, salt: u128) -> Option<Change> {
    Some(match case {
        Case::Cold | Case::Unchanged => return None,
        Case::Changed => Change {
            path: "cmd/front/release.go",
            from: "const release = \"1\"",
            to: format!("const release = \"{salt}\""),
        },
        Case::Test => Change {
            path: "e2e/product/items_test.go",
            from: "const cargo = \"rope\"",
            to: format!("const cargo = \"{salt}\""),
        },
        // An item that is there is overwritten though its writer said not to.
        Case::Broken => Change {
            path: "cmd/store/items.go",
            from: "if r.Header.Get(\"If-None-Match\") == \"*\" && there {",
            to: format!("if r.Header.Get(\"If-None-Match\") == \"{salt}\" && there {{"),
        },
    })
}

impl Project {
    /// Makes the repository from `source` below `dir`, or takes the one that is
    /// there and has the same files.
    pub(crate) fn open(source: &Path, dir: &Path) -> anyhow::Result<Self> {
        let (origin, work) = (dir.join("origin"), dir.join("work"));
        let listed = git(source, &["ls-files", "--cached", "--others", "--exclude-standard"])?;
        let next = dir.join("next");
        remove(&next)?;
        // What was measured is no part of what is measured.
        let files = listed.lines().filter(|file| *file != super::tests_file::NAME);
        for file in files.filter(|file| source.join(file).is_file()) {
            let to = next.join(file);
            std::fs::create_dir_all(to.parent().context("a file is in a directory")?)?;
            std::fs::copy(source.join(file), to)?;
        }
        git(&next, &["init", "--quiet", &format!("--initial-branch={BASE}")])?;
        git(&next, &["add", "--all"])?;
        let tree = git(&next, &["write-tree"])?.trim().get(..12).context("a digest")?.to_owned();
        commit(&next, "the reference job")?;
        let there = git(&origin, &["rev-parse", "--short=12", &format!("{BASE}^{{tree}}")]);
        if there.is_ok_and(|there| there.trim() == tree) {
            remove(&next)?;
        } else {
            remove(&origin)?;
            remove(&work)?;
            std::fs::rename(&next, &origin)?;
        }
        Ok(Self { origin, work, tree })
    }

    /// A branch with the change of a case, in a commit that no run has seen yet:
    /// two systems with one compiler cache would else share the work.
    pub(crate) fn branch(&self, case: Case) -> anyhow::Result<String> {
        let salt = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos();
        let Some(change) = change(case, salt) else { return Ok(BASE.to_owned()) };
        let branch = format!("{}-{salt}", case.word());
        git(&self.origin, &["checkout", "--quiet", "--force", "-b", &branch, BASE])?;
        let path = self.origin.join(change.path);
        let text = std::fs::read_to_string(&path)?;
        anyhow::ensure!(
            text.matches(change.from).count() == 1,
            "{} has to have `{}` in it, once",
            change.path,
            change.from
        );
        std::fs::write(&path, text.replace(change.from, &change.to))?;
        git(&self.origin, &["add", "--all"])?;
        commit(&self.origin, case.said())?;
        git(&self.origin, &["checkout", "--quiet", BASE])?;
        Ok(branch)
    }

    /// A fresh clone, as a job of today makes it; CPU time in microseconds.
    pub(crate) fn clone_into(&self, branch: &str, dir: &Path) -> anyhow::Result<u64> {
        // By its protocol, as from another machine, and not by hard links.
        let url = format!("file://{}", self.origin.display());
        let arguments = ["clone", "--quiet", "--branch", branch, &url];
        measured::run(Command::new("git").args(arguments).arg(dir))
    }

    /// The work tree that stays, brought to a branch; CPU time in microseconds.
    pub(crate) fn checkout(&self, branch: &str) -> anyhow::Result<(PathBuf, u64)> {
        let mut core_us = 0;
        if self.work.exists() {
            let git = |arguments: &[&str]| {
                measured::run(Command::new("git").current_dir(&self.work).args(arguments))
            };
            core_us += git(&["fetch", "--quiet", "origin", branch])?;
            core_us += git(&["checkout", "--quiet", "--detach", "FETCH_HEAD"])?;
        } else {
            core_us += self.clone_into(branch, &self.work)?;
        }
        Ok((self.work.clone(), core_us))
    }
}

/// Removes a directory with all that is in it, if it is there.
pub(crate) fn remove(dir: &Path) -> anyhow::Result<()> {
    match std::fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", dir.display()))
        }
        _ => Ok(()),
    }
}

fn git(dir: &Path, arguments: &[&str]) -> anyhow::Result<String> {
    output(Command::new("git").arg("-C").arg(dir).args(arguments))
}

fn commit(dir: &Path, title: &str) -> anyhow::Result<()> {
    let who = ["-c", "user.name=bench", "-c", "user.email=bench@reference.test"];
    let what = ["commit", "--quiet", "--message", title];
    git(dir, &[&who[..], &what[..]].concat())?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository;

    #[test]
    fn every_change_finds_its_place_once() {
        for case in Case::ALL {
            let Some(change) = change(case, 7) else { continue };
            let path = repository::root().join("bench/reference").join(change.path);
            let text = std::fs::read_to_string(&path).unwrap();
            assert_eq!(text.matches(change.from).count(), 1, "{}", change.path);
        }
    }
}
