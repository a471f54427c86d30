use seatrial_core::action::{ImageAction, ImageBase};
use seatrial_core::pipeline::ImageConfig;
use tempfile::TempDir;

use super::*;
use crate::assemble::assemble;
use crate::image::Image;

fn store() -> (TempDir, Store) {
    let dir = tempfile::tempdir().expect("directory");
    let store = Store::open(dir.path()).expect("store");
    (dir, store)
}

fn image(store: &Store, entrypoint: &str) -> Image {
    let config = ImageConfig { entrypoint: vec![entrypoint.into()], ..ImageConfig::default() };
    let action = ImageAction { base: ImageBase::Scratch, files: Vec::new(), config };
    assemble(store, &action, "linux/amd64").expect("image")
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn every_name_stands_for_the_image_of_the_run() {
    let (_dir, store) = store();
    let image = image(&store, "/a");
    let catalog = Catalog::new();
    let replaces = ["ghcr.io/example/guestbook".to_owned(), "nginx".to_owned()];
    catalog.declare("guestbook", &replaces);
    assert_eq!(catalog.resolve(Some("ghcr.io"), "example/guestbook", "v1"), Answer::Building);
    catalog.built("guestbook", image.manifest, &store).expect("built");
    let here = Answer::Here(image.manifest);
    assert_eq!(catalog.resolve(Some("ghcr.io"), "example/guestbook", "v1"), here);
    assert_eq!(catalog.resolve(Some("docker.io"), "library/nginx", "latest"), here);
    assert_eq!(catalog.resolve(Some("seatrial.local"), "guestbook", "latest"), here);
    assert_eq!(catalog.resolve(None, "guestbook", &image.manifest.to_string()), here);
    assert_eq!(catalog.resolve(None, "guestbook", "v1"), Answer::Unknown);
    let other = Digest::of("other").to_string();
    let ours = image.manifest;
    assert_eq!(catalog.resolve(None, "guestbook", &other), Answer::OtherDigest { ours });
    assert_eq!(catalog.resolve(Some("quay.io"), "example/guestbook", "v1"), Answer::Unknown);
    assert!(catalog.has_blob(None, "guestbook", image.config));
    assert!(!catalog.has_blob(Some("quay.io"), "guestbook", image.config));
    let secret = store.put_bytes(b"a log").expect("put").digest;
    assert!(!catalog.has_blob(None, "guestbook", secret), "only what belongs to the image");
    catalog.add("localhost/pause:1", image.manifest, &store).expect("add");
    assert_eq!(catalog.resolve(Some("localhost"), "pause", "1"), here);
    assert_eq!(catalog.tags(Some("localhost"), "pause"), Some(vec!["1".to_owned()]));
}

#[tokio::test]
async fn who_asks_early_waits_for_the_build() {
    let (_dir, store) = store();
    let image = image(&store, "/a");
    let catalog = Catalog::new();
    catalog.declare("a", &[]);
    catalog.declare("b", &[]);
    let wait = |image: &'static str| {
        let catalog = catalog.clone();
        tokio::spawn(async move { catalog.wait(None, image, "latest", 60 * SECOND).await })
    };
    let (a, b) = (wait("a"), wait("b"));
    tokio::task::yield_now().await;
    catalog.built("a", image.manifest, &store).expect("built");
    assert_eq!(a.await.expect("task"), Answer::Here(image.manifest));
    catalog.failed("b", "exit status 1");
    let failed = Answer::Failed { image: "b".into(), reason: "exit status 1".into() };
    assert_eq!(b.await.expect("task"), failed);
    assert_eq!(catalog.misses(), []);
}

#[tokio::test]
async fn waiting_ends_and_what_is_not_known_is_remembered() {
    let catalog = Catalog::new();
    catalog.declare("a", &[]);
    let nothing = Duration::ZERO;
    assert_eq!(catalog.wait(None, "a", "latest", nothing).await, Answer::Building);
    for _ in 0..2 {
        let answer = catalog.wait(Some("docker.io"), "library/redis", "7", SECOND).await;
        assert_eq!(answer, Answer::Unknown);
    }
    let miss = Miss { name: "docker.io/library/redis".into(), reference: "7".into() };
    assert_eq!(catalog.misses(), [miss]);
}

#[test]
fn a_name_that_was_meant_is_found() {
    let catalog = Catalog::new();
    assert_eq!(catalog.nearest("ghcr.io/example/shop"), None);
    catalog.declare("shop", &["ghcr.io/example/shop:1".to_owned()]);
    catalog.declare("db", &["ghcr.io/example/db".to_owned()]);
    let near = |name| catalog.nearest(name);
    assert_eq!(near("ghcr.io/example/shopp").as_deref(), Some("ghcr.io/example/shop"));
    assert_eq!(near("gcr.io/exmaple/shop").as_deref(), Some("ghcr.io/example/shop"));
    assert_eq!(near("docker.io/library/postgres"), None);
}
