//! Server-side apply of objects: in order, at the same time where the order
//! allows it, and again where something is only not there *yet*.
//!
//! What an answer means is decided in [`problem`], the order in
//! [`crate::order`]; this is the caller.

mod problem;

use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt as _, stream};
use kube::api::{Patch, PatchParams};
use serde_json::Value;
use tokio::time::{Instant, sleep_until, timeout_at};

pub(crate) use self::problem::classify;
pub use self::problem::{ApplyError, Cause, Problem};
use crate::cluster::{Cluster, Kind, Kinds};
use crate::manifest::{Object, ObjectId};
use crate::order::{self, Stage};
use crate::readiness::{Readiness, Wanted, readiness};
use crate::watch::{json, until};

/// Requests at the same time. More only queue in a two-core API server, and
/// its default limit for one client's writes in flight is 200.
const PARALLEL: usize = 8;
/// Pause before objects are tried again, doubled up to the longest. There is no
/// event that says that a webhook answers.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// How long one request may take: a little more than the longest timeout of an
/// admission webhook, 30 s.
const REQUEST: Duration = Duration::from_secs(35);

/// How objects are applied.
#[derive(Debug, Clone)]
pub struct ApplyOptions {
    /// Who owns the fields, for the API server.
    pub field_manager: String,
    /// When to give up what may still succeed.
    pub deadline: Instant,
    /// How long a kind or namespace that none of the objects makes is waited
    /// for (a program that was started by an earlier step may make it), and how
    /// long an internal error of the API server is.
    pub patience: Duration,
}

impl ApplyOptions {
    /// Seatrial's own manager name, and 10 s of patience.
    #[must_use]
    pub fn until(deadline: Instant) -> Self {
        Self { field_manager: "seatrial".to_owned(), deadline, patience: Duration::from_secs(10) }
    }
}

/// What has just happened, for a progress line.
#[derive(Debug)]
pub enum Progress<'a> {
    /// An object is in the cluster.
    Applied {
        /// The object.
        id: &'a ObjectId,
        /// How many are, this one included.
        done: usize,
        /// How many there are.
        total: usize,
    },
    /// An object will be tried again.
    Waiting(&'a Problem),
}

