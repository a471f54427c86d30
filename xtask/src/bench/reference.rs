//! `cargo xtask bench reference`: the reference job (`bench/reference`) as it is
//! done today and by Seatrial, measured in turn.
//!
//! A run that ended well is kept as one file, so a bench that was stopped goes
//! on where it was; all of that is below `target/`, or where `--results` says
//! (`bench/results` has the runs of the published figures). Runs of one round are
//! of one build on one machine; only whole rounds are shown. See
//! `docs/performance.md` for what the numbers mean and
//! `bench/baseline/README.md` for what is compared.

mod gotest;
mod measured;
mod plain;
mod plot;
mod project;
mod record;
mod seatrial;
mod show;
mod simulation;
mod tests_file;
mod works;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use seatrial_core::digest::Digest;

use self::plain::Caches;
use self::project::{Project, remove};
use self::record::{Case, Record, System, TestTime};
use super::machine::{self, Machine};
use super::product::Product;
use crate::repository;

/// Arguments of `cargo xtask bench reference`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How often each case is run by each system
    #[arg(long, value_name = "COUNT", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Only this case
    #[arg(long, value_name = "CASE")]
    only: Option<Case>,
    /// Measure the debug build instead of the release build
    #[arg(long)]
    debug: bool,
    /// Forget what earlier calls measured
    #[arg(long)]
    again: bool,
    /// Where runs are kept, a file each, instead of below target/: to go on with
    /// them in another clone. Whole rounds of other builds and machines stay
    #[arg(long, value_name = "DIR", conflicts_with = "again")]
    results: Option<PathBuf>,
    /// Instead: run every test so often in a row in one environment, and tell how
    /// often it failed
    #[arg(long, value_name = "COUNT", conflicts_with_all = ["rounds", "only", "show"])]
    repeat: Option<u32>,
    /// Run nothing: show what was measured, and write the files
    #[arg(long)]
    show: bool,
}

/// What every run works with.
pub(crate) struct Setup {
    project: Project,
    /// Thrown away after each run.
    scratch: PathBuf,
    seatrial: PathBuf,
    boot: PathBuf,
    components: PathBuf,
    cores: u32,
    /// The machine and the commit, in words.
    machine: String,
    /// What runs of one round have in common: the first digits of a digest of the
    /// machine, of the programs that are measured and of the version of Go.
    build: String,
}

/// Measures what is missing, and shows everything.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let dir = repository::target().join("bench-reference");
    std::fs::create_dir_all(&dir)?;
    let source = repository::root().join("bench/reference");
    let project = Project::open(&source, &dir)?;
    let results = args.results.clone().unwrap_or_else(|| dir.join("results"));
    let results = results.join(if args.debug { "debug" } else { "release" }).join(&project.tree);
    if args.again {
        remove(&results)?;
    }
    std::fs::create_dir_all(&results)?;
    if let Some(times) = args.repeat {
        return repeat(&setup(args, project, &dir)?, &dir, times);
    }
    if !args.show {
        measure(args, project, &dir, &results)?;
    }
    let all = read(&results)?;
    let records = show::whole(&all);
    anyhow::ensure!(!records.is_empty(), "no round was run by all three yet");
    if records.len() < all.len() {
        println!("left out: {} runs of rounds that not all have run", all.len() - records.len());
    }
    let costs = tests_file::costs(&records);
    let mut text = show::rounds(&records) + "\n" + &show::tables(&records);
    if let Some(agreement) = show::agreement(&records) {
        text += &format!("{agreement}\n\n");
    }
    text += &tests_file::simulated(&costs, tests_file::start(&records));
    println!("{text}");
    write(&source, &records, &costs, &text)
}

