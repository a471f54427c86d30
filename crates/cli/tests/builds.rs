//! Builds and suites without a cluster: what they may, what they leave, and
//! what is said when they misbehave. These tests need root, git, Go and
//! util-linux, and no components.

#[path = "builds/account.rs"]
mod account;
#[path = "builds/bases.rs"]
mod bases;
#[path = "support/clones.rs"]
mod clones;
#[path = "support/command_lines.rs"]
mod command_lines;
#[path = "builds/dockerfile.rs"]
mod dockerfile;
#[path = "support/events.rs"]
mod events;
#[path = "support/files.rs"]
mod files;
#[path = "builds/full.rs"]
mod full;
#[path = "support/ids.rs"]
mod ids;
#[path = "builds/keys.rs"]
mod keys;
#[path = "builds/languages.rs"]
mod languages;
#[path = "builds/locks.rs"]
mod locks;
#[path = "support/owned.rs"]
mod owned;
#[path = "support/processes.rs"]
mod processes;
#[path = "builds/retries.rs"]
mod retries;
#[path = "builds/storage.rs"]
mod storage;
mod support;
#[path = "builds/together.rs"]
mod together;
#[path = "builds/untrusted.rs"]
mod untrusted;

use std::io::Write as _;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use command_lines::processes_with;
use events::{events, failures_of};
use insta::assert_snapshot;
use nix::sys::signal::Signal;
use processes::{send, start, wait_for};
use serde_json::Value;
use support::{Project, Ran};

/// How long what takes milliseconds may take on a busy machine.
const SOON: Duration = Duration::from_secs(20);

/// A project whose one build is `script`.
fn build(script: &str) -> Project {
    build_with("", script)
}

/// The same, with other fields of the build.
fn build_with(fields: &str, script: &str) -> Project {
    root();
    let script = script.replace('\n', "\n      ");
    let yaml = format!("seatrial: 1\nbuilds:\n  b:\n    {fields}\n    run: |\n      {script}\n");
    Project::new(&[("seatrial.yaml", &yaml)])
}

/// A project whose one suite runs `script` by an adapter.
fn suite(adapter: &str, script: &str) -> Project {
    root();
    let script = script.replace('\n', "\n      ");
    let yaml =
        format!("seatrial: 1\nsuites:\n  s:\n    adapter: {adapter}\n    run: |\n      {script}\n");
    Project::new(&[("seatrial.yaml", &yaml)])
}

fn failures(project: &Project, arguments: &[&str]) -> String {
    failures_of(&project.run(&[arguments, &["--format", "json"]].concat()))
}

fn root() {
    assert!(nix::unistd::geteuid().is_root(), "these tests need root: they run sandboxes");
}

/// Name, digest and whether it was there, of every action of a run.
fn made(ran: &Ran) -> Vec<(String, String, bool)> {
    let planned = events(ran, "planned").pop().expect("a plan");
    let of = |event: &Value| {
        let outcome = &event["outcome"];
        let node = usize::try_from(event["node"].as_u64()?).ok()?;
        let name = planned["nodes"][node]["name"].as_str()?.to_owned();
        Some((name, outcome["output"].as_str()?.to_owned(), outcome["hit"].as_bool()?))
    };
    events(ran, "node-finished").iter().filter_map(of).collect()
}

const GO_TESTS: &str = r#"package unit

import (
	"os"
	"testing"
	"time"
)

func TestPasses(t *testing.T) {}

func TestFails(t *testing.T) {
	t.Log("before")
	if os.Getenv("GREEN") == "" {
		t.Fatal("the answer is 41")
	}
}

func TestSkips(t *testing.T) { t.Skip("not today") }

func TestHasParts(t *testing.T) {
	t.Run("one", func(t *testing.T) {})
	t.Run("two <&> ]]>", func(t *testing.T) {
		if os.Getenv("GREEN") == "" {
			t.Error("\x1b]0;title\x07 two\xff is wrong")
		}
	})
}

func TestHangs(t *testing.T) {
	if os.Getenv("HANG") != "" {
		time.Sleep(time.Hour)
	}
}
"#;

const GO: &str = r#"seatrial: 1
builds:
  tests:
    tools: [go]
    env: { CGO_ENABLED: "0" }
    inputs: [go.mod, "*.go"]
    run: |
      go test -c -o "$OUT/unit.test" .
      printf 'not a program' > "$OUT/text.test"
      printf '#!/bin/sh\necho hi\n' > "$OUT/script.test"
      chmod +x "$OUT/text.test" "$OUT/script.test"
