//! Waiting until objects are ready, by watching them and their pods.
//!
//! What is ready is decided in [`crate::readiness`], what cannot become ready
//! in [`crate::trouble`], both together in [`board`]; this feeds the board with
//! what the API server says, and the clock. What a person needs to know when
//! it ends badly is gathered by [`crate::explain`].

mod board;
mod settle;

use std::time::Duration;

use futures::stream::{SelectAll, StreamExt as _};
use kube::runtime::watcher;
use seatrial_core::failure::Failure;
use tokio::time::{Instant, sleep_until, timeout_at};

use self::board::End;
pub(crate) use self::board::{Board, Judged, JudgedItem};
use crate::apply::classify;
use crate::cluster::{Cluster, Kind};
use crate::explain;
use crate::manifest::{Object, ObjectId};
use crate::readiness::{Readiness, Wanted, text};
use crate::trouble::selects;
use crate::watch::changes;

/// Pause before a kind that nothing serves yet is looked up again: definitions
/// have no event that says that they are served *here*.
const LOOKUP_PAUSE: Duration = Duration::from_millis(500);

/// One thing to wait for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadyCondition {
    /// Group and version, such as `apps/v1`; `None` when `kind` is a word that
    /// a person wrote.
    pub api_version: Option<String>,
    /// The kind, or a word for it: `Deployment`, `deployment`, `deploy`,
    /// `deployments.apps`.
    pub kind: String,
    /// The namespace; `None` means the default one, for kinds that have any.
    pub namespace: Option<String>,
    /// The name.
    pub name: String,
    /// What is wanted of it.
    pub wanted: Wanted,
    /// How long it may take, if less than all have.
    pub within: Option<Duration>,
}

impl ReadyCondition {
    /// That the object `id` is ready.
    #[must_use]
    pub fn of(id: &ObjectId) -> Self {
        Self {
            api_version: Some(id.api_version.clone()),
            kind: id.kind.clone(),
            namespace: id.namespace.clone(),
            name: id.name.clone(),
            wanted: Wanted::Ready,
            within: None,
        }
    }

    /// Whether it is about a thing that runs: then it has to stay so.
    fn wants_it_up(&self) -> bool {
        match &self.wanted {
            Wanted::Ready => true,
            Wanted::Condition { name, status } => {
                let up = ["Available", "Ready"].iter().any(|up| name.eq_ignore_ascii_case(up));
                up && status.eq_ignore_ascii_case("True")
            }
        }
    }
}

/// What has to be ready after `applied` was applied: everything that starts
/// pods, definitions and API services, and each Service whose selector fits the
/// pods of one of those workloads. Claims are left out (one that waits for its
/// first pod is bound when that pod runs), and so are workloads that are
/// switched off and custom resources, which may have nothing to wait for.
#[must_use]
pub fn default_conditions(applied: &[Object]) -> Vec<ReadyCondition> {
    let mut conditions = Vec::new();
    for object in applied {
        let wanted = match (object.id.group(), object.id.kind.as_str()) {
            ("apps", "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet")
            | ("", "ReplicationController" | "Pod")
            | ("apiextensions.k8s.io", "CustomResourceDefinition")
            | ("apiregistration.k8s.io", "APIService") => true,
            ("batch", "Job") => object.value.pointer("/spec/suspend") != Some(&true.into()),
            ("", "Service") => {
                let selector = serde_json::json!({
                    "matchLabels": object.value.pointer("/spec/selector"),
                });
                applied.iter().any(|other| {
                    other.id.namespace == object.id.namespace && has_pods(other, &selector)
                })
            }
            _ => false,
        };
        if wanted {
            conditions.push(ReadyCondition::of(&object.id));
        }
    }
    conditions
}

/// Whether `selector` fits the pods that `object` starts, of which there are some.
fn has_pods(object: &Object, selector: &serde_json::Value) -> bool {
    let serves = match (object.id.group(), object.id.kind.as_str()) {
        ("", "Pod") => return selects(selector, &object.value),
        ("apps", _) | ("", "ReplicationController") => true,
        _ => false,
    };
    serves
        && object.value.pointer("/spec/replicas") != Some(&0.into())
        && object.value.pointer("/spec/template").is_some_and(|pod| selects(selector, pod))
}

