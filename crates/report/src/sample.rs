//! Recorded runs for the tests of this crate: what the engine would write.

use seatrial_core::digest::Digest;
use seatrial_core::failure::Failure;
use seatrial_core::ids::{AttemptId, Epoch, RunId};
use seatrial_core::step::Step;
use seatrial_core::verdict::Verdict;
use seatrial_protocol::event::{
    NodeOutcome, PlannedNode, RunEvent, RunEventKind, SuiteGrowth, Usage,
};
use seatrial_protocol::test::TestOutcome;

const SERVER: u32 = 0;
const TESTS: u32 = 1;
const IMAGE: u32 = 2;
const BOOT: u32 = 3;
const INSTALL: u32 = 4;
const SUITE: u32 = 5;
const EVIDENCE: u32 = 6;
const DROP: u32 = 7;
/// How far the other try of a node of a session stands behind it.
const AGAIN: u32 = 5;

/// Writes down events; times are in milliseconds.
struct Recorder {
    run: RunId,
    /// The node whose tests are told of.
    suite: u32,
    events: Vec<RunEvent>,
}

impl Recorder {
    /// A run whose plan was made after 400 ms.
    fn new() -> Self {
        let run = "0193d0c8-1111-7000-8000-0000c0ffee01".parse().expect("a UUID");
        let mut recorder = Self { run, suite: SUITE, events: Vec::new() };
        recorder.at(
            0,
            RunEventKind::RunStarted {
                version: seatrial_protocol::VERSION,
                project: "guestbook".to_owned(),
                commit: Some("8c1d2e3f4a5b6c7d8e9f".to_owned()),
                dirty: true,
                started_unix_ms: 1_798_106_400_000,
                cores: 2,
                memory: 4 << 30,
            },
        );
        recorder.at(400, RunEventKind::Planned { nodes: plan() });
        recorder
    }

    fn at(&mut self, ms: u64, kind: RunEventKind) {
        let seq = self.events.len() as u64;
        self.events.push(RunEvent { run: self.run, seq, at_us: ms * 1000, kind });
    }

    fn start(&mut self, ms: u64, node: u32, after: Option<u32>) {
        self.at(ms, RunEventKind::NodeStarted { node, attempt: attempt(), epoch: Epoch(1), after });
    }

    fn finish(&mut self, ms: u64, node: u32, outcome: NodeOutcome, core_ms: u64) {
        let usage = Usage { core_us: core_ms * 1000, memory_peak: 64 << 20 };
        let (attempt, epoch) = (attempt(), Epoch(1));
        self.at(
            ms,
            RunEventKind::NodeFinished { node, attempt, epoch, outcome, usage, ran_us: None },
        );
    }

    fn select(&mut self, ms: u64, names: &[&str]) {
        let tests: Vec<_> = names.iter().map(|name| ("api.test".into(), (*name).into())).collect();
        let listed = u32::try_from(tests.len()).expect("few") + 1;
        self.at(ms, RunEventKind::TestsSelected { node: self.suite, tests, listed });
    }

    fn begin(&mut self, ms: u64, name: &str) {
        let (program, test) = ("api.test".to_owned(), name.to_owned());
        self.at(ms, RunEventKind::TestStarted { node: self.suite, program, test });
    }

    fn test(&mut self, ms: u64, name: &str, outcome: TestOutcome, took_ms: u64, output: &str) {
        self.at(
            ms,
            RunEventKind::TestFinished {
                node: self.suite,
                program: "api.test".to_owned(),
                test: name.to_owned(),
                outcome,
                duration_us: took_ms * 1000,
                message: None,
                output: (!output.is_empty()).then(|| output.to_owned()),
            },
        );
    }

    fn verdict(&mut self, ms: u64, verdict: Verdict, failures: Vec<Failure>, after: Option<u32>) {
        self.at(ms, RunEventKind::VerdictReached { verdict, failures, after });
    }

    fn over(mut self, ms: u64, verdict: Verdict) -> Vec<RunEvent> {
        self.at(ms, RunEventKind::RunFinished { verdict });
        self.events
    }

