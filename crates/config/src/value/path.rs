//! Paths in the project and in images.

use serde_json::{Value as Json, json};

use crate::Known;
use crate::diagnostic::{Code, Diagnostic, quote};
use crate::read::FromText;

/// Bytes that a path may have, and one of its parts.
const LONGEST: usize = 4096;
const LONGEST_PART: usize = 255;

/// A path below the root of the project or of a build's output, without `.`
/// and `..`; empty is the root.
#[derive(Clone)]
pub(crate) struct Relative(pub(crate) String);

/// An absolute path in an image, without `.` and `..`.
pub(crate) struct Absolute(pub(crate) String);

impl FromText for Relative {
    const WHAT: &'static str = "a path below the root of the project";

    fn from_text(text: &str, _: &Known<'_>) -> Result<Self, Diagnostic> {
        if text.starts_with('/') || text.starts_with('~') {
            return Err(bad(text, "it is not relative").hint("paths begin at the project's root"));
        }
        if text.starts_with('-') {
            return Err(bad(text, "it begins with `-`, as options of commands do"));
        }
        normal(text).map(Self)
    }

    fn schema() -> Json {
        json!({ "type": "string", "minLength": 1, "maxLength": LONGEST, "pattern": "^[^/~-]" })
    }
}

impl FromText for Absolute {
    const WHAT: &'static str = "an absolute path";

    fn from_text(text: &str, _: &Known<'_>) -> Result<Self, Diagnostic> {
        if !text.starts_with('/') {
            return Err(bad(text, "it is not absolute")
                .label(format!("write {}", quote(&format!("/{text}")))));
        }
        Ok(Self(format!("/{}", normal(text)?)))
    }

    fn schema() -> Json {
        json!({ "type": "string", "maxLength": LONGEST, "pattern": "^/" })
    }
}

/// Whether a relative path or pattern may leave its root.
pub(crate) fn leaves(path: &str) -> bool {
    // Braces hold alternatives in a pattern: `{..,a}/b`.
    path.split(['/', '{', '}', ',']).any(|part| part == "..")
}

/// The path without empty and `.` parts.
fn normal(text: &str) -> Result<String, Diagnostic> {
    if text.is_empty() {
        return Err(bad(text, "it is empty").hint("the root of the project is `.`"));
    }
    if leaves(text) {
        return Err(bad(text, "`..` leads out of the tree"));
    }
    if text.contains(['\\', '\n', '\t', '\r']) {
        return Err(bad(text, "it has a character that paths here do not have"));
    }
    if text.len() > LONGEST || text.split('/').any(|part| part.len() > LONGEST_PART) {
        return Err(bad(text, "it is too long"));
    }
    let parts: Vec<&str> = text.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    Ok(parts.join("/"))
}

fn bad(text: &str, why: &str) -> Diagnostic {
    Diagnostic::new(Code::BadPath, format!("{} is no path here: {why}", quote(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: Known<'_> = Known { kubernetes: &[], tools: &[], images: None };

    #[test]
    fn paths_have_one_spelling() {
        let relative = |text| Relative::from_text(text, &KNOWN).ok().map(|path| path.0);
        assert_eq!(relative("./deploy//base/"), Some("deploy/base".to_owned()));
        assert_eq!(relative("."), Some(String::new()));
        assert_eq!(relative("a..b/..c"), Some("a..b/..c".to_owned()));
        for bad in ["", "/etc", "~/x", "..", "a/../../b", "a\\b", "-f", "a\nb", &"x".repeat(256)] {
            assert_eq!(relative(bad), None, "{bad}");
        }
        let absolute = |text| Absolute::from_text(text, &KNOWN).ok().map(|path| path.0);
        assert_eq!(absolute("/usr//bin/./x/"), Some("/usr/bin/x".to_owned()));
        assert_eq!(absolute("/"), Some("/".to_owned()));
        assert_eq!(absolute("x"), None);
        assert_eq!(absolute("/ok/../reserved"), None);
    }
}
