//! Run events to terminal, step table, JUnit and JSON.
//!
//! A report is made from run events and from nothing else, so a recorded run
//! looks as it did live. The fold is [`Summary`]; everything else renders it.
//! This crate decides nothing about a run and reads no clock but that of the
//! live display; the command line gives it events and writers.
//!
//! ```text
//! RunEvent ─▶ Summary ─▶ Lines ─▶ Terminal (+ live progress)
//!    │           ├─▶ junit
//!    │           ├─▶ explain
//!    └─▶ Json    └─▶ RunLine ─▶ runs_table
//! ```

pub mod summary;

mod colour;
mod ending;
mod explain;
mod json;
mod junit;
mod lines;
mod live;
mod runs;
#[cfg(test)]
mod sample;
mod table;
mod terminal;
mod text;

pub use colour::Colour;
pub use explain::explain;
pub use json::Json;
pub use junit::{JunitError, junit};
pub use lines::Lines;
pub use runs::{RunLine, runs_table};
pub use summary::Summary;
pub use table::step_table;
pub use terminal::{Look, Terminal};

use seatrial_protocol::event::RunEvent;

/// Something that shows a run while it happens, or again later.
pub trait Reporter {
    /// Takes in the next event and shows it.
    ///
    /// # Errors
    /// When what it shows could not be written.
    fn event(&mut self, event: &RunEvent) -> std::io::Result<()>;

    /// There will be no more events: the run is over, or its recording is cut.
    ///
    /// # Errors
    /// When what it shows could not be written.
    fn end(&mut self) -> std::io::Result<()>;
}
