//! Why something did not become ready, as a person needs it: the object, its
//! pods, the last lines of their logs, and the warnings about them.
//!
//! Gathering is I/O and may fail in parts; the text is made by pure functions.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Event, Pod};
use kube::api::{Api, ListParams, LogParams};
use seatrial_core::failure::{Failure, Fault};
use serde_json::Value;
use tokio::time::{Instant, timeout};

use crate::cluster::Cluster;
use crate::manifest::ObjectId;
use crate::readiness::{Readiness, number, text};
use crate::ready::{Board, Judged, JudgedItem, name_of};
use crate::trouble::{Trouble, TroubleKind, containers};

/// Longest time for gathering: a failing run should not be slower for it.
const GATHER: Duration = Duration::from_secs(5);
/// Lines of the end of a log that are shown.
const LOG_LINES: i64 = 20;
/// Longest line that is shown, in characters.
const LINE: usize = 400;
/// Objects, pods of each and events of each that are shown.
const SHOWN_OBJECTS: usize = 5;
const SHOWN_PODS: usize = 3;
const SHOWN_EVENTS: usize = 12;

/// What is known about one object that did not become ready.
#[derive(Debug, Clone, Default)]
struct Account {
    object: String,
    state: String,
    pods: Vec<PodAccount>,
    hidden_pods: usize,
    events: Vec<EventLine>,
}

#[derive(Debug, Clone, Default)]
struct PodAccount {
    name: String,
    phase: String,
    troubles: Vec<String>,
    logs: Vec<LogTail>,
}

#[derive(Debug, Clone, Default)]
struct LogTail {
    container: String,
    previous: bool,
    text: String,
}

/// One event, with what the list is sorted by.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct EventLine {
    /// RFC 3339, in UTC, so that text order is time order.
    pub(crate) time: String,
    pub(crate) namespace: String,
    pub(crate) kind: String,
    pub(crate) about: String,
    pub(crate) reason: String,
    pub(crate) message: String,
    pub(crate) count: i64,
    pub(crate) warning: bool,
}

/// The failure for what was judged to be over.
pub(crate) async fn failure(
    cluster: &Cluster,
    board: &Board,
    judged: &Judged,
    started: Instant,
) -> Failure {
    let seconds = started.elapsed().as_secs();
    let mut items: Vec<_> =
        judged.items.iter().filter(|item| item.readiness != Readiness::Ready).collect();
    // What ended it comes first.
    items.sort_by_key(|item| (!item.is_never(), item.over.is_none()));
    let accounts = items
        .iter()
        .take(SHOWN_OBJECTS)
        .map(async |item| account(cluster, item, &board.pods_of(&item.id)).await);
    let accounts = futures::future::join_all(accounts).await;
    verdict(&items, seconds).detail(detail(&accounts, items.len() - accounts.len()))
}

/// Whose fault it is and the one sentence about it.
fn verdict(items: &[&JudgedItem], seconds: u64) -> Failure {
    let Some(first) = items.first() else {
        return Failure::environment("deploy.not_ready", "nothing was waited for");
    };
    let object = &first.id;
    let others = match items.len() - 1 {
        0 => String::new(),
        1 => " (and 1 more is not ready)".to_owned(),
        count => format!(" (and {count} more are not ready)"),
    };
    if let Some((pod, trouble)) = first.over.and_then(|place| first.troubles.get(place)) {
        let message =
            format!("{object} cannot become ready: {}{others}", trouble_line(pod, trouble));
        let failure = match fault(trouble.kind) {
            Fault::Environment => Failure::environment(trouble.kind.code(), message),
            _ => Failure::product(trouble.kind.code(), message),
        };
        return match hint(trouble.kind) {
            Some(hint) => failure.hint(hint),
            None => failure,
        };
    }
    match &first.readiness {
        Readiness::Failed(reason) => {
            Failure::product("deploy.failed", format!("{object} failed: {reason}{others}"))
        }
        Readiness::Pending(reason) if first.unreachable => Failure::environment(
            "deploy.api_unavailable",
            format!("{object} could not be watched for {seconds} s: {reason}{others}"),
        ),
        Readiness::Pending(reason) => {
            let why = match first.troubles.first() {
                Some((pod, trouble)) => format!("; {}", trouble_line(pod, trouble)),
                None => String::new(),
            };
            let message = format!("{object} is not ready after {seconds} s: {reason}{why}{others}");
            Failure::product("deploy.not_ready", message)
        }
        Readiness::Ready => Failure::environment("deploy.not_ready", "it is ready"),
    }
}

