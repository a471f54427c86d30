//! Who owns what runs apart, so that what a dead owner left can be told from
//! what a living one uses.
//!
//! Each owner has a directory `STATE/live/PID-START-N` and control groups of the
//! same name; the pid with the start time of the process is never used twice
//! while the machine is up, and `N` counts the owners in one process.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::cgroup::{Cgroup, Hierarchies};
use crate::error::Error;

/// This process as an owner. Its directory lives until [`Owner::remove`], or
/// until a later [`sweep`] finds the process dead. Its control groups, where
/// nothing runs in them, go with this value.
#[derive(Debug)]
pub struct Owner {
    name: String,
    dir: PathBuf,
    hierarchies: Hierarchies,
}

impl Owner {
    /// Registers this process below the state directory `state`.
    ///
    /// # Errors
    /// When the directory cannot be made, or no cgroup hierarchy is mounted.
    pub fn register(state: &Path) -> Result<Self, Error> {
        let pid = std::process::id();
        let start = start_time(pid).ok_or_else(|| Error::Missing("/proc is not mounted".into()))?;
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("{pid}-{start}-{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let dir = state.join("live").join(&name);
        fs::create_dir_all(&dir).map_err(|source| Error::file("create", &dir, source))?;
        // What is started apart does not share this process's working directory.
        let dir = dir.canonicalize().map_err(|source| Error::file("find", &dir, source))?;
        Ok(Self { name, dir, hierarchies: Hierarchies::detect()? })
    }

    /// The directory for what is alive and needs no longer life than its owner.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Makes a control group named `name` for something that this process runs
    /// apart; `controllers` as in [`Cgroup::create`].
    ///
    /// # Errors
    /// As [`Cgroup::create`].
    pub fn cgroup(&self, name: &str, controllers: &[&str]) -> Result<Cgroup, Error> {
        Cgroup::create(&self.hierarchies, &format!("{}/{name}", self.name), controllers)
    }

    /// Removes the directory and the control groups. Nothing may run in them.
    ///
    /// # Errors
    /// When something cannot be removed.
    pub fn remove(&self) -> Result<(), Error> {
        remove(&self.hierarchies, &self.name, &self.dir)
    }
}

/// Removes what dead owners of the state directory `state` left: directories
/// and control groups. Returns the names of those owners.
///
/// # Errors
/// When something cannot be removed, for instance a control group in which a
/// process still runs.
pub fn sweep(state: &Path) -> Result<Vec<String>, Error> {
    let Ok(entries) = fs::read_dir(state.join("live")) else {
        return Ok(Vec::new());
    };
    let mut swept = Vec::new();
    for entry in entries.flatten() {
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        if is_dead(&name, start_time) {
            remove(&Hierarchies::detect()?, &name, &entry.path())?;
            swept.push(name);
        }
    }
    Ok(swept)
}

impl Drop for Owner {
    fn drop(&mut self) {
        let _ = Cgroup::existing(&self.hierarchies, &self.name).remove();
    }
}

fn remove(hierarchies: &Hierarchies, name: &str, dir: &Path) -> Result<(), Error> {
    Cgroup::existing(hierarchies, name).remove()?;
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::file("remove", dir, error))
        }
        _ => Ok(()),
    }
}

/// Whether `name` names an owner that no longer lives. What is not the name of
/// an owner is left alone.
fn is_dead(name: &str, start_of: impl Fn(u32) -> Option<u64>) -> bool {
    let numbers: Result<Vec<u64>, _> = name.split('-').map(str::parse).collect();
    let Ok([pid, start, _]) = numbers.as_deref() else {
        return false;
    };
    u32::try_from(*pid).is_ok_and(|pid| start_of(pid) != Some(*start))
}

/// When process `pid` was started, in ticks since the machine was; `None` when
/// it does not run.
fn start_time(pid: u32) -> Option<u64> {
    start_of(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// The same of the text of `/proc/PID/stat`, field 22 (the name in field 2 may
/// hold anything). A zombie (field 3) owns nothing any more, however long the
/// process that should ask for its end does not.
fn start_of(stat: &str) -> Option<u64> {
    let (_, after) = stat.rsplit_once(')')?;
    let mut fields = after.split_whitespace();
    match fields.next()? {
        "Z" | "X" => None,
        _ => fields.nth(18)?.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dead_is_who_does_not_run_or_started_at_another_time() {
        let start_of = |pid| (pid == 7).then_some(100);
        assert!(!is_dead("7-100-0", start_of));
        assert!(is_dead("7-99-0", start_of));
        assert!(is_dead("8-100-3", start_of));
        for other in ["", "7", "7-99", "x-100-0", "7-x-0", "notes"] {
            assert!(!is_dead(other, start_of), "{other:?}");
        }
    }

    #[test]
    fn the_own_start_time_is_known() {
        assert!(start_time(std::process::id()).is_some());
        assert_eq!(start_time(u32::MAX), None);
    }

    #[test]
    fn a_zombie_owns_nothing() {
        let stat = |state| {
            let zeros = "0 ".repeat(18);
            format!("7 (a) b) {state} {zeros}99 0 0")
        };
        assert_eq!(start_of(&stat("S")), Some(99));
        assert_eq!(start_of(&stat("Z")), None);
    }
}
