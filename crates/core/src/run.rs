//! The state of a run, as a fold over what happened, and in `decide` what to do
//! next. The dispatcher in `seatrial-engine` carries it out.
//!
//! A component's death says nothing about the product: the session in which it
//! happened is void, and tried once elsewhere (`docs/design/002`). Tests that
//! failed are tried again as often as their suite says, and some get an
//! environment each (`docs/design/003`). The nodes for that are the only ones
//! that a plan gets while it is run.
//!
//! ```text
//!            Started             Finished
//!  Waiting ──────────▶ Running ────────────▶ Ended
//!     └───────────────── Skipped ──────────────▲
//! ```

use std::collections::{BTreeMap, BTreeSet};

use crate::digest::Digest;
use crate::failure::Failure;
use crate::ids::{AttemptId, Epoch};
use crate::plan::{Growth, Node, Plan, place_of};
use crate::verdict::Verdict;

pub use self::decide::{Capacity, Decision, priorities};

mod decide;
mod growth;

/// Where one node of the plan is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeState {
    /// It has not begun.
    Waiting,
    /// A worker has it.
    Running {
        /// This try.
        attempt: AttemptId,
        /// Its fencing number.
        epoch: Epoch,
    },
    /// It is over.
    Ended(Ending),
}

/// How a node ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// It did what it should, and made this.
    Done(Option<Digest>),
    /// It failed.
    Failed(Failure),
    /// It was stopped.
    Cancelled,
    /// It never began, since this node did not end well, or the run was
    /// cancelled (`None`).
    Skipped(Option<u32>),
}

/// Something that changes the state of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A node began.
    Started {
        /// Its place.
        node: u32,
        /// This try.
        attempt: AttemptId,
        /// Its fencing number.
        epoch: Epoch,
    },
    /// A node ended.
    Finished {
        /// Its place.
        node: u32,
        /// The fencing number of the try that ended.
        epoch: Epoch,
        /// How.
        ending: Ending,
    },
    /// A node will not begin.
    Skipped {
        /// Its place.
        node: u32,
        /// The node that is the reason; `None`: the run was cancelled.
        because: Option<u32>,
    },
    /// The plan got nodes.
    Grown(Growth),
    /// A suite said which tests it will run.
    Listed {
        /// The suite's node.
        node: u32,
        /// Program and name of each; parts of tests are not among them.
        tests: Vec<(String, String)>,
    },
    /// A test of a suite ended with this verdict.
    Test {
        /// The suite's node.
        node: u32,
        /// Program and name.
        test: (String, String),
        /// The verdict of this try; skipped tests do not come here.
        verdict: Verdict,
    },
    /// Somebody wants the run to stop.
    CancelRequested,
}

/// A change that cannot happen in the state that there is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IllegalChange {
    /// There is no such node.
    #[error("there is no node {0}")]
    NoSuchNode(u32),
    /// The node is not where this change begins.
    #[error("node {node} cannot be {change} from where it is")]
    WrongState {
        /// Its place.
        node: u32,
        /// The change, as a participle.
        change: &'static str,
    },
    /// A result of a try that is not the current one: it is refused.
    #[error("node {node} is at epoch {current:?}, not {stale:?}")]
    Stale {
        /// Its place.
        node: u32,
        /// The epoch of the current try.
        current: Epoch,
        /// The epoch of the result.
        stale: Epoch,
    },
}

/// The state of a run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RunState {
    plan: Plan,
    nodes: Vec<NodeState>,
    /// Nodes in the order in which they ended.
    ended: Vec<u32>,
    /// Tests by the first node that tried them, with what all tries say.
    tests: BTreeMap<(u32, String, String), Verdict>,
    /// Nodes in which some try of a test did not do well.
    unwell: BTreeSet<u32>,
    /// What suites said that they will run, in their order.
    listed: BTreeMap<u32, Vec<(String, String)>>,
    /// Tests that failed, by the node that tried them.
    failed: BTreeMap<u32, BTreeSet<(String, String)>>,
    cancelled: bool,
    /// By what the plan is to grow.
    wanted: BTreeSet<Growth>,
    /// Nodes of sessions in which a component died: they decide nothing.
    void: BTreeSet<u32>,
    /// Boots that try a void session again.
    second: BTreeSet<u32>,
    /// Suites of which tests got an environment each, by their first try.
    spread: BTreeSet<u32>,
    /// The node that let happen what can happen now: by its end, mostly.
    latest: Option<u32>,
    /// For each node, those that need it.
    needed_by: Vec<Vec<u32>>,
    /// For each node, how many of those that it needs have not ended.
    needs_left: Vec<usize>,
    /// Waiting nodes that more than waiting may be decided of: all that they
    /// need has ended, or some of it did not end well, or the run is cancelled.
    open: BTreeSet<u32>,
    /// Nodes that a worker has.
    running: BTreeSet<u32>,
    /// How many nodes have not ended.
    left: usize,
}