    /// Builds, boot and install, until the suite may start at 14.25 s.
    fn until_suite(&mut self) {
        self.start(401, SERVER, None);
        self.start(402, BOOT, None);
        self.at(900, progress(SERVER, "compile", Some((40, 100))));
        self.finish(4_600, BOOT, done(), 4_600);
        self.start(4_601, TESTS, Some(BOOT));
        self.finish(9_000, SERVER, made("server"), 11_000);
        self.start(9_001, IMAGE, Some(SERVER));
        self.finish(9_200, IMAGE, made("image"), 150);
        self.start(9_202, INSTALL, Some(IMAGE));
        self.at(
            12_000,
            RunEventKind::NodeSpan {
                node: INSTALL,
                step: Step::ImagePull,
                name: "pull guestbook".to_owned(),
                start_us: 9_400_000,
                end_us: 9_700_000,
            },
        );
        self.finish(12_000, TESTS, made("tests"), 6_000);
        self.finish(14_240, INSTALL, done(), 2_000);
        self.start(14_250, SUITE, Some(INSTALL));
    }

    fn drop_environment(&mut self, ms: u64) {
        self.start(ms, DROP, Some(SUITE));
        self.finish(ms + 90, DROP, done(), 40);
    }
}

pub(crate) fn passed() -> Vec<RunEvent> {
    let mut r = Recorder::new();
    r.until_suite();
    r.select(14_300, &["TestScale", "TestConfig", "TestProbe"]);
    r.begin(14_300, "TestScale");
    r.test(15_500, "TestScale/up", TestOutcome::Passed, 800, "");
    r.test(15_501, "TestScale", TestOutcome::Passed, 1_200, "");
    r.test(15_800, "TestConfig", TestOutcome::Passed, 299, "");
    r.test(15_810, "TestProbe", TestOutcome::Skipped, 10, "needs two nodes");
    r.finish(15_820, SUITE, done(), 400);
    r.verdict(15_822, Verdict::Passed, vec![], Some(SUITE));
    r.drop_environment(15_823);
    r.over(15_914, Verdict::Passed)
}

pub(crate) fn failed() -> Vec<RunEvent> {
    let mut r = Recorder::new();
    r.until_suite();
    r.select(14_300, &["TestDNS", "TestConfig", "TestScale", "TestProbe"]);
    r.begin(14_300, "TestDNS");
    r.test(14_500, "TestDNS", TestOutcome::Passed, 200, "");
    r.begin(14_501, "TestConfig");
    r.begin(14_502, "TestScale");
    r.test(
        15_200,
        "TestConfig",
        TestOutcome::Failed,
        699,
        "config_test.go:12: \x1b[31mwant\x1b[0m 2\n\tgot 1\n",
    );
    r.test(16_500, "TestScale/down", TestOutcome::Failed, 900, "scale_test.go:40: still 3 pods");
    r.test(16_500, "TestScale", TestOutcome::Failed, 1_998, "");
    r.test(21_600, "TestProbe", TestOutcome::TimedOut, 5_000, "");
    r.finish(21_610, SUITE, done(), 900);
    r.verdict(21_612, Verdict::Failed, vec![], Some(SUITE));
    r.start(21_613, EVIDENCE, Some(SUITE));
    r.at(
        22_000,
        RunEventKind::Evidence {
            node: EVIDENCE,
            tree: Digest::of("evidence"),
            summary: "pod guestbook-0: CrashLoopBackOff\npanic: no config".to_owned(),
        },
    );
    r.finish(22_010, EVIDENCE, made("evidence"), 100);
    r.drop_environment(22_011);
    r.over(22_110, Verdict::Failed)
}

pub(crate) fn flaky() -> Vec<RunEvent> {
    let mut r = Recorder::new();
    r.until_suite();
    r.select(14_300, &["TestScale"]);
    r.test(15_000, "TestScale", TestOutcome::Failed, 700, "scale_test.go:40: still 3 pods");
    r.test(16_000, "TestScale", TestOutcome::Passed, 900, "");
    r.finish(16_001, SUITE, done(), 400);
    r.verdict(16_002, Verdict::Flaky, vec![], Some(SUITE));
    r.over(16_100, Verdict::Flaky)
}

