//! What 50,000 files cost when none of them changed.

use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use super::Bench;
use super::figure::{Figure, Unit};
use super::product::output;

const DIRECTORIES: usize = 500;
const FILES: usize = 100;

/// Two builds that nothing has made before: one with all files as its inputs,
/// one with the pipeline file alone.
const FILE: &str = "seatrial: 1
params: { run: { type: string, default: \"\" } }
builds:
  all: { params: [run], run: [touch, /out/x] }
  one: { params: [run], inputs: [seatrial.yaml], run: [touch, /out/x] }
";

/// From the start of a run to its plan, which has the digests of all files;
/// then an action that is given them.
pub(super) fn tree_50000(bench: &Bench) -> anyhow::Result<Vec<Figure>> {
    let project = project(bench)?;
    let build = |name: &str| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos();
        let mut command = bench.product.command(&project, &["build", name]);
        bench.product.events(command.args(["-p", &format!("run={now}")]))
    };
    // Files are looked at again until they are old enough for their time to
    // tell whether they changed.
    build("all")?;
    let (mut planned, mut alone) = (vec![], vec![]);
    let (mut given, mut empty) = (vec![], vec![]);
    for _ in 0..bench.runs {
        let all = build("all")?;
        planned.push(all.events.first("planned")?);
        given.push(all.events.span("build/all")?.length());
        let one = build("one")?;
        alone.push(one.events.first("planned")?);
        empty.push(one.events.span("build/one")?.length());
    }
    let more = |all: &[f64], one: &[f64]| -> Vec<f64> {
        all.iter().zip(one).map(|(all, one)| all - one).collect()
    };
    let inputs = more(&given, &empty);
    let both = planned.iter().zip(&inputs).map(|(planned, inputs)| planned + inputs).collect();
    let figure = |what: &str, samples| Figure::new(what, Unit::Millis, samples);
    Ok(vec![
        figure("50,000 files: plan, and inputs of an action", both).within(0.200),
        figure("of it, until the plan", planned),
        figure("of it, an action with all as inputs beyond one with one", inputs),
        figure("until the plan, one file being asked for", alone),
    ])
}

fn project(bench: &Bench) -> anyhow::Result<std::path::PathBuf> {
    let dir = bench.product.project("tree", &[("seatrial.yaml", FILE)])?;
    for directory in 0..DIRECTORIES {
        let at = dir.join(format!("pkg/{}/{directory}", directory / 25));
        std::fs::create_dir_all(&at)?;
        for file in 0..FILES {
            std::fs::write(at.join(format!("file_{file}.go")), format!("// {directory} {file}\n"))?;
        }
    }
    for arguments in [&["add", "--all"][..], &["commit", "--quiet", "--message=all"]] {
        let mut git = Command::new("git");
        git.args(["-c", "user.name=bench", "-c", "user.email=bench@example.com"]);
        // Nothing of git's goes on behind what is measured.
        git.args(["-c", "commit.gpgsign=false", "-c", "gc.auto=0", "-c", "maintenance.auto=false"]);
        output(git.args(arguments).current_dir(&dir))?;
    }
    Ok(dir)
}
