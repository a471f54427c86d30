//! The registry: OCI distribution specification v1.1, pulling and discovery,
//! over HTTP, for one machine. The `ns` parameter with which containerd says
//! which registry it would have asked is part of every name.

use std::collections::HashMap;
use std::io::SeekFrom;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Query, Request, State};
use axum::http::{HeaderMap, Method, Response, StatusCode, header};
use seatrial_core::digest::Digest;
use seatrial_store::Store;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::io::ReaderStream;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::catalog::{Answer, Catalog};
use crate::media::{self, Document, LARGEST_MANIFEST};
use crate::range;
use crate::route::{Bad, Route};

/// How long a request waits for an image to be built. containerd gives a pull
/// up after five minutes without progress.
const LONGEST_WAIT: Duration = Duration::from_secs(240);

/// Bytes read at once from a blob.
const CHUNK: usize = 256 << 10;

/// A registry that serves. Stops when it is dropped.
#[derive(Debug)]
pub struct Registry {
    address: Option<SocketAddr>,
    stop: DropGuard,
    task: JoinHandle<()>,
}

/// Serves the images of a catalog on a listener, which may be one of another
/// network namespace. Must be called within a tokio runtime.
#[must_use]
pub fn serve(listener: TcpListener, catalog: Catalog, store: Store) -> Registry {
    let address = listener.local_addr().ok();
    let stop = CancellationToken::new();
    let shared = Shared { catalog, store, stop: stop.clone() };
    let router = Router::new().fallback(answer).with_state(shared);
    let stopped = stop.clone().cancelled_owned();
    let task = tokio::spawn(async move {
        // Serving ends by `stop` only; errors of connections stay theirs.
        drop(axum::serve(listener, router).with_graceful_shutdown(stopped).await);
    });
    Registry { address, stop: stop.drop_guard(), task }
}

impl Registry {
    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Stops, after the requests that are under way. Those that wait for a
    /// build are answered at once.
    pub async fn stop(self) {
        drop(self.stop);
        drop(self.task.await);
    }
}

#[derive(Clone)]
struct Shared {
    catalog: Catalog,
    store: Store,
    stop: CancellationToken,
}

/// What is asked for, besides the path.
struct Asked {
    registry: Option<String>,
    query: HashMap<String, String>,
    headers: HeaderMap,
}

