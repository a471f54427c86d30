//! The default storage: volumes that are directories of a node.
//!
//! A provisioner without pods and images: it only writes PersistentVolume
//! objects, and kubelet does the rest. The data stays in the environment and
//! goes with it; sizes are not enforced. What to do about a claim is decided
//! by pure functions.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event, watcher};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::apply::classify;
use crate::cluster::Cluster;
use crate::watch::{Pauses, reason};

/// The name by which classes choose this provisioner.
pub const PROVISIONER: &str = "seatrial.dev/host-path";
/// The class for claims that name none.
pub const STORAGE_CLASS: &str = "standard";

/// Set by the scheduler on a claim whose class waits for the first pod.
const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";
/// Set by the volume controller: who is asked to make the volume.
const ASKED: [&str; 2] =
    ["volume.kubernetes.io/storage-provisioner", "volume.beta.kubernetes.io/storage-provisioner"];
/// Set by provisioners on what they made.
const PROVISIONED_BY: &str = "pv.kubernetes.io/provisioned-by";
/// Pause before something that the API server did not take is tried again.
const PAUSE: Duration = Duration::from_millis(500);

/// A volume that is about to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// The node whose directory it is; `None` for a class that does not wait
    /// for a pod, on a cluster where any node will do.
    pub node: Option<String>,
    /// The name of the directory below the one for volumes.
    pub directory: String,
}

/// Makes the class `standard` and a volume for each claim that asks for one,
/// for as long as the future is polled; a worker drops it with the environment.
///
/// `directory_on_node` is where volumes are, as kubelet sees it. Before a
/// volume is made, `prepare` may make its directory: one that kubelet makes
/// belongs to root with mode 0755, and a container that runs as another user
/// cannot write there, so it should be mode 0777.
pub async fn provision_volumes(
    cluster: &Cluster,
    directory_on_node: &str,
    prepare: &(dyn Fn(&Volume) -> io::Result<()> + Send + Sync),
) {
    while let Err(error) = make_class(cluster).await {
        tracing::debug!(error = %classify(&error).1, "the storage class is not made yet");
        sleep(PAUSE).await;
    }
    futures::join!(provision(cluster, directory_on_node, prepare), release(cluster));
}

async fn make_class(cluster: &Cluster) -> Result<(), kube::Error> {
    let class = json!({
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {
            "name": STORAGE_CLASS,
            "annotations": { "storageclass.kubernetes.io/is-default-class": "true" },
        },
        "provisioner": PROVISIONER,
        "volumeBindingMode": "WaitForFirstConsumer",
        "reclaimPolicy": "Delete",
    });
    let api: Api<StorageClass> = Api::all(cluster.client().clone());
    let params = PatchParams::apply("seatrial").force();
    api.patch(STORAGE_CLASS, &params, &Patch::Apply(&class)).await.map(drop)
}

/// Makes volumes for claims.
async fn provision(
    cluster: &Cluster,
    directory_on_node: &str,
    prepare: &(dyn Fn(&Volume) -> io::Result<()> + Send + Sync),
) {
    let classes: Api<StorageClass> = Api::all(cluster.client().clone());
    let claims: Api<PersistentVolumeClaim> = Api::all(cluster.client().clone());
    let volumes: Api<PersistentVolume> = Api::all(cluster.client().clone());
    let mut events =
        std::pin::pin!(watcher(claims, watcher::Config::default()).backoff(Pauses::default()));
    while let Some(event) = events.next().await {
        let claim = match event {
            Ok(Event::Apply(claim) | Event::InitApply(claim)) => claim,
            Ok(Event::Init | Event::InitDone | Event::Delete(_)) => continue,
            Err(error) => {
                tracing::debug!(error = reason(&error), "cannot watch claims");
                continue;
            }
        };
        if !asks(&claim) {
            continue;
        }
        let class = claim.spec.as_ref().and_then(|spec| spec.storage_class_name.as_deref());
        let class = class.unwrap_or(STORAGE_CLASS);
        // A claim that is not served now is seen again only when it changes, so
        // what fails is tried until it works or the claim is gone.
        let policy = loop {
            match classes.get_opt(class).await {
                Ok(class) => break class.and_then(|class| class.reclaim_policy),
                Err(error) => tracing::warn!(error = %classify(&error).1, class, "no class"),
            }
            sleep(PAUSE).await;
        };
        let Some((volume, object)) = volume_for(&claim, directory_on_node, policy.as_deref())
        else {
            continue;
        };
        if let Err(error) = prepare(&volume) {
            tracing::warn!(%error, directory = volume.directory, "cannot make the directory");
        }
        loop {
            match volumes.create(&PostParams::default(), &object).await {
                Ok(_) => break,
                // Made before, by an earlier look at the same claim.
                Err(kube::Error::Api(status)) if status.code == 409 => break,
                Err(error) => {
                    let (cause, error) = classify(&error);
                    tracing::warn!(error, "cannot make a volume");
                    if !cause.may_pass() {
                        break;
                    }
                }
            }
            sleep(PAUSE).await;
        }
    }
}

