//! A seeded simulator of runs: random outcomes, random order, a cancel at a
//! random moment; what must hold does in all of them.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::digest::Digest;
use crate::failure::Failure;
use crate::pipeline::Pipeline;
use crate::plan::{Facts, Selection};
use crate::testing::guestbook;

fn plan() -> Plan {
    plan_of(&guestbook())
}

fn plan_of(pipeline: &Pipeline) -> Plan {
    let params = BTreeMap::new();
    let facts = Facts { trees: &|sources| Ok(Digest::of(format!("{sources:?}"))), params: &params };
    Plan::new(pipeline, &Selection::Suites(Vec::new()), &facts).expect("the sample plans")
}

fn attempt(n: u64) -> AttemptId {
    AttemptId::from_uuid(uuid::Uuid::from_u128(n.into()))
}

const CAPACITY: Capacity = Capacity { actions: 2, sessions: 1 };

/// What happens to each node when it ends, and when the run is cancelled.
#[derive(Debug, Clone)]
struct Script {
    endings: Vec<u8>,
    order: Vec<usize>,
    cancel_at: Option<usize>,
}

fn scripts() -> impl Strategy<Value = Script> {
    let endings = proptest::collection::vec(0_u8..8, 40);
    let order = proptest::collection::vec(0_usize..8, 80);
    (endings, order, proptest::option::of(0_usize..30))
        .prop_map(|(endings, order, cancel_at)| Script { endings, order, cancel_at })
}

struct Simulated {
    state: RunState,
    started: Vec<u32>,
    failed: bool,
}

fn simulate(plan: &Plan, script: &Script) -> Simulated {
    let mut state = RunState::new(plan);
    let mut started = Vec::new();
    let mut failed = false;
    let mut epoch = Epoch::default();
    for turn in 0..200 {
        if script.cancel_at == Some(turn) {
            state.apply(Change::CancelRequested).expect("a run can always be cancelled");
        }
        // A skip can make further decisions possible.
        while let decisions = state.decide(plan, CAPACITY, &[])
            && !decisions.is_empty()
        {
            assert_eq!(decisions, decisions_by_a_look_at_all(&state, plan));
            for decision in decisions {
                match decision {
                    Decision::Start { node, .. } => {
                        epoch = epoch.next();
                        started.push(node);
                        let attempt = attempt(epoch.0);
                        state.apply(Change::Started { node, attempt, epoch }).expect("it waited");
                    }
                    Decision::Skip { node, because } => {
                        state.apply(Change::Skipped { node, because }).expect("it waited");
                    }
                }
            }
        }
        let actions = state.running(plan, is_action);
        assert!(actions <= CAPACITY.actions, "{actions} actions at once");
        assert!(state.sessions(plan) <= CAPACITY.sessions, "too many sessions at once");
        let running: Vec<_> = state.running_nodes().collect();
        if running.is_empty() {
            break;
        }
        let pick = script.order.get(turn).copied().unwrap_or(0) % running.len();
        let (node, _) = running[pick];
        let Some(NodeState::Running { epoch, .. }) = state.node(node).cloned() else {
            panic!("node {node} was running");
        };
        let cleans_up = !plan.decides(node);
        let ending = match script.endings[node as usize % script.endings.len()] {
            0 if !cleans_up => {
                failed = true;
                Ending::Failed(Failure::product("x", "x"))
            }
            1 if !cleans_up => {
                failed = true;
                Ending::Failed(Failure::environment("x", "x"))
            }
            _ if state.is_cancelled() && !cleans_up => Ending::Cancelled,
            _ => Ending::Done(None),
        };
        state.apply(Change::Finished { node, epoch, ending }).expect("it was running");
    }
    Simulated { state, started, failed }
}

/// What would be decided if every waiting node were looked at.
fn decisions_by_a_look_at_all(state: &RunState, plan: &Plan) -> Vec<Decision> {
    let mut all = state.clone();
    let waiting = (0..).zip(&state.nodes).filter(|(_, state)| **state == NodeState::Waiting);
    all.open = waiting.map(|(place, _)| place).collect();
    all.decide(plan, CAPACITY, &[])
}

