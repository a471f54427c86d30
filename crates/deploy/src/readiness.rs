//! Whether an object is ready, from its JSON. Pure.
//!
//! The rules for built-in kinds are those of `kubectl rollout status` and
//! `kubectl wait`, with one difference: a state that belongs to an older
//! generation of the object never counts.

use serde_json::Value;

/// What is waited for in one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// What being ready means for its kind: replicas updated and available, a
    /// Job complete, a claim bound, a definition served, a Service with a ready
    /// endpoint. Any other kind: its condition `Ready`, if it has one.
    Ready,
    /// A condition in `status.conditions`.
    Condition {
        /// Its type, in any case, such as `Available`.
        name: String,
        /// Its status: `True`, `False` or `Unknown`.
        status: String,
    },
}

impl Wanted {
    /// Reads `Available` or `Available=False`, as `kubectl wait` has it.
    #[must_use]
    pub fn condition(text: &str) -> Self {
        let (name, status) = text.split_once('=').unwrap_or((text, "True"));
        Self::Condition { name: name.to_owned(), status: status.to_owned() }
    }
}

/// Whether an object is what is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    /// It is.
    Ready,
    /// It is not yet: what is observed, and what is wanted.
    Pending(String),
    /// It will not be: why.
    Failed(String),
}

/// Whether `object`, or that there is none, is what is wanted. Group and kind
/// are given, because the items of a list do not say them.
#[must_use]
pub fn readiness(group: &str, kind: &str, object: Option<&Value>, wanted: &Wanted) -> Readiness {
    let Some(object) = object else {
        return Readiness::Pending("it does not exist".to_owned());
    };
    let kind_state = match (group, kind) {
        ("apps", "Deployment") => deployment(object),
        ("apps", "StatefulSet") => stateful_set(object),
        ("apps", "DaemonSet") => daemon_set(object),
        ("apps", "ReplicaSet") | ("", "ReplicationController") => replica_set(object),
        ("batch", "Job") => job(object),
        ("", "Pod") => pod(object),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => definition(object),
        ("apiregistration.k8s.io", "APIService") => condition(object, "Available", "True"),
        ("", "PersistentVolumeClaim") => match text(object, "/status/phase") {
            "Bound" => Readiness::Ready,
            "Lost" => Readiness::Failed("its volume is lost".to_owned()),
            _ => Readiness::Pending("it is not bound to a volume".to_owned()),
        },
        ("", "Namespace") => match text(object, "/status/phase") {
            "Active" => Readiness::Ready,
            phase => Readiness::Pending(format!("its phase is {}", shown(phase))),
        },
        _ if find(object, "Ready").is_some() => condition(object, "Ready", "True"),
        _ => Readiness::Ready,
    };
    match wanted {
        Wanted::Ready => kind_state,
        Wanted::Condition { name, status } => match condition(object, name, status) {
            // What has failed for good does not become anything else, unless
            // that is just what is wanted.
            Readiness::Pending(_) if matches!(kind_state, Readiness::Failed(_)) => kind_state,
            state => state,
        },
    }
}

/// Whether one of the EndpointSlices of a Service has a ready endpoint.
pub(crate) fn service<'a>(slices: impl IntoIterator<Item = &'a Value>) -> Readiness {
    let mut known = 0;
    for slice in slices {
        for endpoint in list(slice, "/endpoints") {
            // Absent means ready (discovery.k8s.io/v1, EndpointConditions).
            if endpoint.pointer("/conditions/ready").and_then(Value::as_bool).unwrap_or(true) {
                return Readiness::Ready;
            }
            known += 1;
        }
    }
    Readiness::Pending(match known {
        0 => "it has no endpoint".to_owned(),
        1 => "its only endpoint is not ready".to_owned(),
        count => format!("none of its {count} endpoints is ready"),
    })
}

fn deployment(object: &Value) -> Readiness {
    if let Some(state) = outdated(object) {
        return state;
    }
    if let Some(progress) = find(object, "Progressing")
        && text(progress, "/reason") == "ProgressDeadlineExceeded"
    {
        let message = text(progress, "/message");
        return Readiness::Failed(format!("it made no progress in time: {message}"));
    }
    let wanted = number(object, "/spec/replicas", 1);
    let updated = number(object, "/status/updatedReplicas", 0);
    let total = number(object, "/status/replicas", 0);
    let available = number(object, "/status/availableReplicas", 0);
    if updated < wanted {
        Readiness::Pending(format!("{updated} of {wanted} replicas are updated"))
    } else if total > updated {
        Readiness::Pending(format!("{} old replicas are still there", total - updated))
    } else if available < wanted {
        Readiness::Pending(format!("{available} of {wanted} replicas are available"))
    } else {
        Readiness::Ready
    }
}

fn stateful_set(object: &Value) -> Readiness {
    if let Some(state) = outdated(object) {
        return state;
    }
    let wanted = number(object, "/spec/replicas", 1);
    let partition = number(object, "/spec/updateStrategy/rollingUpdate/partition", 0);
    let updated = number(object, "/status/updatedReplicas", 0);
    let ready = number(object, "/status/readyReplicas", 0);
    if text(object, "/spec/updateStrategy/type") != "OnDelete" && updated < wanted - partition {
        let due = wanted - partition;
        Readiness::Pending(format!("{updated} of {due} replicas are updated"))
    } else if ready < wanted {
        Readiness::Pending(format!("{ready} of {wanted} replicas are ready"))
    } else {
        Readiness::Ready
    }
}

