//! Blobs: immutable bytes by their SHA-256.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use seatrial_core::digest::{Digest, Hasher};
use tempfile::NamedTempFile;

use crate::error::StoreError;
use crate::open::Store;

/// A blob that is in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blob {
    /// Its name.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
}

/// A blob while it is written: what goes in is hashed on its way to a
/// temporary file, which gets its name in [`BlobWriter::finish`]. Dropped
/// before that, nothing remains.
pub struct BlobWriter {
    store: Store,
    file: NamedTempFile,
    hasher: Hasher,
    size: u64,
    limit: u64,
    too_large: bool,
}

impl Store {
    /// Starts a blob of at most `limit` bytes.
    ///
    /// # Errors
    /// When the store takes no writes or the temporary file cannot be made.
    pub fn blob_writer(&self, limit: u64) -> Result<BlobWriter, StoreError> {
        self.disk().check()?;
        let dir = self.tmp();
        let file = NamedTempFile::new_in(dir).map_err(StoreError::io("create a file in", dir))?;
        Ok(BlobWriter {
            store: self.clone(),
            file,
            hasher: Hasher::new(),
            size: 0,
            limit,
            too_large: false,
        })
    }

    /// Stores all bytes of `reader`, at most `limit` of them. They are hashed
    /// even when `expected` is known: no one's word is taken for content.
    ///
    /// # Errors
    /// When reading or writing fails, there are more than `limit` bytes, or
    /// their digest is not `expected`.
    pub fn put_blob(
        &self,
        mut reader: impl Read,
        expected: Option<Digest>,
        limit: u64,
    ) -> Result<Blob, StoreError> {
        let mut writer = self.blob_writer(limit)?;
        let mut buffer = vec![0; 256 << 10];
        loop {
            let count = match reader.read(&mut buffer) {
                Ok(0) => return writer.finish(expected),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(StoreError::io("read the content of", "a blob")(error)),
            };
            writer.push(&buffer[..count])?;
        }
    }

    /// Stores bytes that are in memory.
    ///
    /// # Errors
    /// When writing fails.
    pub fn put_bytes(&self, bytes: &[u8]) -> Result<Blob, StoreError> {
        self.put_blob(bytes, None, u64::MAX)
    }

    /// Whether the blob is in the store.
    #[must_use]
    pub fn has_blob(&self, digest: Digest) -> bool {
        self.blob_path(digest).is_file()
    }

    /// Where the blob is, or would be. The file is read-only and never changes.
    #[must_use]
    pub fn blob_path(&self, digest: Digest) -> PathBuf {
        let hex = digest.hex();
        self.dir().join("blobs/sha256").join(&hex[..2]).join(hex)
    }

    /// Opens a blob for reading.
    ///
    /// # Errors
    /// [`StoreError::NoBlob`] when it is not there.
    pub fn open_blob(&self, digest: Digest) -> Result<(File, u64), StoreError> {
        let path = self.blob_path(digest);
        let file = File::open(&path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => StoreError::NoBlob(digest),
            _ => StoreError::io("open", &path)(error),
        })?;
        let size = file.metadata().map_err(StoreError::io("read the size of", &path))?.len();
        Ok((file, size))
    }

    /// Reads a blob into memory and verifies it. One that does not hold what
    /// its name says is moved to `quarantine/`, so that its producer runs again.
    ///
    /// # Errors
    /// When it is not there, is larger than `limit` bytes or is damaged.
    pub fn read_blob(&self, digest: Digest, limit: u64) -> Result<Vec<u8>, StoreError> {
        let (file, size) = self.open_blob(digest)?;
        if size > limit {
            return Err(StoreError::TooLarge { limit });
        }
        let path = self.blob_path(digest);
        let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
        file.take(limit).read_to_end(&mut bytes).map_err(StoreError::io("read", &path))?;
        let found = Digest::of(&bytes);
        if found != digest {
            self.put_aside(&path)?;
            return Err(StoreError::DigestMismatch { expected: digest, found });
        }
        Ok(bytes)
    }
}

