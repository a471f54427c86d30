//! One attempt: what it says to the engine, and how it is stopped.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use seatrial_core::failure::Failure;
use seatrial_core::ids::{AttemptId, Epoch, RunId};
use seatrial_core::name::Name;
use seatrial_core::step::Step;
use seatrial_core::tail::Tail;
use seatrial_protocol::event::{NodeOutcome, Usage};
use seatrial_protocol::worker::{AttemptEvent, FRAME_LIMIT, FromWorker, encode};
use seatrial_store::Store;
use seatrial_store::log::LogKey;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

/// Bytes that are kept of one stream of an attempt: of its beginning, and of its
/// end, which says most about a failure.
const LOG_HEAD: u64 = 63 << 20;
const LOG_TAIL: usize = 1 << 20;
/// Both, and room to say what is missing between them.
const LOG_CAP: u64 = LOG_HEAD + (LOG_TAIL as u64) + 4096;

/// The code of the failure of what was stopped because nobody wants it any more.
pub(crate) const CANCELLED: &str = "run.cancelled";

/// That work was stopped because nobody wants it any more.
pub(crate) fn cancelled() -> Failure {
    Failure::environment(CANCELLED, "the work was stopped")
}

/// What an attempt has of the world besides its order. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Attempt {
    inner: Arc<Inner>,
}

struct Inner {
    run: RunId,
    id: AttemptId,
    epoch: Epoch,
    began: Instant,
    seq: AtomicU64,
    cancel: CancellationToken,
    to_engine: mpsc::Sender<Vec<u8>>,
    store: Arc<Store>,
}

impl Attempt {
    pub(crate) fn new(
        run: RunId,
        id: AttemptId,
        epoch: Epoch,
        to_engine: mpsc::Sender<Vec<u8>>,
        store: Arc<Store>,
    ) -> Self {
        let inner = Inner {
            run,
            id,
            epoch,
            began: Instant::now(),
            seq: AtomicU64::new(0),
            cancel: CancellationToken::new(),
            to_engine,
            store,
        };
        Self { inner: Arc::new(inner) }
    }

    pub(crate) fn id(&self) -> AttemptId {
        self.inner.id
    }

    /// Is cancelled when the engine wants this attempt to stop.
    pub(crate) fn cancel(&self) -> &CancellationToken {
        &self.inner.cancel
    }

