//! Throwing away what nobody has used for long.
//!
//! When something was used last is the time of its file: the blob itself, or
//! the manifest of a tree. Whoever finds something in the store sets that time
//! ([`Store::use_tree`], [`Store::use_blob`]) under the shared lock that
//! collecting takes alone, so that nothing goes between the finding and the
//! using. What was used since the oldest process began that has this store open
//! stays, whatever the limits say: it may be in use.
//!
//! Nothing here is needed to be right: what is gone is a miss, and is made again.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use nix::fcntl::AT_FDCWD;
use nix::sys::stat::{UtimensatFlags, utimensat};
use nix::sys::time::TimeSpec;
use seatrial_core::digest::Digest;

use crate::durable::at;
use crate::error::StoreError;
use crate::layers::Layers;
use crate::open::Store;

/// What is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// Bytes of blobs and trees; the least recently used go first.
    pub size: u64,
    /// What was used since then, as far as `size` allows it.
    pub used_since: SystemTime,
}

/// What collecting came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Collected {
    /// Blobs and trees that went.
    pub removed: u64,
    /// Their bytes.
    pub freed: u64,
    /// Blobs and trees that stay.
    pub kept: u64,
    /// Their bytes.
    pub size: u64,
    /// Bytes that the limits would have removed, had they not been used since
    /// the oldest process began that has the store open.
    pub in_use: u64,
}

/// A blob or a tree.
struct Item {
    /// What is removed.
    path: PathBuf,
    /// The file whose time says when it was used last.
    marker: PathBuf,
    size: u64,
    used: SystemTime,
}

impl Store {
    /// Whether the tree is in the store; from now on it is in use.
    ///
    /// # Errors
    /// When the lock cannot be taken.
    pub fn use_tree(&self, digest: Digest) -> Result<bool, StoreError> {
        let _using = self.lock_content(false)?;
        Ok(touch(&self.manifest_path(digest)))
    }

    /// Whether the blob is in the store; from now on it is in use.
    ///
    /// # Errors
    /// When the lock cannot be taken.
    pub fn use_blob(&self, digest: Digest) -> Result<bool, StoreError> {
        let _using = self.lock_content(false)?;
        Ok(touch(&self.blob_path(digest)))
    }

    /// Removes the least recently used blobs and trees until what is left is
    /// within the limits; with `only_tell` says what would go.
    ///
    /// # Errors
    /// When the store cannot be read or something cannot be removed.
    pub fn collect(&self, keep: Keep, only_tell: bool) -> Result<Collected, StoreError> {
        let pinned_since = self.oldest_process()?;
        let layers = self.layers()?;
        let mut items = self.items()?;
        items.sort_by(|a, b| a.used.cmp(&b.used).then_with(|| a.path.cmp(&b.path)));
        let mut collected = Collected {
            kept: items.len() as u64,
            size: items.iter().map(|item| item.size).sum(),
            ..Collected::default()
        };
        for item in items {
            if collected.size <= keep.size && item.used >= keep.used_since {
                break;
            }
            if item.used >= pinned_since {
                collected.in_use += item.size;
                continue;
            }
            if !only_tell && !self.remove(&item, &layers)? {
                continue;
            }
            collected.removed += 1;
            collected.freed += item.size;
            collected.kept -= 1;
            collected.size -= item.size;
        }
        Ok(collected)
    }

    /// Removes what was not used meanwhile.
    fn remove(&self, item: &Item, layers: &Layers) -> Result<bool, StoreError> {
        let aside = self.staging()?;
        let _alone = self.lock_content(true)?;
        if used(&item.marker).is_none_or(|used| used > item.used) {
            return Ok(false);
        }
        // By one rename, so that a tree is there or is not; the slow part is
        // the end of `aside`.
        at("before removing");
        fs::rename(&item.path, aside.path().join("gone"))
            .map_err(StoreError::io("remove", &item.path))?;
        at("after removing");
        if let Some(digest) = digest_of(&item.path) {
            // An uncompressed layer is its own diff id; nodes that have its file
            // system mounted keep it.
            layers.remove(digest);
        }
        Ok(true)
    }

    fn items(&self) -> Result<Vec<Item>, StoreError> {
        let mut items = Vec::new();
        for path in self.blobs()? {
            let Ok(meta) = fs::metadata(&path) else { continue };
            let used = meta.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            items.push(Item { marker: path.clone(), path, size: meta.len(), used });
        }
        for (digest, path) in self.trees()? {
            let marker = self.manifest_path(digest);
            // One that cannot be read is for `scrub`; its size is not known.
            let size = self.manifest(digest).map_or(0, |manifest| manifest.size());
            let Some(used) = used(&marker) else { continue };
            items.push(Item { path, marker, size, used });
        }
        Ok(items)
    }

    /// The files of all blobs.
    pub(crate) fn blobs(&self) -> Result<Vec<PathBuf>, StoreError> {
        let mut blobs = Vec::new();
        for dir in entries(&self.dir().join("blobs/sha256"))? {
            blobs.extend(entries(&dir)?);
        }
        Ok(blobs)
    }

