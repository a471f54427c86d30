//! What is wrong with a pod, and whether it can mend itself. Pure.
//!
//! Most of what is wrong with a pod while an environment starts is wrong for a
//! moment only. These are the rules for when it is for good:
//!
//! - A name that is no image reference, or an image that may not be pulled and
//!   is not there, or that the registry does not have: at once. The registry of
//!   an environment is there before it, and waits for what is being built.
//! - Any other failed pull: at the third, some 40 s after the first.
//! - A container that keeps dying: when it waits for its next start after
//!   [`RESTARTS`] restarts, some 30 s after the first. Programs that die until
//!   their database answers are common.
//! - A container that cannot be made (a Secret that does not exist, a program
//!   that is not in the image), a pod that fits on no node or that may not be
//!   made: when it has been so for [`STANDING`].

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use crate::readiness::{find, list, number, said, text};

/// Restarts after which a container that waits for another one is given up.
pub(crate) const RESTARTS: i64 = 3;
/// How long a state that somebody else could mend may stand.
pub(crate) const STANDING: Duration = Duration::from_secs(20);
/// Failed pulls after which an image is given up that may be there.
const PULLS: u32 = 3;

/// What is wrong with one pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trouble {
    /// The container, if it is one of them.
    pub(crate) container: Option<String>,
    /// What kind of thing is wrong.
    pub(crate) kind: TroubleKind,
    /// What the cluster says: reason and message.
    pub(crate) said: String,
}

/// What kind of thing is wrong with a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum TroubleKind {
    /// Its image name is no image name, or the image must not be pulled and is not there.
    ImageName,
    /// The registry does not have its image.
    ImageNotFound,
    /// Its image cannot be pulled for another reason.
    ImagePull,
    /// A container of it ends again and again.
    Crash,
    /// A container of it cannot be made or started.
    Container,
    /// No node can take it.
    Unschedulable,
    /// It is refused: a quota, a policy or a hook stands against it.
    Refused,
}

impl TroubleKind {
    /// The stable code of a failure of this kind.
    #[must_use]
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::ImageName => "deploy.image_name",
            Self::ImageNotFound => "deploy.image_not_found",
            Self::ImagePull => "deploy.image_pull",
            Self::Crash => "deploy.crash_loop",
            Self::Container => "deploy.container",
            Self::Unschedulable => "deploy.unschedulable",
            Self::Refused => "deploy.pods_refused",
        }
    }
}

/// When a trouble is for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Patience {
    /// It is now.
    Over,
    /// When it has been so for this long.
    Standing(Duration),
    /// Not by itself: the deadline ends it.
    Unlimited,
}

/// How often pulling the image of each container of a pod was seen to fail.
pub(crate) type Pulls = BTreeMap<String, u32>;

/// Counts the failed pulls when a pod goes from `before` to `after`: kubelet
/// says `ErrImagePull` once after each of them and `ImagePullBackOff` between.
pub(crate) fn count_pulls(before: Option<&Value>, after: &Value, pulls: &mut Pulls) {
    let failing = |pod: &Value, name: &str| {
        containers(pod).any(|status| {
            text(status, "/name") == name && text(status, "/state/waiting/reason") == "ErrImagePull"
        })
    };
    for status in containers(after) {
        let name = text(status, "/name");
        let was = before.is_some_and(|pod| failing(pod, name));
        let count = pulls.entry(name.to_owned()).or_default();
        match text(status, "/state/waiting/reason") {
            "ErrImagePull" if !was => *count += 1,
            // The moment itself may not have been seen.
            "ImagePullBackOff" => *count = (*count).max(1),
            _ => {}
        }
    }
}

/// What is wrong with `pod`, worst first.
pub(crate) fn troubles(pod: &Value) -> Vec<Trouble> {
    let mut troubles: Vec<_> = containers(pod).filter_map(container_trouble).collect();
    if let Some(scheduled) = find(pod, "PodScheduled")
        && text(scheduled, "/reason") == "Unschedulable"
    {
        let said = text(scheduled, "/message").to_owned();
        troubles.push(Trouble { container: None, kind: TroubleKind::Unschedulable, said });
    }
    troubles.sort_by_key(|trouble| trouble.kind);
    troubles
}

/// When `trouble` of `pod` is for good.
pub(crate) fn patience(trouble: &Trouble, pod: &Value, pulls: &Pulls) -> Patience {
    let container = trouble.container.as_deref().unwrap_or_default();
    let failed = pulls.get(container).copied().unwrap_or_default();
    let over = match trouble.kind {
        TroubleKind::ImageName | TroubleKind::ImageNotFound => true,
        TroubleKind::ImagePull => failed >= PULLS,
        TroubleKind::Crash => containers(pod).any(|status| {
            text(status, "/name") == container
                && text(status, "/state/waiting/reason") == "CrashLoopBackOff"
                && number(status, "/restartCount", 0) >= RESTARTS
        }),
        TroubleKind::Container | TroubleKind::Unschedulable | TroubleKind::Refused => {
            return Patience::Standing(STANDING);
        }
    };
    if over { Patience::Over } else { Patience::Unlimited }
}

/// The statuses of all containers of a pod, in the order in which they start.
pub(crate) fn containers(pod: &Value) -> impl Iterator<Item = &Value> {
    ["/status/initContainerStatuses", "/status/containerStatuses"]
        .into_iter()
        .flat_map(|pointer| list(pod, pointer))
}