/// Whose fault a trouble of a pod is.
fn fault(kind: TroubleKind) -> Fault {
    match kind {
        TroubleKind::ImagePull | TroubleKind::Unschedulable => Fault::Environment,
        _ => Fault::Product,
    }
}

fn hint(kind: TroubleKind) -> Option<&'static str> {
    match kind {
        TroubleKind::ImageNotFound => Some(
            "an image that this run builds needs its name in `replaces` under `images:`; any \
             other has to be reachable from the environment",
        ),
        TroubleKind::Unschedulable => Some(
            "lower the requests of the pods or raise `resources` of the cluster under \
             `environments:`",
        ),
        _ => None,
    }
}

/// A trouble with the name of its pod, which is empty for the object itself.
fn trouble_line(pod: &str, trouble: &Trouble) -> String {
    match pod {
        "" => in_pod(trouble),
        pod => format!("pod {pod}: {}", in_pod(trouble)),
    }
}

fn in_pod(trouble: &Trouble) -> String {
    let what = match trouble.kind {
        TroubleKind::ImageName => "its image cannot be used",
        TroubleKind::ImageNotFound => "its image does not exist",
        TroubleKind::ImagePull => "its image cannot be pulled",
        TroubleKind::Crash => "it ends again and again",
        TroubleKind::Container => "it cannot be started",
        TroubleKind::Unschedulable => "no node can take it",
        TroubleKind::Refused => "its pods are refused",
    };
    let container = match &trouble.container {
        Some(container) => format!("container {container}: "),
        None => String::new(),
    };
    format!("{container}{what}: {}", cut(&trouble.said))
}

async fn account(cluster: &Cluster, item: &JudgedItem, pods: &[&Value]) -> Account {
    let state = match &item.readiness {
        Readiness::Ready => "ready".to_owned(),
        Readiness::Pending(reason) | Readiness::Failed(reason) => reason.clone(),
    };
    let mut account = Account { object: item.id.to_string(), state, ..Account::default() };
    // Pods with something wrong first, then those that are not ready.
    let mut pods: Vec<_> = pods.iter().filter(|pod| !is_ready(pod)).collect();
    pods.sort_by_key(|pod| !item.troubles.iter().any(|(name, _)| name == name_of(pod)));
    account.hidden_pods = pods.len().saturating_sub(SHOWN_PODS);
    pods.truncate(SHOWN_PODS);
    let namespace = item.id.namespace.as_deref();
    let (pods, events) = futures::join!(
        futures::future::join_all(pods.iter().map(|pod| pod_account(cluster, item, pod))),
        events(cluster, namespace, ListParams::default().fields("type=Warning")),
    );
    account.pods = pods;
    account.events = events.unwrap_or_default();
    account.events.retain(|event| is_about(event, &item.id));
    let surplus = account.events.len().saturating_sub(SHOWN_EVENTS);
    account.events.drain(..surplus);
    account
}

async fn pod_account(cluster: &Cluster, item: &JudgedItem, pod: &Value) -> PodAccount {
    let name = name_of(pod);
    let mine = item.troubles.iter().filter(|(of, _)| of == name);
    let mut account = PodAccount {
        name: name.to_owned(),
        phase: text(pod, "/status/phase").to_owned(),
        troubles: mine.map(|(_, trouble)| in_pod(trouble)).collect(),
        logs: Vec::new(),
    };
    let namespace = text(pod, "/metadata/namespace");
    for status in containers(pod) {
        let done = number(status, "/state/terminated/exitCode", -1) == 0;
        let has_run = status.pointer("/lastState/terminated").is_some()
            || status.pointer("/state/waiting").is_none();
        if done || !has_run || status.pointer("/ready") == Some(&Value::Bool(true)) {
            continue;
        }
        let container = text(status, "/name");
        let instances = if number(status, "/restartCount", 0) > 0 { 2 } else { 1 };
        for previous in [true, false].into_iter().skip(2 - instances) {
            let params = LogParams {
                container: Some(container.to_owned()),
                previous,
                tail_lines: Some(LOG_LINES),
                limit_bytes: Some(64 << 10),
                ..LogParams::default()
            };
            let api = Api::<Pod>::namespaced(cluster.client().clone(), namespace);
            let log = timeout(GATHER, api.logs(name, &params)).await;
            let text = match log {
                Ok(Ok(text)) if text.trim().is_empty() => continue,
                Ok(Ok(text)) => text,
                Ok(Err(error)) => format!("(no log: {})", crate::apply::classify(&error).1),
                Err(_) => "(no log in time)".to_owned(),
            };
            account.logs.push(LogTail { container: container.to_owned(), previous, text });
        }
        // While a dead container waits for its next start, both are the same.
        if let [.., before, last] = account.logs.as_slice()
            && before.text == last.text
            && before.container == last.container
        {
            account.logs.pop();
        }
    }
    account
}

