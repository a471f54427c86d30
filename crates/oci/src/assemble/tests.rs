use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use proptest::prelude::*;
use seatrial_core::action::ImageLayerFile;
use seatrial_core::failure::Failure;
use seatrial_core::pipeline::ImageConfig;
use seatrial_store::TreeLimits;
use tempfile::TempDir;

use super::*;

fn store() -> (TempDir, Store) {
    let dir = tempfile::tempdir().expect("directory");
    let store = Store::open(dir.path()).expect("store");
    (dir, store)
}

fn write(dir: &Path, path: &str, text: &str, mode: u32) {
    let path = dir.join(path);
    fs::create_dir_all(path.parent().expect("parent")).expect("directory");
    fs::write(&path, text).expect("write");
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("mode");
}

fn tree(store: &Store, fill: impl FnOnce(&Path)) -> Digest {
    let dir = store.staging().expect("staging");
    fill(dir.path());
    store.put_tree(dir.path(), TreeLimits::default()).expect("put").digest
}

/// A tree with a program, a directory and a link.
fn product(store: &Store) -> Digest {
    tree(store, |dir| {
        write(dir, "bin/server", "#!", 0o755);
        write(dir, "web/index.html", "<html>", 0o644);
        write(dir, "web/css/a.css", "", 0o644);
        symlink("index.html", dir.join("web/start")).expect("link");
    })
}

fn file(tree: Digest, path: &str, to: &str, mode: Option<u32>) -> ImageLayerFile<Digest> {
    ImageLayerFile { tree, path: path.to_owned(), to: to.to_owned(), mode, owner: None }
}

fn action(base: ImageBase<Digest>, files: Vec<ImageLayerFile<Digest>>) -> ImageAction<Digest> {
    let config = ImageConfig { entrypoint: vec!["/server".into()], ..ImageConfig::default() };
    ImageAction { base, files, config }
}

fn make(store: &Store, files: Vec<ImageLayerFile<Digest>>) -> Image {
    assemble(store, &action(ImageBase::Scratch, files), "linux/amd64").expect("image")
}

/// The entries of a layer: kind, mode, path, and where a link points.
fn listing(store: &Store, layer: Digest) -> Vec<String> {
    let (file, _) = store.open_blob(layer).expect("layer");
    let mut archive = tar::Archive::new(file);
    let entries = archive.entries().expect("entries").map(|entry| {
        let mut entry = entry.expect("entry");
        let mut size = 0;
        size += entry.read_to_end(&mut Vec::new()).expect("content");
        let header = entry.header();
        assert_eq!(
            (header.mtime().ok(), header.uid().ok(), header.gid().ok()),
            (Some(0), Some(0), Some(0))
        );
        let kind = match header.entry_type() {
            tar::EntryType::Directory => 'd',
            tar::EntryType::Symlink => 'l',
            _ => '-',
        };
        let link = entry.link_name().expect("link").map(|to| format!(" -> {}", to.display()));
        let path = entry.path().expect("path").display().to_string();
        let mode = header.mode().expect("mode");
        format!("{kind}{mode:04o} {size} {path}{}", link.unwrap_or_default())
    });
    entries.collect()
}

#[test]
fn files_are_where_they_were_put() {
    let (_dir, store) = store();
    let product = product(&store);
    let image = make(
        &store,
        vec![
            file(product, "bin/server", "/server", Some(0o500)),
            file(product, "bin/server", "/usr/local/bin/", None),
            file(product, "web", "/srv/www", None),
            file(product, "web/css/", "/", None),
        ],
    );
    insta::assert_snapshot!(listing(&store, image.layers[0]).join("\n"), @r"
    -0644 0 a.css
    -0500 2 server
    d0755 0 srv/
    d0755 0 srv/www/
    d0755 0 srv/www/css/
    -0644 0 srv/www/css/a.css
    -0644 6 srv/www/index.html
    l0777 0 srv/www/start -> index.html
    d0755 0 usr/
    d0755 0 usr/local/
    d0755 0 usr/local/bin/
    -0755 2 usr/local/bin/server
    ");
    let manifest = store.read_blob(image.manifest, LARGEST_MANIFEST).expect("manifest");
    insta::assert_snapshot!(String::from_utf8(manifest).expect("UTF-8"), @r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:850cf9f256fd21807b6cdb2f9b8e45f87187b4ce7c2403a2704c141270ea3fa9","size":291},"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"sha256:db14c2b5c8a41369be0d1b21c561af787bd32ab8f5f780cb74ed765114695445","size":8704}]}"#);
    assert_eq!(Image::load(&store, image.manifest).expect("load"), image);
}

