//! Where things of this repository are, and the commands that make them.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::Context as _;

/// The root of the repository.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask/ is below the root")
}

/// Cargo's target directory. Everything that xtask writes is below it.
pub(crate) fn target() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => root().join(dir),
        None => root().join("target"),
    }
}

/// The state directory of every run that xtask starts: it outlives them, so
/// that what was built once stays built.
pub(crate) fn state() -> PathBuf {
    target().join("state")
}

/// A call of the cargo that runs this, at the root.
pub(crate) fn cargo(args: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(args).current_dir(root()).stdin(Stdio::null());
    // `cargo run` tells xtask about itself. Build scripts look at that (ring's
    // does), and would run again for each change between this and a cargo that
    // a person starts.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(name);
        }
    }
    command
}

/// A call of the `seatrial` that [`build`] made, on [`state`].
pub(crate) fn seatrial(args: &[&str]) -> Command {
    let mut command = Command::new(target().join("debug/seatrial"));
    command.args(args).current_dir(root()).stdin(Stdio::null());
    command.env("SEATRIAL_STATE_DIR", state());
    command
}

/// Builds the `seatrial` command.
pub(crate) fn build() -> anyhow::Result<()> {
    succeed(&mut cargo(&["build", "--package", "seatrial"]))
}

/// The files that are part of the repository: tracked or about to be.
pub(crate) fn files() -> anyhow::Result<Vec<PathBuf>> {
    let output = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .stdin(Stdio::null())
        .output()
        .context("git does not start")?;
    anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim());
    let names = String::from_utf8(output.stdout).context("a file name is not UTF-8")?;
    let files = names.split_terminator('\0').map(PathBuf::from);
    // A file that was removed and not yet committed is still listed.
    Ok(files.filter(|file| root().join(file).is_file()).collect())
}

/// Runs a command to its end, which must be good.
pub(crate) fn succeed(command: &mut Command) -> anyhow::Result<()> {
    let status = command.status().with_context(|| format!("{} does not start", shown(command)))?;
    anyhow::ensure!(status.success(), "{} ended with {status}", shown(command));
    Ok(())
}

/// The command as a person would type it.
pub(crate) fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or_default();
    let words = std::iter::once(program).chain(command.get_args());
    let words: Vec<_> = words.map(|word| word.to_string_lossy()).collect();
    format!("`{}`", words.join(" "))
}
