//! Work trees made by the git binary.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use seatrial_core::digest::Digest;
use seatrial_core::failure::Failure;
use seatrial_source::{Head, Patterns, SourceError, WorkTree};
use seatrial_store::Store;
use tempfile::TempDir;

struct Project {
    dir: TempDir,
    store: Store,
    _state: TempDir,
}

impl Project {
    /// A repository with `go.mod`, `cmd/main.go` (executable) and a rule that
    /// ignores `*.log`, all committed.
    fn new() -> Self {
        let state = tempfile::tempdir().expect("temporary directory");
        let store = Store::open(state.path()).expect("store");
        let project = Self { dir: tempfile::tempdir().expect("directory"), store, _state: state };
        project.write("go.mod", "module x");
        project.write("cmd/main.go", "package main");
        project.write(".gitignore", "*.log\n");
        let main = project.path().join("cmd/main.go");
        fs::set_permissions(main, fs::Permissions::from_mode(0o700)).expect("mode");
        project.git(&["init", "--quiet", "--initial-branch=main"]);
        project.commit();
        project
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.path().join(path);
        fs::create_dir_all(path.parent().expect("parent")).expect("directory");
        fs::write(path, text).expect("write");
    }

    fn git(&self, arguments: &[&str]) {
        let status = Command::new("git")
            .current_dir(self.path())
            .args(["-c", "user.name=n", "-c", "user.email=e", "-c", "commit.gpgsign=false"])
            .args(arguments)
            .status()
            .expect("git runs");
        assert!(status.success(), "git {arguments:?}");
    }

    fn head(&self) -> Head {
        let tree = self.work_tree();
        tree.head(&tree.files().expect("files"), &self.store).expect("head")
    }

