//! The boot of an environment: what is started when. Nothing waits for more
//! than it needs.
//!
//! ```text
//! namespaces + keys ─┬▶ etcd, apiserver ─▶ API serves ─┬▶ controller-manager, scheduler,
//!                    │                                 │  coredns, kube-proxy, objects
//!                    └▶ containerd ─▶ socket ─▶ kubelet, pause image
//! served: every node ready, default account there, a name answered
//! ```

use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::try_join_all;
use kube::Client;
use seatrial_core::stage;
use seatrial_sandbox::cgroup::{Cgroup, Limits};
use seatrial_sandbox::init::{Init, InitSpec, NodeSpec};
use seatrial_sandbox::owner::Owner;
use seatrial_sandbox::root::{Base, Mount, Root, system_mounts};
use tokio::task::JoinSet;

use crate::api;
use crate::commands::{Component, import_pause};
use crate::dns;
use crate::egress;
use crate::environment::{BootSpec, ClusterSpec, Components, Environment, Running, Snapshotter};
use crate::error::Error;
use crate::event::{OnEvent, Teller, What};
use crate::files::{
    BIN, CNI, CONTAINERD_SOCKET, LAYERS, PAUSE_ARCHIVE, Share, node_directories, node_files,
};
use crate::forward::Forward;
use crate::layout::{API_PORT, ClusterAt, Layout, NodeAt};
use crate::pause;
use crate::pki::{self, Pki};
use crate::policies;
use crate::processes::{Processes, Reports, Seen, poll};
use crate::storage;

/// How often a foreign process' socket is looked for.
const INTERVAL: Duration = Duration::from_millis(5);

/// The name that is asked for to know that names are answered.
const KNOWN_NAME: &str = "kubernetes.default.svc.cluster.local";

/// See [`Environment::boot`].
pub(crate) async fn boot(
    owner: &Owner,
    spec: BootSpec,
    on_event: OnEvent,
) -> Result<Environment, Error> {
    let teller = Teller::new(on_event);
    let deadline = Instant::now() + spec.within;
    let counts: Vec<u32> = spec.clusters.iter().map(|cluster| cluster.nodes).collect();
    let layout = Layout::new(&counts).ok_or_else(|| {
        Error::Refused("an environment has 1 to 8 clusters of 1 to 32 nodes each".to_owned())
    })?;
    let mut environment = set_up(owner, &spec, &layout, &teller).await?;
    teller.tell(What::SetUp);
    let booted = start(&environment, deadline, &teller).await;
    match booted {
        Ok(clients) => {
            let policies = spec.components.bin.join(Component::NetworkPolicies.name()).exists();
            start_tasks(&mut environment, clients, policies, &teller);
            teller.tell(What::Served);
            Ok(environment)
        }
        Err(error) => {
            let _ = environment.shutdown().await;
            Err(error)
        }
    }
}

