//! `cargo xtask tidy`: rules of the repository that no compiler checks.

/// Runs it.
pub(crate) fn run() -> anyhow::Result<()> {
    anyhow::bail!("tidy is not written yet")
}