async fn answer(State(shared): State<Shared>, request: Request) -> Response<Body> {
    let head = request.method() == Method::HEAD;
    if !head && request.method() != Method::GET {
        let text = "this registry serves what a run has built; nothing can be pushed to it";
        return refuse(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED", text);
    }
    let query: HashMap<String, String> =
        Query::try_from_uri(request.uri()).map(|Query(query)| query).unwrap_or_default();
    let registry = query.get("ns").cloned();
    let asked = Asked { registry, query, headers: request.headers().clone() };
    let response = match Route::parse(request.uri().path()) {
        Route::Base => respond(StatusCode::OK, "application/json", "{}".into(), None),
        Route::Manifest { repository, reference } => {
            shared.manifest(&asked, &repository, &reference).await
        }
        Route::Blob { repository, digest } => shared.blob(&asked, &repository, digest).await,
        Route::Tags { repository } => shared.tags(&asked, &repository),
        Route::Referrers { .. } => {
            let index = json!({ "schemaVersion": 2, "mediaType": media::INDEX, "manifests": [] });
            respond(StatusCode::OK, media::INDEX, index.to_string().into(), None)
        }
        Route::Bad(Bad::Name) => {
            refuse(StatusCode::BAD_REQUEST, "NAME_INVALID", "no such name can be")
        }
        Route::Bad(Bad::Tag) => {
            refuse(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN", "no such tag can be")
        }
        Route::Bad(Bad::Digest) => {
            refuse(StatusCode::BAD_REQUEST, "DIGEST_INVALID", "this is no sha256 digest")
        }
        Route::None => refuse(StatusCode::NOT_FOUND, "UNSUPPORTED", "there is no such endpoint"),
    };
    if head { response.map(|_| Body::empty()) } else { response }
}

impl Shared {
    async fn manifest(&self, asked: &Asked, repository: &str, reference: &str) -> Response<Body> {
        let registry = asked.registry.as_deref();
        let answer = tokio::select! {
            answer = self.catalog.wait(registry, repository, reference, LONGEST_WAIT) => answer,
            () = self.stop.cancelled() => Answer::Building,
        };
        let name = match registry {
            Some(registry) => format!("{registry}/{repository}"),
            None => repository.to_owned(),
        };
        let unknown = |text: String| refuse(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN", &text);
        match answer {
            Answer::Here(digest) => self.document(digest).await,
            Answer::Building => {
                let text = format!("{name} is still being built");
                refuse(StatusCode::SERVICE_UNAVAILABLE, "MANIFEST_UNKNOWN", &text)
            }
            Answer::Failed { image, reason } => {
                unknown(format!("the image {image} was not built: {reason}"))
            }
            Answer::OtherDigest { ours } => unknown(format!(
                "{name} is {ours} in this run, not {reference}; name it without a digest"
            )),
            Answer::Unknown => unknown(format!(
                "{name}:{reference} is named but not built; this run has {}",
                self.catalog.known().join(", ")
            )),
        }
    }

    async fn document(&self, digest: Digest) -> Response<Body> {
        let store = self.store.clone();
        let read = move || store.read_blob(digest, LARGEST_MANIFEST);
        match tokio::task::spawn_blocking(read).await {
            Ok(Ok(bytes)) => {
                let document = Document::decode(&bytes);
                let media = document.as_ref().map_or(media::MANIFEST, Document::media_type);
                respond(StatusCode::OK, media, bytes, Some(digest))
            }
            Ok(Err(error)) => refuse(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN", &error.to_string()),
            Err(_) => refuse(StatusCode::INTERNAL_SERVER_ERROR, "UNKNOWN", "reading failed"),
        }
    }

    async fn blob(&self, asked: &Asked, repository: &str, digest: Digest) -> Response<Body> {
        let unknown = || {
            let text = format!("{repository} has no blob {digest}");
            refuse(StatusCode::NOT_FOUND, "BLOB_UNKNOWN", &text)
        };
        if !self.catalog.has_blob(asked.registry.as_deref(), repository, digest) {
            return unknown();
        }
        let Ok(mut file) = tokio::fs::File::open(self.store.blob_path(digest)).await else {
            return unknown();
        };
        let Ok(size) = file.metadata().await.map(|meta| meta.len()) else { return unknown() };
        let header = asked.headers.get(header::RANGE).and_then(|value| value.to_str().ok());
        let range = range::parse(header, size);
        let response = Response::builder()
            .header(header::CONTENT_TYPE, "application/octet-stream")
            .header(header::ACCEPT_RANGES, "bytes")
            .header(header::ETAG, format!("\"{digest}\""))
            .header("docker-content-digest", digest.to_string());
        let (response, range) = match range {
            None => (response, 0..size),
            Some(Ok(range)) => {
                let content = format!("bytes {}-{}/{size}", range.start, range.end - 1);
                let response = response
                    .status(StatusCode::PARTIAL_CONTENT)
                    .header(header::CONTENT_RANGE, content);
                (response, range)
            }
            Some(Err(())) => {
                let mut response =
                    refuse(StatusCode::RANGE_NOT_SATISFIABLE, "SIZE_INVALID", "no such range");
                if let Ok(value) = format!("bytes */{size}").parse() {
                    response.headers_mut().insert(header::CONTENT_RANGE, value);
                }
                return response;
            }
        };
        if file.seek(SeekFrom::Start(range.start)).await.is_err() {
            return unknown();
        }
        let length = range.end - range.start;
        let body = Body::from_stream(ReaderStream::with_capacity(file.take(length), CHUNK));
        response
            .header(header::CONTENT_LENGTH, length)
            .body(body)
            .expect("digests and numbers are header values")
    }

    fn tags(&self, asked: &Asked, repository: &str) -> Response<Body> {
        let Some(mut tags) = self.catalog.tags(asked.registry.as_deref(), repository) else {
            let text = format!("{repository} is not known");
            return refuse(StatusCode::NOT_FOUND, "NAME_UNKNOWN", &text);
        };
        if let Some(last) = asked.query.get("last") {
            tags.retain(|tag| tag > last);
        }
        let mut next = None;
        if let Some(count) = asked.query.get("n").and_then(|n| n.parse::<usize>().ok())
            && count < tags.len()
        {
            tags.truncate(count);
            next = tags.last().map(|last| {
                format!("</v2/{repository}/tags/list?n={count}&last={last}>; rel=\"next\"")
            });
        }
        let list = json!({ "name": repository, "tags": tags }).to_string();
        let mut response = respond(StatusCode::OK, "application/json", list.into(), None);
        if let Some(value) = next.and_then(|next| next.parse().ok()) {
            response.headers_mut().insert(header::LINK, value);
        }
        response
    }
}

fn respond(
    status: StatusCode,
    media: &str,
    body: Vec<u8>,
    digest: Option<Digest>,
) -> Response<Body> {
    let mut response = Response::builder()
        .status(status)
        .header(header::CONTENT_TYPE, media)
        .header(header::CONTENT_LENGTH, body.len())
        .header("docker-distribution-api-version", "registry/2.0");
    if let Some(digest) = digest {
        response = response
            .header("docker-content-digest", digest.to_string())
            .header(header::ETAG, format!("\"{digest}\""));
    }
    response.body(body.into()).expect("media types and digests are header values")
}

/// An error as the specification has it.
fn refuse(status: StatusCode, code: &str, message: &str) -> Response<Body> {
    let body = json!({ "errors": [{ "code": code, "message": message }] }).to_string();
    respond(status, "application/json", body.into(), None)
}
