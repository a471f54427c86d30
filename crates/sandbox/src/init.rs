//! The first process of an environment: holds the namespaces of its nodes,
//! starts what it is told to and reports what ends.
//!
//! It decides nothing. When its owner goes, it goes, and the kernel ends every
//! process of the environment; the namespaces, with their mounts, links, routes
//! and rules, end with their last process.

pub(crate) mod first;
mod inside;

use std::fs::File;
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::Mutex;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::action::Status;
use crate::cgroup::Cgroup;
use crate::entry::{Role, start};
use crate::error::{Error, Tried};
use crate::netns::{Fabric, Link};
use crate::root::Root;
use crate::wire;
pub(crate) use inside::inside;

/// How long the first process may take to set an environment up. It takes some
/// 50 ms.
const SET_UP_WITHIN: Duration = Duration::from_secs(20);

/// What the first process of an environment sets up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InitSpec {
    /// What joins the nodes.
    pub fabric: Fabric,
    /// The nodes, each with a network, a root and a host name of its own.
    pub nodes: Vec<NodeSpec>,
    /// The root of the first process itself.
    pub root: Root,
}

/// One node of an environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeSpec {
    /// Its host name, the name of its end of the link, and of its control group.
    pub name: String,
    /// Its link.
    pub link: Link,
    /// Its root.
    pub root: Root,
}

/// A process to start on a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spawn {
    /// The name it is reported by.
    pub id: String,
    /// Index of the node.
    pub node: usize,
    /// Program and arguments.
    pub argv: Vec<String>,
    /// The whole environment.
    pub env: Vec<(String, String)>,
    /// File on the node that its output is appended to.
    pub log: PathBuf,
    /// Working directory on the node.
    pub cwd: PathBuf,
}

/// What the first process is told.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Order {
    Spawn(Spawn),
    Signal { id: String, signal: i32 },
}

/// What the first process reports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Report {
    /// All is set up; descriptors of namespaces in the first process.
    #[doc(hidden)]
    Ready { fabric: i32, nodes: Vec<i32> },
    /// It could not be set up.
    #[doc(hidden)]
    Failed(String),
    /// A process runs.
    Started {
        /// Its name.
        id: String,
        /// Its number in the environment's pid namespace.
        pid: i32,
    },
    /// A process could not be started.
    NotStarted {
        /// Its name.
        id: String,
        /// Why.
        why: String,
    },
    /// A process ended.
    Exited {
        /// Its name.
        id: String,
        /// How.
        status: Status,
    },
    /// The first process ended, and all others with it.
    Gone,
}

/// The owner's side of an environment's first process. Dropping it ends the
/// environment.
#[derive(Debug)]
pub struct Init {
    child: Mutex<Child>,
    pid: u32,
    control: Mutex<UnixStream>,
    fabric: OwnedFd,
    nodes: Vec<Node>,
    cgroup: Cgroup,
}

#[derive(Debug)]
struct Node {
    namespace: OwnedFd,
    path: PathBuf,
}

impl Init {
    /// Starts the first process of an environment and waits until it is set up.
    /// `exe` is an executable that calls [`crate::enter_if_asked`], mostly
    /// `/proc/self/exe`; `cgroup` is the environment's and is removed at the end;
    /// `log` takes what the first process has to say when all else fails;
    /// `on_report` is called from a thread of its own.
    ///
    /// # Errors
    /// When a namespace, mount, link or control group cannot be made; nothing is
    /// left then.
    pub fn start(
        exe: &Path,
        spec: &InitSpec,
        cgroup: Cgroup,
        log: File,
        on_report: impl FnMut(Report) + Send + 'static,
    ) -> Result<Self, Error> {
        let started = Started::start(exe, cgroup, log)?;
        let mut control = &started.control;
        let leaf = started.groups(spec)?;
        wire::send(&mut control, &(spec, leaf)).tried(|| "send to the environment".to_owned())?;
        control.set_read_timeout(Some(SET_UP_WITHIN)).tried(|| "set a time-out".to_owned())?;
        let answer =
            wire::receive(&mut control).tried(|| "hear from the environment".to_owned())?;
        let (fabric, nodes) = match answer {
            Some(Report::Ready { fabric, nodes }) => (fabric, nodes),
            Some(Report::Failed(why)) => return Err(Error::Setup(why)),
            _ => return Err(Error::Gone("setting up an environment")),
        };
        control.set_read_timeout(None).tried(|| "set a time-out".to_owned())?;
        let fabric = started.namespace(fabric)?.namespace;
        let nodes =
            nodes.iter().map(|fd| started.namespace(*fd)).collect::<Result<Vec<_>, Error>>()?;
        let reader = control.try_clone().tried(|| "copy a socket".to_owned())?;
        std::thread::Builder::new()
            .name("environment".to_owned())
            .spawn(move || hear(reader, on_report))
            .tried(|| "start a thread".to_owned())?;
        let control = control.try_clone().tried(|| "copy a socket".to_owned())?;
        let (child, cgroup) = started.into_parts();
        let pid = child.id();
        let (child, control) = (Mutex::new(child), Mutex::new(control));
        Ok(Self { child, pid, control, fabric, nodes, cgroup })
    }

