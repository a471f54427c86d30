//! A run while it is dispatched: what has happened, and what follows from it.

use std::collections::BTreeMap;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use seatrial_core::action::{Input, Platform};
use seatrial_core::digest::Digest;
use seatrial_core::failure::Failure;
use seatrial_core::ids::{AttemptId, Epoch, RunId, SessionId};
use seatrial_core::key::Record;
use seatrial_core::plan::{Growth, Node, Plan, Work};
use seatrial_core::run::{Capacity, Decision, RunState, priorities};
use seatrial_core::verdict::Verdict;
use seatrial_protocol::VERSION;
use seatrial_protocol::event::{
    NodeOutcome, PlannedNode, RunEvent, RunEventKind, SuiteGrowth, Usage,
};
use seatrial_protocol::worker::{AttemptEvent, FromWorker, Hello, Offer, Order, ToWorker};
use tokio::sync::watch;
use uuid::Uuid;

use super::{DispatchError, Recorder, RunFacts, cancelled};
use crate::fold::change_of;
use crate::link::WorkerLink;

/// Numbers and times events, and holds those that are not recorded yet.
struct Log {
    run: RunId,
    began: Instant,
    seq: u64,
    pending: Vec<RunEvent>,
}

impl Log {
    fn push(&mut self, kind: RunEventKind) {
        let event = self.event(kind);
        self.seq += 1;
        self.pending.push(event);
    }

    fn event(&self, kind: RunEventKind) -> RunEvent {
        RunEvent { run: self.run, seq: self.seq, at_us: self.now_us(), kind }
    }

    fn now_us(&self) -> u64 {
        micros(self.began.elapsed().as_micros())
    }
}

/// A try that a worker has.
#[derive(Clone, Copy)]
struct Attempt {
    node: u32,
    epoch: Epoch,
    /// Microseconds since the run began when the worker was told; `None`: not
    /// yet.
    offered_us: Option<u64>,
}

/// A run that is being dispatched.
pub(super) struct Running<'a> {
    facts: &'a RunFacts,
    state: RunState,
    attempts: BTreeMap<AttemptId, Attempt>,
    /// Sessions by the node that boots them.
    sessions: BTreeMap<u32, SessionId>,
    /// Keys of the stages that began: what their sessions work with.
    stages: BTreeMap<u32, Digest>,
    epoch: Epoch,
    platform: Platform,
    priority: Vec<f64>,
    capacity: Capacity,
    log: Log,
    offers: Vec<Offer>,
    verdict: Option<Verdict>,
}

impl<'a> Running<'a> {
    pub(super) fn new(plan: Plan, facts: &'a RunFacts, worker: &Hello) -> Self {
        let capacity = Capacity {
            actions: usize::try_from(worker.cores).unwrap_or(usize::MAX).max(1),
            sessions: usize::try_from(worker.environments).unwrap_or(usize::MAX).max(1),
        };
        let mut running = Self {
            facts,
            state: RunState::new(plan),
            attempts: BTreeMap::new(),
            sessions: BTreeMap::new(),
            stages: BTreeMap::new(),
            epoch: Epoch::default(),
            platform: worker.platform.clone(),
            priority: Vec::new(),
            capacity,
            log: Log { run: facts.run, began: facts.began, seq: 0, pending: Vec::new() },
            offers: Vec::new(),
            verdict: None,
        };
        running.prioritise();
        running
    }

    /// Drives the run to its end; its verdict and the state it ended in.
    pub(super) async fn drive(
        mut self,
        worker: &Hello,
        cancel: &mut watch::Receiver<Option<String>>,
        link: &mut WorkerLink,
        recorder: &mut dyn Recorder,
    ) -> Result<(Verdict, RunState), DispatchError> {
        self.begin(worker);
        loop {
            self.advance();
            if self.state.is_over() {
                let verdict = self.finish();
                self.flush(link, recorder)?;
                return Ok((verdict, self.state));
            }
            self.flush(link, recorder)?;
            tokio::select! {
                message = link.receive() => match message {
                    Some(Ok(message)) => self.take(message, recorder),
                    // One that talks nonsense cannot be relied on for anything:
                    // its end of the connection is closed, and it ends its work.
                    Some(Err(error)) => {
                        link.close();
                        self.lose_worker(&Failure::chain(&error));
                    }
                    None => self.lose_worker("its process or connection ended"),
                },
                reason = cancelled(cancel), if !self.state.is_cancelled() => {
                    self.cancel(reason, link);
                }
            }
        }
    }

