//! Commands of a project in the sandbox: what they see, and what they leave.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use nix::sys::statvfs::statvfs;
use seatrial_core::action::CommandAction;
use seatrial_core::digest::Digest;
use seatrial_core::failure::Failure;
use seatrial_core::pipeline::Command;
use seatrial_core::quantity::show_duration;
use seatrial_protocol::event::Usage;
use seatrial_protocol::worker::AttemptEvent;
use seatrial_sandbox::action::{
    ActionSpec, Network, Outcome, ProcessLimits, Running, Status, Stopper, Stream, base_root,
};
use seatrial_sandbox::cgroup::{Cgroup, Limits};
use seatrial_sandbox::root::Mount;
use seatrial_store::{Outputs, TreeLimits};
use tokio_util::sync::CancellationToken;

use crate::action::Made;
use crate::attempt::{Attempt, micros, name};
use crate::machine::Machine;
use crate::outputs;

/// Bytes of `/tmp`.
const TMP: u64 = 4 << 30;
/// Bytes that a command may print; what is beyond is counted and dropped.
const OUTPUT: u64 = 64 << 20;
/// Processes and threads of a command.
const TASKS: u64 = 8192;
/// Bytes that stay free on the disk of the store: a command that leaves less
/// is stopped, before everything else on this machine fails.
const FREE: u64 = 512 << 20;
/// How often free space is looked at. The kernel tells nobody when it falls.
const LOOK: Duration = Duration::from_millis(200);

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
    mounts.push(bind(store.tree_path(action.source), "/work", false));
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
        let dir = store.dir().join("caches").join("trusted").join(cache.as_str());
        create_owned(&dir, uid, gid)?;
        mounts.push(bind(&dir, &format!("/cache/{cache}"), true));
    }
    if action.tools.contains("go") {
        go_environment(action, &mut env);
    }
    if action.network {
        network_environment(&mut env, &mut mounts);
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
    };
    let mut tail = Tail::default();
    let mut log = attempt.log(name("output"));
    let deadline = Deadline::at(action.timeout);
    let outcome = run(machine, attempt, &prepared, &deadline, |_, bytes| {
        log.write(bytes);
        tail.push(bytes);
    })?;
    judge(attempt, &prepared, &outcome, &tail, "build")?;
    if outcome.output_dropped > 0 {
        log.write(format!("\n[{} more bytes were dropped]\n", outcome.output_dropped).as_bytes());
    }
    outputs::keep(&out, &action.outputs)?;
    let tree = store.put_tree(&out, TreeLimits::default())?;
    Ok(Made { outputs: Outputs::Tree(tree.digest), usage: usage(&outcome) })
}

/// Runs a command in the sandbox until it ends, its time is over, the attempt
/// is cancelled or the disk is nearly full.
pub(crate) fn run(
    machine: &Machine,
    attempt: &Attempt,
    prepared: &Prepared,
    deadline: &Deadline,
    on_output: impl FnMut(Stream, &[u8]),
) -> Result<Outcome, Failure> {
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
    let cgroup = group(machine, attempt, prepared.memory)?;
    let running = Running::start(machine.exe(), &spec, Some(cgroup)).map_err(|e| e.failure())?;
    let watch = Watch {
        stopper: running.stopper(),
        cancel: attempt.cancel().clone(),
        disk: machine.store().dir().to_owned(),
        deadline: deadline.clone(),
    };
    // A thread of its own: this one is busy with the command's output.
    let (over, ended) = std::sync::mpsc::channel::<()>();
    let watcher = std::thread::spawn(move || watch.until(&ended));
    let outcome = running.wait(Duration::MAX, OUTPUT, on_output);
    drop(over);
    let stopped = watcher.join().unwrap_or(None);
    let mut outcome = outcome.map_err(|error| error.failure())?;
    match stopped {
        Some(Stopped::DiskFull) => {
            let hint = format!("it was stopped when less than {} MiB were free", FREE >> 20);
            let failure = Failure::environment("build.disk_full", "the command filled the disk");
            return Err(failure.hint(hint));
        }
        Some(Stopped::TimedOut) => outcome.timed_out = true,
        Some(Stopped::Cancelled) | None => {}
    }
    Ok(outcome)
}

/// Why a command was stopped.
enum Stopped {
    Cancelled,
    TimedOut,
    DiskFull,
}

/// What may stop a command while it runs.
struct Watch {
    stopper: Stopper,
    cancel: CancellationToken,
    disk: PathBuf,
    deadline: Deadline,
}

