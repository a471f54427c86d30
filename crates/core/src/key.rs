//! Keys: what an action's result depends on, as one digest.
//!
//! A key is the SHA-256 of a canonical record: labelled fields, each written
//! as its length and its bytes, so that no two different records have the same
//! bytes. It holds *content* digests of what comes from upstream: a rebuild
//! that gives equal output stops there.

use crate::digest::{Digest, Hasher};

/// The version of the record. Whatever changes what an equal action means
/// (the sandbox, the format of outputs) changes it.
const VERSION: u32 = 1;

/// Collects the fields of a record.
pub struct Record {
    hasher: Hasher,
}

impl Record {
    /// A record of a kind of action, such as `command` or `image`.
    #[must_use]
    pub fn new(kind: &str) -> Self {
        let mut record = Self { hasher: Hasher::new() };
        record.field("version", VERSION.to_string());
        record.field("kind", kind);
        record
    }

    /// Adds one field.
    pub fn field(&mut self, label: &str, value: impl AsRef<[u8]>) {
        for bytes in [label.as_bytes(), value.as_ref()] {
            self.hasher.update((bytes.len() as u64).to_le_bytes());
            self.hasher.update(bytes);
        }
    }

    /// Adds a list: its length, then its items, in the order given.
    pub fn list<T: AsRef<[u8]>>(&mut self, label: &str, items: impl IntoIterator<Item = T>) {
        let items: Vec<T> = items.into_iter().collect();
        self.field(label, items.len().to_string());
        for item in items {
            self.field("", item);
        }
    }

    /// The key.
    #[must_use]
    pub fn finish(self) -> Digest {
        self.hasher.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(fields: &[(&str, &[&str])]) -> Digest {
        let mut record = Record::new("test");
        for (label, items) in fields {
            record.list(label, *items);
        }
        record.finish()
    }

    #[test]
    fn what_is_not_the_same_has_another_key() {
        let records: &[&[(&str, &[&str])]] = &[
            &[],
            &[("a", &[])],
            &[("a", &["b"])],
            &[("a", &["b", ""])],
            &[("a", &["", "b"])],
            &[("ab", &[""])],
            &[("a", &["b"]), ("", &[])],
            &[("a", &["bc"])],
            &[("a", &["b", "c"])],
            &[("a", &["b"]), ("c", &[])],
        ];
        for (i, one) in records.iter().enumerate() {
            for (j, other) in records.iter().enumerate() {
                assert_eq!(key(one) == key(other), i == j, "{one:?} {other:?}");
            }
        }
        assert_ne!(Record::new("a").finish(), Record::new("b").finish());
    }
}
