//! Namespaces, and what controllers put into each.

use seatrial_core::failure::Failure;
use serde_json::json;
use tokio::time::Instant;

use crate::apply::{ApplyOptions, apply};
use crate::cluster::{Cluster, Kind};
use crate::manifest::{Object, ObjectId, Origin};
use crate::watch::until;

/// Makes the namespace `name` if there is none, and waits until pods can be
/// made in it.
///
/// # Errors
/// When it cannot be made, or not until `deadline`.
pub async fn ensure_namespace(
    cluster: &Cluster,
    name: &str,
    deadline: Instant,
) -> Result<(), Failure> {
    let object = Object {
        origin: Origin { file: "seatrial".to_owned(), line: 1 },
        id: ObjectId {
            api_version: "v1".to_owned(),
            kind: "Namespace".to_owned(),
            namespace: None,
            name: name.to_owned(),
        },
        value: json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } }),
    };
    apply(cluster, vec![object], &ApplyOptions::until(deadline), &|_| {}).await?;
    wait_service_account(cluster, name, deadline).await
}

/// Waits until the ServiceAccount `default` of `namespace` exists: before that
/// the API server refuses pods there.
///
/// # Errors
/// When it does not exist at `deadline`, with what was seen last.
pub async fn wait_service_account(
    cluster: &Cluster,
    namespace: &str,
    deadline: Instant,
) -> Result<(), Failure> {
    let kind = Kind::namespaced("", "v1", "ServiceAccount", "serviceaccounts");
    let mut last = "the API server did not answer".to_owned();
    let exists = until(cluster.api(&kind, Some(namespace)), "default", deadline, |seen| {
        match seen {
            Ok(Some(_)) => return Some(()),
            Ok(None) => last = "it does not exist".to_owned(),
            Err(reason) => last = reason,
        }
        None
    })
    .await;
    exists.ok_or_else(|| {
        Failure::environment(
            "deploy.no_service_account",
            format!("waited for ServiceAccount {namespace}/default: {last}"),
        )
        .hint("the controller manager makes it: look at the end of its log")
    })
}
