//! What a cluster looked like when something failed, as files: events, pods,
//! logs and objects, without Secrets.
//!
//! It never fails a run: what cannot be had is listed. Names and texts come
//! from the product, so names become harmless file names and every size has a
//! limit. A plain listing has no times in it that change, so that two of them
//! can be compared.

mod describe;

use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::{AsyncReadExt as _, StreamExt as _, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams, LogParams};
use seatrial_core::tail::Tail;
use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use crate::apply::classify;
use crate::cluster::{Cluster, Kind};
use crate::explain::{EventLine, events};
use crate::readiness::{number, text};
use crate::ready::name_of;
use crate::trouble::containers;
use crate::watch;

/// Requests at the same time.
const PARALLEL: usize = 8;
/// Lines from the end of a log that are asked for. The limit in bytes is kept
/// while reading: the API server's own counts from the beginning.
const LOG_LINES: i64 = 20_000;
/// Objects of one kind that are asked for.
const OBJECTS: u32 = 500;

/// How much evidence is taken, and for how long.
#[derive(Debug, Clone)]
pub struct EvidenceLimits {
    /// Most bytes of one log: its end is kept.
    pub log_bytes: usize,
    /// Most bytes of all files.
    pub total_bytes: u64,
    /// When to stop.
    pub deadline: Instant,
}

impl EvidenceLimits {
    /// 1 MiB of each log, 64 MiB of everything, 30 s.
    #[must_use]
    pub fn starting_now() -> Self {
        Self {
            log_bytes: 1 << 20,
            total_bytes: 64 << 20,
            deadline: Instant::now() + Duration::from_secs(30),
        }
    }
}

/// What was written.
#[derive(Debug, Default)]
pub struct Evidence {
    /// The files, relative to the directory, in the order in which they were written.
    pub files: Vec<PathBuf>,
    /// Their size in bytes.
    pub bytes: u64,
    /// What could not be had, one line each.
    pub errors: Vec<String>,
    /// What a person reads first, one line each and not too many: which pods are
    /// not ready and why, then the last warnings.
    pub summary: Vec<String>,
}

/// Writes evidence of `namespaces`, or of all when there are none, into
/// `directory`, which exists:
///
/// - `events.txt`, sorted by time;
/// - `NAMESPACE/POD.txt` and `NAMESPACE/POD.CONTAINER.log`, with `.previous.log`
///   for what ran before the last restart, each line with its time;
/// - `objects/NAMESPACE/KIND.yaml`, without Secrets, leases and grants, and
///   without what only the API server needs.
pub async fn evidence(
    cluster: &Cluster,
    namespaces: &[String],
    limits: &EvidenceLimits,
    directory: &Path,
) -> Evidence {
    let mut writer = Writer {
        directory,
        total_bytes: limits.total_bytes,
        evidence: Evidence::default(),
        full: false,
    };
    let in_scope = |namespace: &str| {
        namespaces.is_empty()
            || namespace.is_empty()
            || namespaces.iter().any(|name| name == namespace)
    };
    let pod_kind = Kind::namespaced("", "v1", "Pod", "pods");
    let all_events =
        async { timeout_at(limits.deadline, events(cluster, None, ListParams::default())).await };
    let (all_events, pods) = futures::join!(all_events, list(cluster, &pod_kind, limits.deadline));
    let all_events = match all_events {
        Ok(Ok(events)) => events,
        Ok(Err(error)) => writer.miss("events", &error),
        Err(_) => writer.miss("events", "not answered in time"),
    };
    let all_events: Vec<EventLine> =
        all_events.into_iter().filter(|event| in_scope(&event.namespace)).collect();
    writer.write(Path::new("events.txt"), describe::event_list(&all_events).as_bytes()).await;
    let mut pods = pods.unwrap_or_else(|error| writer.miss("pods", &error));
    pods.retain(|pod| in_scope(text(pod, "/metadata/namespace")));
    for pod in &pods {
        let place = place(&[text(pod, "/metadata/namespace")]);
        let path = place.join(format!("{}.txt", file_name(name_of(pod))));
        writer.write(&path, describe::pod(pod, &all_events).as_bytes()).await;
    }
    writer.evidence.summary = describe::summary(&pods, &all_events);
    let logs = pods.iter().flat_map(logs_of).collect::<Vec<_>>();
    let mut logs = stream::iter(logs)
        .map(async |log| {
            let text = read_log(cluster, &log, limits).await;
            (log, text)
        })
        .buffered(PARALLEL);
    while let Some((log, text)) = logs.next().await {
        match text {
            Ok(text) if text.is_empty() => {}
            Ok(text) => writer.write(&log.path(), &text).await,
            Err(error) => {
                let _: Vec<()> = writer.miss(&log.path().display().to_string(), &error);
            }
        }
    }
    let kinds = match timeout_at(limits.deadline, cluster.refresh_kinds()).await {
        Ok(Ok(kinds)) => kinds,
        _ => cluster.kinds(),
    };
    let mut lists = stream::iter(kinds.listable().filter(|kind| is_telling(kind)))
        .map(async |kind| (kind, list(cluster, kind, limits.deadline).await))
        .buffered(PARALLEL);
    while let Some((kind, objects)) = lists.next().await {
        let word = describe::kind_word(kind);
        let mut objects = objects.unwrap_or_else(|error| writer.miss(&word, &error));
        objects.retain(|object| in_scope(text(object, "/metadata/namespace")));
        for (namespace, yaml) in describe::documents(kind, objects) {
            let path = place(&["objects", &namespace]).join(format!("{}.yaml", file_name(&word)));
            writer.write(&path, yaml.as_bytes()).await;
        }
    }
    writer.evidence
}

