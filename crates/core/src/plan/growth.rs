//! The nodes that a plan gets while it is run, all of them copies of sessions
//! that it has. When it gets them, says [`crate::run`].

use std::collections::BTreeMap;

use super::{Node, Plan, Work, place_of};
use crate::stage::Stage;

/// Why a plan grows while it is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Growth {
    /// A component died in the session that this node began, which is void:
    /// it is tried elsewhere.
    Void {
        /// The place of the boot.
        boot: u32,
    },
    /// Tests of a suite failed and may be tried again.
    Retry {
        /// The place of the node that ran them.
        suite: u32,
    },
    /// Tests of a suite get an environment each.
    Fresh {
        /// The place of the node that listed them.
        suite: u32,
    },
}

impl Plan {
    /// The nodes that try the session that `boot` begins again, to stand behind
    /// all others: a copy of each of its nodes but the suites that are `done`.
    /// What the session needs of other nodes it needs there, too.
    #[must_use]
    pub fn elsewhere(&self, boot: u32, done: impl Fn(u32) -> bool) -> Vec<Node> {
        self.copy(boot, self.copies(boot) + 1, self.nodes.len(), done)
    }

    /// The nodes that try `tests` of the suite at a place again: in another
    /// session with nothing else in it, or beside it when it is in none.
    #[must_use]
    pub fn again(&self, suite: u32, tests: &[(String, String)]) -> Vec<Node> {
        let tried = self.tried(suite).saturating_add(1);
        let mut nodes = match self.session(suite) {
            Some(boot) => self.copy(boot, self.copies(boot) + 1, self.nodes.len(), |p| p != suite),
            None => self.node(suite).map_or_else(Vec::new, |node| {
                let name = numbered(&node.name, self.copies(suite) + 1);
                vec![Node { name, again: Some(suite), ..node.clone() }]
            }),
        };
        // Nothing of it begins before it is known that something failed.
        if let Some(first) = nodes.first_mut() {
            first.needs.push(suite);
            first.needs.sort_unstable();
        }
        narrow(&mut nodes, tests, tried);
        nodes
    }

    /// The nodes that run each of `tests`, of the suite at a place, in a session
    /// with nothing else in it.
    #[must_use]
    pub fn apart(&self, suite: u32, tests: &[(String, String)]) -> Vec<Node> {
        let Some(boot) = self.session(suite) else { return Vec::new() };
        let (copies, tried) = (self.copies(boot), self.tried(suite));
        let mut nodes = Vec::new();
        for (number, test) in (copies + 1..).zip(tests) {
            let first = self.nodes.len() + nodes.len();
            let mut session = self.copy(boot, number, first, |place| place != suite);
            narrow(&mut session, std::slice::from_ref(test), tried);
            nodes.append(&mut session);
        }
        nodes
    }

    /// How often the tests that the suite at a place runs were tried before.
    #[must_use]
    pub fn tried(&self, suite: u32) -> u32 {
        self.node(suite).and_then(Node::suite_stage).map_or(0, |stage| stage.tried)
    }

    /// The first of all nodes that the one at a place is another try of; that
    /// one when it is the first.
    #[must_use]
    pub fn first(&self, place: u32) -> u32 {
        let again = |place: &u32| self.node(*place).and_then(|node| node.again);
        std::iter::successors(Some(place), again).last().unwrap_or(place)
    }

    /// How many nodes do the same as the one at a place, itself included.
    fn copies(&self, place: u32) -> usize {
        let name = self.node(place).map_or("", |node| base(&node.name));
        self.nodes.iter().filter(|node| base(&node.name) == name).count()
    }

