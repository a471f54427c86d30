//! `cargo xtask demo`: from a fresh machine to a verdict.

use crate::prerequisites;
use crate::repository::{build, seatrial, shown, state, succeed};
use crate::steps::Steps;

/// Arguments of `cargo xtask demo`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

/// Gets what is needed, and runs podinfo's tests on a cluster of their own.
pub(crate) fn run(_args: &Args) -> anyhow::Result<()> {
    let mut steps = Steps::new("");
    steps.step("what this machine needs", prerequisites::ensure_all)?;
    steps.step("build seatrial", build)?;
    steps.step("Kubernetes and friends (minutes the first time, then kept)", || {
        succeed(&mut seatrial(&["components", "install"]))
    })?;
    let mut command = seatrial(&["run", "-C", "examples/podinfo"]);
    steps.step("build podinfo, boot a cluster, install it, test it", || {
        println!("{} with SEATRIAL_STATE_DIR={}", shown(&command), state().display());
        succeed(&mut command)
    })?;
    steps.summarize();
    println!("\nThe same again is faster: what did not change is not built again.");
    println!("examples/podinfo/README.md says how to make it go red.");
    Ok(())
}
