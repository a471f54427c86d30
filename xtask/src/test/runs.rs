//! Whole runs of the examples, and of environments by hand.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

use super::each_line;
use crate::leaks::{After, Snapshot, check};
use crate::repository::{seatrial, state, succeed};

const PODINFO: &str = "examples/podinfo";

/// A run of a project passes, and leaves nothing.
pub(crate) fn passes(project: &str, before: &Snapshot) -> anyhow::Result<()> {
    succeed(&mut seatrial(&["run", "-C", project]))?;
    check(before, After::End)
}

/// A run of podinfo after one that passed finds everything made.
pub(crate) fn makes_nothing(before: &Snapshot) -> anyhow::Result<()> {
    let mut made = Vec::new();
    let mut command = seatrial(&["run", "-C", PODINFO]);
    // Not a terminal: a line for each node that was made or found.
    each_line(command.stderr(Stdio::piped()), |line| {
        made.extend(line.strip_prefix("made ").map(|what| what.trim().to_owned()));
    })?;
    ensure!(made.is_empty(), "made again, though nothing changed: {}", made.join(", "));
    check(before, After::End)
}

/// Ten runs, of which one is killed at a random moment; each of the others must
/// pass, and after the kill nothing may live on.
pub(crate) fn ten_in_a_row(before: &Snapshot) -> anyhow::Result<()> {
    // Neither the first, which tells how long a run takes, nor the last, which
    // finds what the killed one left.
    let killed = 2 + below(8);
    let mut took = Duration::ZERO;
    for n in 1..=10 {
        let began = Instant::now();
        if n == killed {
            let moment = Duration::from_millis(below(millis(took).max(1)));
            println!("\n--- run {n} of 10, killed after {:.3} s", moment.as_secs_f64());
            kill_after(&mut seatrial(&["run", "-C", PODINFO]), moment)?;
            check(before, After::Kill)?;
        } else {
            println!("\n--- run {n} of 10");
            passes(PODINFO, before)?;
        }
        took = began.elapsed();
    }
    Ok(())
}

/// Brings podinfo's environment up, calls `work` with its kubeconfig, and takes
/// it down again whatever came of that.
pub(crate) fn with_environment(
    before: &Snapshot,
    work: impl FnOnce(&Path) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    succeed(&mut seatrial(&["env", "up", "-C", PODINFO]))?;
    let done = kubeconfig().and_then(|file| work(&file));
    let down = succeed(&mut seatrial(&["env", "down"]));
    done.and(down)?;
    check(before, After::End)
}

fn kubeconfig() -> anyhow::Result<std::path::PathBuf> {
    let output = seatrial(&["env", "kubeconfig"]).stderr(Stdio::inherit()).output()?;
    ensure!(output.status.success(), "`seatrial env kubeconfig` ended with {}", output.status);
    let file = state().join("kubeconfig");
    std::fs::write(&file, output.stdout).with_context(|| file.display().to_string())?;
    Ok(file)
}

/// Starts a command and kills it after `moment`, unless it has ended by then.
fn kill_after(command: &mut Command, moment: Duration) -> anyhow::Result<()> {
    let mut child = command.stderr(Stdio::piped()).spawn()?;
    let stderr = child.stderr.take().context("it is piped")?;
    let (ended, end) = channel::<()>();
    let reading = std::thread::spawn(move || {
        let _ = std::io::copy(&mut { stderr }, &mut std::io::stdout());
        drop(ended);
    });
    // The end of its output comes with its end.
    if end.recv_timeout(moment) == Err(RecvTimeoutError::Timeout) {
        child.kill()?;
    }
    let status = child.wait()?;
    println!("it ended with {status}");
    let _ = reading.join();
    Ok(())
}

/// A random number below `n`; the standard library seeds its hash maps anew
/// each time.
fn below(n: u64) -> u64 {
    RandomState::new().build_hasher().finish() % n
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
