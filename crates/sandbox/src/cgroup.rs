//! Control groups: what a tree of processes may use and has used. Version 1
//! (hybrid included) and version 2.
//!
//! Owns directories below `seatrial/` in each hierarchy and touches no other.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::error::Error;

/// Name of the directory in each hierarchy that holds all that is ours.
const OURS: &str = "seatrial";

/// The mounted cgroup hierarchies of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hierarchies {
    list: Vec<Hierarchy>,
    unified: bool,
}

/// One mounted hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hierarchy {
    path: PathBuf,
    /// Version 1: what is attached to it. Version 2: empty.
    controllers: Vec<String>,
    /// `systemd` of `name=systemd`, version 1.
    name: Option<String>,
}

impl Hierarchies {
    /// Reads what is mounted.
    ///
    /// # Errors
    /// When `/proc/self/mountinfo` cannot be read or no hierarchy is mounted.
    pub fn detect() -> Result<Self, Error> {
        let path = "/proc/self/mountinfo";
        let text = fs::read_to_string(path).map_err(|source| Error::file("read", path, source))?;
        Self::parse(&text)
            .ok_or_else(|| Error::Missing("no cgroup hierarchy is mounted".to_owned()))
    }

    /// Finds the hierarchies in the text of `mountinfo` (see `proc(5)`). Where a
    /// version 1 controller for memory is mounted, the version 2 mount beside it
    /// (hybrid) has no controllers of use and is left out.
    fn parse(mountinfo: &str) -> Option<Self> {
        let mut old: Vec<Hierarchy> = Vec::new();
        let mut unified = None;
        for line in mountinfo.lines() {
            let (before, after) = line.split_once(" - ")?;
            let path = PathBuf::from(before.split(' ').nth(4)?);
            let mut after = after.split(' ');
            match (after.next(), after.nth(1)) {
                (Some("cgroup"), Some(options)) => {
                    let hierarchy = Hierarchy::version_1(path, options);
                    // Mounted twice: the first will do.
                    if old.iter().all(|other| !other.same(&hierarchy)) {
                        old.push(hierarchy);
                    }
                }
                (Some("cgroup2"), _) => {
                    unified.get_or_insert(Hierarchy { path, controllers: vec![], name: None });
                }
                _ => {}
            }
        }
        if old.iter().any(|h| h.controllers.iter().any(|c| c == "memory")) {
            return Some(Self { list: old, unified: false });
        }
        unified.map(|hierarchy| Self { list: vec![hierarchy], unified: true })
    }

    /// Whether this machine has version 2 only.
    #[must_use]
    pub fn unified(&self) -> bool {
        self.unified
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Hierarchy> {
        self.list.iter()
    }
}

impl Hierarchy {
    fn version_1(path: PathBuf, options: &str) -> Self {
        let mut controllers = Vec::new();
        let mut name = None;
        for option in options.split(',') {
            match option.split_once('=') {
                Some(("name", value)) => name = Some(value.to_owned()),
                Some(_) => {}
                None if matches!(option, "rw" | "ro" | "xattr" | "clone_children" | "noprefix") => {
                }
                None => controllers.push(option.to_owned()),
            }
        }
        Self { path, controllers, name }
    }

    fn same(&self, other: &Self) -> bool {
        self.controllers == other.controllers && self.name == other.name
    }

    pub(crate) fn controllers(&self) -> &[String] {
        &self.controllers
    }

    /// What to name its mount point, which is what the machine calls it.
    pub(crate) fn directory_name(&self) -> String {
        self.name.clone().unwrap_or_else(|| self.controllers.join(","))
    }

    /// The options that mount it once more.
    pub(crate) fn options(&self) -> String {
        match &self.name {
            Some(name) => format!("none,name={name}"),
            None => self.controllers.join(","),
        }
    }
}

/// What a group may use at most; `None` is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// Bytes of memory.
    pub memory: Option<u64>,
    /// Processes and threads.
    pub tasks: Option<u64>,
}

/// What a group has used. Zero where the kernel does not tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// CPU time of all that ever ran in it, in microseconds.
    pub core_us: u64,
    /// Memory now, file cache included, in bytes.
    pub memory: u64,
    /// The most memory at any time, in bytes.
    pub memory_peak: u64,
    /// Processes that were killed because its memory was used up.
    pub oom_kills: u64,
}

