//! The lines of a run that stay: one per node and test, then the ending.
//! Terminal, log file and replay all show these.

use std::collections::BTreeMap;
use std::io::{self, Write};

use seatrial_core::verdict::Verdict;
use seatrial_protocol::event::{RunEvent, RunEventKind, SuiteGrowth};
use seatrial_protocol::test::TestOutcome;

use crate::colour::Colour;
use crate::ending::{self, FULL_TESTS};
use crate::summary::{NodeState, Summary, TestSummary};
use crate::text;

/// How often a log says how far a node is: seldom enough to read past, often
/// enough that no CI system takes the run for dead.
const PROGRESS_EVERY_US: u64 = 30_000_000;

/// Renders the lines of a run from its events.
#[derive(Debug, Default)]
pub struct Lines {
    colour: Colour,
    summary: Summary,
    shown_in_full: usize,
    /// When a node's progress was last written, where it is at all.
    progress_us: Option<BTreeMap<u32, u64>>,
    wrote_after_verdict: bool,
}

impl Lines {
    /// Lines of a run of which nothing is known yet.
    #[must_use]
    pub fn new(colour: Colour) -> Self {
        Self { colour, ..Self::default() }
    }

    /// Also writes now and then how far a long node is: for a log, where no
    /// live progress stands below the lines.
    #[must_use]
    pub fn with_progress(mut self) -> Self {
        self.progress_us = Some(BTreeMap::new());
        self
    }

    /// The run so far.
    #[must_use]
    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    /// Takes in the next event and writes the lines that it leads to, if any.
    ///
    /// # Errors
    /// When `out` cannot be written.
    pub fn event(&mut self, event: &RunEvent, out: &mut dyn Write) -> io::Result<()> {
        let over = self.summary.reached.is_some();
        self.summary.apply(event);
        match &event.kind {
            RunEventKind::RunStarted { .. } => self.started(out),
            RunEventKind::Planned { nodes } => {
                writeln!(out, "plan  {}", text::count(nodes.len(), "node"))
            }
            RunEventKind::PlanGrown { boot, nodes } => self.grown(*boot, nodes.len(), out),
            RunEventKind::SuiteGrown { node, why, tests, nodes } => {
                let name = self.summary.node_name(*node);
                let (tests, nodes) = (tests.len(), text::count(nodes.len(), "node"));
                let what = match (why, tests) {
                    (SuiteGrowth::Retry, 1) => "is tried again",
                    (SuiteGrowth::Retry, _) => "are tried again",
                    (SuiteGrowth::Fresh, 1) => "gets an environment of its own",
                    (SuiteGrowth::Fresh, _) => "get an environment each",
                    (SuiteGrowth::Unknown, _) => "run on their own",
                };
                writeln!(out, "plan  {name}: {} {what}, {nodes}", text::count(tests, "test"))
            }
            RunEventKind::NodeFinished { node, .. } | RunEventKind::NodeSkipped { node, .. } => {
                self.node(*node, over, out)
            }
            RunEventKind::TestsSelected { node, tests, listed } => {
                let name = self.summary.node_name(*node);
                let all = if tests.len() == *listed as usize {
                    String::new()
                } else {
                    format!(" of {listed}")
                };
                writeln!(out, "plan  {name}: {}{all}", text::count(tests.len(), "test"))
            }
            RunEventKind::TestFinished { node, program, test, .. } => {
                self.test(*node, program, test, out)
            }
            RunEventKind::Warning { .. } => {
                self.wrote_after_verdict |= over;
                let Some((node, warning)) = self.summary.warnings.last() else {
                    return Ok(());
                };
                let name = self.summary.node_name(*node);
                out.write_all(ending::warning_block(&name, warning, self.colour).as_bytes())
            }
            RunEventKind::Evidence { node, .. } if over => {
                self.wrote_after_verdict = true;
                let name = self.summary.node_name(*node);
                let evidence = self.summary.evidence.last().map_or("", |(_, _, text)| text);
                write!(out, "\nevidence  {name}\n{}", text::indented(evidence, "      "))
            }
            RunEventKind::EnvironmentKept { .. } if over => {
                self.wrote_after_verdict = true;
                let name = self.summary.kept.last().map_or("", |(_, name)| name);
                writeln!(out, "kept  environment {name}: see `seatrial env ls`")
            }
            RunEventKind::NodeProgress { node, .. } => self.progress(*node, event.at_us, out),
            RunEventKind::CancelRequested { .. } => {
                let reason = self.summary.cancel.as_deref().unwrap_or_default();
                writeln!(out, "{}  {reason}", self.colour.odd("stop"))
            }
            RunEventKind::VerdictReached { .. } => {
                out.write_all(ending::ending(&self.summary, self.colour).as_bytes())
            }
            RunEventKind::RunFinished { verdict } => self.finished(*verdict, out),
            RunEventKind::NodeStarted { .. }
            | RunEventKind::NodeKeyed { .. }
            | RunEventKind::NodeSpan { .. }
            | RunEventKind::TestStarted { .. }
            | RunEventKind::Evidence { .. }
            | RunEventKind::EnvironmentKept { .. }
            | RunEventKind::Unknown => Ok(()),
        }
    }

