//! `seatrial.lock`: what the words of a pipeline file stood for when it was
//! last settled, so that another machine, or this one a year later, says what
//! is different instead of silently testing something else.
//!
//! Written by `seatrial update`, kept in Git, read by the same reader as the
//! pipeline file, with the same errors.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use seatrial_core::digest::Digest;
use seatrial_core::name::Name;

use crate::diagnostic::{Code, Diagnostic, Problems, quote};
use crate::file::Version;
use crate::read::{Map, Read, Reader, section};
use crate::source::{LARGEST, Source, Span};
use crate::{Known, tree};

/// The name of the lock file, beside the pipeline file.
pub const LOCK_NAME: &str = "seatrial.lock";

/// What a pipeline's words stand for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Lock {
    /// Patch versions of Kubernetes by minor version: `1.37.2` of `1.37`.
    pub kubernetes: BTreeMap<String, String>,
    /// Digests of base images by name and tag, as the pipeline has them.
    pub images: BTreeMap<String, Digest>,
    /// Tools that the pipeline names.
    pub tools: BTreeMap<Name, LockedTool>,
}

/// A tool as it was on some machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockedTool {
    /// What it said of itself, in a line: for people.
    pub version: String,
    /// Of all that makes it what it is.
    pub digest: Digest,
}

/// A way in which two locks differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// What it is about: `kubernetes 1.37`, `go`.
    pub what: String,
    /// How the first lock has it, if it has it.
    pub before: Option<String>,
    /// How the second one has it.
    pub after: Option<String>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.before, &self.after) {
            (Some(before), Some(after)) if before == after => {
                // Two builds of one version.
                write!(f, "{}: {before} -> another build of it", self.what)
            }
            (Some(before), Some(after)) => write!(f, "{}: {before} -> {after}", self.what),
            (None, Some(after)) => write!(f, "{}: added, {after}", self.what),
            (Some(before), None) => write!(f, "{}: removed, {before}: nothing uses it", self.what),
            (None, None) => f.write_str(&self.what),
        }
    }
}

section! {
    /// A lock file.
    LockFile {
        /// Version of the format.
        seatrial: Version, required;
        /// Patch versions of Kubernetes by minor version.
        kubernetes: Map<String, String>, optional;
        /// Digests of base images by name and tag.
        images: Map<String, String>, optional;
        /// What tools were.
        tools: Map<Name, ToolFile>, optional;
    }
}

section! {
    /// A tool.
    ToolFile {
        /// What it said of itself.
        version: String, required;
        /// Of all that makes it what it is.
        digest: String, required;
    }
}

