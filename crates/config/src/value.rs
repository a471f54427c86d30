//! Single values of the file: text in a certain form, each with its check.
//!
//! Everything here is judged by itself; what a name refers to is the business
//! of the check pass.

mod command;
mod path;
mod pattern;
mod variable;

use std::time::Duration;

use seatrial_core::name::Name;
use seatrial_core::pipeline::{Adapter, Egress, Isolation};
use seatrial_core::quantity::{ParseQuantityError, parse_duration, parse_size};
use serde_json::{Value as Json, json};

use crate::Known;
use crate::diagnostic::{Code, Diagnostic, listed, nearest, quote};
use crate::read::FromText;

pub(crate) use command::Run;
pub(crate) use path::{Absolute, Relative};
pub(crate) use pattern::{Collect, Glob, Pattern};
pub(crate) use variable::{ContainerVariable, Variable};

impl FromText for String {
    const WHAT: &'static str = "text";

    fn from_text(text: &str, _: &Known<'_>) -> Result<Self, Diagnostic> {
        Ok(text.to_owned())
    }

    fn schema() -> Json {
        json!({ "type": "string" })
    }
}

impl FromText for Name {
    const WHAT: &'static str = "a name";
    const VERBATIM: bool = true;

    fn from_text(text: &str, _: &Known<'_>) -> Result<Self, Diagnostic> {
        text.parse().map_err(|error| {
            let bad =
                Diagnostic::new(Code::BadName, format!("{} is no name: {error}", quote(text)));
            let folded = text.to_ascii_lowercase().replace(['_', '.', ' '], "-");
            match folded.parse::<Self>() {
                Ok(name) => bad.label(format!("`{name}` would be one")),
                Err(_) => bad.hint("`e2e-tests` is a name"),
            }
        })
    }

    fn schema() -> Json {
        // A number without quotes is taken as it is written.
        json!({
            "type": ["string", "integer"],
            "pattern": "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$",
        })
    }
}

impl FromText for Duration {
    const WHAT: &'static str = "a duration such as `90s` or `1h30m`";
    const VERBATIM: bool = true;

    fn from_text(text: &str, _: &Known<'_>) -> Result<Self, Diagnostic> {
        parse_duration(text).map_err(|error| {
            let bad = quantity("duration", text, &error);
            match error {
                ParseQuantityError::Unit => bad.label(format!("`{text}s` are seconds")),
                ParseQuantityError::TooLarge => bad.hint("the longest duration is 30 days: `720h`"),
                _ => {
                    bad.hint("whole numbers with the units `ms`, `s`, `m` and `h`: `90s`, `1h30m`")
                }
            }
        })
    }

    fn schema() -> Json {
        json!({ "type": "string", "pattern": "^([0-9]+(ms|s|m|h))+$" })
    }
}

/// Bytes of memory.
pub(crate) struct Memory(pub(crate) u64);

impl FromText for Memory {
    const WHAT: &'static str = "a size such as `512Mi` or `2Gi`";
    const VERBATIM: bool = true;

    fn from_text(text: &str, _: &Known<'_>) -> Result<Self, Diagnostic> {
        parse_size(text).map(Self).map_err(|error| {
            let bad = quantity("size", text, &error);
            match error {
                ParseQuantityError::UnknownUnit(unit) if unit == "m" => {
                    bad.hint("`m` would be thousandths of a byte; mebibytes are `Mi`")
                }
                _ => bad.hint("a whole number with the unit `Ki`, `Mi`, `Gi` or `Ti`: `512Mi`"),
            }
        })
    }

    fn schema() -> Json {
        json!({ "type": "string", "pattern": "^[0-9]+(Ki|Mi|Gi|Ti)$" })
    }
}

/// Thousandths of a core.
pub(crate) struct Cpu(pub(crate) u64);

impl FromText for Cpu {
    const WHAT: &'static str = "a number of cores such as `2`, `0.5` or `500m`";
    const VERBATIM: bool = true;

    fn from_text(text: &str, _: &Known<'_>) -> Result<Self, Diagnostic> {
        const MOST: u64 = 1024;
        let bad = |why: &str| {
            Diagnostic::new(
                Code::BadQuantity,
                format!("{} is no number of cores: {why}", quote(text)),
            )
            .hint("cores with at most three decimals, or thousandths: `2`, `0.5`, `500m`")
        };
        let millis = match text.strip_suffix('m') {
            Some(digits) => whole(digits),
            None => {
                let (cores, decimals) = text.split_once('.').unwrap_or((text, "0"));
                let short = (1..=3).contains(&decimals.len());
                let thousandths = short.then(|| whole(&format!("{decimals:0<3}"))).flatten();
                let cores = whole(cores).and_then(|cores| cores.checked_mul(1000));
                cores.zip(thousandths).and_then(|(c, t)| c.checked_add(t))
            }
        };
        match millis {
            None => Err(bad("it does not read as one")),
            Some(0) => Err(bad("zero is not allowed")),
            Some(n) if n > MOST * 1000 => Err(bad("this is more than 1024 cores")),
            Some(n) => Ok(Self(n)),
        }
    }