    /// There will be no more events: says so when the run had no verdict.
    ///
    /// # Errors
    /// When `out` cannot be written.
    pub fn end(&mut self, out: &mut dyn Write) -> io::Result<()> {
        if self.summary.run.is_none() || self.summary.verdict().is_some() {
            return Ok(());
        }
        out.write_all(ending::ending(&self.summary, self.colour).as_bytes())
    }

    fn started(&self, out: &mut dyn Write) -> io::Result<()> {
        let Some(run) = &self.summary.run else {
            return Ok(());
        };
        let commit = match (&run.commit, run.dirty) {
            (Some(commit), false) => format!(" at {}", short_commit(commit)),
            (Some(commit), true) => format!(" at {} with changes", short_commit(commit)),
            (None, _) => String::new(),
        };
        let cores = text::count(run.cores as usize, "core");
        let memory = match run.memory {
            0 => String::new(),
            bytes => format!(", {}", text::size(bytes)),
        };
        writeln!(out, "run   {} of {}{commit}, {cores}{memory}", run.id.short(), run.project)
    }

    /// Says that a session is tried again, and why.
    fn grown(&self, boot: u32, nodes: usize, out: &mut dyn Write) -> io::Result<()> {
        let boot = self.summary.nodes.get(boot as usize);
        let environment = boot.and_then(|boot| boot.plan.environment.as_deref());
        let environment = environment.unwrap_or("a session");
        let why = self.summary.void().last().map_or("a component died", |(_, failure, _)| {
            failure.message.lines().next().unwrap_or_default()
        });
        let nodes = text::count(nodes, "node");
        writeln!(out, "plan  {environment} is tried again elsewhere, {nodes}: {why}")
    }

    /// A node's line. What goes well after the verdict is of no interest.
    fn node(&mut self, place: u32, over: bool, out: &mut dyn Write) -> io::Result<()> {
        let Some(node) = self.summary.nodes.get(place as usize) else { return Ok(()) };
        let name = &node.plan.name;
        let took = text::duration(node.took_us(self.summary.last_us).unwrap_or(0));
        let word = match &node.state {
            NodeState::Made(_) | NodeState::Hit(_) | NodeState::Cancelled if over => return Ok(()),
            // Evidence of a run that went well is not missed by anybody.
            NodeState::Skipped(_) if over || !node.plan.decides => return Ok(()),
            NodeState::Waiting | NodeState::Running => return Ok(()),
            NodeState::Made(Some(_)) => self.colour.good("made"),
            NodeState::Made(None) => self.colour.good("done"),
            NodeState::Hit(_) => self.colour.good("hit "),
            NodeState::Cancelled => self.colour.odd("stop"),
            NodeState::Skipped(because) => {
                let word = self.colour.odd("skip");
                return writeln!(out, "{word}  {name}  {}", self.summary.because(*because));
            }
            NodeState::Failed(failure) => {
                self.wrote_after_verdict |= over;
                writeln!(out, "{}  {name}  {took}", self.colour.bad("FAIL"))?;
                let message = text::indented(&failure.message, "      ");
                return out.write_all(message.as_bytes());
            }
        };
        let again = match node.attempts {
            0 | 1 => String::new(),
            attempts => format!("  (attempt {attempts})"),
        };
        writeln!(out, "{word}  {name}  {took}{again}")
    }

