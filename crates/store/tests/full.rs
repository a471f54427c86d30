//! A disk that gets full while the store writes to it, at every step of each
//! kind of write: it is said what is lacking and whose fault that is, what was
//! acknowledged before stays, nothing is half there, and with room again the same
//! write works. These tests need root: each has a small file system of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use seatrial_core::digest::Digest;
use seatrial_core::failure::{Failure, Fault};
use seatrial_core::ids::{AttemptId, RunId};
use seatrial_core::name::Name;
use seatrial_store::log::LogKey;
use seatrial_store::{ActionResult, Outputs, Scope, Store, StoreError, TreeLimits};
use uuid::Uuid;

const NOTHING: Option<&str> = None;

/// Calls `work` with an empty file system of so many inodes, large enough to open
/// a store on it. It is in a mount namespace of the thread that works, and goes
/// away with it.
fn on_small_disk(inodes: u32, work: impl FnOnce(&Path) + Send) {
    let dir = tempfile::tempdir().expect("a directory");
    std::thread::scope(|scope| {
        let apart = scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNS).expect("these tests need root");
            let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
            mount(NOTHING, "/", NOTHING, private, NOTHING).expect("private mounts");
            let (tmpfs, options) = (Some("tmpfs"), format!("size=2g,nr_inodes={inodes}"));
            mount(tmpfs, dir.path(), tmpfs, MsFlags::empty(), Some(&*options)).expect("a tmpfs");
            work(dir.path());
        });
        if let Err(panic) = apart.join() {
            std::panic::resume_unwind(panic);
        }
    });
}

/// Takes all of a file system but for a little.
struct Filler(PathBuf);

impl Filler {
    /// Leaves room for `free` pages.
    fn bytes(disk: &Path, free: u64) -> Self {
        resize(disk, "size=4m");
        let path = disk.join("filler");
        let mut file = File::create(&path).expect("a file");
        let mut size: u64 = 0;
        while file.write_all(&[1; 4096]).is_ok() {
            size += 4096;
        }
        file.set_len(size.saturating_sub(free * 4096)).expect("a size");
        Self(path)
    }

    /// Leaves `free` inodes.
    fn inodes(disk: &Path, free: u64) -> Self {
        let path = disk.join("filler");
        fs::create_dir(&path).expect("a directory");
        let made = (0_u64..).take_while(|n| File::create(path.join(n.to_string())).is_ok()).count();
        for n in 0..free.min(made as u64) {
            fs::remove_file(path.join(n.to_string())).expect("removed");
        }
        Self(path)
    }

    /// There is room again.
    fn remove(self) {
        resize(self.0.parent().expect("the disk"), "size=2g");
        let is_dir = self.0.is_dir();
        let removed = if is_dir { fs::remove_dir_all(&self.0) } else { fs::remove_file(&self.0) };
        removed.expect("removed");
    }
}

fn resize(disk: &Path, size: &str) {
    mount(NOTHING, disk, NOTHING, MsFlags::MS_REMOUNT, Some(size)).expect("another size");
}

/// A kind of write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Write {
    Blob,
    Tree,
    /// Of many files: they are synced all at once.
    LargeTree,
    Result,
    Events,
    Log,
}

const ALL: [Write; 6] =
    [Write::Blob, Write::Tree, Write::LargeTree, Write::Result, Write::Events, Write::Log];

/// What has to be there for a write, made while there is room.
enum Ready {
    Nothing,
    Staging(tempfile::TempDir),
    Blob(Digest),
}

fn run() -> RunId {
    RunId::from_uuid(Uuid::from_u128(7))
}

