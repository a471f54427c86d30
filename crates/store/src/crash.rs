//! The process is killed at every point where something becomes durable: what
//! was acknowledged is there afterwards, and nothing is half there.
//!
//! The one who dies is this test program, started again for one test, which
//! does some of everything that a store does and says each time it was told
//! that it is done. (A killed process loses nothing that the kernel has; that a
//! sync comes before the name it is for is read in `durable`, not shown here.)

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use seatrial_core::digest::Digest;
use seatrial_core::ids::{AttemptId, Epoch, RunId};
use seatrial_core::name::Name;
use uuid::Uuid;

use crate::lock::Turn;
use crate::log::LogKey;
use crate::records::{ActionResult, Outputs, Scope, Series};
use crate::tree::TreeLimits;
use crate::{Keep, Store};

/// The state directory, in the environment of the one who dies.
const DIR: &str = "SEATRIAL_TEST_CRASH_DIR";
/// How many points it passes before it dies.
const AFTER: &str = "SEATRIAL_TEST_CRASH_AFTER";

/// Every point there is. One that is missing here, or that is never passed,
/// fails the test.
const POINTS: &[&str] = &[
    "before sync",
    "after sync",
    "before sync of a directory",
    "after sync of a directory",
    "before sync of the file system",
    "after sync of the file system",
    "before publishing",
    "after publishing",
    "before a commit",
    "after a commit",
    "before removing",
    "after removing",
];

/// Dies here when it is time; says so before.
pub(crate) fn at(point: &'static str) {
    static PASSED: AtomicU32 = AtomicU32::new(0);
    let Ok(after) = std::env::var(AFTER) else { return };
    let after: u32 = after.parse().expect("a number");
    say(&format!("at {point}"));
    if PASSED.fetch_add(1, Ordering::SeqCst) == after {
        std::process::abort();
    }
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    out.write_all(format!("\n{line}\n").as_bytes()).and_then(|()| out.flush()).expect("a pipe");
}

const STEPS: u64 = 3;
const KEY: &str = "action";

fn run_id() -> RunId {
    RunId::from_uuid(Uuid::from_u128(7))
}

fn text(step: u64) -> String {
    format!("content {step}")
}

fn result(step: u64, tree: Digest) -> ActionResult {
    ActionResult {
        outputs: Outputs::Tree(tree),
        core_us: step,
        wall_us: 1,
        log: None,
        finished_at: 1,
    }
}

fn series() -> Series<'static> {
    Series { group: "build", name: "b" }
}

/// A tree of a few files, or of so many that the file system is synced.
fn put_tree(store: &Store, step: u64) -> Digest {
    let staging = store.staging().expect("staging");
    let dir = staging.path().join("t");
    std::fs::create_dir(&dir).expect("directory");
    for file in 0..if step == 2 { 40 } else { 2 } {
        std::fs::write(dir.join(format!("f{file}")), text(step)).expect("file");
    }
    store.put_tree(&dir, TreeLimits::default()).expect("tree").digest
}

/// Some of everything, each acknowledged in a line.
fn work(store: &Store) {
    let run = run_id();
    for step in 0..STEPS {
        let blob = store.put_bytes(text(step).as_bytes()).expect("blob").digest;
        say(&format!("ack blob {blob}"));
        let tree = put_tree(store, step);
        say(&format!("ack tree {tree}"));
        let key = Digest::of(format!("{KEY} {step}"));
        let Turn::Make(lock) = store.turn(key, Scope::Trusted).expect("turn") else {
            panic!("the store is new");
        };
        say(&format!("ack epoch {key} {}", lock.epoch.0));
        store.record(key, Scope::Trusted, &result(step, tree)).expect("record");
        say(&format!("ack result {key} {tree}"));
        let events = [format!("event {step}")];
        let state = format!("state {step}");
        store.records().append_events(run, Scope::Trusted, step, &events, &state).expect("events");
        say(&format!("ack events {}", step + 1));
        let time = Duration::from_millis(step + 1);
        store.records().record_duration(Scope::Trusted, series(), time).expect("duration");
        say("ack duration");
        let stream = "output".parse::<Name>().expect("a name");
        let attempt = AttemptId::from_uuid(Uuid::from_u128(9));
        let log = LogKey { run, attempt, stream: &stream };
        store.append_log(log, step * 4, b"line", 100).expect("log");
    }
    // The first blob is old enough to go.
    let blob = store.blob_path(Digest::of(text(0)));
    let old = SystemTime::now() - Duration::from_secs(3600);
    let file = std::fs::File::open(blob).expect("there");
    file.set_times(std::fs::FileTimes::new().set_modified(old)).expect("set");
    let used_since = old + Duration::from_secs(60);
    store.collect(Keep { size: u64::MAX, used_since }, false).expect("collect");
    say("ack removed");
}

