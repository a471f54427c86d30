//! What is started on a node: programs and arguments of the components.
//! The reasons for unusual flags are in `docs/clusters.md`.

use crate::files::{BIN, ETC, PAUSE_ARCHIVE};
use crate::layout::{API_PORT, ClusterAt, NodeAt};

/// A component, in the order of starting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Component {
    Etcd,
    ApiServer,
    Containerd,
    ControllerManager,
    Scheduler,
    CoreDns,
    KubeProxy,
    Kubelet,
    NetworkPolicies,
}

impl Component {
    /// The name of its program.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::ApiServer => "kube-apiserver",
            Self::Containerd => "containerd",
            Self::ControllerManager => "kube-controller-manager",
            Self::Scheduler => "kube-scheduler",
            Self::CoreDns => "coredns",
            Self::KubeProxy => "kube-proxy",
            Self::Kubelet => "kubelet",
            Self::NetworkPolicies => "kube-network-policies",
        }
    }

    /// Program and arguments on node `at`.
    pub(crate) fn argv(self, at: NodeAt) -> Vec<String> {
        let args = match self {
            Self::Etcd => etcd(),
            Self::ApiServer => api_server(at.cluster()),
            Self::Containerd => vec!["--config=/etc/containerd/config.toml".to_owned()],
            Self::ControllerManager => controller_manager(at.cluster()),
            Self::Scheduler => vec![
                format!("--kubeconfig={ETC}/scheduler.kubeconfig"),
                "--leader-elect=false".to_owned(),
                "--bind-address=127.0.0.1".to_owned(),
            ],
            Self::CoreDns => vec![format!("-conf={ETC}/Corefile")],
            Self::KubeProxy => vec![format!("--config={ETC}/kube-proxy.json")],
            Self::Kubelet => vec![
                format!("--config={ETC}/kubelet.json"),
                format!("--kubeconfig={ETC}/kubelet.kubeconfig"),
                format!("--hostname-override={}", at.name()),
                format!("--node-ip={}", at.address()),
                "--root-dir=/var/lib/kubelet".to_owned(),
            ],
            Self::NetworkPolicies => vec![
                format!("--hostname-override={}", at.name()),
                format!("--nfqueue-id={POLICY_QUEUE}"),
                "--metrics-bind-address=127.0.0.1:9080".to_owned(),
                // When it dies, that is told; the product should not hang too.
                "--fail-open".to_owned(),
            ],
        };
        [format!("{BIN}/{}", self.name())].into_iter().chain(args).collect()
    }

    /// Its environment on node `at`.
    pub(crate) fn env(self, at: NodeAt) -> Vec<(String, String)> {
        let mut env = vec![
            ("PATH".to_owned(), format!("{BIN}:/usr/sbin:/usr/bin:/sbin:/bin")),
            ("HOME".to_owned(), "/root".to_owned()),
        ];
        // Half of a cluster's memory is the API server's; this halves it.
        if self == Self::ApiServer {
            env.push(("GOGC".to_owned(), "50".to_owned()));
        }
        // With more, one readiness probe of twelve comes 10 s late.
        if self == Self::Kubelet {
            env.push(("GOMAXPROCS".to_owned(), "1".to_owned()));
        }
        // It knows no kubeconfig, only what a pod finds.
        if self == Self::NetworkPolicies {
            let server = at.cluster().first_node().address().to_string();
            env.push(("KUBERNETES_SERVICE_HOST".to_owned(), server));
            env.push(("KUBERNETES_SERVICE_PORT".to_owned(), API_PORT.to_string()));
        }
        env
    }
}

/// Loads the pause image into containerd.
pub(crate) fn import_pause() -> Vec<String> {
    [&format!("{BIN}/ctr"), "-n", "k8s.io", "images", "import", PAUSE_ARCHIVE]
        .map(str::to_owned)
        .to_vec()
}

