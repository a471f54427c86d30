use std::collections::BTreeMap;
use std::time::Duration;

use clap::Args;
use seatrial_core::action::{Input, Platform};
use seatrial_core::digest::Digest;
use seatrial_core::key::Record;
use seatrial_core::name::Name;
use seatrial_core::pipeline::Isolation;
use seatrial_core::plan::{Node, Plan, Selection, Work};
use seatrial_core::quantity::show_duration;
use seatrial_core::stage::Stage;
use seatrial_store::{Scope, Store};

use crate::commands::run::CommonArgs;
use crate::error::CommandError;
use crate::execute::{Durations, Format, history};
use crate::paths::PathArgs;
use crate::project::{Planned, find_tools};
use crate::ui;

mod why;

/// Show what a run would do: nodes, keys, what is there already
///
/// A key that depends on what is not made yet says what it waits for.
#[derive(Debug, Args)]
pub(crate) struct PlanArgs {
    /// Suites to plan; all when none is named
    suites: Vec<Name>,
    /// Say why this action is made, or is not: what changed since the last run
    #[arg(long, value_name = "NODE")]
    why: Option<String>,
    #[command(flatten)]
    common: CommonArgs,
}

/// What a plan says of one node.
#[derive(serde::Serialize)]
struct Line {
    name: String,
    step: &'static str,
    needs: Vec<String>,
    /// The key, when all that it depends on is known.
    key: Option<Digest>,
    /// Nodes whose outputs the key waits for.
    waits_for: Vec<String>,
    /// Whether the result is there; `None` for what is always done.
    hit: Option<bool>,
    expected_s: Option<f64>,
    /// How a suite's tests are run, where that is not as usual.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tests: Vec<String>,
    /// What the key is made of.
    #[serde(skip)]
    record: Option<Record>,
}

impl PlanArgs {
    pub(crate) fn run(&self, paths: &PathArgs) -> Result<u8, CommandError> {
        let Planned { pipeline, store, project, plan } = Planned::new(
            paths,
            &Selection::Suites(self.suites.clone()),
            &self.common.params,
            self.common.format,
        )?;
        let installed =
            seatrial_components::Components::locked().locate(&paths.components()?).installed;
        let bin = installed.as_ref().map(|installed| installed.bin.as_path());
        let tools = find_tools(&pipeline, bin, &paths.project)?;
        let platform = seatrial_worker::platform(&tools);
        let scope = self.common.scope();
        let history = history(&store, scope, &project.name, &plan)?;
        let lines = lines(&plan, &platform, &store, scope, &history)?;
        if let Some(name) = &self.why {
            ui::data(&why::why(&lines, name, &project.name, &store, scope)?)?;
            return Ok(0);
        }
        match self.common.format {
            Format::Json => ui::data(&format!("{:#}\n", serde_json::json!(lines)))?,
            Format::Terminal => ui::data(&table(&lines))?,
        }
        Ok(0)
    }
}

fn lines(
    plan: &Plan,
    platform: &Platform,
    store: &Store,
    scope: Scope,
    history: &[Durations],
) -> Result<Vec<Line>, CommandError> {
    let mut outputs: BTreeMap<u32, Digest> = BTreeMap::new();
    let mut lines = Vec::new();
    for ((place, node), (expected_s, _)) in (0..).zip(&plan.nodes).zip(history) {
        let name = |place: &u32| plan.node(*place).map(|node| node.name.clone());
        let mut line = Line {
            name: node.name.clone(),
            step: node.step.word(),
            needs: node.needs.iter().filter_map(name).collect(),
            key: None,
            waits_for: Vec::new(),
            hit: None,
            expected_s: *expected_s,
            tests: how_tested(node),
            record: None,
        };
        if let Work::Action(action) = &node.work {
            line.waits_for = waits_for(node, &outputs).iter().filter_map(name).collect();
            let resolved = action.clone().try_map(|input| match input {
                Input::Tree(digest) => Ok(digest),
                Input::Node(node) => outputs.get(&node).copied().ok_or(()),
            });
            if let Ok(action) = resolved {
                let record = action.record(platform);
                let key = record.key();
                line.record = Some(record);
                let result = store.lookup(key, scope)?;
                line.key = Some(key);
                line.hit = Some(result.is_some());
                if let Some(output) = result.and_then(|result| result.outputs.digest()) {
                    outputs.insert(place, output);
                }
            } else {
                line.hit = Some(false);
            }
        }
        lines.push(line);
    }
    Ok(lines)
}

/// How the tests of a suite are run, where that is not as usual.
fn how_tested(node: &Node) -> Vec<String> {
    let Work::Stage { stage: Stage::Suite(stage), session, .. } = &node.work else {
        return Vec::new();
    };
    let suite = &stage.suite;
    let isolation = match (suite.isolation, session) {
        (Isolation::Shared, _) => None,
        (Isolation::Serial, _) => Some("one test at a time".to_owned()),
        (Isolation::Fresh, Some(_)) => Some("an environment for each test".to_owned()),
        (Isolation::Fresh, None) => Some("a sandbox for each test".to_owned()),
    };
    let retries = (suite.retries > 0).then(|| format!("retries {}", suite.retries));
    let overrides = suite.overrides.len();
    let overrides = (overrides > 0).then(|| format!("overrides {overrides}"));
    [isolation, retries, overrides].into_iter().flatten().collect()
}

fn waits_for(node: &Node, outputs: &BTreeMap<u32, Digest>) -> Vec<u32> {
    node.needs.iter().copied().filter(|need| !outputs.contains_key(need)).collect()
}

fn table(lines: &[Line]) -> String {
    let mut rows = vec![["node", "step", "key", "state", "expected"].map(str::to_owned)];
    for line in lines {
        let key = match (&line.key, line.waits_for.as_slice()) {
            (Some(key), _) => key.short(),
            (None, []) => "-".to_owned(),
            (None, waits) => format!("waits for {}", waits.join(", ")),
        };
        let state = match line.hit {
            Some(true) => "there".to_owned(),
            Some(false) => "to be made".to_owned(),
            None => [&["to be done".to_owned()], line.tests.as_slice()].concat().join(", "),
        };
        let expected = match line.expected_s {
            _ if line.hit == Some(true) => "0 s".to_owned(),
            Some(seconds) => show_duration(Duration::from_secs_f64(seconds.clamp(0.0, 1e6))),
            None => "unknown".to_owned(),
        };
        rows.push([line.name.clone(), line.step.to_owned(), key, state, expected]);
    }
    ui::columns(&rows)
}
