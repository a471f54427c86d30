//! Needs a cluster: `SEATRIAL_TEST_KUBECONFIG` is the path of its kubeconfig
//! and its only image is `localhost/pause:1`. Without the variable nothing is
//! tested here, and the output says so. The cluster is left with what the
//! test put into it: it is one that is thrown away.
#![expect(clippy::print_stderr, reason = "a test that did not run has to say so")]

use std::collections::BTreeMap;
use std::time::Duration;

use seatrial_core::digest::Digest;
use seatrial_core::failure::{Failure, Fault};
use seatrial_deploy::{
    ApplyOptions, Cluster, EvidenceLimits, Object, ReadyCondition, Wanted, apply, check_images,
    connect, default_conditions, ensure_namespace, evidence, image_ids, parse, wait_ready,
};
use tokio::time::Instant;

const SHOP: &str = "\
apiVersion: deploy.test/v1
kind: Widget
metadata: { name: one, namespace: deploy-test }
spec: { size: 3 }
---
apiVersion: v1
kind: Service
metadata: { name: web, namespace: deploy-test }
spec: { selector: { app: web }, ports: [{ port: 80 }] }
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: web, namespace: deploy-test }
spec:
  replicas: 2
  selector: { matchLabels: { app: web } }
  template:
    metadata: { labels: { app: web } }
    spec:
      terminationGracePeriodSeconds: 0
      containers: [{ name: app, image: 'localhost/pause:1', imagePullPolicy: Never }]
---
apiVersion: apps/v1
kind: StatefulSet
metadata: { name: db, namespace: deploy-test }
spec:
  serviceName: db
  selector: { matchLabels: { app: db } }
  template:
    metadata: { labels: { app: db } }
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: app
        image: localhost/pause:1
        imagePullPolicy: Never
        volumeMounts: [{ name: data, mountPath: /data }]
  volumeClaimTemplates:
  - metadata: { name: data }
    spec: { accessModes: [ReadWriteOnce], resources: { requests: { storage: 1Mi } } }
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: { name: widgets.deploy.test }
spec:
  group: deploy.test
  scope: Namespaced
  names: { kind: Widget, plural: widgets, singular: widget, listKind: WidgetList }
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        properties: { spec: { type: object, properties: { size: { type: integer } } } }
";

/// A Deployment of one pod with `container` in its only container.
fn broken(name: &str, container: &str) -> String {
    format!(
        "apiVersion: apps/v1
kind: Deployment
metadata: {{ name: {name}, namespace: deploy-test }}
spec:
  selector: {{ matchLabels: {{ app: {name} }} }}
  template:
    metadata: {{ labels: {{ app: {name} }} }}
    spec: {{ containers: [{{ name: app, imagePullPolicy: Never, {container} }}] }}
"
    )
}

fn objects(text: &str) -> Vec<Object> {
    parse(text, "shop.yaml").expect("the text is good")
}

fn within(seconds: u64) -> Instant {
    Instant::now() + Duration::from_secs(seconds)
}

async fn put(cluster: &Cluster, text: &str) -> Result<Vec<ReadyCondition>, Failure> {
    let options = ApplyOptions::until(within(60));
    Ok(default_conditions(&apply(cluster, objects(text), &options, &|_| {}).await?))
}

async fn fails(cluster: &Cluster, text: &str) -> Failure {
    let start = Instant::now();
    let failure = match put(cluster, text).await {
        Err(failure) => failure,
        Ok(conditions) => wait_ready(cluster, conditions, within(90), &|_| {})
            .await
            .expect_err("it does not become ready"),
    };
    eprintln!("after {:.1} s: {failure}\n{}\n", start.elapsed().as_secs_f64(), failure.detail);
    failure
}

