//! `cargo xtask fuzz`: what reads strangers' bytes, tried with a time box.
//!
//! A target is a proptest named `fuzz_NAME`, wherever it is: `cargo test` tries
//! each a little, this tries one until its time is up, round after round, each
//! from a seed of its own. A round has a bound for its memory, and one for its
//! time; what breaks it is printed with the seed that brings it back. Coverage
//! does not steer it: docs/threat-model.md says why.

use std::io::{Read as _, Seek as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, bail};
use serde::Deserialize;

use crate::repository::{cargo, root, shown};

/// Address space of a round, in bytes: many times what the largest case needs.
const MEMORY: u64 = 4 << 30;

/// How long a round is to take, so that starting a program costs little of it.
const ROUND: Duration = Duration::from_secs(2);

/// How long a round may take: one case, and then its shrinking, go on for ever.
const HANGS: Duration = Duration::from_secs(120);

/// Cases of a first round: few, as nobody knows yet how long one takes.
const CASES: u64 = 16;

/// Arguments of `cargo xtask fuzz`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Targets to try, by a part of their name; all when none is named
    #[arg(value_name = "TARGET")]
    targets: Vec<String>,
    /// How long each target is tried
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    seconds: u64,
    /// Seed of the first round, from which later ones count up, instead of the time
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
    /// Cases of the first round: with a seed, exactly what a failure named
    #[arg(long, value_name = "COUNT", default_value_t = CASES)]
    cases: u64,
}

/// Tries all targets, each for `seconds`.
pub(crate) fn all(seconds: u64) -> anyhow::Result<()> {
    run(&Args { targets: Vec::new(), seconds, seed: None, cases: CASES })
}

/// Tries the targets, each until its time is up.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let all = targets()?;
    let chosen = |target: &&Target| {
        args.targets.is_empty() || args.targets.iter().any(|part| target.name.contains(part))
    };
    let chosen: Vec<&Target> = all.iter().filter(chosen).collect();
    anyhow::ensure!(!chosen.is_empty(), "there is no such target; there are {}", names(&all));
    let mut broken = Vec::new();
    for target in chosen {
        if let Err(error) = target.try_for(args) {
            println!("{error:#}");
            broken.push(target.name.clone());
        }
    }
    anyhow::ensure!(broken.is_empty(), "broken: {}", broken.join(", "));
    Ok(())
}

/// One reader of strangers' bytes.
struct Target {
    /// The test, with its modules.
    name: String,
    program: PathBuf,
    /// The crate, where its tests run.
    dir: PathBuf,
    /// How long a round may take.
    hangs: Duration,
}

/// How a round ended.
enum Round {
    Good,
    /// With what status, and what it said; without one it was ended, since it
    /// took too long.
    Bad(Option<ExitStatus>, String),
}

impl Target {
    /// Tries this target until its time is up.
    fn try_for(&self, args: &Args) -> anyhow::Result<()> {
        let began = Instant::now();
        let time = Duration::from_secs(args.seconds);
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let (mut seed, mut cases, mut tried) = (args.seed.unwrap_or(now), args.cases, 0);
        while tried == 0 || began.elapsed() < time {
            let round = Instant::now();
            match self.round(seed, cases, false)? {
                Round::Good => {}
                bad => return Err(self.explain(&bad, seed, cases)),
            }
            tried += cases;
            seed += 1;
            cases = next(cases, round.elapsed());
        }
        let took = began.elapsed().as_secs_f64();
        println!("{:<60} {tried:>9} cases in {took:.1} s", self.name);
        Ok(())
    }

