//! Where each test of one invocation stands. Lets through only what can be
//! true: a test starts once, ends once, and only after it started.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use seatrial_core::failure::Failure;
use seatrial_core::tail::Tail;
use seatrial_protocol::test::{TestEvent, TestOutcome};

/// Bytes of test names that are remembered. A program that invents more is
/// not listened to: what it says of others is taken as plain output.
const NAMES_LIMIT: usize = 32 << 20;

/// How much of the output outside tests is kept for failures.
const PROGRAM_TAIL: usize = 4 << 10;

/// Bytes of output in one event.
const EVENT_TEXT: usize = 64 << 10;

#[derive(Debug)]
pub(crate) struct Board {
    program: String,
    selected: Vec<String>,
    tests: HashMap<String, State>,
    /// Names in the order in which they started.
    started: Vec<String>,
    name_bytes: usize,
    events: Vec<TestEvent>,
    failed: bool,
    ambiguous: Option<Failure>,
    outside: Tail,
    reason: String,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    /// Selected, not yet started.
    Waiting,
    /// Started. `since` is when it last went on, `ran` what it ran before.
    Running {
        since: Duration,
        ran: Duration,
        paused: bool,
    },
    Finished(TestOutcome),
}

impl Board {
    pub(crate) fn new(program: &str, selected: &[String]) -> Self {
        Self {
            program: program.to_owned(),
            selected: selected.to_vec(),
            tests: selected.iter().map(|test| (test.clone(), State::Waiting)).collect(),
            started: Vec::new(),
            name_bytes: 0,
            events: Vec::new(),
            failed: false,
            ambiguous: None,
            outside: Tail::new(PROGRAM_TAIL),
            reason: String::new(),
        }
    }

    /// A test starts: one that was selected, or a subtest of one that runs.
    /// Says whether that can be true.
    pub(crate) fn start(&mut self, at: Duration, test: &str) -> bool {
        match self.tests.get(test) {
            Some(State::Waiting) => {}
            Some(_) => {
                self.is_ambiguous(test, "started twice");
                return false;
            }
            None if self.name_bytes + test.len() > NAMES_LIMIT => return false,
            None if self.has_running_ancestor(test) => {}
            None => return false,
        }
        self.name_bytes += test.len();
        self.started.push(test.to_owned());
        let state = State::Running { since: at, ran: Duration::ZERO, paused: false };
        self.tests.insert(test.to_owned(), state);
        self.events
            .push(TestEvent::Started { program: self.program.clone(), test: test.to_owned() });
        true
    }

    /// A test that only a report names: it starts as it is read.
    pub(crate) fn start_reported(&mut self, test: &str) -> bool {
        if self.tests.contains_key(test) {
            self.is_ambiguous(test, "is in the report twice");
            return false;
        }
        self.tests.insert(test.to_owned(), State::Waiting);
        self.start(Duration::ZERO, test)
    }

    /// A test waits for its turn, which does not count as running.
    pub(crate) fn pause(&mut self, at: Duration, test: &str) -> bool {
        self.set_paused(at, test, true)
    }

    /// A test goes on after a pause.
    pub(crate) fn go_on(&mut self, at: Duration, test: &str) -> bool {
        self.set_paused(at, test, false)
    }

    /// A test ends. `duration` is what its program says, with the precision
    /// of that. Says whether that can be true.
    pub(crate) fn end(
        &mut self,
        at: Duration,
        test: &str,
        outcome: TestOutcome,
        duration: Option<(Duration, Duration)>,
        message: Option<String>,
    ) -> bool {
        let measured = match self.tests.get(test) {
            Some(State::Running { since, ran, paused }) => {
                if *paused {
                    *ran
                } else {
                    *ran + at.saturating_sub(*since)
                }
            }
            Some(State::Finished(before)) => {
                let before = *before;
                self.is_ambiguous(test, &format!("ended twice, {before:?} and {outcome:?}"));
                return false;
            }
            Some(State::Waiting) | None => return false,
        };
        let duration = match duration {
            None => measured,
            // Our clock says more digits, the program's has no delay.
            Some((said, precision)) => {
                measured.clamp(said.saturating_sub(precision), said.saturating_add(precision))
            }
        };
        self.failed |= matches!(outcome, TestOutcome::Failed | TestOutcome::TimedOut);
        self.tests.insert(test.to_owned(), State::Finished(outcome));
        self.events.push(TestEvent::Finished {
            program: self.program.clone(),
            test: test.to_owned(),
            outcome,
            duration_us: u64::try_from(duration.as_micros()).unwrap_or(u64::MAX),
            message,
        });
        true
    }

    /// Something was written, by a test or outside of any.
    pub(crate) fn output(&mut self, test: Option<&str>, text: &str) {
        if test.is_none() {
            self.outside.push(text.as_bytes());
        }
        if let Some(TestEvent::Output { test: last, text: so_far, .. }) = self.events.last_mut()
            && last.as_deref() == test
            && so_far.len() + text.len() <= EVENT_TEXT
        {
            so_far.push_str(text);
            return;
        }
        self.events.push(TestEvent::Output {
            program: self.program.clone(),
            test: test.map(str::to_owned),
            text: text.to_owned(),
        });
    }

