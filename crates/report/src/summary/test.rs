//! The tests of a run and what is said of each.

use std::collections::HashMap;

use seatrial_core::verdict::Verdict;
use seatrial_protocol::test::TestOutcome;

use super::NodeSummary;
use crate::text;

/// A test, in one environment, with all its tries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestSummary {
    /// The node that ran it, the first one when it was tried again elsewhere.
    pub node: u32,
    /// Its suite; the node's name when that names none.
    pub suite: String,
    /// The environment of its suite's node.
    pub environment: Option<String>,
    /// Its program.
    pub program: String,
    /// Its name; subtests have `/` in it.
    pub name: String,
    /// Whether it is a part of another test of this run.
    pub subtest: bool,
    /// Whether its suite said that it will run.
    pub selected: bool,
    /// When the try that is running began.
    pub running_since_us: Option<u64>,
    /// Its tries that ended, in order.
    pub tries: Vec<Try>,
    /// How many of them there were when the test that it is a part of was tried
    /// again last.
    pub whole_again: Option<usize>,
}

/// One try of a test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Try {
    /// How it ended.
    pub outcome: TestOutcome,
    /// How long it took, in microseconds.
    pub duration_us: u64,
    /// Why it failed, where its program says so.
    pub message: Option<String>,
    /// The end of its output.
    pub output: Option<String>,
}

impl TestSummary {
    /// What is said of it; `None`: it skipped itself. Without a try that ended
    /// it is not-run.
    #[must_use]
    pub fn verdict(&self) -> Option<Verdict> {
        if self.tries.is_empty() {
            return Some(Verdict::NotRun);
        }
        let tries = self.tries.iter().filter_map(|one| one.outcome.verdict());
        let verdict = tries.reduce(Verdict::retried);
        // A part that is not in a later try of its test says nothing against it.
        match self.whole_again {
            Some(tries) if tries == self.tries.len() => verdict.map(|v| v.min(Verdict::Flaky)),
            _ => verdict,
        }
    }

    /// Whether it failed since its environment broke each time that it ran,
    /// and for no other reason.
    #[must_use]
    pub fn breaks_its_environment(&self) -> bool {
        let failed = |one: &Try| one.outcome.verdict() == Some(Verdict::Failed);
        self.verdict() == Some(Verdict::Failed) && !self.tries.iter().any(failed)
    }

    /// Suite and program, such as `e2e/api.test`.
    #[must_use]
    pub fn group(&self) -> String {
        match self.program.as_str() {
            "" => self.suite.clone(),
            program => format!("{}/{program}", self.suite),
        }
    }

    /// How long its tries took together, in microseconds.
    #[must_use]
    pub fn took_us(&self) -> u64 {
        self.tries.iter().fold(0, |sum, one| sum.saturating_add(one.duration_us))
    }
}

/// How many tests have which verdict. Subtests are not counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Passed at the first try.
    pub passed: u32,
    /// Failed and passed.
    pub flaky: u32,
    /// Skipped themselves.
    pub skipped: u32,
    /// Failed.
    pub failed: u32,
    /// Their environment failed.
    pub broken: u32,
    /// Were stopped.
    pub cancelled: u32,
    /// Did not run, or not to an end.
    pub not_run: u32,
}

impl Counts {
    /// Counts the tests of a run.
    #[must_use]
    pub fn of(tests: &[TestSummary]) -> Self {
        let mut counts = Self::default();
        for test in tests.iter().filter(|test| !test.subtest) {
            *match test.verdict() {
                None => &mut counts.skipped,
                Some(Verdict::Passed) => &mut counts.passed,
                Some(Verdict::Flaky) => &mut counts.flaky,
                Some(Verdict::NotRun) => &mut counts.not_run,
                Some(Verdict::Cancelled) => &mut counts.cancelled,
                Some(Verdict::Broken) => &mut counts.broken,
                Some(Verdict::Failed) => &mut counts.failed,
            } += 1;
        }
        counts
    }