fn setup(args: &Args, project: Project, dir: &Path) -> anyhow::Result<Setup> {
    let product = Product::find(args.debug, None)?;
    product.cargo("build", &["--package", "seatrial-cluster", "--example", "boot"])?;
    let built = repository::target().join(product.profile());
    let (seatrial, boot) = (built.join("seatrial"), built.join("examples/boot"));
    let machine = Machine::read(&product)?;
    println!("{}", machine.line());
    let go = measured::output(std::process::Command::new("go").arg("version"))?.0;
    let mut same = machine.itself() + &go;
    for program in [&seatrial, &boot] {
        same += &Digest::of(std::fs::read(program)?).hex();
    }
    Ok(Setup {
        project,
        machine: machine.line(),
        build: Digest::of(same).short(),
        scratch: dir.join("scratch"),
        seatrial,
        boot,
        components: components()?,
        cores: u32::try_from(std::thread::available_parallelism()?.get())?,
    })
}

/// Runs every test so often; the flake rate.
fn repeat(setup: &Setup, dir: &Path, times: u32) -> anyhow::Result<()> {
    let caches = Caches::in_dir(dir);
    remove(&setup.scratch)?;
    caches.warm(setup)?;
    let record = empty(setup, 0, Case::Unchanged, System::Baseline)?;
    let record = plain::repeat(setup, &caches, times, record)?;
    for red in &record.red {
        println!("red: {red}");
    }
    let (failed, ran) = (record.red.len(), record.tests.len());
    let rate = 100.0 * failed as f64 / ran as f64;
    println!("{failed} of {ran} failed, {times} times each: flake rate {rate:.2} %");
    println!("the slowest, and all over 10 s (worst, median), load {:.1}:", machine::load()?);
    let mut walls: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for test in &record.tests {
        walls.entry(&test.name).or_default().push(test.wall_s);
    }
    let of = |(name, walls): (_, Vec<f64>)| {
        (walls.iter().copied().fold(0.0, f64::max), show::median(walls), name)
    };
    let mut slowest: Vec<(f64, f64, &str)> = walls.into_iter().map(of).collect();
    slowest.sort_by(|a, b| b.0.total_cmp(&a.0));
    for (place, (worst, median, name)) in slowest.into_iter().enumerate() {
        if place < 5 || worst > 10.0 {
            println!("  {worst:4.1} s {median:4.1} s  {name}");
        }
    }
    remove(&setup.scratch)?;
    anyhow::ensure!(failed == 0, "tests failed");
    Ok(())
}

fn measure(args: &Args, project: Project, dir: &Path, results: &Path) -> anyhow::Result<()> {
    let setup = setup(args, project, dir)?;
    for round in 1..=args.rounds {
        for case in Case::ALL.into_iter().filter(|case| args.only.is_none_or(|only| only == *case))
        {
            let path = |system: System| {
                results.join(format!("{round}-{}-{}.json", case.word(), system.word()))
            };
            begin(&System::ALL.map(path), &setup.build, args.results.is_some())?;
            for system in System::in_turn(round) {
                let path = path(system);
                if path.exists() {
                    continue;
                }
                println!("round {round}: {}, {}", case.said(), system.word());
                let record = one(&setup, dir, round, case, system)?;
                complete(&record, &read(results)?)?;
                println!("    {:.1} s, {} red", record.wall_s, record.red.len());
                std::fs::write(path, serde_json::to_string_pretty(&record)?)?;
            }
        }
    }
    remove(&setup.scratch)
}

/// One run of the job.
fn one(
    setup: &Setup,
    dir: &Path,
    round: u32,
    case: Case,
    system: System,
) -> anyhow::Result<Record> {
    let branch = &setup.project.branch(case)?;
    remove(&setup.scratch)?;
    std::fs::create_dir_all(&setup.scratch)?;
    let mut record = if system == System::Seatrial {
        let state = dir.join("seatrial-state");
        if case == Case::Cold {
            remove(&state)?;
        } else {
            seatrial::warm(setup, &state)?;
        }
        seatrial::run(setup, &state, branch, empty(setup, round, case, system)?)?
    } else {
        let caches = Caches::in_dir(dir);
        if case == Case::Cold {
            caches.forget()?;
        } else {
            caches.warm(setup)?;
        }
        plain::run(setup, &caches, branch, empty(setup, round, case, system)?)?
    };
    record.load.1 = machine::load()?;
    Ok(record)
}

