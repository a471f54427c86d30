//! Records in memory, for tests of other crates: as strict as the real ones.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use seatrial_core::digest::Digest;
use seatrial_core::ids::{Epoch, RunId};

use super::{
    ActionResult, Durations, Expected, Recorded, Records, RunRow, Scope, Series, find_run,
};
use crate::error::StoreError;

/// Records that are gone with the value.
#[derive(Debug, Default)]
pub struct MemoryRecords {
    tables: Mutex<Tables>,
}

#[derive(Debug, Default)]
struct Tables {
    actions: BTreeMap<(Digest, Scope), ActionResult>,
    epochs: BTreeMap<(Digest, Scope), Epoch>,
    /// In order of their first event.
    runs: Vec<Run>,
    durations: BTreeMap<(Scope, String, String), Durations>,
}

#[derive(Debug)]
struct Run {
    id: RunId,
    scope: Scope,
    events: Vec<String>,
    state: String,
}

impl Run {
    fn row(&self) -> RunRow {
        RunRow {
            run: self.id,
            scope: self.scope,
            events: self.events.len() as u64,
            state: self.state.clone(),
        }
    }
}

impl MemoryRecords {
    fn tables(&self) -> MutexGuard<'_, Tables> {
        // No operation leaves the tables half changed.
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Records for MemoryRecords {
    fn lookup(&self, key: Digest, scope: Scope) -> Result<Option<ActionResult>, StoreError> {
        Ok(self.tables().actions.get(&(key, scope)).cloned())
    }

    fn record(
        &self,
        key: Digest,
        scope: Scope,
        result: &ActionResult,
        replace: Option<&ActionResult>,
    ) -> Result<Recorded, StoreError> {
        let mut tables = self.tables();
        match tables.actions.get(&(key, scope)) {
            Some(there) if there.outputs == result.outputs => return Ok(Recorded::Same),
            Some(there) if replace != Some(there) => return Ok(Recorded::Conflict(there.clone())),
            _ => {}
        }
        tables.actions.insert((key, scope), result.clone());
        Ok(Recorded::Stored)
    }

    fn next_epoch(&self, key: Digest, scope: Scope) -> Result<Epoch, StoreError> {
        let mut tables = self.tables();
        let epoch = tables.epochs.entry((key, scope)).or_default();
        *epoch = epoch.next();
        Ok(*epoch)
    }

    fn append_events(
        &self,
        run: RunId,
        scope: Scope,
        first_seq: u64,
        events: &[String],
        state: &str,
    ) -> Result<(), StoreError> {
        let mut tables = self.tables();
        let at = tables.runs.iter().position(|row| row.id == run);
        let expected = at.map_or(0, |at| tables.runs[at].events.len() as u64);
        if expected != first_seq {
            return Err(StoreError::Sequence { run: run.to_string(), expected, found: first_seq });
        }
        let at = at.unwrap_or_else(|| {
            tables.runs.push(Run { id: run, scope, events: Vec::new(), state: String::new() });
            tables.runs.len() - 1
        });
        let row = &mut tables.runs[at];
        row.events.extend_from_slice(events);
        state.clone_into(&mut row.state);
        Ok(())
    }

    fn events(&self, run: RunId, from: u64, limit: usize) -> Result<Vec<String>, StoreError> {
        let from = usize::try_from(from).unwrap_or(usize::MAX);
        let tables = self.tables();
        let row = tables.runs.iter().find(|row| row.id == run);
        Ok(row.map_or_else(Vec::new, |row| {
            row.events.iter().skip(from).take(limit).cloned().collect()
        }))
    }

    fn runs(&self, limit: usize) -> Result<Vec<RunRow>, StoreError> {
        Ok(self.tables().runs.iter().rev().take(limit).map(Run::row).collect())
    }

    fn run(&self, run: RunId) -> Result<Option<RunRow>, StoreError> {
        Ok(self.tables().runs.iter().find(|row| row.id == run).map(Run::row))
    }

    fn forget_runs(&self, keep: usize) -> Result<Vec<RunId>, StoreError> {
        let mut tables = self.tables();
        let old = tables.runs.len().saturating_sub(keep);
        Ok(tables.runs.drain(..old).rev().map(|run| run.id).collect())
    }

    fn find_run(&self, text: &str) -> Result<RunId, StoreError> {
        let runs: Vec<RunId> = self.tables().runs.iter().map(|row| row.id).collect();
        find_run(&runs, text)
    }

    fn record_duration(
        &self,
        scope: Scope,
        series: Series<'_>,
        duration: Duration,
    ) -> Result<(), StoreError> {
        let key = (scope, series.group.to_owned(), series.name.to_owned());
        self.tables().durations.entry(key).or_default().add(duration);
        Ok(())
    }

    fn expected(&self, scope: Scope, series: Series<'_>) -> Result<Option<Expected>, StoreError> {
        let key = (scope, series.group.to_owned(), series.name.to_owned());
        Ok(self.tables().durations.get(&key).and_then(Durations::expected))
    }

    fn expected_all(
        &self,
        scope: Scope,
        group: &str,
    ) -> Result<BTreeMap<String, Expected>, StoreError> {
        let tables = self.tables();
        let rows = tables.durations.iter().filter(|((s, g, _), _)| *s == scope && g == group);
        Ok(rows.filter_map(|((_, _, name), d)| Some((name.clone(), d.expected()?))).collect())
    }
}
