//! A layer as an EROFS file system, which a node mounts instead of unpacking
//! it: the same files, made once for all nodes and always to the same bytes.
//!
//! Only a layer that says everything about its own files can be mounted over
//! whatever is below it, so only such as [`assemble`](crate::assemble) makes
//! from scratch or at the top of `/`: plain files, links and directories of
//! root, without times, each below directories of the layer itself. All others
//! are left to the nodes, which unpack them over their base.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write as _};
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use seatrial_core::digest::{Digest, Hasher};
use seatrial_store::{Layers, Store, StoreError};
use tar::{Archive, Entry, EntryType};

use crate::error::ImageError;

/// Most bytes of a layer that is made mountable: it is copied twice on the way.
const LARGEST: u64 = 2 << 30;

/// Most files, links and directories of it.
const MOST_ENTRIES: usize = 100_000;

/// Directories in which a node looks for programs.
const PROGRAMS: &[&str] = &["/usr/sbin", "/usr/bin", "/sbin", "/bin"];

/// `mkfs.erofs`, of the package erofs-utils.
#[derive(Debug, Clone)]
pub struct Mkfs(PathBuf);

impl Mkfs {
    /// The program of this machine, where nodes find it too: what cannot be
    /// made mountable here, they convert themselves.
    #[must_use]
    pub fn find() -> Option<Self> {
        let mut places = PROGRAMS.iter().map(|dir| Path::new(dir).join("mkfs.erofs"));
        places.find(|path| path.is_file()).map(Self)
    }

    /// Makes a file system of the directory `from` in the file `to`, all of
    /// it root's and without times.
    ///
    /// # Errors
    /// When the program cannot be started or fails, with what it says.
    pub fn make(&self, from: &Path, to: &Path, name: Digest) -> Result<(), ImageError> {
        // One version after the other has changed how the times of files, the
        // time of the whole and its identifier come about: all are given.
        let output = Command::new(&self.0)
            .args(["--quiet", "--all-root", "-T0", "-x-1"])
            .arg(format!("-U{}", uuid(name)))
            .args([to, from])
            .env_clear()
            .stdin(Stdio::null())
            .output()
            .map_err(ImageError::io(&self.0))?;
        if output.status.success() {
            return Ok(());
        }
        let mut said = String::from_utf8_lossy(&output.stderr).into_owned();
        said.truncate(said.floor_char_boundary(500));
        let reason = said.split_whitespace().collect::<Vec<_>>().join(" ");
        Err(ImageError::Mkfs { status: output.status, reason })
    }
}

/// Makes a layer of the store mountable, unless it is already. Returns false
/// when it has to be unpacked over its base. What is read is hashed, as a node
/// that pulls the layer would do.
///
/// # Errors
/// When the layer is damaged, a file cannot be read or written, or `mkfs` fails.
pub fn make_mountable(
    store: &Store,
    layers: &Layers,
    mkfs: &Mkfs,
    layer: Digest,
) -> Result<bool, ImageError> {
    if layers.path(layer).is_file() {
        return Ok(true);
    }
    let (archive, size) = store.open_blob(layer)?;
    let staging = store.staging()?;
    let mut archive = Hashed { archive, hasher: Hasher::new() };
    if size > LARGEST || !unpack(&mut archive, staging.path())? {
        return Ok(false);
    }
    let found = archive.digest().map_err(ImageError::io(store.blob_path(layer)))?;
    if found != layer {
        return Err(StoreError::DigestMismatch { expected: layer, found }.into());
    }
    let file = store.unpublished_layer()?;
    mkfs.make(staging.path(), &file, layer)?;
    layers.publish(file, layer)?;
    Ok(true)
}

/// Unpacks an archive into an empty directory; false when it holds anything
/// but what a mountable layer does. Every path is made of names below
/// directories that were made here, so nothing gets out of the directory.
fn unpack(archive: &mut Hashed, to: &Path) -> Result<bool, ImageError> {
    let mut archive = Archive::new(io::BufReader::with_capacity(256 << 10, archive));
    let mut directories = BTreeSet::from([String::new()]);
    let mut others = BTreeSet::new();
    // A first entry that cannot be read means that this is no tar archive.
    let Ok(entries) = archive.entries() else { return Ok(false) };
    for (count, entry) in entries.enumerate() {
        let Ok(mut entry) = entry else { return Ok(false) };
        let Some((path, kind)) = plain(&mut entry) else { return Ok(false) };
        let (above, name) = path.rsplit_once('/').unwrap_or(("", &path));
        let known = directories.contains(&path) || others.contains(&path);
        let whiteout = name.starts_with(".wh.");
        if count >= MOST_ENTRIES || known || whiteout || !directories.contains(above) {
            return Ok(false);
        }
        let at = to.join(&path);
        let failed = ImageError::io(&at);
        match kind {
            Plain::Directory(mode) => {
                fs::create_dir(&at).and_then(|()| set_mode(&at, mode)).map_err(failed)?;
                directories.insert(path);
                continue;
            }
            Plain::File(mode) => write(&mut entry, &at, mode).map_err(failed)?,
            Plain::Link(target) => symlink(target, &at).map_err(failed)?,
        }
        others.insert(path);
    }
    set_mode(to, 0o755).map_err(ImageError::io(to))?;
    Ok(true)
}

/// An archive that is hashed while it is read.
struct Hashed {
    archive: File,
    hasher: Hasher,
}

impl Hashed {
    /// The digest of the whole, what was not read yet included.
    fn digest(mut self) -> io::Result<Digest> {
        io::copy(&mut self, &mut io::sink())?;
        Ok(self.hasher.finish())
    }
}

impl Read for Hashed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.archive.read(buffer)?;
        self.hasher.update(&buffer[..count]);
        Ok(count)
    }
}

/// An entry that says all that there is to say of a file.
enum Plain {
    Directory(u32),
    File(u32),
    Link(PathBuf),
}

/// The path and what is there; `None` for everything that a mountable layer
/// has not.
fn plain<R: Read>(entry: &mut Entry<'_, R>) -> Option<(String, Plain)> {
    if entry.pax_extensions().ok()?.is_some() {
        return None;
    }
    let header = entry.header();
    let root = header.uid().ok()? == 0 && header.gid().ok()? == 0 && header.mtime().ok()? == 0;
    let path = entry.path().ok()?.to_str()?.trim_end_matches('/').to_owned();
    if !root || seatrial_store::manifest::check_path(&path).is_err() {
        return None;
    }
    let mode = header.mode().ok()? & 0o7777;
    let kind = match header.entry_type() {
        EntryType::Directory => Plain::Directory(mode),
        EntryType::Regular => Plain::File(mode),
        EntryType::Symlink => Plain::Link(entry.link_name().ok()??.into_owned()),
        _ => return None,
    };
    Some((path, kind))
}

fn write<R: Read>(entry: &mut Entry<'_, R>, at: &Path, mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).open(at)?;
    let mut buffer = vec![0; 256 << 10];
    loop {
        match entry.read(&mut buffer)? {
            0 => break,
            count => file.write_all(&buffer[..count])?,
        }
    }
    set_mode(at, mode)
}

fn set_mode(at: &Path, mode: u32) -> io::Result<()> {
    fs::set_permissions(at, fs::Permissions::from_mode(mode))
}

/// An identifier of its own for each file system; overlayfs wants them distinct.
fn uuid(name: Digest) -> String {
    let hex = name.hex();
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..32]].join("-")
}

#[cfg(test)]
mod tests;
