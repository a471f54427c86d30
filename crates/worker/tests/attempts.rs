//! Attempts as an engine sees them: suites apart from any environment, and
//! builds. These tests need root and a Linux with control groups, and say so
//! by failing without.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;
use std::time::Duration;

use seatrial_core::action::{Action, CommandAction};
use seatrial_core::digest::Digest;
use seatrial_core::failure::{Failure, Fault};
use seatrial_core::ids::{AttemptId, Epoch, RunId};
use seatrial_core::pipeline::{Adapter, Command, Isolation, Resources, Suite};
use seatrial_core::stage::{Stage, SuiteStage};
use seatrial_protocol::event::NodeOutcome;
use seatrial_protocol::test::TestOutcome;
use seatrial_protocol::worker::{AttemptEvent, FromWorker, Offer, Order, ToWorker, decode, encode};
use seatrial_store::log::LogKey;
use seatrial_store::{Scope, Store, TreeLimits};
use seatrial_worker::{Connection, Held, Machine, Settings, Tools, serve};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use uuid::Uuid;

/// The one attempt that there is.
fn attempt() -> AttemptId {
    AttemptId::from_uuid(Uuid::from_u128(1))
}

/// A worker, and the engine's end of the connection with it.
struct Case {
    state: tempfile::TempDir,
    store: Arc<Store>,
    to_worker: mpsc::UnboundedSender<Vec<u8>>,
    from_worker: mpsc::Receiver<Vec<u8>>,
    worker: JoinHandle<Vec<Arc<Held>>>,
    events: Vec<AttemptEvent>,
}

impl Case {
    fn new() -> Self {
        let state = tempfile::tempdir().expect("a directory");
        let store = Arc::new(Store::open(state.path()).expect("a store"));
        let machine = Machine::new(Settings {
            store: store.clone(),
            registries: seatrial_oci::Registries::default(),
            components: None,
            tools: Tools::default(),
            exe: env!("CARGO_BIN_EXE_worker-entry").into(),
            environments: 1,
            scope: Scope::Trusted,
        });
        let machine = Arc::new(machine.expect("this test runs as root"));
        let (to_worker, from_engine) = mpsc::unbounded_channel();
        let (to_engine, from_worker) = mpsc::channel(64);
        let worker = tokio::spawn(serve(machine, Connection { from_engine, to_engine }));
        Self { state, store, to_worker, from_worker, worker, events: Vec::new() }
    }

    /// A tree of these files, all executable.
    fn tree(&self, files: &[(&str, &str, u32)]) -> Digest {
        let staging = self.store.staging().expect("a directory");
        let root = staging.path().join("tree");
        std::fs::create_dir(&root).expect("made");
        for (name, content, mode) in files {
            std::fs::write(root.join(name), content).expect("written");
            let mode = std::fs::Permissions::from_mode(*mode);
            std::fs::set_permissions(root.join(name), mode).expect("set");
        }
        self.store.put_tree(&root, TreeLimits::default()).expect("stored").digest
    }

    fn offer(&self, order: Order) {
        let run = RunId::from_uuid(Uuid::from_u128(2));
        let node = "suite/smoke".to_owned();
        let offer = Offer { run, node, attempt: attempt(), epoch: Epoch(1), order };
        self.to_worker.send(encode(&ToWorker::Offer(Box::new(offer)))).expect("it is there");
    }

    fn offer_suite(&self, tree: Digest, suite: Suite) {
        let name = "smoke".parse().expect("a name");
        let stage = Stage::Suite(Box::new(SuiteStage { name, tree, suite, only: None, tried: 0 }));
        self.offer(Order::Stage { session: None, stage: Box::new(stage), keep: false });
    }

    fn cancel(&self) {
        let cancel = ToWorker::Cancel { attempt: attempt() };
        self.to_worker.send(encode(&cancel)).expect("it is there");
    }

    /// Listens until the attempt is over.
    async fn outcome(&mut self) -> NodeOutcome {
        self.until(|_| false).await.expect("it is over")
    }

    /// Listens until something happened, or the attempt is over.
    async fn until(&mut self, happened: impl Fn(&AttemptEvent) -> bool) -> Option<NodeOutcome> {
        loop {
            let frame = timeout(Duration::from_secs(120), self.from_worker.recv()).await;
            let frame = frame.unwrap_or_else(|_| panic!("silence after {:?}", self.events));
            match decode(&frame.expect("the worker is there")).expect("a message") {
                FromWorker::Result { outcome, .. } => return Some(outcome),
                FromWorker::Event { event, .. } => {
                    let this = happened(&event);
                    self.events.push(event);
                    if this {
                        return None;
                    }
                }
                FromWorker::Hello(_) | FromWorker::Accept { .. } => {}
            }
        }
    }

