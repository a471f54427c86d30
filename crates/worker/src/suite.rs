//! Runs the tests of a suite: lists them, selects, runs them in the sandbox,
//! and says what they did as they do it.
//!
//! Programs of a suite run one after the other, also of a `shared` one: what
//! runs at the same time in an environment is tests of one program that say
//! that they can, so that a project sees what `go test` shows it, and no
//! program has to cope with another that changes its cluster. Tests of several
//! programs at once are batches of several environments.

mod kept;
mod process;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use seatrial_core::digest::Digest;
use seatrial_core::failure::Failure;
use seatrial_core::pipeline::Spread;
use seatrial_core::stage::SuiteStage;
use seatrial_core::tail::Tail;
use seatrial_protocol::event::Usage;
use seatrial_protocol::test::{TestEvent, TestOutcome};
use seatrial_protocol::worker::{AttemptEvent, FRAME_LIMIT};
use seatrial_sandbox::action::Network;
use seatrial_store::Content;
use seatrial_suite::list::{self, List, Listing};
use seatrial_suite::reader::{Ending, Reader};
use seatrial_suite::{Exit, Invocation, Program, run as invocations, select};

use crate::attempt::{Attempt, LogWriter, blocking, cancelled, name};
use crate::command::{Deadline, create_owned};
use crate::machine::Machine;
use crate::outputs::matcher;
use crate::serve::Done;
use crate::suite::kept::Artifacts;

/// Bytes of a failed test's output that go with its event.
const EXCERPT: usize = 16 << 10;

/// Bytes of the names of all tests that are selected: half of what a frame
/// holds, for the other half is what JSON adds.
const NAMES: usize = FRAME_LIMIT / 2;

