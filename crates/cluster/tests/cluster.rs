//! Real clusters. These tests need root, and the components: the directory named
//! by `SEATRIAL_COMPONENTS`, else what `seatrial components install` has put
//! into the user's cache.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::api::{Api, DeleteParams, ListParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::runtime::conditions::is_pod_running;
use kube::runtime::wait::{Condition, await_condition};
use kube::{Client, Config};
use seatrial_cluster::{
    BootSpec, ClusterSpec, Components, Environment, Error, Event, Snapshotter, What,
};
use seatrial_core::pipeline::{Egress, Resources};
use seatrial_sandbox::owner::{Owner, sweep};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const ENTRY: &str = env!("CARGO_BIN_EXE_cluster-entry");

/// One of these tests at a time, also between processes: they measure, and a
/// machine that boots five clusters at once measures itself.
fn alone() -> std::fs::File {
    let path = std::env::temp_dir().join("seatrial-cluster-tests.lock");
    let file = std::fs::File::create(path).unwrap();
    file.lock().unwrap();
    file
}

fn components() -> Components {
    if let Some(dir) = std::env::var_os("SEATRIAL_COMPONENTS").map(PathBuf::from) {
        return Components { bin: dir.join("bin"), cni: dir.join("cni") };
    }
    let cache = std::env::var_os("XDG_CACHE_HOME").map_or_else(
        || PathBuf::from(std::env::var_os("HOME").expect("HOME")).join(".cache"),
        PathBuf::from,
    );
    let status =
        seatrial_components::Components::locked().locate(&cache.join("seatrial/components"));
    let status = match status.installed {
        Some(installed) => Some(installed),
        None => seatrial_components::Components::locked().locate(&cache.join("seatrial")).installed,
    };
    let installed =
        status.expect("the components are not installed: `seatrial components install`");
    Components { bin: installed.bin, cni: installed.cni }
}

fn spec(id: &str, nodes: &[u32]) -> BootSpec {
    let cluster = |(index, nodes): (usize, &u32)| ClusterSpec {
        name: format!("c{index}").parse().unwrap(),
        nodes: *nodes,
        resources: Resources { cpu_millis: Some(1000), memory: Some(2 << 30) },
    };
    BootSpec {
        id: id.into(),
        exe: ENTRY.into(),
        components: components(),
        clusters: nodes.iter().enumerate().map(cluster).collect(),
        egress: vec![],
        snapshotter: Snapshotter::Overlayfs,
        within: Duration::from_secs(120),
    }
}

async fn boot(owner: &Owner, id: &str, nodes: &[u32]) -> Environment {
    Environment::boot(owner, spec(id, nodes), Arc::new(|_| {})).await.unwrap()
}

async fn client(environment: &Environment, cluster: &str) -> Client {
    let text = environment.kubeconfig(&cluster.parse().unwrap()).unwrap();
    let parsed = Kubeconfig::from_yaml(&text).unwrap();
    let options = KubeConfigOptions::default();
    Client::try_from(Config::from_custom_kubeconfig(parsed, &options).await.unwrap()).unwrap()
}

async fn wait<K>(api: &Api<K>, name: &str, condition: impl Condition<K>)
where
    K: kube::Resource
        + Clone
        + std::fmt::Debug
        + Send
        + Sync
        + serde::de::DeserializeOwned
        + 'static,
{
    let within = Duration::from_secs(60);
    if tokio::time::timeout(within, await_condition(api.clone(), name, condition)).await.is_err() {
        panic!("not in time; last seen: {:#?}", api.get(name).await);
    }
}