impl Watch {
    fn until(&self, ended: &Receiver<()>) -> Option<Stopped> {
        let started = Instant::now();
        while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(LOOK) {
            let stopped = if self.cancel.is_cancelled() {
                Stopped::Cancelled
            } else if started.elapsed() > self.deadline.get() {
                Stopped::TimedOut
            } else if free_space(&self.disk) < FREE {
                Stopped::DiskFull
            } else {
                continue;
            };
            self.stopper.stop();
            return Some(stopped);
        }
        None
    }
}

/// What the end of a command means: nothing, or a failure.
pub(crate) fn judge(
    attempt: &Attempt,
    prepared: &Prepared,
    outcome: &Outcome,
    tail: &Tail,
    what: &str,
) -> Result<(), Failure> {
    if attempt.cancel().is_cancelled() {
        return Err(Failure::environment("run.cancelled", "the command was stopped"));
    }
    let code = |code: &str| format!("{what}.{code}");
    if outcome.timed_out {
        let limit = show_duration(prepared.timeout);
        return Err(Failure::product(&code("timed_out"), format!("it took longer than {limit}"))
            .detail(tail.text())
            .hint("give it a longer `timeout:`"));
    }
    if outcome.usage.oom_kills > 0 {
        return Err(Failure::product(&code("out_of_memory"), "it ran out of memory")
            .detail(tail.text())
            .hint("give it more `resources: { memory: ... }`"));
    }
    match outcome.status {
        Status::Code(0) => {}
        status => {
            let how = match status {
                Status::Code(code) => format!("it ended with exit code {code}"),
                Status::Signal(signal) => format!("signal {signal} ended it"),
            };
            let mut failure = Failure::product(&code("failed"), how).detail(tail.text());
            if tail.text().contains("Read-only file system") {
                failure = failure.hint(
                    "a command can write only to $OUT, $TMPDIR and its caches; \
                     the project's files are read-only",
                );
            }
            return Err(failure);
        }
    }
    if !outcome.left_behind.is_empty() {
        let names = outcome.left_behind.join(", ");
        let message = format!("it left processes behind, which were ended: {names}");
        let warning = Failure::product(&code("left_processes"), message);
        attempt.event_blocking(AttemptEvent::Warning(warning));
    }
    Ok(())
}

pub(crate) fn usage(outcome: &Outcome) -> Usage {
    Usage { core_us: outcome.usage.core_us, memory_peak: outcome.usage.memory_peak }
}

/// The end of what a command printed, for its failure.
#[derive(Default)]
pub(crate) struct Tail {
    bytes: Vec<u8>,
}

impl Tail {
    const KEEP: usize = 8 << 10;

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(&bytes[bytes.len().saturating_sub(Self::KEEP)..]);
        // Twice the size before it is cut: copying is then paid once a page.
        if self.bytes.len() > 2 * Self::KEEP {
            self.bytes.drain(..self.bytes.len() - Self::KEEP);
        }
    }

    pub(crate) fn text(&self) -> String {
        let start = self.bytes.len().saturating_sub(Self::KEEP);
        String::from_utf8_lossy(&self.bytes[start..]).into_owned()
    }
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

/// Where Go keeps what, so that modules are fetched once and found read-only.
fn go_environment(action: &CommandAction<Digest>, env: &mut BTreeMap<String, String>) {
    let modules = match (action.network, action.fetched) {
        (_, Some(_)) => "/fetched/go/mod",
        (true, None) => "/out/go/mod",
        (false, None) => "/tmp/go/mod",
    };
    let cache = match action.caches.contains("go-build") {
        true => "/cache/go-build",
        false => "/tmp/go-build",
    };
    for (name, value) in [
        ("GOMODCACHE", modules),
        ("GOCACHE", cache),
        ("GOPATH", "/tmp/go"),
        ("GOTOOLCHAIN", "local"),
        ("GOENV", "off"),
        ("GOTELEMETRY", "off"),
    ] {
        env.insert(name.to_owned(), value.to_owned());
    }
    if !action.network {
        // Nothing can be asked, and nothing new can be let in: what was
        // fetched was verified against go.sum then.
        for (name, value) in [("GOPROXY", "off"), ("GOSUMDB", "off")] {
            env.insert(name.to_owned(), value.to_owned());
        }
    }
}

/// Variables of the caller that say how the network is reached.
const NETWORK_VARIABLES: &[&str] = &[
    "GOPROXY",
    "GOSUMDB",
    "GONOSUMDB",
    "GOPRIVATE",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
];

fn network_environment(env: &mut BTreeMap<String, String>, mounts: &mut Vec<Mount>) {
    for variable in NETWORK_VARIABLES {
        if let Ok(value) = std::env::var(variable) {
            env.insert((*variable).to_owned(), value);
        }
    }
    for file in ["/etc/resolv.conf", "/etc/hosts"] {
        if let Ok(content) = std::fs::read_to_string(file) {
            mounts.push(Mount::File { to: file.into(), content });
        }
    }
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
