//! Tests of the registry from outside, over loopback, and of pulling from
//! others.

mod conformance;
mod distribution;
mod fuzz;
mod pulls;
mod registry;
mod served;
mod tokens;
