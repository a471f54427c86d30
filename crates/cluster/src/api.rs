//! What is asked of a cluster's own API while it boots: the objects that come
//! with it, and whether it can be used.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Namespace, Node, ServiceAccount};
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::runtime::wait::await_condition;
use kube::{Client, Config};
use seatrial_core::failure::Failure;
use serde_json::{Value, json};

use crate::error::Error;
use crate::layout::{ClusterAt, NodeAt};
use crate::processes::{Seen, poll};
use crate::storage;

/// Name under which our objects are written.
const MANAGER: &str = "seatrial";

/// A client for a kubeconfig that we wrote.
pub(crate) async fn client(kubeconfig: &str) -> Result<Client, Error> {
    let wrong = |error: &dyn std::fmt::Display| Error::Refused(format!("kubeconfig: {error}"));
    let parsed = Kubeconfig::from_yaml(kubeconfig).map_err(|e| wrong(&e))?;
    let config = Config::from_custom_kubeconfig(parsed, &KubeConfigOptions::default())
        .await
        .map_err(|e| wrong(&e))?;
    Client::try_from(config).map_err(|e| Error::api("be connected to", e))
}

/// Waits until the API serves an object. Ready it is later, when the default
/// roles exist, and most of what follows need not wait for that.
pub(crate) async fn serves(client: &Client, seen: &Seen) -> Result<(), Error> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    poll(Duration::from_millis(15), async || match namespaces.get_opt("kube-system").await {
        Ok(found) => {
            seen.set("the namespace kube-system is missing");
            Ok(found.map(|_| ()))
        }
        Err(error) => {
            seen.set(error.to_string());
            Ok(None)
        }
    })
    .await
}

/// Writes the objects that come with a cluster. An API server that has only
/// just begun to serve refuses some for a moment (a Service, because "the
/// provided network does not match the current range"), so each is tried until
/// it is taken.
pub(crate) async fn write_objects(
    client: &Client,
    cluster: ClusterAt,
    nodes: &[NodeAt],
    authority: &str,
    seen: &Seen,
) -> Result<(), Error> {
    for object in objects(cluster, nodes, authority) {
        poll(Duration::from_millis(50), async || match apply(client, &object).await {
            Ok(()) => Ok(Some(())),
            Err(error) => {
                seen.set(Failure::chain(&error));
                Ok(None)
            }
        })
        .await?;
    }
    Ok(())
}

/// Waits until a node is ready, and lets it take pods: what says that it is not
/// ready yet would otherwise stay until the controller-manager gets to it.
pub(crate) async fn node_ready(client: &Client, at: NodeAt, seen: &Seen) -> Result<(), Error> {
    let nodes: Api<Node> = Api::all(client.clone());
    until(&nodes, at, seen, is_ready).await?;
    // Nothing else can have put a taint on a node this young.
    let untainted = Patch::Merge(json!({"spec": {"taints": null}}));
    nodes
        .patch(&at.name(), &PatchParams::default(), &untainted)
        .await
        .map_err(|error| Error::api(format!("write Node {}", at.name()), error))?;
    until(&nodes, at, seen, |node| is_ready(node).and_then(|()| takes_pods(node))).await
}

/// Waits until a node is as it is `wanted`, which says what is missing.
async fn until(
    nodes: &Api<Node>,
    at: NodeAt,
    seen: &Seen,
    wanted: impl Fn(&Node) -> Result<(), String>,
) -> Result<(), Error> {
    let wanted = |node: Option<&Node>| {
        let state = node.map_or_else(|| Err("the node is not registered".to_owned()), &wanted);
        state.map_err(|why| seen.set(why)).is_ok()
    };
    watched(await_condition(nodes.clone(), &at.name(), wanted).await.map(|_| ()), "watch nodes")
}

/// Waits until pods can be created in the namespace `default`.
pub(crate) async fn account_exists(client: &Client) -> Result<(), Error> {
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), "default");
    let exists = |account: Option<&ServiceAccount>| account.is_some();
    watched(await_condition(accounts, "default", exists).await.map(|_| ()), "watch accounts")
}