fn daemon_set(object: &Value) -> Readiness {
    if let Some(state) = outdated(object) {
        return state;
    }
    let wanted = number(object, "/status/desiredNumberScheduled", 0);
    let updated = number(object, "/status/updatedNumberScheduled", 0);
    let available = number(object, "/status/numberAvailable", 0);
    if text(object, "/spec/updateStrategy/type") != "OnDelete" && updated < wanted {
        Readiness::Pending(format!("{updated} of {wanted} pods are updated"))
    } else if available < wanted {
        Readiness::Pending(format!("{available} of {wanted} pods are available"))
    } else {
        Readiness::Ready
    }
}

fn replica_set(object: &Value) -> Readiness {
    if let Some(state) = outdated(object) {
        return state;
    }
    let wanted = number(object, "/spec/replicas", 1);
    let available = number(object, "/status/availableReplicas", 0);
    if available < wanted {
        return Readiness::Pending(format!("{available} of {wanted} replicas are available"));
    }
    Readiness::Ready
}

fn job(object: &Value) -> Readiness {
    let failed = ["Failed", "FailureTarget"];
    for condition in failed.iter().filter_map(|name| find(object, name)) {
        if text(condition, "/status") == "True" {
            return Readiness::Failed(format!("it failed: {}", said(condition)));
        }
    }
    if condition(object, "Complete", "True") == Readiness::Ready {
        return Readiness::Ready;
    }
    let wanted = number(object, "/spec/completions", 1);
    let succeeded = number(object, "/status/succeeded", 0);
    let failed = number(object, "/status/failed", 0);
    Readiness::Pending(match failed {
        0 => format!("{succeeded} of {wanted} completions"),
        _ => format!("{succeeded} of {wanted} completions, {failed} pods failed"),
    })
}

fn pod(object: &Value) -> Readiness {
    match text(object, "/status/phase") {
        "Succeeded" => Readiness::Ready,
        "Failed" => {
            let why = said(object.pointer("/status").unwrap_or(&Value::Null));
            Readiness::Failed(if why.is_empty() {
                "its containers failed".to_owned()
            } else {
                format!("it failed: {why}")
            })
        }
        phase => match condition(object, "Ready", "True") {
            Readiness::Pending(reason) => {
                Readiness::Pending(format!("its phase is {}: {reason}", shown(phase)))
            }
            state => state,
        },
    }
}

fn definition(object: &Value) -> Readiness {
    if let Some(names) = find(object, "NamesAccepted")
        && text(names, "/status") == "False"
        // Another definition may have the name while it is being removed.
        && text(names, "/reason") != "Terminating"
    {
        return Readiness::Failed(format!("its names are not accepted: {}", said(names)));
    }
    condition(object, "Established", "True")
}

/// Whether the condition `name` of `object` has `status`.
fn condition(object: &Value, name: &str, status: &str) -> Readiness {
    let Some(condition) = find(object, name) else {
        return Readiness::Pending(format!("it has no condition {name} yet"));
    };
    let generation = number(object, "/metadata/generation", 0);
    let observed = number(condition, "/observedGeneration", generation);
    let is = text(condition, "/status");
    if !is.eq_ignore_ascii_case(status) {
        let said = said(condition);
        let colon = if said.is_empty() { "" } else { ": " };
        Readiness::Pending(format!("condition {name} is {}{colon}{said}", shown(is)))
    } else if observed < generation {
        Readiness::Pending(format!("condition {name} is of an older generation"))
    } else {
        Readiness::Ready
    }
}

/// That a controller has not looked at the newest generation yet.
fn outdated(object: &Value) -> Option<Readiness> {
    let generation = number(object, "/metadata/generation", 0);
    let observed = number(object, "/status/observedGeneration", 0);
    (observed < generation)
        .then(|| Readiness::Pending("no controller has looked at it yet".to_owned()))
}

/// The condition `name`, in any case, as `kubectl wait` compares it.
pub(crate) fn find<'a>(object: &'a Value, name: &str) -> Option<&'a Value> {
    list(object, "/status/conditions")
        .iter()
        .find(|condition| text(condition, "/type").eq_ignore_ascii_case(name))
}

/// Reason and message of a condition or status.
pub(crate) fn said(condition: &Value) -> String {
    let parts = [text(condition, "/reason"), text(condition, "/message")];
    let parts: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    parts.join(": ")
}

/// The text at `pointer`, empty when there is none.
pub(crate) fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The list at `pointer`, empty when there is none.
pub(crate) fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The number at `pointer`.
pub(crate) fn number(value: &Value, pointer: &str, default: i64) -> i64 {
    value.pointer(pointer).and_then(Value::as_i64).unwrap_or(default)
}

fn shown(word: &str) -> &str {
    if word.is_empty() { "unknown" } else { word }
}

#[cfg(test)]
mod tests;
