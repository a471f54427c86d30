//! One command in a sandbox: a build, an install step, a test.
//!
//! It runs in new pid, mount, ipc, uts and cgroup namespaces and, unless told
//! otherwise, with a network of only its own loopback; in a root of what was
//! listed; as an unprivileged user without capabilities and without a way to
//! gain any. When it ends, is stopped or takes too long, everything it started
//! ends with it.

mod inside;
mod running;

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::cgroup::Usage;
pub use crate::privilege::ProcessLimits;
use crate::root::{Base, Mount, Root, system_mounts};
pub(crate) use inside::inside;
pub use running::{Running, Stopper, Stream};

/// What to run and in which surroundings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActionSpec {
    /// Program and arguments; a program without `/` is looked up in the `PATH` of
    /// `env`.
    pub argv: Vec<String>,
    /// The whole environment.
    pub env: Vec<(String, String)>,
    /// The working directory, inside.
    pub cwd: PathBuf,
    /// What exists.
    pub root: Root,
    /// What of the network exists.
    pub network: Network,
    /// The user it runs as; never 0. Writable directories must be writable for
    /// it.
    pub uid: u32,
    /// The group it runs as; never 0.
    pub gid: u32,
    /// Limits of each process.
    pub limits: ProcessLimits,
}

/// What of the network a command sees.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Network {
    /// A loopback of its own.
    Private,
    /// The machine's network.
    Host,
    /// The network namespace at this path, as [`crate::init::Init::node_path`]
    /// gives it.
    Join(PathBuf),
}

/// The user and group that commands run as when nothing else is asked for:
/// `nobody`, which owns no file.
pub const NOBODY: u32 = 65534;

/// The root that every command starts from: the machine's programs and
/// libraries, devices, processes, and a `/tmp` of at most `tmp` bytes. Inputs,
/// outputs and tools are added to its mounts.
#[must_use]
pub fn base_root(tmp: u64) -> Root {
    let mut mounts = system_mounts();
    mounts.extend([
        Mount::Devices,
        Mount::Processes { network: false, values: vec![] },
        Mount::Memory { to: "/tmp".into(), size: tmp, mode: 0o1777 },
        Mount::File { to: "/etc/hosts".into(), content: "127.0.0.1 localhost\n".into() },
    ]);
    Root { base: Base::Empty, mounts }
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// It exited with this code.
    Code(i32),
    /// This signal ended it.
    Signal(i32),
}

impl Status {
    /// Whether it exited with 0.
    #[must_use]
    pub fn success(self) -> bool {
        self == Self::Code(0)
    }
}

/// What came of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// How it ended.
    pub status: Status,
    /// Whether it was ended because its time was over.
    pub timed_out: bool,
    /// Whether it was ended by a [`Stopper`].
    pub stopped: bool,
    /// Names of processes that still ran when the command itself had ended; they
    /// were ended too. At most eight are named.
    pub left_behind: Vec<String>,
    /// From the start of the command to the end of all it started.
    pub wall: Duration,
    /// What it used; zero without a control group.
    pub usage: Usage,
}

/// What the owner says to the process inside, after the specification.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Order {
    /// Send this signal to the process group of the command.
    Signal(i32),
}

/// What the process inside reports.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Report {
    /// The surroundings could not be made; nothing ran.
    Failed(String),
    /// The surroundings are fine but the program cannot be started.
    NotStarted(String),
    /// The command runs.
    Started,
    /// The command ended.
    Exited { status: Status, left_behind: Vec<String> },
}
