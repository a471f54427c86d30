//! Names of images, and ports of containers.

use serde_json::{Value as Json, json};

use super::whole;
use crate::Known;
use crate::diagnostic::{Code, Diagnostic, quote};
use crate::read::FromText;

/// A port of a container with its protocol.
pub(crate) struct Port(pub(crate) String);

impl FromText for Port {
    const WHAT: &'static str = "a port such as `8080/tcp`";
    const VERBATIM: bool = true;

    fn from_text(text: &str, _: &Known<'_>) -> Result<Self, Diagnostic> {
        let (port, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        match whole(port) {
            Some(port @ 1..=65535) if matches!(protocol, "tcp" | "udp" | "sctp") => {
                Ok(Self(format!("{port}/{protocol}")))
            }
            _ => Err(Diagnostic::new(Code::BadValue, format!("{} is no port", quote(text)))
                .hint("a number from 1 to 65535, and `/tcp`, `/udp` or `/sctp`")),
        }
    }

    fn schema() -> Json {
        json!({ "type": ["integer", "string"], "pattern": "^[0-9]+(/(tcp|udp|sctp))?$" })
    }
}

/// A repository of images, without tag or digest.
pub(crate) struct Repository(pub(crate) String);

impl FromText for Repository {
    const WHAT: &'static str = "the name of an image without tag or digest";

    fn from_text(text: &str, _: &Known<'_>) -> Result<Self, Diagnostic> {
        let bad = |why: &str| {
            let message = format!("{} is no name of an image: {why}", quote(text));
            Diagnostic::new(Code::BadValue, message)
        };
        if let Some((name, _)) = text.split_once('@') {
            return Err(bad("it has a digest").label(format!("write {}", quote(name))));
        }
        if let Some((name, tag)) = text.rsplit_once(':')
            && !tag.contains('/')
        {
            return Err(bad("it has a tag").label(format!("write {}", quote(name))).hint(
                "every tag and digest of the name is answered with the image that is built here",
            ));
        }
        match is_repository(text) {
            true => Ok(Self(text.to_owned())),
            false => {
                Err(bad("it has characters that none has").hint("`ghcr.io/example/guestbook`"))
            }
        }
    }

    fn schema() -> Json {
        json!({ "type": "string", "pattern": "^[a-z0-9][a-z0-9._/:-]*$", "maxLength": 255 })
    }
}

/// Whether text is a repository as the OCI distribution specification writes
/// it, optionally after a registry's host and port.
pub(crate) fn is_repository(text: &str) -> bool {
    let (host, path) = match text.split_once('/') {
        Some((host, path)) if host.contains(['.', ':']) || host == "localhost" => (host, path),
        _ => ("", text),
    };
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let component = |part: &str| {
        part.bytes().all(|b| inner(b) || matches!(b, b'.' | b'_' | b'-'))
            && part.bytes().next().is_some_and(inner)
            && part.bytes().last().is_some_and(inner)
    };
    let (name, port) = host.split_once(':').unwrap_or((host, "1"));
    let host_is_good = name.is_empty() || component(name);
    text.len() <= 255
        && host_is_good
        && whole(port).is_some_and(|n| (1..=65535).contains(&n))
        && path.split('/').all(component)
}