    /// The events since the last call.
    pub(crate) fn take_events(&mut self) -> Vec<TestEvent> {
        std::mem::take(&mut self.events)
    }

    pub(crate) fn is_running(&self, test: &str) -> bool {
        matches!(self.tests.get(test), Some(State::Running { .. }))
    }

    pub(crate) fn is_waiting(&self, test: &str) -> bool {
        matches!(self.tests.get(test), Some(State::Waiting))
    }

    pub(crate) fn outcome(&self, test: &str) -> Option<TestOutcome> {
        match self.tests.get(test) {
            Some(State::Finished(outcome)) => Some(*outcome),
            _ => None,
        }
    }

    /// Tests that are running and not paused, in the order they started.
    pub(crate) fn running(&self) -> Vec<String> {
        let runs = |test: &&String| {
            matches!(self.tests.get(*test), Some(State::Running { paused: false, .. }))
        };
        self.started.iter().filter(runs).cloned().collect()
    }

    /// The selected tests that had run for `limit` before all others, if that
    /// was before `at`, and their running subtests.
    pub(crate) fn overdue(&self, limit: Duration, at: Duration) -> Vec<String> {
        let Some(first) = self.first_overdue(limit).filter(|first| *first <= at) else {
            return Vec::new();
        };
        let is_late = |test: &str| self.overdue_at(test, limit) == Some(first);
        let selected: HashSet<&str> =
            self.selected.iter().map(String::as_str).filter(|test| is_late(test)).collect();
        let mut late = self.running();
        late.retain(|t| {
            selected.contains(t.as_str()) || ancestors(t).any(|a| selected.contains(a))
        });
        late
    }

    /// When the first of the selected tests will have run for `limit`.
    pub(crate) fn first_overdue(&self, limit: Duration) -> Option<Duration> {
        self.selected.iter().filter_map(|test| self.overdue_at(test, limit)).min()
    }

    /// Whether a test failed or ran out of time.
    pub(crate) fn any_failed(&self) -> bool {
        self.failed
    }

    /// Whether any test started.
    pub(crate) fn any_started(&self) -> bool {
        !self.started.is_empty()
    }

    /// The program ended before it said how its tests went. Those of `guilty`
    /// get `outcome`; the others that have not ended have not run, because of
    /// `reason`.
    pub(crate) fn cut_off(
        &mut self,
        at: Duration,
        guilty: &[String],
        outcome: TestOutcome,
        message: &str,
        reason: String,
    ) {
        // Subtests before what they are part of, as when all goes well.
        for test in guilty.iter().rev() {
            self.end(at, test, outcome, None, Some(message.to_owned()));
        }
        self.reason = reason;
    }

    /// The program ended normally: what it did not account for has failed.
    pub(crate) fn close(&mut self, at: Duration) {
        for test in self.started.clone().iter().rev() {
            if self.is_running(test) {
                let message = "its program ended normally without saying how this test ended";
                self.end(at, test, TestOutcome::Failed, None, Some(message.to_owned()));
            }
        }
        for test in self.selected.clone() {
            if self.is_waiting(&test) {
                self.start(at, &test);
                let message = "it was selected, and its program ended normally without running it";
                self.end(at, &test, TestOutcome::Failed, None, Some(message.to_owned()));
            }
        }
    }

    /// Selected tests that have no end.
    pub(crate) fn not_run(&self) -> Vec<String> {
        self.selected.iter().filter(|test| self.outcome(test).is_none()).cloned().collect()
    }

    pub(crate) fn take_reason(&mut self) -> String {
        if self.not_run().is_empty() { String::new() } else { std::mem::take(&mut self.reason) }
    }

    pub(crate) fn set_reason(&mut self, reason: String) {
        self.reason = reason;
    }

    pub(crate) fn take_ambiguous(&mut self) -> Option<Failure> {
        self.ambiguous.take()
    }

    /// Records the first finding of two accounts of one test.
    pub(crate) fn is_ambiguous(&mut self, test: &str, what: &str) {
        if self.ambiguous.is_none() {
            let message = format!("`{test}` of `{}` {what}", self.program);
            self.ambiguous = Some(
                Failure::product("report.ambiguous", message)
                    .hint("each test must have a name of its own and one result"),
            );
        }
    }

    /// The end of what was written outside of tests.
    pub(crate) fn outside(&self) -> String {
        self.outside.text()
    }

    fn set_paused(&mut self, at: Duration, test: &str, pause: bool) -> bool {
        let Some(State::Running { since, ran, paused }) = self.tests.get_mut(test) else {
            return false;
        };
        if pause && !*paused {
            *ran += at.saturating_sub(*since);
        }
        *since = at;
        *paused = pause;
        true
    }

    fn overdue_at(&self, test: &str, limit: Duration) -> Option<Duration> {
        match self.tests.get(test) {
            Some(State::Running { since, ran, paused: false }) => {
                Some(since.saturating_add(limit.saturating_sub(*ran)))
            }
            _ => None,
        }
    }

    fn has_running_ancestor(&self, test: &str) -> bool {
        ancestors(test).any(|ancestor| self.is_running(ancestor))
    }
}

/// What a Go subtest may be part of: `A/b` and `A` for `A/b/c`.
fn ancestors(test: &str) -> impl Iterator<Item = &str> {
    test.rmatch_indices('/').map(|(at, _)| &test[..at])
}