    /// What was said of tests: name, outcome, output.
    fn tests(&self) -> Vec<(&str, TestOutcome, &str)> {
        let finished = self.events.iter().filter_map(|event| match event {
            AttemptEvent::TestFinished { test, outcome, output, .. } => {
                Some((test.as_str(), *outcome, output.as_deref().unwrap_or_default()))
            }
            _ => None,
        });
        finished.collect()
    }

    /// Ends the worker, which leaves nothing behind.
    async fn end(self) {
        drop((self.to_worker, self.from_worker));
        let kept = timeout(Duration::from_secs(10), self.worker).await.expect("it ends");
        assert_eq!(kept.expect("it did not panic").len(), 0);
        self.state.close().expect("nothing holds the directory");
    }
}

fn suite(script: &str) -> Suite {
    Suite {
        build: None,
        adapter: Adapter::Exec,
        files: Vec::new(),
        run: Some(Command::Script(script.to_owned())),
        args: Vec::new(),
        select: Vec::new(),
        tools: Vec::new(),
        env: BTreeMap::new(),
        environments: Vec::new(),
        isolation: Isolation::Shared,
        test_timeout: Duration::from_secs(30),
        retries: 0,
        overrides: Vec::new(),
        collect: Vec::new(),
    }
}

fn failure(outcome: NodeOutcome) -> Failure {
    match outcome {
        NodeOutcome::Failed { failure } => failure,
        other => panic!("{other:?} is no failure"),
    }
}

