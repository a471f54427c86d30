//! Runs that are driven over a connection to a worker that follows a script.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use proptest::prelude::*;
use seatrial_core::action::{Action, CommandAction, ComponentsIdentity, Input, Platform};
use seatrial_core::digest::Digest;
use seatrial_core::ids::{AttemptId, Epoch};
use seatrial_core::name::Name;
use seatrial_core::pipeline::{Adapter, Command, Isolation, Resources, Suite};
use seatrial_core::plan::{Node, When, Work};
use seatrial_core::run::RunState;
use seatrial_core::stage::{Boot, Install, Stage, SuiteStage};
use seatrial_core::step::Step;
use seatrial_protocol::event::{NodeOutcome, RunEventKind, Usage};
use seatrial_protocol::test::TestOutcome;
use seatrial_protocol::worker::{
    AttemptEvent, FRAME_LIMIT, FromWorker, Offer, Order, ToWorker, decode, encode,
};
use uuid::Uuid;

use super::*;
use crate::{WorkerEnd, fold, link};

mod honest;

/// A build, and an environment in which a suite of it runs.
fn plan() -> Plan {
    let name = |text: &str| text.parse::<Name>().expect("a name");
    let build = CommandAction {
        run: Command::Script("go test -c".into()),
        source: Input::Tree(Digest::of("source")),
        fetched: None,
        env: BTreeMap::new(),
        tools: BTreeSet::new(),
        outputs: Vec::new(),
        caches: BTreeSet::new(),
        network: false,
        timeout: Duration::from_secs(60),
        resources: Resources::default(),
    };
    let suite = Suite {
        build: Some(name("tests")),
        adapter: Adapter::Go,
        files: vec!["*.test".into()],
        run: None,
        args: Vec::new(),
        select: Vec::new(),
        tools: Vec::new(),
        env: BTreeMap::new(),
        environments: vec![name("default")],
        isolation: Isolation::Shared,
        test_timeout: Duration::from_secs(60),
        retries: 1,
        overrides: Vec::new(),
        collect: Vec::new(),
    };
    let suite = SuiteStage { name: name("e2e"), tree: Input::Node(1), suite, only: None, tried: 0 };
    let environment = name("default");
    let boot = Boot { environment: environment.clone(), clusters: Vec::new(), egress: Vec::new() };
    let install = Install {
        images: BTreeMap::new(),
        steps: Vec::new(),
        ready: None,
        timeout: Duration::from_secs(60),
    };
    let stage = |what: &str, needs: &[u32], when, step, stage| Node {
        name: format!("default/{what}"),
        step,
        needs: needs.to_vec(),
        when,
        work: Work::Stage {
            session: (what != "boot").then_some(0),
            environment: Some(environment.clone()),
            stage,
        },
        again: None,
    };
    let (all, any) = (When::AllWell, When::SomethingFailed);
    Plan {
        nodes: vec![
            stage("boot", &[], all, Step::ClusterSetup, Stage::Boot(boot)),
            Node {
                name: "build/tests".to_owned(),
                step: Step::TestCompile,
                needs: Vec::new(),
                when: all,
                work: Work::Action(Action::Command(build)),
                again: None,
            },
            stage("install", &[0], all, Step::TestSetup, Stage::Install(install)),
            stage("e2e", &[1, 2], all, Step::TestExecution, Stage::Suite(Box::new(suite))),
            stage("evidence", &[0, 2, 3], any, Step::PostTest, Stage::Evidence),
            stage("drop", &[0, 2, 3, 4], When::Always, Step::PostTest, Stage::Drop),
        ],
    }
}

/// Whether a node of this name decides nothing.
fn tidies(name: &str) -> bool {
    name.contains("/evidence") || name.contains("/drop")
}

/// A component's death.
fn died() -> NodeOutcome {
    NodeOutcome::Failed { failure: Failure::environment(Failure::COMPONENT_DIED, "etcd ended") }
}

fn hello() -> Hello {
    Hello {
        version: seatrial_protocol::VERSION,
        platform: Platform {
            components: Some(ComponentsIdentity {
                digest: Digest::of("components"),
                versions: BTreeMap::new(),
            }),
            ..Platform::default()
        },
        cores: 2,
        memory: 1 << 30,
        environments: 1,
    }
}

