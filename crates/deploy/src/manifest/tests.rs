use proptest::prelude::*;
use seatrial_core::fuzz::bytes;

use super::*;

fn errors(text: &str) -> String {
    let errors = parse(text, "deploy.yaml").expect_err("the text is bad");
    let failure = ManifestError::failure(&errors);
    format!("{}\n{}", failure.code, failure.message)
}

fn listing(text: &str) -> String {
    let objects = parse(text, "deploy.yaml").expect("the text is good");
    objects.iter().map(|object| format!("{} {}\n", object.origin, object.id)).collect()
}

#[test]
fn documents_and_lists_are_taken_apart_and_know_their_lines() {
    let text = "\
# a comment
---
apiVersion: v1
kind: Namespace
metadata: { name: shop }
---
---
# only a comment
---
apiVersion: v1
kind: List
items:
- apiVersion: apps/v1
  kind: Deployment
  metadata: { name: web, namespace: shop }
- apiVersion: rbac.authorization.k8s.io/v1
  kind: ClusterRole
  metadata: { name: 'system:shop' }
";
    insta::assert_snapshot!(listing(text), @r"
    deploy.yaml:3 Namespace shop
    deploy.yaml:10 Deployment shop/web
    deploy.yaml:10 ClusterRole system:shop
    ");
    assert_eq!(listing(""), "");
    assert_eq!(listing("# nothing\n---\n"), "");
    let json = r#"{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}}"#;
    assert_eq!(listing(json), "deploy.yaml:1 Secret s\n");
}

#[test]
fn scalars_mean_what_they_mean_to_kubectl() {
    let text = "\
apiVersion: v1
kind: ConfigMap
metadata: { name: c }
mode: 0644
yes: no
quoted: \"0644\"
port: 80
1: one
share: 0.5
merged: { <<: { a: 1 }, b: 2 }
";
    let objects = parse(text, "f").expect("the text is good");
    let value = &objects[0].value;
    assert_eq!(value["mode"], 420);
    assert_eq!(value["yes"], false);
    assert_eq!(value["quoted"], "0644");
    assert_eq!(value["port"], 80);
    assert_eq!(value["1"], "one");
    assert_eq!(value["share"], 0.5);
    assert_eq!(value["merged"], serde_json::json!({ "a": 1, "b": 2 }));
}

#[test]
fn alias_bombs_depth_and_duplicate_keys_name_the_place() {
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..9 {
        let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
        bomb.push_str(&format!("a{level}: &a{level} [{aliases}]\n"));
    }
    let bomb = errors(&bomb);
    assert!(bomb.starts_with("deploy.alias_budget\ndeploy.yaml:"), "{bomb}");
    insta::assert_snapshot!(errors("a: &a [*a]"), @r"
    deploy.alias_budget
    deploy.yaml:1:8: aliases add more than 50000 nodes, or go in circles
    ");
    let deep = format!("a: {}{}", "[".repeat(101), "]".repeat(101));
    insta::assert_snapshot!(errors(&deep), @r"
    deploy.too_deep
    deploy.yaml:1:103: nested deeper than 100
    ");
    insta::assert_snapshot!(errors("a: 1\nb: 2\na: 3\n"), @r"
    deploy.duplicate_key
    deploy.yaml:3:1: duplicate mapping key: a
    ");
    insta::assert_snapshot!(errors("a: [1\nb: {"), @r"
    deploy.bad_yaml
    deploy.yaml:2:2: illegal placement of ':' indicator
    ");
    insta::assert_snapshot!(errors(&"---\na\n".repeat(MAX_OBJECTS + 1)), @r"
    deploy.too_large
    deploy.yaml:20001:1: more than 500000 nodes or 10000 documents
    ");
}

#[test]
fn all_that_is_wrong_with_the_objects_is_said_at_once() {
    let text = "\
just text
---
kind: Pod
metadata: { name: a }
---
apiVersion: v1
kind: Pod
metadata: { generateName: a- }
---
apiVersion: v1
kind: Pod
metadata: { name: 7 }
---
apiVersion: v1
kind: Pod
metadata: { name: ../../secrets }
---
apiVersion: v1
kind: Pod
metadata: { name: a, namespace: \"a\\u202eb\" }
---
apiVersion: ../v1/x
kind: Pod
metadata: { name: a }
";
    insta::assert_snapshot!(errors(text), @r"
    deploy.not_an_object
    deploy.yaml:1:1: this is not a Kubernetes object
    deploy.yaml:3:1: a Kubernetes object needs `apiVersion`
    deploy.yaml:6:1: `metadata.generateName` cannot be applied: give the object a `metadata.name`
    deploy.yaml:10:1: `metadata.name` has to be text, it is the number 7: put it in quotes
    deploy.yaml:14:1: `../../secrets` is not allowed as `metadata.name`
    deploy.yaml:18:1: `a\u{202e}b` is not allowed as `metadata.namespace`
    deploy.yaml:22:1: `../v1/x` is not allowed as `apiVersion`
    ");
}

#[test]
fn paths_are_files_directories_or_kustomizations() {
    let root = tempfile::tempdir().expect("a temporary directory");
    let write = |path: &str, text: &[u8]| {
        let path = root.path().join(path);
        std::fs::create_dir_all(path.parent().expect("it has one")).expect("it can be made");
        std::fs::write(path, text).expect("it can be written");
    };
    write("base/b.yaml", b"apiVersion: v1\nkind: Namespace\nmetadata: {name: b}\n");
    write("base/a.yml", b"apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n");
    write("base/notes.txt", b"not yaml");
    write("base/inner/c.yaml", b"not read");
    write("kust/kustomization.yaml", b"resources: []\n");
    write("empty/notes.txt", b"");
    write("bad/latin1.yaml", b"apiVersion: v1\nkind: Caf\xe9\n");
    std::os::unix::fs::symlink("/etc", root.path().join("etc")).expect("it can be linked");

    let find = |path: &str| locate(root.path(), Path::new(path));
    let Ok(Source::Files(files)) = find("base") else { panic!("{:?}", find("base")) };
    let objects = read(root.path(), &files).expect("they are good");
    let names: Vec<_> = objects.iter().map(|o| format!("{} {}", o.origin, o.id.name)).collect();
    assert_eq!(names, ["base/a.yml:1 a", "base/b.yaml:1 b"]);
    assert_eq!(find("kust").expect("it is one"), Source::Kustomization("kust".into()));

    let failure = |result: Result<Source, ManifestError>| {
        let failure = ManifestError::failure(&[result.expect_err("it is bad")]);
        format!("{:?} {}: {}", failure.fault, failure.code, failure.message)
    };
    insta::assert_snapshot!(failure(find("empty")), @"Config deploy.no_manifests: empty has no *.yaml, *.yml or *.json and no kustomization.yaml");
    insta::assert_snapshot!(failure(find("none")), @"Config deploy.unreadable: cannot read none: No such file or directory (os error 2)");
    insta::assert_snapshot!(failure(find("etc/passwd")), @"Config deploy.outside: etc/passwd leads outside of the source tree");
    insta::assert_snapshot!(failure(find("../..")), @"Config deploy.outside: ../.. leads outside of the source tree");
    let errors = read(root.path(), &["bad/latin1.yaml".into()]).expect_err("it is not UTF-8");
    insta::assert_snapshot!(ManifestError::failure(&errors).message, @"bad/latin1.yaml:2:10: this is not UTF-8");
}

proptest::proptest! {
    #[test]
    fn no_text_panics(text in "(?s)[a-z0-9:{}\\[\\]&*!<>|\"' \n\t-]{0,200}") {
        let _ = parse(&text, "f");
    }
}

const SHOP: &str = "apiVersion: apps/v1\nkind: Deployment\nmetadata: { name: web, namespace: shop, labels: { app: web } }\n\
    spec:\n  replicas: 2\n  template:\n    spec:\n      containers:\n      - &c { name: web, image: \"ghcr.io/x/y:v1\" }\n\
    ---\napiVersion: v1\nkind: List\nitems:\n- { apiVersion: v1, kind: Namespace, metadata: { name: shop } }\n";

proptest! {
    /// Each manifest is read or refused, soon and in few words.
    #[test]
    fn fuzz_manifest(text in bytes(&[SHOP])) {
        if let Err(errors) = parse(&String::from_utf8_lossy(&text), "f.yaml") {
            prop_assert!(!errors.is_empty());
            prop_assert!(ManifestError::failure(&errors).message.len() < 400_000);
        }
    }
}
