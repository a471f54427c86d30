//! A seeded simulator of runs: random outcomes, random order, components that
//! die, a cancel at a random moment; what must hold does in all of them.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::decide::{is_action, is_boot};
use super::*;
use crate::name::Name;
use crate::pipeline::{Isolation, Override, Pipeline, Suite};
use crate::plan::{When, Work};
use crate::stage::Stage;
use crate::testing::{guestbook, plan_of, two_suites};

fn plan() -> Plan {
    plan_of(&guestbook())
}

fn attempt(n: u64) -> AttemptId {
    AttemptId::from_uuid(uuid::Uuid::from_u128(n.into()))
}

/// How often the tests of the sample are tried again.
const RETRIES: u32 = 2;

/// The sample with two suites in each of two environments, and one whose tests
/// get an environment each.
fn two_environments() -> Plan {
    let mut pipeline = guestbook();
    let name = |text: &str| text.parse::<Name>().expect("a name");
    let environment = pipeline.environments[&name("default")].clone();
    pipeline.environments.insert(name("other"), environment);
    for suite in pipeline.suites.values_mut() {
        suite.retries = RETRIES;
    }
    let inside = pipeline.suites.get_mut(&name("e2e")).expect("the sample has it");
    inside.environments.push(name("other"));
    let inside = inside.clone();
    let fresh = Suite { isolation: Isolation::Fresh, ..inside.clone() };
    pipeline.suites.insert(name("load"), inside);
    pipeline.suites.insert(name("fresh"), fresh);
    plan_of(&pipeline)
}

const CAPACITY: Capacity = Capacity { actions: 2, sessions: 1 };

/// What happens to each node when it ends, what its tests say, and when the
/// run is cancelled.
#[derive(Debug, Clone)]
struct Script {
    endings: Vec<u8>,
    tests: Vec<Verdict>,
    order: Vec<usize>,
    cancel_at: Option<usize>,
    sessions: usize,
}

fn scripts() -> impl Strategy<Value = Script> {
    let verdicts = [Verdict::Passed, Verdict::Passed, Verdict::NotRun, Verdict::Failed];
    let endings = proptest::collection::vec(0_u8..12, 40);
    let tests = proptest::collection::vec(proptest::sample::select(verdicts.to_vec()), 40);
    let order = proptest::collection::vec(0_usize..8, 80);
    let cancel_at = proptest::option::weighted(0.3, 0_usize..40);
    (endings, tests, order, cancel_at, 1_usize..4).prop_map(
        |(endings, tests, order, cancel_at, sessions)| Script {
            endings,
            tests,
            order,
            cancel_at,
            sessions,
        },
    )
}