impl Lock {
    /// Reads a lock file. `origin` names it in diagnostics.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn parse(text: &[u8], origin: &str) -> Result<Self, Vec<Diagnostic>> {
        const AGAIN: &str = "`seatrial update` writes it anew";
        let decoded = String::from_utf8_lossy(text);
        let mut problems = Problems::new(Source::new(origin, &decoded));
        if text.len() > LARGEST || std::str::from_utf8(text).is_err() {
            let bad = Diagnostic::new(Code::BadText, "this is no text of at most 1 MiB");
            problems.push(Span::default(), bad.hint(AGAIN));
            return Err(problems.finish());
        }
        if let Some(at) = conflict(&decoded) {
            let left = Diagnostic::new(Code::Syntax, "a merge left its conflict markers here");
            let hint = "`seatrial update` settles all of it anew; `git checkout --ours \
                        seatrial.lock`, or `--theirs`, takes what one side had";
            problems.push(Span::new(at, at + 7), left.hint(hint));
            return Err(problems.finish());
        }
        let tree = tree::parse(&decoded, &mut problems);
        if tree.is_none() && !problems.has_errors() {
            let empty = Diagnostic::new(Code::MissingField, "the file is empty");
            problems.push(Span::default(), empty.hint(AGAIN));
        }
        let known = Known { kubernetes: &[], tools: &[], images: None };
        let mut reader = Reader::new(&mut problems, &known);
        let file = tree.and_then(|tree| LockFile::read(&tree, &mut reader));
        // What another version means is not to be judged by the rules of this one.
        let file = file.filter(|file| file.seatrial.get().is_some());
        let lock = file.map(|file| file.checked(&mut reader));
        match (lock, problems.has_errors()) {
            (Some(lock), false) => Ok(lock),
            _ => Err(problems.finish()),
        }
    }

    /// The text of the file: sorted, the same for the same content.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text =
            "# What seatrial.yaml stood for when `seatrial update` last ran. Keep it in Git.\n\
                        seatrial: 1\n"
                .to_owned();
        // JSON strings are YAML's double-quoted scalars.
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        if !self.kubernetes.is_empty() {
            text.push_str("kubernetes:\n");
        }
        for (minor, patch) in &self.kubernetes {
            let _ = writeln!(text, "  {}: {}", quoted(minor), quoted(patch));
        }
        if !self.images.is_empty() {
            text.push_str("images:\n");
        }
        for (image, digest) in &self.images {
            let _ = writeln!(text, "  {}: {}", quoted(image), quoted(&digest.to_string()));
        }
        if !self.tools.is_empty() {
            text.push_str("tools:\n");
        }
        for (name, LockedTool { version, digest }) in &self.tools {
            let (version, digest) = (quoted(version), quoted(&digest.to_string()));
            let _ = writeln!(text, "  {name}:\n    version: {version}\n    digest: {digest}");
        }
        text
    }

    /// What is different in `now`, in the order of the file.
    #[must_use]
    pub fn differences(&self, now: &Self) -> Vec<Difference> {
        let mut found = Vec::new();
        compare(&self.kubernetes, &now.kubernetes, |minor, before, after| {
            let what = format!("kubernetes {minor}");
            found.push(Difference { what, before: before.cloned(), after: after.cloned() });
        });
        compare(&self.images, &now.images, |image, before, after| {
            let (before, after) = (before.map(ToString::to_string), after.map(ToString::to_string));
            found.push(Difference { what: image.clone(), before, after });
        });
        compare(&self.tools, &now.tools, |name, before, after| {
            let version = |tool: Option<&LockedTool>| tool.map(|tool| tool.version.clone());
            let (before, after) = (version(before), version(after));
            found.push(Difference { what: name.to_string(), before, after });
        });
        found
    }

    /// This lock with what `now` has for `names` (a tool, an image with its tag,
    /// or a minor version of Kubernetes); the rest stays.
    ///
    /// # Errors
    /// The first of `names` that neither of them has.
    pub fn updated(mut self, now: &Self, names: &[String]) -> Result<Self, String> {
        for name in names {
            let tool = name.parse::<Name>().ok();
            let tool = tool.filter(|t| self.tools.contains_key(t) || now.tools.contains_key(t));
            if self.kubernetes.contains_key(name) || now.kubernetes.contains_key(name) {
                put(&mut self.kubernetes, &now.kubernetes, name);
            } else if self.images.contains_key(name) || now.images.contains_key(name) {
                put(&mut self.images, &now.images, name);
            } else if let Some(tool) = tool {
                put(&mut self.tools, &now.tools, &tool);
            } else {
                return Err(name.clone());
            }
        }
        Ok(self)
    }
}

impl LockFile {
    fn checked(self, reader: &mut Reader<'_>) -> Lock {
        let mut lock = Lock::default();
        for entry in self.kubernetes.value().map_or_else(Vec::new, |map| map.0) {
            let Some(patch) = entry.value else { continue };
            let below = patch.strip_prefix(&entry.name).and_then(|rest| rest.strip_prefix('.'));
            if below.is_none_or(|n| n.parse::<u32>().is_err()) {
                let message = format!("{} is no patch of {}", quote(&patch), quote(&entry.name));
                reader.report(entry.key.span, Diagnostic::new(Code::BadValue, message));
            }
            lock.kubernetes.insert(entry.name, patch);
        }
        for entry in self.images.value().map_or_else(Vec::new, |map| map.0) {
            let Some(text) = entry.value else { continue };
            if let Some(digest) = digest(reader, &text, entry.key.span) {
                lock.images.insert(entry.name, digest);
            }
        }
        for entry in self.tools.value().map_or_else(Vec::new, |map| map.0) {
            let Some(file) = entry.value else { continue };
            let (version, of) = (file.version.value(), file.digest.spanned());
            let (Some(version), Some(of)) = (version, of) else { continue };
            if let Some(digest) = digest(reader, &of.value, of.span) {
                lock.tools.insert(entry.name, LockedTool { version, digest });
            }
        }
        lock
    }
}

