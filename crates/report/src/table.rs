//! The step table: where the time of a run went, and how fast it could have
//! been.

use std::fmt::Write as _;

use seatrial_core::account::{Account, BoundBy};
use seatrial_core::verdict::Verdict;

use crate::summary::Summary;
use crate::text;

/// Most names of a critical chain that are written out.
const CHAIN_NAMES: usize = 8;

/// Renders the step table of a run, with its bound, efficiency and cost;
/// empty before the first event. See `docs/reports.md` for what each column
/// means.
#[must_use]
pub fn step_table(summary: &Summary) -> String {
    summary.account().map_or_else(String::new, |account| render(&account, summary))
}

fn render(account: &Account, summary: &Summary) -> String {
    let mut walls: Vec<u64> = account.rows.iter().map(|row| row.wall_us).collect();
    walls.push(account.unattributed_us);
    // Rounded so that the rows shown still add up to the total shown.
    let millis = text::apportion(&walls, account.wall_us.saturating_add(500) / 1000);
    let permilles = text::apportion(&walls, if account.wall_us > 0 { 1000 } else { 0 });
    let share = |permille: u64| format!("{}.{}", permille / 10, permille % 10);
    let mut out =
        format!("{:<16} {:>10} {:>6} {:>9} {:>10}\n", "step", "wall s", "%", "core-s", "spans s");
    let mut line = |name: &str, millis: u64, permille: u64, core: &str, span: &str| {
        let wall = format!("{}.{:03}", millis / 1000, millis % 1000);
        let row = format!("{name:<16} {wall:>10} {:>6} {core:>9} {span:>10}", share(permille));
        let _ = writeln!(out, "{}", row.trim_end());
    };
    let mut span_us: u64 = 0;
    for (i, row) in account.rows.iter().enumerate() {
        let (core, span) = (text::tenths(row.core_us), text::tenths(row.span_us));
        line(row.step.word(), millis[i], permilles[i], &core, &span);
        span_us = span_us.saturating_add(row.span_us);
    }
    let last = account.rows.len();
    line("unattributed", millis[last], permilles[last], "", "");
    let (core, span) = (text::tenths(account.core_us), text::tenths(span_us));
    line("total", millis.iter().sum(), permilles.iter().sum(), &core, &span);
    out.push_str(&bound(account, summary));
    let _ = writeln!(out, "{:<12} {} core-s", "cost", text::tenths(account.core_us));
    out
}

fn bound(account: &Account, summary: &Summary) -> String {
    // A run that was stopped did not do its work, so nothing bounds it.
    let stopped = matches!(summary.verdict(), None | Some(Verdict::Cancelled));
    let Some(efficiency) = account.efficiency().filter(|_| account.bound.us > 0 && !stopped) else {
        return String::new();
    };
    let bound = &account.bound;
    let why = match (bound.by, &summary.run) {
        (BoundBy::Cores, Some(run)) => {
            format!(
                "core-seconds of what the verdict waits for, on {}",
                text::count(run.cores as usize, "core")
            )
        }
        (BoundBy::Memory, Some(run)) => {
            format!("memory-seconds of what the verdict waits for, in {}", text::size(run.memory))
        }
        _ => format!("critical chain: {}", chain(&bound.chain, summary)),
    };
    format!(
        "{:<12} {}  ({why})\n{:<12} {:.1} %  (bound / wall)\n",
        "bound",
        text::duration(bound.us),
        "efficiency",
        efficiency * 100.0
    )
}

/// The names of a chain; of a long one the first and the last few.
pub(crate) fn chain(nodes: &[usize], summary: &Summary) -> String {
    let mut names: Vec<String> = nodes
        .iter()
        .map(|node| summary.node_name(u32::try_from(*node).unwrap_or(u32::MAX)))
        .collect();
    if names.len() > CHAIN_NAMES {
        let left_out = names.len() - CHAIN_NAMES;
        let half = CHAIN_NAMES / 2;
        names.splice(half..half + left_out, [format!("({left_out} more)")]);
    }
    names.join(" > ")
}
