//! What is wrong with a pipeline file, and how it is shown.
//!
//! Owns the stable codes, the place of each mistake and the two forms of text
//! (with the source around it, or one narrow line each). It decides nothing:
//! the passes of this crate make diagnostics, the `seatrial` command prints them.

mod code;
mod words;

use std::fmt::{self, Write as _};
use std::sync::Arc;

use seatrial_core::failure::Failure;
use serde::Serialize;

use crate::source::{Source, Span};

pub use code::Code;
pub(crate) use words::{listed, nearest, quote};

/// How many diagnostics one file gets; the rest is counted.
const MOST: usize = 100;

/// Whether a diagnostic keeps the file from being used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// The file cannot be used.
    Error,
    /// The file can be used, and is likely not what was meant.
    Warning,
}

/// One thing that is wrong with a pipeline file or the command line.
#[derive(Debug, Clone, Serialize)]
pub struct Diagnostic {
    /// Whether the file can be used all the same.
    pub severity: Severity,
    /// What kind of mistake it is, for programs.
    pub code: Code,
    /// What was found, as a lowercase fragment.
    pub message: String,
    /// Where, in the words of the file: `builds.server.timeout`; empty where
    /// the file as a whole is meant.
    pub at: String,
    /// What to write under the marked place.
    #[serde(skip)]
    pub label: String,
    /// What is allowed and the nearest right word, each one sentence.
    pub hints: Vec<String>,
    /// The place in the file.
    #[serde(flatten)]
    pub place: Option<Box<Place>>,
}

/// A place in a file.
#[derive(Debug, Clone, Serialize)]
pub struct Place {
    /// The file as the caller named it.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// Byte range in the file.
    pub span: std::ops::Range<usize>,
    #[serde(skip)]
    source: Arc<Source>,
}

impl Diagnostic {
    /// That a file of the project cannot be read.
    #[must_use]
    pub fn unreadable(path: &str, reason: &str) -> Self {
        Self::new(Code::NotFound, format!("cannot read {}: {reason}", quote(path)))
    }

    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            code,
            message: message.into(),
            at: String::new(),
            label: String::new(),
            hints: Vec::new(),
            place: None,
        }
    }

    pub(crate) fn warning(code: Code, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::new(code, message) }
    }

    pub(crate) fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Adds "did you mean" when there is a near word.
    pub(crate) fn nearest(self, nearest: Option<String>) -> Self {
        match nearest {
            Some(word) => self.label(format!("did you mean `{word}`?")),
            None => self,
        }
    }
}

/// The narrow form: a line for the mistake, an indented one for each hint.
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.place {
            write!(f, "{}:{}:{}: ", place.file, place.line, place.column)?;
        }
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        write!(f, "{severity}[{}]: {}", self.code, self.message)?;
        let label = (!self.label.is_empty()).then_some(&self.label);
        for hint in label.into_iter().chain(&self.hints) {
            write!(f, "\n  hint: {hint}")?;
        }
        Ok(())
    }
}

/// How diagnostics are shown to a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// One line each, and one for each hint: for logs and narrow terminals.
    Narrow,
    /// With the lines of the file around the mistake.
    Fancy {
        /// Whether to colour; the text says the same without.
        color: bool,
        /// Columns of the terminal.
        width: usize,
    },
}

/// Shows diagnostics, in order, each ended by a line feed.
#[must_use]
pub fn render(diagnostics: &[Diagnostic], style: Style) -> String {
    let mut text = String::new();
    for diagnostic in diagnostics {
        // A file of one long line would be shown whole for each mistake.
        let showable = |place: &Place| place.source.is_showable(place.line);
        match style {
            Style::Fancy { color, width }
                if diagnostic.place.as_ref().is_none_or(|place| showable(place)) =>
            {
                fancy(color, width)
                    .render_report(&mut text, &Report(diagnostic))
                    .expect("a String takes all text");
                text.push('\n');
            }
            _ => writeln!(text, "{diagnostic}").expect("a String takes all text"),
        }
    }
    text
}