    /// Starts a process. Whether that worked is reported.
    ///
    /// # Errors
    /// When the environment is gone.
    pub fn spawn(&self, spawn: Spawn) -> Result<(), Error> {
        self.order(&Order::Spawn(spawn))
    }

    /// Sends a signal to a process; nothing happens when it has ended.
    ///
    /// # Errors
    /// When the environment is gone.
    pub fn signal(&self, id: &str, signal: i32) -> Result<(), Error> {
        self.order(&Order::Signal { id: id.to_owned(), signal })
    }

    /// The network namespace of the fabric.
    #[must_use]
    pub fn fabric(&self) -> BorrowedFd<'_> {
        self.fabric.as_fd()
    }

    /// The network namespace of node `index`.
    #[must_use]
    pub fn node(&self, index: usize) -> Option<BorrowedFd<'_>> {
        self.nodes.get(index).map(|node| node.namespace.as_fd())
    }

    /// A path to the network namespace of node `index`, for
    /// [`crate::action::Network::Join`].
    #[must_use]
    pub fn node_path(&self, index: usize) -> Option<&Path> {
        self.nodes.get(index).map(|node| node.path.as_path())
    }

    /// The number of the first process on this machine.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The environment's control group.
    #[must_use]
    pub fn cgroup(&self) -> &Cgroup {
        &self.cgroup
    }

    /// Ends every process of the environment, waits until they are gone and
    /// removes its control groups. Again, it does nothing.
    ///
    /// # Errors
    /// When a control group cannot be removed.
    pub fn end(&self) -> Result<(), Error> {
        let mut child = self.child.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        end(&mut child, &self.cgroup)
    }

    fn order(&self, order: &Order) -> Result<(), Error> {
        let mut control = self.control.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        wire::send(&mut *control, order).tried(|| "send to the environment".to_owned())
    }
}

impl Drop for Init {
    fn drop(&mut self) {
        let _ = self.end();
        // Also when a process of somebody else still holds a copy of the other end.
        if let Ok(control) = self.control.lock() {
            let _ = control.shutdown(Shutdown::Both);
        }
    }
}

/// Killing the first process kills all; waiting for it waits for all.
fn end(child: &mut Child, cgroup: &Cgroup) -> Result<(), Error> {
    let _ = child.kill();
    let _ = child.wait();
    cgroup.remove()
}

fn hear(mut control: UnixStream, mut on_report: impl FnMut(Report)) {
    while let Ok(Some(report)) = wire::receive(&mut control) {
        on_report(report);
    }
    on_report(Report::Gone);
}

/// A first process that is not set up yet; dropping it ends it.
struct Started {
    child: Option<Child>,
    control: UnixStream,
    cgroup: Cgroup,
}

impl Started {
    fn start(exe: &Path, cgroup: Cgroup, log: File) -> Result<Self, Error> {
        let second = log.try_clone().tried(|| "copy a file descriptor".to_owned())?;
        let (child, control) = match start(exe, Role::Init, log, second) {
            Ok(started) => started,
            Err(error) => {
                let _ = cgroup.remove();
                return Err(error);
            }
        };
        Ok(Self { child: Some(child), control, cgroup })
    }

    /// Puts the process into the environment's group, which becomes the root of
    /// the groups it sees, and makes the groups in it. Returns the directories of
    /// the group that it is to live in itself.
    fn groups(&self, spec: &InitSpec) -> Result<Vec<PathBuf>, Error> {
        self.cgroup.join(self.pid())?;
        for node in &spec.nodes {
            self.cgroup.child(&node.name)?;
        }
        Ok(self.cgroup.child("init")?.directories())
    }

    fn pid(&self) -> u32 {
        self.child.as_ref().map_or(0, Child::id)
    }

    fn namespace(&self, fd: i32) -> Result<Node, Error> {
        let path = PathBuf::from(format!("/proc/{}/fd/{fd}", self.pid()));
        let file = File::open(&path).map_err(|source| Error::file("open", &path, source))?;
        Ok(Node { namespace: file.into(), path })
    }

    fn into_parts(mut self) -> (Child, Cgroup) {
        let child = self.child.take().expect("taken only here and in drop");
        (child, self.cgroup.clone())
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = end(child, &self.cgroup);
        }
    }
}
