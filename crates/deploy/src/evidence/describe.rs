//! Objects as text for people. Pure.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::Value;

use crate::cluster::Kind;
use crate::explain::EventLine;
use crate::readiness::{find, list, number, said, text};
use crate::ready::name_of;
use crate::trouble::{containers, ending};

/// All events, one a line.
pub(super) fn event_list(events: &[EventLine]) -> String {
    let mut lines = String::new();
    for event in events {
        let mark = if event.warning { "!" } else { " " };
        let namespace = if event.namespace.is_empty() { "-" } else { &event.namespace };
        // Writing into a String does not fail.
        let _ = writeln!(lines, "{mark} {namespace} {}", event.line());
    }
    lines
}

/// Lines of a summary about pods, and about warnings.
const SHOWN: usize = 12;
/// Characters of a line of a summary.
const LINE: usize = 300;

/// What a person reads first: which pods are not ready and why, then the last
/// warnings.
pub(super) fn summary(pods: &[Value], events: &[EventLine]) -> Vec<String> {
    let mut lines: Vec<String> = pods.iter().filter_map(not_ready).collect();
    if lines.len() > SHOWN {
        let more = lines.len() - SHOWN;
        lines.truncate(SHOWN);
        lines.push(format!("and {more} more pods are not ready"));
    }
    let warnings: Vec<_> = events.iter().filter(|event| event.warning).collect();
    let last = &warnings[warnings.len().saturating_sub(SHOWN)..];
    lines.extend(last.iter().map(|event| format!("{}: {}", event.namespace, event.line())));
    for line in &mut lines {
        if let Some((end, _)) = line.char_indices().nth(LINE) {
            line.truncate(end);
            line.push_str("...");
        }
    }
    lines
}

/// Why a pod is not ready, in one line; `None`: it is, or it is done.
fn not_ready(pod: &Value) -> Option<String> {
    let phase = text(pod, "/status/phase");
    let ready = find(pod, "Ready").is_some_and(|ready| text(ready, "/status") == "True");
    if ready || phase == "Succeeded" {
        return None;
    }
    let mut why = Vec::new();
    for status in containers(pod) {
        let is_ready = status.pointer("/ready").and_then(Value::as_bool).unwrap_or_default();
        if is_ready {
            continue;
        }
        let now = state(status.pointer("/state").unwrap_or(&Value::Null));
        let mut line = format!("{}: {now}", text(status, "/name"));
        if let Some(before) = status.pointer("/lastState/terminated") {
            let restarts = number(status, "/restartCount", 0);
            let _ = write!(line, "; before: {}; restarts: {restarts}", ending(before));
        }
        why.push(line);
    }
    let unwell = |condition: &&Value| text(condition, "/status") == "False";
    let scheduled = find(pod, "PodScheduled").filter(unwell);
    if let Some(condition) = scheduled.or(find(pod, "Ready").filter(|_| why.is_empty())) {
        why.push(said(condition));
    }
    why.push(said(pod.pointer("/status").unwrap_or(&Value::Null)));
    why.retain(|part| !part.is_empty());
    let namespace = text(pod, "/metadata/namespace");
    let why = if why.is_empty() { phase.to_owned() } else { why.join("; ") };
    // A message may have several lines, and a summary has one for each pod.
    let why = why.split_whitespace().collect::<Vec<_>>().join(" ");
    Some(format!("pod {namespace}/{} is not ready: {why}", name_of(pod)))
}

/// A pod as `kubectl describe` has it, as far as it says why it is as it is.
pub(super) fn pod(pod: &Value, events: &[EventLine]) -> String {
    let mut out = String::new();
    let namespace = text(pod, "/metadata/namespace");
    let name = name_of(pod);
    let mut line = |indent: usize, name: &str, value: &str| {
        if !value.is_empty() {
            let _ = writeln!(out, "{:indent$}{name}: {value}", "");
        }
    };
    line(0, "Pod", &format!("{namespace}/{name}"));
    line(2, "phase", text(pod, "/status/phase"));
    line(2, "why", &said(pod.pointer("/status").unwrap_or(&Value::Null)));
    line(2, "node", text(pod, "/spec/nodeName"));
    line(2, "address", text(pod, "/status/podIP"));
    line(2, "created", text(pod, "/metadata/creationTimestamp"));
    line(2, "going since", text(pod, "/metadata/deletionTimestamp"));
    for owner in list(pod, "/metadata/ownerReferences") {
        line(2, "owner", &format!("{} {}", text(owner, "/kind"), text(owner, "/name")));
    }
    for condition in list(pod, "/status/conditions") {
        let said = said(condition);
        let colon = if said.is_empty() { "" } else { ": " };
        let value = format!(
            "{} since {}{colon}{said}",
            text(condition, "/status"),
            text(condition, "/lastTransitionTime")
        );
        line(2, text(condition, "/type"), &value);
    }
    for status in containers(pod) {
        line(2, "container", text(status, "/name"));
        line(4, "image", text(status, "/image"));
        line(4, "image ID", text(status, "/imageID"));
        line(4, "state", &state(status.pointer("/state").unwrap_or(&Value::Null)));
        line(4, "last state", &state(status.pointer("/lastState").unwrap_or(&Value::Null)));
        line(4, "restarts", &number(status, "/restartCount", 0).to_string());
        let ready = status.pointer("/ready").and_then(Value::as_bool).unwrap_or_default();
        line(4, "ready", if ready { "yes" } else { "no" });
    }
    let mine = |event: &&EventLine| {
        event.kind == "Pod" && event.about == name && event.namespace == namespace
    };
    for event in events.iter().filter(mine) {
        line(2, "event", &event.line());
    }
    out
}

