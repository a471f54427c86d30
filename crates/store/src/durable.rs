//! Making files durable, in the one order that works: content, then name,
//! then the directory that holds the name.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use crate::error::StoreError;

#[cfg(test)]
pub(crate) use crate::crash::at;

/// A moment before or after something became durable, where the process may be
/// killed. The name is what tests of crashes enumerate; it costs nothing.
#[cfg(not(test))]
pub(crate) fn at(_point: &'static str) {}

/// Remembers that a sync failed. After that the kernel may have dropped the
/// dirty pages and a second fsync would succeed without them, so the only
/// honest answer to every later write is an error.
#[derive(Default)]
pub(crate) struct Disk {
    failed: OnceLock<PathBuf>,
}

impl Disk {
    /// Refuses when a sync has failed before.
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        match self.failed.get() {
            Some(path) => Err(StoreError::Poisoned { path: path.clone() }),
            None => Ok(()),
        }
    }

    /// Waits until the content of an open file is on the disk.
    pub(crate) fn sync(&self, file: &File, path: &Path) -> Result<(), StoreError> {
        at("before sync");
        self.checked("sync", path, file.sync_all())?;
        at("after sync");
        Ok(())
    }

    /// Waits until the names in a directory are on the disk.
    pub(crate) fn sync_dir(&self, dir: &Path) -> Result<(), StoreError> {
        self.sync_open_dir(&open(dir)?, dir)
    }

    fn sync_open_dir(&self, open: &File, dir: &Path) -> Result<(), StoreError> {
        at("before sync of a directory");
        self.checked("sync", dir, open.sync_all())?;
        at("after sync of a directory");
        Ok(())
    }

    /// Waits until everything of the file system that holds `dir` is on the
    /// disk: for many files this is one wait instead of one each.
    pub(crate) fn sync_file_system(&self, dir: &Path) -> Result<(), StoreError> {
        at("before sync of the file system");
        let file = open(dir)?;
        let result = nix::unistd::syncfs(file.as_fd()).map_err(io::Error::from);
        self.checked("sync the file system of", dir, result)?;
        at("after sync of the file system");
        Ok(())
    }

    /// Gives a durable file or directory its final name, durably. Returns
    /// false, leaving `from` alone, when a directory has that name already.
    pub(crate) fn publish(&self, from: &Path, to: &Path) -> Result<bool, StoreError> {
        let parent = to.parent().unwrap_or(to);
        if !parent.is_dir() {
            let above = parent.parent().unwrap_or(parent);
            fs::create_dir_all(above).map_err(StoreError::io("create", above))?;
            let open = open(above)?;
            fs::create_dir_all(parent).map_err(StoreError::io("create", parent))?;
            self.sync_open_dir(&open, above)?;
        }
        // Opened first: a name that is there counts as durable, so that nothing
        // may come between giving it and the sync, such as too many open files.
        let open = open(parent)?;
        at("before publishing");
        match fs::rename(from, to) {
            Ok(()) => at("after publishing"),
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => return Ok(false),
            Err(error) => return Err(StoreError::io("publish", to)(error)),
        }
        self.sync_open_dir(&open, parent)?;
        Ok(true)
    }

    fn checked(
        &self,
        what: &'static str,
        path: &Path,
        result: io::Result<()>,
    ) -> Result<(), StoreError> {
        result.map_err(|source| {
            self.failed.get_or_init(|| path.to_owned());
            StoreError::Io { what, path: path.to_owned(), source }
        })
    }
}

/// Opens a directory to sync it. That it cannot be opened is no bad disk:
/// nothing was synced in vain.
fn open(dir: &Path) -> Result<File, StoreError> {
    File::open(dir).map_err(StoreError::io("open", dir))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_failed_sync_nothing_is_accepted() {
        let disk = Disk::default();
        assert!(disk.check().is_ok());
        assert!(disk.sync_dir(Path::new("/nonexistent")).is_err());
        assert!(disk.check().is_ok(), "nothing was synced in vain");
        // What has no disk behind it cannot be synced.
        let path = Path::new("/proc/self/status");
        let file = File::open(path).expect("/proc");
        assert!(disk.sync(&file, path).is_err());
        let error = disk.check().expect_err("poisoned");
        assert_eq!(
            error.to_string(),
            "the store takes no more writes: a write to /proc/self/status did not reach the disk"
        );
    }
}
