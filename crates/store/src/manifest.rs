//! The manifest of a tree: which files it has, canonically.
//!
//! The text is one line of JSON, `{"tree":1,"entries":[...]}`: no space between
//! tokens, strings escaped as by serde_json, entries sorted by the bytes of
//! their path, keys of an entry in this order and left out where they do not
//! apply:
//!
//! ```text
//! {"path":"bin/x","mode":"0755","size":3,"digest":"sha256:..."}   a file; or "0644"
//! {"path":"etc/l","mode":"symlink","link":"../bin/x"}             a symbolic link
//! {"path":"var","mode":"directory"}                               an empty directory
//! ```
//!
//! Directories that hold something follow from the paths. Owners and times are
//! not part of a tree. The digest of a tree is the SHA-256 of this text.

use std::collections::{BTreeMap, HashMap, HashSet};

use seatrial_core::digest::Digest;
use serde::{Deserialize, Serialize};

/// Longest path, in bytes, as PATH_MAX of Linux.
pub const LONGEST_PATH: usize = 4096;
/// Longest component of a path, in bytes, as NAME_MAX of Linux.
pub const LONGEST_COMPONENT: usize = 255;
/// Symbolic links that are followed for one path, as MAXSYMLINKS of Linux.
const MOST_LINKS: usize = 40;
/// Components that may be walked to follow all links of a tree, for each link and
/// beside: many times what real trees take, and a bound for those that are made to
/// take long, as 40 long targets for each of many short links do.
const MOST_STEPS: (usize, usize) = (100, 100_000);

/// One file of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its path, relative, components separated by `/`.
    pub path: String,
    /// What is there.
    pub content: Content,
}

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// A regular file.
    File {
        /// Whether its mode is 0755; else it is 0644.
        executable: bool,
        /// Its size in bytes.
        size: u64,
        /// The digest of its bytes.
        digest: Digest,
    },
    /// A symbolic link that does not lead out of the tree.
    Link {
        /// Where it points, relative to its directory.
        target: String,
    },
    /// A directory with nothing in it.
    EmptyDirectory,
}

/// Why files cannot be a tree.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    /// A path that is empty, absolute, has an empty, `.` or `..` component, or a NUL.
    #[error("`{}` is not a path within a tree", .0.escape_debug())]
    Path(String),
    /// A path that is not UTF-8.
    #[error("the path `{0}` is not UTF-8")]
    Encoding(String),
    /// A path or component that is too long.
    #[error(
        "the path `{}...` is too long (at most {LONGEST_PATH} bytes, {LONGEST_COMPONENT} a component)",
        .0.escape_debug()
    )]
    PathTooLong(String),
    /// Two entries at one path, or one below a file.
    #[error("`{}` is there twice, or is a file and a directory", .0.escape_debug())]
    Duplicate(String),
    /// A symbolic link that leads out of the tree.
    #[error("the symbolic link `{}` leads out of the tree, to `{}`", path.escape_debug(), target.escape_debug())]
    LinkEscape {
        /// The link.
        path: String,
        /// Where it points.
        target: String,
    },
    /// Symbolic links that lead through each other for too long.
    #[error("the symbolic link `{}` and others lead through too many directories to be followed", .0.escape_debug())]
    LinkTooLong(String),
    /// A device, pipe or socket.
    #[error("`{}` is a {kind}; a tree holds files, directories and symbolic links", path.escape_debug())]
    Type {
        /// Its path.
        path: String,
        /// What it is.
        kind: &'static str,
    },
    /// A file with setuid, setgid or, for a file, sticky bits.
    #[error("`{}` has the mode {mode:04o}; setuid and setgid files are not kept", path.escape_debug())]
    Privileged {
        /// Its path.
        path: String,
        /// Its permission bits.
        mode: u32,
    },
    /// A file that has a name outside of the tree as well.
    #[error("`{}` is a hard link to a file outside of the tree", .0.escape_debug())]
    HardLink(String),
    /// Too many files.
    #[error("there are more than {0} files")]
    TooMany(usize),
    /// Too many bytes.
    #[error("the files have more than {0} bytes")]
    TooLarge(u64),
    /// Text that is not a manifest.
    #[error("this is not the manifest of a tree")]
    Manifest,
}

