//! What 50,000 files cost when none of them changed.

use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use super::Bench;
use super::figure::{Figure, Unit};
use super::product::output;

const DIRECTORIES: usize = 500;
const FILES: usize = 100;

/// A build of all files, with a parameter so that each run makes it.
const FILE: &str = "seatrial: 1
params: { run: { type: string, default: \"\" } }
builds:
  all: { params: [run], run: [touch, /out/x] }
";

/// From the start of a run to its plan, which has the digests of all files, and
/// an action that is given them: each beyond what one file costs.
pub(super) fn tree_50000(bench: &Bench) -> anyhow::Result<Vec<Figure>> {
    let (many, one) = (project(bench, DIRECTORIES)?, project(bench, 0)?);
    let build = |project: &Path| -> anyhow::Result<(f64, f64)> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos();
        let mut command = bench.product.command(project, &["build"]);
        let run = bench.product.events(command.args(["-p", &format!("run={now}")]))?;
        Ok((run.events.first("planned")?, run.events.span("build/all")?.length()))
    };
    // Files are looked at again until they are old enough for their time to
    // tell whether they changed.
    build(&many)?;
    build(&one)?;
    let (mut plan, mut inputs, mut both) = (vec![], vec![], vec![]);
    for _ in 0..bench.runs {
        let (many, one) = (build(&many)?, build(&one)?);
        plan.push(many.0 - one.0);
        inputs.push(many.1 - one.1);
        both.push(many.0 - one.0 + many.1 - one.1);
    }
    let figure = |what: &str, samples| Figure::new(what, Unit::Millis, samples);
    Ok(vec![
        figure("50,000 unchanged files: digests, and inputs of an action", both).within(0.200),
        figure("of it, digests: until the plan, beyond one file", plan),
        figure("of it, inputs: the action, beyond one file", inputs),
    ])
}

fn project(bench: &Bench, directories: usize) -> anyhow::Result<std::path::PathBuf> {
    let dir = bench.product.project(&format!("tree-{directories}"), &[("seatrial.yaml", FILE)])?;
    for directory in 0..directories {
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
