use std::collections::{BTreeMap, BTreeSet};
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
    /// Say why this is made, or is not: what changed since the last run
    #[arg(long, value_name = "NODE")]
    why: Option<String>,
    #[command(flatten)]
    common: CommonArgs,
}

/// Nodes that a key waits for, as many as a line of the table names.
const NAMED: usize = 2;

/// What a plan says of one node.
#[derive(serde::Serialize)]
struct Line {
    name: String,
    step: &'static str,
    needs: Vec<String>,
    /// The key, when all that it depends on is known.
    key: Option<Digest>,
    /// Nodes whose outputs or keys the key waits for.
    waits_for: Vec<String>,
    /// The stage that makes the environment that it works with.
    #[serde(skip)]
    stands_on: Option<String>,
    /// Whether it starts clusters.
    #[serde(skip)]
    is_boot: bool,
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
        let platform = seatrial_worker::platform(&tools, installed.as_ref());
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
    let mut stages: BTreeMap<u32, Digest> = BTreeMap::new();
    let mut lines = Vec::new();
    for ((place, node), (expected_s, _)) in (0..).zip(&plan.nodes).zip(history) {
        let name = |place: &u32| plan.node(*place).map(|node| node.name.clone());
        let on = plan.stands_on(place);
        let unmade = node.work.inputs().into_iter().filter_map(|input| match input {
            Input::Node(node) if !outputs.contains_key(node) => Some(*node),
            _ => None,
        });
        let waits_for: BTreeSet<u32> =
            unmade.chain(on.filter(|on| !stages.contains_key(on))).collect();
        let mut line = Line {
            name: node.name.clone(),
            step: node.step.word(),
            needs: node.needs.iter().filter_map(name).collect(),
            key: None,
            waits_for: waits_for.iter().filter_map(name).collect(),
            stands_on: on.as_ref().and_then(name),
            is_boot: node.poolable(),
            hit: None,
            expected_s: *expected_s,
            tests: how_tested(node),
            record: None,
        };
        if line.waits_for.is_empty() {
            let on = on.and_then(|on| stages.get(&on)).copied();
            line.record = record(node, platform, &outputs, on);
            line.key = line.record.as_ref().map(Record::key);
        }
        match (&node.work, line.key) {
            (Work::Action(_), None) => line.hit = Some(false),
            (Work::Action(_), Some(key)) => {
                let result = store.lookup(key, scope)?;
                line.hit = Some(result.is_some());
                outputs.extend(
                    result.and_then(|result| result.outputs.digest()).map(|output| (place, output)),
                );
            }
            (Work::Stage { .. }, key) => stages.extend(key.map(|key| (place, key))),
        }
        lines.push(line);
    }
    Ok(lines)
}

/// What the key of a node is made of, once all is known that it depends on.
fn record(
    node: &Node,
    platform: &Platform,
    outputs: &BTreeMap<u32, Digest>,
    on: Option<Digest>,
) -> Option<Record> {
    let resolve = |input| match input {
        Input::Tree(digest) => Ok(digest),
        Input::Node(node) => outputs.get(&node).copied().ok_or(()),
    };
    match node.work.clone() {
        Work::Action(action) => Some(action.try_map(resolve).ok()?.record(platform)),
        Work::Stage { stage, .. } => stage.try_map(resolve).ok()?.record(platform, on),
    }
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

fn table(lines: &[Line]) -> String {
    let mut rows = vec![["node", "step", "key", "state", "expected"].map(str::to_owned)];
    for line in lines {
        let key = match (&line.key, line.waits_for.as_slice()) {
            (Some(key), _) => key.short(),
            (None, []) => "-".to_owned(),
            (None, waits) => {
                let more = waits.len().saturating_sub(NAMED);
                let named = waits[..waits.len() - more].join(", ");
                let more = if more > 0 { format!(" and {more} more") } else { String::new() };
                format!("waits for {named}{more}")
            }
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
