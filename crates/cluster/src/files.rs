//! What is written on a node's disk before anything runs there.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

use crate::environment::Snapshotter;
use crate::layout::{API_PORT, ClusterAt, FABRIC, NodeAt, REGISTRY_PORT};
use crate::pause::architecture;
use crate::pki::{Pair, Pki};
use crate::storage::VOLUMES;

/// Where the components' programs are on a node.
pub(crate) const BIN: &str = "/opt/seatrial/bin";

/// Where the CNI plugins are on a node.
pub(crate) const CNI: &str = "/opt/seatrial/cni";

/// Where the layers that are mounted as they are are on a node.
pub(crate) const LAYERS: &str = "/opt/seatrial/layers";

/// Where the output of components is on a node.
pub(crate) const LOGS: &str = "/var/log/seatrial";

/// Where kubeconfigs, keys and configuration files are on a node.
pub(crate) const ETC: &str = "/etc/kubernetes";

/// containerd's socket on a node.
pub(crate) const CONTAINERD_SOCKET: &str = "/run/containerd/containerd.sock";

/// Where a program that knows no kubeconfig looks for its credentials.
const ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// The image that every pod's sandbox is made of; never looked up anywhere.
pub(crate) const PAUSE: &str = "localhost/pause:1";

/// The archive with [`PAUSE`] on a node.
pub(crate) const PAUSE_ARCHIVE: &str = "/var/lib/seatrial/pause.tar";

/// A file on a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NodeFile {
    pub(crate) path: String,
    pub(crate) content: String,
}

/// What the machine has, and how much of it a node may hand out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Share {
    pub(crate) machine_cpu_millis: u64,
    pub(crate) machine_memory: u64,
    /// `None`: all there is.
    pub(crate) cpu_millis: Option<u64>,
    pub(crate) memory: Option<u64>,
}

/// The files of a node, keys included.
///
/// `egress` has the addresses of hosts outside that are known inside.
pub(crate) fn node_files(
    at: NodeAt,
    pki: &Pki,
    share: Share,
    egress: &BTreeMap<&str, Ipv4Addr>,
    snapshotter: &Snapshotter,
) -> Vec<NodeFile> {
    let cluster = at.cluster();
    let server = server_inside(cluster);
    let config = |pair: &Pair| kubeconfig("local", &server, pki, pair);
    let mut files = vec![
        file("/etc/resolv.conf", resolv_conf(cluster)),
        file("/etc/hosts", format!("127.0.0.1 localhost\n{} {}\n", at.address(), at.name())),
        file("/etc/hostname", format!("{}\n", at.name())),
        // One per place, so that copies agree; systemd's format, 32 hex digits.
        file("/etc/machine-id", format!("5ea7{:014x}{:014x}\n", at.cluster, at.node)),
        file("/etc/containerd/config.toml", containerd(snapshotter)),
        file("/etc/containerd/certs.d/_default/hosts.toml", registry_hosts()),
        file("/etc/cni/net.d/10-seatrial.conflist", pretty(&cni(at))),
        etc("ca.crt", pki.authority.certificate.clone()),
        etc("kubelet.json", pretty(&kubelet(at, share))),
        etc("kube-proxy.json", pretty(&kube_proxy(at))),
        etc("master.kubeconfig", config(&pki.master)),
        file(&format!("{ACCOUNT}/token"), pki.master_token.clone()),
        file(&format!("{ACCOUNT}/ca.crt"), pki.authority.certificate.clone()),
    ];
    if let Some(pair) = pki.kubelets.get(usize::from(at.node)) {
        files.push(etc("kubelet.kubeconfig", config(pair)));
        files.extend(pair_files("kubelet", pair));
    }
    if at.node == 0 {
        files.extend(pair_files("ca", &pki.authority).into_iter().skip(1));
        files.extend(pair_files("api-server", &pki.api_server));
        files.extend(pair_files("master", &pki.master));
        files.extend([
            etc("tokens.csv", format!("{},seatrial-master,0,system:masters\n", pki.master_token)),
            etc("accounts.key", pki.account_key.clone()),
            etc("accounts.pub", pki.account_public_key.clone()),
            etc("controller-manager.kubeconfig", config(&pki.controller_manager)),
            etc("scheduler.kubeconfig", config(&pki.scheduler)),
            etc("Corefile", corefile(cluster, egress)),
        ]);
    }
    files
}

/// Directories of a node that have to exist.
pub(crate) fn node_directories() -> &'static [&'static str] {
    &["/run", "/tmp", "/var/lib/etcd", "/var/lib/kubelet", VOLUMES, "/var/tmp", LOGS]
}

/// The API server's address inside the environment.
pub(crate) fn server_inside(cluster: ClusterAt) -> String {
    format!("https://{}:{API_PORT}", cluster.first_node().address())
}

