//! The state of a run as reports need it: a fold of its events.
//!
//! Every renderer reads this and nothing else, so that a recorded run looks as
//! it did live. All text in it was made safe to show; where a program needs
//! the exact bytes, the events have them.

use std::collections::BTreeSet;
use std::fmt;

use seatrial_core::account::{Account, NodeTime, RunTimes};
use seatrial_core::digest::Digest;
use seatrial_core::failure::Failure;
use seatrial_core::ids::{RunId, SessionId};
use seatrial_core::key::Record;
use seatrial_core::step::Step;
use seatrial_core::verdict::Verdict;
use seatrial_protocol::event::{
    NodeOutcome, PlannedNode, RunEvent, RunEventKind, SuiteGrowth, Usage,
};

pub use self::test::{Counts, TestSummary, Try};
use crate::text;

mod test;

/// A run so far.
#[derive(Debug, Clone, Default)]
pub struct Summary {
    /// What the run said about itself; `None` before its first event.
    pub run: Option<RunHeader>,
    /// Microseconds after the start when the plan was made.
    pub planned_us: Option<u64>,
    /// The nodes of the plan, at their places.
    pub nodes: Vec<NodeSummary>,
    /// Evidence that was collected: node, tree of files, and what to read first.
    pub evidence: Vec<(u32, Digest, String)>,
    /// Environments that stay after the run: session and name.
    pub kept: Vec<(SessionId, String)>,
    /// What a person should know though nothing failed: node and what.
    pub warnings: Vec<(u32, Failure)>,
    /// Why somebody wanted the run to stop.
    pub cancel: Option<String>,
    /// The verdict, when it was reached.
    pub reached: Option<Reached>,
    /// The last verdict and when everything was over; `None`: it is not, or
    /// the recording ends before.
    pub finished: Option<(Verdict, u64)>,
    /// Microseconds after the start of the latest event.
    pub last_us: u64,
    tests: test::Tests,
    failed: Vec<u32>,
}

/// What a run says about itself when it starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunHeader {
    /// Its id.
    pub id: RunId,
    /// What the project calls itself.
    pub project: String,
    /// The commit it is at, when there is one.
    pub commit: Option<String>,
    /// Whether files differ from the commit.
    pub dirty: bool,
    /// Milliseconds since 1970 when it began.
    pub started_unix_ms: u64,
    /// Cores that the run may use.
    pub cores: u32,
    /// Bytes of memory that the run may use.
    pub memory: u64,
}

/// How the verdict was reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reached {
    /// The verdict.
    pub verdict: Verdict,
    /// What ended the run, when it was not a test.
    pub failures: Vec<Failure>,
    /// The node whose end decided it.
    pub after: Option<u32>,
    /// Microseconds after the start.
    pub at_us: u64,
}

/// A node of the plan, as it went so far.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeSummary {
    /// What the plan says of it.
    pub plan: PlannedNode,
    /// Where it is.
    pub state: NodeState,
    /// The node whose end let it start.
    pub after: Option<u32>,
    /// When its first attempt started, in microseconds after the start.
    pub start_us: Option<u64>,
    /// When its last attempt ended.
    pub end_us: Option<u64>,
    /// What its attempts used: CPU time together, memory of the largest.
    pub usage: Usage,
    /// How often it was started.
    pub attempts: u32,
    /// Parts of its time with a name of their own.
    pub spans: Vec<Span>,
    /// The last that it said of how far it is, while it runs.
    pub progress: Option<Progress>,
    /// The node that tries it again elsewhere: then it decides nothing.
    pub elsewhere: Option<u32>,
    /// Whether it runs only some of the tests of its suite.
    pub part: bool,
    /// Its key and what that is made of, when it is an action that began.
    pub keyed: Option<(Digest, Record)>,
}

/// A part of a node's time that has a name of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// The row it counts for in the sum of spans.
    pub step: Step,
    /// What was done.
    pub name: String,
    /// Microseconds after the start.
    pub start_us: u64,
    /// Microseconds after the start.
    pub end_us: u64,
}

/// How far a node is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// What it is doing.
    pub text: String,
    /// How much is done and how much there is, where that is known.
    pub fraction: Option<(u64, u64)>,
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        match self.fraction {
            Some((done, all)) if all > 0 => {
                write!(f, "  {} %", u128::from(done.min(all)) * 100 / u128::from(all))
            }
            _ => Ok(()),
        }
    }
}

