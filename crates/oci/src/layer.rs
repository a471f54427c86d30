//! A layer: files of trees as one tar archive, always to the same bytes.
//!
//! Uncompressed, as it stays on this machine; sorted by path; times 0, as are
//! owners and groups that nobody names. Over a base, directories above files are left out: one that is
//! said here would replace a symbolic link of the base (`/bin`) or its mode
//! (`/tmp`).

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;

use seatrial_core::action::ImageLayerFile;
use seatrial_core::digest::Digest;
use seatrial_store::{Blob, Content, Store, StoreError};

use crate::error::ImageError;
use crate::media::LARGEST_LAYER;

/// What is at one path of a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Item {
    Directory { owner: (u32, u32) },
    File { mode: u32, size: u64, from: PathBuf, owner: (u32, u32) },
    Link { target: String },
}

/// Which files a layer has, by path without the first `/`.
#[derive(Debug, Default)]
pub(crate) struct Layer {
    items: BTreeMap<String, Item>,
}

impl Layer {
    /// Finds the files in their trees. One that is given later replaces an
    /// earlier one at the same path.
    pub(crate) fn new(
        store: &Store,
        files: &[ImageLayerFile<Digest>],
        with_directories: bool,
    ) -> Result<Self, ImageError> {
        let mut layer = Self::default();
        for file in files {
            layer.add(store, file)?;
        }
        layer.check()?;
        if with_directories {
            for path in layer.items.keys().cloned().collect::<Vec<_>>() {
                for above in parents(&path) {
                    layer
                        .items
                        .entry(above.to_owned())
                        .or_insert(Item::Directory { owner: (0, 0) });
                }
            }
        }
        Ok(layer)
    }

    /// Writes the archive into the store.
    pub(crate) fn write(&self, store: &Store) -> Result<Blob, ImageError> {
        let writer = BufWriter::with_capacity(256 << 10, store.blob_writer(LARGEST_LAYER)?);
        let mut archive = tar::Builder::new(writer);
        // Both ends are files of the store.
        let failed = |source| {
            let path = store.dir().join("blobs");
            ImageError::Store(StoreError::Io { what: "write an image layer below", path, source })
        };
        for (path, item) in &self.items {
            append(&mut archive, path, item, &failed)?;
        }
        let writer = archive.into_inner().map_err(failed)?;
        let writer = writer.into_inner().map_err(|error| failed(error.into_error()))?;
        Ok(writer.finish(None)?)
    }

    fn add(&mut self, store: &Store, file: &ImageLayerFile<Digest>) -> Result<(), ImageError> {
        let manifest = store.manifest(file.tree)?;
        let root = store.tree_path(file.tree);
        let to = place(&file.to)?;
        let from = file.path.trim_matches('/');
        let within = format!("{from}/");
        let above = if to.is_empty() { String::new() } else { format!("{to}/") };
        // A pattern that matches nothing leaves an empty tree.
        let mut found = from.is_empty() && !manifest.entries().is_empty();
        for entry in manifest.entries() {
            let to = if from.is_empty() {
                join(&to, &entry.path)
            } else if entry.path == from {
                let name = from.rsplit('/').next().unwrap_or(from);
                if file.to.ends_with('/') { join(&to, name) } else { to.clone() }
            } else if let Some(rest) = entry.path.strip_prefix(&within) {
                join(&to, rest)
            } else {
                continue;
            };
            found = true;
            if let Some(owner) = file.owner {
                // Those that are copied, not the one that they are copied into.
                let below = |dir: &&str| dir.len() > above.len() && dir.starts_with(&above);
                for dir in parents(&to).filter(below) {
                    self.items.entry(dir.to_owned()).or_insert(Item::Directory { owner });
                }
            }
            let item = match &entry.content {
                Content::File { executable, size, .. } => Item::File {
                    mode: file.mode.unwrap_or(if *executable { 0o755 } else { 0o644 }) & 0o7777,
                    size: *size,
                    from: root.join(&entry.path),
                    owner: file.owner.unwrap_or_default(),
                },
                Content::Link { target } => Item::Link { target: target.clone() },
                Content::EmptyDirectory => {
                    Item::Directory { owner: file.owner.unwrap_or_default() }
                }
            };
            if to.rsplit('/').next().is_some_and(|name| name.starts_with(".wh.")) {
                return Err(ImageError::Whiteout(to));
            }
            if to.is_empty() {
                // An empty directory at `/` is there anyway.
                if matches!(item, Item::Directory { .. }) {
                    continue;
                } else {
                    return Err(ImageError::Place(file.to.clone()));
                }
            }
            self.items.insert(to, item);
        }
        if found {
            return Ok(());
        }
        Err(ImageError::NoFile { path: file.path.clone(), tree: file.tree })
    }

    fn check(&self) -> Result<(), ImageError> {
        for path in self.items.keys() {
            for above in parents(path) {
                if self.items.get(above).is_some_and(|item| !matches!(item, Item::Directory { .. }))
                {
                    return Err(ImageError::Conflict(above.to_owned()));
                }
            }
        }
        Ok(())
    }
}

fn append<W: Write>(
    archive: &mut tar::Builder<W>,
    path: &str,
    item: &Item,
    failed: &impl Fn(std::io::Error) -> ImageError,
) -> Result<(), ImageError> {
    let mut header = tar::Header::new_gnu();
    header.set_mtime(0);
    let owner = match item {
        Item::File { owner, .. } | Item::Directory { owner } => *owner,
        Item::Link { .. } => (0, 0),
    };
    header.set_uid(owner.0.into());
    header.set_gid(owner.1.into());
    match item {
        Item::Directory { .. } => {
            header.set_entry_type(tar::EntryType::Directory);
            header.set_mode(0o755);
            header.set_size(0);
            archive.append_data(&mut header, format!("{path}/"), std::io::empty())
        }
        Item::Link { target } => {
            header.set_entry_type(tar::EntryType::Symlink);
            header.set_mode(0o777);
            header.set_size(0);
            archive.append_link(&mut header, path, target)
        }
        Item::File { mode, size, from, .. } => {
            let file = File::open(from).map_err(ImageError::io(from))?;
            if file.metadata().map_err(ImageError::io(from))?.len() != *size {
                let damaged = std::io::Error::other("its size is not the one of its tree");
                return Err(ImageError::io(from)(damaged));
            }
            header.set_entry_type(tar::EntryType::Regular);
            header.set_mode(*mode);
            header.set_size(*size);
            archive.append_data(&mut header, path, file)
        }
    }
    .map_err(failed)
}

/// An absolute path of the image, without its first `/`.
fn place(to: &str) -> Result<String, ImageError> {
    let refuse = || ImageError::Place(to.to_owned());
    let path = to.strip_prefix('/').ok_or_else(refuse)?.trim_end_matches('/');
    if path.is_empty() {
        return Ok(String::new());
    }
    seatrial_store::manifest::check_path(path).map_err(|_| refuse())?;
    Ok(path.to_owned())
}

fn join(above: &str, below: &str) -> String {
    if above.is_empty() { below.to_owned() } else { format!("{above}/{below}") }
}

fn parents(path: &str) -> impl Iterator<Item = &str> {
    path.rmatch_indices('/').map(|(at, _)| &path[..at])
}
