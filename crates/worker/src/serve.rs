//! The loop that takes orders.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use seatrial_core::failure::{Failure, Fault};
use seatrial_core::ids::AttemptId;
use seatrial_core::stage::Stage;
use seatrial_protocol::event::{NodeOutcome, Usage};
use seatrial_protocol::worker::{FromWorker, Hello, Offer, Order, ToWorker, decode, encode};
use seatrial_store::Store;
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

/// Serves an engine until it is gone, says to drain or cannot be understood.
/// Then everything that was begun is stopped and every environment is dropped;
/// those that are to be kept are handed over.
pub async fn serve(machine: Arc<Machine>, connection: Connection) -> Vec<Arc<Held>> {
    let sessions = Arc::new(Sessions::default());
    let (hello, store) = (machine.hello(), machine.store().clone());
    let carry_out = {
        let sessions = sessions.clone();
        move |attempt: Attempt, order: Order| {
            let (machine, sessions) = (machine.clone(), sessions.clone());
            async move { carry_out(&machine, &sessions, &attempt, order).await }
        }
    };
    take_orders(hello, store, connection, carry_out).await;
    sessions.end().await
}

/// Says hello, and gives each order to `carry_out` and its result back, until
/// there will be no more.
async fn take_orders<F, W>(hello: Hello, store: Arc<Store>, connection: Connection, carry_out: F)
where
    F: Fn(Attempt, Order) -> W + Clone + Send + 'static,
    W: Future<Output = Result<Done, Failure>>,
{
    let Connection { mut from_engine, to_engine } = connection;
    let _ = to_engine.send(encode(&FromWorker::Hello(hello))).await;
    let mut attempts: HashMap<AttemptId, CancellationToken> = HashMap::new();
    let mut tasks = JoinSet::new();
    loop {
        tokio::select! {
            frame = from_engine.recv() => {
                let Some(frame) = frame else { break };
                match decode(&frame) {
                    Ok(ToWorker::Offer(offer)) => {
                        let Offer { run, attempt: id, epoch, order, .. } = *offer;
                        let attempt =
                            Attempt::new(run, id, epoch, to_engine.clone(), store.clone());
                        attempts.insert(id, attempt.cancel().clone());
                        let carry_out = carry_out.clone();
                        let runtime = Handle::current();
                        // A thread for each: most of what it does blocks.
                        tasks.spawn_blocking(move || {
                            let work = || runtime.block_on(carry_out(attempt.clone(), order));
                            let done = Done::of(&attempt, guarded(work));
                            runtime.block_on(attempt.end(done.outcome, done.usage));
                            id
                        });
                    }
                    Ok(ToWorker::Cancel { attempt }) => {
                        if let Some(cancel) = attempts.get(&attempt) {
                            cancel.cancel();
                        }
                    }
                    Ok(ToWorker::Drain) => break,
                    Err(error) => {
                        // It may have been an offer, whose result would be
                        // waited for forever: better to be seen to go.
                        tracing::error!(error = %Failure::chain(&error), "the engine is not understood");
                        break;
                    }
                }
            }
            Some(ended) = tasks.join_next() => match ended {
                Ok(attempt) => drop(attempts.remove(&attempt)),
                Err(error) => tracing::error!(%error, "the end of an attempt could not be told"),
            },
        }
    }
    for cancel in attempts.values() {
        cancel.cancel();
    }
    while tasks.join_next().await.is_some() {}
}

/// Turns a panic into a failure: whoever waits for the result gets one.
fn guarded(work: impl FnOnce() -> Result<Done, Failure>) -> Result<Done, Failure> {
    // What a panic leaves half done is in the sandbox or an environment; both
    // end with their owner, and locks are taken over from the poisoned.
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().copied();
        let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        let message = format!("the worker panicked: {}", text.unwrap_or("it does not say why"));
        Err(Failure::environment("worker.panicked", message).hint("this is a mistake of Seatrial"))
    })
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

    /// With what else was used for it.
    pub(crate) fn and(self, beside: Usage) -> Self {
        let usage = Usage {
            core_us: self.usage.core_us + beside.core_us,
            memory_peak: self.usage.memory_peak.max(beside.memory_peak),
        };
        Self { usage, ..self }
    }

    /// The result of an attempt whose work ended with `result`. What fails while
    /// it is being cancelled is the cancelling's doing, but for what the product
    /// or the pipeline had done by then.
    pub(crate) fn of(attempt: &Attempt, result: Result<Self, Failure>) -> Self {
        result.unwrap_or_else(|failure| {
            let proven = failure.fault != Fault::Environment;
            let outcome = match attempt.cancel().is_cancelled() && !proven {
                true => NodeOutcome::Cancelled,
                false => NodeOutcome::Failed { failure },
            };
            Self { outcome, usage: Usage::default() }
        })
    }
}

/// Carries out an order.
async fn carry_out(
    machine: &Arc<Machine>,
    sessions: &Sessions,
    attempt: &Attempt,
    order: Order,
) -> Result<Done, Failure> {
    match order {
        Order::Action { key, action } => action::make(machine, attempt, key, *action).await,
        Order::Stage { session: None, stage, .. } => match *stage {
            Stage::Suite(order) => suite::run(machine, attempt, None, *order).await,
            _ => Err(Failure::environment("worker.bad_order", "this stage needs a session")),
        },
        Order::Stage { session: Some(id), stage, keep } => {
            session::carry_out(machine, sessions, attempt, id, *stage, keep).await
        }
    }
}

#[cfg(test)]
mod tests;
