//! Waiting for readiness, and what is said when it does not come.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use seatrial_core::digest::Digest;
use seatrial_core::failure::Failure;
use seatrial_deploy::{
    Object, ReadyCondition, Wanted, check_images, default_conditions, image_ids, parse, wait_ready,
};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::fake::Fake;

const WEB: &str = "/apis/apps/v1/namespaces/shop/deployments/web";
const POD: &str = "/api/v1/namespaces/shop/pods/web-1";

fn deployment(available: u32) -> Value {
    json!({
        "metadata": { "namespace": "shop", "name": "web", "generation": 1 },
        "spec": { "replicas": 1, "selector": { "matchLabels": { "app": "web" } } },
        "status": {
            "observedGeneration": 1, "replicas": 1, "updatedReplicas": 1,
            "availableReplicas": available,
        },
    })
}

fn pod(status: &Value) -> Value {
    json!({
        "metadata": { "namespace": "shop", "name": "web-1", "labels": { "app": "web" } },
        "spec": { "containers": [{ "name": "app", "image": "ghcr.io/shop/web:1" }] },
        "status": status,
    })
}

fn wanted(word: &str, name: &str, wanted: Wanted) -> Vec<ReadyCondition> {
    vec![ReadyCondition {
        api_version: None,
        kind: word.to_owned(),
        namespace: Some("shop".to_owned()),
        name: name.to_owned(),
        wanted,
        within: None,
    }]
}

fn soon(milliseconds: u64) -> Instant {
    Instant::now() + Duration::from_millis(milliseconds)
}

fn show(failure: &Failure) -> String {
    let hints = failure.hints.join("\n");
    let Failure { fault, code, message, detail, .. } = failure;
    // A slow machine takes longer.
    let message = match message.split_once(" after ") {
        Some((start, rest)) => {
            let end = rest.trim_start_matches(|c: char| c.is_ascii_digit());
            format!("{start} after some{end}")
        }
        None => message.clone(),
    };
    format!("{fault:?} {code}\n{message}\n---\n{detail}\n---\n{hints}")
}

#[tokio::test]
async fn readiness_comes_by_watch() {
    let fake = Fake::start().await;
    let seen = Mutex::new(Vec::new());
    let note = |states: &[seatrial_deploy::ReadyState]| {
        let state = states.iter().map(|state| format!("{}: {:?}", state.object, state.readiness));
        seen.lock().expect("no panic").extend(state);
    };
    fake.put(
        POD,
        json!({
            "metadata": { "namespace": "shop", "name": "web-1", "labels": { "app": "web" } },
            "spec": { "containers": [{ "name": "app", "readinessProbe": { "exec": {} } }] },
            "status": { "phase": "Running", "containerStatuses": [
                { "name": "app", "restartCount": 0, "state": { "running": {} } },
            ]},
        }),
    );
    let conditions = wanted("deployments", "web", Wanted::Ready);
    let wait = wait_ready(&fake.cluster, conditions, soon(20_000), &note);
    let steps = async {
        fake.put(WEB, deployment(0));
        fake.put(WEB, deployment(1));
    };
    let (ready, ()) = tokio::join!(wait, steps);
    assert_eq!(ready, Ok(()));
    let seen = seen.into_inner().expect("no panic");
    assert_eq!(seen.last().map(String::as_str), Some("Deployment shop/web: Ready"), "{seen:?}");
}

