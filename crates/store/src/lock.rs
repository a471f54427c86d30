//! Locks between processes. The kernel releases them when their holder dies,
//! so none can be left behind.
//!
//! They belong to the open file: a child made by fork without exec, which has
//! the same open file, would hold them on. Whoever forks so closes everything
//! it does not need, as the sandbox does.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};

use seatrial_core::digest::Digest;
use seatrial_core::ids::Epoch;

use crate::error::StoreError;
use crate::open::Store;
use crate::records::{Records as _, Scope};

/// The right to carry out one action. Ends when it is dropped, or with the process.
#[derive(Debug)]
pub struct ActionLock {
    /// Grows with every lock of the same action.
    pub epoch: Epoch,
    /// Whether someone else held it and this process waited: then the result
    /// may be there by now.
    pub waited: bool,
    _file: File,
}

impl Store {
    /// Takes the lock of an action, waiting while someone carries it out.
    /// Who has waited looks the result up again before doing it once more.
    ///
    /// # Errors
    /// When the lock file or the epoch cannot be written.
    pub fn lock_action(&self, key: Digest, scope: Scope) -> Result<ActionLock, StoreError> {
        let (file, path) = self.action_file(key, scope)?;
        let waited = !try_lock(&file, &path)?;
        if waited {
            file.lock().map_err(StoreError::io("lock", &path))?;
        }
        self.locked(key, scope, file, waited)
    }

    /// Takes the lock of an action; `None` when someone carries it out.
    ///
    /// # Errors
    /// When the lock file or the epoch cannot be written.
    pub fn try_lock_action(
        &self,
        key: Digest,
        scope: Scope,
    ) -> Result<Option<ActionLock>, StoreError> {
        let (file, path) = self.action_file(key, scope)?;
        if !try_lock(&file, &path)? {
            return Ok(None);
        }
        self.locked(key, scope, file, false).map(Some)
    }

    fn locked(
        &self,
        key: Digest,
        scope: Scope,
        file: File,
        waited: bool,
    ) -> Result<ActionLock, StoreError> {
        let epoch = self.sqlite().next_epoch(key, scope)?;
        Ok(ActionLock { epoch, waited, _file: file })
    }

    fn action_file(&self, key: Digest, scope: Scope) -> Result<(File, PathBuf), StoreError> {
        open(self.dir().join("locks").join(format!("{}.{scope}", key.hex())))
    }
}

fn open(path: PathBuf) -> Result<(File, PathBuf), StoreError> {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
    match file {
        Ok(file) => Ok((file, path)),
        Err(error) => Err(StoreError::io("open", path)(error)),
    }
}

fn try_lock(file: &File, path: &Path) -> Result<bool, StoreError> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(StoreError::io("lock", path)(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::open::tests::store;

    #[test]
    fn an_action_is_carried_out_by_one_and_the_epoch_grows() {
        let (dir, store) = store();
        let key = Digest::of("key");
        let lock = store.lock_action(key, Scope::Trusted).expect("lock");
        assert_eq!((lock.epoch, lock.waited), (Epoch(1), false));
        let other = Store::open(dir.path()).expect("other process");
        assert!(other.try_lock_action(key, Scope::Trusted).expect("try").is_none());
        let apart = other.try_lock_action(key, Scope::Untrusted).expect("try").expect("apart");
        assert_eq!(apart.epoch, Epoch(1), "scopes do not wait for each other");
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| other.lock_action(key, Scope::Trusted).expect("lock"));
            // Whether the waiter comes before or after this, it gets the lock.
            drop(lock);
            assert_eq!(waiter.join().expect("waiter").epoch, Epoch(2));
        });
    }
}
