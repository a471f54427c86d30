//! What the integration tests of this crate re-execute to enter an environment.
//! The product does the same with its own executable.

fn main() {
    seatrial_sandbox::enter_if_asked();
}