    fn begin(&mut self, worker: &Hello) {
        let facts = self.facts;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let began = now.saturating_sub(facts.began.elapsed());
        self.happen(RunEventKind::RunStarted {
            version: VERSION,
            project: facts.project.clone(),
            commit: facts.commit.clone(),
            dirty: facts.dirty,
            started_unix_ms: u64::try_from(began.as_millis()).unwrap_or(u64::MAX),
            cores: worker.cores,
            memory: worker.memory,
        });
        let nodes = self.planned(0, &self.state.plan().nodes);
        self.happen(RunEventKind::Planned { nodes });
    }

    /// Lets the plan grow.
    fn grow(&mut self, growth: Growth) {
        let nodes = self.planned(self.state.plan().nodes.len(), &self.state.growth(growth));
        self.happen(match growth {
            Growth::Void { boot } => RunEventKind::PlanGrown { boot, nodes },
            Growth::Retry { suite } => {
                let (why, tests) = (SuiteGrowth::Retry, self.state.retries(suite));
                RunEventKind::SuiteGrown { node: suite, why, tests, nodes }
            }
            Growth::Fresh { suite } => {
                let (why, tests) = (SuiteGrowth::Fresh, self.state.apart(suite));
                RunEventKind::SuiteGrown { node: suite, why, tests, nodes }
            }
        });
        self.prioritise();
    }

    /// Nodes that have the places from one on, as they are told.
    fn planned(&self, from: usize, nodes: &[Node]) -> Vec<PlannedNode> {
        let nodes = (from..).zip(nodes);
        nodes.map(|(place, node)| planned(node, self.history(place, node))).collect()
    }

    /// Expected and fastest seconds of a node: those of what it tries again.
    fn history(&self, place: usize, node: &Node) -> (Option<f64>, Option<f64>) {
        let first = node.again.map_or(place, |again| self.state.plan().first(again) as usize);
        match self.facts.history.get(first) {
            // How long some tests of a suite take is not what all of them did.
            Some(known) if !node.is_part() => *known,
            _ => (None, None),
        }
    }

    fn prioritise(&mut self) {
        let plan = self.state.plan();
        let expected = |place: u32| {
            let node = plan.node(place);
            node.and_then(|node| self.history(place as usize, node).0).unwrap_or(1.0)
        };
        self.priority = priorities(plan, expected);
    }

    /// Carries out decisions until there is none left.
    fn advance(&mut self) {
        loop {
            let decisions = self.state.decide(self.capacity, &self.priority);
            if decisions.is_empty() {
                break;
            }
            for decision in decisions {
                match decision {
                    Decision::Start { node, after } => self.start(node, after),
                    Decision::Skip { node, because } => {
                        self.happen(RunEventKind::NodeSkipped { node, because });
                    }
                    Decision::Grow(growth) => self.grow(growth),
                }
            }
        }
        if self.verdict.is_none()
            && let Some(verdict) = self.state.verdict()
        {
            self.verdict = Some(verdict);
            let mut failures: Vec<Failure> = Vec::new();
            for failure in self.state.failures() {
                // One cause ends many nodes when a worker is lost.
                if !failures.contains(failure) {
                    failures.push(failure.clone());
                }
            }
            let after = self.state.decided_by();
            self.happen(RunEventKind::VerdictReached { verdict, failures, after });
        }
    }