/// A run whose `TestScale` failed in its part `down`, and passed without that
/// part in another environment.
pub(crate) fn retried() -> Vec<RunEvent> {
    let mut r = Recorder::new();
    r.until_suite();
    r.select(14_300, &["TestConfig", "TestScale"]);
    r.test(14_600, "TestConfig", TestOutcome::Passed, 299, "");
    r.begin(14_601, "TestScale");
    r.test(15_000, "TestScale/down", TestOutcome::Failed, 300, "scale_test.go:40: still 3 pods");
    r.test(15_000, "TestScale", TestOutcome::Failed, 399, "");
    r.finish(15_001, SUITE, done(), 400);
    let tests = vec![("api.test".to_owned(), "TestScale".to_owned())];
    let (why, mut nodes) = (SuiteGrowth::Retry, session_again());
    nodes[0].needs.push(SUITE);
    r.at(15_002, RunEventKind::SuiteGrown { node: SUITE, why, tests, nodes });
    r.start(15_003, DROP, Some(SUITE));
    r.finish(15_100, DROP, done(), 40);
    r.start(15_101, BOOT + AGAIN, Some(DROP));
    r.finish(19_200, BOOT + AGAIN, done(), 4_500);
    r.start(19_201, INSTALL + AGAIN, Some(BOOT + AGAIN));
    r.finish(23_200, INSTALL + AGAIN, done(), 1_900);
    r.start(23_201, SUITE + AGAIN, Some(INSTALL + AGAIN));
    r.suite = SUITE + AGAIN;
    r.select(23_250, &["TestScale"]);
    r.test(24_450, "TestScale", TestOutcome::Passed, 1_199, "");
    r.finish(24_460, SUITE + AGAIN, done(), 300);
    r.verdict(24_462, Verdict::Flaky, vec![], Some(SUITE + AGAIN));
    r.over(24_600, Verdict::Flaky)
}

pub(crate) fn build_failure() -> Vec<RunEvent> {
    let mut r = Recorder::new();
    let failure = Failure::product("build.failed", "`go build` ended with exit code 1")
        .detail("# example.com/guestbook\n./main.go:7:2: undefined: serve")
        .hint("the whole output: `seatrial logs c0ffee01 build/server`");
    r.start(401, SERVER, None);
    r.start(402, BOOT, None);
    r.finish(2_300, SERVER, NodeOutcome::Failed { failure: failure.clone() }, 2_000);
    r.at(2_301, RunEventKind::NodeSkipped { node: IMAGE, because: Some(SERVER) });
    r.at(2_301, RunEventKind::NodeSkipped { node: INSTALL, because: Some(IMAGE) });
    r.at(2_301, RunEventKind::NodeSkipped { node: SUITE, because: Some(INSTALL) });
    r.verdict(2_302, Verdict::Failed, vec![failure], Some(SERVER));
    r.finish(2_400, BOOT, NodeOutcome::Cancelled, 1_900);
    r.over(2_500, Verdict::Failed)
}

pub(crate) fn broken() -> Vec<RunEvent> {
    let mut r = Recorder::new();
    let failure = Failure::environment(
        Failure::COMPONENT_DIED,
        "kube-apiserver of default ended with exit code 1",
    )
    .detail("error: bind: address already in use")
    .hint("run `seatrial doctor`");
    r.start(402, BOOT, None);
    r.finish(1_400, BOOT, NodeOutcome::Failed { failure }, 900);
    r.at(1_401, RunEventKind::NodeSkipped { node: INSTALL, because: Some(BOOT) });
    r.at(1_401, RunEventKind::NodeSkipped { node: SUITE, because: Some(INSTALL) });
    r.verdict(1_402, Verdict::Broken, vec![], Some(BOOT));
    r.over(1_500, Verdict::Broken)
}

