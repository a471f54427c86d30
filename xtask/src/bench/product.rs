//! The command that is measured, and the directories that it works in.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use super::events::Events;
use crate::repository;

/// The `seatrial` command, with a state directory for benchmarks.
pub(crate) struct Product {
    root: PathBuf,
    exe: PathBuf,
    debug: bool,
    given: bool,
}

/// Where what is made for one benchmark run only is kept: removed afterwards.
const SCRATCH: &str = "scratch";

impl Product {
    /// Takes the command that is given, or builds it.
    pub(crate) fn find(debug: bool, exe: Option<&Path>) -> anyhow::Result<Self> {
        let (root, target) = (repository::root().to_owned(), repository::target());
        let mut product = Self { root, exe: PathBuf::new(), debug, given: exe.is_some() };
        product.exe = match exe {
            Some(exe) => exe.canonicalize().with_context(|| exe.display().to_string())?,
            None => {
                product.cargo("build", &["--package", "seatrial"])?;
                target.join(product.profile()).join("seatrial")
            }
        };
        product.clean_up()?;
        std::fs::create_dir_all(product.scratch())?;
        Ok(product)
    }

    /// `release` or `debug`.
    pub(crate) fn profile(&self) -> &'static str {
        if self.debug { "debug" } else { "release" }
    }

    /// What is measured, in words. What is given may be of any commit.
    pub(crate) fn said(&self) -> String {
        match self.given {
            true => format!("{}, measured beside", self.exe.display()),
            false => format!("{} build of", self.profile()),
        }
    }

    /// The repository.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// A directory that is gone after the benchmarks.
    pub(crate) fn scratch(&self) -> PathBuf {
        self.states().join(SCRATCH)
    }

    fn states(&self) -> PathBuf {
        self.root.join("target").join("bench-state")
    }

    /// Runs `cargo` in the profile that is measured; what it prints on standard
    /// output.
    pub(crate) fn cargo(&self, what: &str, arguments: &[&str]) -> anyhow::Result<String> {
        let mut cargo = repository::cargo(&[what, "--quiet"]);
        if !self.debug {
            cargo.arg("--release");
        }
        output(cargo.args(arguments))
    }

    /// The command for a project of a benchmark, its own state thrown away
    /// afterwards.
    pub(crate) fn command(&self, project: &Path, arguments: &[&str]) -> Command {
        self.command_in(project, &self.scratch().join("state"), arguments)
    }

    /// The command for a project that benchmarks keep the state of, since
    /// making it anew takes minutes.
    pub(crate) fn command_kept(&self, project: &Path, arguments: &[&str]) -> Command {
        self.command_in(project, &self.states().join("kept"), arguments)
    }

    fn command_in(&self, project: &Path, state: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.exe);
        command.args(arguments).arg("-C").arg(project).env("SEATRIAL_STATE_DIR", state);
        command
    }

    /// Runs a command that prints events, and reads them.
    pub(crate) fn events(&self, command: &mut Command) -> anyhow::Result<Run> {
        let began = Instant::now();
        let text = output(command.args(["--format", "json"]))?;
        Ok(Run { wall: began.elapsed(), events: Events::read(&text)? })
    }

    /// A new project in a Git work tree of its own.
    pub(crate) fn project(&self, name: &str, files: &[(&str, &str)]) -> anyhow::Result<PathBuf> {
        let dir = self.scratch().join(name);
        for (path, content) in files {
            let path = dir.join(path);
            std::fs::create_dir_all(path.parent().context("a file is in a directory")?)?;
            std::fs::write(path, content)?;
        }
        if !dir.join(".git").exists() {
            output(Command::new("git").args(["init", "--quiet"]).current_dir(&dir))?;
        }
        Ok(dir)
    }

    /// Ends what benchmarks left running and removes what they made.
    pub(crate) fn clean_up(&self) -> anyhow::Result<()> {
        let scratch = self.scratch();
        if scratch.join("state").exists() && self.exe.exists() {
            output(&mut self.command(&scratch, &["env", "down", "--all"]))?;
        }
        match std::fs::remove_dir_all(&scratch) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("cannot remove {}", scratch.display()))
            }
            _ => Ok(()),
        }
    }
}

/// One run of the command.
pub(crate) struct Run {
    /// From the start of the process to its end.
    pub(crate) wall: Duration,
    pub(crate) events: Events,
}

/// Runs a command to its good end; what it printed on standard output.
pub(crate) fn output(command: &mut Command) -> anyhow::Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("{program} cannot be started"))?;
    if !output.status.success() {
        let arguments: Vec<_> =
            command.get_args().map(|argument| argument.to_string_lossy()).collect();
        let stdout = String::from_utf8_lossy(&output.stdout);
        let last: Vec<_> = stdout.lines().rev().take(5).collect();
        bail!(
            "{program} {} ended with {}\n{}\n{}",
            arguments.join(" "),
            output.status,
            String::from_utf8_lossy(&output.stderr),
            last.join("\n")
        );
    }
    String::from_utf8(output.stdout).context("its output is not UTF-8")
}