impl RunState {
    /// The state of a run of `plan` before anything happened.
    #[must_use]
    pub fn new(plan: Plan) -> Self {
        let mut state = Self::default();
        state.add(plan.nodes);
        state
    }

    /// The plan, with all that it grew by.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Puts nodes behind all others.
    fn add(&mut self, nodes: Vec<Node>) {
        self.left += nodes.len();
        for node in nodes {
            let place = place_of(self.plan.nodes.len());
            let left = |need: &&u32| !matches!(self.node(**need), Some(NodeState::Ended(_)));
            let needs_left = node.needs.iter().filter(left).count();
            for need in &node.needs {
                self.needed_by[*need as usize].push(place);
            }
            // What some of it did not end well for is no less to be decided of.
            let unwell = || node.needs.iter().any(|need| self.ended_unwell(*need));
            if needs_left == 0 || self.cancelled || unwell() {
                self.open.insert(place);
            }
            self.nodes.push(NodeState::Waiting);
            self.needed_by.push(Vec::new());
            self.needs_left.push(needs_left);
            self.plan.nodes.push(node);
        }
    }

    /// Takes in what happened.
    ///
    /// # Errors
    /// When it cannot have happened; the state is unchanged then.
    pub fn apply(&mut self, change: Change) -> Result<(), IllegalChange> {
        match change {
            Change::CancelRequested => {
                self.cancelled = true;
                // Nothing is tried again; tests that were to be alone are told as
                // not run.
                self.wanted.retain(|growth| matches!(growth, Growth::Fresh { .. }));
                let waiting =
                    (0..).zip(&self.nodes).filter(|(_, state)| **state == NodeState::Waiting);
                self.open.extend(waiting.map(|(place, _)| place));
            }
            Change::Grown(growth) => {
                if !self.wanted.remove(&growth) {
                    let (Growth::Void { boot: node }
                    | Growth::Retry { suite: node }
                    | Growth::Fresh { suite: node }) = growth;
                    return Err(IllegalChange::WrongState { node, change: "grown from" });
                }
                self.grow(growth);
            }
            Change::Listed { node, tests } => {
                if !matches!(self.slot(node)?, NodeState::Running { .. }) {
                    return Err(IllegalChange::WrongState { node, change: "listed" });
                }
                self.listed.entry(node).or_insert(tests);
                let wanted = self.wants_spread(node);
                self.wanted.extend(wanted);
            }
            Change::Started { node, attempt, epoch } => {
                let slot = self.slot(node)?;
                if *slot != NodeState::Waiting {
                    return Err(IllegalChange::WrongState { node, change: "started" });
                }
                *slot = NodeState::Running { attempt, epoch };
                self.open.remove(&node);
                self.running.insert(node);
            }
            Change::Finished { node, epoch, ending } => {
                let slot = self.slot(node)?;
                let NodeState::Running { epoch: current, .. } = *slot else {
                    return Err(IllegalChange::WrongState { node, change: "finished" });
                };
                if current != epoch {
                    return Err(IllegalChange::Stale { node, current, stale: epoch });
                }
                self.running.remove(&node);
                self.ended.push(node);
                self.latest = Some(node);
                self.end(node, ending);
            }
            Change::Skipped { node, because } => {
                let slot = self.slot(node)?;
                if *slot != NodeState::Waiting {
                    return Err(IllegalChange::WrongState { node, change: "skipped" });
                }
                self.open.remove(&node);
                self.end(node, Ending::Skipped(because));
            }
            Change::Test { node, test: (program, test), verdict } => {
                if !matches!(self.slot(node)?, NodeState::Running { .. }) {
                    return Err(IllegalChange::WrongState { node, change: "tested" });
                }
                if verdict > Verdict::Flaky {
                    self.unwell.insert(node);
                }
                if verdict == Verdict::Failed {
                    let failed = self.failed.entry(node).or_default();
                    failed.insert((program.clone(), test.clone()));
                }
                self.tests
                    .entry((self.plan.first(node), program, test))
                    .and_modify(|before| *before = before.retried(verdict))
                    .or_insert(verdict);
            }
        }
        Ok(())
    }

