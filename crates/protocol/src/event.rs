//! Run events: all that a run did, in order. The state of a run is a fold of
//! its events, and every report is made from them alone, live or later.

use seatrial_core::digest::Digest;
use seatrial_core::failure::Failure;
use seatrial_core::ids::{AttemptId, Epoch, RunId, SessionId};
use seatrial_core::key::Record;
use seatrial_core::step::Step;
use seatrial_core::verdict::Verdict;
use serde::{Deserialize, Serialize};

use crate::test::TestOutcome;

/// One event of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunEvent {
    /// The run.
    pub run: RunId,
    /// Its place: 0, 1, 2, ... without a gap.
    pub seq: u64,
    /// Microseconds since the run began, by a clock that never goes back.
    pub at_us: u64,
    /// What happened.
    #[serde(flatten)]
    pub kind: RunEventKind,
}

/// What happened in a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "event")]
pub enum RunEventKind {
    /// The run began. Always the first event.
    RunStarted {
        /// The version of the protocol.
        version: u32,
        /// What the project calls itself: the name of its directory.
        project: String,
        /// The commit it is at, when there is one.
        commit: Option<String>,
        /// Whether files differ from the commit.
        dirty: bool,
        /// Milliseconds since 1970 when it began.
        started_unix_ms: u64,
        /// Cores that the run may use.
        cores: u32,
        /// Bytes of memory that the run may use.
        memory: u64,
    },
    /// The files of the project are known and the plan is made.
    Planned {
        /// Its nodes; others refer to them by their place here.
        nodes: Vec<PlannedNode>,
    },
    /// A component of an environment died: the session there is void, and the
    /// plan got nodes that try it elsewhere.
    PlanGrown {
        /// The place of the node that began the session that is void.
        boot: u32,
        /// What the plan got, at the places that follow those it had.
        nodes: Vec<PlannedNode>,
    },
    /// Some tests of a suite are tried again, or get an environment each: the
    /// plan got nodes that run them.
    SuiteGrown {
        /// The place of the suite's node.
        node: u32,
        /// Why.
        why: SuiteGrowth,
        /// Program and name of the tests.
        tests: Vec<(String, String)>,
        /// What the plan got, at the places that follow those it had.
        nodes: Vec<PlannedNode>,
    },
    /// A node began on a worker.
    NodeStarted {
        /// The node's place in the plan.
        node: u32,
        /// This try.
        attempt: AttemptId,
        /// Which try it is, for fencing.
        epoch: Epoch,
        /// The node whose end made this one start: the last of those that it
        /// needs, or the one that held what it had to wait for. `None`: it
        /// could start at once.
        after: Option<u32>,
    },
    /// What the key of an action is made of, or of a stage that makes something
    /// of an environment, so that later it can be told what changed.
    NodeKeyed {
        /// The node's place in the plan.
        node: u32,
        /// The key.
        key: Digest,
        /// What it is made of, long values by their digests.
        record: Record,
    },
    /// A node says how far it is. Shown live, of no consequence.
    NodeProgress {
        /// The node's place in the plan.
        node: u32,
        /// What it is doing: a few words.
        text: String,
        /// How much is done and how much there is, where that is known.
        fraction: Option<(u64, u64)>,
    },
    /// A part of a node's time that has a name of its own.
    NodeSpan {
        /// The node's place in the plan.
        node: u32,
        /// The row it counts for in the sum of spans.
        step: Step,
        /// What was done.
        name: String,
        /// Microseconds since the run began.
        start_us: u64,
        /// Microseconds since the run began.
        end_us: u64,
    },
    /// A node ended.
    NodeFinished {
        /// The node's place in the plan.
        node: u32,
        /// Which try.
        attempt: AttemptId,
        /// Which try it is, for fencing.
        epoch: Epoch,
        /// How.
        outcome: NodeOutcome,
        /// What it used.
        usage: Usage,
        /// From when until when a worker had it, in microseconds since the run
        /// began. What lies before and after is the engine's own time: until
        /// the start was recorded, and until the end was heard. `None`: not
        /// known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ran_us: Option<(u64, u64)>,
    },
    /// A node will not run, since one that it needs did not end well.
    NodeSkipped {
        /// The node's place in the plan.
        node: u32,
        /// The node that is the reason; `None`: the run was cancelled.
        because: Option<u32>,
    },
    /// A suite listed its tests: those that are selected.
    TestsSelected {
        /// The node's place in the plan.
        node: u32,
        /// Program and name of each, top-level tests only.
        tests: Vec<(String, String)>,
        /// How many it listed in all.
        listed: u32,
    },
    /// A test began.
    TestStarted {
        /// The suite's node.
        node: u32,
        /// Its program.
        program: String,
        /// Its name; subtests have `/` in it.
        test: String,
    },
    /// A test ended.
    TestFinished {
        /// The suite's node.
        node: u32,
        /// Its program.
        program: String,
        /// Its name; subtests have `/` in it.
        test: String,
        /// How.
        outcome: TestOutcome,
        /// How long it took, in microseconds.
        duration_us: u64,
        /// Why it failed, where its program says so.
        message: Option<String>,
        /// The end of its output, when it did not pass; at most 16 KiB.
        output: Option<String>,
    },
    /// Something that a person should know, though nothing failed.
    Warning {
        /// The node's place in the plan.
        node: u32,
        /// What.
        failure: Failure,
    },
    /// What was collected when something failed, kept with the run.
    Evidence {
        /// The node's place in the plan.
        node: u32,
        /// The tree of files.
        tree: Digest,
        /// The lines of it that a person reads first.
        summary: String,
    },
    /// An environment stays after the run.
    EnvironmentKept {
        /// Its session.
        session: SessionId,
        /// Its name in the pipeline.
        environment: String,
    },
    /// Somebody wants the run to stop.
    CancelRequested {
        /// Why.
        reason: String,
    },
    /// The verdict is known. What follows it is off the path.
    VerdictReached {
        /// The verdict.
        verdict: Verdict,
        /// What ended the run, when it was not a test.
        failures: Vec<Failure>,
        /// The node whose end decided it.
        after: Option<u32>,
    },
    /// Everything of the run is over. Always the last event.
    RunFinished {
        /// The verdict. It differs from the one reached only when ending the
        /// run showed that a verdict of passed was wrong.
        verdict: Verdict,
    },
    /// An event of a newer version, read back. Readers pass over it; nobody
    /// writes it.
    #[serde(other)]
    Unknown,
}