fn watched(result: Result<(), kube::runtime::wait::Error>, what: &str) -> Result<(), Error> {
    result.map_err(|error| Error::Refused(format!("{what}: {error}")))
}

/// Why a node is not ready yet.
fn is_ready(node: &Node) -> Result<(), String> {
    let conditions = node.status.as_ref().and_then(|status| status.conditions.as_deref());
    let ready = conditions.unwrap_or_default().iter().find(|c| c.type_ == "Ready");
    match ready {
        Some(condition) if condition.status == "True" => Ok(()),
        Some(condition) => Err(condition.message.clone().unwrap_or_default()),
        None => Err("the node has no condition `Ready`".to_owned()),
    }
}

/// Why a node takes no pods yet.
fn takes_pods(node: &Node) -> Result<(), String> {
    let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_deref()).unwrap_or_default();
    match taints.iter().find(|taint| taint.key.starts_with("node.kubernetes.io/")) {
        Some(taint) => Err(format!("the node has the taint {}", taint.key)),
        None => Ok(()),
    }
}

fn objects(cluster: ClusterAt, nodes: &[NodeAt], authority: &str) -> Vec<Value> {
    let mut objects: Vec<Value> = nodes.iter().map(|at| node(*at)).collect();
    objects.extend(account(authority));
    objects.extend([dns_service(cluster), dns_endpoints(cluster), storage::class()]);
    objects
}

/// What pods of the namespace `default` need: their account, and what it tells
/// them of the API server. The controller-manager would write the same, as it
/// does in all other namespaces, but only when the default roles are there.
fn account(authority: &str) -> [Value; 2] {
    [
        json!({
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": "default", "namespace": "default"},
        }),
        json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "kube-root-ca.crt", "namespace": "default"},
            "data": {"ca.crt": authority},
        }),
    ]
}

/// Fixes the pod addresses of a node, which are otherwise given out in the
/// order in which nodes appear, while the CNI configuration has them already.
fn node(at: NodeAt) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": at.name()},
        "spec": {"podCIDR": at.pods(), "podCIDRs": [at.pods()]},
    })
}

/// For everything that looks for the name server under this name. It has no
/// selector, because the name server is no pod.
fn dns_service(cluster: ClusterAt) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": "kube-dns",
            "namespace": "kube-system",
            "labels": {"k8s-app": "kube-dns", "kubernetes.io/name": "CoreDNS"},
        },
        "spec": {
            "clusterIP": cluster.dns(),
            "ports": [
                {"name": "dns", "port": 53, "protocol": "UDP"},
                {"name": "dns-tcp", "port": 53, "protocol": "TCP"},
            ],
        },
    })
}

fn dns_endpoints(cluster: ClusterAt) -> Value {
    json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": "kube-dns",
            "namespace": "kube-system",
            "labels": {"kubernetes.io/service-name": "kube-dns"},
        },
        "addressType": "IPv4",
        "endpoints": [{
            "addresses": [cluster.first_node().address()],
            "conditions": {"ready": true},
        }],
        "ports": [
            {"name": "dns", "port": 53, "protocol": "UDP"},
            {"name": "dns-tcp", "port": 53, "protocol": "TCP"},
        ],
    })
}

async fn apply(client: &Client, object: &Value) -> Result<(), Error> {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let (group, version) = text("/apiVersion").rsplit_once('/').unwrap_or(("", "v1"));
    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, text("/kind")));
    let api: Api<DynamicObject> = match text("/metadata/namespace") {
        "" => Api::all_with(client.clone(), &kind),
        namespace => Api::namespaced_with(client.clone(), namespace, &kind),
    };
    let name = text("/metadata/name");
    let params = PatchParams::apply(MANAGER).force();
    api.patch(name, &params, &Patch::Apply(object))
        .await
        .map(|_| ())
        .map_err(|error| Error::api(format!("write {} {name}", text("/kind")), error))
}
