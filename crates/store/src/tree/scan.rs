//! Reading a directory of unknown content: first what is there, judged without
//! opening anything, then the digests.

use std::collections::HashMap;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{
    FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use nix::fcntl::{AT_FDCWD, OFlag};
use nix::sys::stat::{UtimensatFlags, utimensat};
use nix::sys::time::TimeSpec;
use seatrial_core::digest::{Digest, Hasher};

use super::TreeLimits;
use crate::durable::Disk;
use crate::error::StoreError;
use crate::manifest::{Content, Entry, TreeError, check_path};

/// The time of every file and directory of a tree: 2 January 1980. Earlier
/// ones cannot be packed into a zip archive in every time zone.
const TIME: u64 = 315_619_200;

/// Threads that hash. Two read ahead of each other; more wait for the disk.
const THREADS: usize = 2;

/// What is in a directory.
pub(crate) struct Scan {
    items: Vec<Item>,
    /// All directories below the root, parents before children.
    directories: Vec<String>,
}

struct Item {
    path: String,
    kind: Kind,
    foreign: bool,
}

enum Kind {
    File { executable: bool },
    Link { target: String },
    EmptyDirectory,
}

impl Scan {
    pub(crate) fn read(root: &Path, limits: TreeLimits) -> Result<Self, StoreError> {
        let mut scan = Self { items: Vec::new(), directories: Vec::new() };
        let mut links = HardLinks::default();
        let mut bytes = 0_u64;
        let mut todo = vec![String::new()];
        while let Some(dir) = todo.pop() {
            let path = root.join(&dir);
            let meta = fs::symlink_metadata(&path).map_err(StoreError::io("look at", &path))?;
            if !meta.is_dir() {
                return Err(StoreError::io("list", &path)(io::ErrorKind::NotADirectory.into()));
            }
            // A command may have taken the right to list from its own directory.
            make_listable(&path, &meta)?;
            let mut empty = true;
            for entry in fs::read_dir(&path).map_err(StoreError::io("list", &path))? {
                empty = false;
                let entry = entry.map_err(StoreError::io("list", &path))?;
                let name = entry.file_name();
                let name = name
                    .to_str()
                    .ok_or_else(|| TreeError::Encoding(name.to_string_lossy().into_owned()))?;
                let below = if dir.is_empty() { name.to_owned() } else { format!("{dir}/{name}") };
                check_path(&below)?;
                if scan.len() + todo.len() >= limits.entries {
                    return Err(TreeError::TooMany(limits.entries).into());
                }
                let at = entry.path();
                let meta = entry.metadata().map_err(StoreError::io("look at", &at))?;
                if meta.is_dir() {
                    todo.push(below);
                    continue;
                }
                let kind = kind_of(&below, &at, &meta)?;
                if matches!(kind, Kind::File { .. }) {
                    bytes = bytes.saturating_add(meta.len());
                    if bytes > limits.bytes {
                        return Err(TreeError::TooLarge(limits.bytes).into());
                    }
                    links.add(&below, &meta);
                }
                scan.items.push(Item { path: below, kind, foreign: is_foreign(&meta) });
            }
            if dir.is_empty() {
                continue;
            }
            if empty {
                let foreign = is_foreign(&meta);
                scan.items.push(Item { path: dir.clone(), kind: Kind::EmptyDirectory, foreign });
            }
            scan.directories.push(dir);
        }
        links.check()?;
        scan.directories.sort_unstable();
        Ok(scan)
    }

    /// How many files, links and directories there are.
    pub(crate) fn len(&self) -> usize {
        self.items.len() + self.directories.len()
    }

    /// The entries with their digests.
    pub(crate) fn hash(&self, root: &Path, limits: TreeLimits) -> Result<Vec<Entry>, StoreError> {
        let next = AtomicUsize::new(0);
        let entries = Mutex::new(Vec::with_capacity(self.items.len()));
        let work = || -> Result<(), StoreError> {
            let mut buffer = vec![0; 128 << 10];
            let mut mine = Vec::new();
            while let Some(item) = self.items.get(next.fetch_add(1, Ordering::Relaxed)) {
                mine.push(item.entry(root, &mut buffer, limits)?);
            }
            entries.lock().expect("no thread panics with the lock").extend(mine);
            Ok(())
        };
        if self.items.len() == 1 {
            work()?;
        } else {
            std::thread::scope(|scope| {
                let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(work)).collect();
                threads
                    .into_iter()
                    .try_for_each(|thread| thread.join().expect("hashing does not panic"))
            })?;
        }
        Ok(entries.into_inner().expect("no thread panics with the lock"))
    }

    /// Makes modes, owners and times the same for every tree with this manifest.
    pub(crate) fn normalise(&self, root: &Path) -> Result<(), StoreError> {
        for item in &self.items {
            let path = root.join(&item.path);
            if item.foreign {
                own(&path)?;
            }
            match item.kind {
                Kind::File { executable } => {
                    let mode = if executable { 0o555 } else { 0o444 };
                    set_mode(&path, mode)?;
                    set_time(&path)?;
                }
                Kind::Link { .. } => set_time(&path)?,
                Kind::EmptyDirectory => {}
            }
        }
        // Children first: whatever is done in a directory changes its time.
        let directories = self.directories.iter().rev().map(|dir| root.join(dir));
        for path in directories.chain([root.to_owned()]) {
            own(&path)?;
            set_mode(&path, 0o755)?;
            set_time(&path)?;
        }
        Ok(())
    }

    pub(crate) fn sync(&self, disk: &Disk, root: &Path) -> Result<(), StoreError> {
        for item in self.items.iter().filter(|item| matches!(item.kind, Kind::File { .. })) {
            let path = root.join(&item.path);
            let file = File::open(&path).map_err(StoreError::io("open", &path))?;
            disk.sync(&file, &path)?;
        }
        for dir in self.directories.iter().rev() {
            disk.sync_dir(&root.join(dir))?;
        }
        disk.sync_dir(root)
    }
}

