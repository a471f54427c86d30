use std::io::IsTerminal as _;

use clap::Args;
use seatrial_core::failure::Failure;
use seatrial_core::ids::{AttemptId, RunId};
use seatrial_protocol::event::{RunEvent, RunEventKind};
use seatrial_protocol::sanitise::sanitise;
use seatrial_report::Summary;
use seatrial_store::Store;
use seatrial_store::log::LogKey;

use crate::commands::runs::{events, find};
use crate::error::CommandError;
use crate::paths::PathArgs;
use crate::ui;

/// Print what a node of a recorded run wrote
///
/// Without a node: lists the nodes that wrote something.
#[derive(Debug, Args)]
pub(crate) struct LogsArgs {
    /// `latest`, an id, or its first or last digits; a node of the latest run
    #[arg(default_value = "latest")]
    run: String,
    /// The node, such as build/server
    node: Option<String>,
}

/// Bytes read at once.
const CHUNK: u64 = 1 << 20;

impl LogsArgs {
    pub(crate) fn run(&self, paths: &PathArgs) -> Result<u8, CommandError> {
        let store = Store::open(paths.state()?)?;
        // Names of nodes have a slash in them, and runs have none.
        let (run, node) = match &self.node {
            None if self.run.contains('/') => ("latest", Some(&self.run)),
            node => (self.run.as_str(), node.as_ref()),
        };
        let run = find(store.records(), run)?;
        let events = events(store.records(), run)?;
        let summary = Summary::from_events(&events);
        let attempts = attempts(&events);
        let named: Vec<_> =
            attempts.iter().map(|(node, attempt)| (summary.node_name(*node), *attempt)).collect();
        let Some(wanted) = node else {
            for (name, attempt) in &named {
                if has_log(&store, run, *attempt) {
                    ui::data(&format!("{name}\n"))?;
                }
            }
            return Ok(0);
        };
        let matching: Vec<_> = named.iter().filter(|(name, _)| name == wanted).collect();
        if matching.is_empty() {
            let names: Vec<_> = named.iter().map(|(name, _)| name.as_str()).collect();
            let message = format!("run {} has no node `{wanted}`", run.short());
            let hint = format!("it has: {}", names.join(", "));
            return Err(Failure::config("run.unknown_node", message).hint(hint).into());
        }
        for (_, attempt) in matching {
            print(&store, run, *attempt)?;
        }
        Ok(0)
    }
}

fn attempts(events: &[RunEvent]) -> Vec<(u32, AttemptId)> {
    let started = events.iter().filter_map(|event| match event.kind {
        RunEventKind::NodeStarted { node, attempt, .. } => Some((node, attempt)),
        _ => None,
    });
    started.collect()
}

fn has_log(store: &Store, run: RunId, attempt: AttemptId) -> bool {
    let stream = "output".parse().expect("this is a name");
    store.log_path(LogKey { run, attempt, stream: &stream }).is_file()
}

/// Prints a log: as it came for a program, made inert for a person.
fn print(store: &Store, run: RunId, attempt: AttemptId) -> Result<(), CommandError> {
    let stream = "output".parse().expect("this is a name");
    let key = LogKey { run, attempt, stream: &stream };
    let person = std::io::stdout().is_terminal();
    let mut offset = 0;
    while has_log(store, run, attempt) {
        let mut bytes = store.read_log(key, offset, CHUNK)?;
        if bytes.is_empty() {
            break;
        }
        if person && let Some(line) = bytes.iter().rposition(|byte| *byte == b'\n') {
            // No sequence and no character goes over the end of a line.
            bytes.truncate(line + 1);
        }
        offset += bytes.len() as u64;
        match person {
            true => ui::data(&sanitise(&String::from_utf8_lossy(&bytes)).text)?,
            false => ui::bytes(&bytes)?,
        }
    }
    Ok(())
}
