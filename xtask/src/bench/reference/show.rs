//! The records of all runs, side by side.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::record::{Case, Record, System};

/// The median of some numbers; of none, 0.
pub(crate) fn median(numbers: impl IntoIterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = numbers.into_iter().collect();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => 0.0,
        n if n % 2 == 1 => sorted[n / 2],
        n => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
    }
}

/// The runs of a case by a system.
pub(crate) fn of(records: &[Record], case: Case, system: System) -> Vec<&Record> {
    records.iter().filter(|one| one.case == case && one.system == system).collect()
}

/// The runs of rounds that every system has run: only these stand side by side.
pub(crate) fn whole(records: &[Record]) -> Vec<Record> {
    let whole = |run: &&Record| {
        let round = || records.iter().filter(|one| one.is_beside(run));
        System::ALL.iter().all(|system| round().any(|one| one.system == *system))
    };
    records.iter().filter(whole).cloned().collect()
}

/// Each round by itself: walls in seconds, the load before each in parentheses,
/// in the order of the systems, and who was first. Below each build and machine.
pub(crate) fn rounds(records: &[Record]) -> String {
    let builds: BTreeSet<&str> = records.iter().map(|one| one.measured.as_str()).collect();
    let mut out = String::new();
    for build in builds {
        let _ = writeln!(out, "{build}");
        let firsts = Case::ALL.into_iter().flat_map(|case| of(records, case, System::ALL[0]));
        for run in firsts.filter(|run| run.measured == build) {
            let name = format!(
                "{} {}, {} first",
                run.case.word(),
                run.round,
                System::in_turn(run.round)[0].word()
            );
            let round = records.iter().filter(|one| one.is_beside(run));
            let cells = round.map(|one| format!("{:>10.1} s ({:.1})", one.wall_s, one.load.0));
            let _ = writeln!(out, "  {name:<28}{}", cells.collect::<String>());
        }
    }
    out.push_str("walls of baseline, careful and seatrial, in parentheses the load before\n");
    out
}

/// How many times as fast as the baseline a system was, in each round that both
/// have run: what is measured in one round is of one machine at one time.
fn ratios(baseline: &[&Record], runs: &[&Record]) -> Vec<f64> {
    let of = |run: &&Record| {
        let base = baseline.iter().find(|base| base.round == run.round)?;
        (run.wall_s > 0.0).then(|| base.wall_s / run.wall_s)
    };
    runs.iter().filter_map(of).collect()
}

/// A table for each case that was run: medians over the rounds, wall and
/// core-seconds of each system beside each other, and the ratio to the baseline.
/// Medians of rows do not sum up to the median of the totals.
pub(crate) fn tables(records: &[Record]) -> String {
    let mut out = String::new();
    for case in Case::ALL {
        let columns = System::ALL.map(|system| of(records, case, system));
        if columns.iter().all(Vec::is_empty) {
            continue;
        }
        let _ = writeln!(out, "{} ({})", case.said(), case.word());
        line(&mut out, "", System::ALL.iter().map(|one| format!("{:>18}", one.word())));
        line(
            &mut out,
            "step",
            System::ALL.iter().map(|_| format!("{:>9}{:>9}", "wall s", "core-s")),
        );
        let steps = columns.iter().find_map(|runs| runs.first()).map_or(&[][..], |run| &run.rows);
        for step in steps.iter().map(|row| &row.step) {
            let cell = |runs: &Vec<&Record>| {
                let rows = || runs.iter().flat_map(|run| &run.rows).filter(|row| row.step == *step);
                let (wall, core) =
                    (median(rows().map(|row| row.wall_s)), median(rows().map(|row| row.core_s)));
                shown(runs, format!("{wall:>9.1}{core:>9.1}"))
            };
            line(&mut out, step, columns.iter().map(cell));
        }
        let mut row = |name: &str, cell: &dyn Fn(&[&Record]) -> String| {
            line(&mut out, name, columns.iter().map(|runs| shown(runs, cell(runs))));
        };
        let all = |runs: &[&Record], of: fn(&Record) -> f64| median(runs.iter().map(|run| of(run)));
        row("unattributed", &|runs| {
            format!("{:>9.1}{:>9}", all(runs, |run| run.unattributed_s), "")
        });
        row("total", &|runs| {
            format!("{:>9.1}{:>9.1}", all(runs, |run| run.wall_s), all(runs, |run| run.core_s))
        });
        row("bound", &|runs| {
            let by = runs.first().map_or("", |run| run.bound_by.as_str());
            format!("{:>9.1}{by:>9}", all(runs, |run| run.bound_s))
        });
        row("efficiency", &|runs| {
            format!("{:>7.1} %{:>9}", 100.0 * all(runs, Record::efficiency), "")
        });
        row("x baseline", &|runs| match ratios(&columns[0], runs) {
            ratios if ratios.is_empty() => " ".repeat(18),
            ratios => format!("{:>9.2}{:>9}", median(ratios), ""),
        });
        row("worst wall", &|runs| {
            let worst = runs.iter().map(|run| run.wall_s).fold(0.0, f64::max);
            format!("{worst:>9.1}{:>9}", "")
        });
        row("rounds", &|runs| format!("{:>9}{:>9}", runs.len(), ""));
        row("red tests", &|runs| {
            format!("{:>9}{:>9}", runs.iter().map(|run| run.red.len()).max().unwrap_or(0), "")
        });
        out.push('\n');
        for run in columns.iter().flatten().filter(|run| !run.red.is_empty()) {
            let (system, round) = (run.system.word(), run.round);
            let _ = writeln!(out, "red, {system}, round {round}: {}", run.red.join(", "));
        }
        out.push('\n');
    }
    out
}