/// Calls `work` with the one log of the run.
fn with_log<T>(work: impl FnOnce(LogKey<'_>) -> T) -> T {
    let stream: Name = "output".parse().expect("a name");
    let attempt = AttemptId::from_uuid(Uuid::from_u128(9));
    work(LogKey { run: run(), attempt, stream: &stream })
}

impl Write {
    fn prepare(self, store: &Store) -> Ready {
        let files = match self {
            Self::Tree => 3,
            Self::LargeTree => 40,
            Self::Result => return Ready::Blob(store.put_bytes(b"output").expect("blob").digest),
            Self::Blob | Self::Events | Self::Log => return Ready::Nothing,
        };
        let staging = store.staging().expect("staging");
        let dir = staging.path().join("t");
        fs::create_dir(&dir).expect("a directory");
        for file in 0..files {
            fs::write(dir.join(format!("f{file}")), format!("content {file}")).expect("a file");
        }
        Ready::Staging(staging)
    }

    fn write(self, store: &Store, ready: &Ready) -> Result<(), StoreError> {
        match (self, ready) {
            (Self::Tree | Self::LargeTree, Ready::Staging(staging)) => {
                store.put_tree(&staging.path().join("t"), TreeLimits::default()).map(drop)
            }
            (Self::Result, Ready::Blob(blob)) => {
                let outputs = Outputs::Blobs(vec![*blob]);
                let result =
                    ActionResult { outputs, core_us: 1, wall_us: 1, log: None, finished_at: 1 };
                store.record(Digest::of("key"), Scope::Trusted, &result).map(drop)
            }
            (Self::Events, _) => {
                let events: Vec<String> = (0..50).map(|n| format!("{n}").repeat(1000)).collect();
                store.records().append_events(run(), Scope::Trusted, 1, &events, "later")
            }
            (Self::Log, _) => {
                with_log(|log| store.append_log(log, 0, &[b'x'; 50_000], 1 << 20)).map(drop)
            }
            _ => store.put_bytes(&[7; 100_000]).map(drop),
        }
    }

    /// Whether what was written is there, in whole.
    fn is_there(self, store: &Store) -> bool {
        match self {
            Self::Blob => store.has_blob(Digest::of([7; 100_000])),
            Self::Tree | Self::LargeTree => {
                fs::read_dir(store.dir().join("trees")).is_ok_and(|trees| trees.count() == 1)
            }
            Self::Result => {
                store.lookup(Digest::of("key"), Scope::Trusted).expect("read").is_some()
            }
            Self::Events => {
                let row = store.records().run(run()).expect("read").expect("a run");
                // Events and state are of one moment.
                let moment = (row.events, row.state.as_str());
                assert!([(1, "begun"), (51, "later")].contains(&moment), "{moment:?}");
                row.events == 51
            }
            Self::Log => with_log(|log| {
                fs::metadata(store.log_path(log)).is_ok_and(|meta| meta.len() == 50_000)
            }),
        }
    }
}

/// Nothing is half there, and what was acknowledged before is.
fn sound(disk: &Path, what: &str) {
    let store = Store::open(disk.join("state")).expect(what);
    assert_eq!(store.scrub(|_, _| {}).expect(what).damaged, [], "{what}");
    let left = fs::read_dir(disk.join("state/tmp")).expect(what).count();
    assert_eq!(left, 1, "{what}: only the own temporary directory is left");
    assert!(store.has_blob(Digest::of("sound")), "{what}");
    let events = store.records().events(run(), 0, 1).expect(what);
    assert_eq!(events, ["begun"], "{what}");
}

/// What is lacking, by the codes that were said of each write.
type Said = BTreeMap<Write, BTreeSet<String>>;

/// Tries each write with each of these amounts of room, and then with enough.
fn each_write(inodes: u32, amounts: &[u64], fill: fn(&Path, u64) -> Filler) -> Said {
    let mut said = Said::new();
    for write in ALL {
        let codes = said.entry(write).or_default();
        for free in amounts {
            let what = format!("{write:?} with {free} left");
            on_small_disk(inodes, |disk| {
                let store = Store::open(disk.join("state")).expect("a store");
                store.put_bytes(b"sound").expect("a blob");
                let begun = ["begun".to_owned()];
                let records = store.records();
                records.append_events(run(), Scope::Trusted, 0, &begun, "begun").expect("events");
                let ready = write.prepare(&store);
                let filler = fill(disk, *free);
                if let Err(error) = write.write(&store, &ready) {
                    assert!(!write.is_there(&store), "{what}");
                    let failure = Failure::from(error);
                    assert_eq!(failure.fault, Fault::Environment, "{what}: {failure:?}");
                    assert!(!failure.hints.is_empty(), "{what}: {failure:?}");
                    codes.insert(failure.code);
                } else {
                    assert!(write.is_there(&store), "{what}: it was acknowledged");
                }
                filler.remove();
                // The same process goes on where it was.
                drop(ready);
                if !write.is_there(&store) {
                    let ready = write.prepare(&store);
                    write.write(&store, &ready).unwrap_or_else(|error| panic!("{what}: {error}"));
                }
                assert!(write.is_there(&store), "{what}");
                drop(store);
                sound(disk, &what);
            });
        }
    }
    said
}

#[test]
fn a_disk_without_bytes() {
    let amounts = [0, 1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32];
    let said = each_write(100_000, &amounts, Filler::bytes);
    for write in ALL {
        assert_eq!(said[&write], BTreeSet::from(["store.full".to_owned()]), "{write:?}");
    }
}

#[test]
fn a_disk_without_inodes() {
    let said = each_write(200, &[0, 1, 2, 3, 4, 5], Filler::inodes);
    for write in [Write::Blob, Write::Tree, Write::LargeTree, Write::Log] {
        assert_eq!(said[&write], BTreeSet::from(["store.full".to_owned()]), "{write:?}");
    }
    // Their files are there from the start.
    for write in [Write::Result, Write::Events] {
        assert_eq!(said[&write], BTreeSet::new(), "{write:?}");
    }
}
