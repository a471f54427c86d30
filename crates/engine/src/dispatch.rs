//! The loop that drives one run.

use std::time::Instant;

use seatrial_core::failure::Failure;
use seatrial_core::ids::RunId;
use seatrial_core::plan::Plan;
use seatrial_core::verdict::Verdict;
use seatrial_protocol::event::RunEvent;
use seatrial_protocol::worker::Hello;
use tokio::sync::watch;

use crate::link::WorkerLink;
use running::Running;

mod running;

/// Where events go. Called with what has just happened, before anything that
/// follows from it is done.
pub trait Recorder: Send {
    /// Keeps `events`, which continue what came before, and shows them.
    ///
    /// # Errors
    /// When they cannot be kept: the run ends, since what is not recorded must
    /// not have happened.
    fn record(&mut self, events: &[RunEvent]) -> Result<(), Failure>;

    /// Shows an event that is of no consequence, such as progress.
    fn show(&mut self, event: &RunEvent);
}

/// What is known of a run before it is dispatched.
pub struct RunFacts {
    /// Its identifier.
    pub run: RunId,
    /// When it began: the zero of all its times.
    pub began: Instant,
    /// What the project calls itself.
    pub project: String,
    /// The commit it is at.
    pub commit: Option<String>,
    /// Whether files differ from the commit.
    pub dirty: bool,
    /// For each node of the plan, expected and fastest seconds by history.
    pub history: Vec<(Option<f64>, Option<f64>)>,
    /// Whether environments stay after the run.
    pub keep: bool,
}

/// A run that can be dispatched.
pub struct Dispatch {
    /// What is to be done.
    pub plan: Plan,
    /// What is known of the run.
    pub facts: RunFacts,
    /// What the worker said first.
    pub worker: Hello,
    /// Becomes the reason, when somebody wants the run to stop.
    pub cancel: watch::Receiver<Option<String>>,
}

/// What ends a run without a verdict.
#[derive(Debug, thiserror::Error)]
pub enum DispatchError {
    /// Events can no longer be kept.
    #[error("the run cannot be recorded")]
    Record(#[source] Failure),
}

/// Drives a run to its end and returns its verdict.
///
/// # Errors
/// When its events cannot be recorded.
pub async fn dispatch(
    dispatch: Dispatch,
    link: &mut WorkerLink,
    recorder: &mut dyn Recorder,
) -> Result<Verdict, DispatchError> {
    let Dispatch { plan, facts, worker, mut cancel } = dispatch;
    let run = Running::new(plan, &facts, &worker);
    let (verdict, _) = run.drive(&worker, &mut cancel, link, recorder).await?;
    Ok(verdict)
}

/// Waits until somebody wants the run to stop; forever, when nobody can.
async fn cancelled(cancel: &mut watch::Receiver<Option<String>>) -> String {
    match cancel.wait_for(Option::is_some).await {
        Ok(reason) => reason.clone().unwrap_or_default(),
        Err(_) => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests;