fn pod(name: &str, node: &str) -> Pod {
    serde_json::from_value(json!({
        "metadata": {"name": name},
        "spec": {
            "containers": [{"name": "c", "image": "localhost/pause:1", "imagePullPolicy": "Never"}],
            "nodeSelector": {"kubernetes.io/hostname": node},
            "terminationGracePeriodSeconds": 0,
        },
    }))
    .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn two_environments_side_by_side_run_pods_and_leave_nothing() {
    let _alone = alone();
    let state = tempfile::tempdir().unwrap();
    let owner = Owner::register(state.path()).unwrap();
    let outside = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = outside.local_addr().unwrap().port();
    let mut spec = spec("one", &[1]);
    spec.egress = vec![Egress { host: "localhost".into(), port }];
    let one = Environment::boot(&owner, spec, Arc::new(|_| {}));
    // No layer is there: its nodes make a file system of `pause` themselves.
    let layers = tempfile::tempdir().unwrap();
    let mut spec = self::spec("two", &[1]);
    spec.snapshotter = Snapshotter::Erofs { layers: layers.path().to_owned() };
    let two = Environment::boot(&owner, spec, Arc::new(|_| {}));
    let (one, two) = tokio::try_join!(one, two).unwrap();
    for environment in [&one, &two] {
        let pods: Api<Pod> = Api::default_namespaced(client(environment, "c0").await);
        pods.create(&PostParams::default(), &pod("a", "c0n0")).await.unwrap();
        wait(&pods, "a", is_pod_running()).await;
    }
    let node = |id: &str| owner.dir().join(id).join("c0n0/var/lib/containerd");
    let snapshots = |id: &str, name: &str| {
        let dir = format!("io.containerd.snapshotter.v1.{name}/snapshots");
        std::fs::read_dir(node(id).join(dir)).map_or(0, Iterator::count)
    };
    assert!(snapshots("one", "overlayfs") > 0 && snapshots("one", "erofs") == 0);
    assert!(snapshots("two", "erofs") > 0 && snapshots("two", "overlayfs") == 0);
    // The same names and addresses, and yet not the same.
    let pods: Api<Pod> = Api::default_namespaced(client(&one, "c0").await);
    pods.delete("a", &DeleteParams::default()).await.unwrap();
    let pods: Api<Pod> = Api::default_namespaced(client(&two, "c0").await);
    assert!(pods.get_opt("a").await.unwrap().is_some());

    // What one declared as egress is a way out for it, and for nobody else.
    let cluster = "c0".parse().unwrap();
    let name = one.resolve(&cluster, "localhost").await.unwrap();
    let way = std::net::SocketAddrV4::new(name.expect("it is declared"), port);
    let mut inside = one.connect(&cluster, way).await.unwrap();
    inside.write_all(b"hello").await.unwrap();
    let mut said = [0; 5];
    outside.accept().await.unwrap().0.read_exact(&mut said).await.unwrap();
    assert_eq!(&said, b"hello");
    two.resolve(&cluster, "localhost").await.unwrap().unwrap_err();
    two.connect(&cluster, way).await.unwrap_err();

    assert!(one.usage().core_us > 1_000_000, "{:?}", one.usage());
    let pids = [one.pid(), two.pid()];
    let (one, two) = tokio::join!(one.shutdown(), two.shutdown());
    one.and(two).unwrap();
    assert_eq!(processes_below(&pids), Vec::<String>::new());
    assert_eq!(std::fs::read_dir(owner.dir()).unwrap().count(), 0);
    owner.remove().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn volumes_services_and_names_work_on_two_nodes() {
    let _alone = alone();
    let state = tempfile::tempdir().unwrap();
    let owner = Owner::register(state.path()).unwrap();
    let environment = boot(&owner, "e", &[2]).await;
    let client = client(&environment, "c0").await;

    // A pod on the second node, with a volume, behind a Service.
    let sets: Api<StatefulSet> = Api::default_namespaced(client.clone());
    let set = serde_json::from_value(json!({
        "metadata": {"name": "db"},
        "spec": {
            "serviceName": "db",
            "selector": {"matchLabels": {"app": "db"}},
            "template": {
                "metadata": {"labels": {"app": "db"}},
                "spec": {
                    "nodeSelector": {"kubernetes.io/hostname": "c0n1"},
                    "containers": [{
                        "name": "c",
                        "image": "localhost/pause:1",
                        "imagePullPolicy": "Never",
                        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
                    }],
                    "terminationGracePeriodSeconds": 0,
                },
            },
            "volumeClaimTemplates": [{
                "metadata": {"name": "data"},
                "spec": {
                    "accessModes": ["ReadWriteOnce"],
                    "resources": {"requests": {"storage": "1Gi"}},
                },
            }],
        },
    }))
    .unwrap();
    sets.create(&PostParams::default(), &set).await.unwrap();
    let services: Api<Service> = Api::default_namespaced(client.clone());
    let service = serde_json::from_value(json!({
        "metadata": {"name": "db"},
        "spec": {"selector": {"app": "db"}, "ports": [{"port": 80}]},
    }))
    .unwrap();
    services.create(&PostParams::default(), &service).await.unwrap();
    let pods: Api<Pod> = Api::default_namespaced(client.clone());
    wait(&pods, "db-0", is_pod_running()).await;
    let db = pods.get("db-0").await.unwrap();
    let address = db.status.unwrap().pod_ip.unwrap();
    assert!(address.starts_with("10.244.1."), "{address}");

    // The pod is reached from the first node: it refuses, which it must hear of.
    let to = format!("{address}:80").parse().unwrap();
    let refused = environment.connect(&"c0".parse().unwrap(), to).await.unwrap_err();
    let Error::Socket { source, .. } = refused else { panic!("{refused:?}") };
    assert_eq!(source.kind(), std::io::ErrorKind::ConnectionRefused);
    // So is the Service: its rules lead to the pod, once the endpoint is known.
    let slices: Api<EndpointSlice> = Api::default_namespaced(client.clone());
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let params = ListParams::default().labels("kubernetes.io/service-name=db");
        let list = slices.list(&params).await.unwrap();
        if list.items.iter().any(|slice| slice.endpoints.as_ref().is_some_and(|e| !e.is_empty())) {
            break;
        }
        assert!(Instant::now() < deadline, "{list:?}");
        #[expect(clippy::disallowed_methods, reason = "looks again until the deadline")]
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    // The claim goes, its volume goes.
    let claims: Api<PersistentVolumeClaim> = Api::default_namespaced(client.clone());
    let volumes: Api<PersistentVolume> = Api::all(client);
    let volume = claims.get("data-db-0").await.unwrap().spec.unwrap().volume_name.unwrap();
    sets.delete("db", &DeleteParams::default()).await.unwrap();
    claims.delete("data-db-0", &DeleteParams::default()).await.unwrap();
    wait(&volumes, &volume, |volume: Option<&PersistentVolume>| volume.is_none()).await;

    // What listens on the fabric is reached by nodes; nothing of the machine is.
    let listener = environment.listen("10.0.0.1:5000".parse().unwrap()).unwrap();
    let to = listener.local_addr().unwrap().to_string().parse().unwrap();
    let name = "c0".parse().unwrap();
    let (accepted, connected) = tokio::join!(listener.accept(), environment.connect(&name, to));
    accepted.unwrap();
    connected.unwrap();
    let outside = environment.connect(&name, "192.0.2.1:80".parse().unwrap()).await.unwrap_err();
    assert!(outside.failure().message.contains("No route to host"), "{outside:?}");

    environment.shutdown().await.unwrap();
    owner.remove().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_policy_holds_from_the_first_one_on() {
    let _alone = alone();
    let state = tempfile::tempdir().unwrap();
    let owner = Owner::register(state.path()).unwrap();
    let events: Arc<Mutex<Vec<What>>> = Arc::default();
    let tell = Arc::clone(&events);
    let on_event = Arc::new(move |event: Event| tell.lock().unwrap().push(event.what));
    let environment = Environment::boot(&owner, spec("e", &[1]), on_event).await.unwrap();
    let client = client(&environment, "c0").await;
    let pods: Api<Pod> = Api::default_namespaced(client.clone());
    let mut target = pod("a", "c0n0");
    target.metadata.labels = Some([("app".to_owned(), "a".to_owned())].into());
    pods.create(&PostParams::default(), &target).await.unwrap();
    wait(&pods, "a", is_pod_running()).await;
    let address = pods.get("a").await.unwrap().status.unwrap().pod_ip.unwrap();
    let to: std::net::SocketAddrV4 = format!("{address}:80").parse().unwrap();

    // From the fabric, as from another node: refused by the pod itself.
    assert_eq!(knock(&environment, to).await, Knock::Refused);
    let policies: Api<NetworkPolicy> = Api::default_namespaced(client);
    let policy = serde_json::from_value(json!({
        "metadata": {"name": "closed"},
        "spec": {"podSelector": {"matchLabels": {"app": "a"}}, "policyTypes": ["Ingress"]},
    }))
    .unwrap();
    policies.create(&PostParams::default(), &policy).await.unwrap();
    until(&environment, to, Knock::Silence, &events).await;
    policies.delete("closed", &DeleteParams::default()).await.unwrap();
    until(&environment, to, Knock::Refused, &events).await;
    environment.shutdown().await.unwrap();
    owner.remove().unwrap();
}

#[derive(Debug, PartialEq, Eq)]
enum Knock {
    Refused,
    Silence,
}

async fn knock(environment: &Environment, to: std::net::SocketAddrV4) -> Knock {
    let connect = environment.connect_from_fabric(to);
    match tokio::time::timeout(Duration::from_millis(500), connect).await {
        Ok(Err(Error::Socket { source, .. })) => {
            assert_eq!(source.kind(), std::io::ErrorKind::ConnectionRefused);
            Knock::Refused
        }
        Ok(other) => panic!("{other:?}"),
        Err(_) => Knock::Silence,
    }
}

async fn until(
    environment: &Environment,
    to: std::net::SocketAddrV4,
    wanted: Knock,
    events: &Mutex<Vec<What>>,
) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while knock(environment, to).await != wanted {
        assert!(Instant::now() < deadline, "never {wanted:?}; {:?}", events.lock().unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_that_dies_is_reported_with_its_last_words() {
    let _alone = alone();
    let state = tempfile::tempdir().unwrap();
    let owner = Owner::register(state.path()).unwrap();
    // An API server that cannot be one.
    let fake = state.path().join("bin");
    std::fs::create_dir(&fake).unwrap();
    let real = components();
    for entry in std::fs::read_dir(&real.bin).unwrap().flatten() {
        let to = fake.join(entry.file_name());
        if entry.file_name() == "kube-apiserver" {
            std::fs::copy("/bin/false", to).unwrap();
        } else if entry.file_name() == "etcd" {
            std::fs::copy(entry.path(), to).unwrap();
        } else {
            std::fs::write(to, "").unwrap();
        }
    }
    let mut spec = spec("e", &[1]);
    spec.components.bin = fake;
    let events: Arc<Mutex<Vec<Event>>> = Arc::default();
    let tell = Arc::clone(&events);
    let on_event = Arc::new(move |event| tell.lock().unwrap().push(event));
    let error = Environment::boot(&owner, spec, on_event).await.unwrap_err();
    let shown = error.to_string();
    assert!(shown.contains("on c0n0 ended with"), "{shown}");
    let died = |event: &Event| matches!(event.what, What::ComponentDied { .. });
    assert!(events.lock().unwrap().iter().any(died));
    owner.remove().unwrap();
}

#[test]
fn a_killed_owner_leaves_nothing_running() {
    let _alone = alone();
    let state = tempfile::tempdir().unwrap();
    let real = components();
    let mut owner = Command::new(ENTRY)
        .arg(state.path())
        .args([&real.bin, &real.cni])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(owner.stdout.take().unwrap()).lines();
    let pid: u32 = lines.next().unwrap().unwrap().parse().unwrap();
    let namespace = std::fs::read_link(format!("/proc/{pid}/ns/pid")).unwrap();
    assert!(processes_in(&namespace) > 8);
    let mounts = || std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let links = || std::fs::read_dir("/sys/class/net").unwrap().count();
    let before = (mounts(), links());

    owner.kill().unwrap();
    let killed = Instant::now();
    owner.wait().unwrap();
    while processes_in(&namespace) > 0 {
        assert!(killed.elapsed() < Duration::from_secs(10), "{} left", processes_in(&namespace));
        #[expect(clippy::disallowed_methods, reason = "no event tells that a namespace is empty")]
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!((mounts(), links()), before);
    // Only files and empty control groups are left, for the next start.
    let swept = sweep(state.path()).unwrap();
    assert_eq!(swept.len(), 1);
    assert!(control_groups(&swept[0]).is_empty());
    assert_eq!(std::fs::read_dir(state.path().join("live")).unwrap().count(), 0);
}

fn processes_below(pids: &[u32]) -> Vec<String> {
    let alive = |pid: &&u32| Path::new("/proc").join(pid.to_string()).exists();
    pids.iter().filter(alive).map(u32::to_string).collect()
}

/// How many processes live in the pid namespace `namespace`. A dead one that
/// the machine's init has not waited for yet holds nothing any more.
fn processes_in(namespace: &Path) -> usize {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let lives_there = |entry: &std::fs::DirEntry| {
        let same = std::fs::read_link(entry.path().join("ns/pid")).is_ok_and(|n| n == namespace);
        let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        same && stat.rsplit_once(") ").is_some_and(|(_, state)| !state.starts_with('Z'))
    };
    entries.filter(lives_there).count()
}

fn control_groups(owner: &str) -> Vec<PathBuf> {
    let hierarchies = std::fs::read_dir("/sys/fs/cgroup").unwrap().flatten();
    let paths = hierarchies.map(|entry| entry.path().join("seatrial").join(owner));
    paths.filter(|path| path.exists()).collect()
}
