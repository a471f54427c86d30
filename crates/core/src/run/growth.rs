//! How the plan grows while it is run: what is wanted, by which nodes, and what
//! that changes in the state (`docs/design/002`, `docs/design/003`).

use std::collections::BTreeSet;

use super::{Ending, RunState};
use crate::action::Input;
use crate::failure::Failure;
use crate::pipeline::Spread;
use crate::plan::{Growth, Node, place_of};
use crate::stage::SuiteStage;

impl RunState {
    /// The nodes that the plan gets when it grows so now.
    #[must_use]
    pub fn growth(&self, growth: Growth) -> Vec<Node> {
        match growth {
            Growth::Void { boot } => self.plan.elsewhere(boot, |place| self.is_done(place)),
            Growth::Retry { suite } => self.plan.again(suite, &self.retries(suite)),
            Growth::Fresh { suite } => self.plan.apart(suite, &self.apart(suite)),
        }
    }

    /// The tests that the suite at a place listed and that get an environment
    /// each: none when it is in none itself, or runs only some of its tests.
    #[must_use]
    pub fn apart(&self, place: u32) -> Vec<(String, String)> {
        match (self.suite(place), self.plan.session(place), self.listed.get(&place)) {
            (Some(stage), Some(_), Some(listed)) if stage.only.is_none() => {
                stage.suite.spread(listed).apart
            }
            _ => Vec::new(),
        }
    }

    /// The tests that failed in the suite at a place and may be tried again.
    #[must_use]
    pub fn retries(&self, place: u32) -> Vec<(String, String)> {
        let (Some(stage), Some(failed), Some(listed)) =
            (self.suite(place), self.failed.get(&place), self.listed.get(&place))
        else {
            return Vec::new();
        };
        // Parts of tests are none that could be run alone.
        let may = |(program, test): &&(String, String)| {
            stage.suite.settings(program, test).retries > stage.tried
        };
        listed.iter().filter(|test| failed.contains(*test)).filter(may).cloned().collect()
    }

    /// Whether somebody who wants to look into environments wants the one that
    /// the node at a place is part of: a copy only when something went wrong in
    /// it, for there may be many.
    #[must_use]
    pub fn is_worth_keeping(&self, place: u32) -> bool {
        let Some(boot) = self.plan.session(place) else { return false };
        let is_copy = self.plan.node(boot).is_some_and(|boot| boot.again.is_some());
        let needs = self.plan.node(place).map_or(&[][..], |node| &node.needs);
        !is_copy || self.second.contains(&boot) || needs.iter().any(|need| self.went_wrong(*need))
    }

    /// By what the plan is to grow since this node ended so.
    pub(super) fn wants(&self, place: u32, ending: &Ending) -> Option<Growth> {
        if self.cancelled {
            return None;
        }
        match ending {
            // Of a suite that failed otherwise it is not known what it says.
            Ending::Done(_) => {
                (!self.retries(place).is_empty()).then_some(Growth::Retry { suite: place })
            }
            Ending::Failed(failure) if failure.code == Failure::COMPONENT_DIED => {
                let boot = self.plan.session(place)?;
                let tried = self.second.contains(&boot) || self.void.contains(&boot);
                (!tried && self.decides(place)).then_some(Growth::Void { boot })
            }
            _ => None,
        }
    }

    /// By what the plan is to grow since a suite listed its tests.
    pub(super) fn wants_spread(&mut self, node: u32) -> Option<Growth> {
        // A worker names no more than that, unless it lies.
        let some = (1..=Spread::MOST).contains(&self.apart(node).len());
        // Another try of all of it does not run those again. Also wanted when the
        // run was cancelled: those tests are then told as not run.
        let wanted = some && self.spread.insert(self.plan.first(node));
        wanted.then_some(Growth::Fresh { suite: node })
    }

    /// Lets the plan grow, as was wanted.
    pub(super) fn grow(&mut self, growth: Growth) {
        let nodes = self.growth(growth);
        match growth {
            Growth::Void { .. } => {
                self.second.insert(place_of(self.plan.nodes.len()));
                self.void.extend(nodes.iter().filter_map(|node| node.again));
            }
            Growth::Fresh { suite } => self.latest = Some(suite),
            // What parts of a test say, the test says itself; another try may
            // have other parts.
            Growth::Retry { suite } => {
                let first = self.plan.first(suite);
                let again: BTreeSet<_> = self.retries(suite).into_iter().collect();
                // By any of its nodes: a copy lists only what it runs.
                let of_suite = |(node, _): &(&u32, _)| self.plan.first(**node) == first;
                let listed = self.listed.iter().filter(of_suite);
                let listed: BTreeSet<_> = listed.flat_map(|(_, tests)| tests).collect();
                self.tests.retain(|(node, program, name), _| {
                    let is = |name: &str| (program.clone(), name.to_owned());
                    let is_part = || {
                        let mut wholes = name.match_indices('/').map(|(end, _)| is(&name[..end]));
                        wholes.any(|whole| again.contains(&whole)) && !listed.contains(&is(name))
                    };
                    *node != first || !is_part()
                });
            }
        }
        self.add(nodes);
    }

    fn suite(&self, place: u32) -> Option<&SuiteStage<Input>> {
        self.plan.node(place).and_then(Node::suite_stage)
    }
}
