//! Colour, which never carries a meaning that the words do not have.

use seatrial_core::verdict::Verdict;

/// Whether text is coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Colour {
    /// Text only.
    #[default]
    Off,
    /// With the sixteen colours that every terminal has.
    On,
}

impl Colour {
    /// What went well.
    pub(crate) fn good(self, text: &str) -> String {
        self.code("32", text)
    }

    /// What went wrong.
    pub(crate) fn bad(self, text: &str) -> String {
        self.code("1;31", text)
    }

    /// What should be looked at.
    pub(crate) fn odd(self, text: &str) -> String {
        self.code("33", text)
    }

    /// What may be passed over.
    pub(crate) fn faint(self, text: &str) -> String {
        self.code("2", text)
    }

    /// Headings.
    pub(crate) fn strong(self, text: &str) -> String {
        self.code("1", text)
    }

    /// Text in the colour of a verdict; `None`: a skipped test.
    pub(crate) fn verdict(self, verdict: Option<Verdict>, text: &str) -> String {
        match verdict {
            Some(Verdict::Passed) => self.good(text),
            Some(Verdict::Failed | Verdict::Broken) => self.bad(text),
            Some(Verdict::Flaky | Verdict::NotRun | Verdict::Cancelled) => self.odd(text),
            None => self.faint(text),
        }
    }

    /// Select Graphic Rendition, ECMA-48 section 8.3.117.
    fn code(self, code: &str, text: &str) -> String {
        match self {
            Self::Off => text.to_owned(),
            Self::On => format!("\x1b[{code}m{text}\x1b[0m"),
        }
    }
}