/// In which tests the broken commit was red by every system, in every round, and
/// which others were red; `None`: not every system has run it.
pub(crate) fn agreement(records: &[Record]) -> Option<String> {
    let mut runs = Vec::new();
    for system in System::ALL {
        let of = of(records, Case::Broken, system);
        of.first()?;
        runs.extend(of);
    }
    let always = |test: &&String| runs.iter().all(|run| run.red.contains(test));
    let same: Vec<_> = runs[0].red.iter().filter(always).cloned().collect();
    let mut text = match same.is_empty() {
        true => "the broken commit is red in no test by every system".to_owned(),
        false => format!("the broken commit is red by every system in: {}", same.join(", ")),
    };
    for run in runs {
        let others: Vec<_> = run.red.iter().filter(|test| !same.contains(test)).cloned().collect();
        if !others.is_empty() {
            let (system, round) = (run.system.word(), run.round);
            let _ = write!(text, "\nbesides, {system}, round {round}: {}", others.join(", "));
        }
    }
    Some(text)
}

/// `docs/reference-job.md`: what a reader wants to know of each case, and then
/// `text`, all of it.
pub(crate) fn page(records: &[Record], text: &str) -> String {
    let mut out = String::from(
        "# The reference job, measured\n\n\
        Written by `cargo xtask bench reference`, not by hand. What bounds these numbers, and how far to trust them:\n\
        [performance.md](performance.md#the-reference-job). Medians over the rounds that all three have run; ratios are of rounds.\n\n\
        ![Seconds from commit to verdict of each system, by case](reference-job.svg)\n\n\
        | case | baseline | careful | seatrial | careful, times as fast | seatrial | rounds |\n\
        |---|---|---|---|---|---|---|\n",
    );
    for case in Case::ALL {
        let columns = System::ALL.map(|system| of(records, case, system));
        let rounds = columns[0].len();
        if rounds == 0 {
            continue;
        }
        let _ = write!(out, "| {} |", case.said());
        for runs in &columns {
            let _ = write!(out, " {:.0} s |", median(runs.iter().map(|run| run.wall_s)));
        }
        for runs in &columns[1..] {
            let _ = write!(out, " {:.2} |", median(ratios(&columns[0], runs)));
        }
        let _ = writeln!(out, " {rounds} |");
    }
    let _ = write!(out, "\n```text\n{}\n```\n", text.trim_end());
    out
}

fn shown(runs: &[&Record], text: String) -> String {
    if runs.is_empty() { " ".repeat(18) } else { text }
}

fn line(out: &mut String, name: &str, cells: impl Iterator<Item = String>) {
    let text = format!("{name:<16}{}", cells.collect::<String>());
    let _ = writeln!(out, "{}", text.trim_end());
}

