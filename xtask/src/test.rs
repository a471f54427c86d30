//! `cargo xtask test`: all that CI runs, cheapest first, until the first red.

mod runs;
mod totals;

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, ExitCode, Stdio};

use anyhow::Context as _;

use crate::leaks::{After, Snapshot, check};
use crate::repository::{build, cargo, seatrial, shown, succeed};
use crate::steps::Steps;
use crate::{fuzz, generate, prerequisites, tidy};
use totals::Totals;

/// Arguments of `cargo xtask test`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Also the long rest: conformance tests, ten runs in a row with one killed
    #[arg(long)]
    full: bool,
    /// Only the steps with this in their name, to look at a red one again
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    only: String,
}

/// Runs all steps and tells whether they are green. The last line printed is
/// `N passed, N failed`: the tests of `cargo test`, and one more failed where
/// another step is red.
pub(crate) fn run(args: &Args) -> ExitCode {
    let mut steps = Steps::new(&args.only);
    let mut totals = Totals::default();
    let done = all(args, &mut steps, &mut totals);
    steps.summarize();
    if let Err(error) = &done {
        println!("\nred: {error:#}");
        totals.failed = totals.failed.max(1);
    }
    println!("\n{} passed, {} failed", totals.passed, totals.failed);
    if done.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn all(args: &Args, steps: &mut Steps, totals: &mut Totals) -> anyhow::Result<()> {
    steps.step("what this machine needs", prerequisites::ensure_for_tests)?;
    steps.step("format", || succeed(&mut cargo(&["fmt", "--all", "--check"])))?;
    steps.step("tidy", tidy::run)?;
    steps.step("clippy", || {
        let lint = ["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"];
        succeed(&mut cargo(&lint))
    })?;
    steps.step("documentation", || {
        // A link to a private item leads whoever reads the source.
        let mut command = cargo(&["doc", "--workspace", "--no-deps", "--quiet"]);
        succeed(command.env("RUSTDOCFLAGS", "-D warnings -A rustdoc::private_intra_doc_links"))
    })?;
    steps.step("build seatrial", build)?;
    steps.step("generated files", generate::check)?;
    steps.step("Kubernetes and friends (minutes the first time, then kept)", || {
        succeed(&mut seatrial(&["components", "install"]))
    })?;
    let before = Snapshot::take()?;
    steps.step("cargo test", || cargo_test(&["--workspace", "--no-fail-fast"], totals))?;
    let seconds = if args.full { 60 } else { 5 };
    steps.step("fuzzing", || fuzz::all(seconds))?;
    steps.step("nothing is left of the tests", || check(&before, After::End))?;
    steps.step("examples/podinfo", || runs::passes("examples/podinfo", &before))?;
    steps.step("examples/podinfo again: nothing is made twice", || runs::makes_nothing(&before))?;
    steps.step("environment by hand: applying and watching", || {
        runs::with_environment(&before, |kubeconfig| {
            let mut command = cargo(&["test", "--package", "seatrial-deploy", "--test", "cluster"]);
            count(command.env("SEATRIAL_TEST_KUBECONFIG", kubeconfig), totals)
        })
    })?;
    if args.full {
        steps.step("killed after every event, with an environment", || {
            let mut command = cargo(&["test", "--package", "seatrial", "--test", "leaks"]);
            command.arg("another_run_goes_on").env("SEATRIAL_TEST_FULL", "1");
            count(&mut command, totals)
        })?;
        steps.step("ten runs in a row, one killed", || runs::ten_in_a_row(&before))?;
        steps.step("examples/conformance", || runs::passes("examples/conformance", &before))?;
        match cargo(&["deny", "--version"]).stderr(Stdio::null()).status() {
            Ok(status) if status.success() => {
                steps.step("cargo deny", || succeed(&mut cargo(&["deny", "check"])))?;
            }
            _ => println!("\ncargo deny is not installed: licences and advisories not looked at"),
        }
    }
    Ok(())
}

/// `cargo test`, its results added to `totals`.
fn cargo_test(args: &[&str], totals: &mut Totals) -> anyhow::Result<()> {
    let mut command = cargo(&["test"]);
    command.args(args);
    // What a developer's shell may say about where things are is not the test's.
    for name in ["SEATRIAL_STATE_DIR", "SEATRIAL_COMPONENTS", "SEATRIAL_TEST_KUBECONFIG", "UPDATE"]
    {
        command.env_remove(name);
    }
    count(&mut command, totals)
}

fn count(command: &mut Command, totals: &mut Totals) -> anyhow::Result<()> {
    // A snapshot that differs is red, and not a new file in the work tree.
    command.env("INSTA_UPDATE", "no");
    each_line(command.stdout(Stdio::piped()), |line| totals.add(line))
}

/// Runs a command to its end, which must be good, and looks at each line of
/// the one stream that is piped while it passes through.
fn each_line(command: &mut Command, mut look: impl FnMut(&str)) -> anyhow::Result<()> {
    let mut child =
        command.spawn().with_context(|| format!("{} does not start", shown(command)))?;
    let stream: Box<dyn std::io::Read> = match (child.stdout.take(), child.stderr.take()) {
        (Some(stdout), _) => Box::new(stdout),
        (None, Some(stderr)) => Box::new(stderr),
        (None, None) => anyhow::bail!("no stream of {} is piped", shown(command)),
    };
    for line in BufReader::new(stream).split(b'\n') {
        let line = line?;
        let line = String::from_utf8_lossy(&line);
        writeln!(std::io::stdout(), "{line}")?;
        look(&line);
    }
    let status = child.wait()?;
    anyhow::ensure!(status.success(), "{} ended with {status}", shown(command));
    Ok(())
}
