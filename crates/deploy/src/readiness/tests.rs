use serde_json::json;

use super::*;

fn check(object: &Value, expected: &str) {
    check_wanted(object, &Wanted::Ready, expected);
}

fn check_wanted(object: &Value, wanted: &Wanted, expected: &str) {
    let kind = text(object, "/kind");
    let group = match kind {
        "Deployment" | "StatefulSet" | "DaemonSet" => "apps",
        "Job" => "batch",
        "CustomResourceDefinition" => "apiextensions.k8s.io",
        "Widget" => "example.com",
        _ => "",
    };
    let state = match readiness(group, kind, Some(object), wanted) {
        Readiness::Ready => "ready".to_owned(),
        Readiness::Pending(reason) => format!("pending: {reason}"),
        Readiness::Failed(reason) => format!("failed: {reason}"),
    };
    assert_eq!(state, expected, "{object:#}");
}

fn deployment_with(status: &Value) -> Value {
    json!({
        "kind": "Deployment",
        "metadata": { "generation": 2 },
        "spec": { "replicas": 2 },
        "status": status,
    })
}

#[test]
fn deployments() {
    check(&deployment_with(&json!({})), "pending: no controller has looked at it yet");
    let old = json!({
        "observedGeneration": 1, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2,
    });
    check(&deployment_with(&old), "pending: no controller has looked at it yet");
    let status = |replicas, updated, available| {
        deployment_with(&json!({
            "observedGeneration": 2, "replicas": replicas,
            "updatedReplicas": updated, "availableReplicas": available,
        }))
    };
    check(&status(2, 1, 2), "pending: 1 of 2 replicas are updated");
    check(&status(3, 2, 2), "pending: 1 old replicas are still there");
    check(&status(2, 2, 1), "pending: 1 of 2 replicas are available");
    check(&status(2, 2, 2), "ready");
    let stuck = json!({
        "observedGeneration": 2,
        "conditions": [{
            "type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded",
            "message": "ReplicaSet \"web-1\" has timed out progressing.",
        }],
    });
    check(
        &deployment_with(&stuck),
        "failed: it made no progress in time: ReplicaSet \"web-1\" has timed out progressing.",
    );
    let none = json!({ "kind": "Deployment", "spec": { "replicas": 0 } });
    check(&none, "ready");
}

#[test]
fn stateful_and_daemon_sets() {
    let set = |updated, ready, strategy: Value| {
        json!({
            "kind": "StatefulSet", "metadata": { "generation": 1 },
            "spec": { "replicas": 3, "updateStrategy": strategy },
            "status": {
                "observedGeneration": 1, "updatedReplicas": updated, "readyReplicas": ready,
            },
        })
    };
    check(&set(1, 3, json!({})), "pending: 1 of 3 replicas are updated");
    check(&set(3, 2, json!({})), "pending: 2 of 3 replicas are ready");
    check(&set(3, 3, json!({})), "ready");
    check(&set(1, 3, json!({ "rollingUpdate": { "partition": 2 } })), "ready");
    check(&set(0, 3, json!({ "type": "OnDelete" })), "ready");
    let daemons = |updated, available| {
        json!({
            "kind": "DaemonSet", "metadata": { "generation": 1 },
            "status": {
                "observedGeneration": 1, "desiredNumberScheduled": 2,
                "updatedNumberScheduled": updated, "numberAvailable": available,
            },
        })
    };
    check(&daemons(1, 2), "pending: 1 of 2 pods are updated");
    check(&daemons(2, 1), "pending: 1 of 2 pods are available");
    check(&daemons(2, 2), "ready");
}

#[test]
fn jobs_and_pods_can_fail_for_good() {
    let job = |status: Value| json!({ "kind": "Job", "spec": {}, "status": status });
    check(&job(json!({ "failed": 2 })), "pending: 0 of 1 completions, 2 pods failed");
    check(&job(json!({ "conditions": [{ "type": "Complete", "status": "True" }] })), "ready");
    let failed = json!({ "conditions": [{
        "type": "Failed", "status": "True", "reason": "BackoffLimitExceeded",
        "message": "Job has reached the specified backoff limit",
    }]});
    let expected =
        "failed: it failed: BackoffLimitExceeded: Job has reached the specified backoff limit";
    check(&job(failed.clone()), expected);
    check_wanted(&job(failed.clone()), &Wanted::condition("complete"), expected);
    check_wanted(&job(failed), &Wanted::condition("Failed"), "ready");

    let pod = |status: Value| json!({ "kind": "Pod", "status": status });
    check(&pod(json!({ "phase": "Succeeded" })), "ready");
    check(
        &pod(json!({ "phase": "Failed", "reason": "Evicted", "message": "low on memory" })),
        "failed: it failed: Evicted: low on memory",
    );
    let unready = json!({ "phase": "Running", "conditions": [{
        "type": "Ready", "status": "False", "reason": "ContainersNotReady",
        "message": "containers with unready status: [app]",
    }]});
    check(
        &pod(unready),
        "pending: its phase is Running: condition Ready is False: ContainersNotReady: \
         containers with unready status: [app]",
    );
}

#[test]
fn definitions_claims_and_anything_with_conditions() {
    let definition = |conditions: Value| json!({ "kind": "CustomResourceDefinition", "status": { "conditions": conditions } });
    check(&definition(json!([])), "pending: it has no condition Established yet");
    check(&definition(json!([{ "type": "Established", "status": "True" }])), "ready");
    check(
        &definition(json!([{
            "type": "NamesAccepted", "status": "False", "reason": "ListKindConflict",
            "message": "\"WidgetList\" is already in use",
        }])),
        "failed: its names are not accepted: ListKindConflict: \"WidgetList\" is already in use",
    );
    let claim = |phase| json!({ "kind": "PersistentVolumeClaim", "status": { "phase": phase } });
    check(&claim("Pending"), "pending: it is not bound to a volume");
    check(&claim("Lost"), "failed: its volume is lost");
    check(&claim("Bound"), "ready");
    check(&json!({ "kind": "ConfigMap" }), "ready");
    let custom = |observed| {
        json!({
            "kind": "Widget", "metadata": { "generation": 4 },
            "status": { "conditions": [
                { "type": "Ready", "status": "True", "observedGeneration": observed },
                { "type": "Degraded", "status": "False" },
            ]},
        })
    };
    check(&custom(3), "pending: condition Ready is of an older generation");
    check(&custom(4), "ready");
    check_wanted(&custom(4), &Wanted::condition("Degraded=False"), "ready");
    check_wanted(
        &custom(4),
        &Wanted::condition("Synced"),
        "pending: it has no condition Synced yet",
    );
    let absent = Readiness::Pending("it does not exist".to_owned());
    assert_eq!(readiness("", "Pod", None, &Wanted::Ready), absent);
}

#[test]
fn services_need_a_ready_endpoint() {
    let slice = |ready: &[Value]| {
        let endpoints: Vec<_> =
            ready.iter().map(|ready| json!({ "conditions": { "ready": ready } })).collect();
        json!({ "endpoints": endpoints })
    };
    let pending = |text: &str| Readiness::Pending(text.to_owned());
    assert_eq!(service(&[]), pending("it has no endpoint"));
    assert_eq!(service(&[slice(&[])]), pending("it has no endpoint"));
    assert_eq!(service(&[slice(&[json!(false)])]), pending("its only endpoint is not ready"));
    let two = slice(&[json!(false), json!(false)]);
    assert_eq!(service(&[two]), pending("none of its 2 endpoints is ready"));
    assert_eq!(service(&[slice(&[]), slice(&[json!(null)])]), Readiness::Ready);
}