/// One control group: a directory in each hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cgroup {
    dirs: Vec<Dir>,
    unified: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Dir {
    path: PathBuf,
    controllers: Vec<String>,
}

impl Cgroup {
    /// Makes the group `seatrial/NAME`, in every hierarchy, or on version 1 in
    /// those that have one of `controllers` when some are named.
    ///
    /// # Errors
    /// When a directory cannot be made or a controller cannot be delegated.
    pub fn create(
        hierarchies: &Hierarchies,
        name: &str,
        controllers: &[&str],
    ) -> Result<Self, Error> {
        let wanted = |h: &&Hierarchy| {
            hierarchies.unified
                || controllers.is_empty()
                || h.controllers.iter().any(|c| controllers.contains(&c.as_str()))
        };
        let mut dirs = Vec::new();
        for hierarchy in hierarchies.iter().filter(wanted) {
            let mut path = hierarchy.path.clone();
            for part in Path::new(OURS).join(name).components() {
                if hierarchies.unified {
                    delegate(&path)?;
                }
                path.push(part);
                make(&path, &hierarchy.controllers)?;
            }
            dirs.push(Dir { path, controllers: hierarchy.controllers.clone() });
        }
        Ok(Self { dirs, unified: hierarchies.unified })
    }

    /// The group `seatrial/NAME` where it exists, to look at or remove it.
    #[must_use]
    pub fn existing(hierarchies: &Hierarchies, name: &str) -> Self {
        let dirs = hierarchies.iter().map(|hierarchy| Dir {
            path: hierarchy.path.join(OURS).join(name),
            controllers: hierarchy.controllers.clone(),
        });
        Self { dirs: dirs.filter(|dir| dir.path.is_dir()).collect(), unified: hierarchies.unified }
    }

    /// Makes a group inside this one. On version 2 its controllers have to be
    /// delegated afterwards, once this group has no processes of its own.
    ///
    /// # Errors
    /// When a directory cannot be made.
    pub fn child(&self, name: &str) -> Result<Self, Error> {
        let mut dirs = Vec::new();
        for dir in &self.dirs {
            let path = dir.path.join(name);
            make(&path, &dir.controllers)?;
            dirs.push(Dir { path, controllers: dir.controllers.clone() });
        }
        Ok(Self { dirs, unified: self.unified })
    }

    /// Moves process `pid` into this group.
    ///
    /// # Errors
    /// When the kernel refuses; the process may then be in some hierarchies only.
    pub fn join(&self, pid: u32) -> Result<(), Error> {
        for dir in &self.dirs {
            set(&dir.path.join("cgroup.procs"), &pid.to_string())?;
        }
        Ok(())
    }

    /// Sets limits.
    ///
    /// # Errors
    /// When a limit was asked for that the kernel refuses or does not have.
    pub fn limit(&self, limits: Limits) -> Result<(), Error> {
        let memory = if self.unified { "memory.max" } else { "memory.limit_in_bytes" };
        for (controller, file, value) in
            [("memory", memory, limits.memory), ("pids", "pids.max", limits.tasks)]
        {
            let Some(value) = value else { continue };
            let dir = self.dir(controller).ok_or_else(|| {
                Error::Missing(format!("no cgroup controller `{controller}` is mounted"))
            })?;
            set(&dir.join(file), &value.to_string())?;
        }
        Ok(())
    }

    /// What was used so far.
    #[must_use]
    pub fn usage(&self) -> Usage {
        let read = |controller: &str, file: &str| {
            self.dir(controller).and_then(|dir| fs::read_to_string(dir.join(file)).ok())
        };
        let number =
            |controller, file| read(controller, file).and_then(|text| text.trim().parse().ok());
        let field = |controller, file, key| {
            read(controller, file).and_then(|text| field_of(&text, key)).unwrap_or(0)
        };
        if self.unified {
            return Usage {
                core_us: field("cpu", "cpu.stat", "usage_usec"),
                memory: number("memory", "memory.current").unwrap_or(0),
                memory_peak: number("memory", "memory.peak").unwrap_or(0),
                oom_kills: field("memory", "memory.events", "oom_kill"),
            };
        }
        Usage {
            core_us: number("cpuacct", "cpuacct.usage").unwrap_or(0) / 1000,
            memory: number("memory", "memory.usage_in_bytes").unwrap_or(0),
            memory_peak: number("memory", "memory.max_usage_in_bytes").unwrap_or(0),
            oom_kills: field("memory", "memory.oom_control", "oom_kill"),
        }
    }