/// Whether objects of a kind can say anything about a failure. Secrets can, and
/// are no one's business here.
fn is_telling(kind: &Kind) -> bool {
    let resource = &kind.resource;
    !matches!(
        (resource.group.as_str(), resource.kind.as_str()),
        ("", "Secret" | "Event" | "ComponentStatus" | "PodTemplate")
            | (
                "events.k8s.io"
                    | "rbac.authorization.k8s.io"
                    | "flowcontrol.apiserver.k8s.io"
                    | "coordination.k8s.io"
                    | "metrics.k8s.io"
                    | "apiextensions.k8s.io",
                _
            )
            | ("apps", "ControllerRevision")
    )
}

/// A log that can be asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Log {
    namespace: String,
    pod: String,
    container: String,
    previous: bool,
}

impl Log {
    fn path(&self) -> PathBuf {
        let end = if self.previous { "previous.log" } else { "log" };
        let name = format!("{}.{}.{end}", file_name(&self.pod), file_name(&self.container));
        place(&[&self.namespace]).join(name)
    }
}

/// The logs of the containers of `pod` that were started.
fn logs_of(pod: &Value) -> Vec<Log> {
    let mut logs = Vec::new();
    for status in containers(pod) {
        let log = |previous| Log {
            namespace: text(pod, "/metadata/namespace").to_owned(),
            pod: name_of(pod).to_owned(),
            container: text(status, "/name").to_owned(),
            previous,
        };
        let restarted = number(status, "/restartCount", 0) > 0;
        if restarted || status.pointer("/state/waiting").is_none() {
            logs.push(log(false));
        }
        if restarted {
            logs.push(log(true));
        }
    }
    logs
}

