//! Runs the tests of a suite: lists them, selects, runs them in the sandbox,
//! and says what they did as they do it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use seatrial_core::digest::Digest;
use seatrial_core::failure::Failure;
use seatrial_core::pipeline::{Adapter, Command, Isolation};
use seatrial_core::stage::SuiteStage;
use seatrial_protocol::event::Usage;
use seatrial_protocol::test::{TestEvent, TestOutcome};
use seatrial_protocol::worker::AttemptEvent;
use seatrial_sandbox::action::{Network, Outcome, Status};
use seatrial_sandbox::root::Mount;
use seatrial_store::Content;
use seatrial_suite::list::{self, List, Listing};
use seatrial_suite::reader::Reader;
use seatrial_suite::tail::Tail;
use seatrial_suite::{Exit, Invocation, Program, REPORT_LIMIT, run as invocations, select};

use crate::attempt::{Attempt, LogWriter, name};
use crate::command::{self, Deadline, Prepared, bind, create_owned, usage};
use crate::machine::Machine;
use crate::outputs::matcher;
use crate::serve::Done;

/// Bytes of a failed test's output that go with its event.
const EXCERPT: usize = 16 << 10;

/// What tests see of an environment.
#[derive(Clone)]
pub(crate) struct Target {
    /// Its network.
    pub(crate) network: Network,
    /// A kubeconfig that works in it, for a cluster administrator.
    pub(crate) kubeconfig: String,
    /// `/etc/resolv.conf` of a pod in it.
    pub(crate) resolv_conf: String,
    /// What tells that a component died: then the tests say nothing.
    pub(crate) broken: tokio_util::sync::CancellationToken,
}

/// Runs a suite, in an environment or apart.
pub(crate) async fn run(
    machine: &Arc<Machine>,
    attempt: &Attempt,
    target: Option<Target>,
    stage: SuiteStage<Digest>,
) -> Result<Done, Failure> {
    let (machine, attempt) = (machine.clone(), attempt.clone());
    let work = move || Suite::new(&machine, &attempt, target, &stage)?.run();
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|panic| {
        Err(Failure::environment("worker.panicked", format!("a suite panicked: {panic}")))
    })
}

struct Suite<'a> {
    machine: &'a Machine,
    attempt: &'a Attempt,
    target: Option<Target>,
    stage: &'a SuiteStage<Digest>,
    scratch: tempfile::TempDir,
    log: LogWriter,
    usage: Usage,
    /// Directories made so far: each process gets one of its own.
    reports: u32,
}

/// How a process of a suite ended.
struct Ran {
    exit: Exit,
    report: Option<Vec<u8>>,
}

impl<'a> Suite<'a> {
    fn new(
        machine: &'a Machine,
        attempt: &'a Attempt,
        target: Option<Target>,
        stage: &'a SuiteStage<Digest>,
    ) -> Result<Self, Failure> {
        let scratch = machine.store().staging()?;
        let log = attempt.log(name("output"));
        let usage = Usage::default();
        Ok(Self { machine, attempt, target, stage, scratch, log, usage, reports: 0 })
    }

    fn run(mut self) -> Result<Done, Failure> {
        self.attempt.progress("listing tests", None);
        let mut listings = Vec::new();
        for program in self.programs()? {
            listings.push(self.list(program)?);
        }
        let listed = listings.iter().map(|listing| listing.tests.len()).sum::<usize>();
        let suite = &self.stage.suite;
        let selected = select::select(self.stage.name.as_str(), listings, &suite.select)?;
        let tests = selected.iter().flat_map(|listing| {
            listing.tests.iter().map(|test| (listing.program.name.clone(), test.clone()))
        });
        self.attempt.event_blocking(AttemptEvent::TestsSelected {
            tests: tests.collect(),
            listed: u32::try_from(listed).unwrap_or(u32::MAX),
        });
        let mut failure = None;
        for listing in selected {
            failure = failure.or(self.run_listing(listing)?);
        }
        match failure {
            None => Ok(Done::well(self.usage)),
            Some(failure) => Err(failure),
        }
    }

