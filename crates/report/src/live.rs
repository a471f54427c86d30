//! What is going on right now, below the lines that stay: a line per running
//! node, and one for the tests.

use std::collections::BTreeMap;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use seatrial_protocol::event::{RunEvent, RunEventKind};

use crate::summary::{NodeState, Summary};
use crate::text;

/// How often clocks and spinners move by themselves.
const TICK: Duration = Duration::from_millis(100);

/// Most lines of running nodes; more would push the lines that stay away.
const MOST: usize = 12;

/// Most names of running tests in their line.
const RUNNING_TESTS: usize = 3;

/// Live progress. Cleared when dropped.
pub(crate) struct Live {
    bars: MultiProgress,
    nodes: BTreeMap<u32, ProgressBar>,
    tests: Option<ProgressBar>,
}

impl Live {
    pub(crate) fn stderr() -> Self {
        Self::on(ProgressDrawTarget::stderr())
    }

    fn on(target: ProgressDrawTarget) -> Self {
        let bars = MultiProgress::with_draw_target(target);
        Self { bars, nodes: BTreeMap::new(), tests: None }
    }

    /// Takes the progress away, does something with the terminal, and puts it
    /// back.
    pub(crate) fn suspend<T>(&self, action: impl FnOnce() -> T) -> T {
        self.bars.suspend(action)
    }

    /// Shows what an event, which the summary has in it, changed.
    pub(crate) fn event(&mut self, event: &RunEvent, summary: &Summary) {
        match &event.kind {
            RunEventKind::NodeStarted { node, .. }
            | RunEventKind::NodeProgress { node, .. }
            | RunEventKind::NodeFinished { node, .. } => self.node(*node, summary),
            RunEventKind::TestsSelected { .. }
            | RunEventKind::TestStarted { .. }
            | RunEventKind::TestFinished { .. } => self.tests(summary),
            RunEventKind::VerdictReached { .. } => remove(&self.bars, self.tests.take()),
            RunEventKind::RunFinished { .. } => self.clear(),
            RunEventKind::RunStarted { .. }
            | RunEventKind::Planned { .. }
            | RunEventKind::PlanGrown { .. }
            | RunEventKind::SuiteGrown { .. }
            | RunEventKind::NodeKeyed { .. }
            | RunEventKind::NodeSpan { .. }
            | RunEventKind::NodeSkipped { .. }
            | RunEventKind::Warning { .. }
            | RunEventKind::Evidence { .. }
            | RunEventKind::EnvironmentKept { .. }
            | RunEventKind::CancelRequested { .. }
            | RunEventKind::Unknown => {}
        }
    }

    /// Takes everything away.
    pub(crate) fn clear(&mut self) {
        for (_, bar) in std::mem::take(&mut self.nodes) {
            remove(&self.bars, Some(bar));
        }
        remove(&self.bars, self.tests.take());
    }

    fn node(&mut self, place: u32, summary: &Summary) {
        let Some(node) = summary.nodes.get(place as usize) else {
            return;
        };
        if node.state != NodeState::Running {
            remove(&self.bars, self.nodes.remove(&place));
            return;
        }
        if !self.nodes.contains_key(&place) {
            if self.nodes.len() >= MOST {
                return;
            }
            // The line of the tests stays the last one.
            let bar = match &self.tests {
                Some(tests) => self.bars.insert_before(tests, line()),
                None => self.bars.add(line()),
            };
            bar.set_prefix(node.plan.name.clone());
            bar.enable_steady_tick(TICK);
            self.nodes.insert(place, bar);
        }
        if let (Some(bar), Some(progress)) = (self.nodes.get(&place), &node.progress) {
            bar.set_message(progress.to_string());
        }
    }

    fn tests(&mut self, summary: &Summary) {
        let bars = &self.bars;
        let bar = self.tests.get_or_insert_with(|| {
            let bar = bars.add(line());
            bar.set_prefix("tests");
            bar.enable_steady_tick(TICK);
            bar
        });
        bar.set_message(tests_line(summary));
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.clear();
    }
}

/// `12 of 45  11 passed, 1 failed  running TestScale`.
fn tests_line(summary: &Summary) -> String {
    let counts = summary.counts();
    let so_far = crate::summary::Counts { not_run: 0, ..counts }.words();
    let mut running: Vec<_> = summary
        .tests()
        .iter()
        .filter(|test| !test.subtest)
        .filter_map(|test| test.running_since_us.map(|since| (since, test.name.as_str())))
        .collect();
    running.sort_unstable();
    let more = running.len().saturating_sub(RUNNING_TESTS);
    let names: Vec<&str> = running.iter().take(RUNNING_TESTS).map(|(_, name)| *name).collect();
    let mut line = format!("{} of {}", counts.ended(), counts.total());
    for part in [so_far, names.join(", ")].iter().filter(|part| !part.is_empty()) {
        line.push_str("  ");
        line.push_str(part);
    }
    if more > 0 {
        line.push_str(&format!(" and {}", text::count(more, "other")));
    }
    line
}

fn line() -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner} {elapsed:>4} {prefix} {wide_msg}")
        .expect("a constant template that the tests draw");
    ProgressBar::new_spinner().with_style(style)
}

fn remove(bars: &MultiProgress, bar: Option<ProgressBar>) {
    if let Some(bar) = bar {
        bar.finish_and_clear();
        bars.remove(&bar);
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use indicatif::TermLike;

    use super::*;
    use crate::sample;

    /// Keeps all that was drawn.
    #[derive(Debug, Clone, Default)]
    struct Drawn(Arc<Mutex<String>>);

    impl TermLike for Drawn {
        fn width(&self) -> u16 {
            80
        }
        fn move_cursor_up(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_down(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_right(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn move_cursor_left(&self, _: usize) -> io::Result<()> {
            Ok(())
        }
        fn write_line(&self, text: &str) -> io::Result<()> {
            self.write_str(text)
        }
        fn write_str(&self, text: &str) -> io::Result<()> {
            self.0.lock().map_err(|_| io::Error::other("poisoned"))?.push_str(text);
            Ok(())
        }
        fn clear_line(&self) -> io::Result<()> {
            Ok(())
        }
        fn flush(&self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn running_nodes_and_tests_are_shown_and_taken_away() {
        let drawn = Drawn::default();
        let target = ProgressDrawTarget::term_like(Box::new(drawn.clone()));
        let mut live = Live::on(target);
        let mut summary = Summary::default();
        for event in &sample::failed() {
            summary.apply(event);
            live.event(event, &summary);
            for bar in live.nodes.values().chain(&live.tests) {
                bar.tick();
            }
        }
        assert!(live.nodes.is_empty() && live.tests.is_none(), "all is over");
        let drawn = drawn.0.lock().expect("no other thread panicked").clone();
        assert!(drawn.contains("build/server compile  40 %"), "{drawn}");
        assert!(drawn.contains("tests 1 of 4  1 passed  TestConfig, TestScale"), "{drawn}");
    }
}
