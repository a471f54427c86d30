//! Reads a Go test program whose tests are Ginkgo specs, started with
//! `--ginkgo.v --ginkgo.no-color --ginkgo.json-report`.
//!
//! What its console shows is read live (`reporters/default_reporter.go` in
//! github.com/onsi/ginkgo/v2): a line of 30 dashes, the spec's text, its
//! output, and `• [0.123 seconds]`. Nothing there is framed, so a test could
//! print it. The JSON report, written at the end, decides: where it disagrees
//! the run fails, and without it nothing counts as a pass of the whole.

use std::collections::HashSet;
use std::time::Duration;

use seatrial_core::failure::Failure;
use seatrial_protocol::test::TestOutcome;

use crate::ginkgo_report::GinkgoReport;
use crate::lines::Lines;
use crate::list::focused;
use crate::program_failure::contradiction;
use crate::reader::board::Board;
use crate::reader::end::{cut_short, nobody_failed, not_started, stopped};
use crate::{Exit, Invocation};

const DELIMITER: &str = "------------------------------";

/// `types.GINKGO_FOCUS_EXIT_CODE`.
const FOCUS_EXIT_CODE: i32 = 197;

/// Bytes of a failure's text that become the message.
const MESSAGE_LIMIT: usize = 4 << 10;

/// Ginkgo prints seconds with three digits: half of the last one.
const PRECISION: Duration = Duration::from_micros(500);

#[derive(Debug)]
pub(crate) struct GinkgoReader {
    lines: Lines,
    state: State,
}

#[derive(Debug)]
struct State {
    names: HashSet<String>,
    /// The line before was a delimiter.
    delimited: bool,
    /// The spec that is running, or has ended and is still being explained.
    current: Option<String>,
    ending: Option<End>,
}

/// A spec has ended; what follows, up to a delimiter, says why.
#[derive(Debug)]
struct End {
    outcome: TestOutcome,
    duration: Duration,
    message: String,
}

impl GinkgoReader {
    pub(crate) fn new(tests: &[String]) -> Self {
        let names = tests.iter().cloned().collect();
        let state = State { names, delimited: false, current: None, ending: None };
        Self { lines: Lines::new(None), state }
    }

    pub(crate) fn push(&mut self, board: &mut Board, at: Duration, bytes: &[u8]) {
        let state = &mut self.state;
        self.lines.push(bytes, |line| state.line(board, at, line));
    }

    pub(crate) fn finish(
        &mut self,
        board: &mut Board,
        invocation: &Invocation,
        at: Duration,
        exit: &Exit,
        report: Option<&[u8]>,
    ) -> Option<Failure> {
        let state = &mut self.state;
        self.lines.finish(|line| state.line(board, at, line));
        state.end(board, at);
        match (exit, report) {
            (Exit::NotStarted(_), _) => Some(not_started(board, invocation, exit)),
            (Exit::Stopped(outcome), _) => stopped(board, invocation, at, *outcome),
            (Exit::Code(_) | Exit::Signal(_), None) => {
                cut_short(board, at, exit);
                nobody_failed(board, invocation, exit)
            }
            (Exit::Code(_) | Exit::Signal(_), Some(report)) => {
                match GinkgoReport::parse(&invocation.program.name, report) {
                    Ok(report) => reconcile(board, invocation, &state.names, at, exit, &report),
                    Err(failure) => {
                        board.set_reason("its report cannot be read".to_owned());
                        Some(failure)
                    }
                }
            }
        }
    }
}

