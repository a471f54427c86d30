//! `seatrial.lock`: written by `update`, held against the machine by `run`.

use std::os::unix::fs::PermissionsExt as _;

use insta::assert_snapshot;

use crate::bases::Registry;
use crate::root;
use crate::support::{Project, Ran};

const YAML: &str = "seatrial: 1\nbuilds:\n  b: { tools: [make], run: make > \"$OUT/made\" }\n\
                    environments:\n  default: { clusters: { main: { kubernetes: \"1.37\" } } }\n\
                    suites:\n  s: { build: b, adapter: exec, run: cat made }\n  \
                    e: { adapter: exec, run: \"true\", environments: [default] }\n";

/// A project whose tool `make` prints `version`.
fn project(version: &str) -> Project {
    root();
    let project = Project::new(&[("seatrial.yaml", YAML)]);
    set_make(&project, version);
    project
}

fn set_make(project: &Project, version: &str) {
    let make = project.beside("bin").join("make");
    std::fs::create_dir_all(project.beside("bin")).expect("a directory");
    std::fs::write(&make, format!("#!/bin/sh\necho {version}\n")).expect("a tool");
    std::fs::set_permissions(&make, std::fs::Permissions::from_mode(0o755)).expect("executable");
}

fn run(project: &Project, arguments: &[&str]) -> Ran {
    let path = std::env::var("PATH").expect("PATH");
    let path = format!("{}:{path}", project.beside("bin").display());
    project.finish(project.command(arguments).env("PATH", path))
}

fn lock(project: &Project) -> String {
    std::fs::read_to_string(project.dir().join("seatrial.lock")).expect("a lock file")
}

