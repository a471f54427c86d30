use std::path::PathBuf;

use clap::Args;
use seatrial_core::failure::Failure;
use seatrial_report::Summary;
use seatrial_store::Store;

use crate::commands::runs::{events, find};
use crate::error::CommandError;
use crate::junit::JunitFile;
use crate::paths::PathArgs;
use crate::ui;

/// Explain a recorded run: its verdict, where the time went, what bounds it
#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    /// `latest`, an id, or its first or last digits
    #[arg(default_value = "latest")]
    run: String,
    /// Write a JUnit XML report instead
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Copy what was collected when something failed into a new directory
    #[arg(long, value_name = "DIR")]
    evidence: Option<PathBuf>,
}

impl ExplainArgs {
    pub(crate) fn run(&self, paths: &PathArgs) -> Result<u8, CommandError> {
        let store = Store::open(paths.state()?)?;
        let run = find(store.records(), &self.run)?;
        let events = events(store.records(), run)?;
        let summary = Summary::from_events(&events);
        if let Some(path) = &self.junit {
            JunitFile::create(path)?.write(&summary)?;
        } else if let Some(to) = &self.evidence {
            copy_evidence(&store, &summary, to)?;
        } else {
            ui::data(&seatrial_report::explain(&events))?;
        }
        Ok(0)
    }
}

fn copy_evidence(store: &Store, summary: &Summary, to: &PathBuf) -> Result<(), CommandError> {
    if summary.evidence.is_empty() {
        let message = "this run collected no evidence: nothing failed in an environment";
        return Err(Failure::config("run.no_evidence", message).into());
    }
    std::fs::create_dir(to).map_err(|error| {
        let message = format!("cannot make the directory {}: {error}", to.display());
        Failure::config("cli.evidence", message)
            .hint("name a directory that does not exist yet, in one that does")
    })?;
    for (node, tree, _) in &summary.evidence {
        let to = to.join(summary.node_name(*node).replace('/', "-"));
        std::fs::create_dir_all(&to)?;
        for entry in store.manifest(*tree)?.entries() {
            let path = to.join(&entry.path);
            if let Some(parent) = path.parent() {
                std::fs::create_dir_all(parent)?;
            }
            if let seatrial_store::Content::File { .. } = entry.content {
                std::fs::copy(store.tree_path(*tree).join(&entry.path), path)?;
            }
        }
    }
    ui::note(&format!("evidence is in {}", to.display()));
    Ok(())
}