fn done() -> NodeOutcome {
    NodeOutcome::Done { output: Some(Digest::of("output")), hit: false }
}

fn result(offer: &Offer, outcome: NodeOutcome) -> FromWorker {
    let usage = Usage { core_us: 1000, memory_peak: 0 };
    let (attempt, epoch) = (offer.attempt, offer.epoch);
    // As much as ever it can have been: the engine bounds what a worker claims.
    FromWorker::Result { attempt, epoch, outcome, usage, took_us: u64::MAX }
}

fn event(offer: &Offer, event: AttemptEvent) -> FromWorker {
    FromWorker::Event { attempt: offer.attempt, epoch: offer.epoch, seq: 0, event }
}

fn test(offer: &Offer, test: &str, outcome: TestOutcome) -> FromWorker {
    let (program, test) = ("e2e.test".to_owned(), test.to_owned());
    let finished = AttemptEvent::TestFinished {
        program,
        test,
        outcome,
        duration_us: 5,
        message: None,
        output: None,
    };
    event(offer, finished)
}

/// Keeps events, until it fails.
struct Recording {
    events: Vec<RunEvent>,
    fails_at: Option<usize>,
}

impl Recorder for Recording {
    fn record(&mut self, events: &[RunEvent]) -> Result<(), Failure> {
        if self.fails_at.is_some_and(|at| self.events.len() + events.len() > at) {
            return Err(Failure::environment("store.io", "the disk is full"));
        }
        self.events.extend(events.iter().cloned());
        Ok(())
    }

    fn show(&mut self, _: &RunEvent) {}
}

/// What came of a run.
struct Ran {
    verdict: Result<Verdict, String>,
    state: Option<RunState>,
    events: Vec<RunEvent>,
    /// What the worker was told: `offer NODE`, `cancel NODE`.
    told: Vec<String>,
}

fn facts() -> RunFacts {
    RunFacts {
        run: RunId::from_uuid(Uuid::from_u128(1)),
        began: Instant::now(),
        project: "guestbook".to_owned(),
        commit: None,
        dirty: false,
        history: [4.0, 1.0, 2.0, 3.0].map(|expected| (Some(expected), None)).to_vec(),
        keep: false,
    }
}

/// Runs the plan with a worker that answers to each offer with what `answer`
/// gives for it: frames; `None` ends the worker. `cancel_at`: the offer with
/// which somebody wants the run to stop, before it is answered.
fn run(
    mut answer: impl FnMut(&Offer) -> Option<Vec<Vec<u8>>> + Send + 'static,
    cancel_at: Option<&'static str>,
    fails_at: Option<usize>,
) -> Ran {
    let (mut engine, WorkerEnd { mut from_engine, to_engine }) = link();
    let (want_stop, mut cancel) = watch::channel(None);
    let told = Arc::new(Mutex::new(Vec::new()));
    let heard = told.clone();
    let worker = async move {
        let mut offers = BTreeMap::new();
        while let Some(frame) = from_engine.recv().await {
            let (line, frames) = match decode(&frame).expect("the engine is understood") {
                ToWorker::Offer(offer) => {
                    let line = format!("offer {}", offer.node);
                    let stop = cancel_at == Some(offer.node.as_str());
                    if stop {
                        want_stop.send_replace(Some("Ctrl-C".to_owned()));
                    }
                    // What decides is answered when it is told to stop.
                    let frames = match stop && !tidies(&offer.node) {
                        true => Some(Vec::new()),
                        false => answer(&offer),
                    };
                    offers.insert(offer.attempt, offer);
                    (line, frames)
                }
                ToWorker::Cancel { attempt } => {
                    let offer = &offers[&attempt];
                    let stopped = encode(&result(offer, NodeOutcome::Cancelled));
                    (format!("cancel {}", offer.node), Some(vec![stopped]))
                }
                ToWorker::Drain => ("drain".to_owned(), Some(Vec::new())),
            };
            heard.lock().expect("nobody panicked").push(line);
            let Some(frames) = frames else { return };
            for frame in frames {
                let _ = to_engine.send(frame).await;
            }
        }
        drop(want_stop);
    };
    let facts = facts();
    let mut recording = Recording { events: Vec::new(), fails_at };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let ended = runtime.expect("a runtime").block_on(async {
        tokio::spawn(worker);
        let hello = hello();
        let running = Running::new(plan(), &facts, &hello);
        let run = running.drive(&hello, &mut cancel, &mut engine, &mut recording);
        tokio::time::timeout(Duration::from_secs(20), run).await.expect("the run ends")
    });
    let events = recording.events;
    let told = told.lock().expect("nobody panicked").clone();
    match ended {
        Ok((verdict, state)) => Ran { verdict: Ok(verdict), state: Some(state), events, told },
        Err(error) => Ran { verdict: Err(Failure::chain(&error)), state: None, events, told },
    }
}