#[test]
fn what_is_settled_is_held_against_the_machine() {
    let project = project("1");
    let missing = run(&project, &["run", "s", "--locked"]);
    assert_snapshot!(missing.text(), @r"
    error[lock.missing]: there is no seatrial.lock here
    hint: `seatrial update` writes one; keep it in Git
    exit code 2
    ");
    assert_eq!(run(&project, &["update", "--check"]).code, 1);
    assert!(!project.dir().join("seatrial.lock").exists());
    assert_snapshot!(run(&project, &["update"]).text(), @r"
    kubernetes 1.37: added, 1.37.2
    make: added, sha256:716269d16f6d
    wrote seatrial.lock: keep it in Git
    exit code 0
    ");
    assert_snapshot!(lock(&project), @r#"
    # What seatrial.yaml stood for when `seatrial update` last ran. Keep it in Git.
    seatrial: 1
    kubernetes:
      "1.37": "1.37.2"
    tools:
      make:
        version: "sha256:716269d16f6d"
        digest: "sha256:efd36ee6e7fa23302fcbc72bae3c173d70c69a2ba38ef5461710dc9cfd1ca3b3"
    "#);
    assert_snapshot!(run(&project, &["update", "--check"]).text(), @r"
    seatrial.lock is up to date
    exit code 0
    ");
    let locked = run(&project, &["run", "s", "--locked"]);
    assert_eq!(locked.code, 0, "{}", locked.text());

    // Another tool is a warning, and an error where it is asked for.
    set_make(&project, "2");
    let warned = run(&project, &["run", "s"]);
    assert_eq!(warned.code, 0, "{}", warned.text());
    assert!(
        warned.stderr.contains("warning: not as in seatrial.lock: make: "),
        "{}",
        warned.stderr
    );
    assert_snapshot!(run(&project, &["run", "s", "--locked"]).text(), @r#"
    note: included though Git does not track them: seatrial.lock
    error[lock.differs]: what is here is not what seatrial.lock has
      | make: sha256:716269d16f6d -> sha256:feaae944d8a6
    hint: `seatrial update` takes what is here, without `--locked` it is a warning
    exit code 2
    "#);
    assert_eq!(run(&project, &["update", "1.37"]).code, 0);
    assert_eq!(run(&project, &["run", "s", "--locked"]).code, 2);
    assert_eq!(run(&project, &["update", "make"]).code, 0);
    assert_eq!(run(&project, &["run", "s", "--locked"]).code, 0);
    assert_snapshot!(run(&project, &["update", "maker"]).text(), @r"
    error[lock.unknown_name]: neither seatrial.yaml nor seatrial.lock has `maker`
    hint: names are those of tools, base images with their tag, and versions of Kubernetes
    exit code 2
    ");
}

#[test]
fn a_patch_that_is_not_there_is_refused_and_what_nothing_uses_goes() {
    let project = project("1");
    let digest = format!("sha256:{}", "0".repeat(64));
    project.write(
        "seatrial.lock",
        format!(
            "seatrial: 1\nkubernetes: {{ \"1.37\": \"1.37.0\", \"1.30\": \"1.30.1\" }}\n\
             tools: {{ gone: {{ version: x, digest: \"{digest}\" }} }}\n"
        ),
    );
    assert_snapshot!(run(&project, &["run", "s"]).text(), @r#"
    note: included though Git does not track them: seatrial.lock
    error[lock.kubernetes]: seatrial.lock has Kubernetes 1.37.0, and this Seatrial has 1.37.2
    hint: `seatrial update 1.37` settles for 1.37.2
    exit code 2
    "#);
    assert_snapshot!(run(&project, &["update", "--check"]).stdout, @r"
    kubernetes 1.30: removed, 1.30.1: nothing uses it
    kubernetes 1.37: 1.37.0 -> 1.37.2
    gone: removed, x: nothing uses it
    make: added, sha256:716269d16f6d
    ");
    assert_eq!(run(&project, &["update"]).code, 0);
    assert!(!lock(&project).contains("gone"), "{}", lock(&project));
}

#[test]
fn a_file_that_cannot_be_read_is_told_and_written_anew() {
    let project = project("1");
    project.write("seatrial.lock", "seatrial: 1\n<<<<<<< HEAD\n=======\n>>>>>>> other\n");
    assert_snapshot!(run(&project, &["run", "s"]).text(), @r#"
    config.syntax

      × a merge left its conflict markers here
       ╭─[seatrial.lock:2:1]
     1 │ seatrial: 1
     2 │ <<<<<<< HEAD
       · ───────
     3 │ =======
       ╰────
      help: `seatrial update` settles all of it anew; `git checkout --ours seatrial.lock`, or
            `--theirs`, takes what one side had

    exit code 2
    "#);
    assert_eq!(run(&project, &["update", "--check"]).code, 2);
    assert_eq!(run(&project, &["update"]).code, 0);
    assert_eq!(run(&project, &["run", "s", "--locked"]).code, 0);
    // Not what a newer Seatrial wrote.
    project.write("seatrial.lock", "seatrial: 2\n");
    assert_eq!(run(&project, &["update"]).code, 2);
    assert_eq!(lock(&project), "seatrial: 2\n");
}

#[test]
fn a_tag_stands_for_what_it_stood_for_when_it_was_settled() {
    root();
    let registry = Registry::default().start();
    let (name, digest) = registry.name.split_once('@').expect("it is pinned");
    let image = format!("{name}:3.22");
    let yaml = format!(
        "seatrial: 1\nimages:\n  i: {{ base: '{image}', files: [{{ path: x, to: /x }}] }}\n"
    );
    let project = Project::new(&[("seatrial.yaml", &yaml), ("x", "x")]);
    let unsettled = run(&project, &["build"]);
    assert_eq!(unsettled.code, 2, "{}", unsettled.text());
    assert!(unsettled.stderr.contains("is not in seatrial.lock"), "{}", unsettled.stderr);
    let updated = run(&project, &["update"]);
    assert_eq!(updated.code, 0, "{}", updated.text());
    assert!(lock(&project).contains(&format!("\"{image}\": \"{digest}\"")), "{}", lock(&project));
    let built = run(&project, &["build"]);
    assert_eq!(built.code, 0, "{}", built.text());
    assert_eq!(run(&project, &["update", "--check"]).code, 0);

    // A tag that is not there changes nothing.
    let before = lock(&project);
    project.write("seatrial.yaml", yaml.replace("3.22", "3.99"));
    let unknown = run(&project, &["update"]);
    assert_eq!(unknown.code, 3, "{}", unknown.text());
    assert!(unknown.stderr.contains("lock.unresolved"), "{}", unknown.stderr);
    assert_eq!(lock(&project), before);
}
