//! The loop that takes orders, with work that is made up.

use seatrial_core::action::Platform;
use seatrial_core::ids::{Epoch, RunId};
use tokio::time::{Duration, timeout};
use uuid::Uuid;

use super::*;
use crate::attempt::cancelled;

/// The engine's side of a worker whose work is `carry_out`.
struct Engine {
    to_worker: mpsc::UnboundedSender<Vec<u8>>,
    from_worker: mpsc::Receiver<Vec<u8>>,
    _state: tempfile::TempDir,
    worker: tokio::task::JoinHandle<()>,
}

impl Engine {
    fn new<W>(carry_out: impl Fn(Attempt, Order) -> W + Clone + Send + 'static) -> Self
    where
        W: Future<Output = Result<Done, Failure>> + 'static,
    {
        let (to_worker, from_engine) = mpsc::unbounded_channel();
        let (to_engine, from_worker) = mpsc::channel(64);
        let state = tempfile::tempdir().expect("a directory");
        let store = Arc::new(Store::open(state.path()).expect("a store"));
        let hello = Hello {
            version: seatrial_protocol::VERSION,
            platform: Platform::default(),
            cores: 2,
            memory: 0,
            environments: 1,
        };
        let connection = Connection { from_engine, to_engine };
        let worker = tokio::spawn(take_orders(hello, store, connection, carry_out));
        Self { to_worker, from_worker, _state: state, worker }
    }

    fn offer(&self, attempt: u128) {
        self.send(&ToWorker::Offer(Box::new(Offer {
            run: RunId::from_uuid(Uuid::from_u128(1)),
            node: "default/evidence".to_owned(),
            attempt: id(attempt),
            epoch: Epoch(7),
            order: Order::Stage { session: None, stage: Box::new(Stage::Evidence), keep: false },
        })));
    }

    fn send(&self, message: &ToWorker) {
        self.to_worker.send(encode(message)).expect("the worker takes orders");
    }

    /// The next result, as attempt and outcome.
    async fn result(&mut self) -> (AttemptId, NodeOutcome) {
        loop {
            let frame = timeout(Duration::from_secs(10), self.from_worker.recv()).await;
            let frame = frame.expect("the worker says something").expect("it is there");
            if let FromWorker::Result { attempt, epoch, outcome, .. } =
                decode(&frame).expect("a message")
            {
                assert_eq!(epoch, Epoch(7));
                return (attempt, outcome);
            }
        }
    }

    /// Waits until the worker has gone, whatever it still says.
    async fn ends(mut self) {
        let all = async {
            while self.from_worker.recv().await.is_some() {}
            self.worker.await.expect("it ended by itself");
        };
        timeout(Duration::from_secs(10), all).await.expect("the worker ends");
    }
}

fn id(attempt: u128) -> AttemptId {
    AttemptId::from_uuid(Uuid::from_u128(attempt))
}

async fn until_cancelled(attempt: Attempt) -> Result<Done, Failure> {
    attempt.cancel().cancelled().await;
    Err(cancelled())
}

#[tokio::test]
async fn a_panic_is_a_result_and_the_worker_goes_on() {
    let mut engine = Engine::new(|attempt: Attempt, _| async move {
        assert!(attempt.id() != id(1), "no room for attempt one");
        Ok(Done::well(Usage::default()))
    });
    engine.offer(1);
    let (attempt, outcome) = engine.result().await;
    let NodeOutcome::Failed { failure } = outcome else { panic!("{outcome:?}") };
    assert_eq!((attempt, failure.code.as_str()), (id(1), "worker.panicked"));
    assert_eq!(failure.message, "the worker panicked: no room for attempt one");
    engine.offer(2);
    let done = NodeOutcome::Done { output: None, hit: false };
    assert_eq!(engine.result().await, (id(2), done));
}

#[tokio::test]
async fn what_is_cancelled_never_failed() {
    let mut engine = Engine::new(|attempt, _| until_cancelled(attempt));
    engine.offer(1);
    engine.offer(2);
    engine.send(&ToWorker::Cancel { attempt: id(3) });
    engine.send(&ToWorker::Cancel { attempt: id(2) });
    assert_eq!(engine.result().await, (id(2), NodeOutcome::Cancelled));
    engine.send(&ToWorker::Drain);
    assert_eq!(engine.result().await, (id(1), NodeOutcome::Cancelled));
    engine.ends().await;
}

#[tokio::test]
async fn what_had_failed_when_it_was_cancelled_has_failed() {
    let failed = || Failure::product("build.failed", "exit code 1");
    let mut engine = Engine::new(move |attempt: Attempt, _| async move {
        attempt.cancel().cancelled().await;
        Err(failed())
    });
    engine.offer(1);
    engine.send(&ToWorker::Cancel { attempt: id(1) });
    assert_eq!(engine.result().await, (id(1), NodeOutcome::Failed { failure: failed() }));
    engine.send(&ToWorker::Drain);
    engine.ends().await;
}

#[tokio::test]
async fn an_engine_that_is_gone_or_talks_nonsense_ends_all_work() {
    let engine = Engine::new(|attempt, _| until_cancelled(attempt));
    engine.offer(1);
    engine.to_worker.send(b"{\"type\":\"moon\"}".to_vec()).expect("the worker takes orders");
    engine.ends().await;

    let mut engine = Engine::new(|attempt, _| until_cancelled(attempt));
    engine.offer(1);
    engine.to_worker = mpsc::unbounded_channel().0;
    engine.ends().await;
}

#[tokio::test]
async fn a_result_that_no_frame_can_hold_is_a_failure() {
    let mut engine = Engine::new(|_, _| async {
        Err(Failure::product("build.failed", "x".repeat(seatrial_protocol::worker::FRAME_LIMIT)))
    });
    engine.offer(1);
    let (_, outcome) = engine.result().await;
    let NodeOutcome::Failed { failure } = outcome else { panic!("{outcome:?}") };
    assert_eq!(failure.code, "worker.result_too_large");
}
