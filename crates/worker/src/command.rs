//! Commands of a project in the sandbox: what they see, and what they leave.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use nix::sys::statvfs::statvfs;
use seatrial_core::action::CommandAction;
use seatrial_core::digest::Digest;
use seatrial_core::failure::Failure;
use seatrial_core::pipeline::Command;
use seatrial_core::tail::Tail;
use seatrial_protocol::event::Usage;
use seatrial_sandbox::Error as SandboxError;
use seatrial_sandbox::action::{
    ActionSpec, Network, Outcome, ProcessLimits, Running, Status, Stopper, Stream, base_root,
};
use seatrial_sandbox::cgroup::{Cgroup, Limits};
use seatrial_sandbox::root::Mount;
use seatrial_store::{Outputs, TreeLimits};
use seatrial_suite::STOP_GRACE;
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};
use tokio::time::{interval, interval_at, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

mod judge;
mod languages;
mod network;

pub(crate) use judge::{TAIL, judge};

use crate::action::Made;
use crate::attempt::{Attempt, micros, name};
use crate::machine::Machine;
use crate::outputs;

/// Bytes of a line of output that are shown as progress.
const LINE: usize = 200;
/// Bytes of `/tmp`.
const TMP: u64 = 4 << 30;
/// Processes and threads of a command.
const TASKS: u64 = 8192;
/// Bytes that stay free on the disk of the store: a command that leaves less
/// is stopped, before everything else on this machine fails.
const FREE: u64 = 512 << 20;
/// Inodes free on that disk below which a command that failed did so for lack
/// of them.
const INODES: u64 = 16;
/// How often free space is looked at, and the time, since the deadline moves.
/// The kernel tells nobody when space falls.
const LOOK: Duration = Duration::from_millis(200);
/// How often a build says how far it is.
const SAY: Duration = Duration::from_secs(2);

/// What a command that is about to run has.
pub(crate) struct Prepared {
    pub(crate) run: Command,
    pub(crate) env: BTreeMap<String, String>,
    pub(crate) mounts: Vec<Mount>,
    pub(crate) path: String,
    pub(crate) cwd: PathBuf,
    pub(crate) network: Network,
    pub(crate) memory: Option<u64>,
    pub(crate) timeout: Duration,
    /// What tells that the environment it works in broke; it is stopped then.
    pub(crate) broken: Option<CancellationToken>,
    /// The signal by which it is asked to end when its time is over; without
    /// one it is ended at once.
    pub(crate) stop_signal: Option<i32>,
}

/// Why a command came to no end that could be judged.
pub(crate) enum NoEnd {
    /// The kernel does not start the program, for this reason.
    NotStarted(String),
    /// Something else.
    Failed(Failure),
}

impl From<NoEnd> for Failure {
    fn from(no_end: NoEnd) -> Self {
        match no_end {
            NoEnd::NotStarted(why) => Self::config("command.not_started", why).hint(
                "a program is found in `tools:`, on the system's PATH or by its path, \
                 and must be executable",
            ),
            NoEnd::Failed(failure) => failure,
        }
    }
}

/// When a command is stopped: a time since its start that can move while it
/// runs, as tests of a program come and go.
#[derive(Debug, Default, Clone)]
pub(crate) struct Deadline(Arc<AtomicU64>);

impl Deadline {
    pub(crate) fn at(since_start: Duration) -> Self {
        let deadline = Self::default();
        deadline.set(since_start);
        deadline
    }

    pub(crate) fn set(&self, since_start: Duration) {
        self.0.store(micros(since_start), Ordering::Relaxed);
    }

    fn get(&self) -> Duration {
        Duration::from_micros(self.0.load(Ordering::Relaxed))
    }
}

/// Runs a build or a fetch, and puts what it leaves into the store.
pub(crate) fn make(
    machine: &Machine,
    attempt: &Attempt,
    action: &CommandAction<Digest>,
) -> Result<Made, Failure> {
    let store = machine.store();
    let staging = store.staging()?;
    let out = staging.path().join("out");
    let (uid, gid) = machine.user();
    create_owned(&out, uid, gid)?;
    let (mut mounts, path) =
        machine.tools().provide(&action.tools).map_err(|error| error.failure())?;
    let mut source = store.tree_path(action.source);
    if languages::looks_at_times(action) {
        let fresh = staging.path().join("work");
        languages::copy_with_new_times(&source, &fresh)?;
        source = fresh;
    }
    mounts.push(bind(source, "/work", false));
    mounts.push(bind(&out, "/out", true));
    let mut env = BTreeMap::from([
        ("OUT".to_owned(), "/out".to_owned()),
        ("TMPDIR".to_owned(), "/tmp".to_owned()),
        ("HOME".to_owned(), "/tmp/home".to_owned()),
        ("LANG".to_owned(), "C.UTF-8".to_owned()),
        ("TZ".to_owned(), "UTC".to_owned()),
        ("SOURCE_DATE_EPOCH".to_owned(), "0".to_owned()),
    ]);
    if let Some(fetched) = action.fetched {
        mounts.push(bind(store.tree_path(fetched), "/fetched", false));
        env.insert("FETCHED".to_owned(), "/fetched".to_owned());
    }
    for cache in &action.caches {
        let dir = store.dir().join("caches").join(machine.scope().to_string()).join(cache.as_str());
        create_owned(&dir, uid, gid)?;
        mounts.push(bind(&dir, &format!("/cache/{cache}"), true));
    }
    env.extend(languages::environment(action));
    if action.network {
        network::add(&mut env, &mut mounts);
    }
    env.extend(action.env.clone());
    let prepared = Prepared {
        run: action.run.clone(),
        env,
        mounts,
        path,
        cwd: "/work".into(),
        network: if action.network { Network::Host } else { Network::Private },
        memory: action.resources.memory,
        timeout: action.timeout,
        broken: None,
        stop_signal: None,
    };
    let mut tail = Tail::new(TAIL);
    let mut log = attempt.log(name("output"));
    let deadline = Deadline::at(action.timeout);
    let (last_line, said) = watch::channel("nothing printed yet".to_owned());
    let telling = Handle::current().spawn(tell(attempt.clone(), said));
    let _until_it_ends = AbortOnDropHandle::new(telling);
    let outcome = run(machine, attempt, &prepared, &deadline, |_, bytes| {
        log.write(bytes);
        tail.push(bytes);
        if let Some(line) = bytes.split(|byte| *byte == b'\n').rfind(|line| !line.is_empty()) {
            let line = &line[..line.len().min(LINE)];
            last_line.send_replace(String::from_utf8_lossy(line).into_owned());
        }
    })?;
    judge(attempt, &prepared, &outcome, &tail, "build")?;
    outputs::keep(&out, &action.outputs)?;
    let tree = store.put_tree(&out, TreeLimits::default())?;
    Ok(Made { outputs: Outputs::Tree(tree.digest), usage: usage(&outcome) })
}

/// Says now and then what a build printed last, and so that it is at work: one
/// that prints nothing for minutes looks like one that hangs.
/// Until it is stopped. Most builds have ended before it first says anything.
async fn tell(attempt: Attempt, said: watch::Receiver<String>) {
    let mut say = interval_at(tokio::time::Instant::now() + SAY, SAY);
    loop {
        say.tick().await;
        let line = said.borrow().clone();
        attempt.progress(line, None);
    }
}

/// Runs a command in the sandbox until it ends, its time is over, the attempt
/// is cancelled, its environment breaks or the disk is nearly full. Called
/// from a thread of the runtime that may block.
pub(crate) fn run(
    machine: &Machine,
    attempt: &Attempt,
    prepared: &Prepared,
    deadline: &Deadline,
    on_output: impl FnMut(Stream, &[u8]),
) -> Result<Outcome, NoEnd> {
    let mut root = base_root(TMP);
    root.mounts.extend(prepared.mounts.iter().cloned());
    let mut env = prepared.env.clone();
    env.insert("PATH".to_owned(), prepared.path.clone());
    let (uid, gid) = machine.user();
    let spec = ActionSpec {
        argv: match &prepared.run {
            Command::Argv(argv) => argv.clone(),
            Command::Script(script) => {
                ["bash", "-euo", "pipefail", "-c", script].map(str::to_owned).to_vec()
            }
        },
        env: env.into_iter().collect(),
        cwd: prepared.cwd.clone(),
        root,
        network: prepared.network.clone(),
        uid,
        gid,
        limits: ProcessLimits { open_files: 16_384, file_size: 64 << 30 },
    };
    let cgroup = group(machine, attempt, prepared.memory).map_err(NoEnd::Failed)?;
    let running = Running::start(machine.exe(), &spec, Some(cgroup)).map_err(no_end)?;
    let watch = Watch {
        stopper: running.stopper(),
        cancel: attempt.cancel().clone(),
        disk: machine.store().dir().to_owned(),
        broken: prepared.broken.clone().unwrap_or_default(),
        deadline: deadline.clone(),
        stop_signal: prepared.stop_signal,
    };
    // This thread is busy with the command's output.
    let (over, ended) = oneshot::channel::<()>();
    let watcher = Handle::current().spawn(watch.until(ended));
    let outcome = running.wait(Duration::MAX, on_output);
    drop(over);
    let stopped = Handle::current().block_on(watcher).unwrap_or(None);
    let mut outcome = outcome.map_err(no_end)?;
    match stopped {
        Some(Stopped::DiskFull) => {
            let hint = format!("it was stopped when less than {} MiB were free", FREE >> 20);
            let failure = Failure::environment("build.disk_full", "the command filled the disk");
            return Err(NoEnd::Failed(failure.hint(hint)));
        }
        Some(Stopped::TimedOut) => outcome.timed_out = true,
        // Inodes run out too soon to be seen coming, and then nothing works.
        None if outcome.status != Status::Code(0)
            && free_inodes(machine.store().dir()) < INODES =>
        {
            let failure = Failure::environment("build.disk_full", "the disk has no inodes left");
            let hint = "remove files from the disk of the state directory (`df -i`)";
            return Err(NoEnd::Failed(failure.hint(hint)));
        }
        // What a quota leaves, no file system tells but by refusing to write.
        None if outcome.status != Status::Code(0) && is_over_quota(machine.store().dir()) => {
            let failure = Failure::environment("build.disk_full", "the disk quota is used up");
            let hint =
                "make room on the disk of the state directory (`seatrial gc`), or raise its quota";
            return Err(NoEnd::Failed(failure.hint(hint)));
        }
        Some(Stopped::Cancelled | Stopped::Broken) | None => {}
    }
    Ok(outcome)
}

fn no_end(error: SandboxError) -> NoEnd {
    match error {
        SandboxError::NotStarted(why) => NoEnd::NotStarted(why),
        error => NoEnd::Failed(error.failure()),
    }
}

/// Bytes that can be written where no quota is used up.
const PROBE: usize = 64 << 10;

/// Why a command was stopped.
enum Stopped {
    Cancelled,
    Broken,
    TimedOut,
    DiskFull,
}

/// What may stop a command while it runs.
struct Watch {
    stopper: Stopper,
    cancel: CancellationToken,
    broken: CancellationToken,
    disk: PathBuf,
    deadline: Deadline,
    stop_signal: Option<i32>,
}

impl Watch {
    async fn until(self, mut ended: oneshot::Receiver<()>) -> Option<Stopped> {
        let started = Instant::now();
        let mut look = interval(LOOK);
        let stopped = loop {
            tokio::select! {
                _ = &mut ended => return None,
                () = self.cancel.cancelled() => break Stopped::Cancelled,
                () = self.broken.cancelled() => break Stopped::Broken,
                _ = look.tick() => {
                    if started.elapsed() > self.deadline.get() {
                        break Stopped::TimedOut;
                    }
                    if free_space(&self.disk) < FREE {
                        break Stopped::DiskFull;
                    }
                }
            }
        };
        // Only what is out of time is asked what it was doing; else nobody
        // wants to know, or there is no room to say it.
        if let (Stopped::TimedOut, Some(signal)) = (&stopped, self.stop_signal) {
            self.stopper.signal(signal);
            if timeout(STOP_GRACE, &mut ended).await.is_ok() {
                return Some(stopped);
            }
        }
        self.stopper.stop();
        Some(stopped)
    }
}

pub(crate) fn usage(outcome: &Outcome) -> Usage {
    Usage { core_us: outcome.usage.core_us, memory_peak: outcome.usage.memory_peak }
}

pub(crate) fn bind(from: impl AsRef<Path>, to: &str, writable: bool) -> Mount {
    Mount::Bind { from: from.as_ref().to_owned(), to: to.into(), writable }
}

/// Makes a directory that a command may write to.
pub(crate) fn create_owned(dir: &Path, uid: u32, gid: u32) -> Result<(), Failure> {
    let made = std::fs::create_dir_all(dir)
        .and_then(|()| std::os::unix::fs::chown(dir, Some(uid), Some(gid)));
    made.map_err(|error| {
        Failure::environment("store.io", format!("cannot create {}: {error}", dir.display()))
    })
}

fn group(machine: &Machine, attempt: &Attempt, memory: Option<u64>) -> Result<Cgroup, Failure> {
    // An attempt may run several commands, one for each test program.
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let name = format!("{}-{}", attempt.id().short(), COUNT.fetch_add(1, Ordering::Relaxed));
    let group = machine
        .owner()
        .cgroup(&name, &["cpuacct", "memory", "pids"])
        .map_err(|error| error.failure())?;
    let limits = Limits { memory, tasks: Some(TASKS) };
    group.limit(limits).map_err(|error| error.failure())?;
    Ok(group)
}

fn free_space(path: &Path) -> u64 {
    // Where the kernel does not tell, nobody is stopped.
    statvfs(path).map_or(u64::MAX, |stat| stat.blocks_available() * stat.fragment_size())
}

/// Whether not even a little can be written, though there is room: by a quota
/// that holds for this process too, such as one of Btrfs.
fn is_over_quota(dir: &Path) -> bool {
    let write = || {
        let mut file = tempfile::tempfile_in(dir)?;
        file.write_all(&[0; PROBE])?;
        file.sync_data()
    };
    write().is_err_and(|error| error.kind() == ErrorKind::QuotaExceeded)
}

/// Inodes that are free; many where the file system makes them as needed.
fn free_inodes(path: &Path) -> u64 {
    let stat = statvfs(path).ok().filter(|stat| stat.files() > 0);
    stat.map_or(u64::MAX, |stat| stat.files_available())
}