/// The queue through which new connections are handed to the enforcer.
const POLICY_QUEUE: u16 = 100;

/// Fails where the kernel's nftables cannot queue packets; changes nothing.
pub(crate) fn queue_by_nftables() -> Vec<String> {
    let probe = format!(
        "add table inet probe; add chain inet probe c; \
         add rule inet probe c queue num {POLICY_QUEUE} bypass; delete table inet probe"
    );
    vec!["nft".to_owned(), probe]
}

/// Queues new connections with the older target.
pub(crate) fn queue_by_iptables() -> Vec<String> {
    let rule = format!(
        "iptables -w -t mangle -A FORWARD -m conntrack --ctstate NEW -j NFQUEUE \
         --queue-num {POLICY_QUEUE} --queue-bypass"
    );
    rule.split_whitespace().map(str::to_owned).collect()
}

/// Lets connections between pods of one node, which are bridged, pass the same
/// rules as all others.
pub(crate) fn same_node_traffic() -> Vec<String> {
    ["sysctl", "-w", "net.bridge.bridge-nf-call-iptables=1"].map(str::to_owned).to_vec()
}

fn etcd() -> Vec<String> {
    [
        "--name=etcd",
        "--data-dir=/var/lib/etcd",
        "--unsafe-no-fsync",
        "--heartbeat-interval=10",
        "--election-timeout=100",
        "--listen-client-urls=http://127.0.0.1:2379",
        "--advertise-client-urls=http://127.0.0.1:2379",
        "--listen-peer-urls=http://127.0.0.1:2380",
        "--initial-advertise-peer-urls=http://127.0.0.1:2380",
        "--initial-cluster=etcd=http://127.0.0.1:2380",
    ]
    .map(str::to_owned)
    .to_vec()
}

fn api_server(cluster: ClusterAt) -> Vec<String> {
    vec![
        "--etcd-servers=http://127.0.0.1:2379".into(),
        format!("--secure-port={API_PORT}"),
        format!("--advertise-address={}", cluster.first_node().address()),
        format!("--client-ca-file={ETC}/ca.crt"),
        format!("--tls-cert-file={ETC}/api-server.crt"),
        format!("--tls-private-key-file={ETC}/api-server.key"),
        format!("--service-cluster-ip-range={}", cluster.services()),
        format!("--service-account-key-file={ETC}/accounts.pub"),
        format!("--service-account-signing-key-file={ETC}/accounts.key"),
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local".into(),
        "--authorization-mode=Node,RBAC".into(),
        "--enable-admission-plugins=NodeRestriction".into(),
        format!("--kubelet-client-certificate={ETC}/master.crt"),
        format!("--kubelet-client-key={ETC}/master.key"),
        format!("--kubelet-certificate-authority={ETC}/ca.crt"),
        "--kubelet-preferred-address-types=InternalIP".into(),
        "--allow-privileged=true".into(),
        format!("--token-auth-file={ETC}/tokens.csv"),
        "--storage-media-type=application/vnd.kubernetes.protobuf".into(),
    ]
}

fn controller_manager(cluster: ClusterAt) -> Vec<String> {
    vec![
        format!("--kubeconfig={ETC}/controller-manager.kubeconfig"),
        "--leader-elect=false".into(),
        "--bind-address=127.0.0.1".into(),
        "--kube-api-qps=1000".into(),
        "--kube-api-burst=2000".into(),
        format!("--service-account-private-key-file={ETC}/accounts.key"),
        format!("--root-ca-file={ETC}/ca.crt"),
        format!("--cluster-signing-cert-file={ETC}/ca.crt"),
        format!("--cluster-signing-key-file={ETC}/ca.key"),
        "--use-service-account-credentials=true".into(),
        "--allocate-node-cidrs=true".into(),
        format!("--cluster-cidr={}", cluster.pods()),
        format!("--service-cluster-ip-range={}", cluster.services()),
    ]
}