    /// The directories of all trees.
    pub(crate) fn trees(&self) -> Result<Vec<(Digest, PathBuf)>, StoreError> {
        let trees = entries(&self.dir().join("trees"))?;
        Ok(trees.into_iter().filter_map(|path| Some((digest_of(&path)?, path))).collect())
    }

    /// The lock between who uses content and who removes it.
    pub(crate) fn lock_content(&self, alone: bool) -> Result<File, StoreError> {
        let path = self.dir().join("content.lock");
        let file = File::options().create(true).truncate(false).write(true).open(&path);
        let file = file.map_err(StoreError::io("open", &path))?;
        let locked = if alone { file.lock() } else { file.lock_shared() };
        locked.map_err(StoreError::io("lock", &path))?;
        Ok(file)
    }
}

/// The digest that a file or directory of the store has for a name.
pub(crate) fn digest_of(path: &Path) -> Option<Digest> {
    format!("sha256:{}", path.file_name()?.to_str()?).parse().ok()
}

fn entries(dir: &Path) -> Result<Vec<PathBuf>, StoreError> {
    let listed = fs::read_dir(dir).map_err(StoreError::io("list", dir))?;
    listed.map(|entry| Ok(entry.map_err(StoreError::io("list", dir))?.path())).collect()
}

/// Notes that a blob's file or a tree's manifest is used now; false when it is
/// not there. Whoever goes on to use it holds the lock meanwhile.
pub(crate) fn touch(file: &Path) -> bool {
    let now = TimeSpec::UTIME_NOW;
    utimensat(AT_FDCWD, file, &now, &now, UtimensatFlags::NoFollowSymlink).is_ok()
}

fn used(marker: &Path) -> Option<SystemTime> {
    match fs::metadata(marker).and_then(|meta| meta.modified()) {
        Ok(used) => Some(used),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(_) => Some(SystemTime::UNIX_EPOCH),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::open::tests::store;
    use crate::tree::TreeLimits;

    const ALL: Keep = Keep { size: u64::MAX, used_since: SystemTime::UNIX_EPOCH };
    const NONE: Keep = Keep { size: 0, used_since: SystemTime::UNIX_EPOCH };

    /// Sets when something was used last.
    fn used_ago(marker: &Path, ago: Duration) {
        let times = fs::FileTimes::new().set_modified(SystemTime::now() - ago);
        // It is read-only, but this process's own.
        File::open(marker).expect("there").set_times(times).expect("set");
    }

    fn hours(n: u64) -> Duration {
        Duration::from_secs(n * 3600)
    }

    fn tree(store: &Store, text: &str) -> Digest {
        let staging = store.staging().expect("staging");
        let dir = staging.path().join("t");
        fs::create_dir(&dir).expect("directory");
        fs::write(dir.join("f"), text).expect("file");
        store.put_tree(&dir, TreeLimits::default()).expect("put").digest
    }

    #[test]
    fn the_least_recently_used_goes_first() {
        let (_dir, store) = store();
        let old = store.put_bytes(&[1; 100]).expect("put").digest;
        let older = tree(&store, "older");
        let new = store.put_bytes(&[2; 100]).expect("put").digest;
        used_ago(&store.blob_path(old), hours(2));
        used_ago(&store.manifest_path(older), hours(3));
        used_ago(&store.blob_path(new), hours(1));
        assert_eq!(store.collect(ALL, false).expect("collect").removed, 0);

        let keep = Keep { size: 150, ..ALL };
        let told = store.collect(keep, true).expect("tell");
        assert_eq!((told.removed, told.freed, told.kept, told.size), (2, 105, 1, 100));
        assert!(store.has_tree(older) && store.has_blob(old), "only told");
        assert_eq!(store.collect(keep, false).expect("collect"), told);
        assert!(!store.has_tree(older) && !store.has_blob(old) && store.has_blob(new));

        let keep = Keep { used_since: SystemTime::now() - hours(1) / 2, ..ALL };
        assert_eq!(store.collect(keep, false).expect("collect").removed, 1);
        assert!(!store.has_blob(new));
        // All of it can be made again.
        assert_eq!(tree(&store, "older"), older);
    }

    #[test]
    fn what_a_living_process_used_stays() {
        let (dir, store) = store();
        let other = Store::open(dir.path()).expect("another process");
        let blob = store.put_bytes(b"used").expect("put").digest;
        let tree = tree(&store, "used");
        for marker in [store.blob_path(blob), store.manifest_path(tree)] {
            used_ago(&marker, hours(1));
        }
        assert!(other.use_blob(blob).expect("use") && other.use_tree(tree).expect("use"));
        let collected = store.collect(NONE, false).expect("collect");
        assert_eq!((collected.removed, collected.in_use), (0, 8));
        assert!(!other.use_blob(Digest::of("none")).expect("use"));
        assert!(!other.use_tree(Digest::of("none")).expect("use"));
    }

    #[test]
    fn finding_something_again_is_using_it() {
        let (_dir, store) = store();
        let blob = store.put_bytes(b"again").expect("put").digest;
        let again = tree(&store, "again");
        for marker in [store.blob_path(blob), store.manifest_path(again)] {
            used_ago(&marker, hours(1));
        }
        store.put_bytes(b"again").expect("put");
        tree(&store, "again");
        assert_eq!(store.collect(NONE, false).expect("collect").removed, 0);
    }
}