fn build(run: Command, source: Digest) -> Order {
    let action = Action::Command(CommandAction {
        run,
        source,
        fetched: None,
        env: BTreeMap::new(),
        tools: BTreeSet::new(),
        outputs: Vec::new(),
        caches: BTreeSet::new(),
        network: false,
        timeout: Duration::from_secs(30),
        resources: Resources::default(),
    });
    Order::Action { key: Digest::of("key"), action: Box::new(action) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_file_is_no_test_program() {
    let mut case = Case::new();
    let tree = case.tree(&[("README.test", "Read me.\n", 0o644)]);
    let go =
        Suite { adapter: Adapter::Go, files: vec!["*.test".to_owned()], run: None, ..suite("") };
    case.offer_suite(tree, go);
    let failure = failure(case.outcome().await);
    assert_eq!(
        (failure.fault, failure.code.as_str()),
        (Fault::Product, "suite.not_a_test_program")
    );
    assert_eq!(
        failure.message,
        "`README.test` could not be started: Permission denied (os error 13)"
    );
    case.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_text_file_that_is_executable_is_not_given_to_a_shell() {
    for adapter in [Adapter::Go, Adapter::Exec] {
        let mut case = Case::new();
        let tree = case.tree(&[("notes.test", "exit 0\n", 0o755)]);
        let suite = Suite { adapter, files: vec!["*.test".to_owned()], run: None, ..suite("") };
        case.offer_suite(tree, suite);
        let failure = failure(case.outcome().await);
        assert_eq!(failure.code, "suite.not_a_test_program");
        let expected = "`notes.test` is not a program (Exec format error (os error 8))";
        assert_eq!(failure.message, expected);
        case.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_much_output_both_ends_are_kept() {
    let mut case = Case::new();
    let tree = case.tree(&[]);
    // Lines of 100 bytes.
    let script = "echo begins; (yes $(printf 'x%.0s' {1..99}) || true) | head -c 70000000; \
                  echo why it failed; exit 3";
    case.offer_suite(tree, suite(script));
    case.outcome().await;
    let tests = case.tests();
    assert_eq!(tests[0].1, TestOutcome::Failed);
    assert!(tests[0].2.ends_with("why it failed\n"), "what comes late is read");
    let run = RunId::from_uuid(Uuid::from_u128(2));
    let stream = "output".parse().expect("a name");
    let key = LogKey { run, attempt: attempt(), stream: &stream };
    let log = std::fs::read_to_string(case.store.log_path(key)).expect("a log");
    assert!(log.len() < 65 << 20, "{} bytes", log.len());
    assert!(log.starts_with("begins\n") && log.ends_with("\nwhy it failed\n"));
    // What is missing is told, to the byte.
    let (begin, rest) = log.split_once('[').expect("a place where something is missing");
    let (missing, end) = rest.split_once(" bytes before this are not kept]\n").expect("how much");
    let missing: usize = missing.parse().expect("a number");
    let all = 70_000_000 + "begins\nwhy it failed\n".len();
    assert_eq!(begin.trim_end().len() + missing + end.len(), all);
    case.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_run_where_no_command_is_given() {
    let mut case = Case::new();
    let tree = case.tree(&[("check.sh", "#!/bin/sh\necho seen; exit 3\n", 0o755)]);
    case.offer_suite(tree, Suite { run: None, files: vec!["*.sh".to_owned()], ..suite("") });
    case.outcome().await;
    assert_eq!(case.tests(), [("check.sh", TestOutcome::Failed, "seen\n")]);
    case.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_out_of_time_is_asked_before_it_is_ended() {
    let mut case = Case::new();
    let tree = case.tree(&[]);
    let script = "trap 'echo where it was; exit 0' TERM; sleep 1000 & wait";
    let test_timeout = Duration::from_millis(300);
    case.offer_suite(tree, Suite { test_timeout, ..suite(script) });
    case.outcome().await;
    assert_eq!(case.tests(), [("smoke", TestOutcome::TimedOut, "where it was\n")]);
    case.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_failing_test_leaves_is_kept() {
    let mut case = Case::new();
    let tree = case.tree(&[]);
    let collect = vec!["$ARTIFACTS/*.txt".to_owned()];
    let script = "echo hello > $ARTIFACTS/page.txt; echo x > $ARTIFACTS/other; false";
    case.offer_suite(tree, Suite { collect: collect.clone(), ..suite(script) });
    case.outcome().await;
    let kept = case.events.iter().find_map(|event| match event {
        AttemptEvent::Evidence { tree, summary } => Some((*tree, summary.clone())),
        _ => None,
    });
    let (tree, summary) = kept.expect("evidence");
    assert_eq!(summary, "kept of $ARTIFACTS: smoke/1/page.txt");
    let page = case.store.tree_path(tree).join("smoke/1/page.txt");
    assert_eq!(std::fs::read_to_string(page).expect("it is kept"), "hello\n");

    // A test that passes leaves nothing.
    case.events.clear();
    let tree = case.tree(&[]);
    case.offer_suite(tree, Suite { collect, ..suite("echo hello > $ARTIFACTS/page.txt") });
    case.outcome().await;
    assert_eq!(case.tests(), [("smoke", TestOutcome::Passed, "")]);
    assert!(!case.events.iter().any(|event| matches!(event, AttemptEvent::Evidence { .. })));
    case.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_that_is_cancelled_did_not_fail() {
    let mut case = Case::new();
    let tree = case.tree(&[]);
    case.offer_suite(tree, suite("echo begun; sleep 1000"));
    let begun = |event: &AttemptEvent| matches!(event, AttemptEvent::TestStarted { .. });
    assert_eq!(case.until(begun).await, None);
    case.cancel();
    let outcome = case.outcome().await;
    assert!(!matches!(outcome, NodeOutcome::Failed { .. }), "{outcome:?}");
    let outcomes: Vec<_> = case.tests().iter().map(|(_, outcome, _)| *outcome).collect();
    assert_eq!(outcomes, [TestOutcome::Cancelled]);
    case.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_that_waits_for_another_run_can_be_cancelled() {
    let mut case = Case::new();
    let tree = case.tree(&[]);
    let other = case.store.turn(Digest::of("key"), Scope::Trusted).expect("the lock");
    case.offer(build(Command::Script("true".to_owned()), tree));
    let waits = |event: &AttemptEvent| matches!(event, AttemptEvent::Progress { .. });
    assert_eq!(case.until(waits).await, None);
    case.cancel();
    assert_eq!(case.outcome().await, NodeOutcome::Cancelled);
    drop(other);
    case.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_whose_program_is_not_there_is_the_pipelines_mistake() {
    let mut case = Case::new();
    let tree = case.tree(&[]);
    case.offer(build(Command::Argv(vec!["protoc".to_owned()]), tree));
    let failure = failure(case.outcome().await);
    assert_eq!((failure.fault, failure.code.as_str()), (Fault::Config, "command.not_started"));
    assert_eq!(failure.message, "cannot start protoc: No such file or directory (os error 2)");
    case.end().await;
}
