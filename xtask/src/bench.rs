//! `cargo xtask bench`: the budgets, measured.

/// Arguments of `cargo xtask bench`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

/// Measures the budgets and prints them.
#[expect(clippy::needless_pass_by_value, reason = "not written yet")]
pub(crate) fn run(_args: Args) -> anyhow::Result<()> {
    anyhow::bail!("bench is not written yet")
}