/// A kubeconfig; JSON, which is YAML too. `name` is that of the context.
pub(crate) fn kubeconfig(name: &str, server: &str, pki: &Pki, pair: &Pair) -> String {
    pretty(&json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": {
            "server": server,
            "certificate-authority-data": BASE64.encode(&pki.authority.certificate),
        }}],
        "users": [{"name": name, "user": {
            "client-certificate-data": BASE64.encode(&pair.certificate),
            "client-key-data": BASE64.encode(&pair.key),
        }}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "current-context": name,
    }))
}

/// How names are looked up by what runs in a node's network: as in a pod of
/// the namespace `default`.
pub(crate) fn resolv_conf(cluster: ClusterAt) -> String {
    format!(
        "search default.svc.cluster.local svc.cluster.local cluster.local\n\
         nameserver {}\noptions ndots:5\n",
        cluster.dns()
    )
}

fn containerd(snapshotter: &Snapshotter) -> String {
    let common = format!(
        "version = 3
root = '/var/lib/containerd'
state = '/run/containerd'

[grpc]
address = '{CONTAINERD_SOCKET}'

[plugins.'io.containerd.cri.v1.images'.pinned_images]
sandbox = '{PAUSE}'

[plugins.'io.containerd.cri.v1.images'.registry]
config_path = '/etc/containerd/certs.d'

[plugins.'io.containerd.cri.v1.runtime']
restrict_oom_score_adj = true
disable_apparmor = true

[plugins.'io.containerd.cri.v1.runtime'.cni]
bin_dirs = ['{CNI}']
conf_dir = '/etc/cni/net.d'

[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
runtime_type = 'io.containerd.runc.v2'

[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
BinaryName = '{BIN}/runc'
"
    );
    match snapshotter {
        Snapshotter::Overlayfs => common,
        Snapshotter::Erofs { .. } => common + &erofs(),
    }
}

/// Images as EROFS file systems. The differ is the one that unpacks into a
/// directory, of which the snapshotter makes a file system itself: the one for
/// EROFS needs a `mkfs.erofs` that reads archives (erofs-utils 1.7).
fn erofs() -> String {
    let platform = format!("linux/{}", architecture());
    format!(
        "
[plugins.'io.containerd.cri.v1.images']
snapshotter = 'erofs'

[plugins.'io.containerd.service.v1.diff-service']
default = ['walking']

[plugins.'io.containerd.snapshotter.v1.erofs']
layer_content_caches = ['{LAYERS}']

[[plugins.'io.containerd.transfer.v1.local'.unpack_config]]
platform = '{platform}'
snapshotter = 'erofs'
differ = 'walking'
"
    )
}

/// Every image name, whatever its registry, is looked up in ours.
fn registry_hosts() -> String {
    let url = format!("http://{FABRIC}:{REGISTRY_PORT}");
    format!("server = \"{url}\"\n\n[host.\"{url}\"]\ncapabilities = [\"pull\", \"resolve\"]\n")
}

fn cni(at: NodeAt) -> Value {
    json!({
        "cniVersion": "1.0.0",
        "name": "seatrial",
        "plugins": [
            {
                "type": "bridge",
                "bridge": "cni0",
                "isGateway": true,
                "hairpinMode": true,
                // Pods of other nodes and clusters see the pod's own address.
                "ipMasq": false,
                "ipam": {
                    "type": "host-local",
                    "ranges": [[{"subnet": at.pods()}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                },
            },
            {
                "type": "portmap",
                "capabilities": {"portMappings": true},
                "backend": "nftables",
            },
        ],
    })
}

fn kubelet(at: NodeAt, share: Share) -> Value {
    let reserved = |all: u64, part: Option<u64>| part.map_or(0, |part| all.saturating_sub(part));
    let cpu = reserved(share.machine_cpu_millis, share.cpu_millis);
    let memory = reserved(share.machine_memory, share.memory);
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": false},
            "webhook": {"enabled": true},
            "x509": {"clientCAFile": format!("{ETC}/ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": format!("{ETC}/kubelet.crt"),
        "tlsPrivateKeyFile": format!("{ETC}/kubelet.key"),
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": format!("/{}", at.name()),
        "failCgroupV1": false,
        "failSwapOn": false,
        "containerRuntimeEndpoint": format!("unix://{CONTAINERD_SOCKET}"),
        "clusterDNS": [at.cluster().dns()],
        "clusterDomain": "cluster.local",
        "resolvConf": "/etc/resolv.conf",
        "serializeImagePulls": false,
        "oomScoreAdj": 0,
        // The machine's disk and memory are not the cluster's to defend.
        "evictionHard": {
            "memory.available": "1Mi",
            "nodefs.available": "0%",
            "imagefs.available": "0%",
            "nodefs.inodesFree": "0%",
        },
        "imageGCHighThresholdPercent": 100,
        "systemReserved": {"cpu": format!("{cpu}m"), "memory": memory.to_string()},
    })
}

fn kube_proxy(at: NodeAt) -> Value {
    json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        // It would be refused until the roles exist, and then wait a second.
        "clientConnection": {"kubeconfig": format!("{ETC}/master.kubeconfig")},
        "mode": "nftables",
        "nftables": {"minSyncPeriod": "100ms", "syncPeriod": "30s"},
        "clusterCIDR": at.cluster().pods(),
        "hostnameOverride": at.name(),
        "healthzBindAddress": "127.0.0.1:10256",
        "metricsBindAddress": "127.0.0.1:10249",
        // These would be settings of the machine.
        "conntrack": {
            "maxPerCore": 0, "min": 0,
            "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s",
        },
    })
}

/// Names of the cluster, declared hosts outside, and no others: nothing else
/// leaves. A block for each, because inside one `template` would come first,
/// whatever the order of the lines.
fn corefile(cluster: ClusterAt, egress: &BTreeMap<&str, Ipv4Addr>) -> String {
    let bind = format!("bind {} {}", cluster.dns(), cluster.first_node().address());
    let outside: String = egress
        .iter()
        .map(|(host, address)| {
            format!("{host}:53 {{\n    {bind}\n    errors\n    hosts /dev/null {{\n        {address} {host}\n    }}\n}}\n\n")
        })
        .collect();
    format!(
        "cluster.local:53 in-addr.arpa:53 ip6.arpa:53 {{
    {bind}
    errors
    health 127.0.0.1:8080
    ready 127.0.0.1:8181
    kubernetes cluster.local in-addr.arpa ip6.arpa {{
        kubeconfig {ETC}/master.kubeconfig
        pods insecure
        ttl 30
    }}
    cache 30 {{
        disable denial cluster.local
    }}
}}

{outside}.:53 {{
    {bind}
    errors
    template ANY ANY {{
        rcode NXDOMAIN
    }}
}}
"
    )
}

