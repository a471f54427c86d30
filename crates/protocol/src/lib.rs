//! What crosses a process or is kept: run events and worker messages.
//!
//! Everything here is versioned by [`VERSION`] and encoded as JSON, one value
//! a line or a frame. Readers ignore fields that they do not know, so that a
//! field can be added without a new version.

pub mod event;
pub mod sanitise;
pub mod test;
pub mod worker;

/// The version of all that this crate describes.
pub const VERSION: u32 = 1;