proptest! {
    #[test]
    fn whatever_happens_a_run_ends_and_tells_the_truth(script in scripts()) {
        let plan = plan();
        let Simulated { state, started, failed } = simulate(&plan, &script);
        prop_assert!(state.is_over(), "stuck: {state:?}");
        let verdict = state.verdict(&plan).expect("it is over");
        let all_ran = (0..).zip(&plan.nodes)
            .filter(|(place, _)| plan.decides(*place))
            .all(|(place, _)| state.is_done(place));
        prop_assert_eq!(verdict == Verdict::Passed, all_ran && !failed);

        // Nothing began before what it needs.
        for (order, place) in started.iter().enumerate() {
            let node = plan.node(*place).expect("it started");
            for need in &node.needs {
                let before = started[..order].contains(need);
                prop_assert!(before || node.when != When::AllWell, "{} too early", node.name);
            }
        }
        // Each session that began was dropped, and no other.
        for (place, node) in (0..).zip(&plan.nodes) {
            if let Work::Stage { session: Some(boot), stage: Stage::Drop, .. } = &node.work {
                prop_assert_eq!(started.contains(&place), state.is_done(*boot));
            }
        }
    }
}

#[test]
fn boots_start_at_once_beside_the_builds() {
    let plan = plan();
    let first = RunState::new(&plan).decide(&plan, CAPACITY, &[]);
    let names: Vec<_> = first
        .iter()
        .map(|decision| match decision {
            Decision::Start { node, after: None } => plan.nodes[*node as usize].name.as_str(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(names, ["default/boot", "fetch/server", "build/e2e-tests"]);
}

#[test]
fn a_stale_result_is_refused() {
    let plan = plan();
    let mut state = RunState::new(&plan);
    let epoch = Epoch(2);
    state.apply(Change::Started { node: 0, attempt: attempt(1), epoch }).expect("it waited");
    let stale = Change::Finished { node: 0, epoch: Epoch(1), ending: Ending::Done(None) };
    let refusal = IllegalChange::Stale { node: 0, current: Epoch(2), stale: Epoch(1) };
    assert_eq!(state.apply(stale), Err(refusal));
    assert_eq!(state.verdict(&plan), None);
}

#[test]
fn a_failed_test_fails_the_run_though_its_suite_was_done() {
    let plan = plan();
    let mut state = RunState::new(&plan);
    let suite = (0..).zip(&plan.nodes).find(|(_, node)| node.suite().is_some());
    let (suite, _) = suite.expect("the sample has a suite");
    for place in 0..u32::try_from(plan.nodes.len()).expect("few") {
        let epoch = Epoch(1);
        state.apply(Change::Started { node: place, attempt: attempt(1), epoch }).expect("waited");
        if place == suite {
            let test = |name: &str, verdict| Change::Test {
                node: suite,
                test: ("e2e.test".into(), name.into()),
                verdict,
            };
            state.apply(test("TestA", Verdict::Passed)).expect("it runs");
            state.apply(test("TestB", Verdict::Failed)).expect("it runs");
        }
        let ending = Ending::Done(None);
        state.apply(Change::Finished { node: place, epoch, ending }).expect("it ran");
    }
    assert_eq!(state.verdict(&plan), Some(Verdict::Failed));
    assert!(state.went_wrong(suite));
}

#[test]
fn the_longest_chain_is_the_most_urgent() {
    let plan = plan();
    let priorities = priorities(&plan, |place| match plan.nodes[place as usize].name.as_str() {
        "build/server" => 30.0,
        "default/boot" => 4.0,
        _ => 1.0,
    });
    let of = |name: &str| {
        let place = plan.nodes.iter().position(|node| node.name == name);
        priorities[place.expect("a node of the sample")]
    };
    assert!(of("fetch/server") > of("default/boot"));
    assert!(of("fetch/server") > of("build/server"));
    assert!(of("default/install") > of("default/drop"));
}