#[tokio::test]
async fn a_product_is_installed_watched_and_found_broken() {
    let Some(path) = std::env::var_os("SEATRIAL_TEST_KUBECONFIG") else {
        eprintln!("not run: SEATRIAL_TEST_KUBECONFIG is not set");
        return;
    };
    let kubeconfig = std::fs::read_to_string(path).expect("the kubeconfig can be read");
    let cluster = connect(&kubeconfig).await.expect("the kubeconfig is good");
    let start = Instant::now();
    let took = |what: &str| eprintln!("{:6.3} {what}", start.elapsed().as_secs_f64());

    ensure_namespace(&cluster, "deploy-test", within(60)).await.expect("it is made");
    took("namespace");
    let conditions = put(&cluster, SHOP).await.expect("all is applied");
    took("applied");
    let shown: Vec<_> =
        conditions.iter().map(|wanted| format!("{} {}", wanted.kind, wanted.name)).collect();
    assert_eq!(
        shown,
        [
            "Service web",
            "Deployment web",
            "StatefulSet db",
            "CustomResourceDefinition widgets.deploy.test",
        ]
    );
    let progress = |states: &[seatrial_deploy::ReadyState]| {
        for state in states {
            eprintln!("       {}: {:?}", state.object, state.readiness);
        }
    };
    let ready = wait_ready(&cluster, conditions.clone(), within(60), &progress).await;
    took("ready");
    assert_eq!(ready, Ok(()), "{:?}", ready.as_ref().map_err(|failure| &failure.detail));
    // Again, and the same objects: nothing is left to wait for.
    put(&cluster, SHOP).await.expect("all is applied again");
    wait_ready(&cluster, conditions, within(60), &|_| {}).await.expect("it is ready already");
    took("ready again");
    let claims = vec![ReadyCondition {
        api_version: None,
        kind: "pvc".to_owned(),
        namespace: Some("deploy-test".to_owned()),
        name: "data-db-0".to_owned(),
        wanted: Wanted::Ready,
        within: None,
    }];
    wait_ready(&cluster, claims, within(10), &|_| {}).await.expect("the claim is bound");

    let images = image_ids(&cluster).await.expect("they are listed");
    assert_eq!(images.iter().filter(|image| image.image == "localhost/pause:1").count(), 3);
    assert!(images.iter().all(|image| image.image_id.is_some()), "{images:#?}");
    let other = BTreeMap::from([("localhost/pause".to_owned(), Digest::of("other"))]);
    assert_eq!(check_images(&images, &other).len(), 3);

    let text = SHOP.replace("replicas:", "replicsa:");
    let failure = fails(&cluster, &text).await;
    assert_eq!(failure.code, "deploy.invalid");
    assert!(failure.message.contains("shop.yaml:11: Deployment deploy-test/web"), "{failure}");
    let failure = fails(&cluster, &SHOP.replace("kind: Service\n", "kind: Sevrice\n")).await;
    assert_eq!(failure.code, "deploy.unknown_kind");

    let missing = broken("missing", "image: 'ghcr.io/shop/web:1'");
    let pulled = broken("pulled", "image: 'ghcr.io/shop/web:1'").replace("Never", "Always");
    let command = "image: 'localhost/pause:1', command: [/no-such-program]";
    let no_program = broken("no-program", command);
    let secret = "image: 'localhost/pause:1', envFrom: [{ secretRef: { name: absent } }]";
    let no_secret = broken("no-secret", secret);
    let huge = "image: 'localhost/pause:1', resources: { requests: { memory: 999Gi } }";
    let too_large = broken("too-large", huge);
    let (missing, pulled, no_program, no_secret, too_large) = tokio::join!(
        fails(&cluster, &missing),
        fails(&cluster, &pulled),
        fails(&cluster, &no_program),
        fails(&cluster, &no_secret),
        fails(&cluster, &too_large),
    );
    assert_eq!((missing.code.as_str(), missing.fault), ("deploy.image_name", Fault::Product));
    // Whether a registry answers is another test's business.
    assert!(pulled.code.starts_with("deploy.image_"), "{pulled}");
    assert_eq!(no_program.code, "deploy.container");
    assert_eq!(no_secret.code, "deploy.container");
    let expected = ("deploy.unschedulable", Fault::Environment);
    assert_eq!((too_large.code.as_str(), too_large.fault), expected);
    took("found broken");

    let directory = tempfile::tempdir().expect("a temporary directory");
    let limits = EvidenceLimits::starting_now();
    let found = evidence(&cluster, &[], &limits, directory.path()).await;
    took("evidence");
    eprintln!("{} files, {} bytes, {:?}", found.files.len(), found.bytes, found.errors);
    for file in ["events.txt", "objects/deploy-test/deployments.apps.yaml"] {
        assert!(found.files.iter().any(|path| path.as_os_str() == file), "{:#?}", found.files);
    }
}