    fn progress(&mut self, place: u32, at_us: u64, out: &mut dyn Write) -> io::Result<()> {
        let node = self.summary.nodes.get(place as usize);
        let (Some(written), Some(node)) = (&mut self.progress_us, node) else { return Ok(()) };
        let (Some(start), Some(progress)) = (node.start_us, &node.progress) else { return Ok(()) };
        let last = written.get(&place).copied().unwrap_or(start);
        if at_us.saturating_sub(last) < PROGRESS_EVERY_US {
            return Ok(());
        }
        written.insert(place, at_us);
        let took = text::duration(at_us.saturating_sub(start));
        writeln!(out, "...   {}  {took}  {progress}", node.plan.name)
    }

    fn test(
        &mut self,
        node: u32,
        program: &str,
        name: &str,
        out: &mut dyn Write,
    ) -> io::Result<()> {
        let Some(test) = self.summary.test(node, program, name) else {
            return Ok(());
        };
        let Some(last) = test.tries.last() else {
            return Ok(());
        };
        let verdict = last.outcome.verdict();
        let bad = matches!(verdict, Some(Verdict::Failed | Verdict::Broken));
        if test.subtest && !bad {
            return Ok(());
        }
        let word = self.colour.verdict(verdict, word(last.outcome));
        let (name, took) =
            (ending::test_name(test, &self.summary), text::duration(last.duration_us));
        writeln!(out, "{word}  {name}  {took}{}", retry(test))?;
        if !bad || self.shown_in_full >= FULL_TESTS {
            return Ok(());
        }
        let said = [&last.message, &last.output].into_iter().flatten();
        for block in said {
            out.write_all(text::indented(block, "      ").as_bytes())?;
        }
        self.shown_in_full += 1;
        Ok(())
    }

    fn finished(&self, verdict: Verdict, out: &mut dyn Write) -> io::Result<()> {
        match &self.summary.reached {
            // The verdict is the last line, whatever came after it.
            Some(reached) if reached.verdict == verdict => match self.wrote_after_verdict {
                true => writeln!(out, "\n{}", ending::verdict_line(&self.summary, self.colour)),
                false => Ok(()),
            },
            Some(reached) => {
                let (was, is) = (reached.verdict.word(), verdict.word());
                writeln!(out, "what came after the verdict made it {is}, it was {was}")?;
                writeln!(out, "{}", ending::verdict_line(&self.summary, self.colour))
            }
            None => out.write_all(ending::ending(&self.summary, self.colour).as_bytes()),
        }
    }
}

/// Twelve digits of a commit, enough to find it.
pub(crate) fn short_commit(commit: &str) -> &str {
    commit.char_indices().nth(12).map_or(commit, |(end, _)| &commit[..end])
}

fn word(outcome: TestOutcome) -> &'static str {
    match outcome {
        TestOutcome::Passed => "PASS",
        TestOutcome::Failed => "FAIL",
        TestOutcome::Flaky => "FLAKY",
        TestOutcome::Skipped => "SKIP",
        TestOutcome::NotRun => "NOT-RUN",
        TestOutcome::TimedOut => "TIMEOUT",
        TestOutcome::Broken => "BROKEN",
        TestOutcome::Cancelled => "STOP",
    }
}

fn retry(test: &TestSummary) -> String {
    match (test.tries.len(), test.verdict()) {
        (0 | 1, _) => String::new(),
        (tries, Some(Verdict::Flaky)) => format!("  (try {tries}, flaky)"),
        (tries, _) => format!("  (try {tries})"),
    }
}

#[cfg(test)]
mod tests;