    /// The test programs: files of the tree that match, or the command.
    fn programs(&self) -> Result<Vec<Program>, Failure> {
        let suite = &self.stage.suite;
        if matches!(suite.adapter, Adapter::Exec | Adapter::Junit) {
            let name = self.stage.name.to_string();
            return Ok(vec![Program { name, path: String::new() }]);
        }
        let manifest = self.machine.store().manifest(self.stage.tree)?;
        let mut programs = Vec::new();
        for pattern in &suite.files {
            let matcher = matcher(pattern)?;
            for entry in manifest.entries() {
                let is_file = matches!(entry.content, Content::File { .. });
                let known = programs.iter().any(|p: &Program| p.name == entry.path);
                if is_file && !known && matcher.is_match(&entry.path) {
                    let path = format!("/tests/{}", entry.path);
                    programs.push(Program { name: entry.path.clone(), path });
                }
            }
        }
        Ok(programs)
    }

    fn list(&mut self, program: Program) -> Result<Listing, Failure> {
        let (reports, on_host) = self.reports()?;
        match list::list(&self.stage.suite, program, &reports)? {
            List::Known(listing) => Ok(listing),
            List::Ask(ask) => {
                let mut output = Vec::new();
                let deadline = Deadline::at(ask.timeout);
                let ran = self.start(&ask, &on_host, &deadline, |_, bytes| {
                    let room = list::LIST_LIMIT.saturating_sub(output.len());
                    output.extend_from_slice(&bytes[..bytes.len().min(room)]);
                })?;
                list::parse(&ask, &output, &ran.exit, ran.report.as_deref())
            }
        }
    }

    /// Runs the tests of one program, again those that did not run through no
    /// fault of theirs. Returns what is wrong apart from failed tests.
    fn run_listing(&mut self, listing: Listing) -> Result<Option<Failure>, Failure> {
        let mut left = vec![listing];
        let mut failure = None;
        while let Some(listing) = left.pop() {
            let (reports, on_host) = self.reports()?;
            let options = invocations::Options { parallel: self.parallel(), reports };
            for invocation in invocations::run(&self.stage.suite, &listing, &options) {
                let mut ending = self.run_invocation(&invocation, &on_host)?;
                let some_ended = invocation.tests.len() > ending.not_run.len();
                if some_ended && !ending.not_run.is_empty() && !self.is_stopped() {
                    left.push(listing.only(std::mem::take(&mut ending.not_run)));
                }
                let (events, wrong) = ending.settle();
                self.tell(events, &mut BTreeMap::new());
                failure = failure.or(wrong);
            }
        }
        Ok(failure)
    }

    fn run_invocation(
        &mut self,
        invocation: &Invocation,
        on_host: &Path,
    ) -> Result<seatrial_suite::reader::Ending, Failure> {
        let mut reader = Reader::new(invocation);
        let deadline = Deadline::at(reader.deadline());
        let mut outputs = BTreeMap::new();
        let began = Instant::now();
        let ran = self.start(invocation, on_host, &deadline, |suite, bytes| {
            suite.log.write(bytes);
            let events = reader.push(began.elapsed(), bytes);
            suite.tell(events, &mut outputs);
            deadline.set(reader.deadline());
        })?;
        let mut ending = reader.finish(began.elapsed(), &ran.exit, ran.report.as_deref());
        self.tell(std::mem::take(&mut ending.events), &mut outputs);
        Ok(ending)
    }

    /// Says what tests did; holds what they write until it is known whether
    /// somebody will want to read it.
    fn tell(&self, events: Vec<TestEvent>, outputs: &mut BTreeMap<(String, Option<String>), Tail>) {
        for event in events {
            let event = match event {
                TestEvent::Output { program, test, text } => {
                    outputs
                        .entry((program, test))
                        .or_insert_with(|| Tail::new(EXCERPT))
                        .push(&text);
                    continue;
                }
                TestEvent::Started { program, test } => AttemptEvent::TestStarted { program, test },
                TestEvent::Finished { program, test, outcome, duration_us, message } => {
                    let output = outputs.remove(&(program.clone(), Some(test.clone())));
                    let output = match outcome {
                        TestOutcome::Passed | TestOutcome::Skipped => None,
                        _ => output.filter(|tail| !tail.is_empty()).map(Tail::finish),
                    };
                    AttemptEvent::TestFinished {
                        program,
                        test,
                        outcome,
                        duration_us,
                        message,
                        output,
                    }
                }
            };
            self.attempt.event_blocking(event);
        }
    }

