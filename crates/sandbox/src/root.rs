//! The root directory of something that runs apart: a value that lists what is
//! in it, and the code that makes it so. What is not listed does not exist.

mod enter;

use std::fs::File;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat, openat2};
use nix::sys::stat::{Mode, fchmod, mkdirat};
use serde::{Deserialize, Serialize};

use crate::error::Error;

/// What a process that runs apart sees as `/`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Root {
    /// What lies below everything else.
    pub base: Base,
    /// What is put into it, in this order.
    pub mounts: Vec<Mount>,
}

/// What lies below the mounts of a root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Base {
    /// Memory; read-only once the mounts are in place.
    Empty,
    /// A directory of the machine, writable.
    Directory(PathBuf),
}

/// One thing in a root. Paths inside are absolute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mount {
    /// A file or directory of the machine, with what is mounted below it; set-uid
    /// bits and device files in it are without effect.
    Bind {
        /// The path on the machine.
        from: PathBuf,
        /// The path inside.
        to: PathBuf,
        /// Whether it can be changed from inside.
        writable: bool,
    },
    /// Memory of limited size.
    Memory {
        /// The path inside.
        to: PathBuf,
        /// The limit in bytes.
        size: u64,
        /// The mode of the directory.
        mode: u32,
    },
    /// A file with this content, read-only when the base is.
    File {
        /// The path inside.
        to: PathBuf,
        /// What is in it.
        content: String,
    },
    /// A symbolic link.
    Link {
        /// The path inside.
        to: PathBuf,
        /// Where it points.
        target: PathBuf,
    },
    /// `/dev` with only what cannot hurt: `null zero full random urandom tty`,
    /// own terminals and own shared memory. `/dev/kmsg` is `null`.
    Devices,
    /// `/proc` of the own pid namespace. `sys` is read-only but for `sys/net`
    /// where `network` is set, which is the network namespace's own; files that
    /// act on the machine (`sysrq-trigger`, `kcore`, ...) are masked.
    Processes {
        /// Whether `/proc/sys/net` is writable.
        network: bool,
        /// Files below `/proc/sys` that read as given and take writes without
        /// effect on the machine: `vm/overcommit_memory`, `1`.
        values: Vec<(String, String)>,
    },
    /// `/sys`, read-only.
    System,
    /// `/sys/fs/cgroup`, writable, as the own cgroup namespace shows it. It comes
    /// after [`Mount::System`].
    Cgroups,
}

impl Mount {
    /// A read-only bind of `path` to the same path inside.
    #[must_use]
    pub fn read_only(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        Self::Bind { from: path.clone(), to: path, writable: false }
    }
}

/// Directories of the machine's system that hold programs and libraries.
const SYSTEM: &[&str] = &["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"];

/// Files below `/etc` that programs need and that say nothing secret.
const ETC: &[&str] = &[
    "alternatives",
    "ca-certificates",
    "ca-certificates.conf",
    "group",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "localtime",
    "mime.types",
    "nsswitch.conf",
    "passwd",
    "protocols",
    "services",
    "ssl",
];

/// The machine's programs and libraries, read-only, as they are: a directory
/// is bound, a link (`/bin -> usr/bin`) is a link inside too.
#[must_use]
pub fn system_mounts() -> Vec<Mount> {
    let etc = ETC.iter().map(|name| Path::new("/etc").join(name));
    SYSTEM.iter().map(PathBuf::from).chain(etc).filter_map(|path| as_it_is(&path)).collect()
}

/// Opens the file `inside` of a root whose base is the directory `base` for
/// reading. What runs there may have put links in its place: none is followed.
///
/// # Errors
/// When it cannot be opened, or a link is on the way.
pub fn open_beneath(base: &Path, inside: &Path) -> Result<File, Error> {
    let relative = inside.strip_prefix("/").unwrap_or(inside);
    let refuse = |source| Error::file("open", base.join(relative), source);
    let dir = File::open(base).map_err(refuse)?;
    let how = OpenHow::new()
        .flags(OFlag::O_RDONLY | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)
        .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS);
    let file = openat2(&dir, relative, how).map_err(|errno| refuse(errno.into()))?;
    Ok(file.into())
}

/// Makes the directory `inside` of a root whose base is the directory `base`,
/// for everybody to write to; its parent exists. No link is followed.
///
/// # Errors
/// When it cannot be made, or a link is on the way.
pub fn make_directory_beneath(base: &Path, inside: &Path) -> Result<(), Error> {
    let relative = inside.strip_prefix("/").unwrap_or(inside);
    let refuse = |source: std::io::Error| Error::file("create", base.join(relative), source);
    let (Some(parent), Some(name)) = (relative.parent(), relative.file_name()) else {
        return Err(Error::Refused(format!("`{}` is no directory to make", inside.display())));
    };
    let dir = File::open(base).map_err(refuse)?;
    let how = OpenHow::new()
        .flags(OFlag::O_DIRECTORY | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS);
    let parent = openat2(&dir, parent, how).map_err(|errno| refuse(errno.into()))?;
    match mkdirat(&parent, name, Mode::empty()) {
        Ok(()) | Err(Errno::EEXIST) => {}
        Err(errno) => return Err(refuse(errno.into())),
    }
    // The umask has no say in it.
    let made = openat(&parent, name, OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW, Mode::empty());
    fchmod(made.map_err(|errno| refuse(errno.into()))?, Mode::from_bits_truncate(0o777))
        .map_err(|errno| refuse(errno.into()))
}

fn as_it_is(path: &Path) -> Option<Mount> {
    let kind = path.symlink_metadata().ok()?.file_type();
    if !kind.is_symlink() {
        return Some(Mount::read_only(path));
    }
    let target = path.read_link().ok()?;
    Some(Mount::Link { to: path.to_owned(), target })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_out_of_a_root_is_not_followed() {
        let base = tempfile::tempdir().unwrap();
        std::fs::write(base.path().join("plain"), "x").unwrap();
        std::os::unix::fs::symlink("/etc/passwd", base.path().join("link")).unwrap();
        assert!(open_beneath(base.path(), Path::new("/plain")).is_ok());
        for out in ["/link", "/../plain", "/none"] {
            assert!(open_beneath(base.path(), Path::new(out)).is_err(), "{out}");
        }
    }

    #[test]
    fn a_directory_is_made_beneath_and_not_through_a_link() {
        let base = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        std::fs::create_dir(base.path().join("volumes")).unwrap();
        std::os::unix::fs::symlink(outside.path(), base.path().join("out")).unwrap();
        for _ in 0..2 {
            make_directory_beneath(base.path(), Path::new("/volumes/one")).unwrap();
        }
        let mode = base.path().join("volumes/one").metadata().unwrap().permissions();
        assert_eq!(std::os::unix::fs::PermissionsExt::mode(&mode) & 0o7777, 0o777);
        for out in ["/out/one", "/../one", "/", "/none/one"] {
            assert!(make_directory_beneath(base.path(), Path::new(out)).is_err(), "{out}");
        }
        assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 0);
    }

    #[test]
    fn the_system_has_programs_and_neither_homes_nor_secrets() {
        let mounts = system_mounts();
        assert!(mounts.contains(&Mount::read_only("/usr")));
        for mount in mounts {
            let (Mount::Bind { to, .. } | Mount::Link { to, .. }) = &mount else {
                panic!("{mount:?} is no part of the system");
            };
            for hidden in ["/root", "/home", "/run", "/var", "/etc/shadow"] {
                assert!(!to.starts_with(hidden), "{mount:?}");
            }
            assert!(!matches!(mount, Mount::Bind { writable: true, .. }));
        }
    }
}