/// Applies `objects` and returns them as the API server completed them, with
/// their namespaces, in the order in which they were given.
///
/// Fields that somebody else manages are taken over. Unknown and repeated
/// fields are errors, as they are for `kubectl apply`.
///
/// # Errors
/// When an object is refused: after the pass over all objects in which it was,
/// with every problem of that pass. When the deadline comes, with the last
/// answer for each object that is not applied.
pub async fn apply(
    cluster: &Cluster,
    objects: Vec<Object>,
    options: &ApplyOptions,
    on_progress: &(dyn Fn(Progress<'_>) + Sync),
) -> Result<Vec<Object>, ApplyError> {
    let started = Instant::now();
    let total = objects.len();
    let defined = Defined::by(&objects);
    let pending = |(index, object)| Pending { index, object, last: None };
    let mut pending: Vec<_> = objects.into_iter().enumerate().map(pending).collect();
    let mut applied: Vec<(usize, Object)> = Vec::new();
    let mut pause = FIRST_PAUSE;
    let mut patience_ends = None;
    loop {
        let mut problems = Vec::new();
        pending.sort_by_key(|pending| (order::stage(&pending.object.id), pending.index));
        let mut failed = Vec::new();
        while let Some(first) = pending.first() {
            let stage = order::stage(&first.object.id);
            let rest = pending.partition_point(|p| order::stage(&p.object.id) <= stage);
            let rest = pending.split_off(rest);
            let batch = std::mem::replace(&mut pending, rest);
            let kinds = kinds_for(cluster, &batch, options.deadline).await;
            let mut answers = stream::iter(batch)
                .map(async |pending| {
                    let answer = apply_one(cluster, &kinds, &pending, options).await;
                    (pending, answer)
                })
                .buffer_unordered(PARALLEL);
            while let Some((mut pending, answer)) = answers.next().await {
                match answer {
                    Ok(answer) => {
                        applied.push((pending.index, answer));
                        let id = &applied[applied.len() - 1].1.id;
                        on_progress(Progress::Applied { id, done: applied.len(), total });
                    }
                    Err(problem) => {
                        pending.last = Some(*problem);
                        failed.push(pending);
                    }
                }
            }
            if stage == Stage::Foundation {
                problems = established(cluster, &applied, options.deadline).await;
                if !problems.is_empty() {
                    break;
                }
            }
        }
        problems.extend(failed.iter().filter_map(|pending| pending.last.clone()));
        if problems.is_empty() {
            applied.sort_by_key(|(index, _)| *index);
            return Ok(applied.into_iter().map(|(_, object)| object).collect());
        }
        let now = Instant::now();
        let impatient = *patience_ends.get_or_insert(now + options.patience) <= now;
        let hopeless = |problem: &Problem| {
            let covered = defined.covers(problem);
            !problem.cause.may_pass() || (!covered && (impatient || is_misspelt(problem)))
        };
        if now >= options.deadline || problems.iter().any(hopeless) {
            return Err(ApplyError::new(problems, started.elapsed().as_secs()));
        }
        for problem in &problems {
            on_progress(Progress::Waiting(problem));
        }
        sleep_until((now + pause).min(options.deadline)).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
        pending = failed;
    }
}

/// An object that is not applied yet.
struct Pending {
    /// Its place among the objects that were given.
    index: usize,
    object: Object,
    /// What was in the way the last time.
    last: Option<Problem>,
}

/// What the objects themselves bring into the cluster.
struct Defined {
    kinds: Vec<(String, String)>,
    groups: Vec<String>,
    namespaces: Vec<String>,
}

impl Defined {
    fn by(objects: &[Object]) -> Self {
        let text = |object: &Object, pointer: &str| {
            object.value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let mut defined = Self { kinds: Vec::new(), groups: Vec::new(), namespaces: Vec::new() };
        for object in objects {
            match object.id.kind.as_str() {
                "CustomResourceDefinition" => defined
                    .kinds
                    .push((text(object, "/spec/group"), text(object, "/spec/names/kind"))),
                "APIService" => defined.groups.push(text(object, "/spec/group")),
                "Namespace" => defined.namespaces.push(object.id.name.clone()),
                _ => {}
            }
        }
        defined
    }

    /// Whether `problem` is worth waiting for until the deadline: one of the
    /// objects makes the kind or namespace that it lacks, or it lacks neither.
    fn covers(&self, problem: &Problem) -> bool {
        let id = &problem.id;
        match problem.cause {
            Cause::UnknownKind => {
                let group = id.group();
                self.groups.iter().any(|g| g == group)
                    || self.kinds.iter().any(|(g, kind)| g == group && *kind == id.kind)
            }
            Cause::NoNamespace => {
                id.namespace.as_ref().is_some_and(|name| self.namespaces.contains(name))
            }
            // It passes soon or not at all.
            Cause::Internal => false,
            _ => true,
        }
    }
}

/// Whether nobody can make the kind that is unknown: the groups without a dot
/// are the API server's own.
fn is_misspelt(problem: &Problem) -> bool {
    problem.cause == Cause::UnknownKind && !problem.id.group().contains('.')
}

/// The known kinds, asked for again when one of `batch` is not among them. An
/// API server that does not answer is found out by the requests themselves.
async fn kinds_for(cluster: &Cluster, batch: &[Pending], deadline: Instant) -> Arc<Kinds> {
    let known = cluster.kinds();
    if batch.iter().all(|pending| lookup(&known, &pending.object.id).is_some()) {
        return known;
    }
    match timeout_at(deadline, cluster.refresh_kinds()).await {
        Ok(Ok(kinds)) => return kinds,
        Ok(Err(error)) => {
            tracing::debug!(error = %classify(&error).1, "cannot list the kinds of the cluster");
        }
        Err(_) => tracing::debug!("the kinds of the cluster were not listed in time"),
    }
    known
}

fn lookup<'a>(kinds: &'a Kinds, id: &ObjectId) -> Option<&'a Kind> {
    kinds.exact(&id.api_version, &id.kind)
}

async fn apply_one(
    cluster: &Cluster,
    kinds: &Kinds,
    pending: &Pending,
    options: &ApplyOptions,
) -> Result<Object, Box<Problem>> {
    let object = &pending.object;
    let mut id = object.id.clone();
    let problem = |id: &ObjectId, cause, message| {
        Err(Box::new(Problem { id: id.clone(), origin: object.origin.clone(), cause, message }))
    };
    let Some(kind) = lookup(kinds, &id) else {
        if kinds.is_empty() {
            let message = "the API server does not list its kinds".to_owned();
            return problem(&id, Cause::Unavailable, message);
        }
        return problem(&id, Cause::UnknownKind, unknown_kind(kinds, &id));
    };
    if !kind.namespaced {
        id.namespace = None;
    } else if id.namespace.is_none() {
        id.namespace = Some(cluster.default_namespace().to_owned());
    }
    let api = cluster.api(kind, id.namespace.as_deref());
    let params = PatchParams::apply(&options.field_manager).force().validation_strict();
    let patch = Patch::Apply(&object.value);
    let request = api.patch(&id.name, &params, &patch);
    let end = options.deadline.min(Instant::now() + REQUEST);
    match timeout_at(end, request).await {
        Ok(Ok(answer)) => Ok(Object { origin: object.origin.clone(), id, value: json(answer) }),
        Ok(Err(error)) => {
            let (cause, message) = classify(&error);
            problem(&id, cause, message)
        }
        // What the API server said before tells more than that time is over.
        Err(_) => match &pending.last {
            Some(last) => Err(Box::new(last.clone())),
            None => problem(&id, Cause::Unavailable, "no answer came in time".to_owned()),
        },
    }
}

/// The kind in a message: with the version, and with what may have been meant.
fn unknown_kind(kinds: &Kinds, id: &ObjectId) -> String {
    let known = format!("nothing in the cluster serves {} of {}", id.kind, id.api_version);
    match kinds.of_kind(&id.kind).or_else(|| kinds.nearest(&id.kind)) {
        Some(near) => {
            let (kind, version) = (&near.resource.kind, &near.resource.api_version);
            format!("{known}; it serves {kind} of {version}")
        }
        None => known,
    }
}

/// Waits until each applied definition is served, or says which is not.
async fn established(
    cluster: &Cluster,
    applied: &[(usize, Object)],
    deadline: Instant,
) -> Vec<Problem> {
    let kinds = cluster.kinds();
    let waits = applied
        .iter()
        .filter(|(_, object)| object.id.kind == "CustomResourceDefinition")
        .filter_map(|(_, object)| Some((object, lookup(&kinds, &object.id)?)))
        .map(async |(object, kind)| {
            let mut last = "its state is not known".to_owned();
            let end = until(cluster.api(kind, None), &object.id.name, deadline, |seen| {
                let (group, kind) = (object.id.group(), object.id.kind.as_str());
                match seen.map(|found| readiness(group, kind, found, &Wanted::Ready)) {
                    Ok(Readiness::Ready) => return Some(Ok(())),
                    Ok(Readiness::Failed(reason)) => return Some(Err(reason)),
                    Ok(Readiness::Pending(reason)) | Err(reason) => last = reason,
                }
                None
            })
            .await;
            let message = match end {
                Some(Ok(())) => return None,
                Some(Err(reason)) => reason,
                None => last,
            };
            let (id, origin) = (object.id.clone(), object.origin.clone());
            Some(Problem { id, origin, cause: Cause::NotEstablished, message })
        });
    futures::future::join_all(waits).await.into_iter().flatten().collect()
}
