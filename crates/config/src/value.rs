//! Single values of the file: text in a certain form, each with its check.
//!
//! Everything here is judged by itself; what a name refers to is the business
//! of the check pass.

mod command;
mod image;
mod path;
mod pattern;
mod quantity;
mod variable;
mod word;

use seatrial_core::name::Name;
use seatrial_core::pipeline::Egress;
use serde_json::{Value as Json, json};

use crate::Known;
use crate::diagnostic::{Code, Diagnostic, listed, nearest, quote};
use crate::read::FromText;

pub(crate) use command::Run;
pub(crate) use image::{Port, Repository, is_repository};
pub(crate) use path::{Absolute, Relative, leaves};
pub(crate) use pattern::{Collect, Glob, Pattern};
pub(crate) use quantity::{Cpu, Memory, Number};
pub(crate) use variable::{ContainerVariable, Variable};
pub(crate) use word::ParamType;

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

/// A number of decimal digits alone: no sign, no space.
pub(crate) fn whole(text: &str) -> Option<u64> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: Known<'_> = Known { kubernetes: &["1.37", "1.36"], tools: &[], images: None };

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
