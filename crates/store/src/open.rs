//! Opening a state directory, and the temporary directory of this process.

use std::fmt;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use tempfile::TempDir;

use crate::durable::Disk;
use crate::error::StoreError;
use crate::records::Records;
use crate::records::sqlite::SqliteRecords;
use crate::state_dir;

/// The store of one machine: a cheap handle, all clones of which are one.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    dir: PathBuf,
    tmp: ProcessDir,
    disk: Disk,
    records: SqliteRecords,
}

impl Store {
    /// Opens the store in `dir`, which is created where needed.
    ///
    /// # Errors
    /// [`StoreError::StateDir`] when the directory is not writable, has less
    /// than 1 GiB free, is on a network file system, was written by a newer
    /// version or is damaged; others when the disk or the database fails.
    pub fn open(dir: impl AsRef<Path>) -> Result<Self, StoreError> {
        let dir = dir.as_ref();
        state_dir::prepare(dir)?;
        let dir = dir.canonicalize().map_err(StoreError::io("resolve", dir))?;
        for name in ["blobs/sha256", "trees", "logs", "locks", "tmp"] {
            let path = dir.join(name);
            fs::create_dir_all(&path).map_err(StoreError::io("create", &path))?;
        }
        // One process after the other: SQLite does not wait while another makes
        // the same database, and what is swept must not be one that has just begun.
        let opening = File::open(&dir).map_err(StoreError::io("open", &dir))?;
        opening.lock().map_err(StoreError::io("lock", &dir))?;
        let records = SqliteRecords::open(&dir)?;
        let tmp = ProcessDir::create(&dir.join("tmp"))?;
        Ok(Self { inner: Arc::new(Inner { dir, tmp, disk: Disk::default(), records }) })
    }

    /// The state directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.inner.dir
    }

    /// What is small and changes atomically.
    #[must_use]
    pub fn records(&self) -> &dyn Records {
        &self.inner.records
    }

    /// Makes an empty directory on the file system of the store, to be filled
    /// and given to [`Store::put_tree`]. It is removed when it is dropped, or
    /// by the next process that opens the store.
    ///
    /// # Errors
    /// When the directory cannot be made.
    pub fn staging(&self) -> Result<TempDir, StoreError> {
        self.inner.disk.check()?;
        TempDir::new_in(self.tmp()).map_err(StoreError::io("create a directory in", self.tmp()))
    }

    /// When the oldest process began that has this store open. Where the file
    /// system does not know that, the beginning of time.
    pub(crate) fn oldest_process(&self) -> Result<SystemTime, StoreError> {
        let tmp = self.dir().join("tmp");
        let entries = fs::read_dir(&tmp).map_err(StoreError::io("list", &tmp))?;
        let mut oldest = SystemTime::now();
        for entry in entries.flatten() {
            // One that nobody holds is a leftover, or not begun.
            let Ok(dir) = File::open(entry.path()) else { continue };
            let own = entry.path() == self.tmp();
            if own || matches!(dir.try_lock(), Err(TryLockError::WouldBlock)) {
                let began = dir.metadata().and_then(|meta| meta.created());
                oldest = oldest.min(began.unwrap_or(SystemTime::UNIX_EPOCH));
            }
        }
        Ok(oldest)
    }

    pub(crate) fn tmp(&self) -> &Path {
        &self.inner.tmp.path
    }

    pub(crate) fn disk(&self) -> &Disk {
        &self.inner.disk
    }

    pub(crate) fn sqlite(&self) -> &SqliteRecords {
        &self.inner.records
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Store").field(&self.inner.dir).finish()
    }
}

/// The temporary directory of one process. Its flock lives as long as the
/// process, so that whoever can take the lock knows that the owner is gone.
struct ProcessDir {
    path: PathBuf,
    _lock: File,
}

impl ProcessDir {
    /// Sweeps and makes one; never in two processes at once.
    fn create(tmp: &Path) -> Result<Self, StoreError> {
        sweep(tmp)?;
        let dir = TempDir::new_in(tmp).map_err(StoreError::io("create a directory in", tmp))?;
        let lock = File::open(dir.path()).map_err(StoreError::io("open", dir.path()))?;
        lock.lock().map_err(StoreError::io("lock", dir.path()))?;
        Ok(Self { path: dir.keep(), _lock: lock })
    }
}

impl Drop for ProcessDir {
    fn drop(&mut self) {
        // What cannot be removed now is swept by the next process.
        drop(fs::remove_dir_all(&self.path));
    }
}

/// Removes the directories of processes that are gone.
fn sweep(tmp: &Path) -> Result<(), StoreError> {
    let entries = fs::read_dir(tmp).map_err(StoreError::io("list", tmp))?;
    for entry in entries {
        let path = entry.map_err(StoreError::io("list", tmp))?.path();
        // One that has vanished was swept by someone else.
        let Ok(dir) = File::open(&path) else { continue };
        match dir.try_lock() {
            Ok(()) => drop(fs::remove_dir_all(&path)),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(StoreError::io("lock", &path)(error)),
        }
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A store in a directory of its own.
    pub(crate) fn store() -> (TempDir, Store) {
        let dir = tempfile::tempdir().expect("temporary directory");
        let store = Store::open(dir.path()).expect("store");
        (dir, store)
    }

    #[test]
    fn leftovers_of_the_dead_are_swept_and_those_of_the_living_kept() {
        let (dir, store) = store();
        let dead = dir.path().join("tmp/dead/half");
        fs::create_dir_all(&dead).expect("leftover");
        let staging = store.staging().expect("staging");
        let second = Store::open(dir.path()).expect("second handle");
        assert!(!dead.exists());
        assert!(staging.path().exists());
        assert_ne!(store.tmp(), second.tmp());
        let tmp = second.tmp().to_owned();
        drop(second);
        assert!(!tmp.exists());
    }

    #[test]
    fn many_can_open_what_is_not_there_yet_at_once() {
        for _ in 0..10 {
            let dir = tempfile::tempdir().expect("temporary directory");
            let stores: Vec<Store> = std::thread::scope(|scope| {
                let open = || Store::open(dir.path()).expect("one of many");
                let threads: Vec<_> = (0..8).map(|_| scope.spawn(open)).collect();
                threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
            });
            assert!(stores.iter().all(|store| store.tmp().exists()));
        }
    }

    #[test]
    fn newer_schema_is_refused() {
        let (dir, store) = store();
        drop(store);
        let db = rusqlite::Connection::open(dir.path().join("store.db")).expect("database");
        db.pragma_update(None, "user_version", 99).expect("newer");
        drop(db);
        let error = Store::open(dir.path()).expect_err("newer schema");
        let dir = dir.path().display();
        assert_eq!(
            error.to_string(),
            format!("state directory {dir}: its format is 99, this Seatrial knows formats up to 1")
        );
        let failure = seatrial_core::failure::Failure::from(error);
        assert_eq!(failure.code, "server.data_dir");
        assert_eq!(failure.hints, ["use the newer Seatrial, or another --state-dir"]);
    }

    #[test]
    fn a_damaged_database_is_refused() {
        let (dir, store) = store();
        drop(store);
        fs::write(dir.path().join("store.db"), [0x5a; 8192]).expect("damage");
        let error = Store::open(dir.path()).expect_err("damaged");
        let dir = dir.path().display();
        assert_eq!(
            error.to_string(),
            format!("state directory {dir}: its database is damaged (file is not a database)")
        );
    }
}