    /// A copy of each node of a session but the suites to be left out, to stand
    /// at `first` and behind it.
    fn copy(
        &self,
        boot: u32,
        number: usize,
        first: usize,
        leave_out: impl Fn(u32) -> bool,
    ) -> Vec<Node> {
        let mut copies = BTreeMap::new();
        let mut nodes = Vec::new();
        for (place, node) in (0..).zip(&self.nodes) {
            let in_it = self.session(place) == Some(boot);
            if !in_it || (node.suite().is_some() && leave_out(place)) {
                continue;
            }
            copies.insert(place, place_of(first + nodes.len()));
            let elsewhere = |need: &u32| match self.session(*need) == Some(boot) {
                true => copies.get(need).copied(),
                false => Some(*need),
            };
            let mut needs: Vec<u32> = node.needs.iter().filter_map(elsewhere).collect();
            needs.sort_unstable();
            let mut work = node.work.clone();
            if let Work::Stage { session: Some(session), .. } = &mut work {
                // A boot stands before all that it begins.
                *session = place_of(first);
            }
            let name = numbered(&node.name, number);
            nodes.push(Node { name, needs, work, again: Some(place), ..node.clone() });
        }
        nodes
    }
}

/// Lets the suites among some nodes run these tests only.
fn narrow(nodes: &mut [Node], tests: &[(String, String)], tried: u32) {
    for node in nodes {
        if let Work::Stage { stage: Stage::Suite(stage), .. } = &mut node.work {
            stage.only = Some(tests.to_vec());
            stage.tried = tried;
        }
    }
}

/// A name without the number of the copy.
fn base(name: &str) -> &str {
    name.split_once('#').map_or(name, |(base, _)| base)
}

