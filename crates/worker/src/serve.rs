//! The loop that takes orders.

use std::collections::HashMap;
use std::sync::Arc;

use seatrial_core::failure::Failure;
use seatrial_core::ids::AttemptId;
use seatrial_core::stage::Stage;
use seatrial_protocol::event::{NodeOutcome, Usage};
use seatrial_protocol::worker::{FromWorker, Offer, Order, ToWorker, decode, encode};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::attempt::Attempt;
use crate::environment::Held;
use crate::machine::Machine;
use crate::session::Sessions;
use crate::{action, session, suite};

/// The worker's end of a connection with an engine.
pub struct Connection {
    /// Encoded `ToWorker` messages.
    pub from_engine: mpsc::UnboundedReceiver<Vec<u8>>,
    /// Takes encoded `FromWorker` messages.
    pub to_engine: mpsc::Sender<Vec<u8>>,
}

/// Serves an engine until it is gone or says to drain. Then everything that
/// was begun is stopped and every environment is dropped; those that are to be
/// kept are handed over.
pub async fn serve(machine: Arc<Machine>, connection: Connection) -> Vec<Arc<Held>> {
    let Connection { mut from_engine, to_engine } = connection;
    let hello = FromWorker::Hello(machine.hello());
    let _ = to_engine.send(encode(&hello)).await;
    let sessions = Arc::new(Sessions::default());
    let mut attempts: HashMap<AttemptId, CancellationToken> = HashMap::new();
    let mut tasks = JoinSet::new();
    loop {
        tokio::select! {
            frame = from_engine.recv() => {
                let Some(frame) = frame else { break };
                match decode(&frame) {
                    Ok(ToWorker::Offer(offer)) => {
                        let store = machine.store().clone();
                        let attempt = Attempt::new(
                            offer.run,
                            offer.attempt,
                            offer.epoch,
                            to_engine.clone(),
                            store,
                        );
                        attempts.insert(offer.attempt, attempt.cancel().clone());
                        let (machine, sessions) = (machine.clone(), sessions.clone());
                        let to_engine = to_engine.clone();
                        // A thread for each: most of what it does blocks.
                        let runtime = Handle::current();
                        tasks.spawn_blocking(move || {
                            runtime.block_on(answer(machine, sessions, to_engine, attempt, *offer))
                        });
                    }
                    Ok(ToWorker::Cancel { attempt }) => {
                        if let Some(cancel) = attempts.get(&attempt) {
                            cancel.cancel();
                        }
                    }
                    Ok(ToWorker::Drain) => break,
                    Err(error) => {
                        tracing::error!(error = %Failure::chain(&error), "a frame was dropped");
                    }
                }
            }
            Some(ended) = tasks.join_next() => match ended {
                Ok(attempt) => drop(attempts.remove(&attempt)),
                Err(error) => tracing::error!(%error, "an attempt ended without a result"),
            },
        }
    }
    for cancel in attempts.values() {
        cancel.cancel();
    }
    while tasks.join_next().await.is_some() {}
    sessions.end().await
}

/// What an attempt came to.
pub(crate) struct Done {
    pub(crate) outcome: NodeOutcome,
    pub(crate) usage: Usage,
}

impl Done {
    pub(crate) fn well(usage: Usage) -> Self {
        Self { outcome: NodeOutcome::Done { output: None, hit: false }, usage }
    }

    /// The result of an attempt whose work ended with `result`: a failure of
    /// one that was being cancelled is the cancelling's doing.
    pub(crate) fn of(attempt: &Attempt, result: Result<Self, Failure>) -> Self {
        result.unwrap_or_else(|failure| {
            let outcome = match attempt.cancel().is_cancelled() {
                true => NodeOutcome::Cancelled,
                false => NodeOutcome::Failed { failure },
            };
            Self { outcome, usage: Usage::default() }
        })
    }
}

/// Carries out an order and answers with its result.
async fn answer(
    machine: Arc<Machine>,
    sessions: Arc<Sessions>,
    to_engine: mpsc::Sender<Vec<u8>>,
    attempt: Attempt,
    offer: Offer,
) -> AttemptId {
    let result = match offer.order {
        Order::Action { key, action } => action::make(&machine, &attempt, key, *action).await,
        Order::Stage { session: None, stage, .. } => match *stage {
            Stage::Suite(order) => suite::run(&machine, &attempt, None, *order).await,
            _ => Err(Failure::environment("worker.bad_order", "this stage needs a session")),
        },
        Order::Stage { session: Some(id), stage, keep } => {
            session::carry_out(&machine, &sessions, &attempt, id, *stage, keep).await
        }
    };
    let Done { outcome, usage } = Done::of(&attempt, result);
    let (attempt, epoch) = (offer.attempt, offer.epoch);
    let message = FromWorker::Result { attempt, epoch, outcome, usage };
    let _ = to_engine.send(encode(&message)).await;
    attempt
}
