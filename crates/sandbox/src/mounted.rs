//! A file system of a file, looked into where nobody else sees it.

use std::path::Path;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use crate::error::{Error, Tried};

/// Where it is mounted: a directory that every machine has.
const PLACE: &str = "/sys";

const NONE: Option<&str> = None;

/// Mounts the EROFS file system in a file, straight from the file, and lets
/// `look` see it. Only the thread that `look` runs on does; the mount ends with
/// it.
///
/// # Errors
/// When it cannot be mounted: this needs root, and Linux 6.12 with
/// `CONFIG_EROFS_FS_BACKED_BY_FILE`.
pub fn look_into_erofs<T: Send>(
    image: &Path,
    look: impl FnOnce(&Path) -> T + Send,
) -> Result<T, Error> {
    let looking = || {
        unshare(CloneFlags::CLONE_NEWNS).tried(|| "make a mount namespace".to_owned())?;
        mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE)
            .tried(|| "make mounts private".to_owned())?;
        let flags = MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        mount(Some(image), PLACE, Some("erofs"), flags, NONE)
            .tried(|| format!("mount {} as erofs", image.display()))?;
        Ok(look(Path::new(PLACE)))
    };
    std::thread::scope(|scope| {
        let thread = scope.spawn(looking);
        thread.join().unwrap_or_else(|_| Err(Error::Gone("looking into a file system")))
    })
}