/// Takes over what the report says and holds it against what was shown, and
/// against the exit code.
fn reconcile(
    board: &mut Board,
    invocation: &Invocation,
    selected: &HashSet<String>,
    at: Duration,
    exit: &Exit,
    report: &GinkgoReport,
) -> Option<Failure> {
    let program = &invocation.program.name;
    let mut reported = HashSet::new();
    let mut setup = None;
    let mut differs = None;
    for spec in &report.specs {
        if !spec.is_test() {
            if spec.failed() {
                let why = spec.message().unwrap_or_default();
                let node = format!("[{}] {}", spec.leaf_node_type, spec.name());
                let message = format!("{} of `{program}` failed", node.trim_end());
                setup.get_or_insert(Failure::product("suite.setup_failed", message).detail(why));
            }
            continue;
        }
        let name = spec.name();
        let Some(outcome) = spec.outcome().filter(|_| selected.contains(&name)) else {
            continue;
        };
        if !reported.insert(name.clone()) {
            board.is_ambiguous(&name, "is in the report twice");
            continue;
        }
        match board.outcome(&name) {
            Some(shown) if shown == outcome => continue,
            Some(shown) => {
                differs.get_or_insert(format!(
                    "`{name}` was shown as {shown:?} and reported as {outcome:?}"
                ));
                continue;
            }
            None if board.is_waiting(&name) => {
                board.start(at, &name);
            }
            None => {}
        }
        let duration = Duration::from_micros(spec.duration_us());
        board.end(at, &name, outcome, Some((duration, Duration::ZERO)), spec.message());
    }
    if let Some(test) =
        invocation.tests.iter().find(|t| board.outcome(t).is_some() && !reported.contains(*t))
    {
        differs.get_or_insert(format!("`{test}` was shown to end and is not in the report"));
    }
    let skipped = report.reasons.iter().any(|reason| reason.starts_with("Suite skipped in"));
    if skipped {
        for test in board.not_run() {
            board.start(at, &test);
            board.end(
                at,
                &test,
                TestOutcome::Skipped,
                None,
                Some("the suite skipped itself".to_owned()),
            );
        }
    }
    let orderly = report.succeeded && setup.is_none() && report.reasons.is_empty();
    if orderly {
        board.close(at);
    } else {
        let mut reason = "its suite ended before it".to_owned();
        if let Some(why) = setup.as_ref().map(|s| &s.message).or(report.reasons.first()) {
            reason = format!("{reason}: {why}");
        }
        board.set_reason(reason);
    }
    let passed = *exit == Exit::Code(0);
    if let Some(differs) = differs {
        Some(contradiction(invocation, &differs, board.outside()))
    } else if setup.is_some() {
        setup
    } else if report.focused && *exit == Exit::Code(FOCUS_EXIT_CODE) {
        Some(focused(invocation))
    } else if report.succeeded != passed {
        let said = if report.succeeded { "succeeded" } else { "failed" };
        let what = format!("its report says that it {said}, its end does not ({exit})");
        Some(contradiction(invocation, &what, board.outside()))
    } else if passed && board.any_failed() {
        let what = "a spec failed, and its report and exit code say that none did";
        Some(contradiction(invocation, what, board.outside()))
    } else if !passed && !board.any_failed() {
        let why = match report.reasons.as_slice() {
            [] => "no selected spec did".to_owned(),
            reasons => reasons.join("; "),
        };
        let message = format!("`{program}` failed: {why} ({exit})");
        Some(Failure::product("suite.failed", message).detail(board.outside()))
    } else {
        None
    }
}

impl State {
    fn line(&mut self, board: &mut Board, at: Duration, line: &str) {
        let text = line.trim_end_matches(['\n', '\r']);
        let delimited = std::mem::replace(&mut self.delimited, text == DELIMITER);
        if self.delimited {
            self.end(board, at);
            return;
        }
        if delimited
            && self.current.is_none()
            && let Some(name) = self.spec(text)
            && board.is_waiting(&name)
        {
            board.start(at, &name);
            self.current = Some(name);
            return;
        }
        if self.current.is_some()
            && self.ending.is_none()
            && let Some((outcome, duration)) = parse_end(text)
        {
            self.ending = Some(End { outcome, duration, message: String::new() });
            // Nothing explains a pass, so it need not wait.
            if outcome == TestOutcome::Passed {
                self.end(board, at);
            }
            return;
        }
        // Specs that are filtered out are one letter each, thousands of them.
        if self.current.is_none()
            && !text.is_empty()
            && text.bytes().all(|b| matches!(b, b'S' | b'P'))
        {
            return;
        }
        if let Some(ending) = &mut self.ending
            && ending.message.len() + line.len() <= MESSAGE_LIMIT
        {
            ending.message.push_str(line);
        }
        board.output(self.current.as_deref(), line);
    }

