//! The first pass: bytes to a tree of values, each with its place.
//!
//! The parser of YAML events is a library; this pass adds the limits (before
//! anything is allocated for what is over them), refuses what a pipeline file
//! has no use for, and goes on after each mistake that leaves the rest
//! readable. It knows nothing about fields.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use granit_parser::{ErrorKind, Event, Parser, ScalarStyle};

use crate::diagnostic::{Code, Diagnostic, Problems, quote};
use crate::source::{LARGEST, Span, invisible};

/// How deep lists and mappings may be nested, aliases followed.
const DEEPEST: usize = 64;
/// Values that a file may hold, aliases followed.
const MOST_NODES: usize = 50_000;

/// A value and where it stands.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) span: Span,
    pub(crate) value: Value,
    cost: Cost,
}

#[derive(Debug)]
pub(crate) enum Value {
    Scalar {
        text: String,
        /// Written without quotes, so that `true` is not text.
        plain: bool,
    },
    List(Vec<Rc<Node>>),
    Map(Vec<(Key, Rc<Node>)>),
}

/// A key of a mapping.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    pub(crate) text: String,
    pub(crate) span: Span,
}

/// What reading a value once takes, aliases followed.
#[derive(Debug, Clone, Copy, Default)]
struct Cost {
    nodes: usize,
    bytes: usize,
    depth: usize,
}

/// Reads a whole file. `None`: there is nothing to go on with, and why is in
/// `problems`.
pub(crate) fn parse(text: &str, problems: &mut Problems) -> Option<Rc<Node>> {
    for (at, c) in invisible(text) {
        let bad = Diagnostic::new(Code::BadText, format!("{} is not allowed here", name_of(c)));
        let bad = match (c, at) {
            ('\u{feff}', 0) => bad.hint("save the file as UTF-8 without a byte order mark"),
            _ => bad.hint("remove the character; nobody who reads the file can see it"),
        };
        problems.push(Span::new(at, at + c.len_utf8()), bad);
    }
    if problems.has_errors() {
        return None;
    }
    let mut builder = Builder::new(problems);
    let options = granit_parser::options! {
        emit_comments: false,
        emit_unresolved_aliases: true,
        flow_nesting_limit: DEEPEST,
        block_nesting_limit: DEEPEST,
    };
    for event in Parser::new_from_str_with_options(text, options) {
        let stop = match event {
            Ok((event, span)) => {
                let range = span.byte_range().unwrap_or_default();
                builder.event(event, Span::new(range.start, range.end)).is_err()
            }
            Err(error) => {
                builder.syntax(&error, text.len());
                true
            }
        };
        if stop {
            return None;
        }
    }
    builder.root
}

/// Nothing after this can be read; the reason was said.
struct Stop;

struct Builder<'p> {
    problems: &'p mut Problems,
    open: Vec<Open>,
    /// `None` while the anchored value is still open.
    anchors: HashMap<usize, Option<Rc<Node>>>,
    total: Cost,
    root: Option<Rc<Node>>,
}

/// A list or mapping whose end has not been seen.
struct Open {
    start: Span,
    anchor: usize,
    items: Items,
}

enum Items {
    List(Vec<Rc<Node>>),
    Map { entries: Vec<(Key, Rc<Node>)>, key: Option<Key>, seen: HashSet<String> },
}

impl<'p> Builder<'p> {
    fn new(problems: &'p mut Problems) -> Self {
        Self {
            problems,
            open: Vec::new(),
            anchors: HashMap::new(),
            total: Cost::default(),
            root: None,
        }
    }

