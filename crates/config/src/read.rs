//! The second pass: a tree of values to the sections of the file.
//!
//! Owns how a value of some type is read and how mistakes are collected. A
//! section is declared once (see [`section!`]); its reader, its part of the
//! JSON schema and its rows in the documentation all come from that
//! declaration. What names refer to is not looked at here.

mod kinds;

use std::ops::Range;
use std::rc::Rc;

use serde_json::Value as Json;

use crate::Known;
use crate::diagnostic::{Code, Diagnostic, Problems, listed, nearest, quote};
use crate::source::Span;
use crate::tree::{Key, Node, Value};
use kinds::Plain;

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct Spanned<T> {
    pub(crate) value: T,
    pub(crate) span: Span,
}

/// What stands in a field of a section.
#[derive(Debug, Clone)]
pub(crate) enum Given<T> {
    /// The field is not there.
    Absent,
    /// The field is there and could not be read; why was said.
    Unreadable,
    /// The field is there.
    Value(Spanned<T>),
}

/// A list; items that could not be read are missing.
pub(crate) type List<T> = Vec<Spanned<T>>;

/// A list or mapping with something in it.
pub(crate) struct NonEmpty<T>(pub(crate) T);

/// A mapping whose keys the author chooses, in the order of the file.
pub(crate) struct Map<K, V>(pub(crate) Vec<Entry<K, V>>);

/// One entry of a [`Map`].
pub(crate) struct Entry<K, V> {
    pub(crate) key: Key,
    pub(crate) name: K,
    /// `None` could not be read, and why was said.
    pub(crate) value: Option<V>,
}

/// What can stand as a value in the file.
pub(crate) trait Read: Sized {
    /// Reads a value; `None` when it is none of this type, and why was said.
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self>;

    /// What `read` takes, for people: `a list of names`.
    fn what() -> String;

    /// What `read` takes, as JSON Schema, draft 2020-12.
    fn schema() -> Json;
}

/// What is written as one piece of text.
pub(crate) trait FromText: Sized {
    /// What it is, for people: `a duration such as 90s or 5m`.
    const WHAT: &'static str;
    /// Whether a number or `true` without quotes counts as it is written.
    const VERBATIM: bool = false;

    /// Reads the text; the diagnostic says what is wrong with it.
    fn from_text(text: &str, known: &Known<'_>) -> Result<Self, Diagnostic>;

    /// JSON Schema of the text.
    fn schema() -> Json;
}

/// What readers share: where they are, and what they found.
pub(crate) struct Reader<'a> {
    pub(crate) problems: &'a mut Problems,
    pub(crate) known: &'a Known<'a>,
    at: Vec<Key>,
}

/// A field of a section.
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) doc: &'static [&'static str],
    pub(crate) required: bool,
    pub(crate) default: Option<&'static str>,
    pub(crate) what: fn() -> String,
    pub(crate) schema: fn() -> Json,
}

/// A mapping with fixed fields.
pub(crate) trait Section: Read {
    /// What it is, a line each.
    const DOC: &'static [&'static str];
    /// Its fields, in the order of the documentation.
    const FIELDS: &'static [Field];
}