/// A run in whose environment a component died while `TestScale` ran; `second`
/// tells what its suite came to in the other one.
fn died(second: impl FnOnce(&mut Recorder)) -> Recorder {
    let mut r = Recorder::new();
    r.until_suite();
    r.select(14_300, &["TestConfig", "TestScale"]);
    r.begin(14_300, "TestConfig");
    r.test(14_600, "TestConfig", TestOutcome::Passed, 299, "");
    r.begin(14_601, "TestScale");
    r.test(15_500, "TestScale", TestOutcome::Broken, 899, "scaling up");
    r.finish(15_502, SUITE, NodeOutcome::Failed { failure: death() }, 300);
    r.at(15_503, RunEventKind::PlanGrown { boot: BOOT, nodes: session_again() });
    r.start(15_504, EVIDENCE, Some(SUITE));
    r.finish(15_800, EVIDENCE, made("evidence"), 100);
    r.start(15_801, DROP, Some(EVIDENCE));
    r.finish(15_890, DROP, done(), 40);
    r.start(15_891, BOOT + AGAIN, Some(DROP));
    r.finish(20_000, BOOT + AGAIN, done(), 4_500);
    r.start(20_001, INSTALL + AGAIN, Some(BOOT + AGAIN));
    r.finish(24_000, INSTALL + AGAIN, done(), 1_900);
    r.start(24_001, SUITE + AGAIN, Some(INSTALL + AGAIN));
    r.suite = SUITE + AGAIN;
    r.select(24_050, &["TestConfig", "TestScale"]);
    r.begin(24_050, "TestConfig");
    r.test(24_350, "TestConfig", TestOutcome::Passed, 299, "");
    r.begin(24_351, "TestScale");
    second(&mut r);
    r
}

/// The nodes of the environment's session, to be done again.
fn session_again() -> Vec<PlannedNode> {
    let again = |first: u32| {
        let node = plan().swap_remove(first as usize);
        let needs = node.needs.iter().map(|need| if *need < BOOT { *need } else { need + AGAIN });
        let name = format!("{}#2", node.name);
        PlannedNode { name, needs: needs.collect(), again: Some(first), ..node }
    };
    [BOOT, INSTALL, SUITE, EVIDENCE, DROP].map(again).to_vec()
}

fn death() -> Failure {
    Failure::environment(Failure::COMPONENT_DIED, "etcd of node c0n0 ended by itself (signal 9)")
        .detail("raft: became leader")
}

pub(crate) fn tried_elsewhere() -> Vec<RunEvent> {
    let mut r = died(|r| {
        r.test(25_550, "TestScale", TestOutcome::Passed, 1_199, "");
        r.finish(25_560, SUITE + AGAIN, done(), 400);
    });
    r.verdict(25_562, Verdict::Passed, vec![], Some(SUITE + AGAIN));
    r.over(25_700, Verdict::Passed)
}

pub(crate) fn breaks_its_environment() -> Vec<RunEvent> {
    let mut r = died(|r| {
        r.test(25_250, "TestScale", TestOutcome::Broken, 899, "scaling up");
        r.finish(25_252, SUITE + AGAIN, NodeOutcome::Failed { failure: death() }, 400);
    });
    r.verdict(25_254, Verdict::Failed, vec![death()], Some(SUITE + AGAIN));
    r.over(25_700, Verdict::Failed)
}

pub(crate) fn cancelled() -> Vec<RunEvent> {
    let mut r = Recorder::new();
    r.until_suite();
    r.select(14_300, &["TestScale", "TestConfig"]);
    r.begin(14_300, "TestScale");
    r.at(14_900, RunEventKind::CancelRequested { reason: "Ctrl-C".to_owned() });
    r.test(14_950, "TestScale", TestOutcome::Cancelled, 650, "");
    r.finish(14_960, SUITE, NodeOutcome::Cancelled, 100);
    r.verdict(14_961, Verdict::Cancelled, vec![], None);
    r.drop_environment(14_962);
    r.over(15_060, Verdict::Cancelled)
}

