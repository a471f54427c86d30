//! Records a run's events and shows them.

use std::sync::Arc;
use std::time::Duration;

use seatrial_core::failure::Failure;
use seatrial_core::ids::RunId;
use seatrial_engine::Recorder;
use seatrial_protocol::event::{NodeOutcome, RunEvent, RunEventKind};
use seatrial_report::{Reporter, Summary};
use seatrial_store::{Scope, Series, Store};

/// The group of history that nodes of plans are in.
pub(crate) const NODES: &str = "node";

/// A run that is being recorded.
pub(crate) struct Recording {
    store: Arc<Store>,
    run: RunId,
    scope: Scope,
    reporter: Box<dyn Reporter + Send>,
    summary: Summary,
}

impl Recording {
    pub(crate) fn new(
        store: Arc<Store>,
        run: RunId,
        scope: Scope,
        reporter: Box<dyn Reporter + Send>,
    ) -> Self {
        Self { store, run, scope, reporter, summary: Summary::default() }
    }

    /// The run so far.
    pub(crate) fn summary(&self) -> &Summary {
        &self.summary
    }

    /// There will be no more events.
    pub(crate) fn end(&mut self) {
        // A terminal that has gone takes nothing from the run.
        let _ = self.reporter.end();
    }

    fn append(&self, events: &[RunEvent]) -> Result<(), Failure> {
        let Some(first) = events.first() else { return Ok(()) };
        let texts = events.iter().map(serde_json::to_string).collect::<Result<Vec<_>, _>>();
        let texts = texts.map_err(|error| Failure::environment("run.record", error.to_string()))?;
        let state = serde_json::json!({
            "project": self.summary.run.as_ref().map(|run| &run.project),
            "verdict": self.summary.verdict().map(|verdict| verdict.word()),
        });
        let records = self.store.records();
        let state = state.to_string();
        records.append_events(self.run, self.scope, first.seq, &texts, &state)?;
        Ok(())
    }

    /// What was learned about how long a node takes. A hit says nothing.
    fn learn(&self, event: &RunEvent) -> Result<(), Failure> {
        let RunEventKind::NodeFinished { node, outcome, .. } = &event.kind else { return Ok(()) };
        let NodeOutcome::Done { hit: false, .. } = outcome else { return Ok(()) };
        let Some(first) = self.summary.first(*node) else { return Ok(()) };
        let Some(node) = self.summary.nodes.get(*node as usize) else { return Ok(()) };
        // Some tests of a suite take less than all of them.
        if node.part {
            return Ok(());
        }
        let (Some(start), Some(end)) = (node.start_us, node.end_us) else { return Ok(()) };
        let project = self.summary.run.as_ref().map_or("", |run| run.project.as_str());
        // Another try of a node takes as long as that one.
        let name = history_name(project, &first.plan.name);
        let series = Series { group: NODES, name: &name };
        let took = Duration::from_micros(end.saturating_sub(start));
        self.store.records().record_duration(self.scope, series, took)?;
        Ok(())
    }
}

/// The name of a node in history: projects do not learn from each other.
pub(crate) fn history_name(project: &str, node: &str) -> String {
    format!("{project}/{node}")
}

impl Recorder for Recording {
    fn record(&mut self, events: &[RunEvent]) -> Result<(), Failure> {
        for event in events {
            self.summary.apply(event);
        }
        // Writing waits for the disk: other tasks go on meanwhile.
        tokio::task::block_in_place(|| {
            self.append(events)?;
            events.iter().try_for_each(|event| self.learn(event))
        })?;
        for event in events {
            let _ = self.reporter.event(event);
        }
        Ok(())
    }

    fn show(&mut self, event: &RunEvent) {
        let _ = self.reporter.event(event);
    }
}
