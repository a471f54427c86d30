//! Reads JUnit XML: <https://github.com/testmoapp/junitxml> describes what
//! tools write. Hostile input: no document type, no entities but the five of
//! XML, bounded size, depth, attributes and number of cases.

use std::collections::BTreeMap;
use std::time::Duration;

use quick_xml::XmlVersion;
use quick_xml::events::{BytesStart, Event};
use seatrial_protocol::test::TestOutcome;

/// Bytes of a report that is read.
pub const SIZE_LIMIT: usize = 20 << 20;

/// Test cases of a report that is read.
pub const CASES_LIMIT: usize = 500_000;

const DEPTH_LIMIT: usize = 64;
const ATTRIBUTES_LIMIT: usize = 64;
const NAME_LIMIT: usize = 4096;
/// Bytes of a case's message and output that are kept, the first ones.
const TEXT_LIMIT: usize = 16 << 10;

/// What a report says.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Report {
    /// Its test cases, at least one.
    pub cases: Vec<Case>,
    /// Whether a suite in it counts failures or errors, wherever they are.
    pub declared_failures: bool,
}

/// One test case.
#[derive(Debug, Clone, PartialEq)]
pub struct Case {
    /// `classname` and `name`, a dot between; only `name` without the first.
    pub name: String,
    /// How it ended.
    pub outcome: TestOutcome,
    /// How long it took.
    pub time: Duration,
    /// Why it failed or was skipped.
    pub message: Option<String>,
    /// What it wrote.
    pub output: String,
}

/// Why a report is refused: completes "the report ...".
#[derive(Debug, thiserror::Error)]
pub enum JunitError {
    /// More than [`SIZE_LIMIT`].
    #[error("has more than {SIZE_LIMIT} bytes")]
    TooLong,
    /// Not UTF-8.
    #[error("is not UTF-8")]
    Encoding,
    /// Not XML.
    #[error("is not XML at byte {at}: {reason}")]
    Syntax {
        /// Offset in bytes.
        at: u64,
        /// What the XML reader says.
        reason: String,
    },
    /// A document type could declare entities.
    #[error("has a document type, at byte {0}")]
    DocumentType(u64),
    /// An entity other than the five that every XML document has.
    #[error("refers to the entity `{name}` at byte {at}")]
    Entity {
        /// Its name.
        name: String,
        /// Offset in bytes.
        at: u64,
    },
    /// Elements nested too deeply, or with too many attributes.
    #[error(
        "is nested more than {DEPTH_LIMIT} deep or has more than {ATTRIBUTES_LIMIT} attributes, at byte {0}"
    )]
    Shape(u64),
    /// A time that is none.
    #[error("has the time `{text}` at byte {at}, which is no number of seconds")]
    Time {
        /// What is there.
        text: String,
        /// Offset in bytes.
        at: u64,
    },
    /// A case without a usable name.
    #[error(
        "has a test case at byte {0} without a name or with one longer than {NAME_LIMIT} bytes"
    )]
    Name(u64),
    /// More than [`CASES_LIMIT`].
    #[error("has more than {0} test cases")]
    TooMany(usize),
    /// None at all.
    #[error("has no test cases")]
    Empty,
    /// The root element is another.
    #[error("is not JUnit: its root is `{0}`")]
    Root(String),
}

/// Reads a report.
///
/// # Errors
/// Whatever makes it no report that can be trusted, with the place.
pub fn parse(bytes: &[u8]) -> Result<Report, JunitError> {
    parse_limited(bytes, CASES_LIMIT)
}

fn parse_limited(bytes: &[u8], cases: usize) -> Result<Report, JunitError> {
    if bytes.len() > SIZE_LIMIT {
        return Err(JunitError::TooLong);
    }
    let text = std::str::from_utf8(bytes).map_err(|_| JunitError::Encoding)?;
    let mut reader = quick_xml::Reader::from_str(text);
    let mut parser = Parser::default();
    loop {
        let at = reader.buffer_position();
        let event = reader.read_event().map_err(|error| JunitError::Syntax {
            at: reader.error_position(),
            reason: error.to_string(),
        })?;
        match event {
            Event::Start(element) => parser.open(&element, at, cases)?,
            Event::Empty(element) => {
                parser.open(&element, at, cases)?;
                parser.close();
            }
            Event::End(_) => parser.close(),
            Event::Text(text) => parser.text(&text.xml10_content()),
            Event::CData(text) => parser.text(&text.xml10_content()),
            Event::GeneralRef(reference) => {
                let name = reference.xml10_content();
                let resolved = match reference.resolve_char_ref() {
                    Ok(Some(c)) => Some(c.to_string()),
                    Ok(None) => quick_xml::escape::resolve_xml_entity(&name).map(str::to_owned),
                    Err(_) => None,
                };
                let resolved = resolved.ok_or_else(|| entity(&name, at))?;
                parser.text(&resolved);
            }
            Event::DocType(_) => return Err(JunitError::DocumentType(at)),
            Event::Comment(_) | Event::PI(_) | Event::Decl(_) => {}
            Event::Eof => break,
        }
    }
    if !parser.path.is_empty() {
        let reason = "it ends inside an element".to_owned();
        return Err(JunitError::Syntax { at: bytes.len() as u64, reason });
    }
    if parser.report.cases.is_empty() {
        return Err(JunitError::Empty);
    }
    Ok(parser.report)
}

/// Where text goes.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Place {
    Nowhere,
    Case,
    Message,
    Output,
}

