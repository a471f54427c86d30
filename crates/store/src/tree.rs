//! Trees: directories of files by the digest of their manifest.
//!
//! A tree is kept as files with their names, so that it can be mounted
//! read-only as an input without a copy. `trees/<hex>/` appears by one rename,
//! complete and durable.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use seatrial_core::digest::Digest;

use crate::error::StoreError;
use crate::manifest::Manifest;
use crate::open::Store;

pub(crate) mod scan;

/// A tree that is in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    /// Its name: the digest of the manifest.
    pub digest: Digest,
    /// Its files.
    pub manifest: Manifest,
}

/// What a tree may have at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TreeLimits {
    /// Files, links and directories.
    pub entries: usize,
    /// Bytes of all files.
    pub bytes: u64,
}

impl Default for TreeLimits {
    /// 100,000 entries and 16 GiB: what commands may make.
    fn default() -> Self {
        Self { entries: 100_000, bytes: 16 << 30 }
    }
}

/// Files from which on one sync of the whole file system is cheaper than one
/// for each file.
const MANY: usize = 32;

impl Store {
    /// Moves a directory into the store. It must be on the file system of the
    /// store (see [`Store::staging`]) and no process may write to it any more.
    /// Its files get the modes 0444 or 0555, the owner of this process and one
    /// fixed time, so that nothing but the manifest can be seen in them.
    ///
    /// # Errors
    /// [`StoreError::Tree`] when it holds what a tree cannot hold or exceeds
    /// `limits`; others when reading or writing fails.
    pub fn put_tree(&self, staging: &Path, limits: TreeLimits) -> Result<Tree, StoreError> {
        let disk = self.disk();
        disk.check()?;
        let scan = scan::Scan::read(staging, limits)?;
        let manifest = Manifest::new(scan.hash(staging, limits)?)?;
        let text = manifest.encode();
        let digest = Digest::of(&text);
        if self.use_tree(digest)? {
            return Ok(Tree { digest, manifest });
        }
        scan.normalise(staging)?;

        let outer = self.staging()?;
        fs::set_permissions(outer.path(), fs::Permissions::from_mode(0o755))
            .map_err(StoreError::io("set the mode of", outer.path()))?;
        let root = outer.path().join("root");
        fs::rename(staging, &root).map_err(StoreError::io("move into the store", staging))?;
        let path = outer.path().join("manifest.json");
        fs::write(&path, &text).map_err(StoreError::io("write", &path))?;
        if scan.len() < MANY {
            scan.sync(disk, &root)?;
            let file = fs::File::open(&path).map_err(StoreError::io("open", &path))?;
            disk.sync(&file, &path)?;
            disk.sync_dir(outer.path())?;
        } else {
            disk.sync_file_system(outer.path())?;
        }
        // Not published when another process was faster; `outer` then goes away.
        disk.publish(outer.path(), &self.tree_dir(digest))?;
        Ok(Tree { digest, manifest })
    }

    /// Whether the tree is in the store.
    #[must_use]
    pub fn has_tree(&self, digest: Digest) -> bool {
        self.manifest_path(digest).is_file()
    }

    /// The directory that is the tree, or would be. Nothing in it ever changes.
    #[must_use]
    pub fn tree_path(&self, digest: Digest) -> PathBuf {
        self.tree_dir(digest).join("root")
    }

    /// Reads and verifies the manifest of a tree.
    ///
    /// # Errors
    /// [`StoreError::NoTree`] when the tree is not there, [`StoreError::DigestMismatch`]
    /// when its manifest is damaged.
    pub fn manifest(&self, digest: Digest) -> Result<Manifest, StoreError> {
        let path = self.manifest_path(digest);
        let text = fs::read(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => StoreError::NoTree(digest),
            _ => StoreError::io("read", &path)(error),
        })?;
        let found = Digest::of(&text);
        if found != digest {
            return Err(StoreError::DigestMismatch { expected: digest, found });
        }
        Ok(Manifest::decode(&text)?)
    }

    /// The manifest of a tree: the last thing that makes it one.
    pub(crate) fn manifest_path(&self, digest: Digest) -> PathBuf {
        self.tree_dir(digest).join("manifest.json")
    }

    fn tree_dir(&self, digest: Digest) -> PathBuf {
        self.dir().join("trees").join(digest.hex())
    }
}

#[cfg(test)]
mod tests;