    fn end(&mut self, board: &mut Board, at: Duration) {
        let (Some(ending), Some(test)) = (self.ending.take(), &self.current) else {
            return;
        };
        // The explanation begins with the spec's text and place, and goes on
        // indented: `  [FAILED] Expected`.
        let message = match ending.message.split_once("\n\n") {
            Some((_, why)) => why.trim(),
            None => ending.message.trim(),
        };
        let message = (!message.is_empty()).then(|| message.to_owned());
        board.end(at, test, ending.outcome, Some((ending.duration, PRECISION)), message);
        self.current = None;
    }

    /// The selected spec that a line names, labels after it or not.
    fn spec(&self, line: &str) -> Option<String> {
        if let Some(name) = self.names.get(line) {
            return Some(name.clone());
        }
        let mut end = line.strip_suffix(']').map(|_| line.len())?;
        while let Some(at) = line[..end].rfind(" [") {
            if let Some(name) = self.names.get(&line[..at]) {
                return Some(name.clone());
            }
            end = at;
        }
        None
    }
}

/// The line that says how a spec ended: `• [FAILED] [0.123 seconds]`.
fn parse_end(line: &str) -> Option<(TestOutcome, Duration)> {
    let (denoter, rest) = line.split_once(" [")?;
    let (state, seconds) = match rest.strip_suffix(" seconds]")?.split_once("] [") {
        Some((state, seconds)) => (state, seconds),
        None => ("", rest.strip_suffix(" seconds]")?),
    };
    let duration = Duration::try_from_secs_f64(seconds.parse().ok()?).ok()?;
    let outcome = match (denoter, state) {
        ("•", "") => TestOutcome::Passed,
        ("↺", state) if state.starts_with("FLAKEY TEST") => TestOutcome::Flaky,
        ("S", "SKIPPED") => TestOutcome::Skipped,
        ("•", "TIMEDOUT") => TestOutcome::TimedOut,
        ("•", state) if state.starts_with(|c: char| c.is_ascii_uppercase()) => {
            TestOutcome::Failed
        }
        _ => return None,
    };
    Some((outcome, duration))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_that_end_a_spec() {
        let ms = Duration::from_millis;
        assert_eq!(parse_end("• [1.234 seconds]"), Some((TestOutcome::Passed, ms(1234))));
        assert_eq!(parse_end("• [FAILED] [0.002 seconds]"), Some((TestOutcome::Failed, ms(2))));
        assert_eq!(parse_end("• [PANICKED!] [0.002 seconds]"), Some((TestOutcome::Failed, ms(2))));
        assert_eq!(parse_end("• [TIMEDOUT] [0.002 seconds]"), Some((TestOutcome::TimedOut, ms(2))));
        assert_eq!(parse_end("S [SKIPPED] [0.000 seconds]"), Some((TestOutcome::Skipped, ms(0))));
        assert_eq!(
            parse_end("↺ [FLAKEY TEST - TOOK 2 ATTEMPTS TO PASS] [0.100 seconds]"),
            Some((TestOutcome::Flaky, ms(100)))
        );
        for other in [
            "",
            "•",
            "• [seconds]",
            "• [x seconds]",
            "x [1.0 seconds]",
            "• [-1 seconds]",
            "[BeforeSuite] [FAILED] [0.1 seconds]",
        ] {
            assert_eq!(parse_end(other), None, "{other}");
        }
    }

    #[test]
    fn labels_after_a_name() {
        let reader = GinkgoReader::new(&["a [x] b".to_owned(), "a".to_owned()]);
        let spec = |line| reader.state.spec(line);
        assert_eq!(spec("a [x] b").as_deref(), Some("a [x] b"));
        assert_eq!(spec("a [x] b [label, other]").as_deref(), Some("a [x] b"));
        assert_eq!(spec("a [sig-apps] [Conformance]").as_deref(), Some("a"));
        assert_eq!(spec("a b"), None);
        assert_eq!(spec("]"), None);
    }
}
