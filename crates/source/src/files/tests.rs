use tempfile::TempDir;

use super::*;

fn project(files: &[(&str, &str)]) -> TempDir {
    let dir = tempfile::tempdir().expect("directory");
    for (path, text) in files {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().expect("parent")).expect("directory");
        fs::write(path, text).expect("write");
    }
    dir
}

fn store() -> (TempDir, Store) {
    let dir = tempfile::tempdir().expect("directory");
    let store = Store::open(dir.path()).expect("store");
    (dir, store)
}

fn seen(dir: &TempDir, paths: &[u8], after: Duration) -> ProjectFiles {
    let mut listing = Listing::new(dir.path());
    listing.add(paths, true).expect("files");
    listing.finish(SystemTime::now() + after)
}

fn snapshot(files: &ProjectFiles, store: &Store) -> Digest {
    let all = Patterns::new::<&str>(&[]).expect("none");
    files.snapshot(&all, &all, store).expect("snapshot").tree
}

const LATER: Duration = Duration::from_secs(1);

#[test]
fn what_is_settled_is_looked_up_and_what_is_not_is_read() {
    let (_state, store) = store();
    let dir = project(&[("a", "1"), ("b/c", "2")]);
    let fresh = seen(&dir, b"a\0b/c\0", Duration::ZERO);
    let tree = snapshot(&fresh, &store);
    let all: Vec<&ProjectFile> = fresh.files.iter().collect();
    assert_eq!(store.snapshot(fresh.fingerprint(&all)).expect("read"), None);
    assert!(store.file_digests(&dir.path().to_string_lossy()).expect("read").is_empty());

    let settled = seen(&dir, b"a\0b/c\0", LATER);
    assert_eq!(snapshot(&settled, &store), tree);
    let all: Vec<&ProjectFile> = settled.files.iter().collect();
    let fingerprint = settled.fingerprint(&all);
    assert_eq!(store.snapshot(fingerprint).expect("read"), Some(tree));
    // The answer comes from what is kept, which this shows by making it wrong.
    let other = snapshot(&seen(&project(&[("a", "else")]), b"a\0", LATER), &store);
    store.keep_snapshot(fingerprint, other).expect("keep");
    assert_eq!(snapshot(&settled, &store), other);
    assert_eq!(snapshot(&fresh, &store), tree);
}

#[test]
fn one_changed_file_is_read_and_the_others_are_not() {
    let (_state, store) = store();
    let dir = project(&[("a", "1"), ("b", "2")]);
    snapshot(&seen(&dir, b"a\0b\0", LATER), &store);
    let root = dir.path().to_string_lossy().into_owned();
    let (stamp, _) = store.file_digests(&root).expect("read")["b"];
    // Wrong on purpose: `b` comes from here, and what is copied has the last word.
    store.keep_file_digests(&root, [("b", stamp, Digest::of("wrong"))]).expect("keep");
    fs::write(dir.path().join("a"), "one").expect("write");
    let files = seen(&dir, b"a\0b\0", LATER);
    let all: Vec<&ProjectFile> = files.files.iter().collect();
    let entries = files.entries(&all, &store).expect("entries");
    let digests: Vec<Digest> = entries
        .iter()
        .filter_map(|entry| match entry.content {
            Content::File { digest, .. } => Some(digest),
            _ => None,
        })
        .collect();
    assert_eq!(digests, [Digest::of("one"), Digest::of("wrong")]);
    let manifest = store.manifest(snapshot(&files, &store)).expect("manifest");
    let (size, digest) = (1, Digest::of("2"));
    let content = Content::File { executable: false, size, digest };
    assert_eq!(manifest.get("b").expect("entry").content, content);
}
