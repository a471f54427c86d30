//! The words of Seatrial as types, and every decision as a pure value.
//!
//! This crate does no I/O, reads no clock and knows no async runtime: time,
//! identifiers and what the world looks like come in as values, and what
//! should happen goes out as values. See `ARCHITECTURE.md`.

pub mod account;
pub mod action;
pub mod digest;
pub mod failure;
pub mod filter;
#[cfg(feature = "fuzz")]
pub mod fuzz;
pub mod ids;
pub mod key;
pub mod name;
pub mod pipeline;
pub mod plan;
pub mod quantity;
pub mod run;
pub mod stage;
pub mod step;
pub mod tail;
pub mod verdict;

#[cfg(test)]
mod testing;
