//! What to do next, as a function of the state of a run: values, which the
//! dispatcher carries out. Nothing here changes the state.

use super::{Ending, NodeState, RunState};
use crate::plan::{Growth, Node, Plan, When, Work};
use crate::stage::Stage;

/// What the dispatcher should do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Give a node to a worker.
    Start {
        /// Its place.
        node: u32,
        /// The node whose end made this possible.
        after: Option<u32>,
    },
    /// Say that a node will not begin.
    Skip {
        /// Its place.
        node: u32,
        /// The node that is the reason; `None`: the run was cancelled.
        because: Option<u32>,
    },
    /// Let the plan grow.
    Grow(Growth),
}

/// How much a run may do at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// Actions, and suites apart from any environment.
    pub actions: usize,
    /// Environments.
    pub sessions: usize,
}

impl RunState {
    /// What to do next. Each node appears at most once. Carrying the decisions
    /// out, telling [`RunState::apply`], and asking again until there is none
    /// (a skip makes others possible) gives progress until
    /// [`RunState::is_over`].
    ///
    /// `priority` gives for each node how long, in seconds, what follows from
    /// it is expected to take: the longest first.
    #[must_use]
    pub fn decide(&self, capacity: Capacity, priority: &[f64]) -> Vec<Decision> {
        // Before the skips that follow, so that those are of a void session.
        let mut decisions: Vec<_> = self.wanted.iter().copied().map(Decision::Grow).collect();
        let (mut actions, mut boots, mut startable) = (Vec::new(), Vec::new(), Vec::new());
        let open = self.open.iter().filter_map(|place| Some((*place, self.plan.node(*place)?)));
        for (place, node) in open {
            match self.readiness(node) {
                Readiness::Wait => {}
                Readiness::Start if is_action(&node.work) => actions.push(place),
                Readiness::Start if is_boot(&node.work) => boots.push(place),
                Readiness::Start => startable.push(place),
                Readiness::Skip(because) => {
                    decisions.push(Decision::Skip { node: place, because });
                }
            }
        }
        let urgency = |place: u32| priority.get(place as usize).copied().unwrap_or(0.0);
        let order = |a: &u32, b: &u32| urgency(*b).total_cmp(&urgency(*a)).then(a.cmp(b));
        // Far more may wait for room than there is: only who gets it matters.
        let mut take = |mut places: Vec<u32>, room: usize| {
            if places.len() > room {
                places.select_nth_unstable_by(room, order);
                places.truncate(room);
            }
            startable.append(&mut places);
        };
        let running = self.running(is_action);
        let quiet = actions.is_empty() && running == 0 && self.wanted.is_empty();
        take(actions, capacity.actions.saturating_sub(running));
        if !boots.is_empty() {
            // A second death would be the tests' doing: so there must be nobody
            // else who could have used up the machine, and no build either.
            let (alone, beside): (Vec<_>, Vec<_>) =
                boots.into_iter().partition(|place| self.second.contains(place));
            let held = self.sessions();
            if held.is_empty() && beside.is_empty() && quiet {
                take(alone, 1);
            } else if !held.iter().any(|boot| self.second.contains(boot)) {
                take(beside, capacity.sessions.saturating_sub(held.len()));
            }
        }
        startable.sort_by(order);
        decisions.extend(startable.into_iter().map(|node| {
            // Had nothing happened since, it would have been started earlier:
            // the latest is what it waited for, as a need or for its room.
            Decision::Start { node, after: self.latest }
        }));
        decisions
    }

    fn readiness(&self, node: &Node) -> Readiness {
        let cleans_up = node.when == When::Always;
        if self.cancelled && !cleans_up {
            return Readiness::Skip(None);
        }
        let mut unwell = None;
        for need in &node.needs {
            match self.node(*need) {
                Some(NodeState::Ended(Ending::Done(_))) => {}
                Some(NodeState::Ended(_)) => unwell = unwell.or(Some(*need)),
                _ if node.when == When::AllWell => {}
                _ => return Readiness::Wait,
            }
        }
        match node.when {
            When::AllWell => match unwell {
                // It cannot begin any more, whatever the others do.
                Some(need) => Readiness::Skip(Some(need)),
                None if node.needs.iter().all(|need| self.is_done(*need)) => Readiness::Start,
                None => Readiness::Wait,
            },
            When::SomethingFailed => {
                if node.needs.iter().any(|need| self.went_wrong(*need)) && self.session_began(node)
                {
                    Readiness::Start
                } else {
                    Readiness::Skip(node.needs.last().copied())
                }
            }
            When::Always if self.session_began(node) => Readiness::Start,
            When::Always => Readiness::Skip(unwell),
        }
    }

    /// Whether there is an environment to look into or to drop: a boot that
    /// failed leaves none.
    fn session_began(&self, node: &Node) -> bool {
        match &node.work {
            Work::Stage { session: Some(boot), .. } => self.is_done(*boot),
            _ => true,
        }
    }

    pub(super) fn running(&self, which: fn(&Work) -> bool) -> usize {
        let running = self.running.iter().filter_map(|place| self.plan.node(*place));
        running.filter(|node| which(&node.work)).count()
    }

    /// Sessions that hold an environment, by their boots: from the start of that
    /// to the end of their drop.
    pub(super) fn sessions(&self) -> Vec<u32> {
        let is_boot = |place: &u32| self.plan.node(*place).is_some_and(|node| is_boot(&node.work));
        let mut held: Vec<u32> = self.running.iter().copied().filter(is_boot).collect();
        for (place, node) in (0..).zip(&self.plan.nodes) {
            if let Work::Stage { session: Some(boot), stage: Stage::Drop, .. } = node.work {
                let dropped = matches!(self.node(place), Some(NodeState::Ended(_)));
                if self.is_done(boot) && !dropped {
                    held.push(boot);
                }
            }
        }
        held
    }
}

enum Readiness {
    Wait,
    Start,
    Skip(Option<u32>),
}

pub(super) fn is_action(work: &Work) -> bool {
    matches!(work, Work::Action(_) | Work::Stage { session: None, stage: Stage::Suite(_), .. })
}

pub(super) fn is_boot(work: &Work) -> bool {
    matches!(work, Work::Stage { stage: Stage::Boot(_), .. })
}

/// For each node, the expected seconds from its start to the end of the
/// longest chain of work that begins with it.
#[must_use]
pub fn priorities(plan: &Plan, expected: impl Fn(u32) -> f64) -> Vec<f64> {
    let mut longest = vec![0.0_f64; plan.nodes.len()];
    // Needs stand before what needs them, so one pass from the back settles all.
    for (index, node) in plan.nodes.iter().enumerate().rev() {
        let own = u32::try_from(index).map_or(0.0, &expected).max(0.0) + longest[index];
        longest[index] = own;
        for need in &node.needs {
            let slot = &mut longest[*need as usize];
            *slot = slot.max(own);
        }
    }
    longest
}
