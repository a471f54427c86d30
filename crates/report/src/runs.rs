//! The list of recorded runs.

use jiff::Timestamp;
use seatrial_core::ids::RunId;
use seatrial_core::verdict::Verdict;

use crate::lines::short_commit;
use crate::summary::Summary;
use crate::text;

/// What the list of runs says about one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunLine {
    /// The run.
    pub id: RunId,
    /// Milliseconds since 1970 when it began.
    pub started_unix_ms: u64,
    /// What the project calls itself.
    pub project: String,
    /// The commit it was at, when there was one.
    pub commit: Option<String>,
    /// The verdict; `None`: it has none, or none yet.
    pub verdict: Option<Verdict>,
    /// Microseconds from its start to its verdict.
    pub wall_us: u64,
    /// Tests that passed, flaky ones included.
    pub passed: u32,
    /// Tests that were selected.
    pub tests: u32,
}

impl RunLine {
    /// The line of a run; `None`: the recording does not even say which.
    #[must_use]
    pub fn of(summary: &Summary) -> Option<Self> {
        let run = summary.run.as_ref()?;
        let counts = summary.counts();
        Some(Self {
            id: run.id,
            started_unix_ms: run.started_unix_ms,
            project: run.project.clone(),
            commit: run.commit.clone(),
            verdict: summary.verdict(),
            wall_us: summary.wall_us(),
            passed: counts.passed + counts.flaky,
            tests: counts.total(),
        })
    }
}

/// Renders a list of runs as a table with a heading.
#[must_use]
pub fn runs_table(runs: &[RunLine]) -> String {
    let heading = ["run", "started (UTC)", "project", "commit", "verdict", "wall", "tests"];
    let mut rows = vec![heading.map(str::to_owned)];
    rows.extend(runs.iter().map(|run| {
        [
            run.id.short(),
            started(run.started_unix_ms),
            text::line(&run.project),
            text::line(short_commit(run.commit.as_deref().unwrap_or("-"))),
            run.verdict.map_or("none", Verdict::word).to_owned(),
            text::duration(run.wall_us),
            if run.tests == 0 { "-".to_owned() } else { format!("{}/{}", run.passed, run.tests) },
        ]
    }));
    columns(&rows, 0)
}

/// A time as people write it, in UTC so that every machine shows the same.
pub(crate) fn started(unix_ms: u64) -> String {
    let time = i64::try_from(unix_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    time.map_or_else(|| "-".to_owned(), |time| time.strftime("%Y-%m-%d %H:%M:%S").to_string())
}

/// Lines up cells in columns, two spaces between them; the first `numbers`
/// columns to the right.
pub(crate) fn columns<const N: usize>(rows: &[[String; N]], numbers: usize) -> String {
    let mut widths = [0; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut out = String::new();
    for row in rows {
        let cells = row.iter().zip(widths).enumerate();
        let line: Vec<String> =
            cells
                .map(|(i, (cell, width))| {
                    if i < numbers { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
                })
                .collect();
        out.push_str(line.join("  ").trim_end());
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample;

    #[test]
    fn the_list_of_runs() {
        let mut lines: Vec<RunLine> = [sample::passed(), sample::failed(), sample::cut()]
            .iter()
            .filter_map(|events| RunLine::of(&Summary::from_events(events)))
            .collect();
        lines[1].project = "a\u{1b}[2J".to_owned();
        lines[1].commit = None;
        lines[1].started_unix_ms = u64::MAX;
        insta::assert_snapshot!(runs_table(&lines), @r"
        run       started (UTC)        project     commit        verdict  wall    tests
        c0ffee01  2026-12-24 10:00:00  guestbook   8c1d2e3f4a5b  passed   15.8 s  2/3
        c0ffee01  -                    a\u{1b}[2J  -             failed   21.6 s  1/4
        c0ffee01  2026-12-24 10:00:00  guestbook   8c1d2e3f4a5b  none     15.5 s  0/3
        ");
        assert_eq!(RunLine::of(&Summary::default()), None);
    }
}
