//! Run state from run events: the one reading of them, live and recorded.

use seatrial_core::plan::{Growth, Plan};
use seatrial_core::run::{Change, Ending, IllegalChange, RunState};
use seatrial_protocol::event::{NodeOutcome, RunEventKind, SuiteGrowth};

/// The state that a run of `plan` is in after these events. The dispatcher
/// changes its own state in no other way, so a recording tells all of it.
///
/// # Errors
/// When they are not what a run of this plan did.
pub fn fold<'a>(
    plan: Plan,
    events: impl IntoIterator<Item = &'a RunEventKind>,
) -> Result<RunState, IllegalChange> {
    let mut state = RunState::new(plan);
    for change in events.into_iter().filter_map(change_of) {
        state.apply(change)?;
    }
    Ok(state)
}

/// What an event changes; `None`: nothing, it only tells.
pub(crate) fn change_of(event: &RunEventKind) -> Option<Change> {
    Some(match event {
        RunEventKind::NodeStarted { node, attempt, epoch, .. } => {
            Change::Started { node: *node, attempt: *attempt, epoch: *epoch }
        }
        RunEventKind::NodeFinished { node, epoch, outcome, .. } => {
            let ending = match outcome {
                NodeOutcome::Done { output, .. } => Ending::Done(*output),
                NodeOutcome::Failed { failure } => Ending::Failed(failure.clone()),
                NodeOutcome::Cancelled => Ending::Cancelled,
            };
            Change::Finished { node: *node, epoch: *epoch, ending }
        }
        RunEventKind::NodeSkipped { node, because } => {
            Change::Skipped { node: *node, because: *because }
        }
        RunEventKind::TestFinished { node, program, test, outcome, .. } => {
            let test = (program.clone(), test.clone());
            Change::Test { node: *node, test, verdict: outcome.verdict()? }
        }
        RunEventKind::PlanGrown { boot, .. } => Change::Grown(Growth::Void { boot: *boot }),
        RunEventKind::SuiteGrown { node, why, .. } => Change::Grown(match why {
            SuiteGrowth::Retry => Growth::Retry { suite: *node },
            SuiteGrowth::Fresh => Growth::Fresh { suite: *node },
            SuiteGrowth::Unknown => return None,
        }),
        RunEventKind::TestsSelected { node, tests, .. } => {
            Change::Listed { node: *node, tests: tests.clone() }
        }
        RunEventKind::CancelRequested { .. } => Change::CancelRequested,
        RunEventKind::RunStarted { .. }
        | RunEventKind::Planned { .. }
        | RunEventKind::NodeProgress { .. }
        | RunEventKind::NodeKeyed { .. }
        | RunEventKind::NodeSpan { .. }
        | RunEventKind::TestStarted { .. }
        | RunEventKind::Warning { .. }
        | RunEventKind::Evidence { .. }
        | RunEventKind::EnvironmentKept { .. }
        | RunEventKind::VerdictReached { .. }
        | RunEventKind::RunFinished { .. }
        | RunEventKind::Unknown => return None,
    })
}