    fn schema() -> Json {
        json!({
            "oneOf": [
                { "type": "number", "exclusiveMinimum": 0, "maximum": 1024 },
                { "type": "string", "pattern": "^[0-9]+(m|(\\.[0-9]{1,3})?)$" },
            ],
        })
    }
}

/// A whole number from `MIN` to `MAX`.
pub(crate) struct Number<const MIN: u32, const MAX: u32>(pub(crate) u32);

impl<const MIN: u32, const MAX: u32> FromText for Number<MIN, MAX> {
    const WHAT: &'static str = "a whole number";
    const VERBATIM: bool = true;

    fn from_text(text: &str, _: &Known<'_>) -> Result<Self, Diagnostic> {
        match whole(text).and_then(|n| u32::try_from(n).ok()) {
            Some(n) if (MIN..=MAX).contains(&n) => Ok(Self(n)),
            _ => {
                let message = format!("{} is no whole number from {MIN} to {MAX}", quote(text));
                Err(Diagnostic::new(Code::BadQuantity, message))
            }
        }
    }

    fn schema() -> Json {
        json!({ "type": "integer", "minimum": MIN, "maximum": MAX })
    }
}

/// Permission bits of a file, in octal.
pub(crate) struct Mode(pub(crate) u32);

impl FromText for Mode {
    const WHAT: &'static str = "permission bits in octal, in quotes, such as \"0755\"";

    fn from_text(text: &str, _: &Known<'_>) -> Result<Self, Diagnostic> {
        let octal = (3..=4).contains(&text.len()) && text.bytes().all(|b| matches!(b, b'0'..=b'7'));
        match u32::from_str_radix(text, 8) {
            Ok(mode) if octal => Ok(Self(mode)),
            _ => {
                let message = format!("{} are no permission bits", quote(text));
                Err(Diagnostic::new(Code::BadValue, message)
                    .hint("three or four octal digits in quotes: \"0755\""))
            }
        }
    }

    fn schema() -> Json {
        json!({ "type": "string", "pattern": "^[0-7]{3,4}$" })
    }
}

/// A minor version of Kubernetes that the caller knows.
pub(crate) struct Kubernetes(pub(crate) String);

impl FromText for Kubernetes {
    const WHAT: &'static str = "a version in quotes, such as \"1.37\"";

    fn from_text(text: &str, known: &Known<'_>) -> Result<Self, Diagnostic> {
        let minor = |v: &str| v.split('.').take(2).collect::<Vec<_>>().join(".");
        if known.kubernetes.contains(&text) {
            return Ok(Self(text.to_owned()));
        }
        let message = format!("Kubernetes {} is not known here", quote(text));
        let unknown = Diagnostic::new(Code::UnknownVersion, message)
            .hint(format!("the versions are {}", listed(known.kubernetes.iter().copied())));
        let plain = minor(text.trim_start_matches('v'));
        Err(match known.kubernetes.contains(&plain.as_str()) {
            true => unknown
                .label(format!("write \"{plain}\""))
                .hint("a minor version; the exact patch is kept in seatrial.lock"),
            false => unknown.nearest(nearest(text, known.kubernetes.iter().copied())),
        })
    }

    fn schema() -> Json {
        json!({ "type": "string", "pattern": "^[0-9]+\\.[0-9]+$" })
    }
}

impl FromText for Egress {
    const WHAT: &'static str = "a host and port such as `proxy.example:443`";

    fn from_text(text: &str, _: &Known<'_>) -> Result<Self, Diagnostic> {
        let label = |label: &str| label.parse::<Name>().is_ok();
        let parsed = text.rsplit_once(':').and_then(|(host, port)| {
            let port = whole(port).and_then(|n| u16::try_from(n).ok()).filter(|n| *n > 0)?;
            let good = host.len() <= 253 && host.split('.').all(label);
            good.then(|| Self { host: host.to_owned(), port })
        });
        parsed.ok_or_else(|| {
            let message = format!("{} is no host and port", quote(text));
            let bad = Diagnostic::new(Code::BadValue, message);
            match text {
                _ if text.contains("://") => bad.hint("leave the scheme out: `host:443`"),
                _ if text.contains('*') => bad.hint("name each host; there are no patterns here"),
                _ => bad.hint("a lowercase host name and a port: `proxy.example:443`"),
            }
        })
    }