/// Where a node is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeState {
    /// It has not started.
    Waiting,
    /// It is running.
    Running,
    /// It did its work and made this, where it makes something.
    Made(Option<Digest>),
    /// What it makes was there already.
    Hit(Option<Digest>),
    /// It failed.
    Failed(Failure),
    /// It was stopped.
    Cancelled,
    /// It will not run because of another node; `None`: since the run was
    /// stopped.
    Skipped(Option<u32>),
}

impl NodeSummary {
    /// How long it took so far, until `now_us` when it is running.
    #[must_use]
    pub fn took_us(&self, now_us: u64) -> Option<u64> {
        self.start_us.map(|start| self.end_us.unwrap_or(now_us).saturating_sub(start))
    }
}

impl Summary {
    /// The summary of a whole recording.
    #[must_use]
    pub fn from_events<'a>(events: impl IntoIterator<Item = &'a RunEvent>) -> Self {
        let mut summary = Self::default();
        for event in events {
            summary.apply(event);
        }
        summary
    }

    /// Takes in the next event. What does not fit (a node that was never
    /// planned, an event of a newer version) is passed over: a report of a
    /// damaged recording is better than none.
    pub fn apply(&mut self, event: &RunEvent) {
        let at_us = event.at_us;
        self.last_us = self.last_us.max(at_us);
        match &event.kind {
            RunEventKind::RunStarted {
                version: _,
                project,
                commit,
                dirty,
                started_unix_ms,
                cores,
                memory,
            } => {
                self.run = Some(RunHeader {
                    id: event.run,
                    project: text::line(project),
                    commit: commit.as_deref().map(text::line),
                    dirty: *dirty,
                    started_unix_ms: *started_unix_ms,
                    cores: *cores,
                    memory: *memory,
                });
            }
            RunEventKind::Planned { nodes } => {
                self.planned_us = Some(at_us);
                self.nodes = nodes.iter().map(NodeSummary::planned).collect();
            }
            RunEventKind::PlanGrown { nodes, .. } => {
                for node in nodes {
                    let place = u32::try_from(self.nodes.len()).ok();
                    let mut planned = NodeSummary::planned(node);
                    if let Some(first) = node.again.and_then(|first| self.node_mut(first)) {
                        first.elsewhere = place;
                        planned.part = first.part;
                    }
                    self.nodes.push(planned);
                }
            }
            RunEventKind::SuiteGrown { node, why, tests, nodes } => {
                for (program, test) in tests.iter().filter(|_| *why == SuiteGrowth::Retry) {
                    self.tests.try_again(&self.nodes, *node, program, test);
                }
                self.nodes.extend(nodes.iter().map(|node| {
                    let part = node.suite.is_some();
                    NodeSummary { part, ..NodeSummary::planned(node) }
                }));
            }
            RunEventKind::NodeStarted { node, after, .. } => {
                if let Some(node) = self.node_mut(*node) {
                    node.start(at_us, *after);
                }
            }
            RunEventKind::NodeKeyed { node, key, record } => {
                if let Some(node) = self.node_mut(*node) {
                    node.keyed = Some((*key, record.clone()));
                }
            }
            RunEventKind::NodeProgress { node, text, fraction } => {
                if let Some(node) = self.node_mut(*node) {
                    node.progress = Some(Progress { text: text::line(text), fraction: *fraction });
                }
            }
            RunEventKind::NodeSpan { node, step, name, start_us, end_us } => {
                if let Some(node) = self.node_mut(*node) {
                    let (step, name) = (*step, text::line(name));
                    node.spans.push(Span { step, name, start_us: *start_us, end_us: *end_us });
                }
            }
            RunEventKind::NodeFinished { node: place, outcome, usage, ran_us, .. } => {
                if let Some(node) = self.node_mut(*place) {
                    node.finish(ran_us.unwrap_or((0, at_us)), at_us, outcome, *usage);
                    if matches!(node.state, NodeState::Failed(_)) {
                        self.failed.push(*place);
                    }
                }
            }
            RunEventKind::NodeSkipped { node, because } => {
                if let Some(node) = self.node_mut(*node) {
                    node.state = NodeState::Skipped(*because);
                }
            }
            RunEventKind::TestsSelected { node, tests, .. } => {
                for (program, name) in tests {
                    let test = self.tests.entry(&self.nodes, *node, program, name);
                    // What a program lists is no part of another, whatever its name.
                    (test.selected, test.subtest) = (true, false);
                }
            }
            RunEventKind::TestStarted { node, program, test } => {
                let test = self.tests.entry(&self.nodes, *node, program, test);
                test.running_since_us = Some(at_us);
            }
            RunEventKind::TestFinished {
                node,
                program,
                test,
                outcome,
                duration_us,
                message,
                output,
            } => {
                let test = self.tests.entry(&self.nodes, *node, program, test);
                test.running_since_us = None;
                test.tries.push(Try {
                    outcome: *outcome,
                    duration_us: *duration_us,
                    message: message.as_deref().map(text::block).filter(|m| !m.is_empty()),
                    output: output.as_deref().map(text::block).filter(|o| !o.is_empty()),
                });
            }
            RunEventKind::Evidence { node, tree, summary } => {
                self.evidence.push((*node, *tree, text::block(summary)));
            }
            RunEventKind::Warning { node, failure } => {
                self.warnings.push((*node, safe_failure(failure)));
            }
            RunEventKind::EnvironmentKept { session, environment } => {
                self.kept.push((*session, text::line(environment)));
            }
            RunEventKind::CancelRequested { reason } => {
                self.cancel.get_or_insert_with(|| text::line(reason));
            }
            RunEventKind::VerdictReached { verdict, failures, after } => {
                let failures = failures.iter().map(safe_failure).collect();
                self.reached = Some(Reached { verdict: *verdict, failures, after: *after, at_us });
            }
            RunEventKind::RunFinished { verdict } => self.finished = Some((*verdict, at_us)),
            RunEventKind::Unknown => {}
        }
    }

    /// The tests, in the order in which they were first heard of.
    #[must_use]
    pub fn tests(&self) -> &[TestSummary] {
        self.tests.all()
    }

    /// The test that an event is about, as it is now.
    #[must_use]
    pub fn test(&self, node: u32, program: &str, name: &str) -> Option<&TestSummary> {
        self.tests.get(&self.nodes, node, program, name)
    }

    /// How many tests have which verdict; subtests are part of theirs.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts::of(self.tests())
    }

    /// The first of all nodes that a node is another try of; itself when it is
    /// the first.
    #[must_use]
    pub fn first(&self, node: u32) -> Option<&NodeSummary> {
        let mut found = self.nodes.get(node as usize)?;
        // Another try stands behind what it tries again, in a sound recording.
        let mut place = node;
        while let Some(before) = found.plan.again.filter(|before| *before < place) {
            (place, found) = (before, self.nodes.get(before as usize)?);
        }
        Some(found)
    }

    /// The name of a node, or its place when no plan names it.
    #[must_use]
    pub fn node_name(&self, node: u32) -> String {
        let planned = self.nodes.get(node as usize);
        planned.map_or_else(|| format!("node {node}"), |node| node.plan.name.clone())
    }

    /// Why a node was skipped, in words.
    pub(crate) fn because(&self, node: Option<u32>) -> String {
        match node {
            Some(node) => format!("because of {}", self.node_name(node)),
            None => "since the run was stopped".to_owned(),
        }
    }

    /// The verdict; `None`: there is none (yet).
    #[must_use]
    pub fn verdict(&self) -> Option<Verdict> {
        let reached = self.reached.as_ref().map(|reached| reached.verdict);
        self.finished.map(|(verdict, _)| verdict).or(reached)
    }

    /// Microseconds from the start to the verdict, or to the last that is
    /// known when there is none.
    #[must_use]
    pub fn wall_us(&self) -> u64 {
        let finished = self.finished.map_or(self.last_us, |(_, at_us)| at_us);
        self.reached.as_ref().map_or(finished, |reached| reached.at_us)
    }

    /// All failures that are not of a test: of nodes, in the order in which
    /// they happened, then what only the verdict names. Those of nodes that
    /// were tried again elsewhere are in [`Summary::void`].
    #[must_use]
    pub fn failures(&self) -> Vec<(Option<u32>, &Failure)> {
        let mut all: Vec<_> = self
            .failed_nodes()
            .filter(|(_, node, _)| node.elsewhere.is_none())
            .map(|(place, _, failure)| (Some(place), failure))
            .collect();
        for failure in self.reached.iter().flat_map(|reached| &reached.failures) {
            if !all.iter().any(|(_, known)| *known == failure) {
                all.push((None, failure));
            }
        }
        all
    }

    /// What made nodes void: such a node, what happened, and the node that tried
    /// it again elsewhere.
    #[must_use]
    pub fn void(&self) -> Vec<(u32, &Failure, u32)> {
        self.failed_nodes()
            .filter_map(|(place, node, failure)| Some((place, failure, node.elsewhere?)))
            .collect()
    }

    /// Nodes whose last attempt failed, in the order in which they did.
    fn failed_nodes(&self) -> impl Iterator<Item = (u32, &NodeSummary, &Failure)> {
        let mut seen = BTreeSet::new();
        self.failed.iter().filter(move |place| seen.insert(**place)).filter_map(|place| {
            let node = self.nodes.get(*place as usize)?;
            match &node.state {
                NodeState::Failed(failure) => Some((*place, node, failure)),
                // One that was attempted again and then did well did not fail.
                _ => None,
            }
        })
    }

    /// Where the time went; `None` before the first event.
    #[must_use]
    pub fn account(&self) -> Option<Account> {
        let run = self.run.as_ref()?;
        let verdict_us = self.wall_us();
        Some(Account::of(&RunTimes {
            nodes: self.nodes.iter().map(node_time).collect(),
            // Without a plan all that happened was on the way to one.
            planned_us: self.planned_us.unwrap_or(verdict_us),
            verdict_us,
            after: self.reached.as_ref().and_then(|reached| reached.after).map(|n| n as usize),
            cores: run.cores,
            memory: run.memory,
        }))
    }

    fn node_mut(&mut self, node: u32) -> Option<&mut NodeSummary> {
        self.nodes.get_mut(node as usize)
    }
}

