//! A process that may open no more files while the store writes: each kind of write
//! says so, leaves nothing half there, and works once it may again. One test
//! for all of it: the limit is that of the process.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::Path;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use seatrial_core::digest::Digest;
use seatrial_core::failure::Failure;
use seatrial_core::ids::{AttemptId, RunId};
use seatrial_core::name::Name;
use seatrial_store::log::LogKey;
use seatrial_store::{ActionResult, Outputs, Scope, Store, StoreError, TreeLimits};
use uuid::Uuid;

/// Calls `work` while `more` files can be opened.
fn with_files_left<T>(more: usize, work: impl FnOnce() -> T) -> T {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
    setrlimit(Resource::RLIMIT_NOFILE, soft.min(256), hard).expect("a lower limit");
    let mut taken: Vec<File> = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        taken.push(file);
    }
    taken.truncate(taken.len() - more);
    let result = work();
    setrlimit(Resource::RLIMIT_NOFILE, soft, hard).expect("the limit as it was");
    result
}

/// A blob, a tree, the result of an action, an event and a log.
fn write(store: &Store, tree: &Path, what: usize) -> Result<(), StoreError> {
    let run = RunId::from_uuid(Uuid::from_u128(7));
    match what {
        0 => store.put_bytes(b"a blob").map(drop),
        1 => store.put_tree(tree, TreeLimits::default()).map(drop),
        2 => {
            let outputs = Outputs::Blobs(vec![Digest::of("sound")]);
            let result =
                ActionResult { outputs, core_us: 1, wall_us: 1, log: None, finished_at: 1 };
            store.record(Digest::of("key"), Scope::Trusted, &result).map(drop)
        }
        3 => {
            let (scope, event) = (Scope::Trusted, ["event".to_owned()]);
            store.records().append_events(run, scope, 0, &event, "state")
        }
        _ => {
            let stream: Name = "output".parse().expect("a name");
            let attempt = AttemptId::from_uuid(Uuid::from_u128(9));
            let log = LogKey { run, attempt, stream: &stream };
            store.append_log(log, 0, b"line", 100).map(drop)
        }
    }
}

#[test]
fn a_process_that_may_open_no_more_files() {
    let mut told = BTreeSet::new();
    for what in 0..5 {
        for more in 0..6 {
            let dir = tempfile::tempdir().expect("a directory");
            let store = Store::open(dir.path()).expect("a store");
            store.put_bytes(b"sound").expect("a blob");
            let staging = store.staging().expect("staging");
            let tree = staging.path().join("t");
            let make = || {
                fs::create_dir_all(tree.join("d")).expect("a directory");
                fs::write(tree.join("d/f"), "content").expect("a file");
            };
            make();
            if let Err(error) = with_files_left(more, || write(&store, &tree, what)) {
                let failure = Failure::from(error);
                assert!(!failure.hints.is_empty(), "{what} {more}: {failure:?}");
                told.insert((what, failure.code));
                make();
                write(&store, &tree, what)
                    .unwrap_or_else(|error| panic!("{what} {more}: {}", Failure::chain(&error)));
            }
            drop((staging, store));
            let store = Store::open(dir.path()).expect("a store");
            assert_eq!(store.scrub(|_, _| {}).expect("scrubbed").damaged, [], "{what} {more}");
            let left = fs::read_dir(dir.path().join("tmp")).expect("listed").count();
            assert_eq!(left, 1, "{what} {more}: only the own temporary directory is left");
        }
    }
    let told: Vec<_> = told.iter().map(|(what, code)| format!("{what} {code}")).collect();
    // The database has its files open, and a result is looked for in others.
    let expected = ["0", "1", "2", "4"].map(|what| format!("{what} store.open_files"));
    assert_eq!(told, expected);
}