impl TreeError {
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Path(_) | Self::Encoding(_) => "archive.path_escape",
            Self::LinkEscape { .. } => "archive.link_escape",
            Self::Type { .. } | Self::Privileged { .. } | Self::HardLink(_) => {
                "archive.forbidden_type"
            }
            Self::PathTooLong(_)
            | Self::LinkTooLong(_)
            | Self::Duplicate(_)
            | Self::TooMany(_)
            | Self::TooLarge(_) => "archive.limit",
            Self::Manifest => "archive.corrupt",
        }
    }
}

/// The files of a tree, sorted and checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    entries: Vec<Entry>,
}

impl Manifest {
    /// Sorts and checks entries.
    ///
    /// # Errors
    /// When a path or link is not allowed or two entries contradict each other.
    pub fn new(mut entries: Vec<Entry>) -> Result<Self, TreeError> {
        entries.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        let mut leaves = HashSet::with_capacity(entries.len());
        for entry in &entries {
            check_path(&entry.path)?;
            if !leaves.insert(entry.path.as_str()) {
                return Err(TreeError::Duplicate(entry.path.clone()));
            }
        }
        for entry in &entries {
            if let Some(above) = parents(&entry.path).find(|above| leaves.contains(above)) {
                return Err(TreeError::Duplicate(above.to_owned()));
            }
        }
        let links: BTreeMap<&str, &str> = entries
            .iter()
            .filter_map(|entry| match &entry.content {
                Content::Link { target } => Some((entry.path.as_str(), target.as_str())),
                _ => None,
            })
            .collect();
        let mut steps = MOST_STEPS.0 * links.len() + MOST_STEPS.1;
        for (path, target) in &links {
            if target.len() >= LONGEST_PATH {
                return Err(TreeError::PathTooLong(target.chars().take(64).collect()));
            }
            let stays = stays_within(path, &links, &mut steps)
                .ok_or_else(|| TreeError::LinkTooLong((*path).to_owned()))?;
            if target.is_empty() || target.contains('\0') || !stays {
                let (path, target) = ((*path).to_owned(), (*target).to_owned());
                return Err(TreeError::LinkEscape { path, target });
            }
        }
        Ok(Self { entries })
    }

    /// The entries, sorted by path.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The entry at exactly this path.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<&Entry> {
        let at = self.entries.binary_search_by(|entry| entry.path.as_str().cmp(path)).ok()?;
        self.entries.get(at)
    }

    /// The sum of the sizes of all files, in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        let sizes = self.entries.iter().map(|entry| match entry.content {
            Content::File { size, .. } => size,
            _ => 0,
        });
        sizes.fold(0, u64::saturating_add)
    }

    /// The canonical text.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let text = Text { tree: 1, entries: self.entries.iter().map(Line::from).collect() };
        serde_json::to_vec(&text).expect("strings and numbers are JSON")
    }

    /// Reads a canonical text.
    ///
    /// # Errors
    /// When it is not the text of a manifest, to the byte.
    pub fn decode(bytes: &[u8]) -> Result<Self, TreeError> {
        let text: Text<'_> = serde_json::from_slice(bytes).map_err(|_| TreeError::Manifest)?;
        let entries: Option<Vec<Entry>> = text.entries.into_iter().map(Line::entry).collect();
        let manifest = Self::new(entries.ok_or(TreeError::Manifest)?)?;
        // Another order or another spelling would be a second name of one tree.
        if text.tree != 1 || manifest.encode() != bytes {
            return Err(TreeError::Manifest);
        }
        Ok(manifest)
    }

    /// Paths, of files or of directories above them, that are the same after
    /// `fold`: they cannot be apart on a file system that compares names so.
    pub fn clashes(&self, fold: impl Fn(&str) -> String) -> Vec<(String, String)> {
        let mut seen: HashMap<String, &str> = HashMap::with_capacity(self.entries.len());
        let mut clashes = Vec::new();
        for entry in &self.entries {
            for path in std::iter::once(entry.path.as_str()).chain(parents(&entry.path)) {
                match seen.get(&fold(path)) {
                    Some(other) if *other == path => break,
                    Some(other) => clashes.push(((*other).to_owned(), path.to_owned())),
                    None => drop(seen.insert(fold(path), path)),
                }
            }
        }
        clashes.sort();
        clashes.dedup();
        clashes
    }
}