/// The state of a container in one line.
fn state(state: &Value) -> String {
    if let Some(running) = state.pointer("/running") {
        return format!("running since {}", text(running, "/startedAt"));
    }
    if let Some(ended) = state.pointer("/terminated") {
        let (start, end) = (text(ended, "/startedAt"), text(ended, "/finishedAt"));
        return format!("{}, from {start} to {end}", ending(ended));
    }
    match state.pointer("/waiting") {
        Some(waiting) => format!("waiting: {}", said(waiting)),
        None => String::new(),
    }
}

/// A kind as a file name: `deployments.apps`.
pub(super) fn kind_word(kind: &Kind) -> String {
    let resource = &kind.resource;
    if resource.group.is_empty() {
        resource.plural.clone()
    } else {
        format!("{}.{}", resource.plural, resource.group)
    }
}

/// The objects of one kind as YAML documents, by namespace (`_cluster` for
/// those in none), by name, without what only the API server needs.
pub(super) fn documents(kind: &Kind, objects: Vec<Value>) -> BTreeMap<String, String> {
    let mut sorted: BTreeMap<String, BTreeMap<String, Value>> = BTreeMap::new();
    for mut object in objects {
        if let Some(map) = object.as_object_mut() {
            map.insert("apiVersion".to_owned(), kind.resource.api_version.clone().into());
            map.insert("kind".to_owned(), kind.resource.kind.clone().into());
        }
        if let Some(metadata) = object.pointer_mut("/metadata").and_then(Value::as_object_mut) {
            metadata.remove("managedFields");
        }
        let namespace = match text(&object, "/metadata/namespace") {
            "" => "_cluster",
            namespace => namespace,
        };
        let (namespace, name) = (namespace.to_owned(), name_of(&object).to_owned());
        sorted.entry(namespace).or_default().insert(name, object);
    }
    sorted
        .into_iter()
        .map(|(namespace, objects)| {
            let objects: Vec<_> = objects.into_values().collect();
            // Every JSON value is a YAML document.
            let yaml = serde_saphyr::to_string_multiple(&objects).unwrap_or_default();
            (namespace, yaml)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pod_is_described_with_its_containers_and_events() {
        let object = json!({
            "metadata": {
                "namespace": "shop", "name": "web-1",
                "creationTimestamp": "2026-11-24T10:00:00Z",
                "ownerReferences": [{ "kind": "ReplicaSet", "name": "web" }],
            },
            "spec": { "nodeName": "node" },
            "status": {
                "phase": "Running", "podIP": "10.244.0.7",
                "conditions": [{
                    "type": "Ready", "status": "False",
                    "lastTransitionTime": "2026-11-24T10:00:01Z",
                    "reason": "ContainersNotReady", "message": "containers with unready status",
                }],
                "containerStatuses": [{
                    "name": "app", "image": "web:1", "imageID": "web@sha256:00",
                    "restartCount": 1, "ready": false,
                    "state": { "running": { "startedAt": "2026-11-24T10:00:05Z" } },
                    "lastState": { "terminated": {
                        "exitCode": 1, "reason": "Error",
                        "startedAt": "2026-11-24T10:00:02Z",
                        "finishedAt": "2026-11-24T10:00:04Z",
                    }},
                }],
            },
        });
        let event = |namespace: &str| EventLine {
            time: "2026-11-24T10:00:04Z".to_owned(),
            namespace: namespace.to_owned(),
            kind: "Pod".to_owned(),
            about: "web-1".to_owned(),
            reason: "Unhealthy".to_owned(),
            message: "Readiness probe failed".to_owned(),
            count: 2,
            warning: true,
        };
        let events = [event("other"), event("shop")];
        insta::assert_snapshot!(pod(&object, &events), @r"
        Pod: shop/web-1
          phase: Running
          node: node
          address: 10.244.0.7
          created: 2026-11-24T10:00:00Z
          owner: ReplicaSet web
          Ready: False since 2026-11-24T10:00:01Z: ContainersNotReady: containers with unready status
          container: app
            image: web:1
            image ID: web@sha256:00
            state: running since 2026-11-24T10:00:05Z
            last state: exit code 1 (Error), from 2026-11-24T10:00:02Z to 2026-11-24T10:00:04Z
            restarts: 1
            ready: no
          event: 10:00:04Z Pod web-1: Unhealthy: Readiness probe failed (2 times)
        ");
        insta::assert_snapshot!(event_list(&events), @r"
        ! other 10:00:04Z Pod web-1: Unhealthy: Readiness probe failed (2 times)
        ! shop 10:00:04Z Pod web-1: Unhealthy: Readiness probe failed (2 times)
        ");
    }

    #[test]
    fn a_summary_says_first_which_pods_are_not_ready_and_why() {
        let pod = |name: &str, status: Value| json!({ "metadata": { "namespace": "shop", "name": name }, "status": status });
        let condition = |kind: &str, status: &str, reason: &str, message: &str| json!({ "type": kind, "status": status, "reason": reason, "message": message });
        let pods = [
            pod("done", json!({ "phase": "Succeeded" })),
            pod("well", json!({ "conditions": [condition("Ready", "True", "", "")] })),
            pod(
                "crashing",
                json!({ "conditions": [condition("Ready", "False", "NotReady", "unready")],
                    "containerStatuses": [
                        { "name": "side", "ready": true, "state": { "running": {} } },
                        { "name": "app", "ready": false, "restartCount": 3,
                          "state": { "waiting": { "reason": "CrashLoopBackOff" } },
                          "lastState": { "terminated": { "exitCode": 1, "reason": "Error" } } },
                ]}),
            ),
            pod(
                "homeless",
                json!({ "phase": "Pending", "conditions": [
                    condition("PodScheduled", "False", "Unschedulable", "0/1 nodes:\nno memory")
                ]}),
            ),
            pod("new", json!({ "phase": "Pending" })),
            pod("gone", json!({ "phase": "Failed", "reason": "Evicted", "message": "no disk" })),
        ];
        let event = |warning| EventLine {
            time: "2026-11-24T10:00:04Z".to_owned(),
            namespace: "shop".to_owned(),
            kind: "Pod".to_owned(),
            about: "crashing".to_owned(),
            reason: if warning { "BackOff" } else { "Pulled" }.to_owned(),
            message: "x".repeat(400),
            count: 1,
            warning,
        };
        let lines = summary(&pods, &[event(false), event(true)]);
        assert_eq!(lines.last().map(String::len), Some(LINE + 3));
        insta::assert_snapshot!(lines[..lines.len() - 1].join("\n"), @r"
        pod shop/crashing is not ready: app: waiting: CrashLoopBackOff; before: exit code 1 (Error); restarts: 3
        pod shop/homeless is not ready: Unschedulable: 0/1 nodes: no memory
        pod shop/new is not ready: Pending
        pod shop/gone is not ready: Evicted: no disk
        ");
        let many: Vec<_> = (0..20).map(|n| pod(&n.to_string(), json!({}))).collect();
        assert_eq!(summary(&many, &[])[SHOWN], "and 8 more pods are not ready");
    }

    #[test]
    fn objects_are_yaml_by_namespace() {
        let kind = Kind::namespaced("apps", "v1", "Deployment", "deployments");
        assert_eq!(kind_word(&kind), "deployments.apps");
        let object = |namespace: Option<&str>, name: &str| {
            json!({ "metadata": {
                "namespace": namespace, "name": name, "managedFields": [{ "manager": "x" }],
            }})
        };
        let documents = documents(
            &kind,
            vec![object(Some("b"), "two"), object(Some("b"), "one"), object(None, "three")],
        );
        let text: String =
            documents.iter().map(|(namespace, yaml)| format!("== {namespace}\n{yaml}")).collect();
        insta::assert_snapshot!(text, @r"
        == _cluster
        apiVersion: apps/v1
        kind: Deployment
        metadata:
          name: three
          namespace: null
        == b
        apiVersion: apps/v1
        kind: Deployment
        metadata:
          name: one
          namespace: b
        ---
        apiVersion: apps/v1
        kind: Deployment
        metadata:
          name: two
          namespace: b
        ");
    }
}
