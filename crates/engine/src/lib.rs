//! The dispatcher: drives a plan over a worker; the only writer of run state.
//!
//! It owns the order in which things happen and nothing else: what to do next
//! is decided by `seatrial_core::run`, how it is done is the worker's affair,
//! what it looks like is the reporters'. One loop linearises everything:
//!
//! ```text
//!            ┌────────────── decide ◀──────────────┐
//!            ▼                                     │
//!   events: record (intent) ─▶ offer        state = fold(events)
//!            ▲                                     ▲
//!            └── worker messages, cancel ──────────┘
//! ```
//!
//! An event is recorded before anything that follows from it is done, so a
//! crash can be interrupted between intent and effect, never the other way.

mod dispatch;
mod fold;
mod link;

pub use dispatch::{Dispatch, DispatchError, Recorder, RunFacts, dispatch};
pub use fold::fold;
pub use link::{Nonsense, WorkerEnd, WorkerLink, link};
