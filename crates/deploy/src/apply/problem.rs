//! What the API's answer to an apply means: try again, or not. Pure.

use std::fmt;

use kube::core::Status;
use seatrial_core::failure::{Failure, Fault};

use crate::manifest::{ObjectId, Origin};

/// Why one object could not be applied.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem {
    /// The object, with the namespace it would be in.
    pub id: ObjectId,
    /// Where it is written.
    pub origin: Origin,
    /// What was in the way.
    pub cause: Cause,
    /// What the API server or the connection said.
    pub message: String,
}

/// What was in the way of an apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// The API server refuses the object as it is written.
    Invalid,
    /// An admission webhook or policy refuses it.
    Denied,
    /// Nothing in the cluster serves this kind.
    UnknownKind,
    /// Its namespace does not exist.
    NoNamespace,
    /// A definition was accepted and is not served.
    NotEstablished,
    /// An admission webhook does not answer.
    Webhook,
    /// Something that makes it possible is not there yet: the service account
    /// of a pod, the end of a namespace of the same name, another writer.
    NotYet,
    /// The API server says that something went wrong in it.
    Internal,
    /// The API server does not answer, or not as one.
    Unavailable,
}

impl Cause {
    /// Whether the same request can succeed later without anybody changing it.
    pub(crate) fn may_pass(self) -> bool {
        match self {
            // A definition was waited for until the deadline already.
            Self::Invalid | Self::Denied | Self::NotEstablished => false,
            Self::UnknownKind
            | Self::NoNamespace
            | Self::Webhook
            | Self::NotYet
            | Self::Internal
            | Self::Unavailable => true,
        }
    }

    /// The stable code of a failure with this cause.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Invalid => "deploy.invalid",
            Self::Denied => "deploy.denied",
            Self::UnknownKind => "deploy.unknown_kind",
            Self::NoNamespace => "deploy.no_namespace",
            Self::NotEstablished => "deploy.not_established",
            Self::Webhook => "deploy.webhook",
            Self::NotYet => "deploy.not_yet",
            Self::Internal => "deploy.api_error",
            Self::Unavailable => "deploy.api_unavailable",
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.origin, self.id, self.message)
    }
}

/// What an answer of the API server to a write means.
pub(crate) fn classify(error: &kube::Error) -> (Cause, String) {
    match error {
        kube::Error::Api(status) => (classify_status(status), one_line(&status.message)),
        other => (Cause::Unavailable, Failure::chain(&Chained(other))),
    }
}

fn classify_status(status: &Status) -> Cause {
    let message = status.message.as_str();
    // Such an answer has the code of the webhook's choice, so it is known by its words
    // (apiserver, pkg/admission/plugin/webhook/errors/statuserror.go).
    if message.contains("admission webhook") && message.contains("denied the request") {
        return Cause::Denied;
    }
    if message.contains("failed calling webhook") {
        return Cause::Webhook;
    }
    // A pod in a namespace that is so new that it has no account yet.
    if message.contains("error looking up service account") {
        return Cause::NotYet;
    }
    // The code of these is 500 although the object is at fault: an unknown or
    // repeated field, a value of another type (apimachinery, pkg/util/managedfields).
    let untyped = ["failed to create typed patch object", "failed to convert new object"];
    if untyped.iter().any(|words| message.contains(words)) {
        return Cause::Invalid;
    }
    let kind = status.details.as_ref().map_or("", |details| details.kind.as_str());
    match status.code {
        404 if kind == "namespaces" => Cause::NoNamespace,
        404 => Cause::UnknownKind,
        // An older namespace of this name is still being removed, or somebody
        // else wrote between the server's read and write.
        403 if message.contains("because it is being terminated") => Cause::NotYet,
        409 => Cause::NotYet,
        403 => Cause::Denied,
        500 => Cause::Internal,
        401 | 429 | 501.. => Cause::Unavailable,
        _ => Cause::Invalid,
    }
}

/// The API server puts each cause of an invalid object on a line of its own.
fn one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// `kube::Error` has the message of its source in its own: only the innermost
/// is shown, or each would be there twice.
#[derive(Debug)]
struct Chained<'a>(&'a kube::Error);

impl fmt::Display for Chained<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the API server does not answer")?;
        let mut innermost: &dyn std::error::Error = self.0;
        while let Some(source) = innermost.source() {
            innermost = source;
        }
        write!(f, ": {innermost}")
    }
}

impl std::error::Error for Chained<'_> {}

/// Why objects could not be applied: every problem of the last pass over them.
#[derive(Debug)]
pub struct ApplyError {
    /// The problems, those that no retry mends first.
    pub problems: Vec<Problem>,
    /// How long it was tried, in seconds.
    pub seconds: u64,
}

impl ApplyError {
    /// The error with the problems in the order in which they matter.
    pub(crate) fn new(mut problems: Vec<Problem>, seconds: u64) -> Self {
        problems.sort_by(|a, b| {
            (a.cause.may_pass(), a.cause, &a.origin).cmp(&(b.cause.may_pass(), b.cause, &b.origin))
        });
        Self { problems, seconds }
    }
}

impl fmt::Display for ApplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.problems.as_slice() {
            [] => write!(f, "nothing could be applied"),
            [problem] => write!(f, "{problem}"),
            problems => {
                write!(f, "{} objects could not be applied", problems.len())?;
                for problem in problems {
                    write!(f, "\n{problem}")?;
                }
                Ok(())
            }
        }
    }
}