    /// One run of the program: `cases` cases from `seed`.
    fn round(&self, seed: u64, cases: u64, verbose: bool) -> anyhow::Result<Round> {
        let mut said = tempfile::tempfile()?;
        let mut command = Command::new("prlimit");
        command
            .arg(format!("--as={MEMORY}"))
            .arg(&self.program)
            .args(["--exact", &self.name, "--nocapture"])
            .current_dir(&self.dir)
            .env("PROPTEST_CASES", cases.to_string())
            .env("PROPTEST_RNG_SEED", seed.to_string())
            .env("PROPTEST_DISABLE_FAILURE_PERSISTENCE", "true")
            .env("PROPTEST_VERBOSE", if verbose { "2" } else { "0" })
            .env("RUST_BACKTRACE", "0")
            .stdin(Stdio::null())
            .stdout(said.try_clone()?)
            .stderr(said.try_clone()?);
        let child =
            command.spawn().with_context(|| format!("{} does not start", shown(&command)))?;
        let status = wait(child, self.hangs)?;
        if status.is_some_and(|status| status.success()) {
            return Ok(Round::Good);
        }
        let mut text = Vec::new();
        said.rewind()?;
        said.read_to_end(&mut text)?;
        Ok(Round::Bad(status, String::from_utf8_lossy(&text).into_owned()))
    }

    /// What broke, and how to bring it back.
    fn explain(&self, round: &Round, seed: u64, cases: u64) -> anyhow::Error {
        let again = format!(
            "again: cargo xtask fuzz {} --seconds 0 --seed {seed} --cases {cases}",
            self.name
        );
        let why = match round {
            Round::Good => String::new(),
            // What panics is shrunk by proptest, which says the least input.
            Round::Bad(_, said) if said.contains("minimal failing input") => said.clone(),
            // What kills the program is said by nobody: once more, and the last
            // input that was tried is the one.
            Round::Bad(Some(status), _) => {
                format!("the program ended with {status} at\n{}", self.last(seed, cases))
            }
            Round::Bad(None, _) => {
                format!("no end after {:?} at\n{}", self.hangs, self.last(seed, cases))
            }
        };
        anyhow::anyhow!("{} is broken: {why}\n{again}", self.name)
    }

    /// The last input of a round that ends badly.
    fn last(&self, seed: u64, cases: u64) -> String {
        let input = match self.round(seed, cases, true) {
            Ok(Round::Bad(_, said)) => said
                .lines()
                .filter_map(|line| line.split_once("Next test input: "))
                .next_back()
                .map(|(_, input)| input.to_owned()),
            _ => None,
        };
        input.unwrap_or_else(|| "an input that was not found again".to_owned())
    }
}

/// The cases of the next round, after `cases` took `took`.
fn next(cases: u64, took: Duration) -> u64 {
    let per_case = took.as_secs_f64() / cases as f64;
    let fitting = (ROUND.as_secs_f64() / per_case.max(1e-9)) as u64;
    fitting.clamp(1, cases.saturating_mul(8)).min(1 << 20)
}

/// Waits for the end of a round, or ends it.
fn wait(mut child: std::process::Child, hangs: Duration) -> anyhow::Result<Option<ExitStatus>> {
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id())?);
    let (ended, end) = mpsc::channel::<()>();
    let watch = std::thread::spawn(move || {
        let hangs = end.recv_timeout(hangs) == Err(mpsc::RecvTimeoutError::Timeout);
        if hangs {
            let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
        }
        hangs
    });
    let status = child.wait()?;
    drop(ended);
    let hung = watch.join().map_err(|_| anyhow::anyhow!("the watch of a round panicked"))?;
    Ok((!hung).then_some(status))
}