/// What tests wrote that is not told yet, by program and test.
type Outputs = BTreeMap<(String, Option<String>), Tail>;

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
    blocking(move || Suite::new(&machine, &attempt, target, &stage)?.run()).await
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
    /// Those of processes in which not all was well.
    unwell: Vec<Artifacts>,
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
        let unwell = Vec::new();
        Ok(Self { machine, attempt, target, stage, scratch, log, usage, reports: 0, unwell })
    }

    fn run(mut self) -> Result<Done, Failure> {
        let result = self.list_and_run();
        self.keep_artifacts();
        result.map(|()| Done::well(self.usage))
    }

    fn list_and_run(&mut self) -> Result<(), Failure> {
        self.attempt.progress("listing tests", None);
        let mut listings = Vec::new();
        for program in self.programs()? {
            if self.is_asked_for(&program) {
                listings.push(self.list(program)?);
            }
        }
        let listed = listings.iter().map(|listing| listing.tests.len()).sum::<usize>();
        let suite = &self.stage.suite;
        let selected = match &self.stage.only {
            Some(only) => select::only(self.stage.name.as_str(), listings, only)?,
            None => {
                for warning in select::overrides_without_tests(&self.stage.name, suite, &listings) {
                    self.attempt.event_blocking(AttemptEvent::Warning(warning));
                }
                select::select(self.stage.name.as_str(), listings, &suite.select)?
            }
        };
        let tests: Vec<(String, String)> = selected
            .iter()
            .flat_map(|listing| {
                listing.tests.iter().map(|test| (listing.program.name.clone(), test.clone()))
            })
            .collect();
        let size: usize = tests.iter().map(|(program, test)| program.len() + test.len()).sum();
        if size > NAMES {
            let message = format!("the names of the selected tests have {size} bytes");
            return Err(Failure::config("suite.too_many_tests", message)
                .hint(format!("spread them over suites of at most {NAMES} bytes with `select`")));
        }
        // Those that get an environment each are run there.
        let selected = match &self.target {
            Some(_) if self.stage.only.is_none() => {
                let Spread { here, apart } = suite.spread(&tests);
                if apart.len() > Spread::MOST {
                    return Err(too_many_environments(apart.len()));
                }
                match apart.is_empty() {
                    true => selected,
                    false => select::those(selected, &here),
                }
            }
            _ => selected,
        };
        self.attempt.event_blocking(AttemptEvent::TestsSelected {
            tests,
            listed: u32::try_from(listed).unwrap_or(u32::MAX),
        });
        let mut failure = None;
        for listing in selected {
            failure = failure.or(self.run_listing(listing)?);
        }
        failure.map_or(Ok(()), Err)
    }

    /// Whether tests of a program are to be run.
    fn is_asked_for(&self, program: &Program) -> bool {
        let only = self.stage.only.as_ref();
        only.is_none_or(|only| only.iter().any(|(of, _)| *of == program.name))
    }

    /// Keeps what tests left below `$ARTIFACTS`. That it cannot be kept changes
    /// nothing about what they showed.
    fn keep_artifacts(&mut self) {
        let unwell = std::mem::take(&mut self.unwell);
        let patterns = &self.stage.suite.collect;
        if unwell.is_empty() || patterns.is_empty() {
            return;
        }
        let into = self.scratch.path().join("kept");
        let event = kept::keep(&unwell, patterns, &into).and_then(|summary| {
            let Some(summary) = summary else { return Ok(None) };
            let tree = self.machine.store().put_tree(&into, kept::LIMITS)?.digest;
            Ok(Some(AttemptEvent::Evidence { tree, summary }))
        });
        let event = event.unwrap_or_else(|failure| Some(AttemptEvent::Warning(failure)));
        if let Some(event) = event {
            self.attempt.event_blocking(event);
        }
    }

    /// The test programs: files of the tree that match, or the command.
    fn programs(&self) -> Result<Vec<Program>, Failure> {
        let suite = &self.stage.suite;
        let is_command = suite.files.is_empty() || suite.run.is_some();
        if is_command && !suite.adapter.has_programs() {
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
                    // One byte more: what is too long is refused, not cut.
                    let room = (list::LIST_LIMIT + 1).saturating_sub(output.len());
                    output.extend_from_slice(&bytes[..bytes.len().min(room)]);
                })?;
                if ran.exit == Exit::Stopped(TestOutcome::Cancelled) {
                    return Err(cancelled());
                }
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
            let options = invocations::Options { parallel: self.machine.cores(), reports };
            for invocation in invocations::run(&self.stage.suite, &listing, &options) {
                let mut ending = self.run_invocation(&invocation, &on_host)?;
                let some_ended = invocation.tests.len() > ending.not_run.len();
                if some_ended && !ending.not_run.is_empty() && self.stopped().is_none() {
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
    ) -> Result<Ending, Failure> {
        if let Some(stopped) = self.stopped() {
            return Ok(Ending::not_begun(invocation, &Exit::Stopped(stopped)));
        }
        let mut reader = Reader::new(invocation);
        let mut unwell = false;
        let deadline = Deadline::at(reader.deadline());
        let mut outputs = BTreeMap::new();
        let began = Instant::now();
        let ran = self.start(invocation, on_host, &deadline, |suite, bytes| {
            suite.log.write(bytes);
            let events = reader.push(began.elapsed(), bytes);
            unwell |= suite.tell(events, &mut outputs);
            deadline.set(reader.deadline());
        })?;
        let mut ending = reader.finish(began.elapsed(), &ran.exit, ran.report.as_deref());
        unwell |= self.tell(std::mem::take(&mut ending.events), &mut outputs);
        if unwell || ending.failure.is_some() || !ending.not_run.is_empty() {
            let program = invocation.program.name.clone();
            self.unwell.push(Artifacts { program, on_host: on_host.to_owned() });
        }
        Ok(ending)
    }

    /// Says what tests did, and returns whether one of them did not pass; holds
    /// what they write until it is known whether somebody will want to read it.
    fn tell(&self, events: Vec<TestEvent>, outputs: &mut Outputs) -> bool {
        let mut unwell = false;
        for event in events {
            let event = match event {
                TestEvent::Output { program, test, text } => {
                    outputs
                        .entry((program, test))
                        .or_insert_with(|| Tail::new(EXCERPT))
                        .push(text.as_bytes());
                    continue;
                }
                TestEvent::Started { program, test } => AttemptEvent::TestStarted { program, test },
                TestEvent::Finished { program, test, outcome, duration_us, message } => {
                    let output = outputs.remove(&(program.clone(), Some(test.clone())));
                    let well = matches!(outcome, TestOutcome::Passed | TestOutcome::Skipped);
                    unwell |= !well;
                    let output = match well {
                        true => None,
                        false => output.filter(|tail| !tail.is_empty()).map(|tail| tail.text()),
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
        unwell
    }

    /// Whether nothing more is to be run here, and what that says of the tests.
    fn stopped(&self) -> Option<TestOutcome> {
        if self.attempt.cancel().is_cancelled() {
            return Some(TestOutcome::Cancelled);
        }
        let broken = self.target.as_ref().is_some_and(|target| target.broken.is_cancelled());
        broken.then_some(TestOutcome::Broken)
    }

    /// A new empty directory that tests may write to: inside, and on the host.
    fn reports(&mut self) -> Result<(String, PathBuf), Failure> {
        self.reports += 1;
        let on_host = self.scratch.path().join(self.reports.to_string());
        let (uid, gid) = self.machine.user();
        create_owned(&on_host, uid, gid)?;
        Ok(("/reports".to_owned(), on_host))
    }
}

fn too_many_environments(tests: usize) -> Failure {
    let most = Spread::MOST;
    let message = format!("{tests} tests would get an environment each, at most {most} may");
    Failure::config("suite.too_many_environments", message)
        .hint("give only those `isolation: fresh` that need it, by `overrides`")
}
