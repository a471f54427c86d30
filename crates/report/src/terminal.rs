//! A run on a terminal: the lines that stay, and below them what is going on.

use std::io::{self, IsTerminal as _, Write};

use seatrial_protocol::event::RunEvent;

use crate::Reporter;
use crate::colour::Colour;
use crate::lines::Lines;
use crate::live::Live;

/// How a terminal is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// Lines only: a file, a pipe, a log of another CI system.
    Plain,
    /// Coloured lines, with live progress below them.
    Live,
}

impl Look {
    /// Decides by what is known of the stream and of the environment
    /// variables `NO_COLOR` (<https://no-color.org>) and `TERM`.
    #[must_use]
    pub fn decide(is_terminal: bool, no_color: Option<&str>, term: Option<&str>) -> Self {
        let wants_none = no_color.is_some_and(|value| !value.is_empty());
        if is_terminal && !wants_none && term != Some("dumb") { Self::Live } else { Self::Plain }
    }

    /// Decides for the standard error of this process.
    #[must_use]
    pub fn of_stderr() -> Self {
        let variable = |name| std::env::var(name).ok();
        let (no_color, term) = (variable("NO_COLOR"), variable("TERM"));
        Self::decide(io::stderr().is_terminal(), no_color.as_deref(), term.as_deref())
    }
}

/// Shows a run to a person. Standard output stays free for data.
pub struct Terminal {
    lines: Lines,
    live: Option<Live>,
    out: Box<dyn Write + Send>,
}

impl std::fmt::Debug for Terminal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Terminal").field("lines", &self.lines).finish_non_exhaustive()
    }
}

impl Terminal {
    /// Shows a run on standard error.
    #[must_use]
    pub fn stderr(look: Look) -> Self {
        let (lines, live) = match look {
            Look::Plain => (Lines::new(Colour::Off).with_progress(), None),
            Look::Live => (Lines::new(Colour::On), Some(Live::stderr())),
        };
        Self { lines, live, out: Box::new(io::stderr()) }
    }

    fn write(&mut self, text: &[u8]) -> io::Result<()> {
        let Self { live, out, .. } = self;
        if text.is_empty() {
            return Ok(());
        }
        let mut write = || out.write_all(text).and_then(|()| out.flush());
        match live {
            Some(live) => live.suspend(write),
            None => write(),
        }
    }
}

impl Reporter for Terminal {
    fn event(&mut self, event: &RunEvent) -> io::Result<()> {
        let mut text = Vec::new();
        self.lines.event(event, &mut text)?;
        self.write(&text)?;
        if let Some(live) = &mut self.live {
            live.event(event, self.lines.summary());
        }
        Ok(())
    }

    fn end(&mut self) -> io::Result<()> {
        if let Some(live) = &mut self.live {
            live.clear();
        }
        let mut text = Vec::new();
        self.lines.end(&mut text)?;
        self.write(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursor_control_only_where_it_is_wanted() {
        let xterm = Some("xterm-256color");
        assert_eq!(Look::decide(true, None, xterm), Look::Live);
        assert_eq!(Look::decide(true, Some(""), xterm), Look::Live, "empty counts as unset");
        assert_eq!(Look::decide(true, Some("1"), xterm), Look::Plain);
        assert_eq!(Look::decide(true, None, Some("dumb")), Look::Plain);
        assert_eq!(Look::decide(false, None, xterm), Look::Plain);
    }
}
