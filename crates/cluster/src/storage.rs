//! The default StorageClass: volumes are directories of the node that the
//! scheduler chose. A task of this process writes the PersistentVolumes, so it
//! takes neither an image nor a pod.
//!
//! The protocol between scheduler, volume controller and provisioner is that of
//! external provisioners: see the annotations in
//! `k8s.io/component-helpers/storage/volume`.

use std::path::{Path, PathBuf};

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use kube::Client;
use kube::api::{Api, DeleteParams, PostParams};
use kube::runtime::{WatchStreamExt as _, watcher};
use seatrial_sandbox::root::make_directory_beneath;
use serde_json::{Value, json};

use crate::layout::NodeAt;

/// Name of the provisioner in claims and volumes.
const PROVISIONER: &str = "seatrial/node-directory";

/// Directory of a node with the volumes.
pub(crate) const VOLUMES: &str = "/var/lib/seatrial/volumes";

/// The default StorageClass.
pub(crate) fn class() -> Value {
    json!({
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {
            "name": "standard",
            "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
        },
        "provisioner": PROVISIONER,
        "reclaimPolicy": "Delete",
        // The directory has to be on the node of the pod.
        "volumeBindingMode": "WaitForFirstConsumer",
    })
}

/// Provides volumes until dropped. `nodes` are the nodes and the bases of their
/// roots.
pub(crate) async fn provide(client: Client, nodes: Vec<(NodeAt, PathBuf)>) {
    let claims: Api<PersistentVolumeClaim> = Api::all(client.clone());
    let volumes: Api<PersistentVolume> = Api::all(client);
    let mut wanted =
        watcher(claims, watcher::Config::default()).default_backoff().applied_objects().boxed();
    let mut released = watcher(volumes.clone(), watcher::Config::default())
        .default_backoff()
        .applied_objects()
        .boxed();
    loop {
        tokio::select! {
            Some(Ok(claim)) = wanted.next() => {
                if let Some(wanted) = wanted_volume(&claim) {
                    make(&volumes, wanted, &nodes).await;
                }
            }
            Some(Ok(volume)) = released.next() => {
                if let Some(name) = released_volume(&volume)
                    && let Err(error) = volumes.delete(name, &DeleteParams::default()).await
                {
                    tracing::warn!(volume = name, %error, "cannot delete a volume");
                }
            }
            else => return,
        }
    }
}

/// A volume that a claim waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Wanted {
    node: String,
    directory: PathBuf,
    volume: Value,
}

async fn make(volumes: &Api<PersistentVolume>, wanted: Wanted, nodes: &[(NodeAt, PathBuf)]) {
    let Some((_, base)) = nodes.iter().find(|(at, _)| at.name() == wanted.node) else { return };
    if let Err(error) = make_directory_beneath(base, &wanted.directory) {
        tracing::warn!(%error, "cannot make a volume's directory");
        return;
    }
    let Ok(volume) = serde_json::from_value(wanted.volume) else { return };
    match volumes.create(&PostParams::default(), &volume).await {
        Ok(_) => {}
        // The claim changed again before it was bound.
        Err(kube::Error::Api(status)) if status.is_already_exists() => {}
        Err(error) => tracing::warn!(%error, "cannot write a volume"),
    }
}

/// The volume that `claim` waits for, if it waits for one of ours.
fn wanted_volume(claim: &PersistentVolumeClaim) -> Option<Wanted> {
    let meta = &claim.metadata;
    let spec = claim.spec.as_ref()?;
    let annotation = |name: &str| meta.annotations.as_ref()?.get(name);
    let ours = annotation("volume.kubernetes.io/storage-provisioner")? == PROVISIONER;
    if !ours || spec.volume_name.is_some() || meta.deletion_timestamp.is_some() {
        return None;
    }
    let node = annotation("volume.kubernetes.io/selected-node")?.clone();
    let name = format!("pvc-{}", meta.uid.as_ref()?);
    let directory = Path::new(VOLUMES).join(&name);
    let storage = spec.resources.as_ref()?.requests.as_ref()?.get("storage")?;
    let volume = json!({
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {
            "name": name,
            "annotations": {"pv.kubernetes.io/provisioned-by": PROVISIONER},
        },
        "spec": {
            "accessModes": spec.access_modes,
            "capacity": {"storage": storage},
            "claimRef": {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "name": meta.name,
                "namespace": meta.namespace,
                "uid": meta.uid,
                "resourceVersion": meta.resource_version,
            },
            "hostPath": {"path": directory, "type": "DirectoryOrCreate"},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [{
                "key": "kubernetes.io/hostname", "operator": "In", "values": [node],
            }]}]}},
            "persistentVolumeReclaimPolicy": "Delete",
            "storageClassName": spec.storage_class_name,
            "volumeMode": spec.volume_mode,
        },
    });
    Some(Wanted { node, directory, volume })
}

/// The name of `volume` if it is one of ours that nobody needs any more. Its
/// directory goes with the environment; another claim gets another one.
fn released_volume(volume: &PersistentVolume) -> Option<&str> {
    let by = volume.metadata.annotations.as_ref()?.get("pv.kubernetes.io/provisioned-by")?;
    let phase = volume.status.as_ref()?.phase.as_deref()?;
    let reclaim = volume.spec.as_ref()?.persistent_volume_reclaim_policy.as_deref()?;
    let gone = volume.metadata.deletion_timestamp.is_some();
    let done = by == PROVISIONER && phase == "Released" && reclaim == "Delete" && !gone;
    if done { volume.metadata.name.as_deref() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(annotations: &Value, volume: Option<&str>) -> PersistentVolumeClaim {
        serde_json::from_value(json!({
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": "data", "namespace": "a", "uid": "7", "annotations": annotations},
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "resources": {"requests": {"storage": "1Gi"}},
                "storageClassName": "standard",
                "volumeName": volume,
            },
        }))
        .unwrap()
    }

    #[test]
    fn only_a_scheduled_claim_of_this_class_gets_a_volume() {
        let provisioner = "volume.kubernetes.io/storage-provisioner";
        let node = "volume.kubernetes.io/selected-node";
        let ours = json!({provisioner: PROVISIONER, node: "c0n1"});
        let wanted = wanted_volume(&claim(&ours, None)).unwrap();
        assert_eq!(wanted.node, "c0n1");
        assert_eq!(wanted.directory, Path::new("/var/lib/seatrial/volumes/pvc-7"));
        assert!(serde_json::from_value::<PersistentVolume>(wanted.volume).is_ok());
        assert_eq!(wanted_volume(&claim(&ours, Some("bound"))), None);
        assert_eq!(wanted_volume(&claim(&json!({provisioner: PROVISIONER}), None)), None);
        assert_eq!(wanted_volume(&claim(&json!({provisioner: "other", node: "c0n0"}), None)), None);
    }

    #[test]
    fn only_our_released_volumes_are_deleted() {
        let volume = |by: &str, phase: &str| -> PersistentVolume {
            serde_json::from_value(json!({
                "metadata": {
                    "name": "v",
                    "annotations": {"pv.kubernetes.io/provisioned-by": by},
                },
                "spec": {"persistentVolumeReclaimPolicy": "Delete"},
                "status": {"phase": phase},
            }))
            .unwrap()
        };
        assert_eq!(released_volume(&volume(PROVISIONER, "Released")), Some("v"));
        assert_eq!(released_volume(&volume(PROVISIONER, "Bound")), None);
        assert_eq!(released_volume(&volume("other", "Released")), None);
    }
}
