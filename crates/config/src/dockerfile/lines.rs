//! The lines of a Dockerfile: comments left out, continued ones joined, each
//! character still with its place in the file.

use crate::source::Span;

/// One instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    /// In upper case.
    pub(super) keyword: String,
    /// Where the keyword stands.
    pub(super) span: Span,
    /// What stands behind it.
    pub(super) text: String,
    /// Where parts of `text` begin: in it, and in the file.
    pieces: Vec<(usize, usize)>,
}

impl Line {
    /// The place in the file of a range of `text`.
    pub(super) fn place(&self, start: usize, end: usize) -> Span {
        let next = self.pieces.partition_point(|(at, _)| *at <= start).max(1);
        let (at, origin) = self.pieces[next - 1];
        let limit = self.pieces.get(next).map_or(self.text.len(), |(at, _)| *at);
        Span::new(origin + start - at, origin + end.min(limit).max(start) - at)
    }
}

/// Splits a file into instructions; the character that continues a line is that
/// of its `# escape=` directive, else a backslash.
pub(super) fn lines(text: &str) -> (Vec<Line>, char) {
    let mut lines = Vec::new();
    let mut escape = '\\';
    let mut directives = true;
    let mut open: Option<Line> = None;
    let mut at = 0;
    for physical in text.split_inclusive('\n') {
        let start = at;
        at += physical.len();
        let content = physical.trim_end_matches(['\n', '\r']);
        let trimmed = content.trim_start();
        let indent = start + content.len() - trimmed.len();
        if let Some(comment) = trimmed.strip_prefix('#') {
            let directive =
                comment.split_once('=').map(|(name, value)| (name.trim(), value.trim()));
            match directive {
                Some((name, "`")) if directives && name.eq_ignore_ascii_case("escape") => {
                    escape = '`';
                }
                Some((name, _)) if ["syntax", "escape", "check"].contains(&name) => {}
                _ => directives = false,
            }
            continue;
        }
        directives = false;
        if trimmed.is_empty() {
            // An empty line within a continued one is left out, as Docker does.
            continue;
        }
        let (body, more) = match content.trim_end().strip_suffix(escape) {
            Some(body) => (body, true),
            None => (content, false),
        };
        match &mut open {
            Some(line) => {
                line.pieces.push((line.text.len(), start));
                line.text.push_str(body);
            }
            None => {
                let word = body.get(indent - start..).unwrap_or_default();
                let end = word.find(char::is_whitespace).unwrap_or(word.len());
                let rest = word[end..].trim_start();
                let rest_at = indent + word.len() - rest.len();
                open = Some(Line {
                    keyword: word[..end].to_ascii_uppercase(),
                    span: Span::new(indent, indent + end),
                    text: rest.to_owned(),
                    pieces: vec![(0, rest_at)],
                });
            }
        }
        if !more {
            lines.extend(open.take());
        }
    }
    lines.extend(open);
    for line in &mut lines {
        line.text.truncate(line.text.trim_end().len());
    }
    (lines, escape)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_continuations_and_places() {
        let text = "# syntax=x\n# escape=`\n\nFROM scratch # x\n  copy a `\n # inner\n\n    b /c\n";
        let (lines, escape) = lines(text);
        assert_eq!(escape, '`');
        let shown: Vec<_> = lines.iter().map(|l| (l.keyword.as_str(), l.text.as_str())).collect();
        assert_eq!(shown, [("FROM", "scratch # x"), ("COPY", "a     b /c")]);
        let at = |start, end| &text[lines[1].place(start, end).range()];
        assert_eq!(&text[lines[1].span.range()], "copy");
        assert_eq!(at(0, 1), "a");
        assert_eq!(at(6, 7), "b");
        assert_eq!(at(8, 10), "/c");
    }
}
