//! The end of a text of any length, in bounded memory: what is kept of a
//! failed test's output.

/// The last bytes of what was pushed.
#[derive(Debug, Clone, Default)]
pub struct Tail {
    text: String,
    limit: usize,
    dropped: u64,
}

impl Tail {
    /// How many bytes of a test's output are kept with its result.
    pub const TEST: usize = 16 << 10;

    /// Keeps the last `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { text: String::new(), limit, dropped: 0 }
    }

    /// Adds text.
    pub fn push(&mut self, text: &str) {
        self.text.push_str(text);
        // Twice the limit before moving anything: each byte is moved once.
        if self.text.len() > self.limit.saturating_mul(2) {
            self.cut();
        }
    }

    /// The kept text. When something is missing it begins with a whole line
    /// where it can, and with a line that says how much is missing.
    #[must_use]
    pub fn finish(mut self) -> String {
        self.cut();
        if self.dropped == 0 {
            return self.text;
        }
        if let Some(end) = self.text.find('\n').filter(|end| end + 1 < self.text.len()) {
            self.dropped += end as u64 + 1;
            self.text.drain(..=end);
        }
        format!("[{} bytes before this are not kept]\n{}", self.dropped, self.text)
    }

    /// Whether nothing was pushed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    fn cut(&mut self) {
        if self.text.len() <= self.limit {
            return;
        }
        let mut from = self.text.len() - self.limit;
        while !self.text.is_char_boundary(from) {
            from += 1;
        }
        self.dropped += from as u64;
        self.text.drain(..from);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_end_and_says_what_is_missing() {
        let mut tail = Tail::new(10);
        tail.push("short");
        assert_eq!(tail.clone().finish(), "short");
        tail.push(" line\nlast ä\n");
        assert_eq!(tail.finish(), "[11 bytes before this are not kept]\nlast ä\n");
    }

    #[test]
    fn memory_is_bounded_whatever_comes() {
        let mut tail = Tail::new(100);
        for n in 0..10_000 {
            tail.push(&format!("line {n}\n"));
            assert!(tail.text.capacity() < 1000);
        }
        let text = tail.finish();
        assert!(text.ends_with("line 9999\n"), "{text}");
        assert!(text.starts_with("[98"), "{text}");
    }

    #[test]
    fn a_long_line_is_cut_between_characters() {
        let mut tail = Tail::new(3);
        tail.push(&"ä".repeat(20));
        assert_eq!(tail.finish(), "[38 bytes before this are not kept]\nä");
    }
}
