//! Keys: what an action's result depends on, as one digest; and what a stage of
//! a session works with.
//!
//! A key is the SHA-256 of a canonical record: labelled fields, each written
//! as its length and its bytes, so that no two different records have the same
//! bytes. It holds *content* digests of what comes from upstream: a rebuild
//! that gives equal output stops there.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::digest::{Digest, Hasher};
use crate::pipeline::Command;

/// The version of the record. Whatever changes what an equal action means
/// (the sandbox, the format of outputs) changes it.
const VERSION: u32 = 2;

/// Bytes of a value that [`Record::abbreviated`] leaves as it is.
const SHORT: usize = 200;

/// What a key is made of: labelled fields, in an order of their own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Record {
    fields: Vec<(String, String)>,
}

/// A field that differs between two records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change<'a> {
    /// Its label.
    pub label: &'a str,
    /// What it was; `None`: there was none.
    pub before: Option<&'a str>,
    /// What it is; `None`: there is none.
    pub now: Option<&'a str>,
}

impl Record {
    /// A record of a kind of action, such as `command` or `image`.
    #[must_use]
    pub fn new(kind: &str) -> Self {
        let mut record = Self { fields: Vec::new() };
        record.field("version", VERSION.to_string());
        record.field("kind", kind);
        record
    }

    /// Adds one field.
    pub fn field(&mut self, label: impl Into<String>, value: impl Into<String>) {
        self.fields.push((label.into(), value.into()));
    }

    /// Adds a list: its length, then its items, in the order given.
    pub fn list<T: Into<String>>(&mut self, label: &str, items: impl IntoIterator<Item = T>) {
        let items: Vec<T> = items.into_iter().collect();
        self.field(label, items.len().to_string());
        for (number, item) in (1..).zip(items) {
            self.field(format!("{label} {number}"), item);
        }
    }

    /// Adds a mapping: its length, then each value with its name in the label.
    pub fn map(&mut self, label: &str, values: &BTreeMap<String, String>) {
        self.field(label, values.len().to_string());
        for (name, value) in values {
            self.field(format!("{label} {name}"), value);
        }
    }

    /// Adds a command; `of` is put before its labels.
    pub fn command(&mut self, of: &str, command: &Command) {
        match command {
            Command::Script(script) => self.field(format!("{of}script"), script),
            Command::Argv(argv) => self.list(&format!("{of}argv"), argv),
        }
    }

    /// The key.
    #[must_use]
    pub fn key(&self) -> Digest {
        let mut hasher = Hasher::new();
        for text in self.fields.iter().flat_map(|(label, value)| [label, value]) {
            hasher.update((text.len() as u64).to_le_bytes());
            hasher.update(text);
        }
        hasher.finish()
    }

    /// The same with long values replaced by their digests: enough to see that
    /// they changed. It has another key.
    #[must_use]
    pub fn abbreviated(mut self) -> Self {
        for (_, value) in self.fields.iter_mut().filter(|(_, value)| value.len() > SHORT) {
            *value = Digest::of(&*value).to_string();
        }
        self
    }

    /// What a field says.
    #[must_use]
    pub fn get(&self, label: &str) -> Option<&str> {
        self.fields.iter().find(|(known, _)| known == label).map(|(_, value)| value.as_str())
    }

    /// The fields that differ, in the order of this record; those that only
    /// `before` has come last.
    #[must_use]
    pub fn changes_since<'a>(&'a self, before: &'a Self) -> Vec<Change<'a>> {
        let now = self.fields.iter().map(|(label, value)| (label, Some(value.as_str())));
        let gone = before.fields.iter().filter(|(label, _)| self.get(label).is_none());
        now.chain(gone.map(|(label, _)| (label, None)))
            .map(|(label, now)| Change { label, before: before.get(label), now })
            .filter(|change| change.before != change.now)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(fields: &[(&str, &[&str])]) -> Digest {
        let mut record = Record::new("test");
        for (label, items) in fields {
            record.list(label, items.iter().copied());
        }
        record.key()
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
        assert_ne!(Record::new("a").key(), Record::new("b").key());
    }

    #[test]
    fn what_changed_is_named() {
        let record = |env: &[(&str, &str)], argv: &[&str]| {
            let mut record = Record::new("test");
            let env = env.iter().map(|(name, value)| (name.to_string(), value.to_string()));
            record.map("env", &env.collect());
            record.list("argv", argv.iter().copied());
            record
        };
        let before = record(&[("A", "1"), ("B", "2")], &["go", "build"]);
        let now = record(&[("A", "1"), ("B", "3"), ("C", "4")], &["go"]);
        let told = |now: &Record, before: &Record| -> Vec<String> {
            let or_none = |value: Option<&str>| value.unwrap_or("-").to_owned();
            now.changes_since(before)
                .iter()
                .map(|c| format!("{}: {} {}", c.label, or_none(c.before), or_none(c.now)))
                .collect()
        };
        assert_eq!(
            told(&now, &before),
            ["env: 2 3", "env B: 2 3", "env C: - 4", "argv: 2 1", "argv 2: build -"]
        );
        assert_eq!(told(&now, &now), Vec::<String>::new());

        // Of what is long only that it changed is known.
        let long = |end: &str| record(&[("A", &format!("{}{end}", "x".repeat(300)))], &[]);
        let changed = (long("1").abbreviated(), long("2").abbreviated());
        assert_eq!(changed.1.changes_since(&changed.0).len(), 1);
        assert!(changed.0.get("env A").is_some_and(|value| value.starts_with("sha256:")));
        assert_eq!(long("1").abbreviated(), changed.0);
    }
}
