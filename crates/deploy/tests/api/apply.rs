//! Order, retries and refusals of an apply.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use seatrial_core::failure::Failure;
use seatrial_deploy::{ApplyOptions, Object, Progress, apply, ensure_namespace, parse};
use serde_json::json;
use tokio::time::Instant;

use crate::fake::{Fake, status};

const SHOP: &str = "\
apiVersion: example.com/v1
kind: Widget
metadata: { name: one, namespace: shop }
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: web, namespace: shop }
---
apiVersion: v1
kind: ConfigMap
metadata: { name: settings }
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: { name: widgets.example.com }
spec: { group: example.com, names: { kind: Widget } }
---
apiVersion: v1
kind: Namespace
metadata: { name: shop }
";

const DEFINITION: &str =
    "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/widgets.example.com";

fn objects(text: &str) -> Vec<Object> {
    parse(text, "deploy/shop.yaml").expect("the text is good")
}

fn options(seconds: u64) -> ApplyOptions {
    let mut options = ApplyOptions::until(Instant::now() + Duration::from_secs(seconds));
    options.patience = Duration::from_millis(300);
    options
}

fn show(failure: &Failure) -> String {
    let hints = failure.hints.join("\n");
    format!("{:?} {}\n{}\n{hints}", failure.fault, failure.code, failure.message)
}

async fn refused(fake: &Fake, text: &str, options: &ApplyOptions) -> Failure {
    let result = apply(&fake.cluster, objects(text), options, &|_| {}).await;
    Failure::from(result.expect_err("it is refused"))
}

#[tokio::test]
async fn definitions_are_served_before_anything_needs_them() {
    let fake = Fake::start().await;
    let progress = Mutex::new(Vec::new());
    let note = |step: Progress<'_>| {
        if let Progress::Applied { id, done, total } = step {
            progress.lock().expect("no panic").push(format!("{done}/{total} {id}"));
        }
    };
    let controller = async {
        fake.until(|fake| fake.get(DEFINITION).is_some()).await;
        // Nothing but namespaces and definitions is asked for until then.
        assert!(fake.requests().len() <= 2, "{:?}", fake.requests());
        fake.serve_kind("example.com/v1", "Widget", "widgets", true);
        fake.change(DEFINITION, |definition| {
            definition["status"] =
                json!({ "conditions": [{ "type": "Established", "status": "True" }] });
        });
    };
    let options = options(20);
    let (applied, ()) =
        tokio::join!(apply(&fake.cluster, objects(SHOP), &options, &note), controller);
    let applied = applied.expect("all is applied");
    let names: Vec<_> = applied.iter().map(|object| object.id.to_string()).collect();
    assert_eq!(
        names,
        [
            "Widget shop/one",
            "Deployment shop/web",
            "ConfigMap default/settings",
            "CustomResourceDefinition widgets.example.com",
            "Namespace shop",
        ]
    );
    let mut requests = fake.requests();
    requests[..2].sort();
    assert_eq!(
        requests,
        [
            "PATCH /api/v1/namespaces/shop".to_owned(),
            format!("PATCH {DEFINITION}"),
            "PATCH /api/v1/namespaces/default/configmaps/settings".to_owned(),
            "PATCH /apis/apps/v1/namespaces/shop/deployments/web".to_owned(),
            "PATCH /apis/example.com/v1/namespaces/shop/widgets/one".to_owned(),
        ]
    );
    let progress = progress.into_inner().expect("no panic");
    assert_eq!(progress.last().map(String::as_str), Some("5/5 Widget shop/one"));
}

#[tokio::test]
async fn what_is_only_coming_up_is_tried_again() {
    let fake = Fake::start().await;
    let mut left = BTreeMap::from([
        (
            "/apis/apps/v1/namespaces/shop/deployments/web".to_owned(),
            vec![
                (500, "failed calling webhook \"v.example.com\": connection refused", ""),
                (404, "namespaces \"shop\" not found", "namespaces"),
            ],
        ),
        (
            "/api/v1/namespaces/default/configmaps/settings".to_owned(),
            vec![(429, "too many requests", ""), (503, "shutting down", "")],
        ),
    ]);
    fake.answer(move |_, path| {
        let (code, message, kind) = left.get_mut(path)?.pop()?;
        Some((code, status(code, message, kind)))
    });
    let text = SHOP.split("---\n").filter(|text| !text.contains("example.com"));
    let text = text.collect::<Vec<_>>().join("---\n");
    let waiting = Mutex::new(0);
    let note = |step: Progress<'_>| {
        if let Progress::Waiting(_) = step {
            *waiting.lock().expect("no panic") += 1;
        }
    };
    let applied = apply(&fake.cluster, objects(&text), &options(20), &note).await;
    assert_eq!(applied.expect("all is applied").len(), 3);
    assert_eq!(*waiting.lock().expect("no panic"), 4);
    assert_eq!(fake.requests().len(), 7, "{:#?}", fake.requests());
}