    /// Starts one process and waits for its end.
    fn start(
        &mut self,
        invocation: &Invocation,
        on_host: &Path,
        deadline: &Deadline,
        mut on_output: impl FnMut(&mut Self, &[u8]),
    ) -> Result<Ran, Failure> {
        let prepared = self.prepare(invocation, on_host)?;
        let (machine, attempt) = (self.machine, self.attempt);
        let mut this = self;
        let outcome = command::run(machine, attempt, &prepared, deadline, |_, bytes| {
            on_output(&mut this, bytes);
        })?;
        let used = usage(&outcome);
        this.usage.core_us += used.core_us;
        this.usage.memory_peak = this.usage.memory_peak.max(used.memory_peak);
        let report = invocation.report.as_deref().and_then(|path| read_report(path, on_host));
        Ok(Ran { exit: this.exit(&outcome), report })
    }

    fn exit(&self, outcome: &Outcome) -> Exit {
        let broken = self.target.as_ref().is_some_and(|target| target.broken.is_cancelled());
        if self.attempt.cancel().is_cancelled() {
            return Exit::Stopped(TestOutcome::Cancelled);
        }
        if broken {
            return Exit::Stopped(TestOutcome::Broken);
        }
        if outcome.timed_out {
            return Exit::Stopped(TestOutcome::TimedOut);
        }
        match outcome.status {
            Status::Code(code) => Exit::Code(code),
            Status::Signal(signal) => Exit::Signal(signal),
        }
    }

    fn prepare(&self, invocation: &Invocation, on_host: &Path) -> Result<Prepared, Failure> {
        let stage = self.stage;
        let tools = stage.suite.tools.iter().cloned().collect();
        let (mut mounts, path) =
            self.machine.tools().provide(&tools).map_err(|error| error.failure())?;
        mounts.push(bind(self.machine.store().tree_path(stage.tree), "/tests", false));
        mounts.push(bind(on_host, "/reports", true));
        let mut env = BTreeMap::from([
            ("HOME".to_owned(), "/tmp".to_owned()),
            ("TMPDIR".to_owned(), "/tmp".to_owned()),
            ("LANG".to_owned(), "C.UTF-8".to_owned()),
            ("TZ".to_owned(), "UTC".to_owned()),
            ("ARTIFACTS".to_owned(), "/reports".to_owned()),
            ("SEATRIAL".to_owned(), "1".to_owned()),
        ]);
        let network = match &self.target {
            None => Network::Private,
            Some(target) => {
                let content = target.kubeconfig.clone();
                mounts.push(Mount::File { to: "/kube/config".into(), content });
                let content = target.resolv_conf.clone();
                mounts.push(Mount::File { to: "/etc/resolv.conf".into(), content });
                env.insert("KUBECONFIG".to_owned(), "/kube/config".to_owned());
                target.network.clone()
            }
        };
        env.extend(stage.suite.env.clone());
        env.extend(invocation.env.clone());
        let run = Command::Argv(invocation.argv.clone());
        let (cwd, memory, timeout) = ("/tests".into(), None, Duration::MAX);
        Ok(Prepared { run, env, mounts, path, cwd, network, memory, timeout })
    }

    /// Whether nothing more is to be run here.
    fn is_stopped(&self) -> bool {
        let broken = self.target.as_ref().is_some_and(|target| target.broken.is_cancelled());
        broken || self.attempt.cancel().is_cancelled()
    }

    fn parallel(&self) -> u32 {
        match self.stage.suite.isolation {
            Isolation::Shared => self.machine.hello().cores,
            Isolation::Serial | Isolation::Fresh => 1,
        }
    }

    /// A new empty directory that tests may write to: inside, and on the host.
    fn reports(&mut self) -> Result<(String, std::path::PathBuf), Failure> {
        self.reports += 1;
        let on_host = self.scratch.path().join(self.reports.to_string());
        let (uid, gid) = self.machine.user();
        create_owned(&on_host, uid, gid)?;
        Ok(("/reports".to_owned(), on_host))
    }
}

/// Reads a report that a test program wrote below `/reports`. It is hostile:
/// no link is followed, and no more is read than counts.
fn read_report(path: &str, on_host: &Path) -> Option<Vec<u8>> {
    use std::io::Read as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let relative = path.strip_prefix("/reports/").filter(|rest| !rest.contains('/'))?;
    let file = std::fs::OpenOptions::new()
        .read(true)
        .custom_flags(nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK)
        .open(on_host.join(relative))
        .ok()?;
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let mut bytes = Vec::new();
    file.take(REPORT_LIMIT as u64 + 1).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}
