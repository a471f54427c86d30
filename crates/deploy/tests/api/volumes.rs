//! Volumes for claims, and their end.

use std::sync::Mutex;

use seatrial_deploy::{PROVISIONER, provision_volumes};
use serde_json::json;

use crate::fake::Fake;

const VOLUME: &str = "/api/v1/persistentvolumes/pvc-7f3e";

#[tokio::test]
async fn a_claim_gets_a_volume_and_a_released_volume_goes() {
    let fake = Fake::start().await;
    let prepared = Mutex::new(Vec::new());
    let prepare = |volume: &seatrial_deploy::Volume| {
        prepared.lock().expect("no panic").push(volume.directory.clone());
        Ok(())
    };
    let provisioner = provision_volumes(&fake.cluster, "/volumes", &prepare);
    let user = async {
        fake.until(|fake| fake.get("/apis/storage.k8s.io/v1/storageclasses/standard").is_some())
            .await;
        fake.put(
            "/api/v1/namespaces/shop/persistentvolumeclaims/data",
            json!({
                "metadata": {
                    "namespace": "shop", "name": "data", "uid": "7f3e",
                    "annotations": {
                        "volume.kubernetes.io/storage-provisioner": PROVISIONER,
                        "volume.kubernetes.io/selected-node": "node",
                    },
                },
                "spec": {
                    "accessModes": ["ReadWriteOnce"], "storageClassName": "standard",
                    "resources": { "requests": { "storage": "1Gi" } },
                },
            }),
        );
        fake.until(|fake| fake.get(VOLUME).is_some()).await;
        let volume = fake.get(VOLUME).expect("it was made");
        assert_eq!(volume["spec"]["hostPath"]["path"], "/volumes/pvc-7f3e_shop_data");
        assert_eq!(volume["spec"]["persistentVolumeReclaimPolicy"], "Delete");
        fake.change(VOLUME, |volume| volume["status"] = json!({ "phase": "Released" }));
        fake.until(|fake| fake.get(VOLUME).is_none()).await;
    };
    tokio::select! {
        () = provisioner => panic!("it goes on for ever"),
        () = user => {}
    }
    assert_eq!(*prepared.lock().expect("no panic"), ["pvc-7f3e_shop_data"]);
}