/// What another build or machine has measured is measured again, but for whole
/// rounds where those are kept: ratios are of one of each.
fn begin(paths: &[PathBuf], build: &str, keep_whole: bool) -> anyhow::Result<()> {
    if keep_whole && paths.iter().all(|path| path.exists()) {
        return Ok(());
    }
    for path in paths.iter().filter(|path| path.exists()) {
        if record(path)?.build != build {
            println!("{}: of another build or machine; again", path.display());
            std::fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// A program that dies takes its other tests with it: such a run is no
/// measurement.
fn complete(record: &Record, others: &[Record]) -> anyhow::Result<()> {
    let of = |record: &Record| -> BTreeSet<String> {
        record.tests.iter().map(TestTime::full_name).collect()
    };
    let Some(other) = others.first().map(of) else { return Ok(()) };
    let missing: Vec<String> = of(record).symmetric_difference(&other).cloned().collect();
    anyhow::ensure!(missing.is_empty(), "not the same tests ran as before: {}", missing.join(", "));
    Ok(())
}

/// The record of a run that has not begun.
fn empty(setup: &Setup, round: u32, case: Case, system: System) -> anyhow::Result<Record> {
    let load = machine::load()?;
    Ok(Record {
        system,
        case,
        round,
        red: Vec::new(),
        wall_s: 0.0,
        core_s: 0.0,
        rows: Vec::new(),
        unattributed_s: 0.0,
        bound_s: 0.0,
        bound_by: String::new(),
        tests: Vec::new(),
        load: (load, load),
        measured: setup.machine.clone(),
        build: setup.build.clone(),
    })
}

/// Kubernetes and friends, as `seatrial components install` left them last.
fn components() -> anyhow::Result<PathBuf> {
    let cache = match (std::env::var_os("SEATRIAL_CACHE_DIR"), std::env::var_os("HOME")) {
        (Some(dir), _) => PathBuf::from(dir),
        (None, Some(home)) => std::env::var_os("XDG_CACHE_HOME")
            .map_or_else(|| Path::new(&home).join(".cache"), PathBuf::from)
            .join("seatrial"),
        (None, None) => anyhow::bail!("neither SEATRIAL_CACHE_DIR nor HOME is set"),
    };
    let current = cache.join("components/current");
    let missing = || format!("{}: run `seatrial components install`", current.display());
    let entries = std::fs::read_dir(&current).with_context(missing)?;
    let entries = entries.filter_map(Result::ok);
    let newest = entries.max_by_key(|entry| entry.metadata().and_then(|data| data.modified()).ok());
    Ok(newest.with_context(missing)?.path().canonicalize()?)
}

fn read(results: &Path) -> anyhow::Result<Vec<Record>> {
    let mut records = Vec::new();
    for entry in std::fs::read_dir(results)? {
        let path = entry?.path();
        if path.extension().is_some_and(|end| end == "json") {
            records.push(record(&path)?);
        }
    }
    records.sort_by_key(|record| (record.round, record.case as u8, record.system as u8));
    Ok(records)
}

fn record(path: &Path) -> anyhow::Result<Record> {
    let text = std::fs::read_to_string(path)?;
    serde_json::from_str(&text).with_context(|| path.display().to_string())
}

/// What is kept in the repository: costs of tests, the picture, and the page with
/// all that was shown. And all records in one file.
fn write(
    source: &Path,
    records: &[Record],
    costs: &[tests_file::TestCost],
    text: &str,
) -> anyhow::Result<()> {
    let target = repository::target().join("bench-reference");
    if !costs.is_empty() {
        std::fs::write(source.join(tests_file::NAME), tests_file::text(costs)?)?;
    }
    std::fs::write(target.join("records.json"), serde_json::to_string_pretty(records)?)?;
    let docs = repository::root().join("docs");
    std::fs::write(docs.join("reference-job.svg"), plot::svg(records))?;
    std::fs::write(docs.join("reference-job.md"), show::page(records, text))?;
    println!(
        "written: bench/reference/tests.json, docs/reference-job.md and .svg, {}/records.json",
        target.display()
    );
    Ok(())
}