impl Item {
    fn entry(
        &self,
        root: &Path,
        buffer: &mut [u8],
        limits: TreeLimits,
    ) -> Result<Entry, StoreError> {
        let content = match &self.kind {
            Kind::Link { target } => Content::Link { target: target.clone() },
            Kind::EmptyDirectory => Content::EmptyDirectory,
            Kind::File { executable } => {
                let path = root.join(&self.path);
                let (size, digest) = hash_file(&path, buffer, limits.bytes)?;
                Content::File { executable: *executable, size, digest }
            }
        };
        Ok(Entry { path: self.path.clone(), content })
    }
}

/// Files with more than one name: all of them must be within the tree, or
/// someone could still write to it from outside.
#[derive(Default)]
struct HardLinks {
    seen: HashMap<(u64, u64), (u64, u64, String)>,
}

impl HardLinks {
    fn add(&mut self, path: &str, meta: &Metadata) {
        if meta.nlink() > 1 {
            let key = (meta.dev(), meta.ino());
            let links = self.seen.entry(key).or_insert_with(|| (meta.nlink(), 0, path.to_owned()));
            links.1 += 1;
        }
    }

    fn check(self) -> Result<(), TreeError> {
        let outside = self.seen.into_values().find(|(names, within, _)| names != within);
        outside.map_or(Ok(()), |(_, _, path)| Err(TreeError::HardLink(path)))
    }
}

fn kind_of(path: &str, at: &Path, meta: &Metadata) -> Result<Kind, StoreError> {
    let kind = meta.file_type();
    if kind.is_symlink() {
        let target = fs::read_link(at).map_err(StoreError::io("read the link", at))?;
        let target = target
            .into_os_string()
            .into_string()
            .map_err(|target| TreeError::Encoding(target.to_string_lossy().into_owned()))?;
        return Ok(Kind::Link { target });
    }
    let refused = match kind {
        _ if kind.is_file() => None,
        _ if kind.is_fifo() => Some("pipe"),
        _ if kind.is_socket() => Some("socket"),
        _ => Some("device"),
    };
    if let Some(kind) = refused {
        return Err(TreeError::Type { path: path.to_owned(), kind }.into());
    }
    let mode = meta.mode() & 0o7777;
    if mode & 0o6000 != 0 {
        return Err(TreeError::Privileged { path: path.to_owned(), mode }.into());
    }
    Ok(Kind::File { executable: mode & 0o100 != 0 })
}

/// Size and digest of a file of at most `limit` bytes.
pub(crate) fn hash_file(
    path: &Path,
    buffer: &mut [u8],
    limit: u64,
) -> Result<(u64, Digest), StoreError> {
    let open = || OpenOptions::new().read(true).custom_flags(OFlag::O_NOFOLLOW.bits()).open(path);
    let mut file = match open() {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            set_mode(path, 0o600)?;
            open()
        }
        opened => opened,
    }
    .map_err(StoreError::io("open", path))?;
    let mut hasher = Hasher::new();
    let mut size = 0;
    loop {
        let count = file.read(buffer).map_err(StoreError::io("read", path))?;
        if count == 0 {
            return Ok((size, hasher.finish()));
        }
        size += count as u64;
        if size > limit {
            return Err(TreeError::TooLarge(limit).into());
        }
        hasher.update(&buffer[..count]);
    }
}

fn is_foreign(meta: &Metadata) -> bool {
    meta.uid() != nix::unistd::geteuid().as_raw() || meta.gid() != nix::unistd::getegid().as_raw()
}

fn own(path: &Path) -> Result<(), StoreError> {
    let (uid, gid) = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
    std::os::unix::fs::lchown(path, Some(uid), Some(gid)).map_err(StoreError::io("own", path))
}

fn make_listable(path: &Path, meta: &Metadata) -> Result<(), StoreError> {
    if meta.mode() & 0o700 == 0o700 { Ok(()) } else { set_mode(path, 0o700) }
}

fn set_mode(path: &Path, mode: u32) -> Result<(), StoreError> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
        .map_err(StoreError::io("set the mode of", path))
}

fn set_time(path: &Path) -> Result<(), StoreError> {
    let time = TimeSpec::from_duration(Duration::from_secs(TIME));
    utimensat(AT_FDCWD, path, &time, &time, UtimensatFlags::NoFollowSymlink)
        .map_err(io::Error::from)
        .map_err(StoreError::io("set the time of", path))
}
