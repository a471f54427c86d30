//! Takes named files out of a `.tar.gz` that nobody vouches for yet.
//!
//! Only the entries that the lock names are ever written, to places that the
//! lock gives, so an archive decides about nothing but the content of those.
//! What looks like an attack is refused all the same, also in entries that are
//! not wanted: it shows that the archive is not the publisher's. Extended
//! headers are read here and not by the `tar` crate, so that an entry which two
//! readers would understand differently is refused instead of guessed at.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Read, Write as _};
use std::path::{Path, PathBuf};

use flate2::bufread::GzDecoder;
use tar::EntryType;

/// How many entries an archive may have.
const ENTRIES: usize = 10_000;
/// How long a path may be, in bytes, and one part of it.
const PATH: usize = 4096;
const PATH_PART: usize = 255;
/// How many times larger than the archive its content may be.
const RATIO: u64 = 100;
/// How large an extended header may be, in bytes.
const EXTENDED: u64 = 64 << 10;

/// Why an archive is refused.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// It is no `.tar.gz`, or it is cut off.
    #[error("the archive is damaged")]
    Damaged(#[source] io::Error),
    /// A path that leads out of the archive or differs between systems.
    #[error("entry {path:?}: {reason}")]
    PathEscape {
        /// The path, cut.
        path: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// An entry that lies behind a link of the same archive.
    #[error("entry {path:?} goes through the link {link:?}")]
    LinkEscape {
        /// The entry.
        path: String,
        /// The link.
        link: String,
    },
    /// An entry of a kind that no release has.
    #[error("entry {path:?} is a {kind}")]
    ForbiddenType {
        /// The entry.
        path: String,
        /// What it is.
        kind: &'static str,
    },
    /// An archive that two programs would read differently.
    #[error("entry {path:?}: {reason}")]
    Ambiguous {
        /// The entry.
        path: String,
        /// What can be read in two ways.
        reason: &'static str,
    },
    /// Something that only some programs see.
    #[error("{0}")]
    Trailing(&'static str),
    /// More content than the archive can honestly hold or may hold.
    #[error("unpacks to more than {limit} bytes")]
    Bomb {
        /// The limit in bytes.
        limit: u64,
    },
    /// More or longer names than any release has.
    #[error("{0}")]
    Limit(&'static str),
    /// A file that should be in it is not.
    #[error("there is no file {0:?} in the archive")]
    Missing(String),
    /// A file cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

impl ArchiveError {
    /// A stable dotted code for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Damaged(_) => "archive.corrupt",
            Self::PathEscape { .. } => "archive.path_escape",
            Self::LinkEscape { .. } => "archive.link_escape",
            Self::ForbiddenType { .. } => "archive.forbidden_type",
            Self::Ambiguous { .. } | Self::Trailing(_) => "archive.ambiguous",
            Self::Bomb { .. } => "archive.bomb",
            Self::Limit(_) => "archive.limit",
            Self::Missing(_) => "archive.missing",
            Self::Write { .. } => "components.cache",
        }
    }
}

/// Writes the entries named by `wanted` (entry to place) of the `.tar.gz` at
/// `archive` to their places below `to`, whose directories exist.
pub(crate) fn unpack(
    archive: &Path,
    wanted: &BTreeMap<String, String>,
    to: &Path,
    limit: u64,
) -> Result<(), ArchiveError> {
    let file = fs::File::open(archive).map_err(ArchiveError::Damaged)?;
    let packed = file.metadata().map_err(ArchiveError::Damaged)?.len();
    let limit = limit.min(packed.saturating_mul(RATIO));
    // `Limited` counts what comes out, headers and skipped entries included.
    let input = Limited { input: GzDecoder::new(io::BufReader::new(file)), left: limit };
    let mut tar = tar::Archive::new(input);
    let mut reader = Reader::default();
    let entries = tar.entries().map_err(ArchiveError::Damaged)?.raw(true);
    let mut missing: BTreeSet<&str> = wanted.keys().map(String::as_str).collect();
    for (count, entry) in entries.enumerate() {
        if count >= ENTRIES {
            return Err(ArchiveError::Limit("more than 10000 entries"));
        }
        let mut entry = entry.map_err(|error| damaged(error, limit))?;
        let Some(name) = reader.name(&mut entry).map_err(|refusal| refusal.with(limit))? else {
            continue;
        };
        let Some(place) = wanted.get(&name) else {
            continue;
        };
        if !matches!(entry.header().entry_type(), EntryType::Regular | EntryType::Continuous) {
            return Err(ArchiveError::ForbiddenType { path: name, kind: "link or directory" });
        }
        write(&mut entry, &to.join(place), limit)?;
        missing.remove(name.as_str());
    }
    if reader.extended.is_some() {
        return Err(ArchiveError::Trailing("an extended header without an entry"));
    }
    end(tar.into_inner(), limit)?;
    match missing.first() {
        Some(name) => Err(ArchiveError::Missing((*name).to_owned())),
        None => Ok(()),
    }
}

/// What has to be remembered from one entry to the next.
#[derive(Default)]
struct Reader {
    /// The extended header that belongs to the next entry.
    extended: Option<Extended>,
    names: BTreeSet<String>,
    links: BTreeSet<String>,
}

/// What an extended header says about the next entry.
#[derive(Default)]
struct Extended {
    path: Option<String>,
    size: Option<u64>,
}

impl Reader {
    /// The checked name of an entry; nothing for a header that only speaks
    /// about the next one.
    fn name<R: Read>(
        &mut self,
        entry: &mut tar::Entry<'_, R>,
    ) -> Result<Option<String>, ArchiveError> {
        let kind = entry.header().entry_type();
        let header_path = entry.header().path_bytes().into_owned();
        let shown = || cut(&String::from_utf8_lossy(&header_path));
        let ambiguous = |reason| ArchiveError::Ambiguous { path: shown(), reason };
        match kind {
            EntryType::XHeader | EntryType::GNULongName | EntryType::GNULongLink => {
                if self.extended.is_some() {
                    return Err(ambiguous("two extended headers for one entry"));
                }
                let text = small(entry)?;
                let extended = if kind == EntryType::XHeader {
                    pax(&text).ok_or_else(|| ambiguous("an extended header that is none"))?
                } else if kind == EntryType::GNULongName {
                    let path = text.strip_suffix(b"\0").unwrap_or(&text).to_vec();
                    let path = String::from_utf8(path).map_err(|_| ambiguous("no UTF-8"))?;
                    Extended { path: Some(path), size: None }
                } else {
                    Extended::default()
                };
                self.extended = Some(extended);
                return Ok(None);
            }
            EntryType::XGlobalHeader => {
                // Archives made from Git have one, with the commit only.
                let global = pax(&small(entry)?);
                let harmless = global.is_some_and(|g| g.path.is_none() && g.size.is_none());
                let reason = "a global header that names or sizes entries";
                return if harmless { Ok(None) } else { Err(ambiguous(reason)) };
            }
            _ => {}
        }
        let extended = self.extended.take().unwrap_or_default();
        let path = match extended.path {
            Some(path) => path,
            None => String::from_utf8(header_path.clone()).map_err(|_| {
                ArchiveError::PathEscape { path: shown(), reason: "the path is no UTF-8" }
            })?,
        };
        if extended.size.is_some_and(|size| Some(size) != entry.header().entry_size().ok()) {
            return Err(ambiguous("two sizes for one entry"));
        }
        let forbidden = |kind| ArchiveError::ForbiddenType { path: cut(&path), kind };
        match kind {
            EntryType::Regular | EntryType::Continuous | EntryType::Directory => {}
            EntryType::Symlink | EntryType::Link => {}
            EntryType::Fifo => return Err(forbidden("FIFO")),
            EntryType::Char | EntryType::Block => return Err(forbidden("device")),
            EntryType::GNUSparse => return Err(forbidden("sparse file")),
            _ => return Err(forbidden("file of an unknown kind")),
        }
        if entry.header().mode().map_err(ArchiveError::Damaged)? & 0o6000 != 0 {
            return Err(forbidden("set-user-ID or set-group-ID file"));
        }
        let name = check_path(&path)?;
        if name.is_empty() {
            // `./`, the root itself.
            return Ok(None);
        }
        for (end, _) in name.match_indices('/') {
            if let Some(link) = self.links.get(&name[..end]) {
                return Err(ArchiveError::LinkEscape { path: name, link: link.clone() });
            }
        }
        if kind != EntryType::Directory && !self.names.insert(name.clone()) {
            return Err(ArchiveError::Limit("two entries with the same name"));
        }
        if matches!(kind, EntryType::Symlink | EntryType::Link) {
            let target = entry.header().link_name_bytes().unwrap_or_default().into_owned();
            let target = String::from_utf8_lossy(&target).into_owned();
            // A hard link to something that is not in the archive before it
            // would be one to a file of the machine.
            if kind == EntryType::Link {
                let inside = check_path(&target).is_ok_and(|t| self.names.contains(&t));
                if !inside || target == name {
                    return Err(forbidden("hard link to a file that is not in the archive"));
                }
            }
            self.links.insert(name.clone());
        }
        Ok(Some(name))
    }
}

/// Checks a path of an entry and returns it without a leading `./` and a
/// trailing `/`.
fn check_path(path: &str) -> Result<String, ArchiveError> {
    let refuse = |reason| Err(ArchiveError::PathEscape { path: cut(path), reason });
    if path.len() > PATH {
        return Err(ArchiveError::Limit("a path of more than 4096 bytes"));
    }
    if path.is_empty() {
        return refuse("the path is empty");
    }
    if path.contains('\0') {
        return refuse("the path contains a NUL byte");
    }
    if path.starts_with('/') || path.starts_with('\\') || path.as_bytes().get(1) == Some(&b':') {
        return refuse("the path is absolute");
    }
    if path.contains('\\') {
        return refuse("the path contains a backslash");
    }
    let inner = path.strip_suffix('/').unwrap_or(path);
    let inner = inner.strip_prefix("./").unwrap_or(inner);
    if inner == "." || inner.is_empty() {
        return Ok(String::new());
    }
    for part in inner.split('/') {
        if part.len() > PATH_PART {
            return Err(ArchiveError::Limit("a name of more than 255 bytes"));
        }
        match part {
            ".." => return refuse("the path leads upwards"),
            "" | "." => return refuse("the path has an empty part"),
            _ if part.ends_with(['.', ' ']) => return refuse("a name ends in a dot or space"),
            _ => {}
        }
    }
    Ok(inner.to_owned())
}

/// The records of a PAX extended header (POSIX.1-2017, pax, "Extended Header"):
/// `LENGTH KEYWORD=VALUE\n`. Nothing if it is none, or says something twice.
fn pax(mut text: &[u8]) -> Option<Extended> {
    let mut extended = Extended::default();
    let mut keys = BTreeSet::new();
    while !text.is_empty() {
        let space = text.iter().position(|b| *b == b' ')?;
        let length: usize = std::str::from_utf8(&text[..space]).ok()?.parse().ok()?;
        let record = text.get(space + 1..length)?.strip_suffix(b"\n")?;
        text = text.get(length..)?;
        let (key, value) = std::str::from_utf8(record).ok()?.split_once('=')?;
        if !keys.insert(key.to_owned()) || key.starts_with("GNU.sparse") {
            return None;
        }
        match key {
            "path" => extended.path = Some(value.to_owned()),
            "size" => extended.size = Some(value.parse().ok()?),
            _ => {}
        }
    }
    Some(extended)
}

/// The content of an extended header.
fn small<R: Read>(entry: &mut tar::Entry<'_, R>) -> Result<Vec<u8>, ArchiveError> {
    let mut text = Vec::new();
    entry.take(EXTENDED + 1).read_to_end(&mut text).map_err(ArchiveError::Damaged)?;
    if text.len() as u64 > EXTENDED {
        return Err(ArchiveError::Limit("an extended header of more than 64 KiB"));
    }
    Ok(text)
}

fn write<R: Read>(
    entry: &mut tar::Entry<'_, R>,
    path: &Path,
    limit: u64,
) -> Result<(), ArchiveError> {
    let failed = |source| ArchiveError::Write { path: path.to_owned(), source };
    let mut file = fs::File::create_new(path).map_err(failed)?;
    let mut buffer = vec![0; 64 << 10];
    loop {
        let n = entry.read(&mut buffer).map_err(|error| damaged(error, limit))?;
        if n == 0 {
            return Ok(());
        }
        file.write_all(&buffer[..n]).map_err(failed)?;
    }
}

/// Reads to the end: what follows the archive's end mark must be nothing but
/// zeros, and what follows the compressed data nothing at all.
fn end<R: io::BufRead>(mut input: Limited<GzDecoder<R>>, limit: u64) -> Result<(), ArchiveError> {
    let mut buffer = [0; 4096];
    loop {
        let n = input.read(&mut buffer).map_err(|error| damaged(error, limit))?;
        if buffer[..n].iter().any(|b| *b != 0) {
            return Err(ArchiveError::Trailing("content behind the end of the archive"));
        }
        if n == 0 {
            break;
        }
    }
    let mut packed = input.input.into_inner();
    match packed.fill_buf() {
        Ok([]) => Ok(()),
        Ok(_) => Err(ArchiveError::Trailing("content behind the end of the compressed data")),
        Err(error) => Err(ArchiveError::Damaged(error)),
    }
}

/// A reader that fails once more than `left` bytes came out of it.
struct Limited<R> {
    input: R,
    left: u64,
}

/// Marks the error of a [`Limited`] reader.
#[derive(Debug, thiserror::Error)]
#[error("too much content")]
struct TooMuch;

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.input.read(buffer)?;
        self.left = self.left.checked_sub(n as u64).ok_or(io::Error::other(TooMuch))?;
        Ok(n)
    }
}

fn damaged(error: io::Error, limit: u64) -> ArchiveError {
    // The `tar` crate wraps errors, so the text is all that is left of it.
    if error.to_string().contains("too much content") {
        return ArchiveError::Bomb { limit };
    }
    ArchiveError::Damaged(error)
}

impl ArchiveError {
    fn with(self, limit: u64) -> Self {
        match self {
            Self::Damaged(error) => damaged(error, limit),
            other => other,
        }
    }
}

fn cut(text: &str) -> String {
    text.chars().take(100).collect()
}

#[cfg(test)]
mod tests;
