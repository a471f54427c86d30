//! Results of actions, as far as their content is still there.

use seatrial_core::digest::Digest;

use crate::error::StoreError;
use crate::garbage::touch;
use crate::open::Store;
use crate::records::{ActionResult, Outputs, Recorded, Records as _, Scope};

impl Store {
    /// The result of the action with this key, written in this scope. One
    /// whose outputs or log are gone is no result: the action runs again. One
    /// that is there is in use from now on.
    ///
    /// # Errors
    /// When the records cannot be read.
    pub fn lookup(&self, key: Digest, scope: Scope) -> Result<Option<ActionResult>, StoreError> {
        let Some(result) = self.sqlite().lookup(key, scope)? else { return Ok(None) };
        Ok(self.missing(&result)?.is_none().then_some(result))
    }

    /// Records the result of an action that passed. The first result stays,
    /// unless its content is gone.
    ///
    /// # Errors
    /// [`StoreError::NoBlob`] or [`StoreError::NoTree`] when the outputs are not
    /// in the store, so that no record points at nothing.
    pub fn record(
        &self,
        key: Digest,
        scope: Scope,
        result: &ActionResult,
    ) -> Result<Recorded, StoreError> {
        if let Some(missing) = self.missing(result)? {
            return Err(match result.outputs {
                Outputs::Tree(tree) if tree == missing => StoreError::NoTree(missing),
                _ => StoreError::NoBlob(missing),
            });
        }
        match self.sqlite().record(key, scope, result, None)? {
            Recorded::Conflict(there) if self.missing(&there)?.is_some() => {
                self.sqlite().record(key, scope, result, Some(&there))
            }
            answer => Ok(answer),
        }
    }

    /// What of a result is not there. What is there is in use from now on.
    fn missing(&self, result: &ActionResult) -> Result<Option<Digest>, StoreError> {
        let _using = self.lock_content(false)?;
        if let Outputs::Tree(tree) = result.outputs
            && !touch(&self.manifest_path(tree))
        {
            return Ok(Some(tree));
        }
        let mut blobs = result.log.iter().chain(result.outputs.blobs()).copied();
        Ok(blobs.find(|blob| !touch(&self.blob_path(*blob))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::open::tests::store;

    fn result(outputs: Outputs) -> ActionResult {
        ActionResult { outputs, core_us: 5, wall_us: 7, log: None, finished_at: 1 }
    }

    #[test]
    fn what_is_gone_is_a_miss_and_can_be_replaced() {
        let (_dir, store) = store();
        let key = Digest::of("key");
        let first = result(Outputs::Blobs(vec![store.put_bytes(b"1").expect("put").digest]));
        let second = result(Outputs::Blobs(vec![store.put_bytes(b"2").expect("put").digest]));
        let record =
            |result: &ActionResult| store.record(key, Scope::Trusted, result).expect("record");
        assert_eq!(record(&first), Recorded::Stored);
        assert_eq!(record(&first), Recorded::Same);
        assert_eq!(record(&second), Recorded::Conflict(first.clone()));
        assert_eq!(store.lookup(key, Scope::Trusted).expect("lookup"), Some(first));
        std::fs::remove_file(store.blob_path(Digest::of("1"))).expect("remove");
        assert_eq!(store.lookup(key, Scope::Trusted).expect("lookup"), None);
        assert_eq!(record(&second), Recorded::Stored);
        assert_eq!(store.lookup(key, Scope::Trusted).expect("lookup"), Some(second));
        assert_eq!(store.lookup(key, Scope::Untrusted).expect("lookup"), None);
    }

    #[test]
    fn no_record_points_at_nothing() {
        let (_dir, store) = store();
        let nothing = Digest::of("nothing");
        for (outputs, text) in [
            (Outputs::Tree(nothing), format!("no tree {nothing} in the store")),
            (Outputs::Blobs(vec![nothing]), format!("no blob {nothing} in the store")),
        ] {
            let error = store.record(nothing, Scope::Trusted, &result(outputs)).expect_err("gone");
            assert_eq!(error.to_string(), text);
        }
    }
}