impl NodeSummary {
    fn planned(plan: &PlannedNode) -> Self {
        let mut plan = plan.clone();
        plan.name = text::line(&plan.name);
        plan.suite = plan.suite.as_deref().map(text::line);
        plan.environment = plan.environment.as_deref().map(text::line);
        Self {
            plan,
            state: NodeState::Waiting,
            after: None,
            start_us: None,
            end_us: None,
            usage: Usage::default(),
            attempts: 0,
            spans: Vec::new(),
            progress: None,
            elsewhere: None,
            part: false,
            keyed: None,
        }
    }

    fn start(&mut self, at_us: u64, after: Option<u32>) {
        // A second attempt is part of the time that this node took.
        if self.start_us.is_none() {
            self.start_us = Some(at_us);
            self.after = after;
        }
        self.end_us = None;
        self.attempts += 1;
        self.state = NodeState::Running;
    }

    /// `ran_us`: from when until when a worker had it. What it waited for the
    /// engine before and after is no part of its time.
    fn finish(&mut self, ran_us: (u64, u64), at_us: u64, outcome: &NodeOutcome, usage: Usage) {
        let started_us = self.start_us.unwrap_or(at_us).min(at_us);
        let begin_us = ran_us.0.clamp(started_us, at_us);
        if self.attempts <= 1 {
            self.start_us = self.start_us.map(|_| begin_us);
        }
        self.end_us = Some(ran_us.1.clamp(begin_us, at_us));
        self.usage.core_us = self.usage.core_us.saturating_add(usage.core_us);
        self.usage.memory_peak = self.usage.memory_peak.max(usage.memory_peak);
        self.progress = None;
        self.state = match outcome {
            NodeOutcome::Done { output, hit: true } => NodeState::Hit(*output),
            NodeOutcome::Done { output, hit: false } => NodeState::Made(*output),
            NodeOutcome::Failed { failure } => NodeState::Failed(safe_failure(failure)),
            NodeOutcome::Cancelled => NodeState::Cancelled,
        };
    }
}

