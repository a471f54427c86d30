//! Those that look into a file system need root, Linux 6.12 and erofs-utils.

use std::os::unix::fs::MetadataExt as _;

use seatrial_core::action::{ImageAction, ImageBase, ImageLayerFile};
use seatrial_core::pipeline::ImageConfig;
use seatrial_sandbox::look_into_erofs;
use seatrial_store::TreeLimits;
use tempfile::TempDir;

use super::*;
use crate::assemble::assemble;

struct Case {
    _dir: TempDir,
    store: Store,
    layers: Layers,
    mkfs: Mkfs,
}

impl Case {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("directory");
        let store = Store::open(dir.path()).expect("store");
        let layers = store.layers().expect("layers");
        let mkfs = Mkfs::find().expect("erofs-utils");
        Self { _dir: dir, store, layers, mkfs }
    }

    fn make(&self, layer: Digest) -> Result<bool, ImageError> {
        make_mountable(&self.store, &self.layers, &self.mkfs, layer)
    }

    /// The layer of an image with a program, files and links below `to`.
    fn layer(&self, base: ImageBase<Digest>, to: &str) -> Digest {
        let staging = self.store.staging().expect("staging");
        let at = |path: &str| staging.path().join(path);
        fs::create_dir_all(at("web/css")).expect("directory");
        fs::create_dir(at("empty")).expect("directory");
        fs::write(at("server"), vec![7; 3 << 20]).expect("write");
        set_mode(&at("server"), 0o755).expect("mode");
        fs::write(at("web/index.html"), "<html>").expect("write");
        fs::write(at("web/css/a.css"), "").expect("write");
        symlink("../server", at("web/start")).expect("link");
        let tree = self.store.put_tree(staging.path(), TreeLimits::default()).expect("tree").digest;
        let file = |path: &str, to: String, mode| ImageLayerFile {
            tree,
            path: path.to_owned(),
            to,
            mode,
            owner: None,
        };
        let files =
            vec![file("", to.to_owned(), None), file("server", format!("{to}su"), Some(0o4755))];
        let action = ImageAction { base, files, config: ImageConfig::default() };
        let image = assemble(&self.store, &action, "linux/amd64").expect("image");
        *image.layers.last().expect("a layer")
    }
}

/// Everything below a directory: mode, owner, group, time, size, content.
fn listing(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![root.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(&dir).expect("list") {
            let path = entry.expect("entry").path();
            let meta = path.symlink_metadata().expect("stat");
            let content = match meta.file_type() {
                kind if kind.is_dir() => {
                    open.push(path.clone());
                    String::new()
                }
                kind if kind.is_symlink() => path.read_link().expect("link").display().to_string(),
                _ => Digest::of(fs::read(&path).expect("read")).short(),
            };
            let size = if meta.is_dir() { 0 } else { meta.size() };
            let path = path.strip_prefix(root).expect("below").display().to_string();
            let (mode, uid, gid, time) = (meta.mode(), meta.uid(), meta.gid(), meta.mtime());
            found.push(format!("{path} {mode:o} {uid}:{gid} {time} {size} {content}"));
        }
    }
    found.sort();
    found
}

#[test]
fn what_is_mounted_is_what_unpacking_gives() {
    let case = Case::new();
    let layer = case.layer(ImageBase::Scratch, "/srv/app/");
    assert!(case.make(layer).expect("made"));
    let mounted = look_into_erofs(&case.layers.path(layer), listing).expect("mounted");

    let unpacked = tempfile::tempdir().expect("directory");
    let tar = Command::new("tar")
        .args(["--extract", "--preserve-permissions", "--numeric-owner", "--file"])
        .arg(case.store.blob_path(layer))
        .current_dir(unpacked.path())
        .status();
    assert!(tar.expect("tar").success());
    assert_eq!(mounted, listing(unpacked.path()));
    assert!(mounted.iter().any(|line| line.starts_with("srv/app/su 104755 0:0 0 3145728")));
    assert!(mounted.iter().any(|line| line.starts_with("srv/app/empty 40755 0:0 0 ")));
    let root = |root: &Path| root.metadata().expect("stat").mode();
    let root = look_into_erofs(&case.layers.path(layer), root).expect("mounted");
    assert_eq!(root & 0o7777, 0o755);
}

#[test]
fn the_same_layer_gives_the_same_file() {
    let bytes = || {
        let case = Case::new();
        let layer = case.layer(ImageBase::Scratch, "/srv/");
        assert!(case.make(layer).expect("made"));
        fs::read(case.layers.path(layer)).expect("read")
    };
    assert!(bytes() == bytes());
}

