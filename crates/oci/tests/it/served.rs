//! A registry that serves one small image.

use std::fs;
use std::time::Duration;

use seatrial_core::action::{ImageAction, ImageBase, ImageLayerFile};
use seatrial_core::pipeline::ImageConfig;
use seatrial_oci::{Catalog, Image, Registry, assemble, serve};
use seatrial_store::{Store, TreeLimits};
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::spawn_blocking;

/// A registry with one image whose layer holds `0123456789`.
pub(crate) struct Served {
    pub(crate) store: Store,
    pub(crate) catalog: Catalog,
    pub(crate) image: Image,
    pub(crate) registry: Registry,
    _dir: TempDir,
}

impl Served {
    pub(crate) async fn new() -> Self {
        let dir = tempfile::tempdir().expect("directory");
        let store = Store::open(dir.path()).expect("store");
        let staging = store.staging().expect("staging");
        fs::write(staging.path().join("digits"), "0123456789").expect("write");
        let tree = store.put_tree(staging.path(), TreeLimits::default()).expect("tree").digest;
        let file = ImageLayerFile {
            tree,
            path: "digits".into(),
            to: "/digits".into(),
            mode: None,
            owner: None,
        };
        let config = ImageConfig { entrypoint: vec!["/digits".into()], ..ImageConfig::default() };
        let action = ImageAction { base: ImageBase::Scratch, files: vec![file], config };
        let image = assemble(&store, &action, "linux/amd64").expect("image");
        let catalog = Catalog::new();
        catalog.declare("digits", &["ghcr.io/example/digits".to_owned()]);
        catalog.built("digits", image.manifest, &store).expect("built");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("listener");
        let registry = serve(listener, catalog.clone(), store.clone());
        Self { store, catalog, image, registry, _dir: dir }
    }

    pub(crate) async fn ask(
        &self,
        method: &'static str,
        path: &str,
        range: Option<&'static str>,
    ) -> Answer {
        let address = self.registry.address().expect("address");
        let url = format!("http://{address}{path}");
        spawn_blocking(move || request(method, &url, range)).await.expect("request")
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, None).await
    }
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: ureq::http::HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("text"))
    }
}

pub(crate) fn request(method: &str, url: &str, range: Option<&str>) -> Answer {
    let agent = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(30)))
        .build()
        .new_agent();
    let mut request = ureq::http::Request::builder().method(method).uri(url);
    if let Some(range) = range {
        request = request.header("range", range);
    }
    let mut response = agent.run(request.body(()).expect("request")).expect("answer");
    Answer {
        status: response.status().as_u16(),
        headers: response.headers().clone(),
        body: String::from_utf8_lossy(&response.body_mut().read_to_vec().expect("body")).into(),
    }
}
