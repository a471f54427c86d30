//! An environment: what a suite tests against.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use seatrial_core::name::Name;
use seatrial_core::pipeline::{Egress, Resources};
use seatrial_sandbox::cgroup::Usage;
use seatrial_sandbox::owner::Owner;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::boot;
use crate::dns;
use crate::error::Error;
use crate::event::OnEvent;
use crate::files::{kubeconfig, resolv_conf, server_inside};
use crate::forward::{self, Forward};
use crate::layout::{ClusterAt, NodeAt};
use crate::pki::Pki;
use crate::processes::Processes;

/// What to boot.
#[derive(Debug, Clone)]
pub struct BootSpec {
    /// Name of the environment among those of this owner, for its directory and
    /// control group.
    pub id: String,
    /// An executable that calls [`seatrial_sandbox::enter_if_asked`], mostly
    /// `/proc/self/exe`.
    pub exe: PathBuf,
    /// What clusters are made of.
    pub components: Components,
    /// The clusters, at least one.
    pub clusters: Vec<ClusterSpec>,
    /// Where pods may connect to outside, over TCP, by name.
    pub egress: Vec<Egress>,
    /// How nodes hold the files of images.
    pub snapshotter: Snapshotter,
    /// How long it may take until all of them can be used.
    pub within: Duration,
}

/// Directories with the programs that clusters are made of.
#[derive(Debug, Clone)]
pub struct Components {
    /// Kubernetes, etcd, containerd, runc, CoreDNS, `pause`.
    pub bin: PathBuf,
    /// The CNI plugins.
    pub cni: PathBuf,
}

/// How a node holds the files of images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Snapshotter {
    /// Layers are unpacked into directories. Works everywhere.
    Overlayfs,
    /// Layers are EROFS file systems. This needs Linux 6.12 with
    /// `CONFIG_EROFS_FS_BACKED_BY_FILE`, and `mkfs.erofs` among the machine's
    /// programs for layers that are not in `layers`.
    Erofs {
        /// A directory as containerd's `layer_content_caches` wants it. A layer
        /// that is there when it is pulled is mounted from there, neither
        /// fetched nor unpacked, and has to stay while the environment lives.
        layers: PathBuf,
    },
}

/// One cluster to boot.
#[derive(Debug, Clone)]
pub struct ClusterSpec {
    /// Its name.
    pub name: Name,
    /// Number of nodes, at least 1.
    pub nodes: u32,
    /// What its pods may use, over all nodes; what is not given is what the
    /// machine has.
    pub resources: Resources,
}

/// Clusters that run. Dropping it ends them at once; [`Environment::shutdown`]
/// also removes their files.
pub struct Environment {
    pub(crate) dir: PathBuf,
    pub(crate) processes: Processes,
    pub(crate) clusters: Vec<Running>,
    /// Ways out; they close when this is dropped.
    pub(crate) _egress: JoinSet<()>,
}

/// One cluster that runs.
pub(crate) struct Running {
    pub(crate) at: ClusterAt,
    pub(crate) name: Name,
    pub(crate) pki: Pki,
    pub(crate) forward: Forward,
    /// Provides volumes and enforces policies; ends with this value.
    pub(crate) tasks: JoinSet<()>,
}

impl Environment {
    /// Boots clusters and waits until they can be used: nodes ready, names
    /// answered, pods of the default ServiceAccount possible. The registry can be
    /// listening only later (see [`Environment::listen`]); booting needs no image.
    ///
    /// # Errors
    /// When a namespace cannot be made, a component ends, or something does not
    /// come in time; nothing runs then.
    pub async fn boot(owner: &Owner, spec: BootSpec, on_event: OnEvent) -> Result<Self, Error> {
        boot::boot(owner, spec, on_event).await
    }

    /// A kubeconfig of the administrator of a cluster for use on this machine:
    /// its server is a port of 127.0.0.1 that leads inside.
    #[must_use]
    pub fn kubeconfig(&self, cluster: &Name) -> Option<String> {
        let running = self.running(cluster)?;
        Some(running.kubeconfig(&format!("https://127.0.0.1:{}", running.forward.port())))
    }