/// Removes volumes whose claims are gone.
async fn release(cluster: &Cluster) {
    let volumes: Api<PersistentVolume> = Api::all(cluster.client().clone());
    let watched = watcher(volumes.clone(), watcher::Config::default());
    let mut events = std::pin::pin!(watched.backoff(Pauses::default()));
    while let Some(event) = events.next().await {
        let volume = match event {
            Ok(Event::Apply(volume) | Event::InitApply(volume)) => volume,
            _ => continue,
        };
        let Some(name) = volume.metadata.name.as_deref().filter(|_| is_released(&volume)) else {
            continue;
        };
        if let Err(error) = volumes.delete(name, &DeleteParams::default()).await {
            tracing::debug!(error = %classify(&error).1, name, "cannot remove a volume");
        }
    }
}

/// Whether this provisioner is asked to make a volume for `claim`, now.
fn asks(claim: &PersistentVolumeClaim) -> bool {
    let annotations = claim.metadata.annotations.as_ref();
    let annotation = |key: &str| annotations.and_then(|map| map.get(key)).map(String::as_str);
    let Some(spec) = &claim.spec else {
        return false;
    };
    ASKED.iter().any(|key| annotation(key) == Some(PROVISIONER))
        && spec.volume_name.as_deref().unwrap_or_default().is_empty()
        && claim.metadata.deletion_timestamp.is_none()
        // A directory is no block device.
        && spec.volume_mode.as_deref() != Some("Block")
}

/// The volume for a claim that asks for one. A claim that waits for its first
/// pod and has no node yet is not looked at: the scheduler has the volume
/// controller ask only when it has chosen one.
fn volume_for(
    claim: &PersistentVolumeClaim,
    directory_on_node: &str,
    reclaim_policy: Option<&str>,
) -> Option<(Volume, PersistentVolume)> {
    let metadata = &claim.metadata;
    let spec = claim.spec.as_ref()?;
    let (namespace, name) = (metadata.namespace.as_deref()?, metadata.name.as_deref()?);
    let uid = metadata.uid.as_deref()?;
    let volume_name = format!("pvc-{uid}");
    // The names of claims and namespaces have no `/` and are not `..`.
    let directory = format!("{volume_name}_{namespace}_{name}");
    let empty = BTreeMap::new();
    let node = metadata.annotations.as_ref().unwrap_or(&empty).get(SELECTED_NODE).cloned();
    let size = spec.resources.as_ref()?.requests.as_ref()?.get("storage")?;
    let affinity = node.as_ref().map_or(Value::Null, |node| {
        json!({ "required": { "nodeSelectorTerms": [{ "matchExpressions": [
            { "key": "kubernetes.io/hostname", "operator": "In", "values": [node] },
        ]}]}})
    });
    let object = json!({
        "metadata": {
            "name": volume_name,
            "annotations": { PROVISIONED_BY: PROVISIONER },
        },
        "spec": {
            "capacity": { "storage": size },
            "accessModes": spec.access_modes,
            "volumeMode": "Filesystem",
            "persistentVolumeReclaimPolicy": reclaim_policy.unwrap_or("Delete"),
            "storageClassName": spec.storage_class_name,
            "claimRef": {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "namespace": namespace,
                "name": name,
                "uid": uid,
                "resourceVersion": metadata.resource_version,
            },
            "hostPath": {
                "path": format!("{}/{directory}", directory_on_node.trim_end_matches('/')),
                "type": "DirectoryOrCreate",
            },
            "nodeAffinity": affinity,
        },
    });
    let object = serde_json::from_value(object).ok()?;
    Some((Volume { node, directory }, object))
}

