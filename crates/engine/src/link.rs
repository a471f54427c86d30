//! The two ends of a connection between the engine and a worker, in one
//! process. Frames are encoded bytes, as between processes.

use seatrial_protocol::worker::{DecodeError, FRAME_LIMIT, FromWorker, ToWorker, decode, encode};
use tokio::sync::mpsc;

/// Frames under way in each direction. A worker says little at once (a burst
/// is the listing of a suite); a full queue holds the worker back, never the
/// dispatcher, whose offers are at most as many as the plan has nodes.
const FRAMES: usize = 4096;

/// The engine's end.
pub struct WorkerLink {
    to_worker: mpsc::UnboundedSender<Vec<u8>>,
    from_worker: mpsc::Receiver<Vec<u8>>,
}

/// The worker's end: frames from the engine, and frames to it.
pub struct WorkerEnd {
    /// Encoded [`ToWorker`] messages.
    pub from_engine: mpsc::UnboundedReceiver<Vec<u8>>,
    /// Takes encoded [`FromWorker`] messages.
    pub to_engine: mpsc::Sender<Vec<u8>>,
}

/// Makes the two ends of a connection.
#[must_use]
pub fn link() -> (WorkerLink, WorkerEnd) {
    let (to_worker, from_engine) = mpsc::unbounded_channel();
    let (to_engine, from_worker) = mpsc::channel(FRAMES);
    (WorkerLink { to_worker, from_worker }, WorkerEnd { from_engine, to_engine })
}

/// Something that no worker says.
#[derive(Debug, thiserror::Error)]
pub enum Nonsense {
    /// A frame that is too long to be looked at.
    #[error("a message of the worker has {0} bytes; at most {FRAME_LIMIT} are allowed")]
    TooLong(usize),
    /// A frame that cannot be read.
    #[error(transparent)]
    NoMessage(DecodeError),
}

impl WorkerLink {
    /// Sends a message. A worker that is gone is noticed when receiving.
    pub fn send(&self, message: &ToWorker) {
        // The error says only that the other end is gone.
        let _ = self.to_worker.send(encode(message));
    }

    /// The next message; `None` when the worker is gone.
    ///
    /// # Errors
    /// When a frame is too long, or no message of this version.
    pub async fn receive(&mut self) -> Option<Result<FromWorker, Nonsense>> {
        let frame = self.from_worker.recv().await?;
        Some(match frame.len() <= FRAME_LIMIT {
            true => decode(&frame).map_err(Nonsense::NoMessage),
            false => Err(Nonsense::TooLong(frame.len())),
        })
    }

    /// Closes the connection. The worker sees its engine gone and ends all that
    /// it does; what it still says is not heard.
    pub fn close(&mut self) {
        let (gone, _) = link();
        *self = gone;
    }
}
