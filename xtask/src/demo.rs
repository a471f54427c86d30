//! `cargo xtask demo`.

/// Arguments of `cargo xtask demo`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

/// Runs it.
pub(crate) fn run(_args: &Args) -> anyhow::Result<()> {
    anyhow::bail!("demo is not written yet")
}