    fn start(&mut self, place: u32, after: Option<u32>) {
        let Some(node) = self.state.plan().node(place) else {
            return;
        };
        let name = node.name.clone();
        self.epoch = self.epoch.next();
        let attempt = AttemptId::from_uuid(Uuid::now_v7());
        let epoch = self.epoch;
        self.happen(RunEventKind::NodeStarted { node: place, attempt, epoch, after });
        self.attempts.insert(attempt, Attempt { node: place, epoch, offered_us: None });
        match self.order(place) {
            Ok(order) => {
                let run = self.log.run;
                self.offers.push(Offer { run, node: name, attempt, epoch, order });
            }
            Err(failure) => {
                let outcome = NodeOutcome::Failed { failure };
                self.finish_node(attempt, epoch, outcome, Usage::default(), None);
            }
        }
    }

    fn order(&mut self, place: u32) -> Result<Order, Failure> {
        let state = &self.state;
        let resolve = |input: Input| match input {
            Input::Tree(digest) => Ok(digest),
            Input::Node(node) => state.output(node).ok_or_else(|| {
                Failure::environment("engine.no_output", "a node that ended well made nothing")
            }),
        };
        let Some(node) = state.plan().node(place) else {
            return Err(Failure::environment("engine.no_node", "the plan has no such node"));
        };
        Ok(match node.work.clone() {
            Work::Action(action) => {
                let action = action.try_map(resolve)?;
                let key = self.keyed(place, action.record(&self.platform));
                Order::Action { key, action: Box::new(action) }
            }
            Work::Stage { stage, .. } => {
                let stage = Box::new(stage.try_map(resolve)?);
                let on = state.plan().stands_on(place).and_then(|on| self.stages.get(&on));
                let record = stage.record(&self.platform, on.copied());
                let session = state.plan().session(place).map(|boot| {
                    *self
                        .sessions
                        .entry(boot)
                        .or_insert_with(|| SessionId::from_uuid(Uuid::now_v7()))
                });
                let keep =
                    self.facts.keep && !state.is_cancelled() && state.is_worth_keeping(place);
                if let Some(record) = record {
                    let key = self.keyed(place, record);
                    self.stages.insert(place, key);
                }
                Order::Stage { session, stage, keep }
            }
        })
    }

    /// Tells what a node's key is made of; the key.
    fn keyed(&mut self, node: u32, record: Record) -> Digest {
        let key = record.key();
        self.happen(RunEventKind::NodeKeyed { node, key, record: record.abbreviated() });
        key
    }

    fn take(&mut self, message: FromWorker, recorder: &mut dyn Recorder) {
        match message {
            FromWorker::Hello(_) | FromWorker::Accept { .. } => {}
            FromWorker::Event { attempt, epoch, event, .. } => {
                if let Some(found) = self.current(attempt, epoch) {
                    self.take_event(found, event, recorder);
                }
            }
            FromWorker::Result { attempt, epoch, outcome, usage, took_us } => {
                self.finish_node(attempt, epoch, outcome, usage, Some(took_us));
            }
        }
    }

    fn take_event(&mut self, attempt: Attempt, event: AttemptEvent, recorder: &mut dyn Recorder) {
        let node = attempt.node;
        let offered_us = attempt.offered_us.unwrap_or_default();
        let since = |offset: u64| offered_us.saturating_add(offset);
        let kind = match event {
            AttemptEvent::Progress { text, fraction } => {
                let kind = RunEventKind::NodeProgress { node, text, fraction };
                recorder.show(&self.log.event(kind));
                return;
            }
            AttemptEvent::Span { step, name, start_us, end_us } => RunEventKind::NodeSpan {
                node,
                step,
                name,
                start_us: since(start_us),
                end_us: since(end_us),
            },
            AttemptEvent::TestsSelected { tests, listed } => {
                RunEventKind::TestsSelected { node, tests, listed }
            }
            AttemptEvent::TestStarted { program, test } => {
                RunEventKind::TestStarted { node, program, test }
            }
            AttemptEvent::TestFinished { program, test, outcome, duration_us, message, output } => {
                RunEventKind::TestFinished {
                    node,
                    program,
                    test,
                    outcome,
                    duration_us,
                    message,
                    output,
                }
            }
            AttemptEvent::Evidence { tree, summary } => {
                RunEventKind::Evidence { node, tree, summary }
            }
            AttemptEvent::Warning(failure) => RunEventKind::Warning { node, failure },
        };
        self.happen(kind);
    }