/// Builds the programs with targets and asks them for their names.
fn targets() -> anyhow::Result<Vec<Target>> {
    // All of the workspace, as `cargo test` builds it: of some crates alone, their
    // dependencies have other features, and everything is built once more.
    let mut build = cargo(&["test", "--workspace", "--tests", "--no-run"]);
    build.arg("--message-format=json-render-diagnostics").stderr(Stdio::inherit());
    let output = build.output().with_context(|| format!("{} does not start", shown(&build)))?;
    anyhow::ensure!(output.status.success(), "{} ended with {}", shown(&build), output.status);
    let mut found = Vec::new();
    for line in String::from_utf8(output.stdout)?.lines() {
        let Message { executable: Some(program), manifest_path: Some(manifest), profile } =
            serde_json::from_str(line)?
        else {
            continue;
        };
        if profile.is_none_or(|profile| !profile.test) {
            continue;
        }
        let dir = manifest.parent().unwrap_or(root());
        for name in listed(&program, dir)? {
            let (program, dir) = (program.clone(), dir.to_owned());
            found.push(Target { name, program, dir, hangs: HANGS });
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

/// A line of cargo's: what it built.
#[derive(Deserialize)]
struct Message {
    executable: Option<PathBuf>,
    manifest_path: Option<PathBuf>,
    profile: Option<Profile>,
}

/// For what it was built.
#[derive(Deserialize)]
struct Profile {
    /// Whether it is a program of tests.
    test: bool,
}

/// The targets of a program.
fn listed(program: &Path, dir: &Path) -> anyhow::Result<Vec<String>> {
    let output =
        Command::new(program).args(["--list", "--format", "terse"]).current_dir(dir).output()?;
    if !output.status.success() {
        bail!("{} does not list its tests", program.display());
    }
    let text = String::from_utf8(output.stdout)?;
    let names = text.lines().filter_map(|line| line.strip_suffix(": test"));
    let is_target =
        |name: &&str| name.rsplit("::").next().is_some_and(|name| name.starts_with("fuzz_"));
    Ok(names.filter(is_target).map(str::to_owned).collect())
}

fn names(targets: &[Target]) -> String {
    targets.iter().map(|target| target.name.as_str()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_takes_about_as_long_as_it_is_to() {
        assert_eq!(next(256, Duration::from_millis(100)), 2048, "no more than eight times");
        assert_eq!(next(2048, Duration::from_millis(4096)), 1000);
        assert_eq!(next(10, Duration::from_secs(600)), 1);
    }

    /// A program of tests that says what proptest does, and ends in some way.
    fn told(end: &str, hangs: Duration) -> String {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("program");
        let said =
            r#"test "$PROPTEST_VERBOSE" = 0 || printf 'proptest: Next test input: %s\n' 1 2"#;
        // Written by another process: of this one, some thread may be starting a
        // program just now, which would have the file open as long as it is busy.
        let write = r#"printf '#!/bin/sh\nulimit -c 0\n%s\n%s\n' "$1" "$2" > "$0"; chmod +x "$0""#;
        let mut sh = Command::new("sh");
        let written = sh.args(["-c", write]).arg(&program).args([said, end]).status();
        assert!(written.unwrap().success());
        let name = "it::fuzz_it".to_owned();
        let target = Target { name, program, dir: dir.path().to_owned(), hangs };
        let args = Args { targets: Vec::new(), seconds: 0, seed: Some(7), cases: 3 };
        target.try_for(&args).err().map_or_else(String::new, |error| format!("{error:#}"))
    }

    #[test]
    fn what_breaks_is_told_with_the_input_that_did_it_and_how_to_bring_it_back() {
        let long = Duration::from_secs(60);
        assert_eq!(told("exit 0", long), "");
        let again = "again: cargo xtask fuzz it::fuzz_it --seconds 0 --seed 7 --cases 3";
        assert_eq!(
            told("echo 'minimal failing input: a = 1'; exit 101", long),
            format!("it::fuzz_it is broken: minimal failing input: a = 1\n\n{again}")
        );
        assert_eq!(
            told("kill -SEGV $$", long),
            format!(
                "it::fuzz_it is broken: the program ended with signal: 11 (SIGSEGV) at\n2\n{again}"
            )
        );
        assert_eq!(
            told("exec sleep 600", Duration::from_millis(300)),
            format!("it::fuzz_it is broken: no end after 300ms at\n2\n{again}")
        );
    }
}