/// The events of a namespace, or of all, oldest first.
pub(crate) async fn events(
    cluster: &Cluster,
    namespace: Option<&str>,
    params: ListParams,
) -> Result<Vec<EventLine>, String> {
    let client = cluster.client().clone();
    let api: Api<Event> = match namespace {
        Some(namespace) => Api::namespaced(client, namespace),
        None => Api::all(client),
    };
    let params = params.limit(2000);
    let list = match timeout(GATHER, api.list(&params)).await {
        Ok(Ok(list)) => list,
        Ok(Err(error)) => return Err(crate::apply::classify(&error).1),
        Err(_) => return Err("the events were not answered in time".to_owned()),
    };
    let mut lines: Vec<_> = list.items.into_iter().map(event_line).collect();
    lines.sort();
    Ok(lines)
}

fn event_line(event: Event) -> EventLine {
    let series = event.series.as_ref();
    let time = series
        .and_then(|series| series.last_observed_time.as_ref().map(|time| time.0))
        .or(event.last_timestamp.map(|time| time.0))
        .or(event.event_time.map(|time| time.0))
        .or(event.first_timestamp.map(|time| time.0));
    let count = series.and_then(|series| series.count).or(event.count).unwrap_or(1);
    let object = event.involved_object;
    EventLine {
        // Events have whole seconds or microseconds: one width for all.
        time: time.map(|time| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()).unwrap_or_default(),
        namespace: event.metadata.namespace.unwrap_or_default(),
        kind: object.kind.unwrap_or_default(),
        about: object.name.unwrap_or_default(),
        reason: event.reason.unwrap_or_default(),
        message: event.message.unwrap_or_default(),
        count: i64::from(count),
        warning: event.type_.as_deref() == Some("Warning"),
    }
}

/// Whether an event is about `id` or about what controllers make of it, which
/// they name after it.
fn is_about(event: &EventLine, id: &ObjectId) -> bool {
    match event.about.strip_prefix(id.name.as_str()) {
        Some("") => event.kind == id.kind || event.kind == "Pod",
        Some(rest) => {
            rest.starts_with('-') && matches!(event.kind.as_str(), "Pod" | "ReplicaSet" | "Job")
        }
        None => false,
    }
}

fn is_ready(pod: &Value) -> bool {
    crate::readiness::readiness("", "Pod", Some(pod), &crate::readiness::Wanted::Ready)
        == Readiness::Ready
}

/// The text below the message of a failure.
fn detail(accounts: &[Account], hidden: usize) -> String {
    let mut lines = Vec::new();
    for account in accounts {
        lines.push(format!("{}: {}", account.object, cut(&account.state)));
        for pod in &account.pods {
            lines.push(format!("  pod {}: {}", pod.name, pod.phase));
            lines.extend(pod.troubles.iter().map(|trouble| format!("    {trouble}")));
            for log in &pod.logs {
                let when = if log.previous { ", before its last start" } else { "" };
                lines.push(format!("    end of the log of {}{when}:", log.container));
                lines.extend(log.text.lines().map(|line| format!("      | {}", cut(line))));
            }
        }
        if account.hidden_pods > 0 {
            lines.push(format!("  and {} more pods that are not ready", account.hidden_pods));
        }
        if !account.events.is_empty() {
            lines.push("  warnings:".to_owned());
        }
        lines.extend(account.events.iter().map(|event| format!("    {}", event.line())));
    }
    if hidden > 0 {
        lines.push(format!("and {hidden} more objects that are not ready"));
    }
    lines.join("\n")
}

impl EventLine {
    /// The event in one line, without its date.
    pub(crate) fn line(&self) -> String {
        let time = self.time.split_once('T').map_or("", |(_, time)| time);
        let times = if self.count > 1 { format!(" ({} times)", self.count) } else { String::new() };
        let message = cut(&self.message);
        format!("{time} {} {}: {}: {message}{times}", self.kind, self.about, self.reason)
    }
}

/// Text of the product in one line of bounded length, nothing in it but what is shown.
fn cut(text: &str) -> String {
    let mut line = String::new();
    for (index, character) in text.trim().chars().enumerate() {
        if index == LINE {
            line.push('…');
            break;
        }
        match character {
            '\n' | '\t' => line.push(' '),
            character if character.is_control() => line.extend(character.escape_unicode()),
            character => line.push(character),
        }
    }
    line
}

#[cfg(test)]
mod tests;