    /// A kubeconfig of the administrator of a cluster for use in the network of
    /// a node or in a pod.
    #[must_use]
    pub fn kubeconfig_inside(&self, cluster: &Name) -> Option<String> {
        let running = self.running(cluster)?;
        Some(running.kubeconfig(&server_inside(running.at)))
    }

    /// A path to the network namespace of a cluster's first node, for
    /// [`seatrial_sandbox::action::Network::Join`]: addresses of pods and Services
    /// work there.
    #[must_use]
    pub fn network_path(&self, cluster: &Name) -> Option<&Path> {
        let at = self.running(cluster)?.at.first_node();
        self.processes.init.node_path(self.processes.layout.index(at))
    }

    /// The `/etc/resolv.conf` to use in that network.
    #[must_use]
    pub fn resolv_conf(&self, cluster: &Name) -> Option<String> {
        Some(resolv_conf(self.running(cluster)?.at))
    }

    /// Listens inside; `at` is an address of the fabric
    /// ([`crate::layout::FABRIC`]), which pods and nodes reach.
    ///
    /// # Errors
    /// When the address is taken or not one of the fabric.
    pub fn listen(&self, at: SocketAddrV4) -> Result<TcpListener, Error> {
        forward::listen(self.processes.init.fabric(), at)
    }

    /// Connects to a node, pod or Service as from a cluster's first node.
    ///
    /// # Errors
    /// When there is no such cluster, or nothing accepts there.
    pub async fn connect(&self, cluster: &Name, to: SocketAddrV4) -> Result<TcpStream, Error> {
        let running = self.running(cluster);
        let at = running.ok_or_else(|| Error::Refused(format!("no cluster `{cluster}`")))?.at;
        forward::connect(self.node_network(at.first_node())?, to).await
    }

    /// Connects to a node or pod as from outside of every cluster.
    ///
    /// # Errors
    /// When nothing accepts there.
    pub async fn connect_from_fabric(&self, to: SocketAddrV4) -> Result<TcpStream, Error> {
        forward::connect(self.processes.init.fabric(), to).await
    }

    /// The address that a cluster's name server has for a name; `Err` in `Ok` is
    /// what it answers instead.
    ///
    /// # Errors
    /// When there is no such cluster, or it cannot be asked.
    pub async fn resolve(
        &self,
        cluster: &Name,
        name: &str,
    ) -> Result<Result<Ipv4Addr, String>, Error> {
        let running = self.running(cluster);
        let at = running.ok_or_else(|| Error::Refused(format!("no cluster `{cluster}`")))?.at;
        dns::ask(self.node_network(at.first_node())?, at.dns(), name).await
    }

    /// What the whole environment has used.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.processes.init.cgroup().usage()
    }

    /// The end of what each component wrote, by node and component.
    #[must_use]
    pub fn component_logs(&self) -> Vec<(String, String)> {
        self.processes.reports.logs()
    }

    /// The number, on this machine, of the environment's first process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.processes.init.pid()
    }

    /// Ends all clusters, waits until nothing of them runs, and removes their
    /// control groups and files.
    ///
    /// # Errors
    /// When something cannot be removed.
    pub async fn shutdown(self) -> Result<(), Error> {
        let dir = self.dir.clone();
        self.processes.reports.ending();
        let end = move || {
            self.processes.init.end()?;
            drop(self);
            std::fs::remove_dir_all(&dir).map_err(|source| Error::file("remove", dir, source))
        };
        tokio::task::spawn_blocking(end).await.map_err(|_| Error::Gone)?
    }

    pub(crate) fn node_network(&self, at: NodeAt) -> Result<BorrowedFd<'_>, Error> {
        self.processes.init.node(self.processes.layout.index(at)).ok_or(Error::Gone)
    }

    fn running(&self, cluster: &Name) -> Option<&Running> {
        self.clusters.iter().find(|running| running.name == *cluster)
    }
}

impl Running {
    pub(crate) fn kubeconfig(&self, server: &str) -> String {
        kubeconfig(self.name.as_str(), server, &self.pki, &self.pki.master)
    }
}

impl Drop for Environment {
    fn drop(&mut self) {
        self.processes.reports.ending();
        let _ = self.processes.init.end();
    }
}

impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Environment").field("dir", &self.dir).finish_non_exhaustive()
    }
}
