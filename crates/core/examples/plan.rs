//! How long a large plan takes: making it, its keys, and deciding on it to the
//! end with workers that are done at once. `cargo xtask bench plan` runs it.
//!
//! `cargo run --release -p seatrial-core --example plan -- [ACTIONS]` prints a
//! line of JSON for each shape of plan, times in seconds.
#![expect(clippy::print_stdout, reason = "an example talks to its terminal")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use seatrial_core::action::{Input, Platform};
use seatrial_core::digest::Digest;
use seatrial_core::ids::{AttemptId, Epoch};
use seatrial_core::name::Name;
use seatrial_core::pipeline::{
    Base, Build, Command, Fetch, Image, ImageConfig, Pipeline, Resources,
};
use seatrial_core::plan::{Facts, Plan, Selection, Sources, Work};
use seatrial_core::run::{Capacity, Change, Decision, Ending, RunState, priorities};

/// What a worker has at once.
const CAPACITY: Capacity = Capacity { actions: 32, sessions: 1 };

fn main() {
    let actions = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(10_000);
    for (shape, pipeline) in
        [("wide", wide(actions)), ("fetched", fetched(actions)), ("chain", chain(actions))]
    {
        println!("{}", measure(shape, &pipeline));
    }
}

fn measure(shape: &str, pipeline: &Pipeline) -> serde_json::Value {
    let params = BTreeMap::new();
    let facts = Facts {
        trees: &|sources| Ok(Digest::of(format!("{sources:?}"))),
        applied: &|path| Ok(Sources(vec![path.to_owned()])),
        params: &params,
    };
    let began = Instant::now();
    let plan = Plan::new(pipeline, &Selection::Artifacts(Vec::new()), &facts);
    let plan = plan.expect("the generated pipeline plans");
    let planned = began.elapsed();

    let began = Instant::now();
    let keys: BTreeSet<Digest> = plan.nodes.iter().map(|node| key(&node.work)).collect();
    let keyed = began.elapsed();
    assert_eq!(keys.len(), plan.nodes.len(), "different actions have different keys");

    let began = Instant::now();
    let verdict = run(&plan);
    let decided = began.elapsed();
    serde_json::json!({
        "shape": shape,
        "actions": plan.nodes.len(),
        "plan": planned.as_secs_f64(),
        "keys": keyed.as_secs_f64(),
        "run": decided.as_secs_f64(),
        "verdict": verdict,
    })
}

/// The key of an action, upstream outputs standing for themselves.
fn key(work: &Work) -> Digest {
    let Work::Action(action) = work else { unreachable!("only artifacts are planned") };
    let known = action.clone().try_map(|input| match input {
        Input::Tree(digest) => Ok::<_, std::convert::Infallible>(digest),
        Input::Node(place) => Ok(Digest::of(place.to_le_bytes())),
    });
    match known {
        Ok(action) => action.record(&Platform::default()).key(),
        Err(never) => match never {},
    }
}

/// Decides and carries out until the run is over, as the dispatcher does, one
/// end at a time.
fn run(plan: &Plan) -> &'static str {
    // Durations in no order.
    let priority = priorities(plan, |place| f64::from(place % 97));
    let mut state = RunState::new(plan.clone());
    let mut running = std::collections::VecDeque::new();
    let mut epoch = Epoch::default();
    loop {
        while let decisions = state.decide(CAPACITY, &priority)
            && !decisions.is_empty()
        {
            for decision in decisions {
                let Decision::Start { node, .. } = decision else { unreachable!("nothing fails") };
                epoch = epoch.next();
                let attempt = AttemptId::from_uuid(uuid::Uuid::from_u128(epoch.0.into()));
                state.apply(Change::Started { node, attempt, epoch }).expect("it waited");
                running.push_back((node, epoch));
            }
        }
        if state.is_over() {
            return state.verdict().expect("it is over").word();
        }
        let _ = state.verdict();
        let (node, epoch) = running.pop_front().expect("what is not over goes on");
        let ending = Ending::Done(Some(Digest::of(node.to_le_bytes())));
        state.apply(Change::Finished { node, epoch, ending }).expect("it ran");
    }
}

/// Builds that have nothing to do with each other.
fn wide(actions: usize) -> Pipeline {
    let builds = (0..actions).map(|index| (name(index), build(index, None)));
    Pipeline { builds: builds.collect(), ..Pipeline::default() }
}

/// Builds that each fetch something else first.
fn fetched(actions: usize) -> Pipeline {
    let builds = (0..actions / 2).map(|index| {
        let fetch = Fetch {
            inputs: vec![format!("{index}.sum")],
            run: Command::Script("fetch".to_owned()),
            network: true,
            timeout: Build::TIMEOUT,
        };
        (name(index), build(index, Some(fetch)))
    });
    Pipeline { builds: builds.collect(), ..Pipeline::default() }
}

/// Images that are each the base of the next.
fn chain(actions: usize) -> Pipeline {
    let images = (0..actions).map(|index| {
        let base = match index.checked_sub(1) {
            Some(before) => Base::Image(name(before)),
            None => Base::Scratch,
        };
        let (replaces, files, config) = (Vec::new(), Vec::new(), ImageConfig::default());
        (name(index), Image { replaces, base, files, config })
    });
    Pipeline { images: images.collect(), ..Pipeline::default() }
}

fn build(index: usize, fetch: Option<Fetch>) -> Build {
    Build {
        inputs: Vec::new(),
        tools: Vec::new(),
        fetch,
        caches: Vec::new(),
        env: BTreeMap::new(),
        params: BTreeSet::new(),
        run: Command::Argv(vec!["true".to_owned(), index.to_string()]),
        outputs: Vec::new(),
        resources: Resources::default(),
        timeout: Build::TIMEOUT,
        network: false,
    }
}

fn name(index: usize) -> Name {
    format!("n{index:06}").parse().expect("a name")
}
