//! A state directory that runs out of something: bytes, inodes, the right to
//! write, open files. Whatever runs out and when, it is said what, nothing is
//! left half done, and with room again the same command does its work.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use insta::assert_snapshot;

use super::root;
use crate::support::{Project, Ran};

/// A mount namespace of its own with a small file system as the state directory
/// of a project. Both end with the process in it, and that with this one.
struct Small<'a> {
    project: &'a Project,
    child: Child,
}

impl<'a> Small<'a> {
    fn new(project: &'a Project, options: &str) -> Self {
        let script = r#"mount --types tmpfs --options "$1" tmpfs "$0" && echo ready && exec cat"#;
        std::fs::create_dir_all(project.state()).expect("a directory");
        let mut child = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "sh", "-c", script])
            .arg(project.state())
            .arg(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("util-linux");
        let mut line = String::new();
        let out = child.stdout.take().expect("a pipe");
        BufReader::new(out).read_line(&mut line).expect("it answers");
        assert_eq!(line, "ready\n");
        Self { project, child }
    }

    /// A command of the project, in there and after `before`.
    fn command(&self, before: &[&str], command: &Command) -> Command {
        let mut inside = Command::new("nsenter");
        let target = format!("--target={}", self.child.id());
        inside.args(["--mount", &target, "env", "-C"]).arg(self.project.dir()).args(before);
        inside.arg(command.get_program()).args(command.get_args()).stdin(Stdio::null()).env_clear();
        for (name, value) in command.get_envs() {
            inside.env(name, value.expect("it is set"));
        }
        inside
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        self.run_after(&[], arguments)
    }

    fn run_after(&self, before: &[&str], arguments: &[&str]) -> Ran {
        let ran = self.command(before, &self.project.command(arguments));
        let ran = self.project.finish(&mut { ran });
        assert!(!ran.stderr.contains("panicked"), "{}", ran.text());
        ran
    }

    /// Runs a line of shell in there, in the state directory.
    fn sh(&self, script: &str) {
        let mut command = Command::new("sh");
        command.args(["-euc", &format!("cd \"$0\"; {script}")]).arg(self.project.state());
        command.env("PATH", std::env::var_os("PATH").expect("PATH"));
        let ran = self.project.finish(&mut self.command(&[], &command));
        assert_eq!(ran.code, 0, "{}", ran.text());
    }

    fn remount(&self, options: &str) {
        let dir = self.project.state();
        self.sh(&format!("cd /; mount --options remount,{options} {}", dir.display()));
    }

    /// With room again: nothing is damaged, and the build is made.
    fn recovers(&self, what: &str) {
        let scrubbed = self.run(&["scrub"]);
        assert_eq!(scrubbed.code, 0, "{what}: {}", scrubbed.text());
        assert!(scrubbed.stdout.ends_with(" sound, 0 damaged\n"), "{what}: {}", scrubbed.text());
        let ran = self.run(&["build"]);
        assert_eq!(ran.code, 0, "{what}: {}", ran.text());
        let scrubbed = self.run(&["scrub"]);
        assert!(scrubbed.stdout.ends_with(" sound, 0 damaged\n"), "{what}: {}", scrubbed.text());
    }
}

impl Drop for Small<'_> {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// A build that uses up what it can, once, but for `leave` KiB; and an image.
fn filling(leave: u32) -> Project {
    root();
    let yaml = format!(
        r#"seatrial: 1
builds:
  b:
    caches: [c]
    run: |
      head -c 300000 /dev/urandom > $OUT/b
      cache=/cache/c
      test -e $cache/fill && exit
      free=$(($(stat -f -c %a $cache) * $(stat -f -c %S $cache)))
      fallocate -l $((free - {leave} * 1024)) $cache/fill
images:
  i: {{ files: [{{ build: b, path: b, to: /b }}] }}
"#
    );
    Project::new(&[("seatrial.yaml", &yaml)])
}

fn plain() -> Project {
    root();
    Project::new(&[(
        "seatrial.yaml",
        r#"seatrial: 1
builds:
  b: { run: "mkdir $OUT/d; echo b > $OUT/d/b" }
images:
  i: { files: [{ build: b, path: d, to: /d }] }
"#,
    )])
}

/// That it went wrong, and that one can see what to do.
fn is_told(ran: &Ran, what: &str) {
    assert!(ran.code == 3 || ran.code == 4, "{what}: {}", ran.text());
    assert!(ran.stderr.contains("hint"), "{what}: {}", ran.text());
}

#[test]
fn a_disk_that_gets_full() {
    for leave in [0, 400] {
        let project = filling(leave);
        let small = Small::new(&project, "size=1100m");
        let ran = small.run(&["build"]);
        // What little there is to keep fits into what is left, when nobody has
        // looked at the disk before the command ended.
        if ran.code != 0 || leave == 0 {
            is_told(&ran, &format!("{leave} KiB"));
        }
        small.sh("find . -name fill -exec truncate -s 0 {} +");
        small.recovers(&format!("{leave} KiB"));
    }
}

#[test]
fn a_disk_that_is_full_to_begin_with() {
    let project = plain();
    let small = Small::new(&project, "size=1100m");
    small.sh("fallocate -l 500M fill");
    assert_snapshot!(small.run(&["build"]).text(), @r"
    error[server.data_dir]: state directory [DIR]/state: 600 MiB are free, at least 1024 MiB are needed
    hint: make room on that disk, or use another with --state-dir
    exit code 3
    ");
    small.sh("rm fill");
    small.recovers("full");
}

#[test]
fn a_file_system_without_inodes() {
    for left in [0, 1, 2, 4, 7, 10, 14, 20, 30, 40] {
        let project = plain();
        let small = Small::new(&project, "size=2g,nr_inodes=500");
        small.sh(&format!(
            "mkdir fill; n=$(($(stat -f -c %d .) - {left})); seq $n | sed s,^,fill/, | xargs -r touch"
        ));
        let ran = small.run(&["build"]);
        if ran.code != 0 {
            is_told(&ran, &format!("{left} inodes"));
        }
        assert!(ran.code != 0 || left > 10, "{left} inodes: {}", ran.text());
        small.sh("rm -r fill");
        small.recovers(&format!("{left} inodes"));
    }
}

#[test]
fn a_file_system_that_is_read_only() {
    let project = plain();
    let small = Small::new(&project, "size=2g");
    small.remount("ro");
    let refused = small.run(&["build"]).text();
    assert_snapshot!(refused, @r"
    error[server.data_dir]: state directory [DIR]/state: it is not writable (read-only file system)
    hint: make that disk writable (`dmesg` may say why it is not), or use another with --state-dir
    exit code 3
    ");
    small.remount("rw");
    small.recovers("new");
    small.remount("ro");
    // The same when something is there already, also for who only looks.
    for command in ["build", "runs"] {
        assert_eq!(small.run(&[command]).text(), refused, "{command}");
    }
    small.remount("rw");
    small.recovers("used");
}

#[test]
fn a_process_that_may_open_few_files() {
    let project = plain();
    let small = Small::new(&project, "size=2g");
    for files in [4, 6, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 50, 64] {
        project.write("n", files.to_string());
        let limit = format!("--nofile={files}");
        let ran = small.run_after(&["prlimit", &limit], &["build"]);
        if ran.code != 0 {
            is_told(&ran, &format!("{files} files"));
        }
        small.recovers(&format!("{files} files"));
    }
}
