//! Blobs, trees, action results and run history, over SQLite and the file system.
//!
//! One [`Store`] owns one state directory. Content (blobs, trees, logs) is
//! files; everything small that must change atomically is a [`Records`]
//! backend: SQLite here, something else where one machine is not enough.
//!
//! The API is synchronous: callers on an async runtime use a blocking thread.
//! This crate reads no clock, makes no identifiers and knows nothing of what
//! an event or a run state says: both are text to it.
//!
//! ```text
//! <dir>/store.db          SQLite: action results, runs, history, stat cache
//! <dir>/blobs/sha256/xx/  blobs by digest, read-only
//! <dir>/trees/<hex>/      manifest.json and root/, read-only, published by rename
//! <dir>/layers/<boot>/    layers of images as file systems, <diff id>.erofs
//! <dir>/logs/<run>/       <attempt>.<stream>
//! <dir>/locks/            one file an action in flight, held by flock
//! <dir>/content.lock       between who uses content and who removes it
//! <dir>/quarantine/        what was not what its name says
//! <dir>/tmp/<process>/    what is not published yet, swept when its owner is gone
//! ```

pub mod blob;
pub mod error;
pub mod layers;
pub mod lock;
pub mod log;
pub mod manifest;
pub mod records;
pub mod stat_cache;
pub mod state_dir;
pub mod tree;

mod action;
#[cfg(test)]
mod crash;
mod durable;
mod garbage;
mod open;
mod scrub;

pub use blob::{Blob, BlobWriter};
pub use error::StoreError;
pub use garbage::{Collected, Keep};
pub use layers::Layers;
pub use lock::{ActionLock, Turn};
pub use manifest::{Content, Entry, Manifest};
pub use open::Store;
pub use records::{ActionResult, Expected, Outputs, Recorded, Records, RunRow, Scope, Series};
pub use scrub::{Damaged, Scrubbed};
pub use tree::{Tree, TreeLimits};