fn node_time(node: &NodeSummary) -> NodeTime {
    NodeTime {
        step: node.plan.step,
        needs: node.plan.needs.iter().map(|need| *need as usize).collect(),
        after: node.after.map(|after| after as usize),
        start_us: node.start_us,
        end_us: node.end_us,
        core_us: node.usage.core_us,
        memory_peak: node.usage.memory_peak,
        // What was void is no part of the least that was to be done.
        decides: node.plan.decides && node.elsewhere.is_none(),
        poolable: node.plan.poolable,
        fastest_s: node.plan.fastest_s,
        spans: node.spans.iter().map(|span| (span.step, span.start_us, span.end_us)).collect(),
    }
}

fn safe_failure(failure: &Failure) -> Failure {
    Failure {
        fault: failure.fault,
        retry: failure.retry,
        code: text::line(&failure.code),
        message: text::block(&failure.message),
        detail: text::block(&failure.detail),
        hints: failure.hints.iter().map(|hint| text::line(hint)).collect(),
    }
}

#[cfg(test)]
mod tests {
    use seatrial_protocol::test::TestOutcome;

    use super::*;
    use crate::sample;

    /// A run whose plan has one suite in two environments, nothing run yet.
    fn planned() -> Summary {
        let mut events = sample::passed();
        events.truncate(2);
        if let RunEventKind::Planned { nodes } = &mut events[1].kind {
            let mut other = nodes[5].clone();
            other.name = "replicated/e2e".to_owned();
            other.environment = Some("replicated".to_owned());
            nodes[6] = other;
        }
        Summary::from_events(&events)
    }

