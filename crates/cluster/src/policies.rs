//! NetworkPolicy: enforced from the first policy on, because watching every
//! new connection costs what most suites need not pay.
//!
//! kube-network-policies decides about new connections that the kernel hands to
//! it through queue 100. Where the kernel's nftables can queue, it adds the
//! rules itself; where only the older `NFQUEUE` target can, we add one.

use futures::StreamExt as _;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::Client;
use kube::api::Api;
use kube::runtime::{WatchStreamExt as _, watcher};

use crate::commands::{Component, queue_by_iptables, queue_by_nftables, same_node_traffic};
use crate::error::Error;
use crate::event::{Teller, What};
use crate::layout::NodeAt;
use crate::processes::Processes;

/// Waits for the first NetworkPolicy and then starts to enforce all of them on
/// `nodes`. Tells when that cannot be done, as when the component, which is
/// optional, is not `installed`.
pub(crate) async fn enforce(
    client: Client,
    processes: Processes,
    nodes: Vec<NodeAt>,
    installed: bool,
    teller: Teller,
) {
    let policies: Api<NetworkPolicy> = Api::all(client);
    let mut stream =
        watcher(policies, watcher::Config::default()).default_backoff().applied_objects().boxed();
    while let Some(event) = stream.next().await {
        if event.is_ok() {
            break;
        }
    }
    for at in nodes {
        let node = at.name();
        let started = if installed {
            start(&processes, at).await
        } else {
            Err(Error::Refused("kube-network-policies is not installed".to_owned()))
        };
        match started {
            Ok(()) => teller.tell(What::PoliciesEnforced { node }),
            Err(error) => {
                let why = seatrial_core::failure::Failure::chain(&error);
                teller.tell(What::PoliciesNotEnforced { node, why });
            }
        }
    }
}

/// Commands of which one has to succeed, in a network namespace of its own, or
/// no NetworkPolicy is enforced on this machine.
#[must_use]
pub fn policy_probes() -> [Vec<String>; 2] {
    [queue_by_nftables(), queue_by_iptables()]
}

async fn start(processes: &Processes, at: NodeAt) -> Result<(), Error> {
    let native = processes.run(at, "queue-by-nftables", queue_by_nftables()).await;
    if native.is_err() {
        processes.run(at, "queue-by-iptables", queue_by_iptables()).await?;
    }
    processes.run(at, "same-node-traffic", same_node_traffic()).await?;
    processes.start(at, Component::NetworkPolicies)
}
