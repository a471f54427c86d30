//! Actions: look the key up, make it when it is not there, record it.

use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use seatrial_core::action::Action;
use seatrial_core::digest::Digest;
use seatrial_core::failure::Failure;
use seatrial_protocol::event::{NodeOutcome, Usage};
use seatrial_store::{ActionResult, Outputs, Recorded, Scope, Turn};

use crate::attempt::{Attempt, blocking, micros};
use crate::machine::Machine;
use crate::serve::Done;
use crate::{command, image};

/// What making an artifact came to.
pub(crate) struct Made {
    pub(crate) outputs: Outputs,
    pub(crate) usage: Usage,
}

/// Makes an artifact, or finds it made.
pub(crate) async fn make(
    machine: &Arc<Machine>,
    attempt: &Attempt,
    key: Digest,
    action: Action<Digest>,
) -> Result<Done, Failure> {
    let (machine, attempt) = (machine.clone(), attempt.clone());
    blocking(move || make_blocking(&machine, &attempt, key, action)).await
}

fn make_blocking(
    machine: &Machine,
    attempt: &Attempt,
    key: Digest,
    action: Action<Digest>,
) -> Result<Done, Failure> {
    let (store, scope) = (machine.store(), machine.scope());
    if let Some(result) = store.lookup(key, scope)? {
        return Ok(hit(&result));
    }
    if scope == Scope::Untrusted && matches!(&action, Action::Command(command) if command.network) {
        return Err(untrusted_network());
    }
    // Whoever else makes the same, in this process or another: wait for them.
    let turn = match store.try_turn(key, scope)? {
        Some(turn) => turn,
        None => {
            attempt.progress("the same is being made by another run", None);
            let waits = store.clone();
            attempt.until_cancelled(move || Ok(waits.turn(key, scope)?))?
        }
    };
    let _lock = match turn {
        Turn::Make(lock) => lock,
        Turn::Made(result) => return Ok(hit(&result)),
    };
    let began = Instant::now();
    let made = match action {
        Action::Command(command) => command::make(machine, attempt, &command)?,
        Action::Image(order) => image::make(machine, attempt, &order)?,
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let result = ActionResult {
        outputs: made.outputs,
        core_us: made.usage.core_us,
        wall_us: micros(began.elapsed()),
        log: None,
        finished_at: i64::try_from(now.as_millis()).unwrap_or(i64::MAX),
    };
    let outputs = match store.record(key, scope, &result)? {
        Recorded::Stored | Recorded::Same => result.outputs,
        // The first result stays the result: whoever used it is still right.
        Recorded::Conflict(first) => first.outputs,
    };
    let outcome = NodeOutcome::Done { output: outputs.digest(), hit: false };
    Ok(Done { outcome, usage: made.usage })
}

/// The network of a command is that of the machine: its servers, and the
/// address where clouds keep credentials.
fn untrusted_network() -> Failure {
    let message = "untrusted code asks for the network, which is that of this machine";
    Failure::config("build.untrusted_network", message)
        .hint("what it fetches is used where a trusted run has fetched the same")
        .hint("once somebody has read the code, run it without --untrusted")
}

fn hit(result: &ActionResult) -> Done {
    let outcome = NodeOutcome::Done { output: result.outputs.digest(), hit: true };
    Done { outcome, usage: Usage::default() }
}