    fn end(&mut self, place: u32, ending: Ending) {
        let well = matches!(ending, Ending::Done(_));
        self.wanted.extend(self.wants(place, &ending));
        self.nodes[place as usize] = NodeState::Ended(ending);
        self.left -= 1;
        for next in &self.needed_by[place as usize] {
            let needs_left = &mut self.needs_left[*next as usize];
            *needs_left -= 1;
            let waits = self.nodes[*next as usize] == NodeState::Waiting;
            if waits && (*needs_left == 0 || !well) {
                self.open.insert(*next);
            }
        }
    }

    /// Whether the verdict waits for a node.
    fn decides(&self, place: u32) -> bool {
        self.plan.decides(place) && !self.void.contains(&place)
    }

    /// The verdict, once nothing that decides is left to do. What is void says
    /// nothing, but tests that it had are put together with their other try.
    #[must_use]
    pub fn verdict(&self) -> Option<Verdict> {
        if !self.wanted.is_empty() || self.running.iter().any(|place| self.decides(*place)) {
            return None;
        }
        let mut verdicts = Vec::new();
        for (place, state) in (0..).zip(&self.nodes) {
            let decides = self.decides(place);
            match state {
                NodeState::Ended(ending) => match ending {
                    // Nothing that tidies up may turn a verdict, but one that
                    // could not be relied upon must not pass.
                    Ending::Failed(failure) if decides => {
                        verdicts.push(Verdict::of_failure(failure));
                    }
                    Ending::Cancelled if decides => verdicts.push(Verdict::Cancelled),
                    Ending::Skipped(_) if decides => verdicts.push(Verdict::NotRun),
                    Ending::Done(_) if decides => verdicts.push(Verdict::Passed),
                    _ => {}
                },
                _ if decides => return None,
                _ => {}
            }
        }
        verdicts.extend(self.tests.values().copied());
        if self.cancelled && Verdict::of_all(verdicts.iter().copied()) != Some(Verdict::Passed) {
            // What a cancelled run's nodes say of themselves is the cancelling's
            // doing: only a test that failed on its own stays failed.
            let failed = self.tests.values().any(|verdict| *verdict == Verdict::Failed);
            return Some(if failed { Verdict::Failed } else { Verdict::Cancelled });
        }
        Some(Verdict::of_all(verdicts).unwrap_or(Verdict::NotRun))
    }

    /// Whether every node has ended.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.left == 0
    }

    /// Whether somebody wants the run to stop.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.cancelled
    }

    /// Where a node is.
    #[must_use]
    pub fn node(&self, place: u32) -> Option<&NodeState> {
        self.nodes.get(place as usize)
    }

    /// What a node made.
    #[must_use]
    pub fn output(&self, place: u32) -> Option<Digest> {
        match self.node(place) {
            Some(NodeState::Ended(Ending::Done(output))) => *output,
            _ => None,
        }
    }

    /// The nodes that are running.
    pub fn running_nodes(&self) -> impl Iterator<Item = (u32, AttemptId)> + '_ {
        self.running.iter().filter_map(|place| match self.node(*place)? {
            NodeState::Running { attempt, .. } => Some((*place, *attempt)),
            _ => None,
        })
    }

    /// The failures that ended deciding nodes, in the order they happened.
    pub fn failures(&self) -> impl Iterator<Item = &Failure> {
        self.ended.iter().filter(|place| self.decides(**place)).filter_map(|place| {
            match self.node(*place) {
                Some(NodeState::Ended(Ending::Failed(failure))) => Some(failure),
                _ => None,
            }
        })
    }

    /// The node that ended last of those that decide.
    #[must_use]
    pub fn decided_by(&self) -> Option<u32> {
        self.ended.iter().rev().copied().find(|place| self.decides(*place))
    }

    fn slot(&mut self, node: u32) -> Result<&mut NodeState, IllegalChange> {
        self.nodes.get_mut(node as usize).ok_or(IllegalChange::NoSuchNode(node))
    }

    fn ended_unwell(&self, place: u32) -> bool {
        matches!(self.node(place), Some(NodeState::Ended(_))) && !self.is_done(place)
    }

    fn is_done(&self, place: u32) -> bool {
        matches!(self.node(place), Some(NodeState::Ended(Ending::Done(_))))
    }

    fn went_wrong(&self, place: u32) -> bool {
        let failed = matches!(self.node(place), Some(NodeState::Ended(Ending::Failed(_))));
        failed || self.unwell.contains(&place)
    }
}

#[cfg(test)]
mod tests;
