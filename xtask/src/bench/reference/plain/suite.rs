//! `go test`, and what each test took and used.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::process::Command;

use seatrial_core::step::Step;

use super::super::gotest::{self, Happened};
use super::super::measured;
use super::super::works::Works;
use super::{Caches, Cluster};

/// Program, test, whether it passed, seconds, and core-seconds of it and of the
/// cluster meanwhile, where nothing else ran there.
pub(super) type Ran = (String, String, bool, f64, Option<f64>);

/// How test programs are compiled: as `seatrial.yaml` says it.
pub(super) const COMPILED: [&str; 2] = ["-vet=off", "-trimpath"];

/// Compiles and runs both test programs, one after the other or at once, each
/// test so often.
pub(super) fn command(
    caches: &Caches,
    dir: &Path,
    cluster: &Cluster,
    at_once: bool,
    times: u32,
) -> Command {
    let mut go = caches.go(dir);
    go.env("KUBECONFIG", cluster.kubeconfig_of_node());
    go.args(["test", "-json", "-timeout=0", "-exec", &cluster.exec()]).args(COMPILED);
    go.arg(format!("-count={times}")).arg(if at_once { "-p=2" } else { "-p=1" }).arg("./e2e/...");
    go
}

/// Runs that command, and tells of each test. What is before a program's start
/// is compiling.
pub(super) fn run(
    mut go: Command,
    works: &Works,
    cluster: &Cluster,
    ready: usize,
    at_once: bool,
) -> anyhow::Result<Vec<Ran>> {
    eprintln!("    {:>7.1} s  test compile and execution", works.now_us() as f64 / 1e6);
    let mut watch = Watch::new(works, cluster, ready, at_once);
    let (status, text, cpu) = measured::lines(&mut go, |go, line| watch.line(go, line))?;
    let programs: BTreeSet<&str> = watch.ran.iter().map(|(program, ..)| program.as_str()).collect();
    anyhow::ensure!(programs.len() == 2, "tests ran of {programs:?} only: {status}\n{text}");
    let passed = watch.ran.iter().all(|(_, _, passed, ..)| *passed);
    anyhow::ensure!(status.success() == passed, "go test did not end well: {status}\n{text}");
    for (_, test, ..) in watch.ran.iter().filter(|(_, _, passed, ..)| !passed) {
        eprintln!("{}", gotest::said(&text, test));
    }
    // What go itself used is compiling.
    if let Some(compiled) = watch.compiled {
        works.add_core(compiled, cpu.all_us.saturating_sub(watch.programs.values().sum()));
    }
    Ok(watch.ran)
}

/// What is seen of `go test` while it runs.
struct Watch<'a> {
    works: &'a Works,
    cluster: &'a Cluster,
    ready: usize,
    at_once: bool,
    /// Since when no program runs, or, at once, since the beginning.
    compiling_since: u64,
    /// The last compiling.
    compiled: Option<usize>,
    /// CPU time of each test program, by process, and what of it was told.
    programs: HashMap<i32, u64>,
    told_us: u64,
    /// Where each program is: its compiling, and since when it does what it does.
    at: HashMap<String, (usize, u64)>,
    /// What was used when a test began.
    began: HashMap<(String, String), (u64, u64)>,
    ran: Vec<Ran>,
}

impl<'a> Watch<'a> {
    fn new(works: &'a Works, cluster: &'a Cluster, ready: usize, at_once: bool) -> Self {
        Self {
            works,
            cluster,
            ready,
            at_once,
            compiling_since: works.now_us(),
            compiled: None,
            programs: HashMap::new(),
            told_us: 0,
            at: HashMap::new(),
            began: HashMap::new(),
            ran: Vec::new(),
        }
    }

    fn line(&mut self, go: u32, line: &str) {
        let Some(happened) = gotest::read(line) else { return };
        for pid in measured::children(go) {
            if measured::name(pid).ends_with(".test") {
                self.programs.insert(pid, measured::cpu_us(pid, false).unwrap_or(0));
            }
        }
        let now = self.works.now_us();
        let counted = self.cluster.counted_us() + self.programs.values().sum::<u64>();
        match happened {
            Happened::Program(program) => {
                let span = (self.compiling_since, now);
                let used = self.used_us();
                // The project's files are the first work of every job.
                let compiled = self.works.done(Step::TestCompile, &[0], span, used);
                self.compiled = Some(compiled);
                self.at.insert(program, (compiled, now));
            }
            Happened::Began(program, test) => {
                self.began.insert((program, test), (now, counted));
            }
            Happened::Ended(program, test, passed) => {
                self.executed(&program, now);
                let key = (program, test);
                let Some((began, before)) = self.began.remove(&key) else { return };
                let (program, test) = key;
                let alone = (!self.at_once).then(|| counted.saturating_sub(before) as f64 / 1e6);
                self.ran.push((program, test, passed, (now - began) as f64 / 1e6, alone));
            }
            Happened::ProgramEnded(program) => {
                self.executed(&program, now);
                if !self.at_once {
                    self.compiling_since = now;
                }
            }
        }
    }

    /// A program did something until now: a test, or its end.
    fn executed(&mut self, program: &str, now: u64) {
        let used = self.used_us();
        let Some((compiled, since)) = self.at.get_mut(program) else { return };
        let span = (std::mem::replace(since, now), now);
        self.works.done(Step::TestExecution, &[self.ready, *compiled], span, used);
    }

    /// What cluster and programs used since this was asked last.
    fn used_us(&mut self) -> u64 {
        let all = self.programs.values().sum::<u64>();
        let programs = all.saturating_sub(std::mem::replace(&mut self.told_us, all));
        self.cluster.used_us() + programs
    }
}
