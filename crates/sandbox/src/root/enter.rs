//! Making a root and moving into it. Runs in the process that is to live
//! there: single-threaded, privileged, in a mount namespace of its own.
#![expect(unsafe_code, reason = "mount_setattr has no safe wrapper here")]

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Component, Path, PathBuf};

use nix::libc;
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use super::{Base, Mount, Root};
use crate::cgroup::Hierarchies;
use crate::error::{Error, Tried};

/// Where a root is put together: a directory that every machine has, and from
/// which nothing is ever bound.
const STAGE: &str = "/sys";

/// Harmless device files.
const DEVICES: &[&str] = &["null", "zero", "full", "random", "urandom", "tty"];

/// Files and directories of `/proc` that act on the machine or describe it.
const MASKED: &[&str] =
    &["acpi", "kcore", "keys", "latency_stats", "scsi", "sysrq-trigger", "timer_list", "kallsyms"];

const NONE: Option<&str> = None;

impl Root {
    /// Makes this root and makes it the root of this process. The machine's
    /// own root is not reachable from it.
    pub(crate) fn enter(&self) -> Result<(), Error> {
        // Looked up while the machine's /proc is still there.
        let hierarchies =
            if self.mounts.contains(&Mount::Cgroups) { Some(Hierarchies::detect()?) } else { None };
        mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE)
            .tried(|| "make mounts private".to_owned())?;
        match &self.base {
            Base::Empty => {
                filesystem("tmpfs", Path::new(STAGE), MsFlags::MS_NODEV, "mode=0755,size=4m")?;
            }
            Base::Directory(dir) => bind(dir, Path::new(STAGE))?,
        }
        for item in &self.mounts {
            item.make(hierarchies.as_ref())?;
        }
        nix::unistd::chdir(STAGE).tried(|| "enter the new root".to_owned())?;
        nix::unistd::pivot_root(".", ".").tried(|| "change the root".to_owned())?;
        umount2(".", MntFlags::MNT_DETACH).tried(|| "leave the old root".to_owned())?;
        nix::unistd::chdir("/").tried(|| "enter the new root".to_owned())?;
        if self.base != Base::Empty {
            // As on a real node, where pods pass mounts on; a group of its own.
            mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_SHARED, NONE)
                .tried(|| "make mounts shared".to_owned())?;
        } else {
            let flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY;
            mount(NONE, "/", NONE, flags | MsFlags::MS_NODEV, NONE)
                .tried(|| "make the root read-only".to_owned())?;
        }
        Ok(())
    }
}

impl Mount {
    fn make(&self, hierarchies: Option<&Hierarchies>) -> Result<(), Error> {
        match self {
            Self::Bind { from, to, writable } => {
                if !from.is_absolute() {
                    let from = from.display();
                    return Err(Error::Refused(format!("`{from}` is no absolute path")));
                }
                let at = place(to, from.is_dir())?;
                bind(from, &at)?;
                let read_only = if *writable { 0 } else { libc::MOUNT_ATTR_RDONLY };
                restrict(&at, read_only | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV)
            }
            Self::Memory { to, size, mode } => {
                let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
                filesystem("tmpfs", &place(to, true)?, flags, &format!("size={size},mode={mode:o}"))
            }
            Self::File { to, content } => write(&place(to, false)?, content),
            Self::Link { to, target } => link(to, target),
            Self::Devices => devices(),
            Self::Processes { network, values } => processes(*network, values),
            Self::System => {
                let at = place(Path::new("/sys"), true)?;
                filesystem("sysfs", &at, quiet() | MsFlags::MS_RDONLY, "")
            }
            Self::Cgroups => hierarchies.map_or(Ok(()), cgroups),
        }
    }
}

fn devices() -> Result<(), Error> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
    let dev = place(Path::new("/dev"), true)?;
    filesystem("tmpfs", &dev, flags, "mode=0755,size=1m")?;
    for name in DEVICES {
        let from = Path::new("/dev").join(name);
        bind(&from, &place(&from, false)?)?;
    }
    // kubelet wants to watch the kernel's log, which is the machine's.
    bind(Path::new("/dev/null"), &place(Path::new("/dev/kmsg"), false)?)?;
    let pts = place(Path::new("/dev/pts"), true)?;
    filesystem("devpts", &pts, flags, "newinstance,ptmxmode=0666,mode=0620")?;
    let shm = place(Path::new("/dev/shm"), true)?;
    filesystem("tmpfs", &shm, flags | MsFlags::MS_NODEV, "mode=1777,size=64m")?;
    for (name, target) in [
        ("/dev/ptmx", "pts/ptmx"),
        ("/dev/fd", "/proc/self/fd"),
        ("/dev/stdin", "/proc/self/fd/0"),
        ("/dev/stdout", "/proc/self/fd/1"),
        ("/dev/stderr", "/proc/self/fd/2"),
    ] {
        link(Path::new(name), Path::new(target))?;
    }
    Ok(())
}

fn processes(network: bool, values: &[(String, String)]) -> Result<(), Error> {
    let proc = place(Path::new("/proc"), true)?;
    filesystem("proc", &proc, quiet(), "")?;
    let sys = proc.join("sys");
    bind(&sys, &sys)?;
    restrict(&sys, libc::MOUNT_ATTR_RDONLY)?;
    if network {
        let net = sys.join("net");
        bind(&net, &net)?;
        let flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND;
        mount(NONE, &net, NONE, flags | quiet(), NONE)
            .tried(|| format!("open {}", net.display()))?;
    }
    for (name, value) in values {
        let at = sys.join(name);
        if at.exists() {
            let file = place(&Path::new("/dev/.values").join(name), false)?;
            write(&file, value)?;
            bind(&file, &at)?;
        }
    }
    for name in MASKED {
        let at = proc.join(name);
        if at.is_dir() {
            filesystem("tmpfs", &at, quiet() | MsFlags::MS_RDONLY, "size=4k,mode=0555")?;
        } else if at.exists() {
            bind(Path::new("/dev/null"), &at)?;
        }
    }
    Ok(())
}