/// Declares a section: a struct with a [`Given`] for each field, its
/// reader and its schema. A field is `name: Type, required`, `name: Type,
/// optional` or `name: Type, default "..."`, spelled as [`spelled`] says.
macro_rules! section {
    (
        $(#[doc = $doc:literal])*
        $section:ident {
            $(
                $(#[doc = $field_doc:literal])*
                $field:ident: $type:ty, $need:ident $($default:literal)?;
            )*
        }
    ) => {
        $(#[doc = $doc])*
        pub(crate) struct $section {
            $(
                $(#[doc = $field_doc])*
                pub(crate) $field: $crate::read::Given<$type>,
            )*
        }

        impl $crate::read::Section for $section {
            const DOC: &'static [&'static str] = &[$($doc),*];
            const FIELDS: &'static [$crate::read::Field] = &[$(
                $crate::read::Field {
                    name: stringify!($field),
                    doc: &[$($field_doc),*],
                    required: $crate::read::section!(@$need),
                    default: [$($default,)? ""].first().copied(),
                    what: <$type as $crate::read::Read>::what,
                    schema: <$type as $crate::read::Read>::schema,
                }
            ),*];
        }

        impl $crate::read::Read for $section {
            fn read(
                node: &$crate::tree::Node,
                reader: &mut $crate::read::Reader<'_>,
            ) -> Option<Self> {
                let entries = reader.fields(node, <Self as $crate::read::Section>::FIELDS)?;
                Some(Self { $($field: reader.field(entries, stringify!($field)),)* })
            }

            fn what() -> String {
                "a mapping".to_owned()
            }

            fn schema() -> serde_json::Value {
                $crate::reference::section_schema::<Self>()
            }
        }
    };
    (@required) => { true };
    (@optional) => { false };
    (@default) => { false };
}
pub(crate) use section;

/// Words that the format will have a meaning for, and what to do until then.
const RESERVED: &[(&str, &str)] = &[
    ("matrix", "until then, write one suite or environment for each combination"),
    ("secrets", "until then, test with values that are not secret, passed with `params`"),
    ("services", "until then, install what tests need into an environment"),
    ("on", "until then, call `seatrial run` from what notices the change"),
    ("when", "until then, name the suites to run: `seatrial run SUITE`"),
    ("include", "until then, keep the pipeline in one file; YAML anchors save repetition"),
    ("policy", "until then, leave it out"),
    ("release", "until then, publish after `seatrial run` has passed"),
];

/// How a field is spelled in the file: a dash for each underscore but the one
/// that keeps a word of Rust apart (`type_`).
pub(crate) fn spelled(field: &str) -> String {
    field.trim_end_matches('_').replace('_', "-")
}

impl<'a> Reader<'a> {
    pub(crate) fn new(problems: &'a mut Problems, known: &'a Known<'a>) -> Self {
        Self { problems, known, at: Vec::new() }
    }

    /// Reports something about a place.
    pub(crate) fn report(&mut self, span: Span, mut diagnostic: Diagnostic) {
        let path: Vec<&str> = self.at.iter().map(|key| key.text.as_str()).collect();
        diagnostic.at = path.join(".");
        self.problems.push(span, diagnostic);
    }

    /// The place of a part of a text that was read at `span`; all of it where
    /// the file spells the text otherwise, with escapes or over lines.
    pub(crate) fn within(&self, span: Span, text: &str, part: Range<usize>) -> Span {
        match self.problems.text(span).find(text) {
            Some(at) if !text.is_empty() => {
                let start = span.start() + at;
                Span::new(start + part.start, start + part.end)
            }
            _ => span,
        }
    }

    /// Does something below a key of the file.
    pub(crate) fn below<T>(&mut self, key: &Key, f: impl FnOnce(&mut Self) -> T) -> T {
        self.enter(key);
        let result = f(self);
        self.leave();
        result
    }

    /// Goes below a key of the file, until [`Reader::leave`].
    pub(crate) fn enter(&mut self, key: &Key) {
        self.at.push(key.clone());
    }

    /// Comes back from [`Reader::enter`].
    pub(crate) fn leave(&mut self) {
        self.at.pop();
    }

    /// The key below which the reader is: what stands for a whole section.
    pub(crate) fn here(&self) -> Option<Span> {
        self.at.last().map(|key| key.span)
    }

    /// `` in `builds.server` ``, or nothing at the top of the file.
    pub(crate) fn place(&self) -> String {
        let path: Vec<&str> = self.at.iter().map(|key| key.text.as_str()).collect();
        match path.as_slice() {
            [] => String::new(),
            path => format!(" in {}", quote(&path.join("."))),
        }
    }

    /// The nearest of some words, while suggestions are still shown.
    pub(crate) fn nearest<'w>(
        &self,
        word: &str,
        words: impl IntoIterator<Item = &'w str>,
    ) -> Option<String> {
        if self.problems.is_full() { None } else { nearest(word, words) }
    }

    /// The entries of a section, its unknown and missing fields reported.
    pub(crate) fn fields<'n>(
        &mut self,
        node: &'n Node,
        fields: &[Field],
    ) -> Option<&'n [(Key, Rc<Node>)]> {
        let entries = self.map(node, "a mapping")?;
        let names: Vec<String> = fields.iter().map(|field| spelled(field.name)).collect();
        let words = || names.iter().map(String::as_str);
        for (key, _) in entries {
            if !names.contains(&key.text) && !key.text.starts_with("x-") {
                let diagnostic = self.unknown_field(&key.text, words);
                self.report(key.span, diagnostic);
            }
        }
        for (field, name) in fields.iter().zip(&names) {
            if field.required && !entries.iter().any(|(key, _)| key.text == *name) {
                let message = format!("field `{name}` is missing{}", self.place());
                let missing = Diagnostic::new(Code::MissingField, message)
                    .hint(format!("`{name}`: {}", prose(field.doc)));
                self.report(self.here().unwrap_or(node.span), missing);
            }
        }
        Some(entries)
    }

    /// Reads one field of a section.
    pub(crate) fn field<T: Read>(&mut self, entries: &[(Key, Rc<Node>)], field: &str) -> Given<T> {
        let name = spelled(field);
        let Some((key, node)) = entries.iter().find(|(key, _)| key.text == name) else {
            return Given::Absent;
        };
        match self.below(key, |reader| T::read(node, reader)) {
            Some(value) => Given::Value(Spanned { value, span: node.span }),
            None => Given::Unreadable,
        }
    }

    /// The entries of a mapping.
    pub(crate) fn map<'n>(&mut self, node: &'n Node, what: &str) -> Option<&'n [(Key, Rc<Node>)]> {
        match &node.value {
            Value::Map(entries) => Some(entries),
            _ => {
                self.wrong_type(node, what);
                None
            }
        }
    }

    /// Reports a value of another type than `what`.
    pub(crate) fn wrong_type(&mut self, node: &Node, what: &str) {
        let found = match &node.value {
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a mapping".to_owned(),
            Value::Scalar { text, plain } => match (Plain::of(text), plain) {
                (Plain::Null, true) => "nothing".to_owned(),
                (Plain::Bool(_) | Plain::Number, true) => quote(text),
                _ => format!("the text {}", quote(text)),
            },
        };
        let message = format!("expected {what}, found {found}{}", self.place());
        let mut diagnostic = Diagnostic::new(Code::WrongType, message);
        match &node.value {
            Value::Scalar { text, .. } if found != "nothing" && what.starts_with("a list") => {
                let shown = quote(text);
                diagnostic = diagnostic.label(format!("write `[{}]`", shown.trim_matches('`')));
            }
            _ if found == "nothing" => {
                diagnostic = diagnostic.hint("give it a value or remove the key");
            }
            _ => {}
        }
        // Nothing has no place of its own to point at.
        let span = if node.span.range().is_empty() { self.here() } else { None };
        self.report(span.unwrap_or(node.span), diagnostic);
    }

    fn unknown_field<'w, I>(&self, key: &str, words: impl Fn() -> I) -> Diagnostic
    where
        I: Iterator<Item = &'w str>,
    {
        let (shown, place) = (quote(key), self.place());
        if let Some((_, instead)) = RESERVED.iter().find(|(word, _)| *word == key) {
            let message = format!("{shown} is not available yet{place}");
            return Diagnostic::new(Code::NotAvailableYet, message).hint(*instead);
        }
        let unknown = Diagnostic::new(Code::UnknownField, format!("unknown field {shown}{place}"))
            .hint(format!("the fields here are {}", listed(words())));
        match key {
            "<<" => {
                unknown.hint("merge keys are not used; an alias (`*name`) repeats a whole value")
            }
            _ => unknown.nearest(self.nearest(key, words())),
        }
    }
}

impl<T> Given<T> {
    /// The value with its place.
    pub(crate) fn spanned(self) -> Option<Spanned<T>> {
        match self {
            Self::Value(value) => Some(value),
            Self::Absent | Self::Unreadable => None,
        }
    }

    /// The value.
    pub(crate) fn value(self) -> Option<T> {
        self.spanned().map(|spanned| spanned.value)
    }

    /// The value with its place, not taken.
    pub(crate) fn get(&self) -> Option<&Spanned<T>> {
        match self {
            Self::Value(value) => Some(value),
            Self::Absent | Self::Unreadable => None,
        }
    }

    pub(crate) fn is_absent(&self) -> bool {
        matches!(self, Self::Absent)
    }
}

/// The lines of a doc comment as one paragraph.
pub(crate) fn prose(lines: &[&str]) -> String {
    let lines: Vec<&str> = lines.iter().map(|line| line.trim()).collect();
    lines.join(" ")
}
