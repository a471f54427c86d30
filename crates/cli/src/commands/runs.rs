use std::num::NonZeroUsize;

use clap::Args;
use seatrial_core::failure::Failure;
use seatrial_core::ids::RunId;
use seatrial_protocol::event::RunEvent;
use seatrial_report::{RunLine, Summary, runs_table};
use seatrial_store::{Records, Store};

use crate::error::CommandError;
use crate::paths::PathArgs;
use crate::ui;

/// List recorded runs, newest first
#[derive(Debug, Args)]
pub(crate) struct RunsArgs {
    /// How many
    #[arg(short = 'n', long, default_value = "20")]
    limit: NonZeroUsize,
}

impl RunsArgs {
    pub(crate) fn run(&self, paths: &PathArgs) -> Result<u8, CommandError> {
        let store = Store::open(paths.state()?)?;
        let mut lines = Vec::new();
        for row in store.records().runs(self.limit.get())? {
            let summary = Summary::from_events(&events(store.records(), row.run)?);
            lines.extend(RunLine::of(&summary));
        }
        if lines.is_empty() {
            ui::note("no run is recorded yet: `seatrial run` makes the first");
            return Ok(0);
        }
        ui::data(&runs_table(&lines))?;
        Ok(0)
    }
}

/// The recorded run that a person means.
///
/// # Errors
/// When there is none, or more than one can be meant.
pub(crate) fn find(records: &dyn Records, text: &str) -> Result<RunId, CommandError> {
    if records.runs(1)?.is_empty() {
        return Err(Failure::config("run.unknown", "no run is recorded yet")
            .hint("`seatrial run` makes the first")
            .into());
    }
    Ok(records.find_run(text)?)
}

/// Events read at once.
const CHUNK: usize = 10_000;

/// The recorded events of a run. What a newer Seatrial wrote and this one
/// cannot read is left out.
pub(crate) fn events(records: &dyn Records, run: RunId) -> Result<Vec<RunEvent>, CommandError> {
    let mut events = Vec::new();
    let mut from = 0;
    loop {
        let texts = records.events(run, from, CHUNK)?;
        if texts.is_empty() {
            return Ok(events);
        }
        from += texts.len() as u64;
        events.extend(texts.iter().filter_map(|text| serde_json::from_str(text).ok()));
    }
}