#[test]
fn a_layer_that_needs_its_base_is_left_to_the_nodes() {
    let case = Case::new();
    let base =
        ImageAction { base: ImageBase::Scratch, files: Vec::new(), config: ImageConfig::default() };
    let base = assemble(&case.store, &base, "linux/amd64").expect("image").manifest;
    // `/srv` and its mode are the base's.
    let below = case.layer(ImageBase::Image(base), "/srv/");
    assert!(!case.make(below).expect("looked at"));
    assert!(!case.layers.path(below).exists());
    assert_eq!(fs::read_dir(case.layers.dir()).expect("list").count(), 0);
}

#[test]
fn what_is_no_layer_of_ours_is_left_to_the_nodes() {
    let case = Case::new();
    let archive = |change: &dyn Fn(&mut tar::Builder<Vec<u8>>, &mut tar::Header)| {
        let mut archive = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        for set in [tar::Header::set_uid, tar::Header::set_gid, tar::Header::set_mtime] {
            set(&mut header, 0);
        }
        header.set_mode(0o644);
        header.set_size(0);
        change(&mut archive, &mut header);
        archive.into_inner().expect("archive")
    };
    let add = |archive: &mut tar::Builder<Vec<u8>>, header: &mut tar::Header, path: &str| {
        header.as_gnu_mut().expect("GNU").name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_cksum();
        archive.append(header, io::empty()).expect("append");
    };
    let layer = |bytes: &[u8]| case.store.put_bytes(bytes).expect("put").digest;
    let plain = archive(&|archive, header| add(archive, header, "file"));
    assert!(case.make(layer(&plain)).expect("made"));
    let foreign = [
        ("an owner", archive(&|a, h| (h.set_uid(1000), add(a, h, "file")).1)),
        ("a time", archive(&|a, h| (h.set_mtime(1), add(a, h, "file")).1)),
        ("a whiteout", archive(&|a, h| add(a, h, ".wh.file"))),
        ("a way out", archive(&|a, h| add(a, h, "../file"))),
        ("a missing directory", archive(&|a, h| add(a, h, "dir/file"))),
        ("a file twice", archive(&|a, h| (add(a, h, "file"), add(a, h, "file")).1)),
        ("a device", archive(&|a, h| (h.set_entry_type(EntryType::Char), add(a, h, "null")).1)),
        (
            "attributes",
            archive(&|a, h| {
                let attributes = [("SCHILY.xattr.user.a", b"b".as_slice())];
                a.append_pax_extensions(attributes).expect("append");
                add(a, h, "file");
            }),
        ),
        (
            "a way through a link",
            archive(&|a, h| {
                h.set_entry_type(EntryType::Symlink);
                h.set_link_name("/tmp").expect("link");
                add(a, h, "link");
                h.set_entry_type(EntryType::Regular);
                add(a, h, "link/file");
            }),
        ),
        ("compressed", b"\x1f\x8b\x08 and so on".to_vec()),
        ("cut off", plain[..300].to_vec()),
    ];
    for (what, bytes) in foreign {
        let layer = layer(&bytes);
        assert!(!case.make(layer).expect(what), "{what}");
        assert!(!case.layers.path(layer).exists(), "{what}");
    }
}

#[test]
fn a_damaged_layer_is_not_made_mountable() {
    let case = Case::new();
    let layer = case.layer(ImageBase::Scratch, "/srv/");
    let path = case.store.blob_path(layer);
    let mut bytes = fs::read(&path).expect("read");
    let at = bytes.iter().position(|byte| *byte == 7).expect("content");
    bytes[at] = 8;
    fs::remove_file(&path).expect("remove");
    fs::write(&path, bytes).expect("damage");
    let error = case.make(layer).expect_err("damaged");
    assert!(matches!(error, ImageError::Store(StoreError::DigestMismatch { .. })), "{error}");
    assert!(!case.layers.path(layer).exists());
}

#[test]
fn a_program_that_fails_leaves_nothing() {
    let case = Case::new();
    let layer = case.layer(ImageBase::Scratch, "/srv/");
    let failing = Mkfs("/bin/false".into());
    let error = make_mountable(&case.store, &case.layers, &failing, layer).expect_err("fails");
    assert_eq!(error.to_string(), "mkfs.erofs ended with exit status: 1: ");
    assert!(!case.layers.path(layer).exists());
}