fn pair_files(name: &str, pair: &Pair) -> [NodeFile; 2] {
    [
        etc(&format!("{name}.crt"), pair.certificate.clone()),
        etc(&format!("{name}.key"), pair.key.clone()),
    ]
}

fn etc(name: &str, content: String) -> NodeFile {
    let path = Path::new(ETC).join(name).display().to_string();
    NodeFile { path, content }
}

fn file(path: &str, content: String) -> NodeFile {
    NodeFile { path: path.to_owned(), content }
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::Layout;
    use crate::pki::issue;

    #[test]
    fn only_the_first_node_holds_the_keys_of_the_cluster() {
        let cluster = ClusterAt(0);
        let nodes = Layout::new(&[2]).unwrap().nodes_of(cluster);
        let pki = issue(cluster, &nodes).unwrap();
        let paths = |at| {
            let files =
                node_files(at, &pki, Share::default(), &BTreeMap::new(), &Snapshotter::Overlayfs);
            let mut paths: Vec<_> = files.into_iter().map(|file| file.path).collect();
            paths.sort();
            paths
        };
        let first = paths(nodes[0]);
        let second = paths(nodes[1]);
        let only_first: Vec<_> = first.iter().filter(|path| !second.contains(path)).collect();
        insta::assert_debug_snapshot!(only_first, @r#"
        [
            "/etc/kubernetes/Corefile",
            "/etc/kubernetes/accounts.key",
            "/etc/kubernetes/accounts.pub",
            "/etc/kubernetes/api-server.crt",
            "/etc/kubernetes/api-server.key",
            "/etc/kubernetes/ca.key",
            "/etc/kubernetes/controller-manager.kubeconfig",
            "/etc/kubernetes/master.crt",
            "/etc/kubernetes/master.key",
            "/etc/kubernetes/scheduler.kubeconfig",
            "/etc/kubernetes/tokens.csv",
        ]
        "#);
        assert!(second.iter().all(|path| first.contains(path)));
    }

    #[test]
    fn a_node_hands_out_its_share() {
        let at = NodeAt { cluster: 0, node: 0 };
        let share = Share {
            machine_cpu_millis: 2000,
            machine_memory: 8 << 30,
            cpu_millis: Some(500),
            memory: Some(2 << 30),
        };
        let config = kubelet(at, share);
        let expect = json!({"cpu": "1500m", "memory": (6_u64 << 30).to_string()});
        assert_eq!(config["systemReserved"], expect);
        // More than there is means all there is.
        let share = Share { memory: Some(64 << 30), ..share };
        assert_eq!(kubelet(at, share)["systemReserved"]["memory"], "0");
    }
}
