//! Bytes as they come from a pipe, cut into lines of text with a bound.

/// Bytes of a line that are kept; the rest is counted and dropped.
pub(crate) const LINE_LIMIT: usize = 1 << 20;

/// Collects bytes until a line is whole. The lines do not depend on how the
/// bytes were cut into chunks.
#[derive(Debug)]
pub(crate) struct Lines {
    line: Vec<u8>,
    dropped: u64,
    mark: Option<u8>,
}

impl Lines {
    /// Lines that end with a line feed, and before each `mark`: a byte that
    /// begins a line of its own wherever it stands.
    pub(crate) fn new(mark: Option<u8>) -> Self {
        Self { line: Vec::new(), dropped: 0, mark }
    }

    /// Takes bytes and gives each line that they complete to `on_line`, with
    /// its line feed if it has one. What is not UTF-8 is replaced.
    pub(crate) fn push(&mut self, mut bytes: &[u8], mut on_line: impl FnMut(&str)) {
        while let Some(first) = bytes.first() {
            if Some(*first) == self.mark && !self.is_empty() {
                self.end_line(&mut on_line);
            }
            // The first byte is taken whatever it is, so this makes progress.
            let stop = |b: &u8| *b == b'\n' || Some(*b) == self.mark;
            let (length, ends) = if *first == b'\n' {
                (1, true)
            } else {
                match bytes[1..].iter().position(stop) {
                    Some(at) if bytes[1 + at] == b'\n' => (at + 2, true),
                    Some(at) => (at + 1, true),
                    None => (bytes.len(), false),
                }
            };
            self.add(&bytes[..length]);
            bytes = &bytes[length..];
            if ends {
                self.end_line(&mut on_line);
            }
        }
    }

    /// The end of the stream: gives the last line, which has no line feed.
    pub(crate) fn finish(&mut self, mut on_line: impl FnMut(&str)) {
        if !self.is_empty() {
            self.end_line(&mut on_line);
        }
    }

    fn is_empty(&self) -> bool {
        self.line.is_empty() && self.dropped == 0
    }

    fn add(&mut self, bytes: &[u8]) {
        let room = LINE_LIMIT - self.line.len();
        let (kept, dropped) = bytes.split_at(room.min(bytes.len()));
        self.line.extend_from_slice(kept);
        self.dropped += dropped.len() as u64;
    }

    fn end_line(&mut self, on_line: &mut impl FnMut(&str)) {
        let text = String::from_utf8_lossy(&self.line);
        if self.dropped == 0 {
            on_line(&text);
        } else {
            on_line(&format!("{text} [line cut, {} more bytes]\n", self.dropped));
        }
        self.line.clear();
        self.dropped = 0;
        // One long line must not pin a megabyte for the rest of the run.
        self.line.shrink_to(4096);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(mark: Option<u8>, chunks: &[&[u8]]) -> Vec<String> {
        let mut lines = Lines::new(mark);
        let mut seen = Vec::new();
        for chunk in chunks {
            lines.push(chunk, |line| seen.push(line.to_owned()));
        }
        lines.finish(|line| seen.push(line.to_owned()));
        seen
    }

    #[test]
    fn lines_end_at_line_feeds_and_before_marks() {
        assert_eq!(lines(None, &[b"a\n\nb\x16c"]), ["a\n", "\n", "b\x16c"]);
        assert_eq!(
            lines(Some(0x16), &[b"a\n\nb\x16c\n\x16\x16d"]),
            ["a\n", "\n", "b", "\x16c\n", "\x16", "\x16d"]
        );
        assert_eq!(lines(None, &[b"bad \xff\n"]), ["bad \u{fffd}\n"]);
    }

    #[test]
    fn a_line_longer_than_the_limit_is_cut_with_a_marker() {
        let long = vec![b'x'; LINE_LIMIT + 7];
        let seen = lines(None, &[&long, b"yz\nnext\n"]);
        assert_eq!(seen.len(), 2);
        // Seven of the first chunk and "yz\n" of the second did not fit.
        assert_eq!(seen[0].get(LINE_LIMIT..), Some(" [line cut, 10 more bytes]\n"));
        assert_eq!(seen[1], "next\n");
    }

    proptest::proptest! {
        #[test]
        fn chunks_do_not_matter(
            bytes in proptest::collection::vec(
                proptest::prop_oneof![proptest::strategy::Just(b'\n'), proptest::strategy::Just(0x16), proptest::prelude::any::<u8>()],
                0..200,
            ),
            cut in 0_usize..200,
        ) {
            let cut = cut.min(bytes.len());
            let (a, b) = bytes.split_at(cut);
            proptest::prop_assert_eq!(lines(Some(0x16), &[&bytes]), lines(Some(0x16), &[a, b]));
        }
    }
}
