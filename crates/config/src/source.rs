//! The text of a pipeline file: decoded, searched for characters that nobody
//! can see, and asked for lines and columns.

use std::ops::Range;

/// Bytes that a pipeline file may have.
pub(crate) const LARGEST: usize = 1 << 20;

/// A byte range of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Span {
    start: u32,
    end: u32,
}

impl Span {
    pub(crate) fn new(start: usize, end: usize) -> Self {
        let small = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Self { start: small(start), end: small(end.max(start)) }
    }

    pub(crate) fn start(self) -> usize {
        self.start as usize
    }

    pub(crate) fn end(self) -> usize {
        self.end as usize
    }

    pub(crate) fn range(self) -> Range<usize> {
        self.start()..self.end()
    }
}

/// The file as it is shown in diagnostics.
#[derive(Debug)]
pub(crate) struct Source {
    name: String,
    /// Characters that a terminal would act upon stand as others of the same
    /// length, so that spans stay true.
    text: String,
    lines: Vec<usize>,
}

impl Source {
    pub(crate) fn new(name: &str, text: &str) -> Self {
        let text: String =
            inspect(text).map(|(_, c, bad)| if bad { stand_in(c) } else { c }).collect();
        let starts = text.match_indices('\n').map(|(at, _)| at + 1);
        let lines = std::iter::once(0).chain(starts).collect();
        Self { name: name.to_owned(), text, lines }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// What stands at a place.
    pub(crate) fn text(&self, span: Span) -> &str {
        self.text.get(span.range()).unwrap_or_default()
    }

    /// Line and column in characters, both from 1.
    pub(crate) fn line_column(&self, offset: usize) -> (usize, usize) {
        let line = self.lines.partition_point(|start| *start <= offset);
        let start = self.lines[line.saturating_sub(1)];
        let before = self.text.get(start..offset).unwrap_or_default();
        (line, before.chars().count() + 1)
    }

    /// Whether the lines around a line are short enough to be shown.
    pub(crate) fn is_showable(&self, line: usize) -> bool {
        let start = |line: usize| self.lines.get(line).copied().unwrap_or(self.text.len());
        start(line + 1) - start(line.saturating_sub(2)) < 1000
    }

    /// The part of a span on its first line: what is pointed at.
    pub(crate) fn first_line(&self, span: Span) -> Span {
        let line = self.text(span).lines().next().unwrap_or_default().trim_end();
        Span::new(span.start(), span.start() + line.len())
    }
}

impl miette::SourceCode for Source {
    fn read_span<'a>(
        &'a self,
        span: &miette::SourceSpan,
        before: usize,
        after: usize,
    ) -> Result<Box<dyn miette::SpanContents<'a> + 'a>, miette::MietteError> {
        let inner = self.text.read_span(span, before, after)?;
        Ok(Box::new(miette::MietteSpanContents::new_named(
            self.name.clone(),
            inner.data(),
            *inner.span(),
            inner.line(),
            inner.column(),
            inner.line_count(),
        )))
    }
}

/// Whether a character has no place in a pipeline file: control characters
/// but tab and line ends, marks that turn the direction of text around, byte
/// order marks, and line ends that not every editor shows.
pub(crate) fn is_invisible(c: char) -> bool {
    match c {
        '\t' | '\n' | '\r' => false,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
            true
        }
        '\u{feff}' => true,
        _ => c.is_control(),
    }
}

/// The characters of `text` that have no place in a pipeline file, with their
/// offsets.
pub(crate) fn invisible(text: &str) -> impl Iterator<Item = (usize, char)> + '_ {
    inspect(text).filter(|(_, _, bad)| *bad).map(|(at, c, _)| (at, c))
}

/// Characters, and whether each has no place here. A carriage return has one
/// only before a line feed: alone it hides the line before it on a terminal.
fn inspect(text: &str) -> impl Iterator<Item = (usize, char, bool)> + '_ {
    text.char_indices().map(|(at, c)| {
        let lone = c == '\r' && !text[at + 1..].starts_with('\n');
        (at, c, lone || is_invisible(c))
    })
}

/// Another character with as many bytes of UTF-8.
fn stand_in(c: char) -> char {
    match c.len_utf8() {
        1 => '?',
        2 => '¿',
        _ => '\u{fffd}',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_columns_count_characters_from_one() {
        let source = Source::new("f", "ab\ncäd\n");
        assert_eq!(source.line_column(0), (1, 1));
        assert_eq!(source.line_column(3), (2, 1));
        assert_eq!(source.line_column(6), (2, 3));
        assert_eq!(source.line_column(8), (3, 1));
        assert_eq!(source.line_column(99), (3, 1));
    }

    #[test]
    fn what_is_shown_is_inert_and_as_long() {
        let bad = ["\u{1b}b", "\u{85}b", "\u{202e}b", "\u{feff}b", "\0b", "\u{2028}b", "\rb"];
        for text in bad {
            let source = Source::new("f", text);
            assert_eq!(invisible(text).count(), 1, "{text:?}");
            assert_eq!(invisible(&source.text).count(), 0, "{text:?}");
            assert_eq!(source.text.len(), text.len(), "{text:?}");
        }
        assert_eq!(invisible("a\r\n\tb").count(), 0);
    }
}
