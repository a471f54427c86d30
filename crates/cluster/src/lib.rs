//! Real Kubernetes clusters in namespaces of this machine.
//!
//! An [`Environment`] is one or more clusters of one or more nodes, made of the
//! upstream binaries, without a container engine and without a link to the
//! machine: what crosses does so through sockets that this process makes inside
//! (`docs/design/001-no-uplink.md`). Decisions are values: where everything is
//! ([`layout`]), who is who ([`pki`]), what is written on a node's disk
//! ([`files`]) and what is started there ([`commands`]). [`boot`] carries them
//! out.
//!
//! Everything by its place: node `n` of cluster `c` has the same name, addresses
//! and paths in every environment, so that what was made for one is true in a
//! copy of it.
//!
//! This crate knows nothing about the product under test; `seatrial-deploy`
//! installs it.

mod api;
mod boot;
mod commands;
mod dns;
mod egress;
mod environment;
mod error;
mod event;
mod files;
mod forward;
pub mod layout;
mod pause;
mod pki;
mod policies;
mod processes;
mod storage;

pub use environment::{BootSpec, ClusterSpec, Components, Environment, Snapshotter};
pub use error::Error;
pub use event::{Event, OnEvent, What};
pub use policies::policy_probes;