#[test]
fn equal_inputs_give_equal_images_wherever_they_are() {
    let make_in = |umask: u32| {
        let (dir, store) = store();
        let tree = tree(&store, |dir| {
            for name in ["b", "a", "c"] {
                write(dir, name, name, 0o666 & !umask);
            }
        });
        (dir, make(&store, vec![file(tree, "", "/data", None)]))
    };
    assert_eq!(make_in(0o022).1, make_in(0o077).1);
}

#[test]
fn on_top_of_another_image() {
    let (_dir, store) = store();
    let product = product(&store);
    let base = make(&store, vec![file(product, "web", "/srv", None)]);
    let files = vec![file(product, "bin", "/srv/bin", None)];
    let image = assemble(&store, &action(ImageBase::Image(base.manifest), files), "linux/amd64")
        .expect("image");
    assert_eq!(image.layers[..1], base.layers);
    // No directory is said again: it could be a link in the base.
    assert_eq!(listing(&store, image.layers[1]), ["-0755 2 srv/bin/server"]);
    let same = action(ImageBase::Image(base.manifest), Vec::new());
    assert_eq!(assemble(&store, &same, "linux/amd64").expect("image"), base);
}

#[test]
fn what_cannot_be_an_image() {
    let (_dir, store) = store();
    let product = product(&store);
    let whiteout = tree(&store, |dir| write(dir, ".wh.etc", "", 0o644));
    let refusal = |files| {
        let error = assemble(&store, &action(ImageBase::Scratch, files), "linux/amd64");
        Failure::from(error.expect_err("refused"))
    };
    let failure = refusal(vec![file(product, "bin/other", "/x", None)]);
    assert_eq!(failure.code, "image.no_file");
    let text = format!("there is no `bin/other` in the tree {}", product.short());
    assert_eq!(failure.message, text);
    for to in ["server", "/../etc", "/a//b", ""] {
        let text = format!("`{to}` is not an absolute path without `..`");
        assert_eq!(refusal(vec![file(product, "bin/server", to, None)]).message, text);
    }
    let both = vec![file(product, "bin/server", "/a", None), file(product, "web", "/a", None)];
    assert_eq!(refusal(both).message, "`/a` would be a file and a directory");
    assert_eq!(
        refusal(vec![file(whiteout, "", "/", None)]).message,
        "`/.wh.etc` cannot be in an image: names that begin with `.wh.` delete files"
    );
    let digest = Digest::of("base");
    let base = ImageBase::Registry { name: "docker.io/library/alpine".into(), digest };
    let error = assemble(&store, &action(base, Vec::new()), "linux/amd64").expect_err("not there");
    let text = format!("the base image docker.io/library/alpine@{digest} was not pulled");
    assert_eq!(error.to_string(), text);
}

/// A layout directory with one image, as another tool would write it.
fn layout(store: &Store, image: &Image, dir: &Path) {
    let blobs = dir.join("blobs/sha256");
    fs::create_dir_all(&blobs).expect("directory");
    for digest in image.layers.iter().chain([&image.manifest, &image.config]) {
        fs::copy(store.blob_path(*digest), blobs.join(digest.hex())).expect("copy");
    }
    let size = store.open_blob(image.manifest).expect("manifest").1;
    let descriptor = Descriptor::new(media::MANIFEST, image.manifest, size);
    let index = serde_json::json!({ "schemaVersion": 2, "manifests": [descriptor] });
    fs::write(dir.join("index.json"), index.to_string()).expect("write");
    fs::write(dir.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).expect("write");
}