    /// All of them.
    #[must_use]
    pub fn total(&self) -> u32 {
        self.ended() + self.not_run
    }

    /// Those that are over.
    #[must_use]
    pub fn ended(&self) -> u32 {
        let Self { passed, flaky, skipped, failed, broken, cancelled, not_run: _ } = self;
        passed + flaky + skipped + failed + broken + cancelled
    }

    /// Those that exist, as words: `43 passed, 1 flaky, 1 failed`; empty when
    /// there are none.
    #[must_use]
    pub fn words(&self) -> String {
        let words = [
            (self.passed, "passed"),
            (self.flaky, "flaky"),
            (self.skipped, "skipped"),
            (self.failed, "failed"),
            (self.broken, "broken"),
            (self.cancelled, "cancelled"),
            (self.not_run, "not-run"),
        ];
        let some: Vec<_> = words
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, word)| format!("{count} {word}"))
            .collect();
        some.join(", ")
    }
}

/// Suite, environment, program, name.
type Identity = (String, Option<String>, String, String);

/// The tests of a run, by place and by identity.
#[derive(Debug, Clone, Default)]
pub(super) struct Tests {
    all: Vec<TestSummary>,
    places: HashMap<Identity, usize>,
}

impl Tests {
    pub(super) fn all(&self) -> &[TestSummary] {
        &self.all
    }

    pub(super) fn get(
        &self,
        nodes: &[NodeSummary],
        node: u32,
        program: &str,
        name: &str,
    ) -> Option<&TestSummary> {
        self.places.get(&identity(nodes, node, program, name)).map(|place| &self.all[*place])
    }

    /// The test, which is new when it was not heard of.
    pub(super) fn entry(
        &mut self,
        nodes: &[NodeSummary],
        node: u32,
        program: &str,
        name: &str,
    ) -> &mut TestSummary {
        let identity = identity(nodes, node, program, name);
        let place = match self.places.get(&identity) {
            Some(place) => *place,
            None => {
                let subtest = self.has_parent(&identity);
                let (suite, environment, program, name) = identity.clone();
                self.all.push(TestSummary {
                    node,
                    suite,
                    environment,
                    program,
                    name,
                    subtest,
                    selected: false,
                    running_since_us: None,
                    tries: Vec::new(),
                    whole_again: None,
                });
                self.places.insert(identity, self.all.len() - 1);
                self.all.len() - 1
            }
        };
        &mut self.all[place]
    }

    /// A test will be tried again, and so will the parts that it still has.
    pub(super) fn try_again(
        &mut self,
        nodes: &[NodeSummary],
        node: u32,
        program: &str,
        name: &str,
    ) {
        let (suite, environment, program, name) = identity(nodes, node, program, name);
        let is_part = |test: &&mut TestSummary| {
            test.subtest
                && test.name.strip_prefix(&name).is_some_and(|rest| rest.starts_with('/'))
                && (&test.suite, &test.environment, &test.program)
                    == (&suite, &environment, &program)
        };
        for part in self.all.iter_mut().filter(is_part) {
            part.whole_again = Some(part.tries.len());
        }
    }

    /// Whether a test exists of which this one is a part. The `/` alone does
    /// not say so: names of Ginkgo and JUnit have it as they like.
    fn has_parent(&self, (suite, environment, program, name): &Identity) -> bool {
        name.match_indices('/').any(|(end, _)| {
            let parent = name[..end].to_owned();
            let parent = (suite.clone(), environment.clone(), program.clone(), parent);
            self.places.contains_key(&parent)
        })
    }
}

fn identity(nodes: &[NodeSummary], node: u32, program: &str, name: &str) -> Identity {
    let plan = nodes.get(node as usize).map(|node| &node.plan);
    let suite = plan.map(|plan| plan.suite.clone().unwrap_or_else(|| plan.name.clone()));
    (
        suite.unwrap_or_else(|| format!("node {node}")),
        plan.and_then(|plan| plan.environment.clone()),
        text::line(program),
        text::line(name),
    )
}