suites:
  green: { build: tests, adapter: go, files: [unit.test], env: { GREEN: "1" } }
  red: { build: tests, adapter: go, files: [unit.test] }
  hangs: { build: tests, adapter: go, files: [unit.test], select: [Hangs, Passes], test-timeout: 1s, env: { HANG: "1" } }
  none: { build: tests, adapter: go, files: [unit.test], select: [TestGone] }
  no-program: { build: tests, adapter: go, files: ["*.exe"] }
  text: { build: tests, adapter: go, files: [text.test] }
  script: { build: tests, adapter: go, files: [script.test] }
"#;

#[test]
fn go_tests_from_a_work_tree_to_a_verdict() {
    root();
    let project = Project::new(&[
        ("seatrial.yaml", GO),
        ("go.mod", "module example.org/unit\n\ngo 1.24\n"),
        ("unit_test.go", GO_TESTS),
    ]);
    // Green, and a second time nothing is made.
    let green = project.run(&["run", "green"]);
    assert_eq!(green.code, 0, "{}", green.text());
    assert!(green.stderr.contains("passed: 5 tests"), "{}", green.stderr);
    let again = project.run(&["run", "green", "--format", "json"]);
    assert_eq!(made(&again).iter().map(|made| made.2).collect::<Vec<_>>(), [true]);

    // Red: the test is named, with what it said, and nothing else is blamed.
    let junit = project.beside("junit.xml").display().to_string();
    let red = project.run(&["run", "red", "--junit", &junit]);
    assert_eq!(red.code, 1, "{}", red.text());
    let blamed = red.stderr.lines().filter_map(|line| line.strip_prefix("FAIL  "));
    let mut blamed: Vec<_> = blamed.filter_map(|line| line.split("  ").next()).collect();
    blamed.sort_unstable();
    blamed.dedup();
    assert_snapshot!(blamed.join("\n"), @r"
    red/unit.test TestFails
    red/unit.test TestHasParts
    red/unit.test TestHasParts/two_<&>_]]>
    ");
    assert!(red.stderr.contains("the answer is 41"), "{}", red.stderr);
    // A report that cannot be written is told before anything is run.
    let unwritable = project.run(&["run", "green", "--junit", "/nowhere/junit.xml"]);
    assert_snapshot!(unwritable.text(), @r"
    error[cli.junit]: cannot write the JUnit report /nowhere/junit.xml: No such file or directory (os error 2)
    hint: name a file in a directory that exists
    exit code 2
    ");
    assert!(!red.stderr.contains(['\x1b', '\x07']), "{:?}", red.stderr);
    let xml = std::fs::read_to_string(&junit).expect("written");
    assert_snapshot!(cases(&xml), @r"
    TestPasses:
    TestFails: failure
    TestSkips: skipped
    TestHasParts: failure
    TestHangs:
    TestHasParts/one:
    TestHasParts/two_<&>_]]>: failure
    ");
    let explained = project.run(&["explain"]);
    assert!(explained.stdout.contains("TestFails"), "{}", explained.stdout);
    let log = project.run(&["logs", "latest", "suite/red"]);
    assert!(log.stdout.contains("the answer is 41"), "{}", log.text());

    // One hangs: it is told apart from those that had no fault.
    let hangs = project.run(&["run", "hangs", "--format", "json"]);
    let mut outcomes: Vec<_> = events(&hangs, "test-finished")
        .iter()
        .map(|event| format!("{} {}", event["test"], event["outcome"]))
        .collect();
    outcomes.sort();
    assert_snapshot!(outcomes.join("\n"), @r#"
    "TestHangs" "timed-out"
    "TestPasses" "passed"
    "#);
    assert_eq!(hangs.code, 1);

    // What is no test program, or has no test, is never green.
    assert_snapshot!(failures(&project, &["run", "none"]), @r"
    run.nothing_selected: suite `none` selects none of its 5 tests
    hint: `select` holds regular expressions; a test is run when one of them matches its name
    broken, exit code 2
    ");
    assert_snapshot!(failures(&project, &["run", "no-program"]), @r"
    run.nothing_selected: suite `no-program` has no test program
    hint: `files` must match what the build leaves in `$OUT`
    broken, exit code 2
    ");
    assert_snapshot!(failures(&project, &["run", "text"]), @r"
    suite.not_a_test_program: `text.test` is not a program (Exec format error (os error 8))
    hint: build it with `go test -c` (Go 1.20 or later)
    hint: narrow the suite's `files` to the test programs if it matches others too
    failed, exit code 1
    ");
    assert_snapshot!(failures(&project, &["run", "script"]), @r"
    run.nothing_selected: suite `script` has no tests: its one program lists none
    hint: `select` holds regular expressions; a test is run when one of them matches its name
    broken, exit code 2
    ");

    // A test that does not compile: the compiler's words, and red.
    project.write("unit_test.go", "package unit\n\nfunc Broken( {\n");
    let broken = project.run(&["run", "green"]);
    assert_eq!(broken.code, 1, "{}", broken.text());
    assert!(broken.stderr.contains("unit_test.go:3"), "{}", broken.stderr);
}

/// Cases of a JUnit report and how each ended; the report must be well-formed.
fn cases(xml: &str) -> String {
    use quick_xml::events::Event;
    let mut reader = quick_xml::Reader::from_str(xml);
    let mut text = String::new();
    loop {
        match reader.read_event().expect("well-formed") {
            Event::Eof => break,
            Event::Start(tag) | Event::Empty(tag) => {
                let kind = tag.name().as_ref().to_owned();
                let name = tag.try_get_attribute("name").expect("attributes");
                let name = name.map(|name| {
                    name.normalized_value(quick_xml::XmlVersion::Implicit1_0)
                        .expect("escaped")
                        .into_owned()
                });
                match (kind.as_str(), name) {
                    ("testcase", Some(name)) => text.push_str(&format!("\n{name}:")),
                    ("failure" | "error" | "skipped", _) => text.push_str(&format!(" {kind}")),
                    _ => {}
                }
            }
            _ => {}
        }
    }
    text
}

#[test]
fn a_build_sees_its_inputs_and_nothing_of_the_machine() {
    let project = build(
        "id -u > \"$OUT/uid\"\n\
         grep -E 'CapEff|CapPrm|CapBnd|NoNewPrivs' /proc/self/status > \"$OUT/status\"\n\
         for p in /root /home /run /var /boot /etc/shadow /etc/passwd \"$(cat where)\"; do\n\
         \x20 test ! -e \"$p\" || echo \"$p\"; done > \"$OUT/seen\"\n\
         ls / > \"$OUT/root\"\n\
         ps() { ls -d /proc/[0-9]* | wc -l; }; ps > \"$OUT/processes\"\n\
         cat /proc/net/dev | grep : | cut -d: -f1 > \"$OUT/links\"",
    );
    project.write("where", project.state().display().to_string());
    let ran = project.run(&["build"]);
    assert_eq!(ran.code, 0, "{}", ran.text());
    let out = output(&project);
    assert_ne!(out("uid"), "0");
    assert_snapshot!(out("status"), @r"
    CapPrm:	0000000000000000
    CapEff:	0000000000000000
    CapBnd:	0000000000000000
    NoNewPrivs:	1
    ");
    assert_snapshot!(out("seen"), @"/etc/passwd");
    assert_snapshot!(out("root"), @r"
    bin
    dev
    etc
    lib
    lib64
    out
    proc
    sbin
    tmp
    usr
    work
    ");
    assert_snapshot!(out("links"), @"    lo");
    let processes: u32 = out("processes").parse().expect("a number");
    assert!(processes < 8, "{processes} processes are seen");
}

/// Reads files of the artifact that the one build of a project made.
fn output(project: &Project) -> impl Fn(&str) -> String {
    let ran = project.run(&["build", "--format", "json"]);
    let (_, digest, hit) = made(&ran).pop().unwrap_or_else(|| panic!("{}", ran.text()));
    assert!(hit, "it was made before");
    let hex = digest.strip_prefix("sha256:").expect("a digest").to_owned();
    let tree = project.state().join("trees").join(hex).join("root");
    move |name| std::fs::read_to_string(tree.join(name)).expect("made").trim_end().to_owned()
}

#[test]
fn equal_inputs_are_equal_artifacts_in_another_directory() {
    root();
    let project = || {
        let yaml = "seatrial: 1\n\
             builds:\n\
             \x20 b: { run: 'pwd > $OUT/pwd; cp -r dir run.sh $OUT/; touch $OUT/now' }\n\
             images:\n\
             \x20 i: { files: [{ build: b, path: ., to: /data }] }\n\
             \x20 j: { base: { image: i }, files: [{ path: dir, to: /other }], config: { user: '1' } }\n";
        Project::new(&[("seatrial.yaml", yaml), ("dir/file", "x"), ("run.sh", "#!/bin/sh\n")])
    };
    let digests = |project: &Project| {
        let ran = project.run(&["build", "--format", "json"]);
        assert_eq!(ran.code, 0, "{}", ran.text());
        made(&ran).into_iter().map(|(name, digest, _)| (name, digest)).collect::<Vec<_>>()
    };
    let (one, two) = (project(), project());
    let first = digests(&one);
    assert_eq!(
        first.iter().map(|made| &made.0).collect::<Vec<_>>(),
        ["build/b", "image/i", "image/j"]
    );
    assert_eq!(first, digests(&two));
    assert_ne!(one.dir(), two.dir());

    // Content counts, not time; a change is built, also one that is not committed.
    two.write("dir/file", "x");
    assert_eq!(first, digests(&two));
    two.write("dir/file", "y");
    let changed = digests(&two);
    assert!(first.iter().zip(&changed).all(|(a, b)| a.1 != b.1), "{first:?} {changed:?}");
}

#[test]
fn a_build_that_fails_is_told_with_its_last_lines() {
    let project = build("echo first; echo second >&2; exit 3");
    assert_snapshot!(failures(&project, &["build"]), @r"
    build.failed: it ended with exit code 3
    | first
    | second
    failed, exit code 1
    ");
    // A failure is not kept: it is tried again.
    assert_snapshot!(failures(&project, &["build"]), @r"
    build.failed: it ended with exit code 3
    | first
    | second
    failed, exit code 1
    ");
    let ran = project.run(&["build"]);
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("second"), "{}", ran.stderr);
    assert_snapshot!(project.run(&["logs", "latest", "build/b"]).text(), @r"
    first
    second
    exit code 0
    ");
    let unknown = project.run(&["logs", "latest", "build/c"]).stderr;
    assert!(unknown.ends_with(" has no node `build/c`\nhint: it has: build/b\n"), "{unknown}");
    // Undefined variables and the middle of a pipe count, too.
    assert_snapshot!(failures(&build("false | true"), &["build"]), @r"
    build.failed: it ended with exit code 1
    failed, exit code 1
    ");
    assert_snapshot!(failures(&build("echo $UNDEFINED"), &["build"]), @r"
    build.failed: it ended with exit code 1
    | bash: line 1: UNDEFINED: unbound variable
    failed, exit code 1
    ");
}

#[test]
fn a_build_writes_to_its_output_and_nowhere_else() {
    assert_snapshot!(failures(&build("echo x > evil"), &["build"]), @r"
    build.failed: it ended with exit code 1
    | bash: line 1: evil: Read-only file system
    hint: a command can write only to $OUT, $TMPDIR and its caches; the project's files are read-only
    failed, exit code 1
    ");
    assert_snapshot!(failures(&build("echo x > /usr/bin/evil"), &["build"]), @r"
    build.failed: it ended with exit code 1
    | bash: line 1: /usr/bin/evil: Read-only file system
    hint: a command can write only to $OUT, $TMPDIR and its caches; the project's files are read-only
    failed, exit code 1
    ");
    assert_snapshot!(failures(&build("rm seatrial.yaml"), &["build"]), @r"
    build.failed: it ended with exit code 1
    | rm: cannot remove 'seatrial.yaml': Read-only file system
    hint: a command can write only to $OUT, $TMPDIR and its caches; the project's files are read-only
    failed, exit code 1
    ");
    assert!(!Path::new("/usr/bin/evil").exists());
    // Links in the output that lead out are not followed into the store.
    assert_snapshot!(failures(&build("ln -s /etc/passwd \"$OUT/x\""), &["build"]), @r"
    archive.link_escape: the symbolic link `x` leads out of the tree, to `/etc/passwd`
    failed, exit code 1
    ");
    assert_snapshot!(failures(&build("mkfifo \"$OUT/x\""), &["build"]), @r"
    archive.forbidden_type: `x` is a pipe; a tree holds files, directories and symbolic links
    failed, exit code 1
    ");
}

#[test]
fn outputs_that_are_not_there_are_told_with_what_is() {
    let project = build_with("outputs: [server, '*.test']", "touch $OUT/servers $OUT/a.test");
    assert_snapshot!(failures(&project, &["build"]), @r"
    build.output_missing: nothing in $OUT matches `server` of `outputs:`
    hint: it has: a.test, servers
    failed, exit code 1
    ");
    let project = build_with("outputs: [server]", "true");
    assert_snapshot!(failures(&project, &["build"]), @r"
    build.output_missing: nothing in $OUT matches `server` of `outputs:`
    hint: it has no file
    failed, exit code 1
    ");
}

#[test]
fn a_build_that_takes_too_long_is_ended_with_all_that_it_started() {
    let project =
        build_with("timeout: 1s", "echo waiting\nsetsid sleep 71077345 &\nsleep 71077345");
    assert_snapshot!(failures(&project, &["build"]), @r"
    build.timed_out: it took longer than 1.0 s
    | waiting
    hint: give it a longer `timeout:`
    failed, exit code 1
    ");
    assert_eq!(processes_with("71077345"), Vec::<String>::new());
}

#[test]
fn a_daemon_that_a_build_leaves_is_ended_and_told() {
    // The build waits until its daemon has the name that is told.
    let script = "setsid sleep 71077346 < /dev/null > /dev/null 2>&1 &\n\
         until grep -qx sleep /proc/[0-9]*/comm; do :; done\ntouch $OUT/x";
    let project = build(script);
    let ran = project.run(&["build"]);
    assert_eq!(ran.code, 0, "{}", ran.text());
    assert_eq!(processes_with("71077346"), Vec::<String>::new());
    let warning = ran.stderr.lines().find(|line| line.starts_with("warn")).expect("told");
    assert_snapshot!(warning, @"warn  build/b: it left processes behind, which were ended: sleep");
    // One that holds the output open holds nothing up, either.
    let project = build("setsid sleep 71077347 &\ntouch $OUT/x");
    let began = Instant::now();
    assert_eq!(project.run(&["build"]).code, 0);
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    assert_eq!(processes_with("71077347"), Vec::<String>::new());
}

#[test]
fn memory_has_an_end() {
    let script = "x=$(head -c 300M /dev/zero | tr '\\0' x)";
    let project = build_with("resources: { memory: 64Mi }", script);
    let told = failures(&project, &["build"]);
    assert_eq!(
        told.lines().next(),
        Some("build.out_of_memory: it needed more than the 64.0 MiB that it has")
    );
    assert!(told.ends_with("failed, exit code 1\n"), "{told}");
}

/// Runs the command with its state directory on a file system of `size` that
/// nobody else sees and that goes with it.
fn on_a_disk_of(project: &Project, size: &str, arguments: &[&str]) -> Ran {
    std::fs::create_dir_all(project.state()).expect("a directory");
    let mut command = Command::new("unshare");
    let script = "mount -t tmpfs -o size=\"$1\" none \"$2\" && shift 2 && exec \"$@\"";
    command
        .args(["--mount", "sh", "-c", script, "sh", size])
        .arg(project.state())
        .arg(env!("CARGO_BIN_EXE_seatrial"))
        .args(arguments)
        .env("SEATRIAL_STATE_DIR", project.state())
        .current_dir(project.dir());
    project.finish(&mut command)
}

#[test]
fn a_build_that_fills_the_disk_is_stopped_before_all_else_fails() {
    let project = build("cat /dev/zero > $OUT/zero");
    let ran = on_a_disk_of(&project, "1300m", &["build", "--format", "json"]);
    assert_snapshot!(failures_of(&ran), @r"
    build.disk_full: the command filled the disk
    hint: it was stopped when less than 512 MiB were free
    broken, exit code 3
    ");
    let project = suite("exec", "true");
    assert_snapshot!(on_a_disk_of(&project, "512m", &["run"]).text(), @r"
    error[server.data_dir]: state directory [DIR]/state: 512 MiB are free, at least 1024 MiB are needed
    hint: make room on that disk, or use another with --state-dir
    exit code 3
    ");
}

#[test]
fn what_a_build_prints_is_kept_up_to_a_limit_and_only_text() {
    let project = build("head -c 100M /dev/zero | tr '\\0' x\necho the end\ntouch $OUT/x");
    let ran = project.run(&["build"]);
    assert_eq!(ran.code, 0, "{}", ran.text());
    let log = project.run(&["logs", "latest", "build/b"]).stdout;
    assert!(log.len() < 65 << 20, "{} bytes", log.len());
    // Its beginning and its end, and what is missing between them.
    let between: Vec<_> = log.lines().map(|line| line.trim_start_matches('x')).collect();
    assert_snapshot!(between.join("\n").trim(), @r"
    [37748744 bytes before this are not kept]
    the end
    ");

    let script = "printf 'bytes \\xff\\xfe here\\n'\n\
         printf '\\033]52;c;ZXZpbA==\\007clipboard\\n'\n\
         printf '\\033]8;;javascript:alert(1)\\033\\\\link\\033]8;;\\033\\\\\\n'\n\
         printf '\\033[2J\\033[1;1Hhome \\033[31mred\\033[0m\\n'\n\
         printf '::set-env name=PATH::/evil\\n##[group]x\\n'\n\
         exit 1";
    let project = build(script);
    let ran = project.run(&["build"]);
    assert_eq!(ran.code, 1);
    let shown: Vec<_> = ran.stderr.lines().filter(|line| line.contains("bytes")).collect();
    assert_snapshot!(shown.join("\n"), @"      | bytes �� here");
    assert!(!ran.stderr.contains(['\x1b', '\x07']), "{:?}", ran.stderr);
    assert!(ran.stderr.contains("::set-env name=PATH::/evil"), "{}", ran.stderr);
    // As it came for a program, inert for a person.
    let raw = project.command(&["logs", "latest", "build/b"]).output().expect("it starts").stdout;
    assert!(raw.starts_with(b"bytes \xff\xfe here\n\x1b]52;"), "{raw:?}");
    let shown = on_a_terminal(&project, "logs latest build/b");
    assert!(!shown.contains("\x1b]") && !shown.contains("\x1b[2J"), "{shown:?}");
    assert!(shown.contains("clipboard") && shown.contains("\x1b[31mred"), "{shown:?}");
}

/// What the command writes to a terminal.
fn on_a_terminal(project: &Project, arguments: &str) -> String {
    let mut script = Command::new("script");
    script
        .args(["--quiet", "--return", "--command"])
        .arg(format!("{} {arguments}", env!("CARGO_BIN_EXE_seatrial")))
        .arg("/dev/null")
        .env("SEATRIAL_STATE_DIR", project.state())
        .current_dir(project.dir())
        .stdin(Stdio::null());
    project.finish(&mut script).stdout
}

#[test]
fn a_tool_that_is_not_there_breaks_only_what_needs_it() {
    root();
    let yaml = "seatrial: 1\n\
         builds:\n\
         \x20 a: { tools: [no-such-tool], run: no-such-tool }\n\
         \x20 b: { run: touch $OUT/x }\n";
    let project = Project::new(&[("seatrial.yaml", yaml)]);
    assert_eq!(project.run(&["build", "b"]).code, 0);
    assert_snapshot!(failures(&project, &["build", "a"]), @r"
    tool.missing: the tool `no-such-tool` is not on this machine's PATH
    hint: install `no-such-tool`, or take it out of `tools:` when nothing needs it
    broken, exit code 3
    ");
    // Not declared, not found.
    assert_snapshot!(failures(&build("go version"), &["build"]), @r"
    build.failed: it ended with exit code 127
    | bash: line 1: go: command not found
    hint: a shell says 127 when it does not find a program: name it in `tools:`
    failed, exit code 1
    ");
}

#[test]
fn the_network_is_reached_by_who_asks_for_it() {
    let server = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = server.local_addr().expect("bound").port();
    std::thread::spawn(move || {
        for stream in server.incoming() {
            let _ = stream.and_then(|mut stream| stream.write_all(b"hi\n"));
        }
    });
    let script = format!("cat < /dev/tcp/127.0.0.1/{port} > $OUT/answer");
    let project = build(&script);
    assert_snapshot!(failures(&project, &["build"]).replace(&port.to_string(), "PORT"), @r"
    build.failed: it ended with exit code 1
    | bash: connect: Connection refused
    | bash: line 1: /dev/tcp/127.0.0.1/PORT: Connection refused
    failed, exit code 1
    ");
    let project = build_with("network: true", &script);
    let ran = project.run(&["build"]);
    assert_eq!(ran.code, 0, "{}", ran.text());
}

#[test]
fn what_is_fetched_is_there_read_only() {
    let project = build_with(
        "fetch: { inputs: [seatrial.yaml], run: echo it > $OUT/it }",
        "cp $FETCHED/it $OUT/; if echo x > $FETCHED/it; then exit 9; fi; chmod u+w $OUT/it",
    );
    let ran = project.run(&["build", "--format", "json"]);
    assert_eq!(ran.code, 0, "{}", failures_of(&ran));
    let names: Vec<_> = made(&ran).into_iter().map(|made| made.0).collect();
    assert_snapshot!(names.join(" "), @"fetch/b build/b");
}

#[test]
fn commands_as_tests() {
    let passing = suite("exec", "echo fine");
    let ran = passing.run(&["run"]);
    assert_eq!(ran.code, 0, "{}", ran.text());
    let failing = suite("exec", "echo expected 1 replica, found 0; exit 7");
    let ran = failing.run(&["run"]);
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("expected 1 replica, found 0"), "{}", ran.stderr);
    assert_eq!(passing.run(&["run", "--format", "json", "s"]).code, 0);
    // A test sees as little of the machine as a build.
    let curious = suite("exec", "test $(id -u) != 0 && test ! -e /root && ! touch /tests/x");
    let ran = curious.run(&["run"]);
    assert_eq!(ran.code, 0, "{}", ran.text());
}

#[test]
fn reports_of_strangers_are_not_believed_blindly() {
    let report = |xml: &str, code: u32| {
        let project = suite("junit", &format!("cat > \"$JUNIT\" <<'END'\n{xml}\nEND\nexit {code}"));
        failures(&project, &["run"])
    };
    let case = |name: &str, inner: &str| format!("<testcase name='{name}'>{inner}</testcase>");
    let suite = |cases: &str| format!("<testsuite name='s'>{cases}</testsuite>");
    assert_snapshot!(report(&suite(&case("a", "")), 0), @"passed, exit code 0");
    assert_snapshot!(report(&suite(&case("a", "")), 1), @r"
    report.contradiction: `s` contradicts itself: no test failed, and its end says that it failed (exit code 1)
    failed, exit code 1
    ");
    assert_snapshot!(report(&suite(&case("a", "<failure/>")), 0), @r"
    report.contradiction: `s` contradicts itself: a test failed, and its exit code says that none did
    failed, exit code 1
    ");
    assert_snapshot!(report(&suite(&case("a", "<failure/>")), 1), @"failed, exit code 1");
    assert_snapshot!(report(&suite(""), 0), @r"
    report.bad_xml: the report of `s` has no test cases (exit code 0)
    hint: a report is JUnit XML in UTF-8, without a document type
    failed, exit code 1
    ");
    assert_snapshot!(report(&suite(&[case("a", ""), case("a", "<failure/>")].concat()), 1), @r"
    report.ambiguous: `a` of `s` is in the report twice
    hint: each test must have a name of its own and one result
    failed, exit code 1
    ");
    let entities =
        "<!DOCTYPE x [<!ENTITY a SYSTEM 'file:///etc/passwd'>]>\n<testsuite>&a;</testsuite>";
    assert_snapshot!(report(entities, 0), @r"
    report.bad_xml: the report of `s` has a document type, at byte 0 (exit code 0)
    hint: a report is JUnit XML in UTF-8, without a document type
    failed, exit code 1
    ");
    assert_snapshot!(report("<testsuite", 0), @r"
    report.bad_xml: the report of `s` is not XML at byte 0: syntax error: tag not closed: `>` not found before end of input (exit code 0)
    hint: a report is JUnit XML in UTF-8, without a document type
    failed, exit code 1
    ");
    let link = self::suite("junit", "ln -s /etc/hostname \"$JUNIT\"");
    assert_snapshot!(failures(&link, &["run"]), @r"
    report.missing: `s` left no report (exit code 0)
    hint: it must write JUnit XML to the file that $JUNIT names
    failed, exit code 1
    ");
}

#[test]
fn a_base_image_is_what_its_digest_says() {
    root();
    let digest = |text: &str| hex(text);
    let config =
        r#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}"#;
    let manifest = format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:{}","size":{}}},"layers":[]}}"#,
        digest(config),
        config.len(),
    );
    let index = format!(
        r#"{{"schemaVersion":2,"manifests":[{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:{}","size":{}}}]}}"#,
        digest(&manifest),
        manifest.len(),
    );
    let yaml = "seatrial: 1\n\
         images:\n\
         \x20 good: { base: { layout: base }, files: [{ path: seatrial.yaml, to: /x }] }\n\
         \x20 gone: { base: 'localhost:1/x@sha256:0000000000000000000000000000000000000000000000000000000000000000' }\n\
         \x20 none: { base: { layout: nowhere } }\n";
    let project = Project::new(&[
        ("seatrial.yaml", yaml),
        ("base/oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#),
        ("base/index.json", &index),
        (&format!("base/blobs/sha256/{}", digest(&manifest)), &manifest),
        (&format!("base/blobs/sha256/{}", digest(config)), config),
    ]);
    assert_snapshot!(failures(&project, &["build", "good"]), @"passed, exit code 0");
    assert_snapshot!(failures(&project, &["build", "none"]), @r"
    error[source.no_match]: no file of the project matches nowhere, nowhere/**
    hint: ignored files are not part of a project (`git check-ignore -v PATH`)
    exit code 2
    ");
    assert_snapshot!(failures(&project, &["build", "gone"]), @r"
    image.pull: cannot pull localhost:1/x: http://localhost:1/v2/x/manifests/sha256:0000000000000000000000000000000000000000000000000000000000000000: io: Connection refused (os error 111)
    broken, exit code 3
    ");
    let other = config.replace("amd64", "amd65");
    project.write(&format!("base/blobs/sha256/{}", digest(config)), other);
    std::fs::remove_dir_all(project.state()).expect("removed");
    assert_snapshot!(failures(&project, &["build", "good"]), @r"
    cas.digest_mismatch: the configuration of the base image: content is sha256:20a392c24be2ca7d9dd173c63d47377df8a78dd03c8cbc489e00cbb91cb80c90, not sha256:c5b1d63604f273462ef36fadac3182d43ae6a6138731cf594b314835cf1c034f
    broken, exit code 2
    ");
}

fn hex(text: &str) -> String {
    let mut child = Command::new("sha256sum")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("coreutils");
    child.stdin.take().expect("a pipe").write_all(text.as_bytes()).expect("written");
    let output = child.wait_with_output().expect("it ends");
    String::from_utf8_lossy(&output.stdout[..64]).into_owned()
}

#[test]
fn ctrl_c_ends_a_build_with_all_that_it_started() {
    let project = build("setsid sleep 71077348 &\nsleep 71077348");
    let child = start(&mut project.command(&["build"]));
    wait_for("sleep", SOON, || match processes_with("sleep 71077348").len() {
        n if n >= 2 => Ok(()),
        n => Err(n),
    });
    send(child.id(), Signal::SIGINT);
    let ran = project.ran(&child.wait_with_output().expect("it ends"));
    assert_eq!(ran.code, 130, "{}", ran.text());
    assert_eq!(processes_with("sleep 71077348"), Vec::<String>::new());
    assert!(ran.stderr.contains("interrupted (Ctrl-C)"), "{}", ran.stderr);
    let runs = project.run(&["runs"]);
    assert!(runs.stdout.contains("cancelled"), "{}", runs.stdout);
    let explained = project.run(&["explain"]);
    assert!(explained.stdout.contains("cancelled"), "{}", explained.stdout);
}

#[test]
fn a_run_that_was_killed_leaves_no_process_and_the_next_goes_on() {
    let project = build("sleep 71077349");
    let child = start(&mut project.command(&["build"]));
    wait_for("sleep", SOON, || match processes_with("sleep 71077349").len() {
        0 => Err("no sleep"),
        _ => Ok(()),
    });
    send(child.id(), Signal::SIGKILL);
    let ran = project.ran(&child.wait_with_output().expect("it ends"));
    assert_eq!(ran.code, -9);
    wait_for("end", SOON, || match processes_with("sleep 71077349") {
        left if left.is_empty() => Ok(()),
        left => Err(left),
    });
    // Recorded, without a verdict, and never as passed.
    let runs = project.run(&["runs"]);
    assert!(!runs.stdout.contains("passed"), "{}", runs.stdout);
    assert_eq!(project.run(&["explain"]).code, 0);
    project.write("seatrial.yaml", "seatrial: 1\nbuilds: { b: { run: touch $OUT/x } }\n");
    let next = project.run(&["build"]);
    assert_eq!(next.code, 0, "{}", next.text());
}
