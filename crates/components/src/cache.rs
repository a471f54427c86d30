//! The cache directory: what is where, and how something becomes visible.
//!
//! ```text
//! store/SLOT/{bin,cni,component.json}   one component from one source
//! sets/DIGEST/{bin,cni,components.json} all of a lock, hard links into store
//! current/DIGEST -> ../sets/DIGEST      the set of the lock with that digest
//! checksums/NAME                        publishers' checksums, as first seen
//! work/SLOT/                            unfinished; survives for the next try
//! locks/SLOT                            held while something is being made
//! ```
//!
//! Everything in `store` and `sets` appears by one rename and never changes.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use seatrial_core::digest::{Digest, Hasher};
use serde::{Deserialize, Serialize};

use crate::error::{Error, IoContext as _};
use crate::{Installed, Source, pause};

/// A manifest larger than this is not one of ours.
const MANIFEST_LIMIT: u64 = 4 << 20;

/// Where Seatrial's own command belongs.
const PAUSE: &str = "bin/pause";

/// The name under which one component from one source is cached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Slot(String);

impl Slot {
    pub(crate) fn new(name: &str, digest: Digest) -> Self {
        Self(format!("{name}-{}", digest.short()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// One component as it was installed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Manifest {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) source: Source,
    /// From `bin/NAME` or `cni/NAME` to what is there.
    pub(crate) files: BTreeMap<String, FileRecord>,
}

/// What one installed file is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FileRecord {
    pub(crate) digest: Digest,
    pub(crate) size: u64,
}

/// The right to make a slot; given back when the last copy of the file closes.
///
/// The lock belongs to the open file and not to the process, so a `go` that
/// inherits it as its standard input holds on to it even if this process is
/// killed: nobody builds in a directory in which an orphan still works.
#[derive(Debug)]
pub(crate) struct SlotLock(pub(crate) fs::File);

/// A cache directory; it need not exist.
#[derive(Debug, Clone)]
pub(crate) struct Cache {
    root: PathBuf,
}

impl Cache {
    pub(crate) fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// A subdirectory, made if missing.
    pub(crate) fn dir(&self, name: &str) -> Result<PathBuf, Error> {
        let dir = self.root.join(name);
        fs::create_dir_all(&dir).doing("make", &dir)?;
        Ok(dir)
    }

    /// The manifest of a component that is there, complete by name and size.
    pub(crate) fn component(&self, slot: &Slot) -> Option<Manifest> {
        let dir = self.root.join("store").join(slot.as_str());
        let manifest: Manifest = read_json(&dir.join("component.json")).ok()?;
        has_files(&dir, &manifest).then_some(manifest)
    }

    /// The installed set of the lock with this digest.
    pub(crate) fn current(&self, lock: Digest) -> Option<Installed> {
        // Resolved, because who mounts it must not follow a link that the
        // next installation replaces.
        let root = fs::canonicalize(self.root.join("current").join(lock.short())).ok()?;
        let manifests = read_set(&root).ok()?;
        has_set(&root, &manifests).then(|| installed(root, &manifests))
    }

    /// Waits until this process alone may make `slot`; `waiting` is called
    /// once if another process is at it.
    pub(crate) fn lock(&self, slot: &Slot, waiting: impl FnOnce()) -> Result<SlotLock, Error> {
        let path = self.dir("locks")?.join(slot.as_str());
        let file = fs::File::create(&path).doing("open", &path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => {
                waiting();
                file.lock().doing("lock", &path)?;
            }
            Err(fs::TryLockError::Error(source)) => return Err(source).doing("lock", &path),
        }
        Ok(SlotLock(file))
    }

    /// The directory in which `slot` is being made, with what an earlier try
    /// left in it.
    pub(crate) fn work(&self, slot: &Slot) -> Result<PathBuf, Error> {
        self.dir(&format!("work/{}", slot.as_str()))
    }

    /// Removes unfinished work that nobody is at and that is not `kept`: what
    /// a killed installation of another lock left behind.
    pub(crate) fn sweep(&self, kept: &[Slot]) -> Result<(), Error> {
        let work = self.dir("work")?;
        for entry in fs::read_dir(&work).doing("read", &work)? {
            let entry = entry.doing("read", &work)?;
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            let lock = self.dir("locks")?.join(&name);
            if kept.iter().any(|slot| slot.as_str() == name) {
                continue;
            }
            let file = fs::File::create(&lock).doing("open", &lock)?;
            if file.try_lock().is_ok() {
                remove_if_there(&entry.path())?;
            }
        }
        Ok(())
    }

    /// Makes the files in `made` visible as a component and removes the rest
    /// of its working directory. The caller holds the slot's lock.
    pub(crate) fn publish(
        &self,
        slot: &Slot,
        made: &Path,
        component: &crate::Component,
        source: Source,
    ) -> Result<Manifest, Error> {
        let mut files = BTreeMap::new();
        for place in component.places() {
            let path = made.join(place);
            files.insert(place.to_owned(), seal(&path).doing("finish", &path)?);
        }
        let manifest = Manifest {
            name: component.name.clone(),
            version: component.version.clone(),
            source,
            files,
        };
        write_json(&made.join("component.json"), &manifest)?;
        replace_dir(made, &self.dir("store")?.join(slot.as_str()))?;
        remove_if_there(&self.work(slot)?)?;
        Ok(manifest)
    }

    /// Makes one directory of all components, and that the current one of a
    /// lock.
    pub(crate) fn publish_set(
        &self,
        lock: Digest,
        components: &[(Slot, Manifest)],
    ) -> Result<Installed, Error> {
        let manifests: Vec<_> = components.iter().map(|(_, manifest)| manifest.clone()).collect();
        let name = set_digest(&manifests).short();
        let root = self.dir("sets")?.join(&name);
        // Two locks may lead to the same set, and two sets to the same lock.
        let (set, current) = (Slot(format!("set-{name}")), Slot::new("current", lock));
        let _locks = (self.lock(&set, || ())?, self.lock(&current, || ())?);
        if !has_set(&root, &manifests) {
            let work = self.fresh(&set)?;
            for (component, manifest) in components {
                let from = self.root.join("store").join(component.as_str());
                for place in manifest.files.keys() {
                    let path = work.join(place);
                    fs::hard_link(from.join(place), &path).doing("link", &path)?;
                }
            }
            if let Some(program) = pause::program() {
                let path = work.join(PAUSE);
                fs::write(&path, program).and_then(|()| seal(&path)).doing("write", &path)?;
            }
            write_json(&work.join("components.json"), &manifests)?;
            replace_dir(&work, &root)?;
        }
        let work = self.fresh(&current)?;
        let (new, link) = (work.join("link"), self.dir("current")?.join(lock.short()));
        std::os::unix::fs::symlink(Path::new("../sets").join(&name), &new).doing("link", &new)?;
        fs::rename(&new, &link).doing("replace", &link)?;
        remove_if_there(&work)?;
        let root = fs::canonicalize(&root).doing("resolve", &root)?;
        Ok(installed(root, &manifests))
    }

    /// An empty working directory with places for files.
    fn fresh(&self, slot: &Slot) -> Result<PathBuf, Error> {
        remove_if_there(&self.work(slot)?)?;
        for dir in ["bin", "cni"] {
            self.dir(&format!("work/{}/{dir}", slot.as_str()))?;
        }
        self.work(slot)
    }
}

/// Reads the manifests of a set.
pub(crate) fn read_set(root: &Path) -> io::Result<Vec<Manifest>> {
    read_json(&root.join("components.json"))
}

/// Copies a file while digesting it; the copy is new and not yet durable.
pub(crate) fn copy(from: &Path, to: &Path) -> io::Result<FileRecord> {
    let mut input = fs::File::open(from)?;
    let mut output = fs::File::create_new(to)?;
    let mut hasher = Hasher::new();
    let mut buffer = vec![0; 1 << 20];
    let mut size = 0;
    loop {
        let n = input.read(&mut buffer)?;
        if n == 0 {
            return Ok(FileRecord { digest: hasher.finish(), size });
        }
        hasher.update(&buffer[..n]);
        output.write_all(&buffer[..n])?;
        size += n as u64;
    }
}

/// Digests a finished file, makes it read-only and executable, and durable.
fn seal(path: &Path) -> io::Result<FileRecord> {
    let mut file = fs::File::open(path)?;
    let mut hasher = Hasher::new();
    let size = io::copy(&mut file, &mut hasher)?;
    file.set_permissions(fs::Permissions::from_mode(0o555))?;
    file.sync_all()?;
    Ok(FileRecord { digest: hasher.finish(), size })
}

fn has_files(root: &Path, manifest: &Manifest) -> bool {
    manifest.files.iter().all(|(place, record)| {
        fs::symlink_metadata(root.join(place)).is_ok_and(|m| m.is_file() && m.len() == record.size)
    })
}

fn has_set(root: &Path, manifests: &[Manifest]) -> bool {
    let pause = pause::program().map_or(0, |program| program.len() as u64);
    let found = fs::symlink_metadata(root.join(PAUSE)).map_or(0, |found| found.len());
    pause == found && manifests.iter().all(|manifest| has_files(root, manifest))
}

fn installed(root: PathBuf, manifests: &[Manifest]) -> Installed {
    let versions = manifests.iter().map(|m| (m.name.clone(), m.version.clone())).collect();
    let (bin, cni) = (root.join("bin"), root.join("cni"));
    Installed { root, bin, cni, versions, digest: set_digest(manifests) }
}

/// Equal contents have equal digests, wherever they came from.
fn set_digest(manifests: &[Manifest]) -> Digest {
    let mut text = String::new();
    for manifest in manifests {
        text.push_str(&format!("{} {}\n", manifest.name, manifest.version));
        for (place, record) in &manifest.files {
            text.push_str(&format!("{place} {}\n", record.digest));
        }
    }
    text.push_str(&format!("{PAUSE} {}\n", Digest::of(pause::program().unwrap_or_default())));
    Digest::of(text)
}

/// Renames `from` over `to`, which a crash may have left incomplete.
fn replace_dir(from: &Path, to: &Path) -> Result<(), Error> {
    remove_if_there(to)?;
    fs::File::open(from).and_then(|dir| dir.sync_all()).doing("flush", from)?;
    fs::rename(from, to).doing("publish", to)?;
    let parent = to.parent().unwrap_or(to);
    fs::File::open(parent).and_then(|dir| dir.sync_all()).doing("flush", parent)
}

/// Removes a file or a directory with all that is in it.
pub(crate) fn remove_if_there(path: &Path) -> Result<(), Error> {
    let result = match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.doing("remove", path),
    }
}

fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> io::Result<T> {
    let mut text = String::new();
    fs::File::open(path)?.take(MANIFEST_LIMIT).read_to_string(&mut text)?;
    Ok(serde_json::from_str(&text)?)
}

fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<(), Error> {
    let mut text = serde_json::to_string_pretty(value).expect("maps of strings are always JSON");
    text.push('\n');
    let mut file = fs::File::create(path).doing("write", path)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).doing("write", path)
}
