//! Planning: 10,000 actions.

use std::fmt::Write as _;
use std::time::Instant;

use anyhow::Context as _;
use serde_json::Value;

use super::Bench;
use super::figure::{Figure, Unit};
use super::product::output;

const ACTIONS: usize = 10_000;

/// Builds in a file that is planned as a whole: with the list that makes a
/// suite need them all, about as many as a file may name.
const IN_FILE: usize = 8_000;

/// A large file through `seatrial plan`, then 10,000 actions through the parts
/// of it that are pure.
pub(super) fn plan_10000(bench: &Bench) -> anyhow::Result<Vec<Figure>> {
    let project = bench.product.project("plan", &[("seatrial.yaml", &file()?)])?;
    let mut command = Vec::new();
    for _ in 0..bench.runs {
        let began = Instant::now();
        output(&mut bench.product.command(&project, &["plan"]))?;
        command.push(began.elapsed().as_secs_f64());
    }
    let what = format!("`seatrial plan` of a file with {IN_FILE} builds");
    let mut figures = vec![Figure::new(what, Unit::Seconds, command).within(1.0)];

    let mut lines: Vec<Value> = Vec::new();
    for _ in 0..bench.runs {
        let text = bench.product.cargo(
            "run",
            &["--package", "seatrial-core", "--example", "plan", "--", &ACTIONS.to_string()],
        )?;
        for line in text.lines() {
            lines.push(serde_json::from_str(line).context("the example prints JSON")?);
        }
    }
    for shape in ["wide", "fetched", "chain"] {
        let of = |field: &str| -> Vec<f64> {
            let lines = lines.iter().filter(|line| line["shape"] == shape);
            lines.filter_map(|line| line[field].as_f64()).collect()
        };
        let both = of("plan").iter().zip(of("keys")).map(|(plan, keys)| plan + keys).collect();
        figures
            .push(Figure::new(format!("{shape}: plan and keys"), Unit::Seconds, both).within(1.0));
        let each = of("run").iter().map(|run| run / ACTIONS as f64).collect();
        figures.push(Figure::new(format!("{shape}: decisions, an action"), Unit::Millis, each));
    }
    Ok(figures)
}

/// A pipeline of builds that one environment needs.
fn file() -> anyhow::Result<String> {
    let mut builds = String::new();
    let mut names = Vec::new();
    for index in 0..IN_FILE {
        writeln!(builds, "  n{index}: {{ run: \"true {index}\" }}")?;
        names.push(format!("n{index}"));
    }
    let names = names.join(", ");
    Ok(format!(
        "seatrial: 1\nbuilds:\n{builds}environments:\n  default:\n    clusters: {{ main: {{}} }}\n    \
         install: [{{ run: \"true\", builds: [{names}] }}]\nsuites:\n  \
         e2e: {{ adapter: exec, run: \"true\", environments: [default] }}\n"
    ))
}