    fn event(&mut self, event: Event<'_>, span: Span) -> Result<(), Stop> {
        match event {
            Event::DocumentStart(..) if self.root.is_some() => {
                let many =
                    Diagnostic::new(Code::MultipleDocuments, "a second document begins here")
                        .hint("a pipeline is one document: remove `---` and what follows it");
                self.problems.push(span, many);
                return Err(Stop);
            }
            Event::Scalar(text, style, anchor, tag) => {
                self.refuse_tag(tag.is_some(), span);
                self.spend(span, 1, text.len(), Code::TooLarge)?;
                if let Some((_, c)) = invisible(&text).find(|(_, c)| *c != '\r') {
                    let message = format!("text with {} in it", name_of(c));
                    self.problems.push(span, Diagnostic::new(Code::BadText, message));
                }
                let cost = Cost { nodes: 1, bytes: text.len(), depth: 1 };
                let plain = style == ScalarStyle::Plain;
                let value = Value::Scalar { text: text.into_owned(), plain };
                self.put(Rc::new(Node { span, value, cost }), anchor);
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.refuse_tag(tag.is_some(), span);
                self.begin(span, anchor, Items::List(Vec::new()))?;
            }
            Event::MappingStart(_, anchor, tag) => {
                self.refuse_tag(tag.is_some(), span);
                let items = Items::Map { entries: Vec::new(), key: None, seen: HashSet::new() };
                self.begin(span, anchor, items)?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(span),
            Event::Alias(anchor) => self.alias(anchor, span)?,
            Event::UnresolvedAlias(name) => {
                let name = quote(&name);
                let message = format!("alias {name} names no anchor before it");
                self.problems.push(span, Diagnostic::new(Code::BadAlias, message));
                self.put_nothing(span);
            }
            _ => {}
        }
        Ok(())
    }

    fn syntax(&mut self, error: &granit_parser::ScanError, end: usize) {
        let at = error.marker().byte_offset().unwrap_or(end);
        let span = Span::new(at, at);
        match error.kind() {
            ErrorKind::RecursionLimitExceeded => self.too_deep(span),
            kind => {
                let syntax = Diagnostic::new(Code::Syntax, format!("this is not YAML: {kind}"));
                self.problems.push(span, syntax);
            }
        }
    }

    fn refuse_tag(&mut self, tagged: bool, span: Span) {
        if tagged {
            let tag = Diagnostic::new(Code::WrongType, "a tag (`!...`) is not used in a pipeline");
            self.problems.push(span, tag.hint("quotes make text of a number: \"1.37\""));
        }
    }

    fn begin(&mut self, start: Span, anchor: usize, items: Items) -> Result<(), Stop> {
        self.spend(start, 1, 0, Code::TooLarge)?;
        if self.open.len() >= DEEPEST {
            self.too_deep(start);
            return Err(Stop);
        }
        if anchor != 0 {
            self.anchors.insert(anchor, None);
        }
        self.open.push(Open { start, anchor, items });
        Ok(())
    }

    fn end(&mut self, end: Span) {
        let Some(open) = self.open.pop() else { return };
        let (value, children) = match open.items {
            Items::List(items) => {
                let cost = items.iter().map(|node| node.cost).sum();
                (Value::List(items), cost)
            }
            Items::Map { entries, .. } => {
                let key = |key: &Key| Cost { nodes: 1, bytes: key.text.len(), depth: 0 };
                let cost = entries.iter().flat_map(|(k, node)| [key(k), node.cost]).sum();
                (Value::Map(entries), cost)
            }
        };
        let Cost { nodes, bytes, depth } = children;
        let cost = Cost { nodes: nodes + 1, bytes, depth: depth + 1 };
        let span = Span::new(open.start.start(), end.end());
        self.put(Rc::new(Node { span, value, cost }), open.anchor);
    }

    fn alias(&mut self, anchor: usize, span: Span) -> Result<(), Stop> {
        match self.anchors.get(&anchor) {
            Some(Some(node)) => {
                let node = Rc::clone(node);
                if self.open.len() + node.cost.depth > DEEPEST {
                    self.too_deep(span);
                    return Err(Stop);
                }
                self.spend(span, node.cost.nodes, node.cost.bytes, Code::AliasBudget)?;
                self.put(node, 0);
            }
            _ => {
                let inside = Diagnostic::new(Code::BadAlias, "an alias inside of what it names");
                self.problems.push(span, inside.hint("a value cannot contain itself"));
                self.put_nothing(span);
            }
        }
        Ok(())
    }

    /// Counts what a value takes, and stops when all together is too much.
    fn spend(&mut self, span: Span, nodes: usize, bytes: usize, code: Code) -> Result<(), Stop> {
        self.total.nodes += nodes;
        self.total.bytes += bytes;
        let message = match code {
            Code::AliasBudget => "aliases repeat more than a pipeline may hold",
            _ => "this is more than a pipeline may hold",
        };
        if self.total.nodes > MOST_NODES || self.total.bytes > LARGEST {
            let hint = format!(
                "at most {MOST_NODES} values and 1 MiB of text, what aliases repeat included"
            );
            self.problems.push(span, Diagnostic::new(code, message).hint(hint));
            return Err(Stop);
        }
        Ok(())
    }

    fn too_deep(&mut self, span: Span) {
        let message = format!("lists and mappings are nested more than {DEEPEST} deep");
        self.problems.push(span, Diagnostic::new(Code::TooDeep, message));
    }

    /// Keeps the place of a value that could not be read.
    fn put_nothing(&mut self, span: Span) {
        let value = Value::Scalar { text: String::new(), plain: true };
        self.put(Rc::new(Node { span, value, cost: Cost::default() }), 0);
    }

    fn put(&mut self, node: Rc<Node>, anchor: usize) {
        if anchor != 0 {
            self.anchors.insert(anchor, Some(Rc::clone(&node)));
        }
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return;
        };
        match &mut open.items {
            Items::List(items) => items.push(node),
            Items::Map { entries, key: key @ Some(_), .. } => {
                entries.extend(key.take().map(|key| (key, node)));
            }
            Items::Map { key, seen, .. } => {
                let span = node.span;
                let text = match &node.value {
                    Value::Scalar { text, .. } => text.clone(),
                    Value::List(_) | Value::Map(_) => {
                        let message = "a key is a list or mapping";
                        let hint = "a key is text; quote a template like \"{x}\"";
                        let bad = Diagnostic::new(Code::WrongType, message).hint(hint);
                        self.problems.push(span, bad);
                        String::new()
                    }
                };
                if !seen.insert(text.clone()) && !text.is_empty() {
                    let message = format!("key {} stands twice in one mapping", quote(&text));
                    let twice = Diagnostic::new(Code::DuplicateKey, message);
                    self.problems.push(span, twice.hint("remove one of the two"));
                }
                *key = Some(Key { text, span });
            }
        }
    }
}

impl std::iter::Sum for Cost {
    fn sum<I: Iterator<Item = Self>>(costs: I) -> Self {
        costs.fold(Self::default(), |a, b| Self {
            nodes: a.nodes.saturating_add(b.nodes),
            bytes: a.bytes.saturating_add(b.bytes),
            depth: a.depth.max(b.depth),
        })
    }
}

fn name_of(c: char) -> String {
    let kind = match c {
        '\u{feff}' => "a byte order mark",
        '\0' => "a NUL character",
        '\u{2028}' | '\u{2029}' => "a line or paragraph separator",
        c if c.is_control() => "a control character",
        _ => "a character that turns the direction of text",
    };
    format!("{kind} (U+{:04X})", u32::from(c))
}
