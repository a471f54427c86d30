//! What is small and must change atomically: action results, epochs, runs with
//! their events, and durations.
//!
//! [`Records`] says it in operations with a meaning, not in rows, so that a
//! backend can be another database. Both backends here pass the one suite of
//! tests in `records/conformance.rs`.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use seatrial_core::digest::Digest;
use seatrial_core::ids::{Epoch, RunId};
use serde::{Deserialize, Serialize};

use crate::error::StoreError;

pub mod memory;
pub(crate) mod sqlite;

#[cfg(test)]
mod conformance;

/// Whose code wrote a record. Nothing untrusted is ever read by a trusted run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// Code that was reviewed, or that the user runs on their own machine.
    Trusted,
    /// Code of someone else, such as a pull request from a fork.
    Untrusted,
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Trusted => "trusted",
            Self::Untrusted => "untrusted",
        })
    }
}

/// What an action made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outputs {
    /// A tree.
    Tree(Digest),
    /// Blobs; the first one names the artifact (the manifest of an image), the
    /// others are what it needs.
    Blobs(Vec<Digest>),
}

impl Outputs {
    /// The digest that names the artifact.
    #[must_use]
    pub fn digest(&self) -> Option<Digest> {
        match self {
            Self::Tree(digest) => Some(*digest),
            Self::Blobs(blobs) => blobs.first().copied(),
        }
    }

    /// The blobs of it.
    #[must_use]
    pub fn blobs(&self) -> &[Digest] {
        match self {
            Self::Tree(_) => &[],
            Self::Blobs(blobs) => blobs,
        }
    }
}

/// The result of an action that passed. There is none of one that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActionResult {
    /// What it made.
    pub outputs: Outputs,
    /// Core time it used, in microseconds.
    pub core_us: u64,
    /// Wall time it took, in microseconds.
    pub wall_us: u64,
    /// What it printed, a blob.
    pub log: Option<Digest>,
    /// When it ended, in milliseconds since 1970.
    pub finished_at: i64,
}

/// What became of a result that was offered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recorded {
    /// It is the result now.
    Stored,
    /// The same outputs were recorded before.
    Same,
    /// Other outputs were recorded before, and stay: the action is not
    /// deterministic.
    Conflict(ActionResult),
}

/// A recorded run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunRow {
    /// The run.
    pub run: RunId,
    /// Whose code it ran.
    pub scope: Scope,
    /// How many events it has.
    pub events: u64,
    /// Its state, as JSON text.
    pub state: String,
}

/// Durations that belong together: those of one node over all runs, or those
/// of one test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Series<'a> {
    /// What the name is one of: a kind of node, such as `build`, or
    /// `test/<suite>`.
    pub group: &'a str,
    /// The name of the node or test.
    pub name: &'a str,
}

/// What history says of a duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expected {
    /// The median of the last ten.
    pub median: Duration,
    /// The shortest ever.
    pub fastest: Duration,
}

/// How many durations of a series count.
pub(crate) const RECENT: usize = 10;

/// Semantic operations on records. Each is atomic and durable when it returns.
pub trait Records: Send + Sync {
    /// The result of the action with this key, written in exactly this scope.
    ///
    /// # Errors
    /// When the backend fails; so too below.
    fn lookup(&self, key: Digest, scope: Scope) -> Result<Option<ActionResult>, StoreError>;

    /// Records a result. One that is there with other outputs stays, unless it
    /// is `replace`. Repeating the call is harmless.
    ///
    /// # Errors
    /// When the backend fails.
    fn record(
        &self,
        key: Digest,
        scope: Scope,
        result: &ActionResult,
        replace: Option<&ActionResult>,
    ) -> Result<Recorded, StoreError>;

    /// The next epoch of this action: 1, then growing.
    ///
    /// # Errors
    /// When the backend fails.
    fn next_epoch(&self, key: Digest, scope: Scope) -> Result<Epoch, StoreError>;

