//! Locks between processes. The kernel releases them when their holder dies,
//! so none can be left behind.
//!
//! They belong to the open file: a child made by fork without exec, which has
//! the same open file, would hold them on. Whoever forks so closes everything
//! it does not need, as the sandbox does.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::PathBuf;

use seatrial_core::digest::Digest;
use seatrial_core::ids::Epoch;

use crate::error::StoreError;
use crate::open::Store;
use crate::records::{ActionResult, Records as _, Scope};

/// The right to carry out one action. Ends when it is dropped, or with the process.
#[derive(Debug)]
pub struct ActionLock {
    /// Grows with every lock of the same action.
    pub epoch: Epoch,
    _file: File,
}

/// What is left to do about an action for whoever has come to its lock.
#[derive(Debug)]
pub enum Turn {
    /// To carry it out, and to record the result while the lock is held.
    Make(ActionLock),
    /// Nothing: someone else has recorded a result.
    Made(ActionResult),
}

impl Store {
    /// Comes to the lock of an action, waiting while someone carries it out.
    ///
    /// Whether there is a result is read under the lock, for a reader without
    /// it sees none while the holder is about to record one.
    ///
    /// # Errors
    /// When the lock file or the records cannot be read or written.
    pub fn turn(&self, key: Digest, scope: Scope) -> Result<Turn, StoreError> {
        let (file, path) = self.action_file(key, scope)?;
        file.lock().map_err(StoreError::io("lock", &path))?;
        self.locked(key, scope, file)
    }

    /// Comes to the lock of an action; `None` when someone carries it out.
    ///
    /// # Errors
    /// As for [`Store::turn`].
    pub fn try_turn(&self, key: Digest, scope: Scope) -> Result<Option<Turn>, StoreError> {
        let (file, path) = self.action_file(key, scope)?;
        match file.try_lock() {
            Ok(()) => self.locked(key, scope, file).map(Some),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(StoreError::io("lock", path)(error)),
        }
    }

    fn locked(&self, key: Digest, scope: Scope, file: File) -> Result<Turn, StoreError> {
        if let Some(result) = self.lookup(key, scope)? {
            return Ok(Turn::Made(result));
        }
        let epoch = self.sqlite().next_epoch(key, scope)?;
        Ok(Turn::Make(ActionLock { epoch, _file: file }))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::open::tests::store;
    use crate::records::Outputs;

    fn lock(turn: Turn) -> ActionLock {
        match turn {
            Turn::Make(lock) => lock,
            Turn::Made(result) => panic!("{result:?}"),
        }
    }

    #[test]
    fn an_action_is_carried_out_by_one_and_the_epoch_grows() {
        let (dir, store) = store();
        let key = Digest::of("key");
        let held = lock(store.turn(key, Scope::Trusted).expect("turn"));
        assert_eq!(held.epoch, Epoch(1));
        let other = Store::open(dir.path()).expect("other process");
        assert!(other.try_turn(key, Scope::Trusted).expect("try").is_none());
        let apart = other.try_turn(key, Scope::Untrusted).expect("try").expect("apart");
        assert_eq!(lock(apart).epoch, Epoch(1), "scopes do not wait for each other");
        std::thread::scope(|scope| {
            let waiter = scope.spawn(|| other.turn(key, Scope::Trusted).expect("turn"));
            // Whether the waiter comes before or after this, it gets the lock.
            drop(held);
            assert_eq!(lock(waiter.join().expect("waiter")).epoch, Epoch(2));
        });
    }

    #[test]
    fn what_was_made_between_a_look_and_the_lock_is_not_made_again() {
        let (dir, store) = store();
        let key = Digest::of("key");
        let outputs = Outputs::Blobs(vec![store.put_bytes(b"made").expect("put").digest]);
        let result = ActionResult { outputs, core_us: 0, wall_us: 0, log: None, finished_at: 0 };
        let late = Store::open(dir.path()).expect("other process");
        assert_eq!(late.lookup(key, Scope::Trusted).expect("lookup"), None);
        let held = lock(store.turn(key, Scope::Trusted).expect("turn"));
        store.record(key, Scope::Trusted, &result).expect("record");
        drop(held);
        for turn in [late.try_turn(key, Scope::Trusted), late.turn(key, Scope::Trusted).map(Some)] {
            assert!(matches!(turn, Ok(Some(Turn::Made(there))) if there == result));
        }
    }
}