    fn schema() -> Json {
        json!({ "type": "string", "pattern": "^[a-z0-9]([a-z0-9.-]*[a-z0-9])?:[0-9]{1,5}$" })
    }
}

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

/// A word of a fixed list.
macro_rules! words {
    ($type:ty, $what:literal, $($word:literal => $value:expr),* $(,)?) => {
        impl FromText for $type {
            const WHAT: &'static str = $what;

            fn from_text(text: &str, _: &Known<'_>) -> Result<Self, Diagnostic> {
                const WORDS: &[&str] = &[$($word),*];
                match text {
                    $($word => Ok($value),)*
                    _ => {
                        let message = format!("{} is not {}", quote(text), $what);
                        Err(Diagnostic::new(Code::BadValue, message)
                            .nearest(nearest(text, WORDS.iter().copied()))
                            .hint(format!("allowed are {}", listed(WORDS.iter().copied()))))
                    }
                }
            }

            fn schema() -> Json {
                json!({ "enum": [$($word),*] })
            }
        }
    };
}

/// An adapter of the format, carried out here or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AdapterWord {
    Here(Adapter),
    /// Of the format, not carried out yet.
    Later(&'static str),
}

words!(AdapterWord, "an adapter",
    "go" => Self::Here(Adapter::Go),
    "ginkgo" => Self::Here(Adapter::Ginkgo),
    "junit" => Self::Here(Adapter::Junit),
    "exec" => Self::Here(Adapter::Exec),
    "rust" => Self::Later("rust"),
    "pytest" => Self::Later("pytest"),
);

words!(Isolation, "an isolation",
    "shared" => Self::Shared,
    "serial" => Self::Serial,
    "fresh" => Self::Fresh,
);

/// The type of a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ParamType {
    Bool,
    String,
    Enum,
}

words!(ParamType, "a type of a parameter",
    "bool" => Self::Bool,
    "string" => Self::String,
    "enum" => Self::Enum,
);

/// A number of decimal digits alone: no sign, no space.
pub(crate) fn whole(text: &str) -> Option<u64> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

fn quantity(kind: &str, text: &str, error: &ParseQuantityError) -> Diagnostic {
    // The unit can be as long as the text that was given.
    let why = match error {
        ParseQuantityError::UnknownUnit(unit) => format!("{} is not a unit here", quote(unit)),
        error => error.to_string(),
    };
    Diagnostic::new(Code::BadQuantity, format!("{} is no {kind}: {why}", quote(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: Known<'_> = Known { kubernetes: &["1.37", "1.36"], tools: &[] };

    fn read<T: FromText>(text: &str) -> Option<T> {
        T::from_text(text, &KNOWN).ok()
    }

    #[test]
    fn cores() {
        let check = |text, expect| assert_eq!(read::<Cpu>(text).map(|c| c.0), expect, "{text}");
        check("2", Some(2000));
        check("0.5", Some(500));
        check("1.25", Some(1250));
        check("500m", Some(500));
        check("1024", Some(1_024_000));
        for bad in
            ["", "0", "0m", "-1", "+1", "1.2345", "1.", ".5", "1e3", "1025", "m", "NaN", "2 "]
        {
            check(bad, None);
        }
    }

    #[test]
    fn modes() {
        assert_eq!(read::<Mode>("0755").map(|m| m.0), Some(0o755));
        assert_eq!(read::<Mode>("644").map(|m| m.0), Some(0o644));
        for bad in ["", "0", "755755", "0788", "rwx", "+755", "0o755"] {
            assert!(read::<Mode>(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn egress() {
        let good = read::<Egress>("proxy.example:443").map(|e| (e.host, e.port));
        assert_eq!(good, Some(("proxy.example".to_owned(), 443)));
        for bad in
            ["proxy", "proxy:0", "proxy:65536", "*.x:443", "https://x:443", ":1", "A:1", "a..b:1"]
        {
            assert!(read::<Egress>(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn repositories() {
        for good in ["guestbook", "library/nginx", "ghcr.io/a/b", "localhost:5000/x", "a_b/c-d.e"] {
            assert!(read::<Repository>(good).is_some(), "{good}");
        }
        for bad in
            ["", "A", "a:1", "a@sha256:00", "ghcr.io//a", "a/", "/a", "host.x:0/a", "a b", "-a"]
        {
            assert!(read::<Repository>(bad).is_none(), "{bad}");
        }
    }
}
