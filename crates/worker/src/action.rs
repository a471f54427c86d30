//! Actions: look the key up, make it when it is not there, record it.

use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use seatrial_core::action::Action;
use seatrial_core::digest::Digest;
use seatrial_core::failure::Failure;
use seatrial_protocol::event::{NodeOutcome, Usage};
use seatrial_store::{ActionResult, Outputs, Recorded, Scope};

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
    let store = machine.store();
    if let Some(result) = store.lookup(key, Scope::Trusted)? {
        return Ok(hit(&result));
    }
    // Whoever else makes the same, in this process or another: wait for them.
    let _lock = match store.try_lock_action(key, Scope::Trusted)? {
        Some(lock) => lock,
        None => {
            attempt.progress("the same is being made by another run", None);
            let waits = store.clone();
            let lock =
                attempt.until_cancelled(move || Ok(waits.lock_action(key, Scope::Trusted)?))?;
            if let Some(result) = store.lookup(key, Scope::Trusted)? {
                return Ok(hit(&result));
            }
            lock
        }
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
    let outputs = match store.record(key, Scope::Trusted, &result)? {
        Recorded::Stored | Recorded::Same => result.outputs,
        // The first result stays the result: whoever used it is still right.
        Recorded::Conflict(first) => first.outputs,
    };
    let outcome = NodeOutcome::Done { output: outputs.digest(), hit: false };
    Ok(Done { outcome, usage: made.usage })
}

fn hit(result: &ActionResult) -> Done {
    let outcome = NodeOutcome::Done { output: result.outputs.digest(), hit: true };
    Done { outcome, usage: Usage::default() }
}