#[tokio::test]
async fn a_crash_ends_the_wait_with_log_and_warnings() {
    let fake = Fake::start().await;
    fake.put(WEB, deployment(0));
    fake.put(
        POD,
        pod(&json!({
            "phase": "Running",
            "containerStatuses": [{
                "name": "app", "restartCount": 3, "ready": false,
                "state": { "waiting": {
                    "reason": "CrashLoopBackOff", "message": "back-off 40s restarting",
                }},
                "lastState": { "terminated": { "exitCode": 1, "reason": "Error" } },
            }],
        })),
    );
    let log = "listening on :8080\npanic: no database\n";
    fake.log(&format!("{POD}?app"), log);
    fake.log(&format!("{POD}?app/previous"), log);
    for (name, about, time, reason, count) in [
        ("b", "web-1", "2026-11-24T10:00:20Z", "BackOff", 3),
        ("a", "web-1", "2026-11-24T10:00:05Z", "Unhealthy", 1),
        ("c", "other", "2026-11-24T10:00:06Z", "BackOff", 1),
    ] {
        fake.put(
            &format!("/api/v1/namespaces/shop/events/{name}"),
            json!({
                "metadata": { "namespace": "shop", "name": name },
                "involvedObject": { "kind": "Pod", "name": about, "namespace": "shop" },
                "type": "Warning", "reason": reason, "message": "something", "count": count,
                "lastTimestamp": time,
            }),
        );
    }
    let conditions = wanted("Deployment", "web", Wanted::condition("Available"));
    let failure = wait_ready(&fake.cluster, conditions, soon(60_000), &|_| {}).await;
    let failure = failure.expect_err("it cannot become ready");
    insta::assert_snapshot!(show(&failure), @r"
    Product deploy.crash_loop
    Deployment shop/web cannot become ready: pod web-1: container app: it ends again and again: restarted 3 times, exit code 1 (Error)
    ---
    Deployment shop/web: it has no condition Available yet
      pod web-1: Running
        container app: it ends again and again: restarted 3 times, exit code 1 (Error)
        end of the log of app, before its last start:
          | listening on :8080
          | panic: no database
      warnings:
        10:00:05Z Pod web-1: Unhealthy: something
        10:00:20Z Pod web-1: BackOff: something (3 times)
    ---
    ");
}

#[tokio::test]
async fn an_image_that_does_not_exist_ends_the_wait_at_once() {
    let fake = Fake::start().await;
    fake.put(WEB, deployment(0));
    let waiting = |reason: &str| {
        let message = "failed to resolve reference \"ghcr.io/shop/web:1\": not found";
        pod(&json!({
            "phase": "Pending",
            "containerStatuses": [{
                "name": "app", "restartCount": 0, "ready": false,
                "state": { "waiting": { "reason": reason, "message": message } },
            }],
        }))
    };
    fake.put(POD, waiting("ErrImagePull"));
    let conditions = wanted("deployment", "web", Wanted::Ready);
    let failure = wait_ready(&fake.cluster, conditions, soon(60_000), &|_| {}).await;
    insta::assert_snapshot!(show(&failure.expect_err("there is no image")), @r#"
    Product deploy.image_not_found
    Deployment shop/web cannot become ready: pod web-1: container app: its image does not exist: ErrImagePull: failed to resolve reference "ghcr.io/shop/web:1": not found
    ---
    Deployment shop/web: 0 of 1 replicas are available
      pod web-1: Pending
        container app: its image does not exist: ErrImagePull: failed to resolve reference "ghcr.io/shop/web:1": not found
    ---
    an image that this run builds needs its name in `replaces` under `images:`; any other has to be reachable from the environment
    "#);
}

#[tokio::test]
async fn the_deadline_says_what_is_missing() {
    let fake = Fake::start().await;
    fake.put(WEB, deployment(0));
    let mut conditions = wanted("deployment", "web", Wanted::Ready);
    conditions.extend(wanted("configmap", "made-later", Wanted::Ready));
    let failure = wait_ready(&fake.cluster, conditions, soon(400), &|_| {}).await;
    insta::assert_snapshot!(show(&failure.expect_err("it is not ready")), @r"
    Product deploy.not_ready
    Deployment shop/web is not ready after some s: 0 of 1 replicas are available (and 1 more is not ready)
    ---
    Deployment shop/web: 0 of 1 replicas are available
    ConfigMap shop/made-later: it does not exist
    ---
    ");
    let conditions = wanted("deploymnet", "web", Wanted::Ready);
    let failure = wait_ready(&fake.cluster, conditions, soon(100), &|_| {}).await;
    insta::assert_snapshot!(show(&failure.expect_err("there is no such kind")), @r"
    Product deploy.unknown_kind
    cannot wait for deploymnet/web: nothing in the cluster serves `deploymnet`
    ---

    ---
    `Deployment` is served
    ");
}

#[tokio::test]
async fn an_api_server_that_goes_away_is_the_environments_fault() {
    let cluster = {
        let fake = Fake::start().await;
        fake.put(WEB, deployment(0));
        let conditions = wanted("deployment", "web", Wanted::Ready);
        // The kinds are known from here on.
        let late = wait_ready(&fake.cluster, conditions, soon(300), &|_| {}).await;
        assert_eq!(late.expect_err("it is not ready").code, "deploy.not_ready");
        fake.cluster.clone()
    };
    let conditions = wanted("deployment", "web", Wanted::Ready);
    let failure = wait_ready(&cluster, conditions, soon(300), &|_| {}).await;
    let failure = failure.expect_err("nobody is there");
    assert_eq!(failure.code, "deploy.api_unavailable", "{failure}");
}

#[test]
fn the_default_is_what_starts_pods_and_the_services_in_front_of_it() {
    let text = r"
{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, namespace: shop},
 spec: {template: {metadata: {labels: {app: web}}}}}
---
{apiVersion: apps/v1, kind: Deployment, metadata: {name: idle, namespace: shop},
 spec: {replicas: 0, template: {metadata: {labels: {app: idle}}}}}
---
{apiVersion: v1, kind: Service, metadata: {name: web, namespace: shop}, spec: {selector: {app: web}}}
---
{apiVersion: v1, kind: Service, metadata: {name: idle, namespace: shop}, spec: {selector: {app: idle}}}
---
{apiVersion: v1, kind: Service, metadata: {name: web, namespace: other}, spec: {selector: {app: web}}}
---
{apiVersion: v1, kind: Service, metadata: {name: external, namespace: shop}, spec: {externalName: x}}
---
{apiVersion: batch/v1, kind: Job, metadata: {name: migrate, namespace: shop}, spec: {}}
---
{apiVersion: batch/v1, kind: Job, metadata: {name: later, namespace: shop}, spec: {suspend: true}}
---
{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: data, namespace: shop}}
---
{apiVersion: example.com/v1, kind: Widget, metadata: {name: one, namespace: shop}}
";
    let objects: Vec<Object> = parse(text, "f").expect("the text is good");
    let conditions: Vec<_> = default_conditions(&objects)
        .into_iter()
        .map(|condition| format!("{} {}", condition.kind, condition.name))
        .collect();
    assert_eq!(conditions, ["Deployment web", "Deployment idle", "Service web", "Job migrate"]);
}

#[tokio::test]
async fn the_images_that_run_are_read_and_compared() {
    let fake = Fake::start().await;
    let built = Digest::of("built");
    fake.put(
        POD,
        pod(&json!({
            "phase": "Running",
            "containerStatuses": [{
                "name": "app", "restartCount": 0, "ready": true, "image": "ghcr.io/shop/web:1",
                "imageID": format!("ghcr.io/shop/web@{built}"),
            }],
        })),
    );
    let images = image_ids(&fake.cluster).await.expect("they are listed");
    assert_eq!(images.len(), 1);
    let expected = |digest| BTreeMap::from([("ghcr.io/shop/web".to_owned(), digest)]);
    assert_eq!(check_images(&images, &expected(built)), []);
    assert_eq!(check_images(&images, &expected(Digest::of("other"))).len(), 1);
}
