//! Clones of projects.

use std::process::Command;

use crate::support::Project;

/// Another work tree of the same commit.
pub(crate) fn clone(of: &Project) -> Project {
    let clone = Project::empty();
    std::fs::remove_dir(clone.dir()).expect("an empty directory");
    let git =
        Command::new("git").args(["clone", "--quiet"]).arg(of.dir()).arg(clone.dir()).status();
    assert!(git.expect("git runs").success());
    clone
}