/// Whether `volume` is ours, its claim is gone, and it is not to be kept.
fn is_released(volume: &PersistentVolume) -> bool {
    let annotations = volume.metadata.annotations.as_ref();
    let ours = annotations.and_then(|map| map.get(PROVISIONED_BY)).map(String::as_str);
    let phase = volume.status.as_ref().and_then(|status| status.phase.as_deref());
    let policy =
        volume.spec.as_ref().and_then(|spec| spec.persistent_volume_reclaim_policy.as_deref());
    ours == Some(PROVISIONER)
        && phase == Some("Released")
        && policy == Some("Delete")
        && volume.metadata.deletion_timestamp.is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(changes: impl FnOnce(&mut Value)) -> PersistentVolumeClaim {
        let mut claim = json!({
            "metadata": {
                "namespace": "shop", "name": "data-db-0", "uid": "7f3e", "resourceVersion": "12",
                "annotations": {
                    "volume.kubernetes.io/storage-provisioner": PROVISIONER,
                    "volume.kubernetes.io/selected-node": "node",
                },
            },
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "storageClassName": "standard",
                "resources": { "requests": { "storage": "1Gi" } },
            },
        });
        changes(&mut claim);
        serde_json::from_value(claim).expect("it is a claim")
    }

    #[test]
    fn a_claim_gets_a_directory_of_the_node_of_its_pod() {
        let claim = claim(|_| {});
        assert!(asks(&claim));
        let (volume, object) = volume_for(&claim, "/var/lib/seatrial/volumes/", Some("Delete"))
            .expect("it can be made");
        assert_eq!(volume.node.as_deref(), Some("node"));
        assert_eq!(volume.directory, "pvc-7f3e_shop_data-db-0");
        insta::assert_json_snapshot!(object, @r#"
        {
          "apiVersion": "v1",
          "kind": "PersistentVolume",
          "metadata": {
            "annotations": {
              "pv.kubernetes.io/provisioned-by": "seatrial.dev/host-path"
            },
            "name": "pvc-7f3e"
          },
          "spec": {
            "accessModes": [
              "ReadWriteOnce"
            ],
            "capacity": {
              "storage": "1Gi"
            },
            "claimRef": {
              "apiVersion": "v1",
              "kind": "PersistentVolumeClaim",
              "name": "data-db-0",
              "namespace": "shop",
              "resourceVersion": "12",
              "uid": "7f3e"
            },
            "hostPath": {
              "path": "/var/lib/seatrial/volumes/pvc-7f3e_shop_data-db-0",
              "type": "DirectoryOrCreate"
            },
            "nodeAffinity": {
              "required": {
                "nodeSelectorTerms": [
                  {
                    "matchExpressions": [
                      {
                        "key": "kubernetes.io/hostname",
                        "operator": "In",
                        "values": [
                          "node"
                        ]
                      }
                    ]
                  }
                ]
              }
            },
            "persistentVolumeReclaimPolicy": "Delete",
            "storageClassName": "standard",
            "volumeMode": "Filesystem"
          }
        }
        "#);
    }

    #[test]
    fn claims_of_others_bound_ones_and_block_devices_are_left_alone() {
        assert!(!asks(&claim(|claim| claim["metadata"]["annotations"] = json!({}))));
        let other = |claim: &mut Value| {
            claim["metadata"]["annotations"][ASKED[0]] = "rancher.io/local-path".into();
        };
        assert!(!asks(&claim(other)));
        assert!(!asks(&claim(|claim| claim["spec"]["volumeName"] = "pvc-1".into())));
        assert!(!asks(&claim(|claim| claim["spec"]["volumeMode"] = "Block".into())));
        let gone = |claim: &mut Value| {
            claim["metadata"]["deletionTimestamp"] = "2026-11-24T10:00:00Z".into();
        };
        assert!(!asks(&claim(gone)));
    }

    #[test]
    fn only_released_volumes_of_ours_are_removed() {
        let volume = |by: &str, phase: &str, policy: &str| -> PersistentVolume {
            serde_json::from_value(json!({
                "metadata": { "name": "pvc-1", "annotations": { PROVISIONED_BY: by } },
                "spec": { "persistentVolumeReclaimPolicy": policy },
                "status": { "phase": phase },
            }))
            .expect("it is a volume")
        };
        assert!(is_released(&volume(PROVISIONER, "Released", "Delete")));
        assert!(!is_released(&volume(PROVISIONER, "Bound", "Delete")));
        assert!(!is_released(&volume(PROVISIONER, "Released", "Retain")));
        assert!(!is_released(&volume("rancher.io/local-path", "Released", "Delete")));
    }
}