fn container_trouble(status: &Value) -> Option<Trouble> {
    let waiting = status.pointer("/state/waiting").unwrap_or(&Value::Null);
    let message = text(waiting, "/message");
    let kind = match text(waiting, "/reason") {
        "InvalidImageName" | "ErrImageNeverPull" => TroubleKind::ImageName,
        "ErrImagePull" | "ImagePullBackOff" if is_not_found(message) => TroubleKind::ImageNotFound,
        "ErrImagePull" | "ImagePullBackOff" | "ImageInspectError" | "RegistryUnavailable" => {
            TroubleKind::ImagePull
        }
        // It waits because it never started: no program, no right to run it.
        "CrashLoopBackOff" if never_started(status.pointer("/lastState/terminated")) => {
            TroubleKind::Container
        }
        "CrashLoopBackOff" => TroubleKind::Crash,
        "CreateContainerConfigError"
        | "CreateContainerError"
        | "RunContainerError"
        | "PreCreateHookError"
        | "PostStartHookError" => TroubleKind::Container,
        // Dead and not waiting: between two starts, or for good.
        _ => {
            let ended = status.pointer("/state/terminated")?;
            if number(ended, "/exitCode", 0) == 0 {
                return None;
            }
            let kind = match never_started(Some(ended)) {
                true => TroubleKind::Container,
                false => TroubleKind::Crash,
            };
            let container = Some(text(status, "/name").to_owned());
            return Some(Trouble { container, kind, said: ending(ended) });
        }
    };
    let said = match status.pointer("/lastState/terminated") {
        Some(ended) if kind == TroubleKind::Crash => {
            let restarts = number(status, "/restartCount", 0);
            let times = if restarts == 1 { "once" } else { &format!("{restarts} times") };
            format!("restarted {times}, {}", ending(ended))
        }
        Some(ended) if never_started(Some(ended)) => said(ended),
        _ => said(waiting),
    };
    Some(Trouble { container: Some(text(status, "/name").to_owned()), kind, said })
}

/// Whether a container ended without having started, as containerd (`StartError`)
/// and kubelet (`ContainerCannotRun`) call it.
fn never_started(terminated: Option<&Value>) -> bool {
    let reason = terminated.map_or("", |terminated| text(terminated, "/reason"));
    matches!(reason, "StartError" | "ContainerCannotRun")
}

/// How a container ended: `exit code 1 (Error)`, `killed by signal 9 (OOMKilled)`.
pub(crate) fn ending(terminated: &Value) -> String {
    let code = number(terminated, "/exitCode", 0);
    let reason = text(terminated, "/reason");
    let message = text(terminated, "/message").trim();
    let colon = if message.is_empty() { "" } else { ": " };
    // A shell's convention, which container runtimes follow.
    if code > 128 && code <= 128 + 64 {
        return format!("killed by signal {} ({reason}){colon}{message}", code - 128);
    }
    format!("exit code {code} ({reason}){colon}{message}")
}

/// Whether a failed pull means that the registry has no such image. The words
/// are those of containerd (`failed to resolve ...: not found`; what it does not
/// find later is not the image) and of the OCI distribution specification's
/// error codes.
fn is_not_found(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    message.contains("resolve") && message.contains("not found")
        || ["manifest unknown", "manifest_unknown", "name_unknown"]
            .iter()
            .any(|words| message.contains(words))
}

/// Whether `selector` (a `LabelSelector`) fits the labels of `pod`. An empty
/// one fits nothing here: it would make every pod a pod of the object.
pub(crate) fn selects(selector: &Value, pod: &Value) -> bool {
    let label = |key: &str| {
        let labels = pod.pointer("/metadata/labels").and_then(Value::as_object);
        labels.and_then(|labels| labels.get(key)).and_then(Value::as_str)
    };
    let equal = selector.pointer("/matchLabels").and_then(Value::as_object);
    let expressions = list(selector, "/matchExpressions");
    if equal.is_none_or(serde_json::Map::is_empty) && expressions.is_empty() {
        return false;
    }
    let equal_fit =
        equal.is_none_or(|equal| equal.iter().all(|(key, value)| label(key) == value.as_str()));
    equal_fit
        && expressions.iter().all(|expression| {
            let value = label(text(expression, "/key"));
            let among = || {
                let values = list(expression, "/values");
                value.is_some_and(|value| values.iter().any(|v| v.as_str() == Some(value)))
            };
            match text(expression, "/operator") {
                "In" => among(),
                "NotIn" => !among(),
                "Exists" => value.is_some(),
                "DoesNotExist" => value.is_none(),
                _ => false,
            }
        })
}

/// Whether `pod` was made from an older `template` (a `PodTemplateSpec`): one
/// of its containers has another image now. Such a pod is about to go, and
/// what is wrong with it is no longer wrong with the product.
pub(crate) fn is_outdated(pod: &Value, template: &Value) -> bool {
    list(template, "/spec/containers").iter().any(|wanted| {
        list(pod, "/spec/containers").iter().any(|is| {
            text(is, "/name") == text(wanted, "/name")
                && text(is, "/image") != text(wanted, "/image")
        })
    })
}

#[cfg(test)]
mod tests;
