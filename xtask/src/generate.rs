//! `cargo xtask generate`.

/// Arguments of `cargo xtask generate`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

/// Runs it.
pub(crate) fn run(_args: &Args) -> anyhow::Result<()> {
    anyhow::bail!("generate is not written yet")
}
