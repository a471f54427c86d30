//! The inside of an environment's first process. One thread.

use std::fs;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, sethostname};
use seatrial_core::failure::Failure;

use super::first::{Children, Wake, control_socket};
use super::{InitSpec, NodeSpec, Order, Report, Spawn};
use crate::cgroup::delegate;
use crate::error::{Error, Tried};
use crate::netns::{set_up_fabric, set_up_link};
use crate::privilege::{OF_THE_MACHINE, drop_capabilities};
use crate::wire;

/// Runs as process 1 of an environment; returns the exit code.
pub(crate) fn inside() -> i32 {
    let Ok(mut owner) = control_socket() else {
        return 2;
    };
    let Ok(Some((spec, leaf))) = wire::receive::<(InitSpec, Vec<PathBuf>)>(&mut owner) else {
        return 2;
    };
    let set_up = set_up(&spec, &leaf).and_then(|spaces| Ok((spaces, Children::new()?)));
    let (spaces, children) = match set_up {
        Ok(done) => done,
        Err(error) => {
            let _ = wire::send(&mut owner, &Report::Failed(Failure::chain(&error)));
            return 1;
        }
    };
    let (own, nodes) = spaces;
    let ready = Report::Ready {
        fabric: own.network.as_raw_fd(),
        nodes: nodes.iter().map(|node| node.network.as_raw_fd()).collect(),
    };
    if wire::send(&mut owner, &ready).is_err() {
        return 0;
    }
    let mut init = Inside { own, nodes, children, running: Vec::new() };
    match init.serve(&mut owner) {
        Ok(()) => 0,
        Err(_) => 1,
    }
}

/// The namespaces of a node, or of the first process itself. The descriptors
/// keep them alive; when this process ends, nothing does.
struct Spaces {
    network: File,
    mounts: File,
    names: File,
}

impl Spaces {
    fn current() -> Result<Self, Error> {
        let open = |name: &str| {
            let path = format!("/proc/self/ns/{name}");
            File::open(&path).map_err(|source| Error::file("open", path, source))
        };
        Ok(Self { network: open("net")?, mounts: open("mnt")?, names: open("uts")? })
    }

    fn enter_network(&self) -> Result<(), Error> {
        setns(&self.network, CloneFlags::CLONE_NEWNET)
            .and_then(|()| setns(&self.names, CloneFlags::CLONE_NEWUTS))
            .tried(|| "enter a node's network".to_owned())
    }

    fn enter(&self) -> Result<(), Error> {
        self.enter_network()?;
        setns(&self.mounts, CloneFlags::CLONE_NEWNS).tried(|| "enter a node's mounts".to_owned())
    }
}

/// Sets everything up and returns the own namespaces and those of the nodes.
fn set_up(spec: &InitSpec, leaf: &[PathBuf]) -> Result<(Spaces, Vec<Spaces>), Error> {
    let flags = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWCGROUP;
    unshare(flags).tried(|| "make namespaces".to_owned())?;
    join_leaf(leaf)?;
    sethostname("fabric").tried(|| "set the host name".to_owned())?;
    let outside = Spaces::current()?;
    // The number of this process where `ip` looks for it: in the machine's /proc.
    let own = fs::read_link("/proc/self").map_err(|e| Error::file("read", "/proc/self", e))?;

    let mut networks = Vec::new();
    for node in &spec.nodes {
        unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWUTS)
            .tried(|| "make a node's network".to_owned())?;
        sethostname(&node.name).tried(|| "set a node's host name".to_owned())?;
        networks.push(Spaces::current()?);
        outside.enter_network()?;
    }
    let ends: Vec<(String, String)> = spec
        .nodes
        .iter()
        .zip(&networks)
        .map(|(node, spaces)| {
            let fd = spaces.network.as_raw_fd();
            (node.name.clone(), format!("/proc/{}/fd/{fd}", own.display()))
        })
        .collect();
    set_up_fabric(&spec.fabric, &ends)?;

    let mut nodes = Vec::new();
    for (node, network) in spec.nodes.iter().zip(&networks) {
        network.enter_network()?;
        nodes.push(set_up_node(spec, node)?);
        outside.enter()?;
    }
    spec.root.enter()?;
    drop_capabilities(OF_THE_MACHINE)?;
    Ok((Spaces::current()?, nodes))
}

/// Moves this process into its own group inside the environment's, which until
/// here was its own, and hands the controllers on where that is needed.
fn join_leaf(leaf: &[PathBuf]) -> Result<(), Error> {
    for dir in leaf {
        let procs = dir.join("cgroup.procs");
        fs::write(&procs, "0").map_err(|source| Error::file("write", procs, source))?;
        let Some(parent) = dir.parent() else { continue };
        if parent.join("cgroup.controllers").exists() && leaf.len() == 1 {
            delegate(parent)?;
        }
    }
    Ok(())
}

/// Sets up the link and the root of a node, in its network namespace.
fn set_up_node(spec: &InitSpec, node: &NodeSpec) -> Result<Spaces, Error> {
    set_up_link(&spec.fabric, &node.link)?;
    unshare(CloneFlags::CLONE_NEWNS).tried(|| "make a node's mounts".to_owned())?;
    node.root.enter()?;
    Spaces::current()
}

struct Inside {
    own: Spaces,
    nodes: Vec<Spaces>,
    children: Children,
    running: Vec<(i32, String)>,
}

impl Inside {
    fn serve(&mut self, owner: &mut UnixStream) -> Result<(), Error> {
        loop {
            let reports = match self.children.wait(owner)? {
                Wake::Child => self.reap(),
                Wake::Owner => match wire::receive(owner) {
                    Ok(Some(Order::Spawn(spawn))) => vec![self.spawn(&spawn)],
                    Ok(Some(Order::Signal { id, signal })) => {
                        self.signal(&id, signal);
                        vec![]
                    }
                    Ok(None) | Err(_) => return Ok(()),
                },
            };
            for report in reports {
                if wire::send(owner, &report).is_err() {
                    return Ok(());
                }
            }
        }
    }

    fn spawn(&mut self, spawn: &Spawn) -> Report {
        let id = spawn.id.clone();
        let started = self.start(spawn);
        // Whatever happened: back, or the next one starts on this node too.
        match started.and_then(|pid| self.own.enter().map(|()| pid)) {
            Ok(pid) => {
                self.running.push((pid, id.clone()));
                Report::Started { id, pid }
            }
            Err(error) => {
                let _ = self.own.enter();
                Report::NotStarted { id, why: Failure::chain(&error) }
            }
        }
    }

    fn start(&self, spawn: &Spawn) -> Result<i32, Error> {
        let node = self
            .nodes
            .get(spawn.node)
            .ok_or_else(|| Error::Refused(format!("there is no node {}", spawn.node)))?;
        node.enter()?;
        self.children.start_logged(&spawn.argv, &spawn.env, &spawn.cwd, &spawn.log)
    }

    fn reap(&mut self) -> Vec<Report> {
        let mut reports = Vec::new();
        for (pid, status) in self.children.reap() {
            // Others are orphans of what was started here.
            if let Some(index) = self.running.iter().position(|(running, _)| *running == pid) {
                let (_, id) = self.running.swap_remove(index);
                reports.push(Report::Exited { id, status });
            }
        }
        reports
    }

    fn signal(&self, id: &str, signal: i32) {
        let Some((pid, _)) = self.running.iter().find(|(_, name)| name == id) else {
            return;
        };
        if let Ok(signal) = Signal::try_from(signal) {
            let _ = kill(Pid::from_raw(*pid), signal);
        }
    }
}