fn cgroups(hierarchies: &Hierarchies) -> Result<(), Error> {
    // No `place`: it lies on the read-only /sys, where the directory exists.
    let base = Path::new(STAGE).join("sys/fs/cgroup");
    let flags = quiet();
    if hierarchies.unified() {
        return filesystem("cgroup2", &base, flags, "");
    }
    filesystem("tmpfs", &base, flags, "mode=0755,size=1m")?;
    for hierarchy in hierarchies.iter() {
        let at = base.join(hierarchy.directory_name());
        fs::create_dir(&at).map_err(|source| Error::file("create", &at, source))?;
        filesystem("cgroup", &at, flags, &hierarchy.options())?;
        // `cpu` beside `cpu,cpuacct`, as distributions have it.
        for controller in hierarchy.controllers().iter().filter(|c| !at.ends_with(c)) {
            let name = base.join(controller);
            if name.symlink_metadata().is_err() {
                symlink(hierarchy.directory_name(), &name)
                    .map_err(|source| Error::file("link", &name, source))?;
            }
        }
    }
    Ok(())
}

fn quiet() -> MsFlags {
    MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC
}

/// Where `inside` is while the root is put together, made if it is missing. A
/// link on the way is refused: it could lead out of the stage.
fn place(inside: &Path, directory: bool) -> Result<PathBuf, Error> {
    let at = parent_of(inside)?;
    if directory {
        make_directory(&at)?;
    } else if at.symlink_metadata().is_err() {
        fs::File::create(&at).map_err(|source| Error::file("create", &at, source))?;
    }
    Ok(at)
}

fn parent_of(inside: &Path) -> Result<PathBuf, Error> {
    let mut at = PathBuf::from(STAGE);
    let mut names = Vec::new();
    for part in inside.components() {
        match part {
            Component::RootDir => {}
            Component::Normal(name) => names.push(name),
            _ => {
                return Err(Error::Refused(format!("`{}` is not a plain path", inside.display())));
            }
        }
    }
    let Some((last, parents)) = names.split_last() else {
        return Err(Error::Refused("the root itself cannot be mounted over".to_owned()));
    };
    for name in parents {
        at.push(name);
        make_directory(&at)?;
    }
    at.push(last);
    if at.is_symlink() {
        return Err(Error::Refused(format!("`{}` is a link", inside.display())));
    }
    Ok(at)
}

fn make_directory(at: &Path) -> Result<(), Error> {
    match at.symlink_metadata() {
        Ok(meta) if meta.is_dir() => return Ok(()),
        Ok(_) => {
            return Err(Error::Refused(format!("`{}` is no directory", at.display())));
        }
        Err(_) => {}
    }
    fs::create_dir(at).map_err(|source| Error::file("create", at, source))?;
    // Whatever the umask of the owner is.
    fs::set_permissions(at, fs::Permissions::from_mode(0o755))
        .map_err(|source| Error::file("open", at, source))
}

fn write(at: &Path, content: &str) -> Result<(), Error> {
    fs::write(at, content).map_err(|source| Error::file("write", at, source))?;
    fs::set_permissions(at, fs::Permissions::from_mode(0o644))
        .map_err(|source| Error::file("open", at, source))
}

fn link(inside: &Path, target: &Path) -> Result<(), Error> {
    let mut at = PathBuf::from(STAGE);
    if let (Some(parent), Some(name)) = (inside.parent(), inside.file_name()) {
        if parent != Path::new("/") {
            at = place(parent, true)?;
        }
        at.push(name);
    }
    match at.read_link() {
        Ok(existing) if existing == target => Ok(()),
        _ => symlink(target, &at).map_err(|source| Error::file("link", &at, source)),
    }
}

fn filesystem(kind: &str, at: &Path, flags: MsFlags, options: &str) -> Result<(), Error> {
    mount(Some(kind), at, Some(kind), flags, Some(options))
        .tried(|| format!("mount {kind} ({options}) at {}", at.display()))
}

fn bind(from: &Path, at: &Path) -> Result<(), Error> {
    mount(Some(from), at, NONE, MsFlags::MS_BIND | MsFlags::MS_REC, NONE)
        .tried(|| format!("bind {} to {}", from.display(), at.display()))
}

/// Sets mount attributes on `at` and all that is mounted below it. A remount
/// would leave what is below as it was.
fn restrict(at: &Path, attributes: u64) -> Result<(), Error> {
    let path = CString::new(at.as_os_str().as_bytes())
        .map_err(|_| Error::Refused("a path holds a zero byte".to_owned()))?;
    let change =
        libc::mount_attr { attr_set: attributes, attr_clr: 0, propagation: 0, userns_fd: 0 };
    // SAFETY: the path ends in a zero byte, and the kernel reads exactly
    // `size_of::<mount_attr>()` bytes at the pointer; both live until it returns.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            path.as_ptr(),
            libc::AT_RECURSIVE,
            &raw const change,
            size_of::<libc::mount_attr>(),
        )
    };
    if result == 0 {
        return Ok(());
    }
    Err(io::Error::last_os_error())
        .tried(|| format!("protect {} (this needs Linux 5.12)", at.display()))
}