/// Makes namespaces, keys and files; starts no component.
async fn set_up(
    owner: &Owner,
    spec: &BootSpec,
    layout: &Layout,
    teller: &Teller,
) -> Result<Environment, Error> {
    let absolute =
        |path: &Path| std::path::absolute(path).map_err(|source| Error::file("find", path, source));
    let (bin, cni) = (absolute(&spec.components.bin)?, absolute(&spec.components.cni)?);
    let components = Components { bin, cni };
    let dir = owner.dir().join(&spec.id);
    let bases: Vec<PathBuf> = layout.nodes().iter().map(|at| dir.join(at.name())).collect();
    for base in &bases {
        fs::create_dir_all(base).map_err(|source| Error::file("create", base, source))?;
    }
    let reports = Reports::new(layout.clone(), bases.clone(), teller.clone());
    let cgroup = owner.cgroup(&spec.id, &[])?;
    let memory = stage::memory(spec.clusters.iter().map(|one| (one.nodes, one.resources)));
    if let Err(error) = cgroup.limit(Limits { memory, tasks: None }) {
        let _ = cgroup.remove();
        return Err(error.into());
    }

    let keys = tokio::task::spawn_blocking({
        let layout = layout.clone();
        move || issue_keys(&layout)
    });
    let init = tokio::task::spawn_blocking({
        let more = egress::addresses(&spec.egress)?.into_values().collect();
        let init_spec = init_spec(layout, more, &bases, &components, &spec.snapshotter);
        let (exe, log, reports) = (spec.exe.clone(), dir.join("init.log"), Arc::clone(&reports));
        move || start_init(&exe, &init_spec, cgroup, &log, reports)
    });
    let (init, keys) = tokio::join!(init, keys);
    let init = Arc::new(init.map_err(|_| Error::Gone)??);
    let keys = keys.map_err(|_| Error::Gone)??;
    write_nodes(layout, &bases, &keys, spec)?;

    let processes = Processes { init, reports, layout: layout.clone() };
    let mut clusters = Vec::new();
    for ((at, pki), cluster) in layout.clusters().zip(keys).zip(&spec.clusters) {
        let first = at.first_node();
        let network = processes.init.node(layout.index(first)).ok_or(Error::Gone)?;
        let to = SocketAddrV4::new(first.address(), API_PORT);
        let forward = Forward::open(network, to).await?;
        let (name, tasks) = (cluster.name.clone(), JoinSet::new());
        clusters.push(Running { at, name, pki, forward, tasks });
    }
    let _egress = egress::open(processes.init.fabric(), &spec.egress)?;
    Ok(Environment { dir, processes, clusters, _egress })
}

fn issue_keys(layout: &Layout) -> Result<Vec<Pki>, Error> {
    let issue = |cluster| pki::issue(cluster, &layout.nodes_of(cluster)).map_err(Error::from);
    layout.clusters().map(issue).collect()
}

fn start_init(
    exe: &Path,
    spec: &InitSpec,
    cgroup: Cgroup,
    log: &Path,
    reports: Arc<Reports>,
) -> Result<Init, Error> {
    let log = fs::File::create(log).map_err(|source| Error::file("create", log, source))?;
    let init = Init::start(exe, spec, cgroup, log, move |report| reports.take(report))?;
    Ok(init)
}

fn init_spec(
    layout: &Layout,
    more: Vec<Ipv4Addr>,
    bases: &[PathBuf],
    components: &Components,
    snapshotter: &Snapshotter,
) -> InitSpec {
    let node = |(at, base): (NodeAt, &PathBuf)| NodeSpec {
        name: at.name(),
        link: layout.link(at),
        root: node_root(base, components, snapshotter),
    };
    let own = vec![Mount::Processes { network: false, values: vec![] }, Mount::Devices];
    InitSpec {
        fabric: layout.fabric(more),
        nodes: layout.nodes().into_iter().zip(bases).map(node).collect(),
        root: Root { base: Base::Empty, mounts: own },
    }
}

/// A node's root: a directory of its own with the machine's programs and the
/// components in it, read-only.
fn node_root(base: &Path, components: &Components, snapshotter: &Snapshotter) -> Root {
    // Values that kubelet insists on. They would be settings of the machine.
    let values = [
        ("vm/overcommit_memory", "1"),
        ("vm/panic_on_oom", "0"),
        ("kernel/panic", "10"),
        ("kernel/panic_on_oops", "1"),
        ("kernel/keys/root_maxkeys", "1000000"),
        ("kernel/keys/root_maxbytes", "25000000"),
    ];
    let values = values.map(|(name, value)| (name.to_owned(), format!("{value}\n"))).to_vec();
    let bind = |from: &Path, to: &str| Mount::Bind {
        from: from.to_owned(),
        to: to.into(),
        writable: false,
    };
    let mut mounts = system_mounts();
    mounts.extend([
        Mount::Link { to: "/etc/os-release".into(), target: "../usr/lib/os-release".into() },
        Mount::Devices,
        Mount::Processes { network: true, values },
        Mount::System,
        Mount::Cgroups,
        bind(&components.bin, BIN),
        bind(&components.cni, CNI),
    ]);
    if let Snapshotter::Erofs { layers } = snapshotter {
        mounts.push(bind(layers, LAYERS));
    }
    Root { base: Base::Directory(base.to_owned()), mounts }
}

