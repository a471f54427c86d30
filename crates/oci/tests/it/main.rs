//! Tests of the registry from outside, over loopback.

mod conformance;
mod fuzz;
mod registry;
mod served;
