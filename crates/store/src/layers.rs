//! Layers of images as file systems that nodes mount: one file for all
//! environments of the machine.
//!
//! A layer's file can be made again from its blob, so nobody waits until it is
//! on the disk. It is kept below the identifier of this boot of the machine
//! instead: while that lasts the page cache holds what was written, and after
//! a crash of the machine none of the files is looked at again.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use seatrial_core::digest::Digest;
use tempfile::TempPath;

use crate::error::StoreError;
use crate::open::Store;

/// An identifier that is new each time the machine starts; random(4).
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// The layers that were made mountable since the machine started.
#[derive(Debug, Clone)]
pub struct Layers {
    dir: PathBuf,
}

impl Store {
    /// The layers that can be mounted. Those of earlier boots are removed.
    ///
    /// # Errors
    /// When the machine does not say which boot this is, or the directory
    /// cannot be made.
    pub fn layers(&self) -> Result<Layers, StoreError> {
        let boot = fs::read_to_string(BOOT_ID).map_err(StoreError::io("read", BOOT_ID))?;
        self.layers_of(boot.trim())
    }

    /// A name for a file in [`Layers`] while it is written, on their file
    /// system. What is there is removed when the value is dropped.
    ///
    /// # Errors
    /// When the file cannot be made.
    pub fn unpublished_layer(&self) -> Result<TempPath, StoreError> {
        let file = tempfile::NamedTempFile::new_in(self.tmp());
        Ok(file.map_err(StoreError::io("create a file in", self.tmp()))?.into_temp_path())
    }

    fn layers_of(&self, boot: &str) -> Result<Layers, StoreError> {
        let all = self.dir().join("layers");
        let dir = all.join(boot);
        fs::create_dir_all(&dir).map_err(StoreError::io("create", &dir))?;
        let entries = fs::read_dir(&all).map_err(StoreError::io("list", &all))?;
        for entry in entries.flatten().filter(|entry| entry.path() != dir) {
            // What cannot be removed now is tried again by the next process.
            drop(fs::remove_dir_all(entry.path()));
        }
        Ok(Layers { dir })
    }
}

impl Layers {
    /// The directory that nodes see, laid out as containerd's
    /// `layer_content_caches` wants it.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The file of a layer, by the digest of its uncompressed archive.
    #[must_use]
    pub fn path(&self, diff_id: Digest) -> PathBuf {
        let hex = diff_id.hex();
        self.dir.join("sha256").join(&hex[..2]).join(format!("{hex}.erofs"))
    }

    /// Removes the file of a layer. Where it is mounted it stays as it is.
    pub(crate) fn remove(&self, diff_id: Digest) {
        // There is none for most digests; one that stays costs only room.
        drop(fs::remove_file(self.path(diff_id)));
    }

    /// Gives a file that is written whole its name, read-only.
    ///
    /// # Errors
    /// When that fails; nothing has the name then.
    pub fn publish(&self, file: TempPath, diff_id: Digest) -> Result<(), StoreError> {
        fs::set_permissions(&file, fs::Permissions::from_mode(0o444))
            .map_err(StoreError::io("make read-only", &*file))?;
        let path = self.path(diff_id);
        let parent = path.parent().unwrap_or(&self.dir);
        fs::create_dir_all(parent).map_err(StoreError::io("create", parent))?;
        file.persist(&path).map_err(|error| StoreError::io("publish", &path)(error.error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::open::tests::store;

    #[test]
    fn a_layer_appears_whole_where_containerd_looks() {
        let (_dir, store) = store();
        let layers = store.layers().expect("layers");
        let layer = Digest::of("layer");
        let file = store.unpublished_layer().expect("a file");
        fs::write(&file, "content").expect("write");
        assert!(!layers.path(layer).exists());
        layers.publish(file, layer).expect("publish");
        let hex = layer.hex();
        let expected = layers.dir().join(format!("sha256/{}/{hex}.erofs", &hex[..2]));
        assert_eq!(fs::read_to_string(&expected).expect("read"), "content");
        assert_eq!(expected.metadata().expect("stat").permissions().mode() & 0o777, 0o444);
        assert_eq!(fs::read_dir(store.tmp()).expect("list").count(), 0);
    }

    #[test]
    fn what_an_earlier_boot_left_is_not_trusted() {
        let (_dir, store) = store();
        let layer = Digest::of("layer");
        let before = store.layers_of("first-boot").expect("layers");
        before.publish(store.unpublished_layer().expect("a file"), layer).expect("publish");
        assert!(store.layers_of("first-boot").expect("again").path(layer).exists());
        let after = store.layers_of("second-boot").expect("layers");
        assert!(!after.path(layer).exists() && !before.path(layer).exists());
    }
}
