//! The files of a project as they are on the disk, and trees of them.
//!
//! Three things make a second snapshot cheap. A fingerprint of what stat(2)
//! says of all matching files leads to the tree that they were. Where that
//! misses, digests of single files are kept by the same facts. And content is
//! copied only into a tree that is not in the store yet.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::num::NonZero;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag};
use nix::sys::stat::{FileStat, SFlag, fstatat};
use seatrial_core::digest::{Digest, Hasher};
use seatrial_store::manifest::TreeError;
use seatrial_store::stat_cache::FileStamp;
use seatrial_store::{Content, Entry, Manifest, Store, TreeLimits};
use unicode_normalization::UnicodeNormalization as _;

use crate::error::SourceError;
use crate::pattern::Patterns;

/// What a snapshot may have at most.
const LIMITS: TreeLimits = TreeLimits { entries: 1_000_000, bytes: 64 << 30 };

/// A file that changed this short before it was looked at can change once more
/// without a new time stamp: the kernel's clock for files ticks every 10 ms at
/// worst. Nothing is kept about such a file.
const SETTLED: Duration = Duration::from_millis(100);

/// The files of a project, and what stat(2) said of each.
#[derive(Debug)]
pub struct ProjectFiles {
    root: PathBuf,
    /// Sorted by path.
    files: Vec<ProjectFile>,
    seen_at: SystemTime,
}

#[derive(Debug)]
struct ProjectFile {
    path: String,
    tracked: bool,
    /// Neither a file nor a link: refused where a pattern matches it.
    other: bool,
    link: bool,
    executable: bool,
    stamp: FileStamp,
}

/// Files of a project as a tree in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Snapshot {
    /// The tree.
    pub tree: Digest,
    /// How many files it has.
    pub files: usize,
}

impl ProjectFiles {
    /// All paths, sorted.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.files.iter().map(|file| file.path.as_str())
    }

    /// The paths that Git does not track.
    pub fn untracked(&self) -> impl Iterator<Item = &str> {
        self.files.iter().filter(|file| !file.tracked).map(|file| file.path.as_str())
    }

    /// Puts the files that match `include` (no pattern: all) and not `exclude`
    /// into the store as a tree.
    ///
    /// # Errors
    /// When no file matches, the files cannot be a tree (a link that leads out
    /// of the project, two names that differ by case only), or reading or
    /// storing fails.
    pub fn snapshot(
        &self,
        include: &Patterns,
        exclude: &Patterns,
        store: &Store,
    ) -> Result<Snapshot, SourceError> {
        let matches = |file: &&ProjectFile| {
            (include.is_empty() || include.matches(&file.path)) && !exclude.matches(&file.path)
        };
        let files: Vec<&ProjectFile> = self.files.iter().filter(matches).collect();
        if files.is_empty() && !include.is_empty() {
            return Err(SourceError::NoMatch(include.texts().to_vec()));
        }
        let settled = files.iter().all(|file| self.is_settled(file.stamp));
        let fingerprint = self.fingerprint(&files);
        if settled
            && let Some(tree) = store.snapshot(fingerprint)?
            && store.use_tree(tree)?
        {
            return Ok(Snapshot { tree, files: files.len() });
        }
        let tree = self.make(&files, store)?;
        if settled {
            store.keep_snapshot(fingerprint, tree)?;
        }
        Ok(Snapshot { tree, files: files.len() })
    }

    fn make(&self, files: &[&ProjectFile], store: &Store) -> Result<Digest, SourceError> {
        if let Some(file) = files.iter().find(|file| file.other) {
            let (path, kind) = (file.path.clone(), "device, pipe or socket");
            return Err(TreeError::Type { path, kind }.into());
        }
        let manifest = Manifest::new(self.entries(files, store)?)?;
        if let Some((a, b)) = manifest.clashes(fold).into_iter().next() {
            return Err(SourceError::Clash(a, b));
        }
        let tree = Digest::of(manifest.encode());
        if store.has_tree(tree) {
            return Ok(tree);
        }
        let staging = store.staging()?;
        self.copy(files, staging.path())?;
        // What was copied counts, should a file have changed since it was hashed.
        Ok(store.put_tree(staging.path(), LIMITS)?.digest)
    }

    /// The entries of a manifest, from what is kept about the files or from
    /// their content.
    fn entries(&self, files: &[&ProjectFile], store: &Store) -> Result<Vec<Entry>, SourceError> {
        let root = self.root.to_string_lossy();
        let kept = store.file_digests(&root)?;
        let mut entries = Vec::with_capacity(files.len());
        let mut new = Vec::new();
        let mut buffer = vec![0; 128 << 10];
        for file in files {
            let at = self.root.join(&file.path);
            let content = if file.link {
                Content::Link { target: read_link(&at)? }
            } else {
                let digest = match kept.get(&file.path) {
                    Some((stamp, digest)) if *stamp == file.stamp => *digest,
                    _ => {
                        let digest = hash(&at, &mut buffer)?;
                        new.extend(self.is_settled(file.stamp).then_some((*file, digest)));
                        digest
                    }
                };
                Content::File { executable: file.executable, size: file.stamp.size, digest }
            };
            entries.push(Entry { path: file.path.clone(), content });
        }
        let new = new.iter().map(|(file, digest)| (file.path.as_str(), file.stamp, *digest));
        store.keep_file_digests(&root, new)?;
        Ok(entries)
    }

    fn copy(&self, files: &[&ProjectFile], to: &Path) -> Result<(), SourceError> {
        let mut above = PathBuf::new();
        for file in files {
            let (from, to) = (self.root.join(&file.path), to.join(&file.path));
            let parent = to.parent().unwrap_or(&to);
            if parent != above {
                fs::create_dir_all(parent).map_err(io_error("create", parent))?;
                parent.clone_into(&mut above);
            }
            if file.link {
                symlink(read_link(&from)?, &to).map_err(io_error("create", &to))?;
                continue;
            }
            let mut content = open(&from)?;
            let mut copy = File::create_new(&to).map_err(io_error("create", &to))?;
            io::copy(&mut content, &mut copy).map_err(io_error("copy", &from))?;
            let mode = if file.executable { 0o755 } else { 0o644 };
            copy.set_permissions(fs::Permissions::from_mode(mode))
                .map_err(io_error("set the mode of", &to))?;
        }
        Ok(())
    }

    fn fingerprint(&self, files: &[&ProjectFile]) -> Digest {
        let mut hasher = Hasher::new();
        let mut record = Vec::with_capacity(256);
        hasher.update(self.root.as_os_str().as_encoded_bytes());
        for file in files {
            record.clear();
            add_stamp(&mut record, &file.path, file.stamp);
            hasher.update(&record);
        }
        hasher.finish()
    }

    /// A fingerprint of what Git compares to say whether something changed:
    /// the commit, its index and all files. `None` while one of them could change
    /// once more and look the same.
    pub(crate) fn state(&self, commit: &str, index: FileStamp) -> Option<Digest> {
        let files: Vec<&ProjectFile> = self.files.iter().collect();
        let settled = files.iter().all(|file| self.is_settled(file.stamp));
        let mut record = b"state".to_vec();
        add_stamp(&mut record, commit, index);
        record.extend_from_slice(self.fingerprint(&files).to_string().as_bytes());
        (settled && self.is_settled(index)).then(|| Digest::of(record))
    }

    fn is_settled(&self, stamp: FileStamp) -> bool {
        let since = self.seen_at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let last = i64::try_from(since.saturating_sub(SETTLED).as_nanos()).unwrap_or(i64::MAX);
        stamp.ctime < last
    }
}