fn write_nodes(
    layout: &Layout,
    bases: &[PathBuf],
    keys: &[Pki],
    spec: &BootSpec,
) -> Result<(), Error> {
    let program = spec.components.bin.join("pause");
    let program = fs::read(&program).map_err(|source| Error::file("read", program, source))?;
    let archive =
        pause::archive(&program).map_err(|source| Error::file("make", PAUSE_ARCHIVE, source))?;
    let egress = egress::addresses(&spec.egress)?;
    for (at, base) in layout.nodes().into_iter().zip(bases) {
        let cluster = usize::from(at.cluster);
        let (Some(pki), Some(cluster)) = (keys.get(cluster), spec.clusters.get(cluster)) else {
            continue;
        };
        for path in node_directories() {
            let path = beneath(base, path);
            fs::create_dir_all(&path).map_err(|source| Error::file("create", path, source))?;
        }
        for tmp in ["/tmp", "/var/tmp"].map(|path| beneath(base, path)) {
            fs::set_permissions(&tmp, fs::Permissions::from_mode(0o1777))
                .map_err(|source| Error::file("open", tmp, source))?;
        }
        write(&beneath(base, PAUSE_ARCHIVE), &archive)?;
        for file in node_files(at, pki, share(cluster), &egress, &spec.snapshotter) {
            write(&beneath(base, &file.path), file.content.as_bytes())?;
        }
    }
    Ok(())
}

/// Keys are among the files, and pods may be given the directory.
fn write(path: &Path, content: &[u8]) -> Result<(), Error> {
    let failed = |source| Error::file("write", path, source);
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(failed)?;
    }
    fs::write(path, content).map_err(failed)?;
    let secret = ["key", "kubeconfig", "csv"].map(Some);
    let secret = secret.contains(&path.extension().and_then(|e| e.to_str()))
        || path.ends_with("serviceaccount/token");
    let mode = if secret { 0o600 } else { 0o644 };
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(failed)
}

fn beneath(base: &Path, inside: &str) -> PathBuf {
    base.join(inside.trim_start_matches('/'))
}

/// What one node of `cluster` may hand out.
fn share(cluster: &ClusterSpec) -> Share {
    let nodes = u64::from(cluster.nodes.max(1));
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    Share {
        machine_cpu_millis: cpus as u64 * 1000,
        machine_memory: machine_memory().unwrap_or(0),
        cpu_millis: cluster.resources.cpu_millis.map(|cpu| cpu / nodes),
        memory: cluster.resources.memory.map(|memory| memory / nodes),
    }
}

/// `MemTotal` of `/proc/meminfo`, in bytes.
fn machine_memory() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

/// What goes on for as long as the environment lives.
fn start_tasks(
    environment: &mut Environment,
    clients: Vec<Client>,
    policies: bool,
    teller: &Teller,
) {
    let processes = &environment.processes;
    for (running, client) in environment.clusters.iter_mut().zip(clients) {
        let nodes = processes.layout.nodes_of(running.at);
        let bases = nodes.iter().map(|at| (*at, environment.dir.join(at.name()))).collect();
        running.tasks.spawn(storage::provide(client.clone(), bases));
        let (processes, teller) = (processes.clone(), teller.clone());
        running.tasks.spawn(policies::enforce(client, processes, nodes, policies, teller));
    }
}

