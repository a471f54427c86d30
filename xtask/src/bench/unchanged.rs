//! What a run costs when nothing changed.

use super::Bench;
use super::figure::{Figure, Unit};

/// `seatrial build` of examples/podinfo, when everything is there.
pub(super) fn nothing_changed(bench: &Bench) -> anyhow::Result<Vec<Figure>> {
    let project = bench.product.root().join("examples").join("podinfo");
    let build = || bench.product.events(&mut bench.product.command_kept(&project, &["build"]));
    build()?;
    let (mut wall, mut planned, mut verdict) = (vec![], vec![], vec![]);
    for _ in 0..bench.runs {
        let run = build()?;
        wall.push(run.wall.as_secs_f64());
        planned.push(run.events.first("planned")?);
        verdict.push(run.events.first("verdict-reached")?);
    }
    Ok(vec![
        Figure::new("`seatrial build` of podinfo, all there", Unit::Seconds, wall).within(1.0),
        Figure::new("of it, until the plan", Unit::Seconds, planned),
        Figure::new("of it, until the verdict", Unit::Seconds, verdict),
    ])
}
