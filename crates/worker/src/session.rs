//! Sessions: what is done with a leased environment, from boot to drop.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use seatrial_core::digest::Digest;
use seatrial_core::failure::Failure;
use seatrial_core::ids::SessionId;
use seatrial_core::stage::Stage;
use seatrial_protocol::event::Usage;
use seatrial_protocol::worker::AttemptEvent;

use crate::attempt::{Attempt, cancelled};
use crate::environment::{self, Held};
use crate::machine::Machine;
use crate::serve::Done;
use crate::{evidence, install, suite};

/// The sessions of one connection.
#[derive(Default)]
pub(crate) struct Sessions {
    open: Mutex<HashMap<SessionId, Arc<Held>>>,
    kept: Mutex<Vec<Arc<Held>>>,
}

impl Sessions {
    fn get(&self, id: SessionId) -> Result<Arc<Held>, Failure> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.get(&id).cloned().ok_or_else(|| {
            Failure::environment("worker.no_session", format!("there is no session {id} here"))
        })
    }

    fn insert(&self, id: SessionId, held: Arc<Held>) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).insert(id, held);
    }

    fn take(&self, id: SessionId) -> Option<Arc<Held>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(&id)
    }

    /// Drops every environment that is not kept, and hands over those that are.
    pub(crate) async fn end(&self) -> Vec<Arc<Held>> {
        let open = std::mem::take(&mut *self.open.lock().unwrap_or_else(PoisonError::into_inner));
        for held in open.into_values() {
            if let Err(failure) = held.shutdown().await {
                tracing::error!(%failure, "an environment could not be dropped whole");
            }
        }
        std::mem::take(&mut *self.kept.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Carries out one stage of a session, and tells what the environment warns of.
pub(crate) async fn carry_out(
    machine: &Arc<Machine>,
    sessions: &Sessions,
    attempt: &Attempt,
    id: SessionId,
    stage: Stage<Digest>,
    keep: bool,
) -> Result<Done, Failure> {
    // Booting makes it, dropping takes it away.
    let before = sessions.get(id);
    let done = carry_out_stage(machine, sessions, attempt, id, stage, keep).await;
    if let Ok(held) = before.or_else(|_| sessions.get(id)) {
        for warning in held.take_warnings() {
            attempt.event(AttemptEvent::Warning(warning)).await;
        }
    }
    done
}

async fn carry_out_stage(
    machine: &Arc<Machine>,
    sessions: &Sessions,
    attempt: &Attempt,
    id: SessionId,
    stage: Stage<Digest>,
    keep: bool,
) -> Result<Done, Failure> {
    match stage {
        Stage::Boot(boot) => {
            let booting = environment::boot(machine, attempt, &boot);
            let held = tokio::select! {
                held = booting => held?,
                () = attempt.cancel().cancelled() => return Err(cancelled()),
            };
            let usage = held.spent();
            sessions.insert(id, Arc::new(held));
            Ok(Done::well(usage))
        }
        Stage::Install(order) => {
            let held = sessions.get(id)?;
            held.begin();
            let done =
                guarded(attempt, &held, install::run(machine, attempt, &held, order)).await?;
            Ok(done.and(held.spent()))
        }
        Stage::Suite(order) => {
            let held = sessions.get(id)?;
            held.begin();
            let target = held.target();
            // Not guarded: a suite that is cut short still has results to tell,
            // and stops by itself when its environment broke.
            let done = suite::run(machine, attempt, Some(target), *order).await;
            if let Some(failure) = held.broken() {
                return Err(failure);
            }
            let done = done?;
            guarded(attempt, &held, install::prove_images(&held)).await?;
            Ok(done.and(held.spent()))
        }
        Stage::Evidence => {
            let held = sessions.get(id)?;
            held.begin();
            Ok(evidence::collect(machine, attempt, &held).await?.and(held.spent()))
        }
        Stage::Drop => {
            let Some(held) = sessions.take(id) else { return Ok(Done::well(Usage::default())) };
            let spent = held.dropped();
            if keep && held.broken().is_none() {
                sessions.kept.lock().unwrap_or_else(PoisonError::into_inner).push(held);
            } else {
                held.shutdown().await?;
            }
            Ok(Done::well(spent))
        }
    }
}

/// Lets work in an environment end early when the attempt is cancelled or a
/// component of the environment dies.
async fn guarded<T>(
    attempt: &Attempt,
    held: &Held,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    tokio::select! {
        result = work => match held.broken() {
            // What failed in a broken environment failed because of it.
            Some(failure) if result.is_err() => Err(failure),
            _ => result,
        },
        () = attempt.cancel().cancelled() => Err(cancelled()),
        failure = held.until_broken() => Err(failure),
    }
}