fn digest(reader: &mut Reader<'_>, text: &str, span: Span) -> Option<Digest> {
    let digest = text.parse().map_err(|error| {
        let message = format!("{} is no digest: {error}", quote(text));
        reader.report(span, Diagnostic::new(Code::BadValue, message));
    });
    digest.ok()
}

/// Where a merge left a conflict.
fn conflict(text: &str) -> Option<usize> {
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        if ["<<<<<<< ", "=======", ">>>>>>> "].iter().any(|mark| line.starts_with(mark)) {
            return Some(at);
        }
        at += line.len();
    }
    None
}

fn compare<K: Ord, V: PartialEq>(
    before: &BTreeMap<K, V>,
    after: &BTreeMap<K, V>,
    mut on_difference: impl FnMut(&K, Option<&V>, Option<&V>),
) {
    let mut keys: Vec<&K> = before.keys().chain(after.keys()).collect();
    keys.sort();
    keys.dedup();
    for key in keys {
        let (before, after) = (before.get(key), after.get(key));
        if before != after {
            on_difference(key, before, after);
        }
    }
}

fn put<K: Ord + Clone, V: Clone>(map: &mut BTreeMap<K, V>, now: &BTreeMap<K, V>, key: &K) {
    match now.get(key) {
        Some(value) => drop(map.insert(key.clone(), value.clone())),
        None => drop(map.remove(key)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Style, render};

    fn tool(version: &str) -> LockedTool {
        LockedTool { version: version.to_owned(), digest: Digest::of(version.as_bytes()) }
    }

    fn lock() -> Lock {
        Lock {
            kubernetes: [("1.37".to_owned(), "1.37.2".to_owned())].into(),
            images: [("alpine:3.22".to_owned(), Digest::of("alpine"))].into(),
            tools: [("go", "go1.27 amd64"), ("cargo", "rustc \"1.95\"")]
                .map(|(name, version)| (name.parse().unwrap(), tool(version)))
                .into(),
        }
    }

    fn mistakes(text: &str) -> String {
        let found = Lock::parse(text.as_bytes(), "seatrial.lock").expect_err(text);
        render(&found, Style::Narrow)
    }

    #[test]
    fn text_is_sorted_and_read_again() {
        let text = lock().render();
        assert_eq!(Lock::parse(text.as_bytes(), "seatrial.lock").unwrap(), lock());
        insta::assert_snapshot!(text, @r#"
        # What seatrial.yaml stood for when `seatrial update` last ran. Keep it in Git.
        seatrial: 1
        kubernetes:
          "1.37": "1.37.2"
        images:
          "alpine:3.22": "sha256:54c5b3dd459d5ef778bb2fa1e23a5fb0e1b62ae66970bcb436e8f81a1a1a8e41"
        tools:
          cargo:
            version: "rustc \"1.95\""
            digest: "sha256:47770ddd2eb634ec13268b610c1661960e78bae955e07388b8657cdd0015d46c"
          go:
            version: "go1.27 amd64"
            digest: "sha256:f394ba21b81fe3414586bb46c9f125ef68da422f0959b61dcd33a8427717e540"
        "#);
        assert_eq!(Lock::parse(Lock::default().render().as_bytes(), "x").unwrap(), Lock::default());
    }

    #[test]
    fn differences_are_told_and_taken_one_by_one() {
        let mut now = lock();
        now.kubernetes.insert("1.36".to_owned(), "1.36.4".to_owned());
        now.tools.insert("go".parse().unwrap(), tool("go1.28 amd64"));
        now.tools.remove(&"cargo".parse::<Name>().unwrap());
        let helm = LockedTool { digest: Digest::of(b"x"), ..tool("") };
        now.tools.insert("helm".parse().unwrap(), helm);
        let said: Vec<_> = lock().differences(&now).iter().map(ToString::to_string).collect();
        insta::assert_snapshot!(said.join("\n"), @r#"
        kubernetes 1.36: added, 1.36.4
        cargo: removed, rustc "1.95": nothing uses it
        go: go1.27 amd64 -> go1.28 amd64
        helm: added,
        "#);
        let some = lock().updated(&now, &["cargo".to_owned(), "1.36".to_owned()]).unwrap();
        let said: Vec<_> = lock().differences(&some).iter().map(ToString::to_string).collect();
        insta::assert_snapshot!(said.join("\n"), @r#"
        kubernetes 1.36: added, 1.36.4
        cargo: removed, rustc "1.95": nothing uses it
        "#);
        assert_eq!(lock().updated(&now, &["gone".to_owned()]), Err("gone".to_owned()));
        assert_eq!(lock().differences(&lock()), []);
    }

    #[test]
    fn what_is_wrong_with_a_file() {
        let digest = Digest::of(b"x");
        let said = [
            String::new(),
            "seatrial: 2\n".to_owned(),
            "seatrial: 1\nkubernets: {}\n".to_owned(),
            "seatrial: 1\nkubernetes: { \"1.37\": \"1.36.1\" }\n".to_owned(),
            "seatrial: 1\nkubernetes: [\"1.37\"]\n".to_owned(),
            "seatrial: 1\ntools: { go: { version: x, digest: \"sha256:00\" }, Go: 1, x: {} }\n"
                .to_owned(),
            format!("seatrial: 1\n<<<<<<< HEAD\ntools:\n=======\n>>>>>>> x\n# {digest}\n"),
            "seatrial: [\n".to_owned(),
        ];
        insta::assert_snapshot!(said.map(|text| mistakes(&text)).join("\n"), @r"
        seatrial.lock:1:1: error[config.missing_field]: the file is empty
          hint: `seatrial update` writes it anew

        seatrial.lock:1:11: error[config.unknown_version]: version `2` of the format is not known
          hint: this Seatrial reads version 1; a newer one may read more

        seatrial.lock:2:1: error[config.unknown_field]: unknown field `kubernets`
          hint: did you mean `kubernetes`?
          hint: the fields here are `seatrial`, `kubernetes`, `images` and `tools`

        seatrial.lock:2:15: error[config.bad_value]: `1.36.1` is no patch of `1.37`

        seatrial.lock:2:13: error[config.wrong_type]: expected a mapping of text to text, found a list in `kubernetes`

        seatrial.lock:2:36: error[config.bad_value]: `sha256:00` is no digest: digest is not 64 lowercase hexadecimal digits
        seatrial.lock:2:51: error[config.bad_name]: `Go` is no name: a name consists of a-z, 0-9 and `-` and begins and ends with a letter or digit
          hint: `go` would be one
        seatrial.lock:2:55: error[config.wrong_type]: expected a mapping, found `1` in `tools.Go`
        seatrial.lock:2:58: error[config.missing_field]: field `version` is missing in `tools.x`
          hint: `version`: What it said of itself.
        seatrial.lock:2:58: error[config.missing_field]: field `digest` is missing in `tools.x`
          hint: `digest`: Of all that makes it what it is.

        seatrial.lock:2:1: error[config.syntax]: a merge left its conflict markers here
          hint: `seatrial update` settles all of it anew; `git checkout --ours seatrial.lock`, or `--theirs`, takes what one side had

        seatrial.lock:1:11: error[config.syntax]: this is not YAML: unclosed bracket '['
        ");
        let found = Lock::parse(b"seatrial: \xff", "seatrial.lock").expect_err("no text");
        assert_eq!(found[0].code.as_str(), "config.bad_text");
    }

    proptest! {
        #[test]
        fn fuzz_lock(bytes in seatrial_core::fuzz::bytes(&[lock().render()])) {
            if let Ok(read) = Lock::parse(&bytes, "seatrial.lock") {
                prop_assert_eq!(Lock::parse(read.render().as_bytes(), "again").unwrap(), read);
            }
        }
    }
}
