//! Another try of a session, in another environment: the one way in which a
//! plan grows while it is run. When, says [`crate::run`].

use std::collections::BTreeMap;

use super::{Node, Plan, Work, place_of};

impl Plan {
    /// The nodes that try the session that `boot` begins again, to stand behind
    /// all others: a copy of each of its nodes but the suites that are `done`.
    /// What the session needs of builds and images it needs there, too.
    #[must_use]
    pub fn elsewhere(&self, boot: u32, done: impl Fn(u32) -> bool) -> Vec<Node> {
        // A boot stands before all that it begins.
        let first = place_of(self.nodes.len());
        let mut copies = BTreeMap::new();
        let mut nodes = Vec::new();
        for (place, node) in (0..).zip(&self.nodes) {
            let session = self.session(place);
            if session != Some(boot) || (node.suite().is_some() && done(place)) {
                continue;
            }
            copies.insert(place, place_of(self.nodes.len() + nodes.len()));
            let elsewhere = |need: &u32| match self.session(*need) {
                Some(_) => copies.get(need).copied(),
                None => Some(*need),
            };
            let mut needs: Vec<u32> = node.needs.iter().filter_map(elsewhere).collect();
            needs.sort_unstable();
            let mut work = node.work.clone();
            if let Work::Stage { session: Some(session), .. } = &mut work {
                *session = first;
            }
            let name = format!("{}#2", node.name);
            nodes.push(Node { name, needs, work, again: Some(place), ..node.clone() });
        }
        nodes
    }
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