    /// Does work that nobody can stop, as waiting for a lock or a registry, on a
    /// thread of its own, and does not wait for it once this is cancelled: the
    /// thread holds nobody up, and ends with its work or this process. Called
    /// from a thread of the runtime that may block.
    pub(crate) fn until_cancelled<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let (tell, told) = oneshot::channel();
        std::thread::spawn(move || tell.send(work()));
        Handle::current().block_on(async {
            tokio::select! {
                done = told => done.unwrap_or_else(|_| {
                    Err(Failure::environment("worker.panicked", "work panicked"))
                }),
                () = self.cancel().cancelled() => Err(cancelled()),
            }
        })
    }

    /// Says that it is over: the last that is said of it.
    pub(crate) async fn end(&self, outcome: NodeOutcome, usage: Usage) {
        let (attempt, epoch) = (self.inner.id, self.inner.epoch);
        let took_us = micros(self.inner.began.elapsed());
        let mut frame = encode(&FromWorker::Result { attempt, epoch, outcome, usage, took_us });
        if frame.len() > FRAME_LIMIT {
            let message = format!("the result of this attempt has {} bytes", frame.len());
            let failure = Failure::environment("worker.result_too_large", message);
            let outcome = NodeOutcome::Failed { failure };
            frame = encode(&FromWorker::Result { attempt, epoch, outcome, usage, took_us });
        }
        let _ = self.inner.to_engine.send(frame).await;
    }

    /// Says that something happened.
    pub(crate) async fn event(&self, event: AttemptEvent) {
        // The error says only that the engine is gone; `serve` notices that.
        let _ = self.inner.to_engine.send(self.frame(event)).await;
    }

    /// Says that something happened, from a thread that may block.
    pub(crate) fn event_blocking(&self, event: AttemptEvent) {
        let _ = self.inner.to_engine.blocking_send(self.frame(event));
    }

    /// Says how far it is. Dropped when the engine is busy: the next will do.
    pub(crate) fn progress(&self, text: impl Into<String>, fraction: Option<(u64, u64)>) {
        let event = AttemptEvent::Progress { text: text.into(), fraction };
        let _ = self.inner.to_engine.try_send(self.frame(event));
    }

    /// Says what part of its time went where.
    pub(crate) async fn span(&self, step: Step, name: &str, start: Instant, end: Instant) {
        self.event(self.span_event(step, name, start, end)).await;
    }

    /// The same, from a thread that may block.
    pub(crate) fn span_blocking(&self, step: Step, name: &str, start: Instant, end: Instant) {
        self.event_blocking(self.span_event(step, name, start, end));
    }

    fn span_event(&self, step: Step, name: &str, start: Instant, end: Instant) -> AttemptEvent {
        let since = |at: Instant| micros(at.saturating_duration_since(self.inner.began));
        let (start_us, end_us) = (since(start), since(end));
        AttemptEvent::Span { step, name: name.to_owned(), start_us, end_us }
    }

    /// A log stream of this attempt that bytes can be appended to.
    pub(crate) fn log(&self, stream: Name) -> LogWriter {
        LogWriter { attempt: self.clone(), stream, offset: 0, tail: Tail::new(LOG_TAIL) }
    }

    fn frame(&self, event: AttemptEvent) -> Vec<u8> {
        let inner = &self.inner;
        // Frames of one attempt may be sent by several threads; the number
        // only has to be unique and roughly rising.
        let seq = inner.seq.fetch_add(1, Ordering::Relaxed);
        let frame = |event| {
            encode(&FromWorker::Event { attempt: inner.id, epoch: inner.epoch, seq, event })
        };
        let encoded = frame(event);
        if encoded.len() <= FRAME_LIMIT {
            return encoded;
        }
        // The engine would give this worker up.
        let message = format!("an event of {} bytes was left out", encoded.len());
        frame(AttemptEvent::Warning(Failure::environment("worker.event_too_large", message)))
    }
}

/// Appends what a command writes to the log of its attempt: the beginning as it
/// comes, and the end when it is known, which is when this is dropped.
pub(crate) struct LogWriter {
    attempt: Attempt,
    stream: Name,
    offset: u64,
    tail: Tail,
}

impl LogWriter {
    /// Appends bytes. A log that cannot be written is told once and does not
    /// stop the work it is about.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        let room = usize::try_from(LOG_HEAD.saturating_sub(self.offset)).unwrap_or(usize::MAX);
        let (head, rest) = bytes.split_at(room.min(bytes.len()));
        if !head.is_empty() {
            self.append(head);
        }
        self.tail.push(rest);
    }

    fn append(&mut self, bytes: &[u8]) {
        let inner = &self.attempt.inner;
        let key = LogKey { run: inner.run, attempt: inner.id, stream: &self.stream };
        match inner.store.append_log(key, self.offset, bytes, LOG_CAP) {
            Ok(appended) => self.offset = appended.next,
            Err(error) => {
                tracing::warn!(error = %Failure::chain(&error), "a log cannot be written");
            }
        }
    }
}

impl Drop for LogWriter {
    fn drop(&mut self) {
        let end = self.tail.bytes();
        if !end.is_empty() {
            self.append(&end);
        }
    }
}

/// Does work that blocks on a thread for such work.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|panic| {
        Err(Failure::environment("worker.panicked", format!("work panicked: {panic}")))
    })
}

/// A name that is written in the program.
pub(crate) fn name(text: &'static str) -> Name {
    text.parse().expect("names in the program are names")
}

/// Microseconds, as the protocol counts.
pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
