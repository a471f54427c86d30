use std::time::{Duration, SystemTime};

use clap::Args;
use seatrial_core::quantity::{ParseQuantityError, parse_duration, parse_size};
use seatrial_store::{Keep, Store};

use crate::error::CommandError;
use crate::paths::PathArgs;
use crate::ui;

/// Make room: remove artifacts that nobody has used for long, and old runs
///
/// What goes is made again when it is needed. Whatever was used since the oldest
/// `seatrial` began that still runs stays.
#[derive(Debug, Args)]
pub(crate) struct GcArgs {
    /// Keep at most this much, the most recently used; 0 keeps nothing
    #[arg(long, value_name = "SIZE", default_value = "20Gi", value_parser = size_or_none)]
    size: u64,
    /// Keep only what was used within this time, such as 720h
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    unused: Option<Duration>,
    /// Keep this many recorded runs with their logs
    #[arg(long, value_name = "COUNT", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(10..))]
    runs: u32,
    /// Only say what would be removed
    #[arg(long)]
    dry_run: bool,
}

impl GcArgs {
    pub(crate) fn run(&self, paths: &PathArgs) -> Result<u8, CommandError> {
        let store = Store::open(paths.state()?)?;
        let since = self.unused.and_then(|unused| SystemTime::now().checked_sub(unused));
        let used_since = since.unwrap_or(SystemTime::UNIX_EPOCH);
        let collected = store.collect(Keep { size: self.size, used_since }, self.dry_run)?;
        let mut runs = 0;
        if !self.dry_run {
            for run in store.records().forget_runs(self.runs as usize)? {
                store.remove_logs(run)?;
                runs += 1;
            }
        }
        let would = if self.dry_run { "would remove" } else { "removed" };
        let mut text = format!(
            "{would} {} artifacts, {}; {} stay, {}\n",
            collected.removed,
            size(collected.freed),
            collected.kept,
            size(collected.size),
        );
        if runs > 0 {
            text.push_str(&format!("forgot {runs} runs\n"));
        }
        if collected.in_use > 0 {
            let in_use = size(collected.in_use);
            text.push_str(&format!("{in_use} more may be in use by what runs now\n"));
        }
        ui::data(&text)?;
        Ok(0)
    }
}

fn size_or_none(text: &str) -> Result<u64, ParseQuantityError> {
    if text == "0" { Ok(0) } else { parse_size(text) }
}

/// Bytes as a person reads them, with the units that `--size` takes.
fn size(bytes: u64) -> String {
    let units = [(1_u64 << 40, "Ti"), (1 << 30, "Gi"), (1 << 20, "Mi"), (1 << 10, "Ki")];
    match units.into_iter().find(|(unit, _)| bytes >= *unit) {
        // Whole numbers below ten would say too little.
        Some((unit, name)) => format!("{}.{}{name}", bytes / unit, bytes % unit * 10 / unit),
        None => format!("{bytes} bytes"),
    }
}