    fn finished(node: u32, test: &str, outcome: TestOutcome) -> RunEvent {
        let program = "api.test".to_owned();
        let test = test.to_owned();
        let (duration_us, message, output) = (1, None, None);
        let kind = RunEventKind::TestFinished {
            node,
            program,
            test,
            outcome,
            duration_us,
            message,
            output,
        };
        RunEvent { kind, ..sample::passed()[1].clone() }
    }

    #[test]
    fn a_slash_makes_a_subtest_only_below_a_test() {
        let mut summary = planned();
        for name in ["[sig-apps] Job/Pod runs", "TestScale", "TestScale/up", "TestScale/up/1"] {
            summary.apply(&finished(5, name, TestOutcome::Passed));
        }
        let subtests: Vec<bool> = summary.tests().iter().map(|test| test.subtest).collect();
        assert_eq!(subtests, [false, false, true, true]);
        assert_eq!(summary.counts().words(), "2 passed");
    }

    #[test]
    fn the_same_test_in_two_environments_is_two_tests() {
        let mut summary = planned();
        summary.apply(&finished(5, "TestScale", TestOutcome::Passed));
        summary.apply(&finished(6, "TestScale", TestOutcome::Failed));
        let names: Vec<String> =
            summary.tests().iter().map(|test| crate::ending::test_name(test, &summary)).collect();
        assert_eq!(
            names,
            ["e2e/api.test TestScale on default", "e2e/api.test TestScale on replicated"]
        );
        assert_eq!(summary.counts().words(), "1 passed, 1 failed");
    }

    #[test]
    fn what_several_tries_say() {
        use TestOutcome::{Broken, Failed, Passed, Skipped, TimedOut};
        let tried = |outcomes: &[TestOutcome]| {
            let mut summary = planned();
            for outcome in outcomes {
                summary.apply(&finished(5, "TestScale", *outcome));
            }
            summary
        };
        let verdict = |outcomes: &[TestOutcome]| tried(outcomes).tests()[0].verdict();
        assert_eq!(verdict(&[Failed, Passed]), Some(Verdict::Flaky));
        assert_eq!(verdict(&[TimedOut, Failed]), Some(Verdict::Failed));
        assert_eq!(verdict(&[Broken, Passed]), Some(Verdict::Passed));
        assert_eq!(verdict(&[Broken, Broken]), Some(Verdict::Failed));
        assert_eq!(verdict(&[Skipped]), None);
        let breaks = |outcomes: &[TestOutcome]| tried(outcomes).tests()[0].breaks_its_environment();
        assert!(breaks(&[Broken, Broken]));
        assert!(!breaks(&[Broken, Failed]) && !breaks(&[Failed, Broken]) && !breaks(&[Broken]));
    }

    #[test]
    fn what_was_void_counts_in_the_table_and_not_in_the_bound() {
        let again = Summary::from_events(&sample::tried_elsewhere());
        let account = again.account().expect("it began");
        let rows: u64 = account.rows.iter().map(|row| row.wall_us).sum();
        assert_eq!(rows + account.unattributed_us, again.wall_us());
        assert!(account.unattributed_us < 30_000, "{}", account.unattributed_us);
        let chain: Vec<_> = account
            .bound
            .chain
            .iter()
            .map(|place| again.nodes[*place].plan.name.as_str())
            .collect();
        assert_eq!(
            chain,
            ["build/server", "image/guestbook", "default/install#2", "default/e2e#2"]
        );
        assert!(again.failures().is_empty());
        assert_eq!(again.counts().words(), "2 passed");
        let breaks = Summary::from_events(&sample::breaks_its_environment());
        assert_eq!((breaks.failures().len(), breaks.void().len()), (1, 1));
        assert_eq!(breaks.counts().words(), "1 passed, 1 failed");
    }

    #[test]
    fn a_second_attempt_is_part_of_its_node() {
        let mut events = sample::passed();
        let mut again: Vec<RunEvent> = Vec::new();
        for event in &events {
            let of_build = matches!(
                event.kind,
                RunEventKind::NodeStarted { node: 0, .. }
                    | RunEventKind::NodeFinished { node: 0, .. }
            );
            if of_build {
                again.push(RunEvent { at_us: event.at_us + 9_000_000, ..event.clone() });
            }
        }
        events.extend(again);
        let summary = Summary::from_events(&events);
        let node = &summary.nodes[0];
        assert_eq!((node.attempts, node.usage.core_us), (2, 22_000_000));
        assert_eq!((node.start_us, node.end_us), (Some(401_000), Some(18_000_000)));
    }
}