/// A worker that does everything well, but for what `instead` answers.
fn ran(instead: impl Fn(&Offer) -> Vec<FromWorker> + Send + 'static) -> Ran {
    let answer = move |offer: &Offer| {
        let mut said = instead(offer);
        if said.is_empty() {
            said.push(result(offer, done()));
        }
        Some(said.iter().map(encode).collect())
    };
    run(answer, None, None)
}

/// Events as lines, without times and random numbers.
fn shown(events: &[RunEvent]) -> String {
    let line = |event: &RunEvent| {
        let mut value = serde_json::to_value(event).expect("an event is JSON");
        let fields = value.as_object_mut().expect("an event is an object");
        for random in ["run", "at_us", "started_unix_ms", "attempt", "usage", "ran_us"] {
            fields.remove(random);
        }
        if let Some(nodes) = fields.get_mut("nodes").and_then(|nodes| nodes.as_array_mut()) {
            nodes.iter_mut().for_each(|node| *node = node["name"].take());
        }
        value.to_string().replace(&Digest::of("output").to_string(), "sha256:output")
    };
    events.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// What holds for the events of any run that could be recorded.
fn check(ran: &Ran) -> Result<(), TestCaseError> {
    let kinds: Vec<_> = ran.events.iter().map(|event| &event.kind).collect();
    for (place, event) in (0..).zip(&ran.events) {
        prop_assert_eq!(event.seq, place, "not dense");
    }
    prop_assert!(ran.events.is_sorted_by_key(|event| event.at_us));
    let is_first = matches!(kinds.first(), Some(RunEventKind::RunStarted { .. }));
    prop_assert!(is_first);
    let firsts = kinds.iter().filter(|kind| matches!(kind, RunEventKind::RunStarted { .. }));
    prop_assert_eq!(firsts.count(), 1);
    let verdict = ran.verdict.clone().map_err(TestCaseError::fail)?;
    prop_assert_eq!(kinds.last(), Some(&&RunEventKind::RunFinished { verdict }));
    let lasts = kinds.iter().filter(|kind| matches!(kind, RunEventKind::RunFinished { .. }));
    prop_assert_eq!(lasts.count(), 1);
    let verdicts = kinds.iter().filter_map(|kind| match kind {
        RunEventKind::VerdictReached { verdict, .. } => Some(*verdict),
        _ => None,
    });
    prop_assert_eq!(verdicts.collect::<Vec<_>>(), vec![verdict]);
    let folded = fold(plan(), kinds).map_err(|error| TestCaseError::fail(error.to_string()))?;
    prop_assert!(folded.is_over(), "nodes are left: {:?}", folded);
    prop_assert_eq!(Some(folded), ran.state.clone());
    Ok(())
}

#[test]
fn what_a_passing_run_records() {
    let ran = ran(|offer| match offer.node.as_str() {
        "default/e2e" => vec![
            event(offer, AttemptEvent::Progress { text: "listing".into(), fraction: None }),
            test(offer, "TestA", TestOutcome::Passed),
            result(offer, done()),
        ],
        _ => Vec::new(),
    });
    check(&ran).unwrap();
    insta::assert_snapshot!(shown(&ran.events), @r#"
    {"commit":null,"cores":2,"dirty":false,"event":"run-started","memory":1073741824,"project":"guestbook","seq":0,"version":1}
    {"event":"planned","nodes":["default/boot","build/tests","default/install","default/e2e","default/evidence","default/drop"],"seq":1}
    {"after":null,"epoch":1,"event":"node-started","node":0,"seq":2}
    {"event":"node-keyed","key":"sha256:201fd11747d91116ce27959cc88eaaf65ac48b8f22b7511f482ed5e4ec131ffb","node":0,"record":[["version","2"],["kind","boot"],["platform",""],["components","sha256:7b12be43febc6e18259dd77c004315b4143d570234e0f15acf5f9d7b79c371b5"],["egress","0"],["environment","none"]],"seq":3}
    {"after":null,"epoch":2,"event":"node-started","node":1,"seq":4}
    {"event":"node-keyed","key":"sha256:335825f257fe0f15fd330d211c3aff060005cf687d2f8bc0d6f13f868a290fdc","node":1,"record":[["version","2"],["kind","command"],["platform",""],["base",""],["script","go test -c"],["source","sha256:41cf6794ba4200b839c53531555f0f3998df4cbb01a4d5cb0b94e3ca5e23947d"],["fetched","0"],["env","0"],["outputs","0"],["network","false"]],"seq":5}
    {"epoch":1,"event":"node-finished","node":0,"outcome":{"hit":false,"outcome":"done","output":"sha256:output"},"seq":6}
    {"after":0,"epoch":3,"event":"node-started","node":2,"seq":7}
    {"event":"node-keyed","key":"sha256:84fad03c74926e35ba7b18b70face863c6b1b643e5685b9f6b07d003739e7cd6","node":2,"record":[["version","2"],["kind","install"],["steps","0"],["ready","1"],["ready 1","all that was applied"],["environment","sha256:201fd11747d91116ce27959cc88eaaf65ac48b8f22b7511f482ed5e4ec131ffb"]],"seq":8}
    {"epoch":2,"event":"node-finished","node":1,"outcome":{"hit":false,"outcome":"done","output":"sha256:output"},"seq":9}
    {"epoch":3,"event":"node-finished","node":2,"outcome":{"hit":false,"outcome":"done","output":"sha256:output"},"seq":10}
    {"after":2,"epoch":4,"event":"node-started","node":3,"seq":11}
    {"event":"node-keyed","key":"sha256:6f2281eed32692535eda4b4c5599394dfd17e2406f7ad0c279444023e8895a37","node":3,"record":[["version","2"],["kind","suite"],["platform",""],["base",""],["tests","sha256:output"],["adapter","go"],["files","1"],["files 1","*.test"],["command","the adapter's"],["args","0"],["select","0"],["env","0"],["tools","0"],["collect","0"],["environment","sha256:84fad03c74926e35ba7b18b70face863c6b1b643e5685b9f6b07d003739e7cd6"]],"seq":12}
    {"duration_us":5,"event":"test-finished","message":null,"node":3,"outcome":"passed","output":null,"program":"e2e.test","seq":13,"test":"TestA"}
    {"epoch":4,"event":"node-finished","node":3,"outcome":{"hit":false,"outcome":"done","output":"sha256:output"},"seq":14}
    {"because":3,"event":"node-skipped","node":4,"seq":15}
    {"after":3,"epoch":5,"event":"node-started","node":5,"seq":16}
    {"after":3,"event":"verdict-reached","failures":[],"seq":17,"verdict":"passed"}
    {"epoch":5,"event":"node-finished","node":5,"outcome":{"hit":false,"outcome":"done","output":"sha256:output"},"seq":18}
    {"event":"run-finished","seq":19,"verdict":"passed"}
    "#);
}

#[test]
fn a_failed_test_fails_the_run_and_evidence_is_taken_before_the_drop() {
    let ran = ran(|offer| match offer.node.as_str() {
        "default/e2e" => {
            vec![test(offer, "TestA", TestOutcome::Failed), result(offer, done())]
        }
        _ => Vec::new(),
    });
    check(&ran).unwrap();
    assert_eq!(ran.verdict, Ok(Verdict::Failed));
    assert_eq!(ran.told[ran.told.len() - 2..], ["offer default/evidence", "offer default/drop"]);
}

#[test]
fn what_a_death_voids_is_tried_elsewhere_and_recorded() {
    let ran = ran(|offer| match offer.node.as_str() {
        "default/e2e" => vec![
            test(offer, "TestA", TestOutcome::Passed),
            test(offer, "TestB", TestOutcome::Broken),
            result(offer, died()),
        ],
        "default/e2e#2" => vec![
            test(offer, "TestA", TestOutcome::Passed),
            test(offer, "TestB", TestOutcome::Passed),
            result(offer, done()),
        ],
        _ => Vec::new(),
    });
    check(&ran).unwrap();
    assert_eq!(ran.verdict, Ok(Verdict::Passed));
    // One environment at a time: the second boots when the first is dropped.
    let told: Vec<_> = ran.told.iter().filter_map(|line| line.strip_prefix("offer ")).collect();
    insta::assert_snapshot!(told.join(" > "), @"default/boot > build/tests > default/install > default/e2e > default/evidence > default/drop > default/boot#2 > default/install#2 > default/e2e#2 > default/drop#2");
    let grown = ran.events.iter().find_map(|event| match &event.kind {
        RunEventKind::PlanGrown { boot, nodes } => Some((*boot, nodes)),
        _ => None,
    });
    let (boot, nodes) = grown.expect("it grew");
    let again: Vec<_> = nodes.iter().map(|node| node.again).collect();
    assert_eq!((boot, again.as_slice()), (0, [0, 2, 3, 4, 5].map(Some).as_slice()));
    // It takes as long again, as far as is known.
    let expected: Vec<_> = nodes.iter().map(|node| node.expected_s).collect();
    assert_eq!(expected, [Some(4.0), Some(2.0), Some(3.0), None, None]);
}

#[test]
fn what_failed_is_tried_again_in_another_environment_and_recorded() {
    let listed = |offer: &Offer, tests: &[&str]| {
        let tests = tests.iter().map(|test| ("e2e.test".to_owned(), (*test).to_owned()));
        event(offer, AttemptEvent::TestsSelected { tests: tests.collect(), listed: 3 })
    };
    let ran = ran(move |offer| match offer.node.as_str() {
        "default/e2e" => vec![
            listed(offer, &["TestA", "TestB", "TestC"]),
            test(offer, "TestA", TestOutcome::Passed),
            test(offer, "TestB", TestOutcome::TimedOut),
            test(offer, "TestC", TestOutcome::Failed),
            result(offer, done()),
        ],
        "default/e2e#2" => {
            let Order::Stage { stage, .. } = &offer.order else { panic!("a stage") };
            let Stage::Suite(suite) = &**stage else { panic!("a suite") };
            let only: Vec<_> = suite.only.iter().flatten().map(|(_, test)| test.as_str()).collect();
            assert_eq!((only.as_slice(), suite.tried), (["TestB", "TestC"].as_slice(), 1));
            vec![
                listed(offer, &only),
                test(offer, "TestB", TestOutcome::Passed),
                test(offer, "TestC", TestOutcome::Passed),
                result(offer, done()),
            ]
        }
        _ => Vec::new(),
    });
    check(&ran).unwrap();
    assert_eq!(ran.verdict, Ok(Verdict::Flaky));
    let told: Vec<_> = ran.told.iter().filter_map(|line| line.strip_prefix("offer ")).collect();
    insta::assert_snapshot!(told.join(" > "), @"default/boot > build/tests > default/install > default/e2e > default/evidence > default/drop > default/boot#2 > default/install#2 > default/e2e#2 > default/drop#2");
    let grown = ran.events.iter().find_map(|event| match &event.kind {
        RunEventKind::SuiteGrown { node, tests, nodes, .. } => Some((*node, tests.len(), nodes)),
        _ => None,
    });
    let (node, tests, nodes) = grown.expect("it grew");
    assert_eq!((node, tests), (3, 2));
    // Some of its tests take less than all of them.
    let expected: Vec<_> = nodes.iter().map(|node| node.expected_s).collect();
    assert_eq!(expected, [Some(4.0), Some(2.0), None, None, None]);
}

#[test]
fn a_test_that_breaks_two_environments_failed() {
    let ran = ran(|offer| match offer.node.as_str() {
        "default/e2e" | "default/e2e#2" => {
            vec![test(offer, "TestA", TestOutcome::Broken), result(offer, died())]
        }
        _ => Vec::new(),
    });
    check(&ran).unwrap();
    assert_eq!(ran.verdict, Ok(Verdict::Failed));
    // There is no third try, and both environments were looked into and dropped.
    let of = |what: &str| ran.told.iter().filter(|line| line.contains(what)).count();
    assert_eq!([of("boot"), of("evidence"), of("drop"), of("build")], [2, 2, 2, 1]);
    let failures = ran.events.iter().find_map(|event| match &event.kind {
        RunEventKind::VerdictReached { failures, .. } => Some(failures.len()),
        _ => None,
    });
    assert_eq!(failures, Some(1), "the first death is void");
}

#[test]
fn a_result_of_another_try_decides_nothing() {
    let ran = ran(|offer| {
        let failed =
            || NodeOutcome::Failed { failure: Failure::product("build.failed", "exit code 1") };
        let mut old = offer.clone();
        old.epoch = Epoch(offer.epoch.0 - 1);
        let mut unknown = offer.clone();
        unknown.attempt = AttemptId::from_uuid(Uuid::from_u128(7));
        vec![
            result(&old, failed()),
            test(&old, "TestOld", TestOutcome::Failed),
            result(&unknown, failed()),
            result(offer, done()),
            // It is over: what it says now is of no consequence either.
            result(offer, failed()),
            test(offer, "TestLate", TestOutcome::Failed),
        ]
    });
    check(&ran).unwrap();
    assert_eq!(ran.verdict, Ok(Verdict::Passed));
    assert!(!shown(&ran.events).contains("TestOld"));
    assert!(!shown(&ran.events).contains("TestLate"));
}

#[test]
fn a_worker_that_ends_or_talks_nonsense_breaks_the_run() {
    let too_long = vec![b' '; FRAME_LIMIT + 1];
    let ends = [None, Some(vec![b"{}".to_vec()]), Some(vec![too_long])];
    let mut causes = Vec::new();
    for end in ends {
        let answer = move |offer: &Offer| match offer.node.as_str() {
            "default/install" => end.clone(),
            _ => Some(vec![encode(&result(offer, done()))]),
        };
        let ran = run(answer, None, None);
        check(&ran).unwrap();
        assert_eq!(ran.verdict, Ok(Verdict::Broken));
        causes.extend(ran.events.iter().filter_map(|event| match &event.kind {
            RunEventKind::VerdictReached { failures, .. } => {
                Some(failures.iter().map(|failure| failure.message.clone()).collect::<Vec<_>>())
            }
            _ => None,
        }));
    }
    insta::assert_snapshot!(causes.concat().join("\n"), @r"
    the worker is lost: its process or connection ended
    the worker is lost: a message of the worker protocol cannot be read: missing field `type` at line 1 column 2
    the worker is lost: a message of the worker has 4194305 bytes; at most 4194304 are allowed
    ");
}

#[test]
fn a_cancel_reaches_what_decides_and_environments_are_dropped() {
    let answer = |offer: &Offer| Some(vec![encode(&result(offer, done()))]);
    let ran = run(answer, Some("default/e2e"), None);
    check(&ran).unwrap();
    assert_eq!(ran.verdict, Ok(Verdict::Cancelled));
    assert_eq!(
        ran.told[ran.told.len() - 3..],
        ["offer default/e2e", "cancel default/e2e", "offer default/drop"]
    );
    // Once only what tidies up is left, there is nothing to cancel.
    let late = run(answer, Some("default/drop"), None);
    assert!(!late.told.iter().any(|line| line.starts_with("cancel")), "{:?}", late.told);
}

#[test]
fn what_cannot_be_recorded_is_not_done() {
    for fails_at in 0..12 {
        let answer = |offer: &Offer| Some(vec![encode(&result(offer, done()))]);
        let ran = run(answer, None, Some(fails_at));
        assert_eq!(
            ran.verdict,
            Err("the run cannot be recorded: the disk is full".to_owned()),
            "{fails_at}"
        );
        let started = |event: &&RunEvent| matches!(event.kind, RunEventKind::NodeStarted { .. });
        let recorded = ran.events.iter().filter(started).count();
        assert!(ran.told.len() <= recorded, "{:?} was offered unrecorded", ran.told);
    }
}

/// Something that a worker says of an offer, whether it should or not.
#[derive(Debug, Clone)]
enum Say {
    End(u8),
    Test(u8, u8),
    Tell(u8),
    Stale(u8),
    Unknown(u8),
    Hello,
    Nonsense,
    Nothing,
}

fn says() -> impl Strategy<Value = Say> {
    prop_oneof![
        6 => (0_u8..8).prop_map(Say::End),
        6 => (0_u8..4, 0_u8..9).prop_map(|(test, outcome)| Say::Test(test, outcome)),
        3 => (0_u8..4).prop_map(Say::Tell),
        2 => (0_u8..6).prop_map(Say::Stale),
        2 => (0_u8..6).prop_map(Say::Unknown),
        1 => Just(Say::Hello),
        1 => Just(Say::Nonsense),
        2 => Just(Say::Nothing),
    ]
}

fn outcome(n: u8) -> NodeOutcome {
    match n {
        0 => NodeOutcome::Failed { failure: Failure::product("x", "x") },
        1 => NodeOutcome::Failed { failure: Failure::environment("x", "x") },
        2 => NodeOutcome::Cancelled,
        3 => NodeOutcome::Done { output: None, hit: true },
        4 | 5 => died(),
        _ => done(),
    }
}

fn frame(offer: &Offer, say: &Say) -> Vec<u8> {
    let outcomes = [
        TestOutcome::Passed,
        TestOutcome::Failed,
        TestOutcome::Skipped,
        TestOutcome::Broken,
        TestOutcome::NotRun,
        TestOutcome::Cancelled,
        TestOutcome::TimedOut,
    ];
    let message = match say {
        Say::End(n) => result(offer, outcome(*n)),
        Say::Test(name, outcome) => {
            let outcome = outcomes[usize::from(*outcome) % outcomes.len()];
            test(offer, &format!("Test{name}"), outcome)
        }
        Say::Tell(0) => {
            let (text, fraction) = ("busy".to_owned(), Some((1, 2)));
            event(offer, AttemptEvent::Progress { text, fraction })
        }
        Say::Tell(1) => {
            let (step, name) = (Step::ClusterSetup, "boot".to_owned());
            event(offer, AttemptEvent::Span { step, name, start_us: u64::MAX, end_us: 0 })
        }
        Say::Tell(2) => {
            event(offer, AttemptEvent::TestsSelected { tests: Vec::new(), listed: u32::MAX })
        }
        Say::Tell(_) => event(offer, AttemptEvent::Warning(Failure::config("x", "x"))),
        Say::Stale(n) => {
            let stale = Offer { epoch: Epoch(offer.epoch.0.wrapping_sub(1)), ..offer.clone() };
            result(&stale, outcome(*n))
        }
        Say::Unknown(n) => {
            let attempt = AttemptId::from_uuid(Uuid::from_u128((*n).into()));
            result(&Offer { attempt, ..offer.clone() }, outcome(*n))
        }
        Say::Hello => FromWorker::Hello(hello()),
        Say::Nonsense => return b"[]".to_vec(),
        Say::Nothing => FromWorker::Accept { attempt: offer.attempt, epoch: offer.epoch },
    };
    encode(&message)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn whatever_a_worker_says_a_run_ends_and_its_events_tell_all(
        script in proptest::collection::vec(proptest::collection::vec(says(), 0..5), 10),
        cancel_at in proptest::option::of(0_usize..6),
        dies_at in proptest::option::weighted(0.2, 0_usize..10),
    ) {
        const NODES: [&str; 6] = [
            "default/boot",
            "build/tests",
            "default/install",
            "default/e2e",
            "default/evidence",
            "default/drop",
        ];
        let mut turn = 0;
        let answer = move |offer: &Offer| {
            if dies_at == Some(turn) {
                return None;
            }
            let mut frames: Vec<_> = script[turn % 10].iter().map(|say| frame(offer, say)).collect();
            frames.push(encode(&result(offer, done())));
            turn += 1;
            Some(frames)
        };
        let cancel_at = cancel_at.map(|at| NODES[at]);
        let ran = run(answer, cancel_at, None);
        check(&ran)?;
    }
}