#[derive(Debug, Default)]
struct Parser {
    path: Vec<Place>,
    report: Report,
    case: Option<Case>,
    /// Attribute and text of the child element that says why.
    message: String,
    body: String,
}

impl Parser {
    fn open(&mut self, element: &BytesStart<'_>, at: u64, cases: usize) -> Result<(), JunitError> {
        if self.path.len() >= DEPTH_LIMIT {
            return Err(JunitError::Shape(at));
        }
        let attributes = attributes(element, at)?;
        let get = |name: &str| attributes.get(name).map(String::as_str);
        let name = element.local_name();
        let name = name.as_ref();
        if self.path.is_empty() && !matches!(name, "testsuites" | "testsuite") {
            return Err(JunitError::Root(name.chars().take(64).collect()));
        }
        let place = match (name, &mut self.case) {
            ("testcase", None) => {
                if self.report.cases.len() >= cases {
                    return Err(JunitError::TooMany(cases));
                }
                let class = get("classname").unwrap_or_default();
                let name = get("name").unwrap_or_default();
                let name =
                    if class.is_empty() { name.to_owned() } else { format!("{class}.{name}") };
                if get("name").unwrap_or_default().is_empty() || name.len() > NAME_LIMIT {
                    return Err(JunitError::Name(at));
                }
                self.case = Some(Case {
                    name,
                    outcome: TestOutcome::Passed,
                    time: time(get("time"), at)?,
                    message: None,
                    output: String::new(),
                });
                Place::Case
            }
            ("testsuite" | "testsuites", None) => {
                let counts = |name| get(name).is_some_and(|n| n.trim().parse() != Ok(0_u64));
                self.report.declared_failures |= counts("failures") || counts("errors");
                time(get("time"), at)?;
                Place::Nowhere
            }
            ("failure" | "error" | "skipped" | "flakyFailure" | "flakyError", Some(case))
                if self.path.last() == Some(&Place::Case) =>
            {
                let outcome = match name {
                    "skipped" => TestOutcome::Skipped,
                    // What Maven's Surefire writes of a test that it tried
                    // again and that passed then.
                    "flakyFailure" | "flakyError" => TestOutcome::Flaky,
                    _ => TestOutcome::Failed,
                };
                if severity(outcome) > severity(case.outcome) {
                    case.outcome = outcome;
                }
                self.message = get("message").unwrap_or_default().to_owned();
                Place::Message
            }
            ("system-out" | "system-err", Some(_)) if self.path.last() == Some(&Place::Case) => {
                Place::Output
            }
            _ => Place::Nowhere,
        };
        self.path.push(place);
        Ok(())
    }

    fn close(&mut self) {
        match (self.path.pop(), &mut self.case) {
            (Some(Place::Message), Some(case)) => {
                let message = std::mem::take(&mut self.message);
                let body = std::mem::take(&mut self.body);
                let (message, body) = (message.trim(), body.trim());
                // Many tools begin the text with what the attribute says.
                let message = match (message.is_empty(), body.is_empty()) {
                    (false, false) if !body.contains(message) => format!("{message}\n{body}"),
                    (_, false) => body.to_owned(),
                    (_, true) => message.to_owned(),
                };
                if case.message.is_none() && !message.is_empty() {
                    case.message = Some(message);
                }
            }
            (Some(Place::Case), _) => self.report.cases.extend(self.case.take()),
            _ => {}
        }
    }

    fn text(&mut self, text: &str) {
        match (self.path.last(), &mut self.case) {
            (Some(Place::Message), Some(_)) => append(&mut self.body, text),
            (Some(Place::Output), Some(case)) => append(&mut case.output, text),
            _ => {}
        }
    }
}

fn append(to: &mut String, text: &str) {
    let mut end = text.len().min(TEXT_LIMIT.saturating_sub(to.len()));
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    to.push_str(&text[..end]);
}

/// Two findings in one case: the worse counts.
fn severity(outcome: TestOutcome) -> u8 {
    match outcome {
        TestOutcome::Failed => 3,
        TestOutcome::Flaky => 2,
        TestOutcome::Skipped => 1,
        _ => 0,
    }
}

fn attributes(element: &BytesStart<'_>, at: u64) -> Result<BTreeMap<String, String>, JunitError> {
    let mut found = BTreeMap::new();
    for attribute in element.attributes() {
        if found.len() >= ATTRIBUTES_LIMIT {
            return Err(JunitError::Shape(at));
        }
        let syntax = |reason: String| JunitError::Syntax { at, reason };
        let attribute = attribute.map_err(|error| syntax(error.to_string()))?;
        let value =
            attribute.normalized_value(XmlVersion::Implicit1_0).map_err(|error| match error {
                quick_xml::Error::Escape(quick_xml::escape::EscapeError::UnrecognizedEntity(
                    _,
                    name,
                )) => entity(&name, at),
                error => syntax(error.to_string()),
            })?;
        let mut kept = String::new();
        append(&mut kept, &value);
        found.insert(attribute.key.local_name().as_ref().to_owned(), kept);
    }
    Ok(found)
}

fn entity(name: &str, at: u64) -> JunitError {
    JunitError::Entity { name: name.chars().take(64).collect(), at }
}

/// Seconds; none given is zero.
fn time(text: Option<&str>, at: u64) -> Result<Duration, JunitError> {
    let Some(text) = text.map(str::trim).filter(|text| !text.is_empty()) else {
        return Ok(Duration::ZERO);
    };
    let seconds: Option<f64> = text.parse().ok();
    seconds
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| JunitError::Time { text: text.chars().take(64).collect(), at })
}

#[cfg(test)]
mod tests;
