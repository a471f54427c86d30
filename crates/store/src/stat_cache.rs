//! Digests of files that have not changed since they were last read, by what
//! stat(2) says of them. Facts about this machine; losing them costs time only.

use std::collections::HashMap;

use rusqlite::{OptionalExtension as _, params};
use seatrial_core::digest::Digest;

use crate::error::StoreError;
use crate::open::Store;

/// What stat(2) says of a file. Times are nanoseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FileStamp {
    /// Inode number.
    pub inode: u64,
    /// Size in bytes.
    pub size: u64,
    /// When the content last changed, which a program can set back.
    pub mtime: i64,
    /// When the inode last changed, which it cannot.
    pub ctime: i64,
}

impl Store {
    /// The digests that were kept for the files below `root`, by path.
    ///
    /// # Errors
    /// When the records cannot be read.
    pub fn file_digests(
        &self,
        root: &str,
    ) -> Result<HashMap<String, (FileStamp, Digest)>, StoreError> {
        self.sqlite().read("read file digests", |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT path, inode, size, mtime, ctime, digest FROM file_digests WHERE root = ?1",
            )?;
            let mut rows = statement.query([root])?;
            let mut all = HashMap::new();
            while let Some(row) = rows.next()? {
                let stamp = FileStamp {
                    inode: row.get::<_, i64>(1)?.cast_unsigned(),
                    size: row.get::<_, i64>(2)?.cast_unsigned(),
                    mtime: row.get(3)?,
                    ctime: row.get(4)?,
                };
                // A digest that does not parse is one that is not known.
                if let Ok(digest) = row.get_ref(5)?.as_str()?.parse() {
                    all.insert(row.get(0)?, (stamp, digest));
                }
            }
            Ok(all)
        })
    }

    /// Keeps digests of files below `root`.
    ///
    /// # Errors
    /// When the records cannot be written.
    pub fn keep_file_digests<'a>(
        &self,
        root: &str,
        files: impl IntoIterator<Item = (&'a str, FileStamp, Digest)>,
    ) -> Result<(), StoreError> {
        self.sqlite().write("keep file digests", |transaction| {
            let mut insert = transaction.prepare_cached(
                "INSERT OR REPLACE INTO file_digests (root, path, inode, size, mtime, ctime, digest)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )?;
            for (path, stamp, digest) in files {
                insert.execute(params![
                    root,
                    path,
                    stamp.inode.cast_signed(),
                    stamp.size.cast_signed(),
                    stamp.mtime,
                    stamp.ctime,
                    digest.to_string()
                ])?;
            }
            Ok(())
        })
    }

    /// The tree that was made when the stamps of all files had this fingerprint.
    ///
    /// # Errors
    /// When the records cannot be read.
    pub fn snapshot(&self, fingerprint: Digest) -> Result<Option<Digest>, StoreError> {
        Ok(self.fact(fingerprint)?.and_then(|text| text.parse().ok()))
    }

    /// Keeps which tree the files with this fingerprint are.
    ///
    /// # Errors
    /// When the records cannot be written.
    pub fn keep_snapshot(&self, fingerprint: Digest, tree: Digest) -> Result<(), StoreError> {
        self.keep_fact(fingerprint, &tree.to_string())
    }

    /// Whether a work tree with this fingerprint differs from its commit.
    ///
    /// # Errors
    /// When the records cannot be read.
    pub fn kept_dirty(&self, fingerprint: Digest) -> Result<Option<bool>, StoreError> {
        Ok(match self.fact(fingerprint)?.as_deref() {
            Some("clean") => Some(false),
            Some("dirty") => Some(true),
            _ => None,
        })
    }

    /// Keeps whether a work tree with this fingerprint differs from its commit.
    ///
    /// # Errors
    /// When the records cannot be written.
    pub fn keep_dirty(&self, fingerprint: Digest, dirty: bool) -> Result<(), StoreError> {
        self.keep_fact(fingerprint, if dirty { "dirty" } else { "clean" })
    }

    fn fact(&self, fingerprint: Digest) -> Result<Option<String>, StoreError> {
        self.sqlite().read("find a snapshot", |connection| {
            connection
                .prepare_cached("SELECT tree FROM snapshots WHERE fingerprint = ?1")?
                .query_row([fingerprint.to_string()], |row| row.get(0))
                .optional()
        })
    }

    fn keep_fact(&self, fingerprint: Digest, fact: &str) -> Result<(), StoreError> {
        self.sqlite().write("keep a snapshot", |transaction| {
            transaction
                .prepare_cached(
                    "INSERT OR REPLACE INTO snapshots (fingerprint, tree) VALUES (?1, ?2)",
                )?
                .execute(params![fingerprint.to_string(), fact])?;
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::open::tests::store;

    #[test]
    fn what_was_kept_is_found_by_root() {
        let (_dir, store) = store();
        let stamp = FileStamp { inode: u64::MAX, size: 3, mtime: -1, ctime: 7 };
        let digest = Digest::of("abc");
        store.keep_file_digests("/work", [("a/b", stamp, digest)]).expect("keep");
        let found = store.file_digests("/work").expect("read");
        assert_eq!(found, HashMap::from([("a/b".to_owned(), (stamp, digest))]));
        assert!(store.file_digests("/other").expect("read").is_empty());
        let fingerprint = Digest::of("all stamps");
        assert_eq!(store.snapshot(fingerprint).expect("read"), None);
        store.keep_snapshot(fingerprint, digest).expect("keep");
        assert_eq!(store.snapshot(fingerprint).expect("read"), Some(digest));
        assert_eq!(store.kept_dirty(fingerprint).expect("read"), None);
        for dirty in [true, false] {
            store.keep_dirty(fingerprint, dirty).expect("keep");
            assert_eq!(store.kept_dirty(fingerprint).expect("read"), Some(dirty));
        }
    }
}
