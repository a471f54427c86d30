use proptest::prelude::*;
use seatrial_core::fuzz::bytes;

use super::*;

fn file(path: &str, text: &str) -> Entry {
    let (size, digest) = (text.len() as u64, Digest::of(text));
    Entry { path: path.to_owned(), content: Content::File { executable: false, size, digest } }
}

fn link(path: &str, target: &str) -> Entry {
    Entry { path: path.to_owned(), content: Content::Link { target: target.to_owned() } }
}

fn refusal(entries: Vec<Entry>) -> String {
    Manifest::new(entries).expect_err("refused").to_string()
}

#[test]
fn the_text_is_fixed() {
    let executable = Content::File { executable: true, size: 1, digest: Digest::of("x") };
    let manifest = Manifest::new(vec![
        Entry { path: "z".into(), content: Content::EmptyDirectory },
        link("l", "bin/\"x\""),
        Entry { path: "bin/x".into(), content: executable },
        file("bin-a", ""),
    ])
    .expect("manifest");
    let text = String::from_utf8(manifest.encode()).expect("UTF-8");
    insta::assert_snapshot!(text, @r#"{"tree":1,"entries":[{"path":"bin-a","mode":"0644","size":0,"digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},{"path":"bin/x","mode":"0755","size":1,"digest":"sha256:2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"},{"path":"l","mode":"symlink","link":"bin/\"x\""},{"path":"z","mode":"directory"}]}"#);
    assert_eq!(Manifest::decode(text.as_bytes()), Ok(manifest));
    for other in [text.replace("\"tree\":1", "\"tree\":2"), text.replace(",\"e", ", \"e")] {
        assert_eq!(Manifest::decode(other.as_bytes()), Err(TreeError::Manifest));
    }
}

#[test]
fn paths_that_are_refused() {
    for bad in ["", "/etc/passwd", "../x", "a/../b", "a/./b", "a//b", "a/", "a\0b"] {
        let shown = bad.escape_debug();
        assert_eq!(refusal(vec![file(bad, "")]), format!("`{shown}` is not a path within a tree"));
    }
    let text = "a".repeat(256);
    assert_eq!(
        refusal(vec![file(&text, "")]),
        format!(
            "the path `{}...` is too long (at most 4096 bytes, 255 a component)",
            "a".repeat(64)
        )
    );
    assert_eq!(Manifest::new(vec![file(&text[1..], "")]).map(|m| m.entries().len()), Ok(1));
    let deep = "a/".repeat(2048) + "b";
    assert!(matches!(check_path(&deep), Err(TreeError::PathTooLong(_))));
}

#[test]
fn entries_that_contradict_each_other() {
    let text = "`a` is there twice, or is a file and a directory";
    assert_eq!(refusal(vec![file("a", "1"), file("a", "2")]), text);
    assert_eq!(refusal(vec![file("a", ""), file("a.b", ""), file("a/b", "")]), text);
    assert_eq!(refusal(vec![link("a", "x"), file("a/b/c", "")]), text);
}

#[test]
fn links_that_lead_out() {
    let out = |path: &str, target: &str| {
        format!("the symbolic link `{path}` leads out of the tree, to `{target}`")
    };
    for target in ["/etc", "..", "../x", "a/../../x", ""] {
        assert_eq!(refusal(vec![link("l", target)]), out("l", target));
    }
    // Two links that are harmless alone: `root` is the tree itself.
    let two = vec![link("a/b/c/root", "../../.."), link("z", "a/b/c/root/../..")];
    assert_eq!(refusal(two), out("z", "a/b/c/root/../.."));
    let good = vec![
        link("a/b/up", "../../file"),
        link("dangling", "nowhere/../either"),
        link("loop", "loop"),
        link("through", "a/b/up"),
        file("file", ""),
    ];
    assert!(Manifest::new(good).is_ok());
}

/// Each is cheap to write down, and would be dear to follow.
#[test]
fn links_that_take_too_long_to_follow() {
    let long = "./".repeat(2048);
    let refused = refusal(vec![link("l", &long)]);
    assert!(refused.starts_with("the path `./././"), "{refused}");
    // As many links one after the other as the kernel follows.
    let folded = |dots: &str| {
        let way = |n: usize| link(&format!("way{n}"), &format!("{dots}way{}", n + 1));
        let short = |n: usize| link(&format!("z{n}"), "way0");
        Manifest::new((0..40).map(way).chain((0..100).map(short)).collect())
    };
    assert!(folded(&long[..20]).is_ok());
    assert_eq!(folded(&long[..4000]), Err(TreeError::LinkTooLong("way1".into())));
}

#[test]
fn clashes_are_found_in_directories_too() {
    let manifest =
        Manifest::new(vec![file("Doc/a", ""), file("doc/b", ""), file("X", ""), file("x", "")])
            .expect("manifest");
    let clash = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    assert_eq!(manifest.clashes(str::to_lowercase), [clash("Doc", "doc"), clash("X", "x")]);
    assert_eq!(manifest.clashes(str::to_owned), []);
}

fn entries() -> impl Strategy<Value = Vec<Entry>> {
    let path =
        proptest::collection::vec("[a-cA\u{e9}\"\\\\ .\n]{1,3}", 1..4).prop_map(|p| p.join("/"));
    let content = prop_oneof![
        (any::<bool>(), any::<u64>(), any::<[u8; 32]>()).prop_map(|(executable, size, digest)| {
            Content::File { executable, size, digest: Digest::from_bytes(digest) }
        }),
        "[./a-c]{0,6}".prop_map(|target| Content::Link { target }),
        Just(Content::EmptyDirectory),
    ];
    let entry = (path, content).prop_map(|(path, content)| Entry { path, content });
    proptest::collection::vec(entry, 0..6)
}

proptest! {
    #[test]
    fn round_trip_in_any_order(entries in entries()) {
        let reversed: Vec<Entry> = entries.iter().rev().cloned().collect();
        let result = Manifest::new(entries);
        if let Ok(manifest) = &result {
            prop_assert_eq!(&Manifest::decode(&manifest.encode()).expect("decode"), manifest);
            prop_assert_eq!(&Manifest::new(reversed).expect("any order"), manifest);
        } else {
            prop_assert!(Manifest::new(reversed).is_err());
        }
    }
}

proptest! {
    /// One tree has one text, and no text a path out of its tree.
    #[test]
    fn fuzz_tree(text in bytes(&[
        Manifest::new(vec![file("a/b", "1"), link("a/l", "../c"), file("c", "")]).expect("manifest").encode(),
        Manifest::new(vec![link("x", "y"), link("y", "x")]).expect("manifest").encode(),
    ])) {
        if let Ok(manifest) = Manifest::decode(&text) {
            prop_assert_eq!(manifest.encode(), text.to_vec());
            for entry in manifest.entries() {
                prop_assert!(check_path(&entry.path).is_ok(), "{:?}", entry);
            }
        }
    }
}
