//! Values of the file that can be written in more than one form, or have a
//! form of their own.

use seatrial_core::digest::Digest;
use seatrial_core::name::Name;
use serde_json::{Value as Json, json};

use super::{BaseImageFile, BaseLayoutFile, BuildPathFile};
use crate::Known;
use crate::diagnostic::{Code, Diagnostic, quote};
use crate::read::{FromText, Read, Reader, Spanned};
use crate::tree::{Node, Value};
use crate::value::{Relative, is_repository};

/// The version of the format: 1.
pub(crate) struct Version;

impl FromText for Version {
    const WHAT: &'static str = "the version of the format, `1`";
    const VERBATIM: bool = true;

    fn from_text(text: &str, _: &Known<'_>) -> Result<Self, Diagnostic> {
        match text {
            "1" => Ok(Self),
            other => {
                let message = format!("version {} of the format is not known", quote(other));
                Err(Diagnostic::new(Code::UnknownVersion, message)
                    .hint("this Seatrial reads version 1; a newer one may read more"))
            }
        }
    }

    fn schema() -> Json {
        json!({ "const": 1 })
    }
}

/// The default of a parameter: its type is known only with the whole section.
pub(crate) enum ParamDefault {
    Bool(bool),
    Text(String),
}

impl Read for ParamDefault {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        match &node.value {
            Value::Scalar { text, plain: true } if matches!(text.as_str(), "true" | "false") => {
                Some(Self::Bool(text == "true"))
            }
            _ => String::read(node, reader).map(Self::Text),
        }
    }

    fn what() -> String {
        "`true`, `false` or text".to_owned()
    }

    fn schema() -> Json {
        json!({ "type": ["boolean", "string"] })
    }
}

/// What an image starts from.
pub(crate) enum BaseValue {
    Scratch,
    Registry {
        name: String,
        digest: Digest,
    },
    /// By tag: what the lock file has for it, if it has it.
    Tag {
        name: String,
        tag: String,
        digest: Option<Digest>,
    },
    Layout(Relative),
    Image(Spanned<Name>),
}

/// Reads a base that is written as text.
pub(crate) fn base(text: &str, known: &Known<'_>) -> Result<BaseValue, Diagnostic> {
    Base::from_text(text, known).map(|base| base.0)
}

/// A base written as text.
struct Base(BaseValue);

impl FromText for Base {
    const WHAT: &'static str =
        "`scratch`, `name:tag`, `name@sha256:...`, `{ image: NAME }` or `{ layout: DIR }`";

    fn from_text(text: &str, known: &Known<'_>) -> Result<Self, Diagnostic> {
        let not_pinned = |why: String| {
            Diagnostic::new(Code::NotPinned, why)
                .hint("a base is `name:tag` or `name@sha256:...`, so that it is the same tomorrow")
        };
        if text == "scratch" {
            return Ok(Self(BaseValue::Scratch));
        }
        let Some((name, digest)) = text.split_once('@') else {
            return match text.rsplit_once(':') {
                Some((name, tag)) if is_repository(name) && is_tag(tag) => {
                    // Nothing is made of what is not settled.
                    let zero = || Digest::of("");
                    let digest =
                        known.images.map_or_else(|| Some(zero()), |of| of.get(text).copied());
                    let (name, tag) = (name.to_owned(), tag.to_owned());
                    Ok(Self(BaseValue::Tag { name, tag, digest }))
                }
                _ => {
                    let message = format!("the base {} has neither tag nor digest", quote(text));
                    Err(not_pinned(message).hint("another image of this file is `{ image: NAME }`"))
                }
            };
        };
        let digest = digest.parse().map_err(|error| {
            not_pinned(format!("the base {} is not pinned: {error}", quote(text)))
        })?;
        // A tag beside a digest is for people: the digest decides.
        let name = match name.rsplit_once(':') {
            Some((repository, tag)) if !tag.contains('/') => repository,
            _ => name,
        };
        match is_repository(name) {
            true => Ok(Self(BaseValue::Registry { name: name.to_owned(), digest })),
            false => {
                let message = format!("{} is no name of an image", quote(name));
                Err(Diagnostic::new(Code::BadValue, message))
            }
        }
    }

    fn schema() -> Json {
        json!({ "type": "string", "pattern": "^(scratch|[^@]+@sha256:[0-9a-f]{64}|[^@]+:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})$" })
    }
}

/// Whether this is a tag (OCI distribution specification v1.1, pulling
/// manifests).
fn is_tag(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
    text.len() <= 128
        && text.chars().all(plain)
        && !text.starts_with(['.', '-'])
        && !text.is_empty()
}

impl Read for BaseValue {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        match &node.value {
            Value::Map(entries) if entries.iter().any(|(key, _)| key.text == "layout") => {
                BaseLayoutFile::read(node, reader)?.layout.value().map(Self::Layout)
            }
            Value::Map(_) => BaseImageFile::read(node, reader)?.image.spanned().map(Self::Image),
            _ => Base::read(node, reader).map(|base| base.0),
        }
    }

    fn what() -> String {
        Base::WHAT.to_owned()
    }

    fn schema() -> Json {
        json!({
            "oneOf": [
                <Base as FromText>::schema(),
                BaseImageFile::schema(),
                BaseLayoutFile::schema(),
            ],
        })
    }
}

/// What is applied: a path of the project or of a build's output.
pub(crate) struct ApplyValue {
    pub(crate) build: Option<Spanned<Name>>,
    pub(crate) path: Relative,
}

impl Read for ApplyValue {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        match &node.value {
            Value::Map(_) => {
                let BuildPathFile { build, path } = BuildPathFile::read(node, reader)?;
                Some(Self { build: Some(build.spanned()?), path: path.value()? })
            }
            _ => Relative::read(node, reader).map(|path| Self { build: None, path }),
        }
    }

    fn what() -> String {
        "a path, or `{ build: NAME, path: PATH }`".to_owned()
    }

    fn schema() -> Json {
        json!({ "oneOf": [<Relative as FromText>::schema(), BuildPathFile::schema()] })
    }
}

/// An object of Kubernetes: `kind/name`.
pub(crate) struct Object {
    pub(crate) kind: String,
    pub(crate) name: String,
}

impl FromText for Object {
    const WHAT: &'static str = "an object as `kind/name`";

    fn from_text(text: &str, _: &Known<'_>) -> Result<Self, Diagnostic> {
        // Names of objects are DNS subdomains, kinds may have a group:
        // `certificates.cert-manager.io/web`.
        let subdomain = |text: &str| {
            text.len() <= 253 && text.split('.').all(|label| label.parse::<Name>().is_ok())
        };
        match text.split_once('/') {
            Some((kind, name)) if subdomain(&kind.to_ascii_lowercase()) && subdomain(name) => {
                Ok(Self { kind: kind.to_ascii_lowercase(), name: name.to_owned() })
            }
            _ => {
                let message = format!("{} is no object", quote(text));
                Err(Diagnostic::new(Code::BadValue, message)
                    .hint("kind, `/` and name: `deployment/guestbook`"))
            }
        }
    }

    fn schema() -> Json {
        json!({ "type": "string", "pattern": "^[A-Za-z0-9.-]+/[a-z0-9.-]+$" })
    }
}