/// Whether a path is one within a tree.
///
/// # Errors
/// [`TreeError::Path`] or [`TreeError::PathTooLong`].
pub fn check_path(path: &str) -> Result<(), TreeError> {
    if path.len() > LONGEST_PATH || path.split('/').any(|part| part.len() > LONGEST_COMPONENT) {
        return Err(TreeError::PathTooLong(path.chars().take(64).collect()));
    }
    if path.contains('\0') || path.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err(TreeError::Path(path.to_owned()));
    }
    Ok(())
}

/// The directories above a path, the nearest first.
fn parents(path: &str) -> impl Iterator<Item = &str> {
    path.rmatch_indices('/').map(|(at, _)| &path[..at])
}

/// Follows a link as the kernel does, with the other links of the tree on its
/// way: `a/../..` can lead out although it has as many `..` as components,
/// when `a` is itself a link. A loop never leaves. Takes what it walks from
/// `steps`; nothing when there are too few.
fn stays_within(path: &str, links: &BTreeMap<&str, &str>, steps: &mut usize) -> Option<bool> {
    let mut todo: Vec<&str> = path.rsplit('/').collect();
    // As in a key of `links`, after a `/`.
    let mut at = String::new();
    let mut followed = 0;
    while let Some(part) = todo.pop() {
        *steps = steps.checked_sub(1)?;
        match part {
            "" | "." => {}
            ".." => match at.rfind('/') {
                Some(end) => at.truncate(end),
                None => return Some(false),
            },
            name => {
                let parent = at.len();
                at.push('/');
                at.push_str(name);
                let Some(target) = links.get(&at[1..]) else {
                    continue;
                };
                followed += 1;
                if target.starts_with('/') {
                    return Some(false);
                }
                if followed > MOST_LINKS {
                    return Some(true);
                }
                at.truncate(parent);
                todo.extend(target.rsplit('/'));
            }
        }
    }
    Some(true)
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text<'a> {
    tree: u32,
    #[serde(borrow)]
    entries: Vec<Line<'a>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    #[serde(borrow)]
    path: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    mode: std::borrow::Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<Digest>,
    #[serde(borrow, skip_serializing_if = "Option::is_none")]
    link: Option<std::borrow::Cow<'a, str>>,
}

impl<'a> From<&'a Entry> for Line<'a> {
    fn from(entry: &'a Entry) -> Self {
        let (mode, size, digest, link) = match &entry.content {
            Content::File { executable: true, size, digest } => {
                ("0755", Some(*size), Some(*digest), None)
            }
            Content::File { executable: false, size, digest } => {
                ("0644", Some(*size), Some(*digest), None)
            }
            Content::Link { target } => ("symlink", None, None, Some(target.as_str().into())),
            Content::EmptyDirectory => ("directory", None, None, None),
        };
        Self { path: entry.path.as_str().into(), mode: mode.into(), size, digest, link }
    }
}

impl Line<'_> {
    fn entry(self) -> Option<Entry> {
        let content = match (self.mode.as_ref(), self.size, self.digest, self.link) {
            (mode @ ("0755" | "0644"), Some(size), Some(digest), None) => {
                Content::File { executable: mode == "0755", size, digest }
            }
            ("symlink", None, None, Some(target)) => Content::Link { target: target.into_owned() },
            ("directory", None, None, None) => Content::EmptyDirectory,
            _ => return None,
        };
        Some(Entry { path: self.path.into_owned(), content })
    }
}

#[cfg(test)]
mod tests;
