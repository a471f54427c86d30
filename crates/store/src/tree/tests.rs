use std::os::unix::fs::{MetadataExt as _, symlink};
use std::os::unix::net::UnixListener;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::manifest::Content;
use crate::open::tests::store;

fn write(dir: &Path, path: &str, text: &str, mode: u32) {
    let path = dir.join(path);
    fs::create_dir_all(path.parent().expect("parent")).expect("directory");
    fs::write(&path, text).expect("write");
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("mode");
}

fn refusal(store: &Store, fill: impl FnOnce(&Path)) -> (String, String) {
    let dir = store.staging().expect("staging");
    fill(dir.path());
    let limits = TreeLimits { entries: 5, bytes: 100 };
    let error = store.put_tree(dir.path(), limits).expect_err("refused");
    let code = seatrial_core::failure::Failure::from(error);
    (code.code, code.message)
}

#[test]
fn a_tree_is_files_and_nothing_else() {
    let (_dir, store) = store();
    let staging = store.staging().expect("staging");
    write(staging.path(), "bin/run", "#!", 0o711);
    write(staging.path(), "readme", "hello", 0o600);
    fs::create_dir(staging.path().join("empty")).expect("directory");
    symlink("bin/run", staging.path().join("start")).expect("link");
    let tree = store.put_tree(staging.path(), TreeLimits::default()).expect("put");
    assert!(!staging.path().exists(), "moved, not copied");
    let paths: Vec<&str> = tree.manifest.entries().iter().map(|e| e.path.as_str()).collect();
    assert_eq!(paths, ["bin/run", "empty", "readme", "start"]);
    let run = tree.manifest.get("bin/run").expect("entry");
    let (size, digest) = (2, Digest::of("#!"));
    assert_eq!(run.content, Content::File { executable: true, size, digest });
    assert!(store.has_tree(tree.digest));
    assert_eq!(store.manifest(tree.digest).expect("manifest"), tree.manifest);
    let root = store.tree_path(tree.digest);
    assert_eq!(fs::read_to_string(root.join("start")).expect("read"), "#!");
    for (path, mode) in [("readme", 0o444), ("bin/run", 0o555), ("bin", 0o755), ("", 0o755)] {
        let meta = fs::metadata(root.join(path)).expect("stat");
        assert_eq!((meta.mode() & 0o7777, meta.mtime()), (mode, 315_619_200), "{path}");
    }
    assert_eq!(fs::read_dir(store.tmp()).expect("list").count(), 0);
}

#[test]
fn what_a_tree_cannot_hold() {
    let (outside, store) = store();
    let (code, text) = refusal(&store, |dir| {
        drop(UnixListener::bind(dir.join("s")).expect("socket"));
    });
    assert_eq!(code, "archive.forbidden_type");
    assert_eq!(text, "`s` is a socket; a tree holds files, directories and symbolic links");
    let (_, text) = refusal(&store, |dir| {
        nix::unistd::mkfifo(&dir.join("p"), nix::sys::stat::Mode::S_IRWXU).expect("pipe");
    });
    assert_eq!(text, "`p` is a pipe; a tree holds files, directories and symbolic links");
    let (code, text) = refusal(&store, |dir| write(dir, "a/su", "", 0o4755));
    assert_eq!(code, "archive.forbidden_type");
    assert_eq!(text, "`a/su` has the mode 4755; setuid and setgid files are not kept");
    let (code, text) = refusal(&store, |dir| {
        symlink("../../x", dir.join("l")).expect("link");
    });
    assert_eq!(code, "archive.link_escape");
    assert_eq!(text, "the symbolic link `l` leads out of the tree, to `../../x`");
    let (code, text) = refusal(&store, |dir| {
        let file = outside.path().join("kept-open");
        fs::write(&file, "").expect("write");
        fs::hard_link(&file, dir.join("h")).expect("hard link");
    });
    assert_eq!(code, "archive.forbidden_type");
    assert_eq!(text, "`h` is a hard link to a file outside of the tree");
    let (code, text) = refusal(&store, |dir| {
        (0..6).for_each(|i| write(dir, &format!("d{i}/f"), "", 0o644));
    });
    assert_eq!((code.as_str(), text.as_str()), ("archive.limit", "there are more than 5 files"));
    let (code, text) = refusal(&store, |dir| write(dir, "big", &"x".repeat(101), 0o644));
    assert_eq!(code, "archive.limit");
    assert_eq!(text, "the files have more than 100 bytes");
}

#[test]
fn hard_links_within_the_tree_are_files() {
    let (_dir, store) = store();
    let staging = store.staging().expect("staging");
    write(staging.path(), "a", "x", 0o644);
    fs::hard_link(staging.path().join("a"), staging.path().join("b")).expect("hard link");
    let tree = store.put_tree(staging.path(), TreeLimits::default()).expect("put");
    assert_eq!(tree.manifest.entries().len(), 2);
}

#[test]
fn a_damaged_manifest_is_found() {
    let (_dir, store) = store();
    let staging = store.staging().expect("staging");
    let tree = store.put_tree(staging.path(), TreeLimits::default()).expect("put");
    fs::write(store.tree_dir(tree.digest).join("manifest.json"), "{}").expect("damage");
    let error = store.manifest(tree.digest).expect_err("damaged");
    assert!(matches!(error, StoreError::DigestMismatch { .. }), "{error}");
}

/// Fills a staging directory in the given order.
fn fill(store: &Store, files: &[(String, String, bool)], umask: u32) -> TempDir {
    let staging = store.staging().expect("staging");
    for (path, text, executable) in files {
        let mode = if *executable { 0o777 } else { 0o666 } & !umask;
        write(staging.path(), path, text, mode);
    }
    staging
}

#[test]
fn the_digest_is_that_of_the_content() {
    let (_dir, first) = store();
    let (_dir, second) = store();
    let put = |store: &Store, dir: &TempDir| {
        store.put_tree(dir.path(), TreeLimits::default()).expect("put")
    };
    let file = (".{0,9}", any::<bool>());
    let names = proptest::collection::btree_map("[a-c]{1,2}(/[x-z]{1,2}){1,2}", file, 1..6);
    let umask = prop_oneof![Just(0o000), Just(0o022), Just(0o077)];
    let config = ProptestConfig::with_cases(24);
    proptest!(config, |(names in names, umask in umask)| {
        let files: Vec<_> =
            names.into_iter().map(|(path, (text, x))| (format!("{path}.f"), text, x)).collect();
        let mut reversed = files.clone();
        reversed.reverse();
        let tree = put(&first, &fill(&first, &files, 0o022));
        prop_assert_eq!(&put(&second, &fill(&second, &reversed, umask)), &tree);
        // What came out goes in again.
        let copy = second.staging().expect("staging");
        for entry in tree.manifest.entries() {
            let to = copy.path().join(&entry.path);
            fs::create_dir_all(to.parent().expect("parent")).expect("directory");
            fs::copy(first.tree_path(tree.digest).join(&entry.path), to).expect("copy");
        }
        prop_assert_eq!(put(&second, &copy).digest, tree.digest);
    });
}
