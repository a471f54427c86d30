use clap::Args;
use indicatif::ProgressBar;
use seatrial_core::verdict::exit_code;
use seatrial_store::Store;

use crate::error::CommandError;
use crate::paths::PathArgs;
use crate::ui;

/// Read all artifacts again, and put aside those that are damaged
///
/// What is put aside is made again when it is needed; it stays in `quarantine/` of
/// the state directory. Exits with 1 when something was damaged.
#[derive(Debug, Args)]
pub(crate) struct ScrubArgs {}

impl ScrubArgs {
    pub(crate) fn run(&self, paths: &PathArgs) -> Result<u8, CommandError> {
        let store = Store::open(paths.state()?)?;
        // Hidden where standard error is no terminal.
        let bar = ProgressBar::new(0);
        let scrubbed = store.scrub(|all, done| {
            bar.set_length(all as u64);
            bar.set_position(done as u64);
        })?;
        bar.finish_and_clear();
        for damaged in &scrubbed.damaged {
            let name = damaged.digest.map_or_else(|| "a stray file".to_owned(), |d| d.to_string());
            ui::note(&format!("{name}: {}; now at {}", damaged.what, damaged.aside.display()));
        }
        ui::data(&format!("{} sound, {} damaged\n", scrubbed.sound, scrubbed.damaged.len()))?;
        Ok(if scrubbed.damaged.is_empty() { 0 } else { exit_code::FAILED })
    }
}
