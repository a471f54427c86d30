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
        };
        [format!("{BIN}/{}", self.name())].into_iter().chain(args).collect()
    }

    /// Its environment on any node.
    pub(crate) fn env(self) -> Vec<(String, String)> {
        let mut env = vec![
            ("PATH".to_owned(), format!("{BIN}:/usr/sbin:/usr/bin:/sbin:/bin")),
            ("HOME".to_owned(), "/root".to_owned()),
        ];
        // Half of a cluster's memory is the API server's; this halves it.
        if self == Self::ApiServer {
            env.push(("GOGC".to_owned(), "50".to_owned()));
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
