//! Messages between the engine and a worker.
//!
//! The worker is a client that the engine does not trust: each message about
//! an attempt carries its epoch, and one with another epoch than the current
//! is dropped. Also where both are in one process, every message is encoded
//! and decoded. Blobs and log bytes do not travel here; they go by the store.
//!
//! ```text
//!  engine                      worker
//!     ◀── Hello ──────────────────
//!     ─── Offer{epoch} ──────────▶
//!     ◀── Accept{epoch} ──────────
//!     ◀── Event{seq} ... ─────────
//!     ◀── Result{epoch} ──────────
//!     ─── Cancel, Drain ─────────▶
//! ```

use seatrial_core::action::{Action, Platform};
use seatrial_core::digest::Digest;
use seatrial_core::failure::Failure;
use seatrial_core::ids::{AttemptId, Epoch, RunId, SessionId};
use seatrial_core::stage::Stage;
use seatrial_core::step::Step;
use serde::{Deserialize, Serialize};

use crate::event::{NodeOutcome, Usage};
use crate::test::TestOutcome;

/// What the engine says to a worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "type")]
pub enum ToWorker {
    /// Do this.
    Offer(Box<Offer>),
    /// Stop this attempt; a result is still expected.
    Cancel {
        /// The attempt.
        attempt: AttemptId,
    },
    /// Take nothing more, end every session, and go.
    Drain,
}

/// Work for a worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Offer {
    /// The run it is for.
    pub run: RunId,
    /// The name of the node, for logs.
    pub node: String,
    /// This try.
    pub attempt: AttemptId,
    /// Its fencing number.
    pub epoch: Epoch,
    /// What to do.
    pub order: Order,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "type")]
pub enum Order {
    /// Make an artifact, unless one is stored under this key.
    Action {
        /// The key.
        key: Digest,
        /// How it is made.
        action: Box<Action<Digest>>,
    },
    /// Do something in a session, or run a suite apart from any.
    Stage {
        /// The session, which the order to boot begins.
        session: Option<SessionId>,
        /// What to do.
        stage: Box<Stage<Digest>>,
        /// For the last stage: leave the environment running.
        keep: bool,
    },
}

/// What a worker says to the engine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "type")]
pub enum FromWorker {
    /// The first message.
    Hello(Hello),
    /// It does what was offered.
    Accept {
        /// The attempt.
        attempt: AttemptId,
        /// Its fencing number.
        epoch: Epoch,
    },
    /// Something happened in an attempt.
    Event {
        /// The attempt.
        attempt: AttemptId,
        /// Its fencing number.
        epoch: Epoch,
        /// 0, 1, 2, ... within the attempt.
        seq: u64,
        /// What.
        event: AttemptEvent,
    },
    /// An attempt is over.
    Result {
        /// The attempt.
        attempt: AttemptId,
        /// Its fencing number.
        epoch: Epoch,
        /// How it ended.
        outcome: NodeOutcome,
        /// What it used.
        usage: Usage,
        /// How long the worker had it, in microseconds of the worker's clock.
        took_us: u64,
    },
}

/// What a worker is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Hello {
    /// The version of the protocol that it speaks.
    pub version: u32,
    /// The machine, as far as keys depend on it.
    pub platform: Platform,
    /// Cores that it may use.
    pub cores: u32,
    /// Bytes of memory that it may use.
    pub memory: u64,
    /// Environments that it can have at once.
    pub environments: u32,
}

/// Something that happened in an attempt. Times are microseconds since the
/// attempt began.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "type")]
pub enum AttemptEvent {
    /// How far it is.
    Progress {
        /// What it is doing: a few words.
        text: String,
        /// How much is done and how much there is, where that is known.
        fraction: Option<(u64, u64)>,
    },
    /// A part of its time that has a name of its own.
    Span {
        /// The row it counts for in the sum of spans.
        step: Step,
        /// What was done.
        name: String,
        /// When it began.
        start_us: u64,
        /// When it ended.
        end_us: u64,
    },
    /// A suite listed its tests: those that are selected.
    TestsSelected {
        /// Program and name of each.
        tests: Vec<(String, String)>,
        /// How many it listed in all.
        listed: u32,
    },
    /// A test began.
    TestStarted {
        /// Its program.
        program: String,
        /// Its name.
        test: String,
    },
    /// A test ended.
    TestFinished {
        /// Its program.
        program: String,
        /// Its name.
        test: String,
        /// How.
        outcome: TestOutcome,
        /// How long it took, in microseconds.
        duration_us: u64,
        /// Why it failed, where its program says so.
        message: Option<String>,
        /// The end of its output, when it did not pass.
        output: Option<String>,
    },
    /// What was collected when something failed.
    Evidence {
        /// The tree of files.
        tree: Digest,
        /// The lines of it that a person reads first.
        summary: String,
    },
    /// Something that a person should know, though nothing failed.
    Warning(Failure),
}

/// Longest frame that a worker may send, in bytes: room for the names of all
/// tests of Kubernetes' own suite four times over. A worker that sends a longer
/// one is given up as one that talks nonsense, since what is dropped might have
/// been the result that is waited for.
pub const FRAME_LIMIT: usize = 4 << 20;

/// Encodes a message as one frame.
///
/// # Panics
/// Never: these types have only string keys, and no float that is not finite
/// is put into them.
#[must_use]
pub fn encode<T: Serialize>(message: &T) -> Vec<u8> {
    serde_json::to_vec(message).expect("messages consist of what JSON can say")
}

/// A frame that is no message of this version.
#[derive(Debug, thiserror::Error)]
#[error("a message of the worker protocol cannot be read")]
pub struct DecodeError(#[from] serde_json::Error);

/// Decodes a frame.
///
/// # Errors
/// When it is no message of this version.
pub fn decode<'a, T: Deserialize<'a>>(frame: &'a [u8]) -> Result<T, DecodeError> {
    Ok(serde_json::from_slice(frame)?)
}