    /// Removes this group and all groups inside it. Nothing may run in it any
    /// more.
    ///
    /// # Errors
    /// When a directory cannot be removed, mostly because something runs in it.
    pub fn remove(&self) -> Result<(), Error> {
        self.dirs.iter().try_for_each(|dir| remove(&dir.path))
    }

    /// The directories of this group that exist.
    #[must_use]
    pub fn directories(&self) -> Vec<PathBuf> {
        let paths = self.dirs.iter().map(|dir| dir.path.clone());
        paths.filter(|path| path.is_dir()).collect()
    }

    fn dir(&self, controller: &str) -> Option<&Path> {
        let has = |dir: &&Dir| self.unified || dir.controllers.iter().any(|c| c == controller);
        self.dirs.iter().find(has).map(|dir| dir.path.as_path())
    }
}

/// Makes all controllers of `dir` available to the groups in it (version 2).
pub(crate) fn delegate(dir: &Path) -> Result<(), Error> {
    let path = dir.join("cgroup.controllers");
    let have = fs::read_to_string(&path).map_err(|source| Error::file("read", &path, source))?;
    let wanted = ["cpuset", "cpu", "io", "memory", "pids"];
    let list: Vec<String> =
        have.split_whitespace().filter(|c| wanted.contains(c)).map(|c| format!("+{c}")).collect();
    set(&dir.join("cgroup.subtree_control"), &list.join(" "))
}

fn make(path: &Path, controllers: &[String]) -> Result<(), Error> {
    match fs::create_dir(path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(source) => return Err(Error::file("create", path, source)),
    }
    // A new cpuset of version 1 is empty, and nothing can run in it.
    if controllers.iter().any(|c| c == "cpuset")
        && let Some(parent) = path.parent()
    {
        for file in ["cpuset.cpus", "cpuset.mems"] {
            let from = parent.join(file);
            let value =
                fs::read_to_string(&from).map_err(|source| Error::file("read", &from, source))?;
            set(&path.join(file), value.trim())?;
        }
    }
    Ok(())
}

fn set(path: &Path, value: &str) -> Result<(), Error> {
    fs::write(path, value).map_err(|source| Error::file("write", path, source))
}

fn remove(path: &Path) -> Result<(), Error> {
    let Ok(entries) = fs::read_dir(path) else {
        return Ok(());
    };
    for entry in entries.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove(&entry.path())?;
        }
    }
    match fs::remove_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Error::file("remove", path, error))
        }
        _ => Ok(()),
    }
}

fn field_of(text: &str, key: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '))?;
    value.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
30 23 0:26 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
31 30 0:27 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:9 - cgroup cgroup rw,cpu,cpuacct
32 30 0:28 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
33 30 0:33 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd
34 30 0:34 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw,nsdelegate
35 90 0:28 / /mnt/again rw,relatime - cgroup cgroup rw,memory
";

    #[test]
    fn hybrid_is_version_1() {
        let hierarchies = Hierarchies::parse(HYBRID).unwrap();
        assert!(!hierarchies.unified());
        let shown: Vec<_> = hierarchies.iter().map(|h| (h.directory_name(), h.options())).collect();
        let expect = [
            ("cpu,cpuacct", "cpu,cpuacct"),
            ("memory", "memory"),
            ("systemd", "none,name=systemd"),
        ];
        assert_eq!(shown, expect.map(|(a, b)| (a.to_owned(), b.to_owned())));
    }

    #[test]
    fn version_2_alone_and_nothing_at_all() {
        let text = "30 23 0:26 / /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
        let hierarchies = Hierarchies::parse(text).unwrap();
        assert!(hierarchies.unified());
        assert_eq!(hierarchies.list[0].path, Path::new("/sys/fs/cgroup"));
        assert_eq!(Hierarchies::parse("22 1 8:1 / / rw - ext4 /dev/vda rw\n"), None);
    }

    #[test]
    fn a_field_is_found_by_its_whole_name() {
        let text = "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n";
        assert_eq!(field_of(text, "oom_kill"), Some(3));
        assert_eq!(field_of(text, "oom"), None);
    }
}