pub(crate) fn nothing_changed() -> Vec<RunEvent> {
    let mut r = Recorder::new();
    r.start(401, SERVER, None);
    r.start(401, TESTS, None);
    r.finish(403, SERVER, hit("server"), 1);
    r.start(403, IMAGE, Some(SERVER));
    r.finish(404, TESTS, hit("tests"), 1);
    r.finish(405, IMAGE, hit("image"), 1);
    r.verdict(406, Verdict::Passed, vec![], Some(IMAGE));
    r.over(406, Verdict::Passed)
}

/// A run whose machine lost power while its suite ran.
pub(crate) fn cut() -> Vec<RunEvent> {
    let mut events = passed();
    let begun = |event: &RunEvent| matches!(event.kind, RunEventKind::TestStarted { .. });
    let end = events.iter().position(begun).expect("a test began");
    events.truncate(end + 2);
    events
}

/// Puts a text wherever the repository or a test may put one.
pub(crate) fn poison(events: &mut [RunEvent], text: &str) {
    for event in events {
        match &mut event.kind {
            RunEventKind::RunStarted { project, commit, .. } => {
                project.push_str(text);
                *commit = Some(text.to_owned());
            }
            RunEventKind::NodeProgress { text: progress, .. } => progress.push_str(text),
            RunEventKind::NodeSpan { name, .. } => name.push_str(text),
            RunEventKind::TestFinished { message, output, test, .. } => {
                test.push_str(text);
                *message = Some(text.to_owned());
                *output = Some(text.to_owned());
            }
            RunEventKind::TestStarted { test, .. } => test.push_str(text),
            RunEventKind::TestsSelected { tests, .. } => {
                tests.iter_mut().for_each(|(_, test)| test.push_str(text));
            }
            RunEventKind::Evidence { summary, .. } => summary.push_str(text),
            RunEventKind::CancelRequested { reason } => reason.push_str(text),
            RunEventKind::NodeFinished { outcome: NodeOutcome::Failed { failure }, .. } => {
                failure.message.push_str(text);
                failure.detail.push_str(text);
                failure.hints.push(text.to_owned());
            }
            _ => {}
        }
    }
}

fn plan() -> Vec<PlannedNode> {
    let node = |name: &str, step, needs: &[u32]| PlannedNode {
        name: name.to_owned(),
        step,
        needs: needs.to_vec(),
        suite: None,
        environment: name.strip_prefix("default/").map(|_| "default".to_owned()),
        decides: step != Step::PostTest,
        poolable: step == Step::ClusterSetup,
        expected_s: None,
        fastest_s: None,
        again: None,
    };
    let server = node("build/server", Step::ImageBuild, &[]);
    let suite = node("default/e2e", Step::TestExecution, &[TESTS, INSTALL]);
    vec![
        PlannedNode { fastest_s: Some(7.5), ..server },
        node("build/e2e-tests", Step::TestCompile, &[]),
        node("image/guestbook", Step::ImageBuild, &[SERVER]),
        node("default/boot", Step::ClusterSetup, &[]),
        node("default/install", Step::TestSetup, &[IMAGE, BOOT]),
        PlannedNode { suite: Some("e2e".to_owned()), ..suite },
        node("default/evidence", Step::PostTest, &[SUITE]),
        node("default/drop", Step::PostTest, &[EVIDENCE]),
    ]
}

fn attempt() -> AttemptId {
    "0193d0c8-2222-7000-8000-000000000002".parse().expect("a UUID")
}

fn progress(node: u32, text: &str, fraction: Option<(u64, u64)>) -> RunEventKind {
    RunEventKind::NodeProgress { node, text: text.to_owned(), fraction }
}

fn made(what: &str) -> NodeOutcome {
    NodeOutcome::Done { output: Some(Digest::of(what)), hit: false }
}

fn hit(what: &str) -> NodeOutcome {
    NodeOutcome::Done { output: Some(Digest::of(what)), hit: true }
}

fn done() -> NodeOutcome {
    NodeOutcome::Done { output: None, hit: false }
}