impl ProjectFile {
    fn new(path: &str, tracked: bool, stat: &FileStat) -> Self {
        Self {
            path: path.to_owned(),
            tracked,
            other: !matches!(kind(stat), SFlag::S_IFREG | SFlag::S_IFLNK),
            link: kind(stat) == SFlag::S_IFLNK,
            executable: stat.st_mode & 0o100 != 0,
            stamp: stamp(stat),
        }
    }
}

/// Looks at files one list of paths after the other, without following a link
/// that took the place of a directory above one: to Git, as here, such a file
/// is gone.
pub(crate) struct Listing<'a> {
    root: &'a Path,
    files: Vec<ProjectFile>,
}

/// Paths from which on it is worth to look at them on several cores.
const MANY: usize = 1000;

impl<'a> Listing<'a> {
    pub(crate) fn new(root: &'a Path) -> Self {
        Self { root, files: Vec::new() }
    }

    /// Adds a NUL-separated list of paths as `git ls-files -z` prints it.
    pub(crate) fn add(&mut self, list: &[u8], tracked: bool) -> Result<(), SourceError> {
        let mut paths = Vec::new();
        for path in list.split(|byte| *byte == 0) {
            // One that ends in a slash is another Git directory.
            if path.is_empty() || path.ends_with(b"/") {
                continue;
            }
            if self.files.len() + paths.len() >= LIMITS.entries {
                let limit = LIMITS.entries as u64;
                return Err(SourceError::Quota { what: "files", limit });
            }
            paths
                .push(std::str::from_utf8(path).map_err(|_| {
                    TreeError::Encoding(String::from_utf8_lossy(path).into_owned())
                })?);
        }
        let root = File::open(self.root).map_err(io_error("open", self.root))?;
        let look = |paths: &[&str]| Look::new(self.root, &root).all(paths, tracked);
        if paths.len() < MANY {
            self.files.extend(look(&paths)?);
            return Ok(());
        }
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        std::thread::scope(|scope| {
            let chunks = paths.chunks(paths.len().div_ceil(cores));
            let looks: Vec<_> = chunks.map(|paths| scope.spawn(|| look(paths))).collect();
            for look in looks {
                self.files.extend(look.join().expect("looking at files does not panic")?);
            }
            Ok(())
        })
    }

