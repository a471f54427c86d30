//! What is written when something failed.

use seatrial_deploy::{EvidenceLimits, evidence};
use serde_json::json;

use crate::fake::Fake;

async fn broken_shop() -> Fake {
    let fake = Fake::start().await;
    for namespace in ["shop", "other"] {
        let path = format!("/api/v1/namespaces/{namespace}");
        fake.put(
            &format!("{path}/pods/web-1"),
            json!({
                "metadata": { "namespace": namespace, "name": "web-1" },
                "status": {
                    "phase": "Running",
                    "containerStatuses": [{
                        "name": "app", "restartCount": 1, "state": { "running": {} },
                    }],
                },
            }),
        );
        fake.log(&format!("{path}/pods/web-1?app"), "one\ntwo\n");
        fake.put(
            &format!("{path}/secrets/password"),
            json!({
                "metadata": { "namespace": namespace, "name": "password" },
                "data": { "password": "aHVudGVyMg==" },
            }),
        );
        fake.put(
            &format!("{path}/configmaps/settings"),
            json!({ "metadata": { "namespace": namespace, "name": "settings" } }),
        );
    }
    fake
}

#[tokio::test]
async fn evidence_of_one_namespace_has_no_secrets_and_lists_what_is_missing() {
    let fake = broken_shop().await;
    let directory = tempfile::tempdir().expect("a temporary directory");
    let limits = EvidenceLimits::starting_now();
    let namespaces = ["shop".to_owned()];
    let found = evidence(&fake.cluster, &namespaces, &limits, directory.path()).await;
    let files: Vec<_> = found.files.iter().map(|file| file.display().to_string()).collect();
    assert_eq!(
        files,
        [
            "shop/web-1.txt",
            "shop/web-1.app.log",
            "objects/shop/pods.yaml",
            "objects/shop/configmaps.yaml",
        ]
    );
    assert_eq!(
        found.errors,
        ["shop/web-1.app.previous.log: previous terminated container not found"]
    );
    for file in &found.files {
        let text = std::fs::read_to_string(directory.path().join(file)).expect("it was written");
        assert!(!text.contains("aHVudGVyMg"), "{text}");
    }
    let all = evidence(&fake.cluster, &[], &limits, directory.path()).await;
    assert_eq!(all.files.len(), 8, "{:?}", all.files);
}

#[tokio::test]
async fn evidence_has_a_limit_in_all_and_needs_no_api_server() {
    let fake = broken_shop().await;
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut limits = EvidenceLimits::starting_now();
    limits.total_bytes = 150;
    let found = evidence(&fake.cluster, &[], &limits, directory.path()).await;
    assert!(found.bytes <= 150 && !found.files.is_empty(), "{found:?}");
    let said = |error: &String| error.contains("more than 150 bytes in all");
    assert_eq!(found.errors.iter().filter(|error| said(error)).count(), 1, "{found:?}");

    let cluster = fake.cluster.clone();
    drop(fake);
    let limits = EvidenceLimits::starting_now();
    let found = evidence(&cluster, &[], &limits, directory.path()).await;
    assert_eq!(found.files.len(), 0);
    assert!(found.errors[0].starts_with("events: the API server does not answer"), "{found:?}");
}
