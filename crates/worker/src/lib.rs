//! Owns a machine: does what the engine offers, in attempts, and holds the
//! environments that sessions live in.
//!
//! The worker decides nothing about a run. It takes an order, carries it out
//! with the crates below it, says what happened, and gives a result with the
//! epoch it was offered. It is the only privileged part: what it starts for a
//! project runs in the sandbox, as an unprivileged user.
//!
//! ```text
//!  serve ── Offer ──▶ attempt (a task each) ──▶ command   a build in the sandbox
//!    ▲                  │                       image     oci
//!    │                  │                       session   boot, install, suite,
//!    └── Result, Event ◀┘                                 evidence, drop
//!  image, install ──▶ layers     made mountable once, for all nodes
//! ```

mod action;
mod attempt;
mod command;
mod environment;
mod evidence;
mod image;
mod install;
mod layers;
mod machine;
mod outputs;
mod serve;
mod session;
mod suite;
mod tools;

pub use environment::Held;
pub use layers::{NotMountable, try_mounting};
pub use machine::{Machine, MachineError, Settings, platform, room, watched};
pub use serve::{Connection, serve};
pub use tools::{Tool, ToolError, Tools};