    /// Adds events to a run, which begins with its first ones, and replaces its
    /// state: both or neither. `first_seq` counts from 0.
    ///
    /// # Errors
    /// [`StoreError::Sequence`] when `first_seq` is not the number of events
    /// that the run has.
    fn append_events(
        &self,
        run: RunId,
        scope: Scope,
        first_seq: u64,
        events: &[String],
        state: &str,
    ) -> Result<(), StoreError>;

    /// The events of a run from number `from` on, at most `limit`.
    ///
    /// # Errors
    /// When the backend fails. A run that is not known has no events.
    fn events(&self, run: RunId, from: u64, limit: usize) -> Result<Vec<String>, StoreError>;

    /// The newest runs, newest first.
    ///
    /// # Errors
    /// When the backend fails.
    fn runs(&self, limit: usize) -> Result<Vec<RunRow>, StoreError>;

    /// One run.
    ///
    /// # Errors
    /// When the backend fails.
    fn run(&self, run: RunId) -> Result<Option<RunRow>, StoreError>;

    /// Forgets all but the newest `keep` runs, with their events; which they were.
    ///
    /// # Errors
    /// When the backend fails.
    fn forget_runs(&self, keep: usize) -> Result<Vec<RunId>, StoreError>;

    /// The run that a person means by `latest`, an id, or at least four digits
    /// from the begin or the end of one.
    ///
    /// # Errors
    /// [`StoreError::NoRun`] or [`StoreError::AmbiguousRun`].
    fn find_run(&self, text: &str) -> Result<RunId, StoreError>;

    /// Adds a duration to a series.
    ///
    /// # Errors
    /// When the backend fails.
    fn record_duration(
        &self,
        scope: Scope,
        series: Series<'_>,
        duration: Duration,
    ) -> Result<(), StoreError>;

    /// What history says of a series.
    ///
    /// # Errors
    /// When the backend fails.
    fn expected(&self, scope: Scope, series: Series<'_>) -> Result<Option<Expected>, StoreError>;

    /// What history says of all series of a group, by name.
    ///
    /// # Errors
    /// When the backend fails.
    fn expected_all(
        &self,
        scope: Scope,
        group: &str,
    ) -> Result<BTreeMap<String, Expected>, StoreError>;
}

/// Durations of one series, in microseconds, as both backends keep them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Durations {
    recent: Vec<u64>,
    fastest: u64,
}

impl Durations {
    pub(crate) fn add(&mut self, duration: Duration) {
        let us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        self.fastest = if self.recent.is_empty() { us } else { self.fastest.min(us) };
        self.recent.push(us);
        if self.recent.len() > RECENT {
            self.recent.remove(0);
        }
    }

    pub(crate) fn expected(&self) -> Option<Expected> {
        let mut sorted = self.recent.clone();
        sorted.sort_unstable();
        // The lower one of the two in the middle: a duration that has been.
        let median = *sorted.get(sorted.len().checked_sub(1)? / 2)?;
        Some(Expected {
            median: Duration::from_micros(median),
            fastest: Duration::from_micros(self.fastest),
        })
    }
}

/// Finds what a person means among all runs, oldest first.
pub(crate) fn find_run(runs: &[RunId], text: &str) -> Result<RunId, StoreError> {
    if text == "latest" {
        return runs.last().copied().ok_or_else(|| StoreError::NoRun(text.to_owned()));
    }
    let digits: String = text.chars().filter(|c| *c != '-').collect::<String>().to_lowercase();
    if digits.len() < 4 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(StoreError::NoRun(text.to_owned()));
    }
    let found: Vec<RunId> = runs
        .iter()
        .copied()
        .filter(|run| {
            let id = run.to_string().replace('-', "");
            id.starts_with(&digits) || id.ends_with(&digits)
        })
        .collect();
    match found[..] {
        [] => Err(StoreError::NoRun(text.to_owned())),
        [run] => Ok(run),
        _ => Err(StoreError::AmbiguousRun {
            text: text.to_owned(),
            runs: found.iter().map(RunId::short).collect(),
        }),
    }
}