impl std::error::Error for ApplyError {}

impl From<ApplyError> for Failure {
    fn from(error: ApplyError) -> Self {
        let cause = error.problems.first().map_or(Cause::Unavailable, |problem| problem.cause);
        let fault = match cause {
            Cause::Internal | Cause::Unavailable => Fault::Environment,
            _ => Fault::Product,
        };
        let failure = match fault {
            Fault::Environment => Self::environment(cause.code(), error.to_string()),
            _ => Self::product(cause.code(), error.to_string()),
        };
        let failure = if cause.may_pass() {
            failure.detail(format!("tried for {} s", error.seconds))
        } else {
            failure
        };
        match cause {
            Cause::UnknownKind => failure.hint(
                "apply the CustomResourceDefinition in the same or an earlier install step, \
                 or mend `apiVersion` and `kind`",
            ),
            Cause::NoNamespace => {
                failure.hint("apply the Namespace in the same or an earlier install step")
            }
            Cause::Webhook => failure.hint(
                "the pods that answer the webhook are not ready: look at their logs, and at \
                 `failurePolicy` of the webhook configuration",
            ),
            _ => failure,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(code: u16, message: &str, kind: &str) -> kube::Error {
        let text = serde_json::json!({
            "status": "Failure", "code": code, "message": message, "reason": "R",
            "details": { "kind": kind },
        });
        let status: Status = serde_json::from_value(text).expect("it is a status");
        kube::Error::Api(Box::new(status))
    }

    #[test]
    fn what_may_pass_is_told_from_what_does_not() {
        let table = [
            (404, r#"namespaces "shop" not found"#, "namespaces", Cause::NoNamespace),
            (404, "the server could not find the requested resource", "", Cause::UnknownKind),
            (404, "404 page not found", "", Cause::UnknownKind),
            (
                500,
                r#"Internal error occurred: failed calling webhook "v.example.com": failed to call webhook: Post "https://hook.shop.svc:443/check?timeout=10s": dial tcp 10.96.7.7:443: connect: connection refused"#,
                "",
                Cause::Webhook,
            ),
            (400, r#"admission webhook "v.example.com" denied the request: no"#, "", Cause::Denied),
            (500, r#"admission webhook "v.example.com" denied the request: no"#, "", Cause::Denied),
            (
                403,
                r#"pods "a" is forbidden: error looking up service account shop/default: serviceaccount "default" not found"#,
                "pods",
                Cause::NotYet,
            ),
            (
                403,
                r#"deployments.apps "a" is forbidden: unable to create new content in namespace shop because it is being terminated"#,
                "deployments",
                Cause::NotYet,
            ),
            (
                403,
                r#"pods "a" is forbidden: violates PodSecurity "restricted:latest": privileged"#,
                "pods",
                Cause::Denied,
            ),
            (409, "the object has been modified", "", Cause::NotYet),
            (422, r#"Service "a" is invalid: spec.ports: Required value"#, "", Cause::Invalid),
            (400, r#".spec.replicsa: field not declared in schema"#, "", Cause::Invalid),
            (
                500,
                "failed to create typed patch object (shop/a; apps/v1, Kind=Deployment): \
                 .spec.replicsa: field not declared in schema",
                "",
                Cause::Invalid,
            ),
            (500, "Internal error occurred: etcdserver: leader changed", "", Cause::Internal),
            (413, "request entity too large", "", Cause::Invalid),
            (429, "too many requests", "", Cause::Unavailable),
            (503, "apiserver is shutting down", "", Cause::Unavailable),
            (401, "Unauthorized", "", Cause::Unavailable),
        ];
        for (code, message, kind, cause) in table {
            assert_eq!(classify(&status(code, message, kind)).0, cause, "{message}");
        }
    }

    #[test]
    fn a_connection_that_fails_is_said_once() {
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        let error = kube::Error::Service(Box::new(refused));
        let (cause, message) = classify(&error);
        assert_eq!(cause, Cause::Unavailable);
        assert_eq!(message, "the API server does not answer: connection refused");
    }

    #[test]
    fn the_failure_names_every_object_and_begins_with_what_no_retry_mends() {
        let problem = |kind: &str, line, cause, message: &str| Problem {
            id: ObjectId {
                api_version: "v1".to_owned(),
                kind: kind.to_owned(),
                namespace: Some("shop".to_owned()),
                name: "a".to_owned(),
            },
            origin: Origin { file: "deploy/shop.yaml".to_owned(), line },
            cause,
            message: message.to_owned(),
        };
        let error = ApplyError::new(
            vec![
                problem("Widget", 30, Cause::UnknownKind, "nothing serves kind Widget"),
                problem("Service", 9, Cause::Invalid, "spec.ports: Required value"),
            ],
            12,
        );
        let failure = Failure::from(error);
        assert_eq!((failure.code.as_str(), failure.fault), ("deploy.invalid", Fault::Product));
        insta::assert_snapshot!(failure.message, @r"
        2 objects could not be applied
        deploy/shop.yaml:9: Service shop/a: spec.ports: Required value
        deploy/shop.yaml:30: Widget shop/a: nothing serves kind Widget
        ");
    }
}
