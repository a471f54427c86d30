//! What the engine adds to an action that does nothing.

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;

use super::Bench;
use super::figure::{Figure, Unit};

const ACTIONS: usize = 50;

/// Builds that leave an empty file: sandbox, key, store and events are all there
/// is.
pub(super) fn overhead(bench: &Bench) -> anyhow::Result<Vec<Figure>> {
    let (mut window, mut node, mut hits) = (vec![], vec![], vec![]);
    for run in 0..bench.runs {
        let project = project(bench, run)?;
        let made = bench.product.events(&mut bench.product.command(&project, &["build"]))?;
        let builds = made.events.nodes("build/");
        anyhow::ensure!(builds.len() == ACTIONS, "{} actions were planned", builds.len());
        let each = ACTIONS as f64;
        let planned = made.events.first("planned")?;
        window.push((made.events.first("verdict-reached")? - planned) / each);
        for build in &builds {
            node.push(made.events.span(build)?.length());
        }
        // The same again: every action is a hit.
        let again = bench.product.events(&mut bench.product.command(&project, &["build"]))?;
        let planned = again.events.first("planned")?;
        hits.push((again.events.first("verdict-reached")? - planned) / each);
    }
    let mut alone = Vec::new();
    for _ in 0..bench.runs {
        let example = ["--package", "seatrial-sandbox", "--example", "cost"];
        let text = bench.product.cargo("run", &example)?;
        let median = text.split(' ').nth(1).and_then(|median| median.parse::<f64>().ok());
        alone.push(median.context("the example prints a median")? / 1e3);
    }
    let figure = |what: &str, samples| Figure::new(what, Unit::Millis, samples);
    Ok(vec![
        figure("plan to verdict, an action", window).within(0.010),
        figure("start to end of one, as many at once as cores", node),
        figure("plan to verdict, an action that is there", hits),
        figure("the sandbox alone, `true` in it", alone),
        figure("one sync of the disk, of which an action needs nine", syncs(bench)?),
    ])
}

/// How long the disk takes to keep a page, each time.
fn syncs(bench: &Bench) -> anyhow::Result<Vec<f64>> {
    let path = bench.product.scratch().join("sync");
    let mut file = std::fs::File::create(&path)?;
    let sync = |_| {
        file.write_all(&[1; 4096])?;
        let began = Instant::now();
        file.sync_all()?;
        Ok(began.elapsed().as_secs_f64())
    };
    (0..ACTIONS).map(sync).collect()
}

/// Builds that no run before has made.
fn project(bench: &Bench, run: u32) -> anyhow::Result<std::path::PathBuf> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos();
    let mut file = "seatrial: 1\nbuilds:\n".to_owned();
    for index in 0..ACTIONS {
        writeln!(file, "  n{index:02}: {{ run: [touch, \"/out/{now}-{run}-{index}\"] }}")?;
    }
    bench.product.project("actions", &[("seatrial.yaml", &file)])
}
