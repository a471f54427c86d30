//! A small API server in memory, for what a real one cannot be made to do on
//! demand. It stores objects by path, lists and watches them, and answers as it
//! is told to. It knows nothing of what objects mean.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use futures::stream;
use seatrial_deploy::{Cluster, connect};
use serde_json::{Value, json};
use tokio::sync::watch;

/// What to answer to a request instead of doing it: status and body.
type Answer = Box<dyn FnMut(&Method, &str) -> Option<(u16, Value)> + Send>;

/// The server, and the client of it.
pub(crate) struct Fake {
    world: Arc<World>,
    pub(crate) cluster: Cluster,
    server: tokio::task::JoinHandle<()>,
}

struct World {
    inner: Mutex<Inner>,
    changed: watch::Sender<u64>,
}

#[derive(Default)]
struct Inner {
    version: u64,
    /// The path of an object, and the object.
    objects: BTreeMap<String, Value>,
    /// What happened, in order: version, path, type, object.
    log: Vec<(u64, String, &'static str, Value)>,
    logs: BTreeMap<String, String>,
    requests: Vec<String>,
    kinds: Vec<(String, String, String, bool)>,
    answer: Option<Answer>,
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Fake {
    /// A server of the usual kinds, and a client made from its kubeconfig.
    pub(crate) async fn start() -> Self {
        let inner = Inner::default();
        let world = Arc::new(World { inner: Mutex::new(inner), changed: watch::channel(0).0 });
        let router = Router::new().fallback(handle).with_state(Arc::clone(&world));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("it is bound");
        let server = tokio::spawn(async move {
            axum::serve(listener, router).await.expect("it serves until it is aborted");
        });
        let kubeconfig = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: c\n\
             clusters: [{{ name: c, cluster: {{ server: 'http://{address}' }} }}]\n\
             users: [{{ name: u, user: {{}} }}]\n\
             contexts: [{{ name: c, context: {{ cluster: c, user: u }} }}]\n"
        );
        let cluster = connect(&kubeconfig).await.expect("the kubeconfig is good");
        let fake = Self { world, cluster, server };
        for (version, kind, plural, namespaced) in [
            ("v1", "Namespace", "namespaces", false),
            ("v1", "Pod", "pods", true),
            ("v1", "Service", "services", true),
            ("v1", "ServiceAccount", "serviceaccounts", true),
            ("v1", "Secret", "secrets", true),
            ("v1", "ConfigMap", "configmaps", true),
            ("v1", "Event", "events", true),
            ("apps/v1", "Deployment", "deployments", true),
            (
                "apiextensions.k8s.io/v1",
                "CustomResourceDefinition",
                "customresourcedefinitions",
                false,
            ),
        ] {
            fake.serve_kind(version, kind, plural, namespaced);
        }
        fake
    }

    /// Serves one more kind.
    pub(crate) fn serve_kind(&self, version: &str, kind: &str, plural: &str, namespaced: bool) {
        let row = (version.to_owned(), kind.to_owned(), plural.to_owned(), namespaced);
        self.world.lock().kinds.push(row);
    }

    /// What to answer to writes; `None` does what was asked for.
    pub(crate) fn answer(
        &self,
        answer: impl FnMut(&Method, &str) -> Option<(u16, Value)> + Send + 'static,
    ) {
        self.world.lock().answer = Some(Box::new(answer));
    }

    /// Puts an object at a path, as a controller would.
    pub(crate) fn put(&self, path: &str, object: Value) {
        self.world.put(path, object);
    }

    /// Changes an object at a path, as a controller would.
    pub(crate) fn change(&self, path: &str, change: impl FnOnce(&mut Value)) {
        let mut object = self.get(path).expect("the object exists");
        change(&mut object);
        self.world.put(path, object);
    }

    /// The object at a path.
    pub(crate) fn get(&self, path: &str) -> Option<Value> {
        self.world.lock().objects.get(path).cloned()
    }

    /// What a container printed; the key is the path of the pod, `?` and the
    /// container, and `/previous`.
    pub(crate) fn log(&self, key: &str, text: &str) {
        self.world.lock().logs.insert(key.to_owned(), text.to_owned());
    }

    /// The writes so far: method and path.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.world.lock().requests.clone()
    }

    /// Waits until `condition` holds, looking after every change.
    pub(crate) async fn until(&self, condition: impl Fn(&Self) -> bool) {
        let mut changed = self.world.changed.subscribe();
        let wait = async {
            while !condition(self) {
                changed.changed().await.expect("the server lives");
            }
        };
        let state = tokio::time::timeout(std::time::Duration::from_secs(20), wait).await;
        assert!(state.is_ok(), "it did not come: {:#?}", self.requests());
    }
}

impl World {
    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, path: &str, mut object: Value) -> Value {
        let mut inner = self.lock();
        inner.version += 1;
        let version = inner.version;
        object["metadata"]["resourceVersion"] = version.to_string().into();
        let kind = if inner.objects.contains_key(path) { "MODIFIED" } else { "ADDED" };
        inner.log.push((version, path.to_owned(), kind, object.clone()));
        inner.objects.insert(path.to_owned(), object.clone());
        drop(inner);
        self.changed.send_replace(version);
        object
    }

    fn delete(&self, path: &str) {
        let mut inner = self.lock();
        inner.version += 1;
        let version = inner.version;
        if let Some(object) = inner.objects.remove(path) {
            inner.log.push((version, path.to_owned(), "DELETED", object));
        }
        drop(inner);
        self.changed.send_replace(version);
    }
}

