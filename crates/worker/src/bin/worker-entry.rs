//! What the tests of this crate re-execute to enter a sandbox. The product
//! does the same with its own executable.

fn main() {
    seatrial_sandbox::enter_if_asked();
}