#[derive(Default)]
struct Simulated {
    state: RunState,
    started: Vec<u32>,
    /// For each test of each suite in each environment, what its tries said, in order.
    tries: BTreeMap<(Option<Name>, Name, &'static str), Vec<Verdict>>,
}

fn simulate(plan: Plan, script: &Script) -> Simulated {
    let mut sim = Simulated { state: RunState::new(plan), ..Simulated::default() };
    let mut epoch = Epoch::default();
    let capacity = Capacity { sessions: script.sessions, ..CAPACITY };
    for turn in 0..1000 {
        let state = &mut sim.state;
        if script.cancel_at == Some(turn) {
            state.apply(Change::CancelRequested).expect("a run can always be cancelled");
        }
        // A skip can make further decisions possible.
        while let decisions = state.decide(capacity, &[])
            && !decisions.is_empty()
        {
            assert_eq!(decisions, decisions_by_a_look_at_all(state, capacity));
            for decision in decisions {
                let change = match decision {
                    Decision::Start { node, .. } => {
                        epoch = epoch.next();
                        sim.started.push(node);
                        Change::Started { node, attempt: attempt(epoch.0), epoch }
                    }
                    Decision::Skip { node, because } => Change::Skipped { node, because },
                    Decision::Grow(growth) => Change::Grown(growth),
                };
                state.apply(change).expect("what is decided can happen");
            }
        }
        let actions = state.running(is_action);
        assert!(actions <= CAPACITY.actions, "{actions} actions at once");
        let held = state.sessions();
        assert!(held.len() <= capacity.sessions, "too many sessions at once");
        let second = held.iter().any(|boot| state.second.contains(boot));
        let alone = held.len() == 1 && actions == 0;
        assert!(!second || alone, "a void session is tried again beside others");
        let running: Vec<_> = state.running_nodes().collect();
        if running.is_empty() {
            break;
        }
        let pick = script.order.get(turn).copied().unwrap_or(0) % running.len();
        sim.finish(running[pick].0, script);
    }
    sim
}

impl Simulated {
    /// Ends a node that runs.
    fn finish(&mut self, node: u32, script: &Script) {
        let Some(NodeState::Running { epoch, .. }) = self.state.node(node).cloned() else {
            panic!("node {node} was running");
        };
        let plan = self.state.plan();
        let in_session = plan.session(node).is_some();
        let ending = match script.endings[node as usize % script.endings.len()] {
            _ if !plan.decides(node) => Ending::Done(None),
            0 => Ending::Failed(Failure::product("x", "x")),
            1 => Ending::Failed(Failure::environment("x", "x")),
            2 | 3 if in_session => {
                Ending::Failed(Failure::environment(Failure::COMPONENT_DIED, "x"))
            }
            _ if self.state.is_cancelled() => Ending::Cancelled,
            _ => Ending::Done(None),
        };
        let place = plan.node(node).expect("it is planned");
        if let (Some(suite), environment) = (place.suite().cloned(), place.environment().cloned()) {
            let said = script.tests[node as usize % script.tests.len()];
            // The one that was running when all of it ended broke.
            let last = if matches!(ending, Ending::Failed(_)) { Verdict::Broken } else { said };
            let all = ["TestA", "TestB"].map(named);
            let here = here(place, &all);
            // All of a suite is listed also where some of it is run elsewhere.
            let tests = if place.is_part() { here.clone() } else { all.to_vec() };
            self.state.apply(Change::Listed { node, tests }).expect("it runs");
            let said = [("TestA", said), ("TestB", last)].into_iter();
            for (test, verdict) in said.filter(|(test, _)| here.contains(&named(test))) {
                let name = (environment.clone(), suite.clone(), test);
                self.tries.entry(name).or_default().push(verdict);
                let test = named(test);
                self.state.apply(Change::Test { node, test, verdict }).expect("it runs");
            }
        }
        self.state.apply(Change::Finished { node, epoch, ending }).expect("it was running");
    }
}

/// A test of the only program.
fn named(test: &str) -> (String, String) {
    ("e2e.test".to_owned(), test.to_owned())
}

/// The tests of these that a suite's node runs.
fn here(node: &Node, all: &[(String, String)]) -> Vec<(String, String)> {
    match &node.work {
        Work::Stage { stage: Stage::Suite(stage), session, .. } => match &stage.only {
            Some(only) => only.clone(),
            None if session.is_some() => stage.suite.spread(all).here,
            None => all.to_vec(),
        },
        _ => Vec::new(),
    }
}

/// What would be decided if every waiting node were looked at.
fn decisions_by_a_look_at_all(state: &RunState, capacity: Capacity) -> Vec<Decision> {
    let mut all = state.clone();
    let waiting = (0..).zip(&state.nodes).filter(|(_, state)| **state == NodeState::Waiting);
    all.open = waiting.map(|(place, _)| place).collect();
    all.decide(capacity, &[])
}

proptest! {
    #[test]
    fn whatever_happens_a_run_ends_and_tells_the_truth(script in scripts()) {
        let planned = two_environments().nodes.len();
        let Simulated { state, started, tries } = simulate(two_environments(), &script);
        prop_assert!(state.is_over(), "stuck: {state:?}");
        let verdict = state.verdict().expect("it is over");
        let plan = state.plan();
        let void = &state.void;
        let all_ran = (0..).zip(&plan.nodes)
            .filter(|(place, _)| plan.decides(*place) && !void.contains(place))
            .all(|(place, _)| state.is_done(place));
        // Each of its tries may be voided by a death, once.
        let most = 2 * (RETRIES as usize + 1);
        prop_assert!(tries.values().all(|tries| tries.len() <= most), "{tries:?}");
        let tests = tries.into_values().map(|tries| tries.into_iter().reduce(Verdict::retried));
        let worst = Verdict::of_all(tests.flatten()).unwrap_or(Verdict::Passed);
        prop_assert_eq!(verdict == Verdict::Passed, all_ran && worst == Verdict::Passed);
        // No verdict is better than its tests; what a cancelled run broke is
        // the cancelling's doing.
        prop_assert!(verdict >= worst || (state.is_cancelled() && worst < Verdict::Failed));

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
        // A session is tried again when a component died in it, once, or when
        // something failed in it that may be tried again.
        let ended = |place: u32, code: &str| matches!(
            state.node(place),
            Some(NodeState::Ended(Ending::Failed(failure))) if failure.code == code
        );
        let died = (0..).take(plan.nodes.len()).filter(|p| ended(*p, Failure::COMPONENT_DIED));
        let boots = plan.nodes[planned..].iter().filter(|node| is_boot(&node.work)).count();
        prop_assert!(boots <= died.count() + state.failed.len() + state.spread.len());
        // Nothing else was in the environment of a test that needs its own.
        let mut shared: BTreeMap<u32, u32> = BTreeMap::new();
        for (place, node) in (0..).zip(&plan.nodes).filter(|(_, node)| node.suite().is_some()) {
            if let Some(boot) = plan.session(place) {
                *shared.entry(boot).or_default() += 1;
                let fresh = node.suite().is_some_and(|suite| suite.as_str() == "fresh");
                let tests = here(node, &["TestA", "TestB"].map(named)).len();
                prop_assert!(!fresh || tests == 1, "{} runs {tests}", node.name);
                prop_assert!(!fresh || shared[&boot] == 1, "{} is not alone", node.name);
            }
        }
        prop_assert!(state.is_cancelled() || verdict != Verdict::Passed || state.spread.len() == 2);
        for boot in &state.second {
            let first = plan.node(*boot).and_then(|node| node.again).expect("another try");
            prop_assert!(!state.second.contains(&first), "a void session is tried a third time");
        }
    }
}

/// A run of the sample to the end of its first suite, in which a component
/// dies while a test runs after one that ended so.
fn died_after(first: Verdict) -> (RunState, u32) {
    let mut state = RunState::new(two_suites());
    let e2e = place(&state, "default/e2e");
    while let Some(next) = state.decide(CAPACITY, &[]).first().cloned() {
        let Decision::Start { node, .. } = next else { panic!("{next:?}") };
        begin(&mut state, node);
        if node == e2e {
            break;
        }
        end(&mut state, node, Ending::Done(None));
    }
    say(&mut state, e2e, "TestA", first);
    say(&mut state, e2e, "TestB", Verdict::Broken);
    end(&mut state, e2e, died());
    (state, e2e)
}

fn died() -> Ending {
    Ending::Failed(Failure::environment(Failure::COMPONENT_DIED, "etcd ended"))
}

fn place(state: &RunState, name: &str) -> u32 {
    let at = state.plan().nodes.iter().position(|node| node.name == name);
    place_of(at.unwrap_or_else(|| panic!("no node {name}")))
}

fn begin(state: &mut RunState, node: u32) {
    let started = Change::Started { node, attempt: attempt(1), epoch: Epoch(1) };
    state.apply(started).expect("it waited");
}

fn end(state: &mut RunState, node: u32, ending: Ending) {
    state.apply(Change::Finished { node, epoch: Epoch(1), ending }).expect("it runs");
}

fn say(state: &mut RunState, node: u32, test: &str, verdict: Verdict) {
    let test = ("e2e.test".to_owned(), test.to_owned());
    state.apply(Change::Test { node, test, verdict }).expect("it runs");
}

/// Does what was decided, and does it well; the suite's other try says these of
/// its tests and ends so.
fn carry_out(state: &mut RunState, next: &Decision, tests: &[(&str, Verdict)], ending: &Ending) {
    match *next {
        Decision::Grow(growth) => state.apply(Change::Grown(growth)).expect("it is wanted"),
        Decision::Skip { node, because } => {
            state.apply(Change::Skipped { node, because }).expect("it waits");
        }
        Decision::Start { node, .. } => {
            begin(state, node);
            let again = state.plan().nodes[node as usize].name == "default/e2e#2";
            for (test, verdict) in tests.iter().filter(|_| again) {
                say(state, node, test, *verdict);
            }
            end(state, node, if again { ending.clone() } else { Ending::Done(None) });
        }
    }
}

/// Does everything that is left well; the suite's other try says these of its
/// tests and ends so.
fn tried_again(mut state: RunState, tests: [Verdict; 2], ending: &Ending) -> RunState {
    let tests = [("TestA", tests[0]), ("TestB", tests[1])];
    while let Some(next) = state.decide(CAPACITY, &[]).first().cloned() {
        carry_out(&mut state, &next, &tests, ending);
    }
    assert!(state.is_over(), "{state:?}");
    state
}

#[test]
fn what_a_death_voids_is_tried_once_elsewhere() {
    use Verdict::{Broken, Failed, Flaky, NotRun, Passed};
    let verdict = |first, tests, ending| {
        tried_again(died_after(first).0, tests, &ending).verdict().expect("it is over")
    };
    let done = || Ending::Done(None);
    assert_eq!(verdict(Passed, [Passed, Passed], done()), Passed);
    assert_eq!(verdict(Passed, [Passed, Failed], done()), Failed);
    // A death explains what comes after it, not before.
    assert_eq!(verdict(Failed, [Passed, Passed], done()), Flaky);
    assert_eq!(verdict(Failed, [Failed, Passed], done()), Failed);
    // A second death: under another test it is nobody's; under the same one it
    // is that test's.
    assert_eq!(verdict(Passed, [Broken, NotRun], died()), Broken);
    assert_eq!(verdict(Passed, [Passed, Broken], died()), Failed);
    // Whatever else the second session does counts as it would in a first.
    let failure = Failure::product("x", "x");
    assert_eq!(verdict(Passed, [Passed, Passed], Ending::Failed(failure)), Failed);
}

#[test]
fn a_void_session_says_nothing_but_is_looked_into_and_dropped() {
    let (mut state, e2e) = died_after(Verdict::Passed);
    let boot = place(&state, "default/boot");
    let decisions = state.decide(CAPACITY, &[]);
    assert_eq!(decisions[0], Decision::Grow(Growth::Void { boot }));
    let load = place(&state, "default/load");
    assert!(decisions.contains(&Decision::Skip { node: load, because: Some(e2e) }));

    let over = tried_again(state.clone(), [Verdict::Passed; 2], &Ending::Done(None));
    for name in ["default/evidence", "default/drop", "default/load#2", "default/drop#2"] {
        assert!(over.is_done(place(&over, name)), "{name}");
    }
    assert_eq!(over.failures().count(), 0);
    assert_eq!(over.decided_by(), Some(place(&over, "default/load#2")));

    // There is no verdict before that, though nothing else is left.
    let mut waiting = state.clone();
    while let Some(next) = waiting.decide(CAPACITY, &[]).get(1).cloned() {
        carry_out(&mut waiting, &next, &[], &Ending::Done(None));
    }
    assert_eq!(waiting.decide(CAPACITY, &[]), [Decision::Grow(Growth::Void { boot })]);
    assert_eq!(waiting.verdict(), None);

    // Nobody else's growth is taken for its.
    let other = Change::Grown(Growth::Void { boot: e2e });
    let refusal = IllegalChange::WrongState { node: e2e, change: "grown from" };
    assert_eq!(state.apply(other), Err(refusal));
    // Who wants the run to stop wants no other try.
    state.apply(Change::CancelRequested).expect("always");
    let decisions = state.decide(CAPACITY, &[]);
    assert!(!decisions.contains(&Decision::Grow(Growth::Void { boot })), "{decisions:?}");
    assert!(state.apply(Change::Grown(Growth::Void { boot })).is_err());
}

/// Does a suite that says these of its tests, to its end.
fn run_suite(state: &mut RunState, node: u32, tests: &[(&str, Verdict)]) {
    begin(state, node);
    let listed = tests.iter().filter(|(test, _)| !test.contains('/'));
    let tests_listed = listed.map(|(test, _)| named(test)).collect();
    state.apply(Change::Listed { node, tests: tests_listed }).expect("it runs");
    for (test, verdict) in tests {
        say(state, node, test, *verdict);
    }
    end(state, node, Ending::Done(None));
}

/// A run of the sample whose suite may try each test again twice, to the end
/// of its first try.
fn failed_once(tests: &[(&str, Verdict)]) -> (RunState, u32) {
    let mut pipeline = guestbook();
    for suite in pipeline.suites.values_mut() {
        suite.retries = RETRIES;
    }
    let (mut state, e2e) = until_e2e(&pipeline);
    run_suite(&mut state, e2e, tests);
    (state, e2e)
}

/// A run of the sample in which only the suite in the environment has yet to
/// begin.
fn until_e2e(pipeline: &Pipeline) -> (RunState, u32) {
    let mut state = RunState::new(plan_of(pipeline));
    let e2e = place(&state, "default/e2e");
    for node in (0..e2e).chain([place(&state, "suite/unit")]) {
        if !matches!(state.node(node), Some(NodeState::Ended(_))) {
            begin(&mut state, node);
            end(&mut state, node, Ending::Done(None));
        }
    }
    (state, e2e)
}

#[test]
fn what_failed_is_tried_again_as_often_as_its_suite_says() {
    use Verdict::{Broken, Failed, Flaky, NotRun, Passed};
    let first = [("TestA", Passed), ("TestB", Failed), ("TestB/one", Failed), ("TestC", NotRun)];
    let (state, e2e) = failed_once(&first);
    assert_eq!(state.verdict(), None, "it is not known yet");
    assert_eq!(state.decide(CAPACITY, &[])[0], Decision::Grow(Growth::Retry { suite: e2e }));
    assert_eq!(state.retries(e2e), [named("TestB")]);

    // What each further try says of it, until the end of the run.
    let after = |said: &[Verdict]| {
        let (mut state, _) = failed_once(&first[..3]);
        let mut said = said.iter().copied();
        while let Some(next) = state.decide(CAPACITY, &[]).first().cloned() {
            match next {
                Decision::Start { node, .. }
                    if state.plan().nodes[node as usize].suite().is_some() =>
                {
                    let verdict = said.next().expect("no further try");
                    run_suite(&mut state, node, &[("TestB", verdict)]);
                }
                next => carry_out(&mut state, &next, &[], &Ending::Done(None)),
            }
        }
        assert_eq!(said.next(), None, "all of them were made");
        state.verdict().expect("it is over")
    };
    assert_eq!(after(&[Passed]), Flaky);
    assert_eq!(after(&[Failed, Passed]), Flaky);
    assert_eq!(after(&[Failed, Failed]), Failed);
    // What does not fail is not tried again, and turns nothing.
    assert_eq!(after(&[NotRun]), Failed);
    assert_eq!(after(&[Broken]), Failed);
}

#[test]
fn a_test_with_a_slash_in_its_name_is_no_part_of_one_that_is_tried_again() {
    use Verdict::{Failed, Passed};
    let mut pipeline = guestbook();
    for suite in pipeline.suites.values_mut() {
        let filter = "test(=api)".parse().expect("a filter");
        let retries = Some(RETRIES);
        suite.overrides = vec![Override { filter, isolation: None, test_timeout: None, retries }];
    }
    let mut state = RunState::new(plan_of(&pipeline));
    let mut tries = vec![
        vec![("api", Passed)],
        vec![("api", Failed)],
        vec![("api", Failed), ("api/write", Failed)],
    ];
    while let Some(next) = state.decide(CAPACITY, &[]).first().cloned() {
        match next {
            Decision::Start { node, .. }
                if state.plan().nodes[node as usize].name.starts_with("default/e2e") =>
            {
                let tests = tries.pop().expect("no further try");
                begin(&mut state, node);
                let listed = tests.iter().map(|(test, _)| named(test)).collect();
                state.apply(Change::Listed { node, tests: listed }).expect("it runs");
                for (test, verdict) in tests {
                    say(&mut state, node, test, verdict);
                }
                end(&mut state, node, Ending::Done(None));
            }
            next => carry_out(&mut state, &next, &[], &Ending::Done(None)),
        }
    }
    assert!(tries.is_empty(), "{tries:?}");
    assert_eq!(state.verdict(), Some(Failed), "what may not be tried again failed");
}

#[test]
fn what_is_fresh_boots_as_soon_as_it_is_listed() {
    let mut pipeline = guestbook();
    for suite in pipeline.suites.values_mut() {
        suite.isolation = Isolation::Fresh;
    }
    let (mut state, e2e) = until_e2e(&pipeline);
    begin(&mut state, e2e);
    let listed = ["TestA", "TestB"].map(named).to_vec();
    state.apply(Change::Listed { node: e2e, tests: listed.clone() }).expect("it runs");
    let growth = Growth::Fresh { suite: e2e };
    assert_eq!(state.decide(CAPACITY, &[]), [Decision::Grow(growth)]);
    state.apply(Change::Grown(growth)).expect("it is wanted");
    assert!(state.apply(Change::Grown(growth)).is_err(), "once");
    let two = Capacity { sessions: 2, ..CAPACITY };
    let node = place(&state, "default/e2e/boot#2");
    let start = Decision::Start { node, after: Some(e2e) };
    assert_eq!(state.decide(two, &[]), [start], "what let it start is the listing");
    assert_eq!(state.decide(CAPACITY, &[]), [], "there is no room for it");
    assert_eq!(here(&state.plan().nodes[e2e as usize], &listed), [named("TestA")]);
    // Who keeps environments wants this one, and of its copies those where
    // something failed.
    let [drop, copy] = ["default/e2e/drop", "default/e2e/drop#2"].map(|name| place(&state, name));
    assert!(state.is_worth_keeping(drop) && !state.is_worth_keeping(copy));
    let mut failed = state.clone();
    let suite = place(&failed, "default/e2e#2");
    begin(&mut failed, suite);
    say(&mut failed, suite, "TestB", Verdict::Failed);
    assert!(failed.is_worth_keeping(copy));
    // A component dies: what runs elsewhere already is not run again.
    end(&mut state, e2e, died());
    let boot = place(&state, "default/e2e/boot");
    state.apply(Change::Grown(Growth::Void { boot })).expect("it is void");
    let again = place(&state, "default/e2e#3");
    begin(&mut state, again);
    state.apply(Change::Listed { node: again, tests: listed }).expect("it runs");
    let decisions = state.decide(CAPACITY, &[]);
    assert!(!decisions.iter().any(|next| matches!(next, Decision::Grow(_))), "{decisions:?}");
}

#[test]
fn nothing_is_tried_again_when_it_cannot_help() {
    // A suite that failed otherwise.
    let (mut state, e2e) = died_after(Verdict::Failed);
    assert!(state.retries(e2e).is_empty(), "this suite has no retries");
    // A run that was stopped.
    (state, _) = failed_once(&[("TestA", Verdict::Failed)]);
    state.apply(Change::CancelRequested).expect("always");
    let decisions = state.decide(CAPACITY, &[]);
    assert!(!decisions.iter().any(|next| matches!(next, Decision::Grow(_))), "{decisions:?}");
}

#[test]
fn boots_start_at_once_beside_the_builds() {
    let plan = plan();
    let first = RunState::new(plan.clone()).decide(CAPACITY, &[]);
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
    let mut state = RunState::new(plan);
    let epoch = Epoch(2);
    state.apply(Change::Started { node: 0, attempt: attempt(1), epoch }).expect("it waited");
    let stale = Change::Finished { node: 0, epoch: Epoch(1), ending: Ending::Done(None) };
    let refusal = IllegalChange::Stale { node: 0, current: Epoch(2), stale: Epoch(1) };
    assert_eq!(state.apply(stale), Err(refusal));
    assert_eq!(state.verdict(), None);
}

#[test]
fn a_failed_test_fails_the_run_though_its_suite_was_done() {
    let plan = plan();
    let mut state = RunState::new(plan.clone());
    let suite = (0..).zip(&plan.nodes).find(|(_, node)| node.suite().is_some());
    let (suite, _) = suite.expect("the sample has a suite");
    for place in 0..u32::try_from(plan.nodes.len()).expect("few") {
        begin(&mut state, place);
        if place == suite {
            say(&mut state, suite, "TestA", Verdict::Passed);
            say(&mut state, suite, "TestB", Verdict::Failed);
        }
        end(&mut state, place, Ending::Done(None));
    }
    assert_eq!(state.verdict(), Some(Verdict::Failed));
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
