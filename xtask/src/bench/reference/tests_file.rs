//! `bench/reference/tests.json`: what each test costs when it has a cluster to
//! itself, and what follows for other machines.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::record::{Record, System};
use super::show::median;
use super::simulation::{self, Cost};

/// The file's name, in the directory of the job.
pub(crate) const NAME: &str = "tests.json";

/// What a test costs alone: medians over the runs of the baseline, where it has
/// passed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct TestCost {
    environment: String,
    program: String,
    name: String,
    wall_s: f64,
    core_s: f64,
    /// How many runs that is the median of.
    runs: usize,
}

/// The costs of all tests that ran alone.
pub(crate) fn costs(records: &[Record]) -> Vec<TestCost> {
    let mut seen: BTreeMap<(String, String, String), Vec<(f64, f64)>> = BTreeMap::new();
    for record in records.iter().filter(|record| record.system == System::Baseline) {
        for test in &record.tests {
            let name = test.full_name();
            let Some(core_s) = test.core_s.filter(|_| !record.red.contains(&name)) else {
                continue;
            };
            let key = (test.environment.clone(), test.program.clone(), test.name.clone());
            seen.entry(key).or_default().push((test.wall_s, core_s));
        }
    }
    let cost = |((environment, program, name), runs): (_, Vec<(f64, f64)>)| TestCost {
        environment,
        program,
        name,
        wall_s: milli(median(runs.iter().map(|run| run.0))),
        core_s: milli(median(runs.iter().map(|run| run.1))),
        runs: runs.len(),
    };
    seen.into_iter().map(cost).collect()
}

/// The file: one test a line.
pub(crate) fn text(costs: &[TestCost]) -> anyhow::Result<String> {
    let lines: Result<Vec<_>, _> = costs.iter().map(serde_json::to_string).collect();
    Ok(format!("[\n  {}\n]\n", lines?.join(",\n  ")))
}

/// What an environment costs before its first test: cluster, images into it,
/// and the product installed, as the baseline does it.
pub(crate) fn start(records: &[Record]) -> Cost {
    const STEPS: [&str; 3] = ["cluster setup", "image pull", "test setup"];
    let runs = records.iter().filter(|record| record.system == System::Baseline);
    // Each run has two environments.
    let of = |record: &Record, what: fn(&super::record::Row) -> f64| {
        let rows = record.rows.iter().filter(|row| STEPS.contains(&row.step.as_str()));
        rows.map(what).sum::<f64>() / 2.0
    };
    Cost {
        wall: median(runs.clone().map(|record| of(record, |row| row.wall_s))),
        core: median(runs.map(|record| of(record, |row| row.core_s))),
    }
}

/// The wall of all tests of both configurations, on other machines and with other
/// numbers of environments at a time, beside the bound. Twice: with environments that have
/// to be started, and with a pool that has them.
pub(crate) fn simulated(costs: &[TestCost], start: Cost) -> String {
    let mut configurations: BTreeMap<&str, Vec<Cost>> = BTreeMap::new();
    for test in costs {
        let cost = Cost { wall: test.wall_s, core: test.core_s };
        configurations.entry(&test.environment).or_default().push(cost);
    }
    let tests: Vec<Vec<Cost>> = configurations.into_values().collect();
    let all = || tests.iter().flatten();
    let mut out = format!(
        "simulated: {} tests, {:.0} s and {:.0} core-s alone; an environment starts in {:.1} s with {:.1} core-s\n",
        all().count(),
        all().map(|test| test.wall).sum::<f64>(),
        all().map(|test| test.core).sum::<f64>(),
        start.wall,
        start.core,
    );
    for (name, start) in [("started", start), ("from a pool", Cost { wall: 0.0, core: 0.0 })] {
        let _ = writeln!(
            out,
            "{:<22}{:>12}{:>12}{:>12}",
            format!("environments {name}"),
            "2 cores",
            "8 cores",
            "32 cores"
        );
        for environments in [1, 2, 4, 8, 16, 32] {
            let cells = [2, 8, 32].map(|cores| {
                let wall = simulation::wall(&tests, start, cores, environments);
                let bound = simulation::bound(&tests, start, cores, environments);
                format!("{:>12}", format!("{wall:.0} ({bound:.0})"))
            });
            let _ = writeln!(out, "{environments:<22}{}", cells.concat());
        }
    }
    out.push_str("wall in s, in parentheses the bound\n");
    out
}

fn milli(seconds: f64) -> f64 {
    (seconds * 1e3).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::super::record::{Case, TestTime, sample};
    use super::*;

    fn run(round: u32, system: System, wall_s: f64, core_s: Option<f64>) -> Record {
        let test = TestTime {
            environment: "default".into(),
            program: "product".into(),
            name: "TestA".into(),
            wall_s,
            core_s,
        };
        Record { tests: vec![test], ..sample(system, Case::Changed, round, 100.0) }
    }

    #[test]
    fn only_tests_that_ran_alone_and_passed_are_counted() {
        let mut failed = run(4, System::Baseline, 99.0, Some(9.0));
        failed.red = vec!["default product TestA".into()];
        let records = [
            run(1, System::Baseline, 2.0, Some(1.0)),
            run(2, System::Baseline, 3.0, Some(0.5)),
            run(3, System::Baseline, 2.5, Some(0.75)),
            failed,
            run(1, System::Careful, 50.0, None),
            run(1, System::Seatrial, 60.0, None),
        ];
        let costs = costs(&records);
        let text = text(&costs).unwrap();
        assert_eq!(
            text,
            "[\n  {\"environment\":\"default\",\"program\":\"product\",\"name\":\"TestA\",\
             \"wall_s\":2.5,\"core_s\":0.75,\"runs\":3}\n]\n"
        );
        let read: Vec<TestCost> = serde_json::from_str(&text).unwrap();
        assert_eq!(read, costs);
    }

    #[test]
    fn the_simulation_is_shown_beside_the_bound() {
        let cost = |name: &str, wall_s, core_s| TestCost {
            environment: "default".into(),
            program: "product".into(),
            name: name.into(),
            wall_s,
            core_s,
            runs: 1,
        };
        let text =
            simulated(&[cost("A", 4.0, 1.0), cost("B", 6.0, 2.0)], Cost { wall: 5.0, core: 4.0 });
        let rows: Vec<_> = text.lines().skip(1).take(3).collect();
        assert_eq!(
            rows,
            [
                "environments started       2 cores     8 cores    32 cores",
                "1                          15 (11)     15 (11)     15 (11)",
                "2                          11 (11)     11 (11)     11 (11)",
            ]
        );
    }
}
