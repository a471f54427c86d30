//! The end of what was written, in bounded memory: the end of an output mostly
//! says why something failed.

/// The last bytes of what was pushed.
#[derive(Debug, Clone, Default)]
pub struct Tail {
    bytes: Vec<u8>,
    limit: usize,
    dropped: u64,
}

impl Tail {
    /// Keeps the last `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { bytes: Vec::new(), limit, dropped: 0 }
    }

    /// Adds what was written.
    pub fn push(&mut self, bytes: &[u8]) {
        // Of a piece that is larger than the limit only the end can matter.
        let skipped = bytes.len().saturating_sub(self.limit);
        if skipped > 0 {
            self.dropped += (self.bytes.len() + skipped) as u64;
            self.bytes.clear();
        }
        self.bytes.extend_from_slice(&bytes[skipped..]);
        // Twice the limit before moving anything: each byte is moved once.
        if self.bytes.len() > self.limit.saturating_mul(2) {
            self.dropped += self.surplus() as u64;
            self.bytes.drain(..self.surplus());
        }
    }

    /// Whether nothing was pushed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty() && self.dropped == 0
    }

    /// The kept bytes. When something is missing they begin with a whole line
    /// where they can, and with a line that says how much is missing.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let (mut dropped, mut from) = (self.dropped, self.surplus());
        if dropped == 0 && from == 0 {
            return self.bytes.clone();
        }
        let kept = &self.bytes[from..];
        from += match kept.iter().position(|byte| *byte == b'\n') {
            Some(end) if end + 1 < kept.len() => end + 1,
            // Not in the middle of a character of UTF-8, whose later bytes are 10xxxxxx.
            _ => kept.iter().take(3).take_while(|byte| **byte & 0xc0 == 0x80).count(),
        };
        dropped += from as u64;
        let mut bytes = format!("[{dropped} bytes before this are not kept]\n").into_bytes();
        bytes.extend_from_slice(&self.bytes[from..]);
        bytes
    }

    /// [`Tail::bytes`] as text; what is not UTF-8 is replaced.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes()).into_owned()
    }

    fn surplus(&self) -> usize {
        self.bytes.len().saturating_sub(self.limit)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn keeps_the_end_and_says_what_is_missing() {
        let mut tail = Tail::new(10);
        assert!(tail.is_empty());
        tail.push(b"short");
        assert_eq!(tail.text(), "short");
        tail.push(" line\nlast ä\n".as_bytes());
        assert_eq!(tail.text(), "[11 bytes before this are not kept]\nlast ä\n");
        // Asking changes nothing.
        tail.push(b"more\n");
        assert_eq!(tail.text(), "[19 bytes before this are not kept]\nmore\n");
    }

    #[test]
    fn a_long_line_is_cut_between_characters() {
        let mut tail = Tail::new(3);
        tail.push("ä".repeat(20).as_bytes());
        assert_eq!(tail.text(), "[38 bytes before this are not kept]\nä");
    }

    proptest! {
        #[test]
        fn it_is_the_end_in_whole_lines_however_it_came(
            lines in proptest::collection::vec("[a-z]{0,8}", 0..60),
            limit in 1_usize..64,
            piece in 1_usize..90,
        ) {
            let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
            let mut tail = Tail::new(limit);
            for bytes in text.as_bytes().chunks(piece) {
                tail.push(bytes);
                prop_assert!(tail.bytes.len() <= 2 * limit);
            }
            let kept = tail.text();
            if text.len() <= limit {
                prop_assert_eq!(kept, text);
            } else {
                let (said, kept) = kept.split_once('\n').expect("a line says what is missing");
                prop_assert!(text.ends_with(kept) && kept.len() <= limit);
                let missing = text.len() - kept.len();
                prop_assert_eq!(said, format!("[{missing} bytes before this are not kept]"));
            }
        }
    }
}