/// What is waited for and how it stands, for a progress line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadyState {
    /// The object, such as `Deployment shop/web`.
    pub object: String,
    /// How it stands.
    pub readiness: Readiness,
}

/// Waits until all of `conditions` hold at the same time (a Job that was
/// complete stays so), or until one of them cannot, or `deadline`.
/// `on_change` is called with all states whenever one changes.
///
/// # Errors
/// A failure with what a person needs: the object, observed and wanted, its
/// pods with their reasons, the last lines of their logs, and warnings. It is
/// the product's fault, except where no node has room, a registry does not
/// answer, or the API server does not.
pub async fn wait_ready(
    cluster: &Cluster,
    conditions: Vec<ReadyCondition>,
    deadline: Instant,
    on_change: &(dyn Fn(&[ReadyState]) + Sync),
) -> Result<(), Failure> {
    let started = Instant::now();
    if conditions.is_empty() {
        return Ok(());
    }
    let mut board = Board::default();
    for condition in conditions {
        let end = condition.within.map_or(deadline, |within| deadline.min(started + within));
        let kind = resolve(cluster, &condition, end).await?;
        board.add(condition, kind, cluster.default_namespace(), end);
    }
    let mut watches = SelectAll::new();
    for (index, (kind, namespace)) in board.tables().enumerate() {
        let api = cluster.api(kind, namespace);
        let events = changes(api, watcher::Config::default());
        watches.push(events.map(move |event| (index, event)).boxed());
    }
    let mut shown = Vec::new();
    loop {
        let now = Instant::now();
        let judged = board.judge(now);
        let states = judged.states();
        if states != shown {
            on_change(&states);
            shown = states;
        }
        let wake = match judged.end() {
            End::Ready => return Ok(()),
            End::Never => return Err(explain::failure(cluster, &board, &judged, started).await),
            End::Open { wake } => wake,
        };
        // One change of an object is mostly followed by others: all that have
        // arrived are looked at together.
        if let Ok(Some((index, event))) = timeout_at(wake, watches.next()).await {
            board.observe(index, event, Instant::now());
            while let Some(Some((index, event))) = futures::FutureExt::now_or_never(watches.next())
            {
                board.observe(index, event, Instant::now());
            }
        }
    }
}

/// The kind that a condition is about.
async fn resolve(
    cluster: &Cluster,
    condition: &ReadyCondition,
    deadline: Instant,
) -> Result<Kind, Failure> {
    let mut kinds = cluster.kinds();
    loop {
        let found = match &condition.api_version {
            Some(api_version) => kinds.exact(api_version, &condition.kind),
            None => kinds.meant(&condition.kind),
        };
        if let Some(kind) = found {
            return Ok(kind.clone());
        }
        let last = match timeout_at(deadline, cluster.refresh_kinds()).await {
            Ok(Ok(refreshed)) => {
                let was_asked = !kinds.is_empty();
                kinds = refreshed;
                if !was_asked {
                    continue;
                }
                None
            }
            Ok(Err(error)) => Some(classify(&error).1),
            Err(_) if kinds.is_empty() => Some("the API server does not list its kinds".to_owned()),
            Err(_) => None,
        };
        if Instant::now() >= deadline {
            return Err(match last {
                Some(reason) => Failure::environment("deploy.api_unavailable", reason),
                None => unknown_kind(condition, kinds.nearest(&condition.kind)),
            });
        }
        sleep_until(deadline.min(Instant::now() + LOOKUP_PAUSE)).await;
    }
}

fn unknown_kind(condition: &ReadyCondition, nearest: Option<&Kind>) -> Failure {
    let (kind, name) = (&condition.kind, &condition.name);
    let failure = Failure::product(
        "deploy.unknown_kind",
        format!("cannot wait for {kind}/{name}: nothing in the cluster serves `{kind}`"),
    );
    match nearest {
        Some(near) => failure.hint(format!("`{}` is served", near.resource.kind)),
        None => failure.hint("`for:` names a kind and a name, such as `deployment/web`"),
    }
}

/// The name in an object's metadata.
pub(crate) fn name_of(object: &serde_json::Value) -> &str {
    text(object, "/metadata/name")
}
