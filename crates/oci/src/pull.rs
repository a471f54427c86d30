//! Pulling a base image by digest from a registry: OCI distribution
//! specification v1.1, with the token authentication that public registries
//! ask for (`WWW-Authenticate: Bearer`), without credentials.

use std::cell::RefCell;
use std::io;
use std::time::Duration;

use seatrial_core::digest::Digest;
use seatrial_store::Store;
use ureq::http::{Response, StatusCode, header};
use ureq::{Agent, Body};

use crate::error::ImageError;
use crate::image::Image;
use crate::layout::{Source, import};
use crate::media::{self, Descriptor, LARGEST_LAYER, LARGEST_MANIFEST};
use crate::reference::full_name;

/// How long a registry may take to answer, and to give each piece of a body.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is pulled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pull<'a> {
    /// Registry and repository, as in `docker.io/library/alpine`.
    pub name: &'a str,
    /// The digest of a manifest or index.
    pub digest: Digest,
    /// The platform, as in `linux/amd64`.
    pub platform: &'a str,
}

/// Copies an image from its registry into the store, every digest and size
/// verified. What is in the store already is not asked for again.
///
/// # Errors
/// When the registry does not answer or does not give it, or content is not
/// what was asked for.
pub fn pull(store: &Store, pull: Pull<'_>) -> Result<Image, ImageError> {
    let name = full_name(pull.name);
    let (host, repository) = name.split_once('/').unwrap_or((&name, ""));
    let agent = Agent::config_builder()
        .timeout_connect(Some(PATIENCE))
        .timeout_recv_response(Some(PATIENCE))
        .http_status_as_error(false)
        .build()
        .new_agent();
    let remote = Remote {
        agent,
        base: format!("{}/v2/{repository}", base_of(host)),
        name: pull.name,
        token: RefCell::new(None),
    };
    let size = match store.open_blob(pull.digest) {
        Ok((_, size)) => size,
        Err(_) => {
            let body = remote.get("manifests", &pull.digest.to_string())?;
            store.put_blob(body, Some(pull.digest), LARGEST_MANIFEST)?.size
        }
    };
    let top = Descriptor::new(media::MANIFEST, pull.digest, size);
    import(store, &remote, vec![top], pull.platform)
}

struct Remote<'a> {
    agent: Agent,
    base: String,
    name: &'a str,
    token: RefCell<Option<String>>,
}

impl Source for Remote<'_> {
    fn open(
        &self,
        descriptor: &Descriptor,
        manifest: bool,
    ) -> Result<Box<dyn io::Read>, ImageError> {
        let kind = if manifest { "manifests" } else { "blobs" };
        self.get(kind, &descriptor.digest)
    }
}

impl Remote<'_> {
    fn get(&self, kind: &str, digest: &str) -> Result<Box<dyn io::Read>, ImageError> {
        let url = format!("{}/{kind}/{digest}", self.base);
        let mut response = self.ask(&url)?;
        if response.status() == StatusCode::UNAUTHORIZED {
            let asked = response.headers().get(header::WWW_AUTHENTICATE);
            let asked = asked.and_then(|value| value.to_str().ok()).unwrap_or_default();
            *self.token.borrow_mut() = Some(self.token(asked)?);
            response = self.ask(&url)?;
        }
        if response.status() != StatusCode::OK {
            return Err(self.error(format!("{url} answers {}", response.status())));
        }
        Ok(Box::new(response.into_body().into_with_config().limit(LARGEST_LAYER).reader()))
    }

    fn ask(&self, url: &str) -> Result<Response<Body>, ImageError> {
        let accept = format!(
            "{}, {}, application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json, */*",
            media::MANIFEST,
            media::INDEX
        );
        let mut request = self.agent.get(url).header(header::ACCEPT, accept);
        if let Some(token) = &*self.token.borrow() {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        request.call().map_err(|error| self.error(format!("{url}: {error}")))
    }

    /// Gets a token as the answer of a registry says.
    fn token(&self, asked: &str) -> Result<String, ImageError> {
        let refuse = || self.error(format!("it wants credentials ({})", asked.escape_debug()));
        let parameter = |name: &str| {
            let rest = asked.split_once(&format!("{name}=\""))?.1;
            Some(rest.split_once('"')?.0)
        };
        let realm =
            parameter("realm").filter(|_| asked.starts_with("Bearer ")).ok_or_else(refuse)?;
        let mut request = self.agent.get(realm);
        for name in ["service", "scope"] {
            if let Some(value) = parameter(name) {
                request = request.query(name, value);
            }
        }
        let mut response =
            request.call().map_err(|error| self.error(format!("{realm}: {error}")))?;
        let body = response.body_mut().with_config().limit(1 << 20).read_to_vec();
        let body = body.map_err(|error| self.error(format!("{realm}: {error}")))?;
        let body: serde_json::Value = serde_json::from_slice(&body).map_err(|_| refuse())?;
        let token = body.get("token").or_else(|| body.get("access_token"));
        token.and_then(|token| token.as_str()).map(str::to_owned).ok_or_else(refuse)
    }

    fn error(&self, reason: String) -> ImageError {
        ImageError::Pull { name: self.name.to_owned(), reason }
    }
}

/// Where a registry is. Only this machine is asked without TLS.
fn base_of(registry: &str) -> String {
    let host = registry.rsplit_once(':').map_or(registry, |(host, _)| host);
    match host {
        "docker.io" => "https://registry-1.docker.io".to_owned(),
        "localhost" | "127.0.0.1" | "[::1]" => format!("http://{registry}"),
        _ => format!("https://{registry}"),
    }
}
