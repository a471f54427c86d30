//! Containers that ended by themselves though all became ready in the end.
//!
//! Nothing waits for them any more, and whoever reads a run should know: a
//! product that needs three starts mostly has a defect that tests do not see.

use kube::api::ListParams;
use seatrial_core::failure::Failure;
use serde_json::Value;

use crate::apply::classify;
use crate::cluster::{Cluster, Kind};
use crate::readiness::{list, number, text};
use crate::ready::name_of;
use crate::trouble::{containers, ending};
use crate::watch;

/// Containers that are named.
const SHOWN: usize = 5;

/// A warning about the containers of all pods that were started more than once,
/// or that wait to be. Pods of Jobs are left out: a Job counts for itself.
///
/// # Errors
/// When the API server does not list the pods.
pub async fn restarts(cluster: &Cluster) -> Result<Option<Failure>, Failure> {
    let pods = cluster.api(&Kind::namespaced("", "v1", "Pod", "pods"), None);
    let pods = pods
        .list(&ListParams::default())
        .await
        .map_err(|error| Failure::environment("deploy.api_unavailable", classify(&error).1))?;
    let pods: Vec<_> = pods.items.into_iter().map(watch::json).collect();
    Ok(warning(&pods))
}

fn warning(pods: &[Value]) -> Option<Failure> {
    let mut lines: Vec<_> = pods.iter().flat_map(of_pod).collect();
    if lines.is_empty() {
        return None;
    }
    let hidden = lines.len().saturating_sub(SHOWN);
    lines.truncate(SHOWN);
    if hidden > 0 {
        lines.push(format!("and {hidden} more"));
    }
    let warning = Failure::product(
        "deploy.restarted",
        format!("containers ended by themselves during the installation: {}", lines.join("; ")),
    );
    Some(warning.hint(
        "an init container or a retry lets a program wait for what it needs; a readiness probe \
         says when it works",
    ))
}

fn of_pod(pod: &Value) -> Vec<String> {
    let of_job = list(pod, "/metadata/ownerReferences").iter().any(|o| text(o, "/kind") == "Job");
    let mut lines = Vec::new();
    for status in containers(pod).filter(|_| !of_job) {
        let restarts = number(status, "/restartCount", 0);
        let waits = text(status, "/state/waiting/reason") == "CrashLoopBackOff";
        if restarts == 0 && !waits {
            continue;
        }
        let name = text(status, "/name");
        let (namespace, pod) = (text(pod, "/metadata/namespace"), name_of(pod));
        let times = if restarts == 1 { "once".to_owned() } else { format!("{restarts} times") };
        let now = if waits { " and waits for its next start" } else { "" };
        let last = match status.pointer("/lastState/terminated") {
            Some(ended) => format!(", at last with {}", ending(ended)),
            None => String::new(),
        };
        lines.push(format!("{name} of pod {namespace}/{pod} restarted {times}{last}{now}"));
    }
    lines
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(name: &str, owner: &str, restarts: u32, state: &Value) -> Value {
        json!({
            "metadata": {
                "namespace": "shop", "name": name, "ownerReferences": [{ "kind": owner }],
            },
            "status": { "containerStatuses": [{
                "name": "app", "restartCount": restarts, "state": state,
                "lastState": { "terminated": { "exitCode": 1, "reason": "Error" } },
            }]},
        })
    }

    #[test]
    fn what_was_started_again_is_named_and_jobs_are_left_out() {
        let running = json!({ "running": {} });
        let waiting = json!({ "waiting": { "reason": "CrashLoopBackOff" } });
        assert_eq!(warning(&[pod("fine", "ReplicaSet", 0, &running)]), None);
        assert_eq!(warning(&[pod("migrate", "Job", 2, &waiting)]), None);
        let pods = [pod("web", "ReplicaSet", 1, &running), pod("db", "StatefulSet", 4, &waiting)];
        let message = warning(&pods).expect("two were started again").message;
        insta::assert_snapshot!(message, @"containers ended by themselves during the installation: app of pod shop/web restarted once, at last with exit code 1 (Error); app of pod shop/db restarted 4 times, at last with exit code 1 (Error) and waits for its next start");
        let many: Vec<_> = (0..9).map(|_| pod("web", "ReplicaSet", 1, &running)).collect();
        assert!(warning(&many).expect("all were").message.ends_with("; and 4 more"));
    }
}