/// Whether an object's path belongs to a collection: `/api/v1/pods` has the
/// pods of all namespaces.
fn belongs(object: &str, collection: &str) -> bool {
    let Some((parent, _)) = object.rsplit_once('/') else { return false };
    if parent == collection {
        return true;
    }
    let parts: Vec<_> = parent.split('/').collect();
    match parts.iter().position(|part| *part == "namespaces") {
        Some(at) if parts.len() == at + 3 => {
            format!("{}/{}", parts[..at].join("/"), parts[at + 2]) == collection
        }
        _ => false,
    }
}

async fn handle(State(world): State<Arc<World>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.expect("it is small");
    let path = parts.uri.path().to_owned();
    match parts.method {
        Method::GET => get(&world, &path, &parts.uri),
        method => {
            let mut answer = {
                let mut inner = world.lock();
                inner.requests.push(format!("{method} {path}"));
                inner.answer.take()
            };
            let told = answer.as_mut().and_then(|answer| answer(&method, &path));
            if let Some(answer) = answer {
                world.lock().answer.get_or_insert(answer);
            }
            if let Some((code, body)) = told {
                return reply(code, &body);
            }
            if method == Method::DELETE {
                world.delete(&path);
                return reply(200, &json!({ "kind": "Status", "status": "Success", "code": 200 }));
            }
            let object: Value = serde_json::from_slice(&body).expect("it is JSON");
            let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
            let path = if method == Method::POST { format!("{path}/{name}") } else { path };
            reply(200, &world.put(&path, object))
        }
    }
}

fn get(world: &Arc<World>, path: &str, uri: &Uri) -> Response {
    let query: BTreeMap<String, String> = uri
        .query()
        .unwrap_or_default()
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(key, value)| (key.to_owned(), value.replace("%3D", "=")))
        .collect();
    if path == "/api" || path == "/apis" {
        return reply(200, &discovery(&world.lock().kinds, path == "/api"));
    }
    if let Some(pod) = path.strip_suffix("/log") {
        let container = query.get("container").cloned().unwrap_or_default();
        let previous = if query.contains_key("previous") { "/previous" } else { "" };
        return match world.lock().logs.get(&format!("{pod}?{container}{previous}")) {
            Some(text) => text.clone().into_response(),
            None => reply(400, &status(400, "previous terminated container not found", "")),
        };
    }
    let name = query.get("fieldSelector").and_then(|selector| selector.split_once("name="));
    let name = name.map(|(_, name)| name.to_owned());
    let selected = move |path: &str| {
        name.as_ref().is_none_or(|name| path.rsplit_once('/').is_some_and(|(_, is)| is == name))
    };
    if query.contains_key("watch") {
        let since: u64 = query.get("resourceVersion").and_then(|v| v.parse().ok()).unwrap_or(0);
        return watching(world, path.to_owned(), since, selected);
    }
    let inner = world.lock();
    if let Some(object) = inner.objects.get(path) {
        return reply(200, object);
    }
    let items: Vec<_> = inner
        .objects
        .iter()
        .filter(|(object, _)| belongs(object, path) && selected(object))
        .map(|(_, object)| object.clone())
        .collect();
    let metadata = json!({ "resourceVersion": inner.version.to_string() });
    reply(200, &json!({ "kind": "List", "metadata": metadata, "items": items }))
}

/// Everything that happens in a collection after `since`, a line each.
fn watching(
    world: &Arc<World>,
    collection: String,
    since: u64,
    selected: impl Fn(&str) -> bool + Send + 'static,
) -> Response {
    let state = (Arc::clone(world), world.changed.subscribe(), since, collection, selected);
    let lines =
        stream::unfold(state, |(world, mut changed, since, collection, selected)| async move {
            loop {
                let next = {
                    let inner = world.lock();
                    let mine = |entry: &&(u64, String, &str, Value)| {
                        entry.0 > since && belongs(&entry.1, &collection) && selected(&entry.1)
                    };
                    inner.log.iter().find(mine).cloned()
                };
                if let Some((version, _, kind, object)) = next {
                    let line = format!("{}\n", json!({ "type": kind, "object": object }));
                    let state = (world, changed, version, collection, selected);
                    return Some((Ok::<_, std::io::Error>(Bytes::from(line)), state));
                }
                changed.changed().await.ok()?;
            }
        });
    Response::new(Body::from_stream(lines))
}

fn discovery(kinds: &[(String, String, String, bool)], core: bool) -> Value {
    let mut groups: BTreeMap<&str, BTreeMap<&str, Vec<Value>>> = BTreeMap::new();
    for (version, kind, plural, namespaced) in kinds {
        let (group, version) = version.split_once('/').unwrap_or(("", version));
        if group.is_empty() == core {
            groups.entry(group).or_default().entry(version).or_default().push(json!({
                "resource": plural,
                "responseKind": { "group": group, "version": version, "kind": kind },
                "scope": if *namespaced { "Namespaced" } else { "Cluster" },
                "singularResource": kind.to_lowercase(),
                "verbs": ["get", "list", "watch", "patch", "create", "delete"],
            }));
        }
    }
    let items: Vec<_> = groups
        .into_iter()
        .map(|(group, versions)| {
            let versions: Vec<_> = versions
                .into_iter()
                .map(|(version, resources)| json!({ "version": version, "resources": resources }))
                .collect();
            json!({ "metadata": { "name": group }, "versions": versions })
        })
        .collect();
    json!({ "kind": "APIGroupDiscoveryList", "items": items })
}

/// A refusal as the API server words it.
pub(crate) fn status(code: u16, message: &str, kind: &str) -> Value {
    json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code,
        "message": message, "reason": "Refused", "details": { "kind": kind },
    })
}

fn reply(code: u16, body: &Value) -> Response {
    let code = StatusCode::from_u16(code).expect("it is a status");
    (code, [("content-type", "application/json")], body.to_string()).into_response()
}
