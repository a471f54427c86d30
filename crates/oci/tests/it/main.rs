//! Tests of the registry from outside, over loopback.

mod conformance;
mod registry;
mod served;