#[tokio::test]
async fn all_refusals_of_a_pass_are_said_and_none_is_tried_again() {
    let fake = Fake::start().await;
    fake.answer(|_, path| {
        let (code, message) = if path.ends_with("/web") {
            (422, "Deployment.apps \"web\" is invalid: spec.selector: Required value")
        } else if path.ends_with("/settings") {
            (400, "admission webhook \"policy.example.com\" denied the request: no owner")
        } else {
            return None;
        };
        Some((code, status(code, message, "")))
    });
    let text = SHOP.split("---\n").filter(|text| !text.contains("example.com"));
    let text = text.collect::<Vec<_>>().join("---\n");
    let failure = refused(&fake, &text, &options(20)).await;
    insta::assert_snapshot!(show(&failure), @r#"
    Product deploy.invalid
    2 objects could not be applied
    deploy/shop.yaml:1: Deployment shop/web: Deployment.apps "web" is invalid: spec.selector: Required value
    deploy/shop.yaml:5: ConfigMap default/settings: admission webhook "policy.example.com" denied the request: no owner
    "#);
    assert_eq!(fake.requests().len(), 3, "{:#?}", fake.requests());
}

#[tokio::test]
async fn a_kind_or_namespace_that_nobody_makes_is_not_waited_for() {
    let fake = Fake::start().await;
    let text = "\
apiVersion: v1
kind: ConfigMap
metadata: { name: settings }
---
apiVersion: apps/v1
kind: Deploymnet
metadata: { name: web }
---
apiVersion: example.com/v1
kind: Widget
metadata: { name: one }
";
    let failure = refused(&fake, text, &options(60)).await;
    insta::assert_snapshot!(show(&failure), @r"
    Product deploy.unknown_kind
    2 objects could not be applied
    deploy/shop.yaml:5: Deploymnet web: nothing in the cluster serves Deploymnet of apps/v1; it serves Deployment of apps/v1
    deploy/shop.yaml:9: Widget one: nothing in the cluster serves Widget of example.com/v1
    apply the CustomResourceDefinition in the same or an earlier install step, or mend `apiVersion` and `kind`
    ");
    fake.answer(|_, _| Some((404, status(404, "namespaces \"shop\" not found", "namespaces"))));
    let text = "{apiVersion: v1, kind: ConfigMap, metadata: {name: settings, namespace: shop}}";
    let failure = refused(&fake, text, &options(60)).await;
    insta::assert_snapshot!(show(&failure), @r#"
    Product deploy.no_namespace
    deploy/shop.yaml:1: ConfigMap shop/settings: namespaces "shop" not found
    apply the Namespace in the same or an earlier install step
    "#);
}

#[tokio::test]
async fn a_definition_that_never_comes_is_said_at_the_deadline() {
    let fake = Fake::start().await;
    let failure = refused(&fake, SHOP, &options(1)).await;
    insta::assert_snapshot!(show(&failure), @r"
    Product deploy.not_established
    deploy/shop.yaml:13: CustomResourceDefinition widgets.example.com: it has no condition Established yet
    ");
}

#[tokio::test]
async fn a_definition_whose_names_are_taken_is_not_waited_for() {
    let fake = Fake::start().await;
    let controller = async {
        fake.until(|fake| fake.get(DEFINITION).is_some()).await;
        fake.change(DEFINITION, |definition| {
            definition["status"] = json!({ "conditions": [{
                "type": "NamesAccepted", "status": "False", "reason": "KindConflict",
                "message": "\"Widget\" is already in use",
            }]});
        });
    };
    let options = options(60);
    let (failure, ()) = tokio::join!(refused(&fake, SHOP, &options), controller);
    insta::assert_snapshot!(show(&failure), @r#"
    Product deploy.not_established
    deploy/shop.yaml:13: CustomResourceDefinition widgets.example.com: its names are not accepted: KindConflict: "Widget" is already in use
    "#);
}

#[tokio::test]
async fn an_api_server_that_does_not_answer_is_the_environments_fault() {
    let fake = Fake::start().await;
    fake.answer(|_, _| Some((503, status(503, "apiserver not ready", ""))));
    let text = "{apiVersion: v1, kind: ConfigMap, metadata: {name: settings}}";
    let failure = refused(&fake, text, &options(1)).await;
    insta::assert_snapshot!(show(&failure), @r"
    Environment deploy.api_unavailable
    deploy/shop.yaml:1: ConfigMap default/settings: apiserver not ready
    ");
    let gone = {
        let fake = Fake::start().await;
        fake.cluster.clone()
    };
    let result = apply(&gone, objects(text), &options(0), &|_| {}).await;
    let failure = Failure::from(result.expect_err("nobody is there"));
    assert_eq!(failure.code, "deploy.api_unavailable");
}

#[tokio::test]
async fn a_namespace_is_made_and_waited_for_until_pods_can_be_made_in_it() {
    let fake = Fake::start().await;
    let deadline = Instant::now() + Duration::from_millis(300);
    let failure = ensure_namespace(&fake.cluster, "shop", deadline).await;
    let failure = failure.expect_err("there is no controller");
    insta::assert_snapshot!(show(&failure), @r"
    Environment deploy.no_service_account
    waited for ServiceAccount shop/default: it does not exist
    the controller manager makes it: look at the end of its log
    ");
    let controller = async {
        fake.until(|fake| fake.get("/api/v1/namespaces/shop").is_some()).await;
        let account = json!({ "metadata": { "name": "default", "namespace": "shop" } });
        fake.put("/api/v1/namespaces/shop/serviceaccounts/default", account);
    };
    let deadline = Instant::now() + Duration::from_secs(20);
    let made = tokio::join!(ensure_namespace(&fake.cluster, "shop", deadline), controller);
    assert_eq!(made.0, Ok(()));
}