    /// `seen_at` is a time before the first look.
    pub(crate) fn finish(mut self, seen_at: SystemTime) -> ProjectFiles {
        self.files.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        // A path with a merge conflict is listed once for each side.
        self.files.dedup_by(|a, b| a.path == b.path);
        ProjectFiles { root: self.root.to_owned(), files: self.files, seen_at }
    }
}

/// One look at some paths.
struct Look<'a> {
    root: &'a Path,
    /// The same, so that the kernel walks only the rest of each path.
    open: &'a File,
    real_directories: HashMap<&'a str, bool>,
}

impl<'a> Look<'a> {
    fn new(root: &'a Path, open: &'a File) -> Self {
        Self { root, open, real_directories: HashMap::new() }
    }

    fn all(mut self, paths: &[&'a str], tracked: bool) -> Result<Vec<ProjectFile>, SourceError> {
        let mut files = Vec::with_capacity(paths.len());
        for path in paths {
            if let Some(stat) = self.at(path)? {
                files.push(ProjectFile::new(path, tracked, &stat));
            }
        }
        Ok(files)
    }

    /// What is at a path; `None` when nothing is, or a directory.
    fn at(&mut self, path: &'a str) -> Result<Option<FileStat>, SourceError> {
        if let Some((parent, _)) = path.rsplit_once('/')
            && !self.is_real(parent)
        {
            return Ok(None);
        }
        match self.stat(path) {
            Ok(stat) => Ok((kind(&stat) != SFlag::S_IFDIR).then_some(stat)),
            Err(Errno::ENOENT) => Ok(None),
            Err(error) => Err(io_error("look at", &self.root.join(path))(error.into())),
        }
    }

    fn is_real(&mut self, dir: &'a str) -> bool {
        if let Some(known) = self.real_directories.get(dir) {
            return *known;
        }
        let above = dir.rsplit_once('/').is_none_or(|(parent, _)| self.is_real(parent));
        let real = above && self.stat(dir).is_ok_and(|stat| kind(&stat) == SFlag::S_IFDIR);
        self.real_directories.insert(dir, real);
        real
    }

    fn stat(&self, path: &str) -> Result<FileStat, Errno> {
        fstatat(self.open, path, AtFlags::AT_SYMLINK_NOFOLLOW)
    }
}

fn kind(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT
}

/// What stat(2) says of a file, to see whether it changed.
pub(crate) fn stamp(stat: &FileStat) -> FileStamp {
    let nanos = |seconds: i64, nanos: i64| seconds.saturating_mul(1_000_000_000) + nanos;
    FileStamp {
        inode: stat.st_ino,
        size: stat.st_size.cast_unsigned(),
        mtime: nanos(stat.st_mtime, stat.st_mtime_nsec),
        ctime: nanos(stat.st_ctime, stat.st_ctime_nsec),
    }
}

fn add_stamp(record: &mut Vec<u8>, name: &str, stamp: FileStamp) {
    let FileStamp { inode, size, mtime, ctime } = stamp;
    record.extend_from_slice(&(name.len() as u64).to_le_bytes());
    record.extend_from_slice(name.as_bytes());
    for number in [inode, size, mtime.cast_unsigned(), ctime.cast_unsigned()] {
        record.extend_from_slice(&number.to_le_bytes());
    }
}

/// One spelling for all that a file system without case or with its own
/// Unicode form takes for the same name.
fn fold(path: &str) -> String {
    if path.is_ascii() { path.to_ascii_lowercase() } else { path.to_lowercase().nfc().collect() }
}

fn open(path: &Path) -> Result<File, SourceError> {
    // Not following: what was a file when it was looked at may be a link now.
    OpenOptions::new()
        .read(true)
        .custom_flags(OFlag::O_NOFOLLOW.bits())
        .open(path)
        .map_err(io_error("open", path))
}

fn hash(path: &Path, buffer: &mut [u8]) -> Result<Digest, SourceError> {
    use std::io::Read as _;
    let mut file = open(path)?;
    let mut hasher = Hasher::new();
    loop {
        match file.read(buffer).map_err(io_error("read", path))? {
            0 => return Ok(hasher.finish()),
            count => hasher.update(&buffer[..count]),
        }
    }
}

fn read_link(path: &Path) -> Result<String, SourceError> {
    let target = fs::read_link(path).map_err(io_error("read the link", path))?;
    let encoding =
        |target: std::ffi::OsString| TreeError::Encoding(target.to_string_lossy().into());
    Ok(target.into_os_string().into_string().map_err(encoding)?)
}

fn io_error(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SourceError {
    let path = path.to_owned();
    move |source| SourceError::Io { what, path, source }
}

#[cfg(test)]
mod tests;
