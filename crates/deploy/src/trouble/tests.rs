use serde_json::json;

use super::*;

fn waiting(reason: &str, message: &str, restarts: i64) -> Value {
    json!({
        "metadata": { "name": "web-1", "labels": { "app": "web", "tier": "front" } },
        "status": { "containerStatuses": [{
            "name": "app", "restartCount": restarts,
            "state": { "waiting": { "reason": reason, "message": message } },
        }]},
    })
}

const NOT_FOUND: &str = "failed to pull and unpack image \"ghcr.io/shop/web:1\": failed to resolve \
                         reference \"ghcr.io/shop/web:1\": ghcr.io/shop/web:1: not found";

const REFUSED: &str = "dial tcp 10.0.0.1:5000: connect: connection refused";

#[test]
fn each_state_has_its_kind_and_its_patience() {
    let table = [
        ("InvalidImageName", "invalid", 0, TroubleKind::ImageName, Patience::Over),
        ("ErrImageNeverPull", "", 0, TroubleKind::ImageName, Patience::Over),
        ("ErrImagePull", NOT_FOUND, 0, TroubleKind::ImageNotFound, Patience::Over),
        ("ImagePullBackOff", NOT_FOUND, 0, TroubleKind::ImageNotFound, Patience::Over),
        ("ErrImagePull", REFUSED, 0, TroubleKind::ImagePull, Patience::Unlimited),
        ("ErrImagePull", "mkfs.erofs not found", 0, TroubleKind::ImagePull, Patience::Unlimited),
        ("CrashLoopBackOff", "back-off 10s", 2, TroubleKind::Crash, Patience::Unlimited),
        ("CrashLoopBackOff", "back-off 40s", 3, TroubleKind::Crash, Patience::Over),
        (
            "CreateContainerConfigError",
            "secret \"db\" not found",
            0,
            TroubleKind::Container,
            Patience::Standing(STANDING),
        ),
    ];
    for (reason, message, restarts, kind, expected) in table {
        let pod = waiting(reason, message, restarts);
        let found = troubles(&pod);
        assert_eq!(found.len(), 1, "{reason}");
        assert_eq!(found[0].kind, kind, "{reason}");
        assert_eq!(patience(&found[0], &pod, &Pulls::new()), expected, "{reason} {restarts}");
    }
    for harmless in ["ContainerCreating", "PodInitializing"] {
        assert_eq!(troubles(&waiting(harmless, "", 0)), []);
    }
}

#[test]
fn an_image_that_may_be_there_is_given_up_at_the_third_failed_pull() {
    let mut pulls = Pulls::new();
    let mut before: Option<Value> = None;
    let mut given_up = Vec::new();
    let reasons = [
        "ContainerCreating",
        "ErrImagePull",
        "ErrImagePull",
        "ImagePullBackOff",
        "ErrImagePull",
        "ImagePullBackOff",
        "ErrImagePull",
        "ImagePullBackOff",
    ];
    for reason in reasons {
        let pod = waiting(reason, REFUSED, 0);
        count_pulls(before.as_ref(), &pod, &mut pulls);
        let over = troubles(&pod).iter().any(|t| patience(t, &pod, &pulls) == Patience::Over);
        given_up.push(over);
        before = Some(pod);
    }
    assert_eq!(given_up, [false, false, false, false, false, false, true, true]);

    // A watch that begins in the middle has missed the first.
    let mut pulls = Pulls::new();
    let back_off = waiting("ImagePullBackOff", REFUSED, 0);
    count_pulls(None, &back_off, &mut pulls);
    count_pulls(Some(&back_off), &waiting("ErrImagePull", REFUSED, 0), &mut pulls);
    assert_eq!(pulls["app"], 2);
}

#[test]
fn what_is_said_has_the_last_end_of_a_container() {
    let mut pod = waiting("CrashLoopBackOff", "back-off 40s restarting failed container", 3);
    pod["status"]["containerStatuses"][0]["lastState"] =
        json!({ "terminated": { "exitCode": 1, "reason": "Error" } });
    assert_eq!(troubles(&pod)[0].said, "restarted 3 times, exit code 1 (Error)");
    pod["status"]["containerStatuses"][0]["lastState"] =
        json!({ "terminated": { "exitCode": 137, "reason": "OOMKilled" } });
    assert_eq!(troubles(&pod)[0].said, "restarted 3 times, killed by signal 9 (OOMKilled)");
    // A program that is not there is the same trouble between two starts and after one.
    let never = json!({ "exitCode": 128, "reason": "StartError", "message": "no such file" });
    pod["status"]["containerStatuses"][0]["lastState"] = json!({ "terminated": never });
    assert_eq!(troubles(&pod)[0].kind, TroubleKind::Container);
    assert_eq!(troubles(&pod)[0].said, "StartError: no such file");
    pod["status"]["containerStatuses"][0]["state"] = json!({ "terminated": never });
    assert_eq!(troubles(&pod)[0].kind, TroubleKind::Container);
    pod["status"] = json!({ "initContainerStatuses": [{
        "name": "setup",
        "state": { "terminated": { "exitCode": 2, "reason": "Error", "message": "no\n" } },
    }]});
    let trouble = &troubles(&pod)[0];
    assert_eq!(trouble.said, "exit code 2 (Error): no");
    assert_eq!(trouble.container.as_deref(), Some("setup"));
    pod["status"] = json!({ "conditions": [{
        "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
        "message": "0/1 nodes are available: 1 Insufficient memory.",
    }]});
    let trouble = &troubles(&pod)[0];
    assert_eq!(trouble.kind, TroubleKind::Unschedulable);
    assert_eq!(trouble.said, "0/1 nodes are available: 1 Insufficient memory.");
}

#[test]
fn selectors_select_as_the_api_server_does() {
    let pod = waiting("", "", 0);
    let table = [
        (json!({}), false),
        (json!({ "matchLabels": {} }), false),
        (json!({ "matchLabels": { "app": "web" } }), true),
        (json!({ "matchLabels": { "app": "web", "tier": "back" } }), false),
        (json!({ "matchExpressions": [{ "key": "app", "operator": "Exists" }] }), true),
        (json!({ "matchExpressions": [{ "key": "app", "operator": "DoesNotExist" }] }), false),
        (
            json!({ "matchExpressions": [{ "key": "app", "operator": "In", "values": ["web"] }] }),
            true,
        ),
        (
            json!({ "matchExpressions": [{ "key": "a", "operator": "NotIn", "values": ["web"] }] }),
            true,
        ),
        (json!({ "matchExpressions": [{ "key": "app", "operator": "Like" }] }), false),
    ];
    for (selector, expected) in table {
        assert_eq!(selects(&selector, &pod), expected, "{selector}");
    }
}

#[test]
fn pods_of_an_older_template_are_told_by_their_images() {
    let spec = |image| json!({ "spec": { "containers": [{ "name": "app", "image": image }] } });
    assert!(!is_outdated(&spec("web:2"), &spec("web:2")));
    assert!(is_outdated(&spec("web:1"), &spec("web:2")));
    let mut with_sidecar = spec("web:2");
    let containers = with_sidecar["spec"]["containers"].as_array_mut().expect("it is a list");
    containers.push(json!({ "name": "proxy", "image": "proxy:1" }));
    assert!(!is_outdated(&with_sidecar, &spec("web:2")));
}
