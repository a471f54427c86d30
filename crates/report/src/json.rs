//! Events as they are, one JSON value a line, for programs.

use std::io::{self, Write};

use seatrial_protocol::event::RunEvent;

use crate::Reporter;

/// Writes each event as one line of JSON and flushes it.
#[derive(Debug)]
pub struct Json<W>(W);

impl<W: Write> Json<W> {
    /// Writes to `out`: standard output, for `--format json`.
    pub fn new(out: W) -> Self {
        Self(out)
    }

    /// What it writes to.
    pub fn into_inner(self) -> W {
        self.0
    }
}

impl<W: Write> Reporter for Json<W> {
    fn event(&mut self, event: &RunEvent) -> io::Result<()> {
        serde_json::to_writer(&mut self.0, event)?;
        self.0.write_all(b"\n")?;
        self.0.flush()
    }

    fn end(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
