//! Reading everything again: what is not what its name says is put aside, so
//! that whatever made it runs again and nobody is given it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use seatrial_core::digest::Digest;

use crate::error::StoreError;
use crate::garbage::digest_of;
use crate::manifest::Manifest;
use crate::open::Store;
use crate::records::{ActionResult, Outputs};
use crate::tree::TreeLimits;
use crate::tree::scan::{Scan, hash_file};

/// Something that was not what its name says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damaged {
    /// What it should be.
    pub digest: Option<Digest>,
    /// What is wrong with it.
    pub what: String,
    /// Where it is now.
    pub aside: PathBuf,
}

/// What was read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Scrubbed {
    /// Blobs and trees that are what their names say.
    pub sound: u64,
    /// Those that were not.
    pub damaged: Vec<Damaged>,
}

/// What something in the store is.
enum State {
    Sound,
    /// It was removed meanwhile.
    Gone,
    Damaged(Damaged),
}

impl Store {
    /// Reads all blobs and trees and puts aside those that are not what their
    /// names say. `progress` is called before each with how many there are and how
    /// many of them were read.
    ///
    /// # Errors
    /// When the store cannot be listed, or something cannot be put aside.
    pub fn scrub(&self, mut progress: impl FnMut(usize, usize)) -> Result<Scrubbed, StoreError> {
        let blobs = self.blobs()?;
        let trees = self.trees()?;
        let all = blobs.len() + trees.len();
        let mut scrubbed = Scrubbed::default();
        let mut buffer = vec![0; 256 << 10];
        let blobs = blobs.into_iter().map(|path| (digest_of(&path), path, false));
        let trees = trees.into_iter().map(|(digest, path)| (Some(digest), path, true));
        for (done, (digest, path, is_tree)) in blobs.chain(trees).enumerate() {
            progress(all, done);
            let found = match is_tree {
                true => self.read_tree_again(&path),
                false => hash_file(&path, &mut buffer, u64::MAX).map(|(_, digest)| digest),
            };
            match self.judge(found, digest, &path)? {
                State::Sound => scrubbed.sound += 1,
                State::Gone => {}
                State::Damaged(damaged) => scrubbed.damaged.push(damaged),
            }
        }
        Ok(scrubbed)
    }

    /// Whether all of a result is what its names say. What is not is put aside.
    pub(crate) fn verify(&self, result: &ActionResult) -> Result<bool, StoreError> {
        let mut sound = true;
        let mut buffer = vec![0; 256 << 10];
        for blob in result.log.iter().chain(result.outputs.blobs()) {
            let path = self.blob_path(*blob);
            let found = hash_file(&path, &mut buffer, u64::MAX).map(|(_, digest)| digest);
            sound &= matches!(self.judge(found, Some(*blob), &path)?, State::Sound);
        }
        if let Outputs::Tree(tree) = result.outputs
            && let Some(dir) = self.manifest_path(tree).parent()
        {
            let found = self.read_tree_again(dir);
            sound &= matches!(self.judge(found, Some(tree), dir)?, State::Sound);
        }
        Ok(sound)
    }

    /// What something is, by the digest that its name says and the one that was
    /// found. What is damaged is put aside.
    fn judge(
        &self,
        found: Result<Digest, StoreError>,
        digest: Option<Digest>,
        path: &Path,
    ) -> Result<State, StoreError> {
        let what = match (found, digest) {
            (Err(error), _) if is_gone(&error) && !path.exists() => return Ok(State::Gone),
            (Ok(found), Some(digest)) if found == digest => return Ok(State::Sound),
            (Ok(found), Some(_)) => format!("it is {found}"),
            (Ok(_), None) => "its name is no digest".to_owned(),
            (Err(error), _) => seatrial_core::failure::Failure::chain(&error),
        };
        let aside = self.put_aside(path)?;
        Ok(State::Damaged(Damaged { digest, what, aside }))
    }

    /// Moves something out of the way of everybody; what can be learned from it
    /// stays in `quarantine/`.
    pub(crate) fn put_aside(&self, path: &Path) -> Result<PathBuf, StoreError> {
        let dir = self.dir().join("quarantine");
        fs::create_dir_all(&dir).map_err(StoreError::io("create", &dir))?;
        let aside = dir.join(path.file_name().unwrap_or_default());
        if let Ok(meta) = fs::symlink_metadata(&aside) {
            let removed =
                if meta.is_dir() { fs::remove_dir_all(&aside) } else { fs::remove_file(&aside) };
            removed.map_err(StoreError::io("remove", &aside))?;
        }
        fs::rename(path, &aside).map_err(StoreError::io("move to quarantine", path))?;
        Ok(aside)
    }

