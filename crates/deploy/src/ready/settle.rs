//! Whether the pods of a workload stay up, and not only came up. Pure.
//!
//! `kubectl rollout status`, `kubectl wait` and Helm believe the conditions of
//! the workload. Where a container has no readiness probe these say "available"
//! the moment its process exists, also when it dies a moment later, and again
//! at each restart. So a workload counts as up only when each container of its
//! pods has been seen to run for a while without a break: not at all where a
//! readiness probe vouches for it, for [`SETTLE`] where nothing does, and for
//! longer than its last life where it has died before.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

use crate::readiness::{list, number, text};
use crate::trouble::{containers, ending};

/// How long a container without a readiness probe has to be seen running: a
/// program that dies at its start does so in this time, and kubelet, which looks
/// once a second, says so in it, also on a busy machine.
pub(crate) const SETTLE: Duration = Duration::from_secs(5);
/// Longest time that a container has to run after a restart.
const LONGEST: Duration = Duration::from_secs(30);

/// One life of a container: from its start to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Life {
    pub(crate) container: String,
    /// What tells this life from the one before.
    pub(crate) start: String,
    /// How long it has to be seen before the container counts as up.
    pub(crate) settle: Duration,
}

/// Whether a pod does its part for a workload: what is over or going does not.
pub(crate) fn is_active(pod: &Value) -> bool {
    pod.pointer("/metadata/deletionTimestamp").is_none()
        && !matches!(text(pod, "/status/phase"), "Succeeded" | "Failed")
}

/// The lives of the containers of a pod.
///
/// # Errors
/// The first container that does not run though it should, and why.
pub(crate) fn lives(pod: &Value) -> Result<Vec<Life>, String> {
    let statuses: Vec<_> = containers(pod).collect();
    let mut lives = Vec::new();
    for (pointer, restarts) in [
        // Of those that run at the start, sidecars stay.
        ("/spec/initContainers", false),
        ("/spec/containers", text(pod, "/spec/restartPolicy") != "Never"),
    ] {
        for spec in list(pod, pointer) {
            let stays = restarts || text(spec, "/restartPolicy") == "Always";
            let name = text(spec, "/name");
            let status = statuses.iter().find(|status| text(status, "/name") == name);
            match status {
                Some(status) if status.pointer("/state/running").is_some() => {
                    lives.extend(stays.then(|| life(spec, status)));
                }
                Some(status) => match status.pointer("/state/terminated") {
                    Some(ended) if !stays || has_finished(pod, ended) => {}
                    Some(ended) => {
                        return Err(format!("container {name} ended: {}", ending(ended)));
                    }
                    None if stays => return Err(format!("container {name} does not run")),
                    None => {}
                },
                None if stays => return Err(format!("container {name} does not run")),
                None => {}
            }
        }
    }
    Ok(lives)
}

/// Whether a container ended well in a pod that does not start it again then.
fn has_finished(pod: &Value, ended: &Value) -> bool {
    text(pod, "/spec/restartPolicy") == "OnFailure" && number(ended, "/exitCode", 1) == 0
}

fn life(spec: &Value, status: &Value) -> Life {
    let restarts = number(status, "/restartCount", 0);
    let settle = match last_life(status) {
        Some(last) if restarts > 0 => (2 * last + SETTLE).min(LONGEST),
        _ if spec.pointer("/readinessProbe").is_some() => Duration::ZERO,
        _ => SETTLE,
    };
    Life {
        container: text(spec, "/name").to_owned(),
        start: format!("{restarts} {}", text(status, "/containerID")),
        settle,
    }
}

/// How long a container lived before its last restart.
fn last_life(status: &Value) -> Option<Duration> {
    let at = |pointer| text(status, pointer).parse::<Timestamp>().ok();
    let started = at("/lastState/terminated/startedAt")?;
    let finished = at("/lastState/terminated/finishedAt")?;
    Duration::try_from(finished.duration_since(started)).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(probe: bool, status: Value) -> Value {
        let mut container = json!({ "name": "app" });
        if probe {
            container["readinessProbe"] = json!({ "httpGet": { "port": 80 } });
        }
        let mut all = status;
        all["name"] = "app".into();
        json!({
            "spec": { "restartPolicy": "Always", "containers": [container] },
            "status": { "phase": "Running", "containerStatuses": [all] },
        })
    }

    fn shown(pod: &Value) -> String {
        match lives(pod) {
            Ok(lives) => {
                let settle: Vec<_> =
                    lives.iter().map(|life| format!("{:?}", life.settle)).collect();
                settle.join(", ")
            }
            Err(reason) => reason,
        }
    }

    #[test]
    fn what_vouches_for_a_container_decides_how_long_it_is_looked_at() {
        let running = json!({ "restartCount": 0, "state": { "running": {} } });
        let restarted = |lived: u32| {
            json!({
                "restartCount": 2, "state": { "running": {} },
                "lastState": { "terminated": {
                    "exitCode": 1, "startedAt": "2026-11-24T10:00:00Z",
                    "finishedAt": format!("2026-11-24T10:00:{lived:02}Z"),
                }},
            })
        };
        let ended = |code: i64| {
            json!({
                "restartCount": 0,
                "state": { "terminated": { "exitCode": code, "reason": "Error" } },
            })
        };
        let waiting = json!({ "state": { "waiting": { "reason": "CrashLoopBackOff" } } });
        let all = [
            shown(&pod(true, running.clone())),
            shown(&pod(false, running)),
            shown(&pod(true, restarted(0))),
            shown(&pod(false, restarted(5))),
            shown(&pod(false, restarted(50))),
            shown(&pod(true, ended(1))),
            // It is started again whatever it says.
            shown(&pod(true, ended(0))),
            shown(&pod(true, waiting)),
        ];
        insta::assert_snapshot!(all.join("\n"), @r"
        0ns
        5s
        5s
        15s
        30s
        container app ended: exit code 1 (Error)
        container app ended: exit code 0 (Error)
        container app does not run
        ");
    }

    #[test]
    fn only_what_is_meant_to_stay_has_to_run() {
        let ended = json!({ "terminated": { "exitCode": 0, "reason": "Completed" } });
        let running = json!({ "running": {} });
        let mut pod = json!({
            "spec": {
                "restartPolicy": "Always",
                "initContainers": [
                    { "name": "setup" }, { "name": "proxy", "restartPolicy": "Always" },
                ],
                "containers": [{ "name": "app" }],
            },
            "status": {
                "phase": "Running",
                "initContainerStatuses": [
                    { "name": "setup", "state": ended }, { "name": "proxy", "state": running },
                ],
                "containerStatuses": [{ "name": "app", "state": running }],
            },
        });
        assert_eq!(shown(&pod), "5s, 5s");
        pod["status"]["initContainerStatuses"][1]["state"] = ended.clone();
        assert_eq!(shown(&pod), "container proxy ended: exit code 0 (Completed)");
        pod["status"]["initContainerStatuses"][1]["state"] = running;
        pod["status"]["containerStatuses"][0]["state"] = ended;
        pod["spec"]["restartPolicy"] = "OnFailure".into();
        assert_eq!(shown(&pod), "5s");
        assert!(is_active(&pod));
        pod["status"]["phase"] = "Failed".into();
        assert!(!is_active(&pod));
    }
}
