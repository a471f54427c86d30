//! A state directory that runs out of something: bytes, inodes, a quota, the
//! right to write, open files. Whatever runs out and when, it is said what, nothing is
//! left half done, and with room again the same command does its work. Some of
//! these tests need loop devices, ext4 and Btrfs in the kernel.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use insta::assert_snapshot;
use nix::sys::signal::Signal;

use super::root;
use crate::owned::process;
use crate::processes::{send, start, wait_for};
use crate::support::{Project, Ran};

const MOUNT: &str = r#"mount --options "loop,$1" "$0.disk" "$0""#;

/// A mount namespace of its own with a small file system as the state directory
/// of a project. Both end with the process in it, and that with this one.
struct Small<'a> {
    project: &'a Project,
    child: Child,
}

impl<'a> Small<'a> {
    /// In memory, with options of tmpfs.
    fn new(project: &'a Project, options: &str) -> Self {
        Self::mounted(project, "mount --types tmpfs --options \"$1\" tmpfs \"$0\"", options)
    }

    /// On a disk: a file of 3 GiB with a hole, made a file system by `make`.
    fn on_disk(project: &'a Project, make: &str, options: &str) -> Self {
        let script =
            format!("truncate -s 3G \"$0.disk\"; {make} \"$0.disk\" > /dev/null 2>&1; {MOUNT}");
        Self::mounted(project, &script, options)
    }

    /// What `script` mounts at `$0`, with `$1`.
    fn mounted(project: &'a Project, script: &str, options: &str) -> Self {
        std::fs::create_dir_all(project.state()).expect("a directory");
        let mut child = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "sh", "-euc"])
            .arg(format!("{script}; echo ready; exec cat"))
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

    /// The same command in the background, and what `script` does in there while
    /// its command waits in `sleep MARK`, which is ended then.
    fn run_while(&self, arguments: &[&str], mark: &str, script: &str) -> Ran {
        let run = start(&mut self.command(&[], &self.project.command(arguments)));
        let mut sleeps = None;
        wait_for("command that waits", Duration::from_secs(60), || {
            sleeps = process(run.id(), "sleep", mark);
            sleeps.map(|_| ()).ok_or("not begun")
        });
        self.sh(script);
        send(sleeps.expect("found"), Signal::SIGTERM);
        let ran = self.project.ran(&run.wait_with_output().expect("it ends"));
        assert!(!ran.stderr.contains("panicked"), "{}", ran.text());
        ran
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

/// The kernel makes a file system read-only when it finds an error in it, also
/// with files open; here it is told that it found one.
#[test]
fn a_file_system_that_becomes_read_only_during_a_build() {
    root();
    let mark = "71077402";
    let yaml = |waits: &str| {
        format!(
            r#"seatrial: 1
builds:
  one: {{ run: "{waits}mkdir $OUT/d; echo b > $OUT/d/b" }}
images:
  i: {{ files: [{{ build: one, path: d, to: /d }}] }}
"#
        )
    };
    for arguments in [&["build"][..], &["build", "one"]] {
        let waits = yaml(&format!("sleep {mark} || true; "));
        let project = Project::new(&[("seatrial.yaml", &waits)]);
        let small = Small::on_disk(&project, "mkfs.ext4 -q", "errors=remount-ro");
        let ran = small.run_while(
            arguments,
            mark,
            r#"disk=$(findmnt --noheadings --output SOURCE --target "$0")
            echo 1 > /sys/fs/ext4/${disk##*/}/trigger_fs_error"#,
        );
        is_told(&ran, "during a build");
        let refused = small.run(&["build"]);
        is_told(&refused, "after it");
        assert!(refused.stderr.contains("read-only file system"), "{}", refused.text());
        // As somebody would mend it.
        small.sh(&format!(
            r#"cd /; umount "$0"; e2fsck -fy "$0.disk" > /dev/null 2>&1 || test $? = 1
            set -- rw; {MOUNT}"#
        ));
        project.write("seatrial.yaml", yaml(""));
        small.recovers("mended");
    }
}

/// Btrfs counts what root writes too.
#[test]
fn a_quota_that_is_used_up() {
    root();
    for kib in [100, 300, 1000, 2000, 3000, 5000, 8000] {
        let project = Project::new(&[(
            "seatrial.yaml",
            r#"seatrial: 1
builds:
  b: { run: "head -c 4000000 /dev/urandom > $OUT/b" }
images:
  i: { files: [{ build: b, path: b, to: /b }] }
"#,
        )]);
        let small = Small::on_disk(&project, "mkfs.btrfs -q", "rw");
        let limit = |limit: &str| {
            small.sh(&format!("btrfs quota enable .; btrfs qgroup limit {limit} ."));
        };
        limit(&format!("{kib}K"));
        let ran = small.run(&["build"]);
        if ran.code != 0 {
            is_told(&ran, &format!("{kib} KiB"));
        }
        assert!(ran.code != 0 || kib > 4000, "{kib} KiB: {}", ran.text());
        limit("none");
        small.recovers(&format!("{kib} KiB"));
    }
}