async fn read_log(
    cluster: &Cluster,
    log: &Log,
    limits: &EvidenceLimits,
) -> Result<Vec<u8>, String> {
    let params = LogParams {
        container: Some(log.container.clone()),
        previous: log.previous,
        tail_lines: Some(LOG_LINES),
        timestamps: true,
        ..LogParams::default()
    };
    let api = Api::<Pod>::namespaced(cluster.client().clone(), &log.namespace);
    let mut tail = Tail::new(limits.log_bytes);
    let read = async {
        let stream = api.log_stream(&log.pod, &params).await.map_err(|e| classify(&e).1)?;
        let mut stream = std::pin::pin!(stream);
        let mut buffer = vec![0; 64 << 10];
        loop {
            match stream.read(&mut buffer).await.map_err(|error| error.to_string())? {
                0 => return Ok(()),
                length => tail.push(&buffer[..length]),
            }
        }
    };
    match timeout_at(limits.deadline, read).await {
        Ok(Ok(())) => Ok(tail.bytes()),
        Ok(Err(error)) => Err(error),
        Err(_) if tail.is_empty() => Err("not answered in time".to_owned()),
        Err(_) => Ok(tail.bytes()),
    }
}

async fn list(cluster: &Cluster, kind: &Kind, deadline: Instant) -> Result<Vec<Value>, String> {
    let api = cluster.api(kind, None);
    match timeout_at(deadline, api.list(&ListParams::default().limit(OBJECTS))).await {
        Ok(Ok(list)) => Ok(list.items.into_iter().map(watch::json).collect()),
        Ok(Err(error)) => Err(classify(&error).1),
        Err(_) => Err("not answered in time".to_owned()),
    }
}

struct Writer<'a> {
    directory: &'a Path,
    total_bytes: u64,
    evidence: Evidence,
    full: bool,
}

impl Writer<'_> {
    /// Notes what could not be had, and stands in for it.
    fn miss<T>(&mut self, what: &str, why: &str) -> Vec<T> {
        self.evidence.errors.push(format!("{what}: {why}"));
        Vec::new()
    }

    async fn write(&mut self, path: &Path, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let size = bytes.len() as u64;
        if self.evidence.bytes + size > self.total_bytes {
            if !self.full {
                self.full = true;
                let limit = self.total_bytes;
                let text = format!("left out, with others: more than {limit} bytes in all");
                let _: Vec<()> = self.miss(&path.display().to_string(), &text);
            }
            return;
        }
        let full = self.directory.join(path);
        let written = async {
            if let Some(parent) = full.parent() {
                tokio::fs::create_dir_all(parent).await?;
            }
            tokio::fs::write(&full, bytes).await
        };
        match written.await {
            Ok(()) => {
                self.evidence.bytes += size;
                self.evidence.files.push(path.to_owned());
            }
            Err(error) => {
                let _: Vec<()> = self.miss(&path.display().to_string(), &error.to_string());
            }
        }
    }
}

/// A directory below the one for evidence.
fn place(parts: &[&str]) -> PathBuf {
    parts.iter().map(|part| file_name(part)).collect()
}

/// `name` as one harmless component of a path.
fn file_name(name: &str) -> String {
    let mut safe: String = name
        .chars()
        .take(200)
        .map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' })
        .collect();
    if safe.is_empty() || safe.starts_with('.') {
        safe.insert(0, '_');
    }
    safe
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_name_stays_below_the_directory(name in "\\PC{0,300}") {
            let file = file_name(&name);
            let parts: Vec<_> = Path::new(&file).components().collect();
            prop_assert_eq!(parts.len(), 1);
            prop_assert!(matches!(parts[0], std::path::Component::Normal(_)));
            prop_assert!(file.len() <= 201);
        }
    }

    #[test]
    fn logs_are_asked_for_only_where_something_ran() {
        let pod = serde_json::json!({
            "metadata": { "namespace": "shop", "name": "web-1" },
            "status": {
                "initContainerStatuses": [
                    { "name": "setup", "restartCount": 0, "state": { "terminated": {} } },
                ],
                "containerStatuses": [
                    { "name": "app", "restartCount": 2, "state": { "waiting": {} } },
                    { "name": "new", "restartCount": 0, "state": { "waiting": {} } },
                ],
            },
        });
        let paths: Vec<_> =
            logs_of(&pod).iter().map(|log| log.path().display().to_string()).collect();
        assert_eq!(
            paths,
            ["shop/web-1.setup.log", "shop/web-1.app.log", "shop/web-1.app.previous.log"]
        );
    }
}
