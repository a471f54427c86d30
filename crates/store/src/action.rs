//! Results of actions, as far as their content is still there.

use seatrial_core::digest::Digest;

use crate::error::StoreError;
use crate::garbage::touch;
use crate::open::Store;
use crate::records::{ActionResult, Outputs, Recorded, Records as _, Scope};

impl Store {
    /// The result of the action with this key, as a run of this scope may use
    /// it. A trusted run is given what a trusted one wrote and nothing else; an
    /// untrusted run that too, once all its bytes were verified, and else what an
    /// untrusted one wrote. A result whose outputs or log are gone is none:
    /// the action runs again. One that is there is in use from now on.
    ///
    /// # Errors
    /// When the records cannot be read.
    pub fn lookup(&self, key: Digest, scope: Scope) -> Result<Option<ActionResult>, StoreError> {
        let trusted = self.written(key, Scope::Trusted)?;
        match (scope, trusted) {
            (Scope::Trusted, trusted) => Ok(trusted),
            (Scope::Untrusted, Some(result)) if self.verify(&result)? => Ok(Some(result)),
            (Scope::Untrusted, _) => self.written(key, Scope::Untrusted),
        }
    }

    /// What was written in exactly this scope and is there.
    fn written(&self, key: Digest, scope: Scope) -> Result<Option<ActionResult>, StoreError> {
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
        // Reading was allowed this way round.
        let found = store.lookup(key, Scope::Untrusted).expect("lookup");
        assert_eq!(found, store.lookup(key, Scope::Trusted).expect("lookup"));
    }

    #[test]
    fn what_an_untrusted_run_wrote_is_read_by_no_trusted_one() {
        let (_dir, store) = store();
        let key = Digest::of("key");
        let poison = result(Outputs::Blobs(vec![store.put_bytes(b"poison").expect("put").digest]));
        let honest = result(Outputs::Blobs(vec![store.put_bytes(b"honest").expect("put").digest]));
        let lookup = |scope| store.lookup(key, scope).expect("lookup");
        let record = |scope, result| store.record(key, scope, result).expect("record");
        assert_eq!(record(Scope::Untrusted, &poison), Recorded::Stored);
        assert_eq!(lookup(Scope::Trusted), None);
        assert_eq!(lookup(Scope::Untrusted), Some(poison.clone()));
        // Not a conflict: nothing was there for it.
        assert_eq!(record(Scope::Trusted, &honest), Recorded::Stored);
        assert_eq!(lookup(Scope::Trusted), Some(honest.clone()));
        assert_eq!(lookup(Scope::Untrusted), Some(honest), "what is trusted comes first");
        // And it is verified on the way, put aside where it is wrong.
        let path = store.blob_path(Digest::of("honest"));
        std::fs::remove_file(&path).expect("removed");
        std::fs::write(&path, "Honest").expect("damaged");
        assert_eq!(lookup(Scope::Untrusted), Some(poison));
        assert_eq!(lookup(Scope::Trusted), None, "nobody is given what is damaged");
    }

    #[test]
    fn a_damaged_tree_is_given_to_no_untrusted_run() {
        let (_dir, store) = store();
        let key = Digest::of("key");
        let staging = store.staging().expect("staging");
        let dir = staging.path().join("tree");
        std::fs::create_dir(&dir).expect("directory");
        std::fs::write(dir.join("file"), "honest").expect("file");
        let tree = store.put_tree(&dir, crate::TreeLimits::default()).expect("put").digest;
        let made = result(Outputs::Tree(tree));
        store.record(key, Scope::Trusted, &made).expect("record");
        assert_eq!(store.lookup(key, Scope::Untrusted).expect("lookup"), Some(made));
        let file = store.tree_path(tree).join("file");
        let writable = std::os::unix::fs::PermissionsExt::from_mode(0o644);
        std::fs::set_permissions(&file, writable).expect("mode");
        std::fs::write(&file, "Honest").expect("damaged");
        assert_eq!(store.lookup(key, Scope::Untrusted).expect("lookup"), None);
        assert!(!store.has_tree(tree), "it is out of everybody's way");
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