fn numbered(name: &str, number: usize) -> String {
    format!("{}#{number}", base(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::two_suites;

    fn place(plan: &Plan, name: &str) -> u32 {
        place_of(plan.nodes.iter().position(|node| node.name == name).expect("planned"))
    }

    /// Each node and the names of what it needs.
    fn shown(plan: &Plan, nodes: &[Node]) -> String {
        let all: Vec<&Node> = plan.nodes.iter().chain(nodes).collect();
        let line = |node: &Node| {
            let needs: Vec<_> = node.needs.iter().map(|n| all[*n as usize].name.as_str()).collect();
            format!("{}: needs [{}]\n", node.name, needs.join(", "))
        };
        nodes.iter().map(line).collect()
    }

    #[test]
    fn a_session_is_copied_without_the_suites_that_are_done() {
        let plan = two_suites();
        let boot = place(&plan, "default/boot");
        let nodes = plan.elsewhere(boot, |_| false);
        insta::assert_snapshot!(shown(&plan, &nodes), @"
        default/boot#2: needs []
        default/install#2: needs [image/guestbook, default/boot#2]
        default/e2e#2: needs [build/e2e-tests, default/install#2]
        default/load#2: needs [build/e2e-tests, default/install#2, default/e2e#2]
        default/evidence#2: needs [default/boot#2, default/install#2, default/e2e#2, default/load#2]
        default/drop#2: needs [default/boot#2, default/install#2, default/e2e#2, default/load#2, default/evidence#2]
        ");
        let e2e = place(&plan, "default/e2e");
        let nodes = plan.elsewhere(boot, |place| place == e2e);
        insta::assert_snapshot!(shown(&plan, &nodes), @"
        default/boot#2: needs []
        default/install#2: needs [image/guestbook, default/boot#2]
        default/load#2: needs [build/e2e-tests, default/install#2]
        default/evidence#2: needs [default/boot#2, default/install#2, default/load#2]
        default/drop#2: needs [default/boot#2, default/install#2, default/load#2, default/evidence#2]
        ");
    }

    #[test]
    fn what_failed_is_tried_again_alone() {
        let mut plan = two_suites();
        let test = |name: &str| vec![("e2e.test".to_owned(), name.to_owned())];
        let load = place(&plan, "default/load");
        let nodes = plan.again(load, &test("TestA"));
        insta::assert_snapshot!(shown(&plan, &nodes), @"
        default/boot#2: needs [default/load]
        default/install#2: needs [image/guestbook, default/boot#2]
        default/load#2: needs [build/e2e-tests, default/install#2]
        default/evidence#2: needs [default/boot#2, default/install#2, default/load#2]
        default/drop#2: needs [default/boot#2, default/install#2, default/load#2, default/evidence#2]
        ");
        let first = place_of(plan.nodes.len());
        plan.nodes.extend(nodes);
        let second = place(&plan, "default/load#2");
        let Work::Stage { stage: Stage::Suite(stage), session, .. } =
            &plan.nodes[second as usize].work
        else {
            panic!("a suite");
        };
        assert_eq!((*session, &stage.only, stage.tried), (Some(first), &Some(test("TestA")), 1));

        // A third time, and another try of the second that a death voids.
        let third = plan.again(second, &test("TestA"));
        insta::assert_snapshot!(shown(&plan, &third), @"
        default/boot#3: needs [default/load, default/load#2]
        default/install#3: needs [image/guestbook, default/boot#3]
        default/load#3: needs [build/e2e-tests, default/install#3]
        default/evidence#3: needs [default/boot#3, default/install#3, default/load#3]
        default/drop#3: needs [default/boot#3, default/install#3, default/load#3, default/evidence#3]
        ");
        let void = plan.elsewhere(first, |_| false);
        insta::assert_snapshot!(shown(&plan, &void), @"
        default/boot#3: needs [default/load]
        default/install#3: needs [image/guestbook, default/boot#3]
        default/load#3: needs [build/e2e-tests, default/install#3]
        default/evidence#3: needs [default/boot#3, default/install#3, default/load#3]
        default/drop#3: needs [default/boot#3, default/install#3, default/load#3, default/evidence#3]
        ");
        plan.nodes.extend(third);
        let third = place(&plan, "default/load#3");
        assert_eq!((plan.tried(third), plan.first(third)), (2, load));

        let unit = place(&plan, "suite/unit");
        let nodes = plan.again(unit, &test("TestB"));
        insta::assert_snapshot!(shown(&plan, &nodes), @"suite/unit#2: needs [build/e2e-tests, suite/unit]");
    }

    #[test]
    fn what_is_fresh_has_a_session_for_each_test() {
        let plan = two_suites();
        let e2e = place(&plan, "default/e2e");
        let tests = ["TestA", "TestB"].map(|test| ("e2e.test".to_owned(), test.to_owned()));
        let nodes = plan.apart(e2e, &tests);
        insta::assert_snapshot!(shown(&plan, &nodes), @"
        default/boot#2: needs []
        default/install#2: needs [image/guestbook, default/boot#2]
        default/e2e#2: needs [build/e2e-tests, default/install#2]
        default/evidence#2: needs [default/boot#2, default/install#2, default/e2e#2]
        default/drop#2: needs [default/boot#2, default/install#2, default/e2e#2, default/evidence#2]
        default/boot#3: needs []
        default/install#3: needs [image/guestbook, default/boot#3]
        default/e2e#3: needs [build/e2e-tests, default/install#3]
        default/evidence#3: needs [default/boot#3, default/install#3, default/e2e#3]
        default/drop#3: needs [default/boot#3, default/install#3, default/e2e#3, default/evidence#3]
        ");
        let sessions = [0, 5].map(|n| Some(place_of(plan.nodes.len() + n)));
        for (node, (session, test)) in nodes[2..].iter().step_by(5).zip(sessions.iter().zip(&tests))
        {
            let Work::Stage { stage: Stage::Suite(stage), session: found, .. } = &node.work else {
                panic!("{} is a suite", node.name);
            };
            assert_eq!((found, stage.only.as_deref()), (session, Some(std::slice::from_ref(test))));
        }
        assert!(plan.apart(place(&plan, "suite/unit"), &tests).is_empty());
    }

    #[test]
    fn nothing_of_the_void_session_is_needed() {
        let mut plan = two_suites();
        let boot = place(&plan, "default/boot");
        let nodes = plan.elsewhere(boot, |_| false);
        let (before, first) = (plan.nodes.len(), place_of(plan.nodes.len()));
        plan.nodes.extend(nodes);
        for (place, node) in (0..).zip(&plan.nodes).skip(before) {
            assert_eq!(plan.session(place), Some(first));
            assert!(node.needs.is_sorted() && node.needs.iter().all(|need| *need < place));
            assert!(node.needs.iter().all(|need| plan.session(*need) != Some(boot)));
            let original = node.again.and_then(|place| plan.node(place)).expect("a node");
            assert_eq!((node.step, node.when), (original.step, original.when));
        }
    }
}