#[cfg(test)]
mod tests {
    use super::super::record::sample;
    use super::*;

    #[test]
    fn medians_stand_beside_each_other() {
        let mut broken = sample(System::Seatrial, Case::Changed, 2, 50.0);
        broken.red = vec!["default product TestA".to_owned()];
        let records = [
            sample(System::Baseline, Case::Changed, 1, 400.0),
            sample(System::Baseline, Case::Changed, 2, 300.0),
            sample(System::Seatrial, Case::Changed, 1, 100.0),
            broken,
        ];
        let want = "\
one source file of one service changed (changed)
                          baseline           careful          seatrial
step               wall s   core-s   wall s   core-s   wall s   core-s
source              175.0      1.0                       37.5      1.0
test execution      174.0      2.0                       36.5      2.0
unattributed          1.0                                 1.0
total               350.0     99.0                       75.0     99.0
bound                70.0    cores                       15.0    cores
efficiency         20.0 %                              20.0 %
x baseline           1.00                                5.00
worst wall          400.0                               100.0
rounds                  2                                   2
red tests               0                                   1

red, seatrial, round 2: default product TestA

";
        assert_eq!(tables(&records), want);
    }

    #[test]
    fn the_page_has_the_cases_that_all_have_run() {
        let of = |system, wall| sample(system, Case::Changed, 1, wall);
        let mut records = vec![of(System::Baseline, 300.0), of(System::Careful, 200.0)];
        let rows = |records: &[Record]| {
            let page = page(&whole(records), "all of it\n\n");
            assert!(page.ends_with("|\n\n```text\nall of it\n```\n"), "{page}");
            page.lines().filter(|line| line.contains(" s |")).collect::<Vec<_>>().join("\n")
        };
        assert_eq!(rows(&records), "");
        records.push(of(System::Seatrial, 100.0));
        let want =
            "| one source file of one service changed | 300 s | 200 s | 100 s | 1.50 | 3.00 | 1 |";
        assert_eq!(rows(&records), want);
        // What is not of a whole round changes nothing.
        records.extend(
            [System::Baseline, System::Careful]
                .map(|system| Record { round: 2, ..of(system, 900.0) }),
        );
        assert_eq!(rows(&records), want);
    }

    #[test]
    fn systems_agree_on_the_broken_commit_or_it_is_said() {
        let red = |system, tests: &[&str]| {
            let red = tests.iter().map(|test| (*test).to_owned()).collect();
            Record { red, ..sample(system, Case::Broken, 1, 9.0) }
        };
        let mut runs = vec![red(System::Baseline, &["A"]), red(System::Careful, &["A"])];
        assert_eq!(agreement(&runs), None);
        runs.push(red(System::Seatrial, &["A"]));
        let same = "the broken commit is red by every system in: A";
        assert_eq!(agreement(&runs).as_deref(), Some(same));
        runs.push(red(System::Careful, &["A", "B"]));
        let besides = format!("{same}\nbesides, careful, round 1: B");
        assert_eq!(agreement(&runs), Some(besides));
        runs.push(red(System::Seatrial, &[]));
        assert!(
            agreement(&runs).is_some_and(|text| text.starts_with("the broken commit is red in no"))
        );
    }

    #[test]
    fn each_round_is_told_below_its_build() {
        let of = |system, round, wall| sample(system, Case::Changed, round, wall);
        let mut records: Vec<_> = [(1, 300.0), (2, 310.0)]
            .into_iter()
            .flat_map(|(round, wall)| System::ALL.map(|system| of(system, round, wall)))
            .collect();
        for one in &mut records[3..] {
            one.measured = "another build".to_owned();
            one.load.0 = 2.0;
        }
        let want = "\
a machine; a build
  changed 1, baseline first        300.0 s (0.0)     300.0 s (0.0)     300.0 s (0.0)
another build
  changed 2, careful first         310.0 s (2.0)     310.0 s (2.0)     310.0 s (2.0)
walls of baseline, careful and seatrial, in parentheses the load before
";
        assert_eq!(rounds(&records), want);
    }

    #[test]
    fn a_median_is_the_middle() {
        assert_eq!(median([3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median([4.0, 1.0]), 2.5);
        assert_eq!(median([]), 0.0);
    }
}
