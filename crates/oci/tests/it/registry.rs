//! The registry over HTTP, as a client sees it.

use seatrial_core::action::{ImageAction, ImageBase};
use seatrial_core::digest::Digest;
use seatrial_core::pipeline::ImageConfig;
use seatrial_oci::{Miss, Pull, Registries, assemble, pull};
use seatrial_store::Store;
use tokio::task::spawn_blocking;

use crate::served::{Served, request};

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_pulled_by_every_name_it_has() {
    let served = Served::new().await;
    assert_eq!(served.get("/v2/").await.status, 200);
    let digest = served.image.manifest.to_string();
    let by_digest = format!("/v2/digits/manifests/{digest}");
    for path in
        ["/v2/digits/manifests/latest", "/v2/example/digits/manifests/v1?ns=ghcr.io", &by_digest]
    {
        let answer = served.get(path).await;
        assert_eq!(
            (answer.status, answer.header("docker-content-digest")),
            (200, &*digest),
            "{path}"
        );
        assert_eq!(Digest::of(&answer.body), served.image.manifest);
        assert_eq!(answer.header("content-type"), "application/vnd.oci.image.manifest.v1+json");
        let head = served.ask("HEAD", path, None).await;
        assert_eq!((head.status, head.body.as_str()), (200, ""));
        assert_eq!(head.header("content-length"), answer.body.len().to_string());
    }
    let layer = served.image.layers[0];
    let path = format!("/v2/example/digits/blobs/{layer}?ns=ghcr.io");
    assert_eq!(Digest::of(served.get(&path).await.body), layer);
    let part = served.ask("GET", &path, Some("bytes=512-515")).await;
    assert_eq!((part.status, part.body.as_str()), (206, "0123"));
    assert!(part.header("content-range").starts_with("bytes 512-515/"));
    let none = served.ask("GET", &path, Some("bytes=99999999-")).await;
    assert_eq!(none.status, 416);
    let tags = served.get("/v2/digits/tags/list").await;
    assert_eq!(tags.body, r#"{"name":"digits","tags":["latest"]}"#);
    assert_eq!(served.get("/v2/digits/tags/list?n=0").await.body, r#"{"name":"digits","tags":[]}"#);
    let referrers = served.get(&format!("/v2/digits/referrers/{layer}")).await;
    assert_eq!(referrers.header("content-type"), "application/vnd.oci.image.index.v1+json");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_said_and_remembered() {
    let served = Served::new().await;
    let answer = served.get("/v2/library/redis/manifests/7?ns=docker.io").await;
    assert_eq!(answer.status, 404);
    insta::assert_snapshot!(answer.body, @r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"docker.io/library/redis:7 is named but not built; this run has ghcr.io/example/digits, seatrial.local/digits"}]}"#);
    let other = Digest::of("other");
    let answer = served.get(&format!("/v2/digits/manifests/{other}")).await;
    assert_eq!(answer.status, 404);
    let ours = served.image.manifest;
    let text = format!("digits is {ours} in this run, not {other}; name it without a digest");
    assert!(answer.body.contains(&text), "{}", answer.body);
    let misses: Vec<String> = served.catalog.misses().into_iter().map(|miss| miss.name).collect();
    assert_eq!(misses, ["docker.io/library/redis", "seatrial.local/digits"]);
    let log = served.store.put_bytes(b"a log that no pod may read").expect("put").digest;
    let answer = served.get(&format!("/v2/digits/blobs/{log}")).await;
    assert_eq!(answer.status, 404);
    assert!(answer.body.contains("BLOB_UNKNOWN"), "{}", answer.body);
    for (path, status, code) in [
        ("/v2/digits/blobs/sha256:abc", 400, "DIGEST_INVALID"),
        ("/v2/Digits/manifests/x", 400, "NAME_INVALID"),
        ("/v2/other/tags/list", 404, "NAME_UNKNOWN"),
        ("/etc/passwd", 404, "UNSUPPORTED"),
    ] {
        let answer = served.get(path).await;
        assert_eq!(answer.status, status, "{path}");
        assert!(answer.body.contains(code), "{}", answer.body);
    }
    assert_eq!(served.ask("DELETE", "/v2/digits/manifests/x", None).await.status, 405);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_that_comes_early_waits_for_the_build() {
    let served = Served::new().await;
    served.catalog.declare("late", &[]);
    served.catalog.declare("broken", &[]);
    let early = served.get("/v2/late/manifests/latest");
    let build = async { served.catalog.built("late", served.image.manifest, &served.store) };
    let (answer, built) = tokio::join!(early, build);
    built.expect("built");
    assert_eq!(answer.status, 200);
    served.catalog.failed("broken", "exit status 1");
    let answer = served.get("/v2/broken/manifests/latest").await;
    assert_eq!(answer.status, 404);
    assert!(
        answer.body.contains("the image broken was not built: exit status 1"),
        "{}",
        answer.body
    );
    assert_eq!(served.catalog.misses(), [] as [Miss; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn stopping_does_not_wait_for_a_build() {
    let served = Served::new().await;
    served.catalog.declare("never", &[]);
    let address = served.registry.address().expect("address");
    let url = format!("http://{address}/v2/never/manifests/latest");
    let (sender, asked) = tokio::sync::oneshot::channel();
    let early = spawn_blocking(move || {
        sender.send(()).expect("the test waits");
        request("GET", &url, None).status
    });
    asked.await.expect("asked");
    // The request is answered, or not accepted any more when it was slow.
    served.registry.stop().await;
    let status = early.await.ok();
    assert!(matches!(status, Some(503) | None), "{status:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_base_is_pulled_by_digest() {
    let served = Served::new().await;
    let address = served.registry.address().expect("address");
    // The name that this registry knows the image by, without `ns`.
    let name = format!("{address}/digits");
    let image = served.image.clone();
    spawn_blocking(move || {
        let dir = tempfile::tempdir().expect("directory");
        let store = Store::open(dir.path()).expect("store");
        let registries = Registries::default();
        let wanted = Pull { name: &name, digest: image.manifest, platform: "linux/amd64" };
        assert_eq!(pull(&store, &registries, wanted).expect("pull").image, image);
        let base = ImageBase::Registry { name: name.clone(), digest: image.manifest };
        assert_eq!(registries.resolve(&name, "latest").expect("a tag"), image.manifest);
        let error = |tag: &str| registries.resolve(&name, tag).expect_err("none").to_string();
        assert_eq!(error("old"), format!("{address} has no old of {name}"));
        assert_eq!(error("a/b"), format!("cannot pull {name}: `a/b` is no tag"));
        let config = ImageConfig::default();
        let action = ImageAction { base, files: Vec::new(), config };
        assert_eq!(assemble(&store, &action, "linux/amd64").expect("image"), image);
        let other = Digest::of("other");
        let wanted = Pull { name: &name, digest: other, platform: "linux/amd64" };
        let error = pull(&store, &registries, wanted).expect_err("not there").to_string();
        assert_eq!(error, format!("{address} has no {other} of {name}"));
    })
    .await
    .expect("pull");
}