/// Starts everything and waits until it can be used. Returns a client for each
/// cluster.
async fn start(
    environment: &Environment,
    deadline: Instant,
    teller: &Teller,
) -> Result<Vec<Client>, Error> {
    let processes = &environment.processes;
    // The longest chain first.
    for cluster in processes.layout.clusters() {
        processes.start(cluster.first_node(), Component::Etcd)?;
        processes.start(cluster.first_node(), Component::ApiServer)?;
    }
    for at in processes.layout.nodes() {
        processes.start(at, Component::Containerd)?;
    }
    let runtimes = processes.layout.nodes().into_iter().map(|at| {
        let socket = beneath(&environment.dir.join(at.name()), CONTAINERD_SOCKET);
        start_node(processes, at, socket, deadline, teller)
    });
    let clusters = environment
        .clusters
        .iter()
        .map(|running| start_cluster(environment, running, deadline, teller));
    let (_, clients) = tokio::try_join!(try_join_all(runtimes), try_join_all(clusters))?;
    Ok(clients)
}

async fn start_node(
    processes: &Processes,
    at: NodeAt,
    socket: PathBuf,
    deadline: Instant,
    teller: &Teller,
) -> Result<(), Error> {
    let seen = Seen::default();
    seen.set("there is no socket");
    let there = poll(INTERVAL, async || Ok(socket.exists().then_some(())));
    processes.wait("containerd's socket", deadline, &seen, there).await?;
    teller.tell(What::RuntimeAnswers { node: at.name() });
    processes.start(at, Component::Kubelet)?;
    let import = processes.run(at, "import-pause", import_pause());
    processes.wait("the pause image", deadline, &Seen::default(), import).await
}

async fn start_cluster(
    environment: &Environment,
    running: &Running,
    deadline: Instant,
    teller: &Teller,
) -> Result<Client, Error> {
    let processes = &environment.processes;
    let server = format!("https://127.0.0.1:{}", running.forward.port());
    let client = api::client(&running.kubeconfig(&server)).await?;
    let cluster = running.name.to_string();
    let nodes = processes.layout.nodes_of(running.at);

    let seen = Seen::default();
    processes.wait("the API server", deadline, &seen, api::serves(&client, &seen)).await?;
    teller.tell(What::ApiServes { cluster: cluster.clone() });
    let first = running.at.first_node();
    processes.start(first, Component::ControllerManager)?;
    processes.start(first, Component::Scheduler)?;
    processes.start(first, Component::CoreDns)?;
    for at in &nodes {
        processes.start(*at, Component::KubeProxy)?;
    }
    let seen = Seen::default();
    let authority = &running.pki.authority.certificate;
    let write = api::write_objects(&client, running.at, &nodes, authority, &seen);
    processes.wait("the cluster's own objects", deadline, &seen, write).await?;

    let ready = try_join_all(nodes.iter().map(|at| async {
        let seen = Seen::default();
        let what = format!("node {}", at.name());
        processes.wait(&what, deadline, &seen, api::node_ready(&client, *at, &seen)).await?;
        teller.tell(What::NodeReady { node: at.name() });
        Ok::<(), Error>(())
    }));
    let account = async {
        let seen = Seen::default();
        let exists = api::account_exists(&client);
        processes.wait("the default ServiceAccount", deadline, &seen, exists).await?;
        teller.tell(What::AccountExists { cluster: cluster.clone() });
        Ok(())
    };
    let names = async {
        let seen = Seen::default();
        let answers = names_answered(environment, running.at, &seen);
        processes.wait("the name server", deadline, &seen, answers).await?;
        teller.tell(What::DnsAnswers { cluster: cluster.clone() });
        Ok(())
    };
    tokio::try_join!(ready, account, names)?;
    Ok(client)
}

async fn names_answered(
    environment: &Environment,
    cluster: ClusterAt,
    seen: &Seen,
) -> Result<(), Error> {
    let network = environment.node_network(cluster.first_node())?;
    poll(Duration::from_millis(20), async || {
        let answer = dns::ask(network, cluster.dns(), KNOWN_NAME).await?;
        Ok(answer.map_err(|why| seen.set(why)).ok().map(|_| ()))
    })
    .await
}