/// Imports the layout of an image into an empty store, after `damage`.
fn import_after(damage: impl FnOnce(&Path, &Image)) -> Result<Image, Failure> {
    let (_dir, source) = store();
    let image = make(&source, vec![file(product(&source), "web", "/srv", None)]);
    let dir = tempfile::tempdir().expect("directory");
    layout(&source, &image, dir.path());
    damage(dir.path(), &image);
    let (_dir, store) = store();
    import_layout(&store, dir.path(), "linux/amd64").map_err(Failure::from)
}

fn change(path: &Path, text: &[u8]) {
    fs::remove_file(path).expect("remove");
    fs::write(path, text).expect("write");
}

#[test]
fn a_layout_is_verified_to_the_last_byte() {
    let image = import_after(|_, _| {}).expect("good layout");
    let blob = |dir: &Path, digest: Digest| dir.join("blobs/sha256").join(digest.hex());
    let layer = image.layers[0];
    let text = "a layer of the base image: content is";
    let failure = import_after(|dir, _| {
        let mut bytes = fs::read(blob(dir, layer)).expect("read");
        bytes[600] ^= 1;
        change(&blob(dir, layer), &bytes);
    })
    .expect_err("one bit");
    assert_eq!(failure.code, "cas.digest_mismatch");
    assert!(failure.message.starts_with(text), "{}", failure.message);
    assert!(failure.message.ends_with(&format!(", not {layer}")), "{}", failure.message);
    let failure = import_after(|dir, image| {
        let mut bytes = fs::read(blob(dir, image.config)).expect("read");
        bytes.push(b' ');
        change(&blob(dir, image.config), &bytes);
    })
    .expect_err("longer");
    let text = "the configuration of the base image: content is longer, not ";
    assert!(failure.message.starts_with(text), "{}", failure.message);
}

#[test]
fn layouts_that_are_none() {
    let index = |text: &'static str| {
        move |dir: &Path, _: &Image| {
            change(&dir.join("index.json"), text.as_bytes());
        }
    };
    let refusal =
        |damage: &dyn Fn(&Path, &Image)| import_after(damage).expect_err("refused").message;
    let begin = "the base image cannot be used:";
    assert_eq!(
        refusal(&|dir, _| fs::remove_file(dir.join("oci-layout")).expect("remove")),
        format!("{begin} it is not an OCI image layout (there is no file `oci-layout`)")
    );
    assert_eq!(
        refusal(&index(r#"{"manifests":[]}"#)),
        format!("{begin} it has no image for linux/amd64")
    );
    let upper = format!("sha256:{}", "A".repeat(64));
    for (digest, reason) in [
        ("md5:00", "digest does not start with `sha256:`"),
        ("sha256:../../../../etc/passwd", "digest is not 64 lowercase hexadecimal digits"),
        (upper.as_str(), "digest is not 64 lowercase hexadecimal digits"),
    ] {
        let text = format!(r#"{{"manifests":[{{"digest":"{digest}","size":1}}]}}"#);
        assert_eq!(
            refusal(&|dir, _| change(&dir.join("index.json"), text.as_bytes())),
            format!("`{digest}` is not a digest that can be used: {reason}")
        );
    }
}

#[test]
fn a_layer_holds_what_its_files_are() {
    let (_dir, store) = store();
    let names =
        proptest::collection::btree_map("[a-c]{1,3}(/[x-z]{1,120}){0,2}", any::<Vec<u8>>(), 1..5);
    proptest!(ProptestConfig::with_cases(16), |(files in names)| {
        let files: BTreeMap<String, Vec<u8>> =
            files.into_iter().map(|(path, bytes)| (format!("{path}.f"), bytes)).collect();
        let dir = store.staging().expect("staging");
        for (path, bytes) in &files {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().expect("parent")).expect("directory");
            fs::write(path, bytes).expect("write");
        }
        let tree = store.put_tree(dir.path(), TreeLimits::default()).expect("put").digest;
        let image = make(&store, vec![file(tree, "", "/", None)]);
        let (layer, _) = store.open_blob(image.layers[0]).expect("layer");
        let mut found = BTreeMap::new();
        for entry in tar::Archive::new(layer).entries().expect("entries") {
            let mut entry = entry.expect("entry");
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).expect("content");
            if entry.header().entry_type().is_file() {
                found.insert(entry.path().expect("path").display().to_string(), bytes);
            }
        }
        prop_assert_eq!(found, files);
    });
}