    /// The digest of the tree that is in a directory of `trees/`.
    fn read_tree_again(&self, dir: &Path) -> Result<Digest, StoreError> {
        let limits = TreeLimits { entries: usize::MAX, bytes: u64::MAX };
        let root = dir.join("root");
        let scan = Scan::read(&root, limits)?;
        let found = Manifest::new(scan.hash(&root, limits)?)?.encode();
        let path = dir.join("manifest.json");
        let said = fs::read(&path).map_err(StoreError::io("read", &path))?;
        // Both must be right: who asks what is in a tree reads the one, and who
        // mounts it the other.
        Ok(if said == found { Digest::of(&found) } else { Digest::of([said, found].concat()) })
    }
}

fn is_gone(error: &StoreError) -> bool {
    matches!(error, StoreError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::open::tests::store;

    fn damage(path: &Path, bytes: &[u8]) {
        fs::set_permissions(path, fs::Permissions::from_mode(0o644)).expect("set");
        fs::write(path, bytes).expect("damage");
    }

    fn tree(store: &Store, text: &str) -> Digest {
        let staging = store.staging().expect("staging");
        let dir = staging.path().join("t");
        fs::create_dir_all(dir.join("d")).expect("directory");
        fs::write(dir.join("d/f"), text).expect("file");
        fs::write(dir.join("g"), "other").expect("file");
        store.put_tree(&dir, TreeLimits::default()).expect("put").digest
    }

    fn scrub(store: &Store) -> Scrubbed {
        store.scrub(|_, _| {}).expect("scrub")
    }

    #[test]
    fn changed_truncated_and_swapped_blobs_are_put_aside() {
        let (_dir, store) = store();
        let texts: [&[u8]; 4] = [b"sound", b"changed", b"truncated", b"swapped"];
        let digests = texts.map(|text| store.put_bytes(text).expect("put").digest);
        damage(&store.blob_path(digests[1]), b"chanGed");
        damage(&store.blob_path(digests[2]), b"trunc");
        damage(&store.blob_path(digests[3]), b"sound");
        let scrubbed = scrub(&store);
        assert_eq!(scrubbed.sound, 1);
        let mut found: Vec<_> = scrubbed.damaged.iter().filter_map(|d| d.digest).collect();
        let mut expected = digests[1..].to_vec();
        found.sort_unstable();
        expected.sort_unstable();
        assert_eq!(found, expected);
        assert!(store.has_blob(digests[0]));
        assert!(digests[1..].iter().all(|digest| !store.has_blob(*digest)));
        assert_eq!(scrub(&store), Scrubbed { sound: 1, damaged: vec![] });
        store.put_bytes(b"changed").expect("made again");
        assert!(store.has_blob(digests[1]));
    }

    #[test]
    fn a_tree_is_what_its_files_and_its_manifest_say() {
        for change in ["content", "mode", "more", "less", "link", "manifest"] {
            let (_dir, store) = store();
            let digest = tree(&store, "text");
            let root = store.tree_path(digest);
            let file = root.join("d/f");
            for dir in [&root, &root.join("d")] {
                fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).expect("set");
            }
            let mode = |mode| fs::set_permissions(&file, fs::Permissions::from_mode(mode));
            match change {
                "content" => damage(&file, b"texT"),
                "mode" => mode(0o555).expect("set"),
                "more" => fs::write(root.join("more"), "").expect("file"),
                "less" => fs::remove_file(&file).expect("removed"),
                "link" => {
                    fs::remove_file(&file).expect("removed");
                    std::os::unix::fs::symlink("../g", &file).expect("link");
                }
                _ => damage(&root.with_file_name("manifest.json"), b"{}"),
            }
            let scrubbed = scrub(&store);
            assert_eq!((scrubbed.sound, scrubbed.damaged.len()), (0, 1), "{change}");
            assert!(!store.has_tree(digest), "{change}");
            assert_eq!(tree(&store, "text"), digest, "made again after {change}");
            assert_eq!(scrub(&store).sound, 1, "{change}");
        }
    }

    #[test]
    fn what_has_no_right_name_is_no_content() {
        let (_dir, store) = store();
        store.put_bytes(b"sound").expect("put");
        let stray = store.dir().join("blobs/sha256/zz/notes");
        fs::create_dir_all(stray.parent().expect("a parent")).expect("directory");
        fs::write(&stray, "x").expect("file");
        let scrubbed = scrub(&store);
        assert_eq!((scrubbed.sound, scrubbed.damaged.len()), (1, 1));
        assert_eq!(scrubbed.damaged[0].what, "its name is no digest");
        assert!(!stray.exists());
    }
}