/// A node of the plan, as reports need it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlannedNode {
    /// Its name: `build/server`, `default/boot`, `default/e2e`.
    pub name: String,
    /// The row it counts for.
    pub step: Step,
    /// Places of the nodes that it needs.
    pub needs: Vec<u32>,
    /// The suite that it runs, when it runs one.
    pub suite: Option<String>,
    /// The environment that it belongs to, when it belongs to one.
    pub environment: Option<String>,
    /// Whether the verdict waits for it.
    pub decides: bool,
    /// Whether a pool could have done it ahead of time.
    pub poolable: bool,
    /// Expected seconds, by history.
    pub expected_s: Option<f64>,
    /// Fastest recorded seconds.
    pub fastest_s: Option<f64>,
    /// The place of the node that this one is a copy of, as another try or in
    /// another environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub again: Option<u32>,
}

/// Why the plan got nodes for tests of a suite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SuiteGrowth {
    /// They failed, and may be tried again.
    Retry,
    /// Each gets an environment of its own.
    Fresh,
    /// A reason of a newer version.
    #[serde(other)]
    Unknown,
}

/// How a node ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "outcome")]
pub enum NodeOutcome {
    /// It did what it should. (A suite with failed tests did, too.)
    Done {
        /// What it made.
        output: Option<Digest>,
        /// Whether it was there already.
        hit: bool,
    },
    /// It failed.
    Failed {
        /// Why.
        failure: Failure,
    },
    /// It was stopped.
    Cancelled,
}

/// What something used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Usage {
    /// Microseconds of CPU time, of all cores together.
    pub core_us: u64,
    /// Bytes of memory at most, where known.
    pub memory_peak: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_of_a_newer_version_is_passed_over() {
        let line = r#"{"run":"0193d0c8-0000-7000-8000-000000000001","seq":3,"at_us":7,
            "event":"moon-rose","phase":{"full":true},"names":["x"]}"#;
        let event: RunEvent = serde_json::from_str(line).expect("only the kind is new");
        assert_eq!((event.seq, event.at_us, event.kind), (3, 7, RunEventKind::Unknown));
    }

    #[test]
    fn a_reason_of_a_newer_version_is_one_that_is_not_known() {
        let line = r#"{"run":"0193d0c8-0000-7000-8000-000000000001","seq":3,"at_us":7,
            "event":"suite-grown","node":1,"why":"full-moon","tests":[["p","TestA"]],"nodes":[]}"#;
        let event: RunEvent = serde_json::from_str(line).expect("only the reason is new");
        let tests = vec![("p".to_owned(), "TestA".to_owned())];
        let (why, nodes) = (SuiteGrowth::Unknown, Vec::new());
        assert_eq!(event.kind, RunEventKind::SuiteGrown { node: 1, why, tests, nodes });
    }

    #[test]
    fn a_field_of_a_newer_version_is_passed_over() {
        let line = r#"{"run":"0193d0c8-0000-7000-8000-000000000001","seq":4,"at_us":7,
            "event":"cancel-requested","reason":"Ctrl-C","by":"somebody"}"#;
        let event: RunEvent = serde_json::from_str(line).expect("only a field is new");
        assert_eq!(event.kind, RunEventKind::CancelRequested { reason: "Ctrl-C".to_owned() });
    }
}