    fn finish_node(
        &mut self,
        attempt: AttemptId,
        epoch: Epoch,
        outcome: NodeOutcome,
        usage: Usage,
        took_us: Option<u64>,
    ) {
        // A result of a try that is no longer the current one is dropped: what
        // it made may be found by its key, but it decides nothing.
        let Some(Attempt { node, offered_us, .. }) = self.current(attempt, epoch) else {
            return;
        };
        self.attempts.remove(&attempt);
        let now_us = self.log.now_us();
        let ran_us = offered_us.map(|offered_us| {
            let end_us = took_us.map_or(now_us, |took_us| offered_us.saturating_add(took_us));
            (offered_us, end_us.min(now_us))
        });
        self.happen(RunEventKind::NodeFinished { node, attempt, epoch, outcome, usage, ran_us });
    }

    fn current(&self, attempt: AttemptId, epoch: Epoch) -> Option<Attempt> {
        let found = self.attempts.get(&attempt).copied().filter(|found| found.epoch == epoch);
        if found.is_none() {
            tracing::debug!(%attempt, ?epoch, "a message of a stale attempt was dropped");
        }
        found
    }

    fn cancel(&mut self, reason: String, link: &WorkerLink) {
        self.happen(RunEventKind::CancelRequested { reason });
        for (node, attempt) in self.state.running_nodes() {
            // What tidies up goes on: it is how the run stops.
            if self.state.plan().decides(node) {
                link.send(&ToWorker::Cancel { attempt });
            }
        }
    }

    /// Ends all that the worker had: it will not answer any more, and its
    /// environments are gone with it. What is offered from now on is lost in
    /// the same way, one after the other, until nothing is left that could be.
    fn lose_worker(&mut self, why: &str) {
        let lost: Vec<_> = self.attempts.iter().map(|(id, attempt)| (*id, *attempt)).collect();
        for (id, attempt) in lost {
            let failure = Failure::environment("worker.lost", format!("the worker is lost: {why}"));
            let outcome = NodeOutcome::Failed { failure };
            self.finish_node(id, attempt.epoch, outcome, Usage::default(), None);
        }
    }

    fn finish(&mut self) -> Verdict {
        let verdict = self.verdict.unwrap_or(Verdict::NotRun);
        self.happen(RunEventKind::RunFinished { verdict });
        verdict
    }

    /// Records what happened, then lets follow what follows from it.
    fn flush(
        &mut self,
        link: &WorkerLink,
        recorder: &mut dyn Recorder,
    ) -> Result<(), DispatchError> {
        if !self.log.pending.is_empty() {
            recorder.record(&self.log.pending).map_err(DispatchError::Record)?;
            self.log.pending.clear();
        }
        for offer in self.offers.drain(..) {
            if let Some(attempt) = self.attempts.get_mut(&offer.attempt) {
                attempt.offered_us = Some(self.log.now_us());
            }
            link.send(&ToWorker::Offer(Box::new(offer)));
        }
        Ok(())
    }

    /// Lets something happen: the state changes as the event says, and the event
    /// is recorded next. One that cannot be is a mistake of ours: it is told, and
    /// did not happen.
    fn happen(&mut self, kind: RunEventKind) {
        match change_of(&kind).map_or(Ok(()), |change| self.state.apply(change)) {
            Ok(()) => self.log.push(kind),
            Err(error) => tracing::error!(%error, "a change of run state was refused"),
        }
    }
}

fn planned(node: &Node, (expected_s, fastest_s): (Option<f64>, Option<f64>)) -> PlannedNode {
    PlannedNode {
        name: node.name.clone(),
        step: node.step,
        needs: node.needs.clone(),
        suite: node.suite().map(ToString::to_string),
        environment: node.environment().map(ToString::to_string),
        decides: node.decides(),
        poolable: node.poolable(),
        expected_s,
        fastest_s,
        again: node.again,
    }
}

fn micros(micros: u128) -> u64 {
    u64::try_from(micros).unwrap_or(u64::MAX)
}