/// The failure of a run whose pipeline file cannot be used.
#[must_use]
pub fn failure(diagnostics: &[Diagnostic]) -> Failure {
    let errors = || diagnostics.iter().filter(|d| d.severity == Severity::Error);
    let file = errors().find_map(|d| d.place.as_ref()).map(|place| place.file.clone());
    let message = match (errors().count(), file) {
        (1, Some(file)) => format!("{file} has a mistake"),
        (n, Some(file)) => format!("{file} has {n} mistakes"),
        (_, None) => errors().next().map_or_else(String::new, |d| d.message.clone()),
    };
    let code = errors().next().map_or("config.bad_value", |d| d.code.as_str());
    Failure::config(code, message).detail(render(diagnostics, Style::Narrow))
}

fn fancy(color: bool, width: usize) -> miette::GraphicalReportHandler {
    let theme = match color {
        true => miette::GraphicalTheme::unicode(),
        false => miette::GraphicalTheme::unicode_nocolor(),
    };
    // Below 40 columns the frame leaves no room for text.
    miette::GraphicalReportHandler::new_themed(theme).with_width(width.max(40)).with_links(false)
}

/// A diagnostic as miette wants it: text, label and source in one.
struct Report<'a>(&'a Diagnostic);

impl fmt::Debug for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for Report<'_> {}

impl miette::Diagnostic for Report<'_> {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(self.0.code))
    }

    fn severity(&self) -> Option<miette::Severity> {
        Some(match self.0.severity {
            Severity::Error => miette::Severity::Error,
            Severity::Warning => miette::Severity::Warning,
        })
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        (!self.0.hints.is_empty()).then(|| Box::new(self.0.hints.join("\n")) as _)
    }

    fn source_code(&self) -> Option<&dyn miette::SourceCode> {
        self.0.place.as_ref().map(|place| &*place.source as _)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = miette::LabeledSpan> + '_>> {
        let place = self.0.place.as_ref()?;
        let label = (!self.0.label.is_empty()).then(|| self.0.label.clone());
        let span = place.source.first_line(Span::new(place.span.start, place.span.end));
        Some(Box::new(std::iter::once(miette::LabeledSpan::new(
            label,
            span.start(),
            span.end() - span.start(),
        ))))
    }
}

/// Collects what the passes find, up to a limit.
pub(crate) struct Problems {
    source: Arc<Source>,
    found: Vec<Diagnostic>,
    more: usize,
}

impl Problems {
    pub(crate) fn new(source: Source) -> Self {
        Self { source: Arc::new(source), found: Vec::new(), more: 0 }
    }

    /// Keeps a diagnostic about a place in the file. An alias is read once for
    /// each use, and its mistakes are said once.
    pub(crate) fn push(&mut self, span: Span, mut diagnostic: Diagnostic) {
        let same = |d: &Diagnostic| {
            d.code == diagnostic.code
                && d.message == diagnostic.message
                && d.place.as_ref().is_some_and(|p| p.span == span.range())
        };
        if self.is_full() {
            self.more += usize::from(diagnostic.severity == Severity::Error);
        } else if !self.found.iter().any(same) {
            let (line, column) = self.source.line_column(span.start());
            diagnostic.place = Some(Box::new(Place {
                file: self.source.name().to_owned(),
                line,
                column,
                span: span.range(),
                source: Arc::clone(&self.source),
            }));
            self.found.push(diagnostic);
        }
    }

    /// What stands at a place in the file; what a terminal would act upon is
    /// replaced by as many other bytes.
    pub(crate) fn text(&self, span: Span) -> &str {
        self.source.text(span)
    }

    /// Whether more diagnostics are only counted: suggestions need not be
    /// looked for any more.
    pub(crate) fn is_full(&self) -> bool {
        self.found.len() >= MOST
    }

    pub(crate) fn has_errors(&self) -> bool {
        self.more > 0 || self.found.iter().any(|d| d.severity == Severity::Error)
    }

    /// All that was found, in the order of the file.
    pub(crate) fn finish(mut self) -> Vec<Diagnostic> {
        self.found.sort_by_key(|d| d.place.as_ref().map(|p| p.span.start));
        if self.more > 0 {
            let message = format!("{} further mistakes are not shown", self.more);
            self.found.push(Diagnostic::new(Code::TooMany, message));
        }
        self.found
    }
}