    /// Waits until what changed last is old enough for its time to tell the
    /// next change: a new file can have the time of one that is 100 ms older.
    #[expect(clippy::disallowed_methods, reason = "nothing tells that a clock went on")]
    fn settle(&self) {
        let last = SystemTime::now();
        while last.elapsed().expect("the clock goes on") < Duration::from_millis(120) {
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn commit(&self) {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--message=change"]);
    }

    fn work_tree(&self) -> WorkTree {
        WorkTree::open(self.path()).expect("work tree")
    }

    fn try_snapshot(&self, patterns: &[&str]) -> Result<Digest, SourceError> {
        let files = self.work_tree().files()?;
        let (include, exclude) = (Patterns::new(patterns)?, Patterns::new::<&str>(&[])?);
        Ok(files.snapshot(&include, &exclude, &self.store)?.tree)
    }

    fn snapshot(&self, patterns: &[&str]) -> Digest {
        self.try_snapshot(patterns).expect("snapshot")
    }

    fn paths(&self, tree: Digest) -> Vec<String> {
        let manifest = self.store.manifest(tree).expect("manifest");
        manifest.entries().iter().map(|entry| entry.path.clone()).collect()
    }

    fn refusal(&self) -> Failure {
        self.try_snapshot(&[]).expect_err("refused").into()
    }
}

#[test]
fn a_snapshot_is_what_is_on_the_disk() {
    let project = Project::new();
    project.write("debug.log", "ignored");
    project.write("cmd/new.go", "untracked");
    project.write("go.mod", "module changed");
    fs::remove_file(project.path().join(".gitignore")).expect("remove");
    project.write(".git/info/exclude", "*.log\n");
    let tree = project.snapshot(&[]);
    assert_eq!(project.paths(tree), ["cmd/main.go", "cmd/new.go", "go.mod"]);
    let root = project.store.tree_path(tree);
    assert_eq!(fs::read_to_string(root.join("go.mod")).expect("read"), "module changed");
    let mode = fs::metadata(root.join("cmd/main.go")).expect("stat").permissions().mode();
    assert_eq!(mode & 0o777, 0o555);
    let files = project.work_tree().files().expect("files");
    assert_eq!(files.untracked().collect::<Vec<_>>(), ["cmd/new.go"]);
    let exclude = Patterns::new(&["cmd/*.go"]).expect("pattern");
    let all = Patterns::new::<&str>(&[]).expect("none");
    let less = files.snapshot(&all, &exclude, &project.store).expect("snapshot");
    assert_eq!((project.paths(less.tree), less.files), (vec!["go.mod".to_owned()], 1));
}

#[test]
fn patterns_choose_and_one_that_matches_nothing_is_an_error() {
    let project = Project::new();
    assert_eq!(project.paths(project.snapshot(&["cmd/**"])), ["cmd/main.go"]);
    assert_eq!(project.paths(project.snapshot(&["nothing", "go.*"])), ["go.mod"]);
    let failure = Failure::from(project.try_snapshot(&["docs/**", "x"]).expect_err("no match"));
    assert_eq!(failure.code, "source.no_match");
    assert_eq!(failure.message, "no file of the project matches docs/**, x");
}

#[test]
fn the_same_files_are_the_same_tree_wherever_and_whenever() {
    let (one, two) = (Project::new(), Project::new());
    let tree = one.snapshot(&[]);
    assert_eq!(two.snapshot(&[]), tree);
    one.write("go.mod", "module Y");
    assert_ne!(one.snapshot(&[]), tree);
    one.write("go.mod", "module x");
    assert_eq!(one.snapshot(&[]), tree);
}

#[test]
fn a_change_within_one_tick_of_the_clock_is_seen() {
    let project = Project::new();
    for round in 0..20 {
        // Always eight bytes, so that nothing but the content differs.
        let text = format!("round {round:02}");
        project.write("go.mod", &text);
        let tree = project.snapshot(&["go.mod"]);
        let path = project.store.tree_path(tree).join("go.mod");
        assert_eq!(fs::read_to_string(path).expect("read"), text);
    }
}

#[test]
fn a_project_can_be_below_the_top() {
    let project = Project::new();
    let below = WorkTree::open(&project.path().join("cmd")).expect("work tree");
    assert_eq!(below.top(), project.path().canonicalize().expect("path"));
    let files = below.files().expect("files");
    assert_eq!(files.paths().collect::<Vec<_>>(), ["main.go"]);
}

#[test]
fn no_work_tree_is_an_error_that_says_what_to_do() {
    let dir = tempfile::tempdir().expect("directory");
    let failure = Failure::from(WorkTree::open(dir.path()).expect_err("no work tree"));
    assert_eq!(failure.code, "git.no_work_tree");
    assert!(failure.message.ends_with(" is not in a Git work tree"), "{}", failure.message);
    assert_eq!(failure.hints, ["make it one: `git init && git add --all`"]);
    let failure = Failure::from(WorkTree::open(&dir.path().join("x")).expect_err("missing"));
    assert_eq!(failure.code, "source.directory");
}

#[test]
fn head_says_where_the_work_tree_stands() {
    let project = Project::new();
    let head = project.head();
    assert_eq!(head.commit.as_ref().map(String::len), Some(40));
    assert_eq!((head.branch.as_deref(), head.dirty), (Some("main"), false));
    project.write("new", "");
    assert!(project.head().dirty);
    project.git(&["checkout", "--quiet", "--detach"]);
    assert_eq!(project.head().branch, None);
    let empty = tempfile::tempdir().expect("directory");
    let init = Command::new("git").arg("init").arg("--quiet").arg(empty.path()).status();
    assert!(init.expect("git runs").success());
    let tree = WorkTree::open(empty.path()).expect("work tree");
    let head = tree.head(&tree.files().expect("files"), &project.store).expect("head");
    assert_eq!((head.commit, head.dirty), (None, false));
}

#[test]
fn what_git_said_of_a_state_holds_for_that_state_alone() {
    let project = Project::new();
    project.settle();
    for change in ["clean", "edited", "staged", "back", "removed", "committed", "new"] {
        match change {
            "edited" => project.write("go.mod", "module y"),
            "staged" => project.git(&["add", "go.mod"]),
            "back" => {
                project.git(&["reset", "--quiet", "--hard"]);
            }
            "removed" => fs::remove_file(project.path().join("go.mod")).expect("removed"),
            "committed" => project.commit(),
            "new" => project.write("new", ""),
            _ => {}
        }
        project.settle();
        let dirty = !matches!(change, "clean" | "back" | "committed");
        // The second answer is the one that was kept.
        assert_eq!([project.head().dirty, project.head().dirty], [dirty; 2], "{change}");
    }
}

#[test]
fn trees_that_are_refused() {
    let project = Project::new();
    symlink("../../outside", project.path().join("cmd/link")).expect("link");
    project.commit();
    let failure = project.refusal();
    assert_eq!(failure.code, "git.unsafe_tree");
    assert_eq!(
        failure.message,
        "the work tree cannot be used: the symbolic link `cmd/link` leads out of the tree, \
         to `../../outside`"
    );
    project.git(&["rm", "--quiet", "--force", "cmd/link"]);
    project.write("Cmd/other.go", "");
    let failure = project.refusal();
    assert_eq!(failure.code, "git.unsafe_tree");
    assert_eq!(
        failure.message,
        "`Cmd` and `cmd` are one name where case or Unicode form is not told apart"
    );
    fs::remove_dir_all(project.path().join("Cmd")).expect("remove");
    project.write("caf\u{e9}", "");
    project.write("cafe\u{301}", "");
    assert_eq!(project.refusal().code, "git.unsafe_tree");
}

#[test]
fn what_a_link_hides_is_gone() {
    let project = Project::new();
    let elsewhere = tempfile::tempdir().expect("directory");
    fs::write(elsewhere.path().join("main.go"), "secret").expect("write");
    fs::remove_dir_all(project.path().join("cmd")).expect("remove");
    symlink(elsewhere.path(), project.path().join("cmd")).expect("link");
    // Not even where a pattern leaves the link itself out.
    let tree = project.snapshot(&["cmd/*.go", "go.mod"]);
    assert_eq!(project.paths(tree), ["go.mod"]);
}

#[test]
fn the_environment_and_hooks_of_the_user_are_not_used() {
    let project = Project::new();
    let mark = project.path().join("ran");
    let script = project.path().join(".git/monitor");
    fs::write(&script, format!("#!/bin/sh\ntouch '{}'\n", mark.display())).expect("write");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("mode");
    project.git(&["config", "core.fsmonitor", script.to_str().expect("UTF-8")]);
    project.snapshot(&[]);
    project.head();
    assert!(!mark.exists());
}