/// Not a test by itself: the one who dies.
#[test]
fn the_one_who_dies() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    work(&Store::open(dir).expect("store"));
}

/// Lines that the one who dies said.
fn die(dir: &Path, after: u32) -> Vec<String> {
    let output = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "crash::the_one_who_dies", "--nocapture", "--test-threads=1"])
        .env(DIR, dir)
        .env(AFTER, after.to_string())
        .stderr(Stdio::null())
        .output()
        .expect("it starts");
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

/// What was acknowledged is there; nothing is half there; all of it can be done.
fn check(dir: &Path, said: &[String], what: &str) {
    let store = Store::open(dir).unwrap_or_else(|error| panic!("{what}: {error}"));
    let records = store.records();
    let removed = Digest::of(text(0));
    for line in said.iter().filter_map(|line| line.strip_prefix("ack ")) {
        let words: Vec<&str> = line.split(' ').collect();
        let digest = |word: usize| words[word].parse::<Digest>().expect("a digest");
        match words[0] {
            "blob" if digest(1) == removed => {}
            "blob" => drop(store.read_blob(digest(1), 100).expect(what)),
            "tree" => assert!(store.has_tree(digest(1)), "{what}: {line}"),
            "epoch" => {
                let next = records.next_epoch(digest(1), Scope::Trusted).expect(what);
                assert!(next > Epoch(words[2].parse().expect("a number")), "{what}: {line}");
            }
            "result" => {
                let result = store.lookup(digest(1), Scope::Trusted).expect(what);
                let tree = result.and_then(|result| result.outputs.digest());
                assert_eq!(tree, Some(digest(2)), "{what}: {line}");
            }
            "events" => {
                let number = records.run(run_id()).expect(what).expect(what).events;
                assert!(number >= words[1].parse().expect("a number"), "{what}: {line}");
            }
            "duration" => {
                let expected = records.expected(Scope::Trusted, series()).expect(what);
                assert!(expected.is_some(), "{what}: {line}");
            }
            "removed" => assert!(!store.has_blob(removed), "{what}"),
            other => panic!("what is `{other}`?"),
        }
    }
    // Events and state are of one moment.
    if let Some(row) = records.run(run_id()).expect(what) {
        assert_eq!(row.state, format!("state {}", row.events - 1), "{what}");
    }
    let scrubbed = store.scrub(|_, _| {}).expect(what);
    assert_eq!(scrubbed.damaged, [], "{what}");
    let left = std::fs::read_dir(dir.join("tmp")).expect("there").count();
    assert_eq!(left, 1, "{what}: only the own temporary directory is left");
    for step in 0..STEPS {
        let key = Digest::of(format!("{KEY} {step}"));
        let tree = put_tree(&store, step);
        store.record(key, Scope::Trusted, &result(step, tree)).expect(what);
    }
}

#[test]
fn what_was_acknowledged_survives_a_crash_at_every_point() {
    let dir = tempfile::tempdir().expect("temporary directory");
    let all = die(dir.path(), u32::MAX);
    assert_eq!(all.iter().filter(|line| line.starts_with("ack ")).count(), 19, "{all:#?}");
    check(dir.path(), &all, "no crash");
    let passed: Vec<&str> = all.iter().filter_map(|line| line.strip_prefix("at ")).collect();
    let known: BTreeSet<&str> = POINTS.iter().copied().collect();
    assert_eq!(passed.iter().copied().collect::<BTreeSet<_>>(), known);
    for (after, point) in (0..).zip(&passed) {
        let dir = tempfile::tempdir().expect("temporary directory");
        let said = die(dir.path(), after);
        let what = format!("crash {point} (point {after})");
        let died = said.iter().rev().find_map(|line| line.strip_prefix("at "));
        assert_eq!(died, Some(*point), "{what}: {said:#?}");
        check(dir.path(), &said, &what);
    }
}