impl BlobWriter {
    /// Adds bytes.
    ///
    /// # Errors
    /// When writing fails or the limit is reached.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let path = self.file.path().to_owned();
        self.write_all(bytes).map_err(|error| {
            if self.too_large {
                StoreError::TooLarge { limit: self.limit }
            } else {
                StoreError::io("write", path)(error)
            }
        })
    }

    /// Makes the blob durable and gives it its name.
    ///
    /// # Errors
    /// When the content is not `expected`, was too large, or cannot be synced.
    pub fn finish(self, expected: Option<Digest>) -> Result<Blob, StoreError> {
        if self.too_large {
            return Err(StoreError::TooLarge { limit: self.limit });
        }
        let digest = self.hasher.finish();
        if let Some(expected) = expected.filter(|expected| *expected != digest) {
            return Err(StoreError::DigestMismatch { expected, found: digest });
        }
        let blob = Blob { digest, size: self.size };
        if self.store.use_blob(digest)? {
            return Ok(blob);
        }
        let (file, path) = self.file.into_parts();
        file.set_permissions(fs::Permissions::from_mode(0o444))
            .map_err(StoreError::io("make read-only", &path))?;
        let disk = self.store.disk();
        disk.check()?;
        disk.sync(&file, &path)?;
        disk.publish(&path, &self.store.blob_path(digest))?;
        Ok(blob)
    }
}

impl Write for BlobWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let size = self.size.saturating_add(bytes.len() as u64);
        if size > self.limit {
            self.too_large = true;
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "blob over its limit"));
        }
        self.file.as_file().write_all(bytes)?;
        self.hasher.update(bytes);
        self.size = size;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.as_file().flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::open::tests::store;

    #[test]
    fn comes_back_as_it_went_in() {
        let (_dir, store) = store();
        let blob = store.put_bytes(b"anchor").expect("put");
        assert_eq!(blob, Blob { digest: Digest::of("anchor"), size: 6 });
        assert_eq!(store.put_bytes(b"anchor").expect("again"), blob);
        assert_eq!(store.read_blob(blob.digest, 6).expect("read"), b"anchor");
        let mode = fs::metadata(store.blob_path(blob.digest)).expect("stat").permissions().mode();
        assert_eq!(mode & 0o777, 0o444);
        assert_eq!(fs::read_dir(store.tmp()).expect("list").count(), 0);
    }

    #[test]
    fn refusals_leave_nothing() {
        let (_dir, store) = store();
        let wanted = Digest::of("rope");
        let error = store.put_blob(&b"hemp"[..], Some(wanted), 10).expect_err("other content");
        assert_eq!(error.to_string(), format!("content is {}, not {wanted}", Digest::of("hemp")));
        assert!(matches!(error, StoreError::DigestMismatch { .. }));
        let error = store.put_blob(&b"hemp"[..], None, 3).expect_err("too large");
        assert_eq!(error.to_string(), "content is larger than 3 bytes");
        assert!(!store.has_blob(wanted) && !store.has_blob(Digest::of("hemp")));
        assert!(matches!(store.read_blob(wanted, 10), Err(StoreError::NoBlob(_))));
        assert_eq!(fs::read_dir(store.tmp()).expect("list").count(), 0);
    }

    #[test]
    fn damage_is_found_and_put_aside() {
        let (dir, store) = store();
        let digest = store.put_bytes(b"sound").expect("put").digest;
        let path = store.blob_path(digest);
        fs::remove_file(&path).expect("remove");
        fs::write(&path, b"rotten").expect("damage");
        let error = store.read_blob(digest, 100).expect_err("damaged");
        assert!(matches!(error, StoreError::DigestMismatch { .. }), "{error}");
        assert!(!store.has_blob(digest));
        assert!(dir.path().join("quarantine").join(digest.hex()).exists());
        store.put_bytes(b"sound").expect("made again");
        assert_eq!(store.read_blob(digest, 100).expect("read"), b"sound");
    }
}
