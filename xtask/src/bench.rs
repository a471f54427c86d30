//! `cargo xtask bench`: the budgets, measured on this machine.
//!
//! Each benchmark drives the `seatrial` command as a person does and reads the
//! events that it prints; what is below the command (the plan, the sandbox) is
//! measured by an example of its crate. Nothing here judges: it prints medians,
//! worst values and budgets, and how busy the machine was meanwhile.

mod actions;
mod cluster;
mod events;
mod figure;
mod image;
mod machine;
mod plan;
mod product;
mod reference;
mod tree;
mod unchanged;

use std::path::PathBuf;

use anyhow::Context as _;

use self::figure::Figure;
use self::product::Product;

/// Arguments of `cargo xtask bench`.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    other: Option<Other>,
    /// Benchmarks to run; all when none is named
    #[arg(value_name = "NAME", value_parser = names())]
    benchmarks: Vec<String>,
    /// Write the figures as JSON, with machine, commit and command
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Measure the debug build instead of the release build
    #[arg(long)]
    debug: bool,
    /// Measure this `seatrial` instead of building one, to compare two of them
    #[arg(long, value_name = "FILE")]
    exe: Option<PathBuf>,
    /// How often each is measured
    #[arg(long, value_name = "COUNT", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    runs: u32,
}

/// What is measured in another way.
#[derive(Debug, clap::Subcommand)]
enum Other {
    /// The reference job: as it is done today, and by Seatrial, in turn
    Reference(reference::Args),
}

/// What a benchmark measures with.
pub(crate) struct Bench {
    product: Product,
    runs: u32,
}

type Measure = fn(&Bench) -> anyhow::Result<Vec<Figure>>;

/// All benchmarks, the cheap ones first.
const BENCHMARKS: &[(&str, Measure)] = &[
    ("plan-10000", plan::plan_10000),
    ("action-overhead", actions::overhead),
    ("tree-50000", tree::tree_50000),
    ("nothing-changed", unchanged::nothing_changed),
    ("cold-boot", cluster::cold_boot),
    ("boot-overlap", cluster::boot_overlap),
    ("image-50mb", image::image_50mb),
];

/// Measures the budgets and prints them.
#[expect(clippy::needless_pass_by_value, reason = "every subcommand is given its arguments")]
pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    if let Some(Other::Reference(args)) = &args.other {
        return reference::run(args);
    }
    let product = Product::find(args.debug, args.exe.as_deref())?;
    let before = machine::Machine::read(&product)?;
    let bench = Bench { product, runs: args.runs };
    let mut figures = Vec::new();
    for (name, measure) in BENCHMARKS {
        if !args.benchmarks.is_empty() && !args.benchmarks.iter().any(|chosen| chosen == name) {
            continue;
        }
        eprintln!("{name} ...");
        let load = machine::load()?;
        let measured = measure(&bench);
        let measured =
            measured.with_context(|| format!("the benchmark {name} did not end well"))?;
        let load = (load, machine::load()?);
        figures.extend(measured.into_iter().map(|figure| figure.measured_by(name, load)));
    }
    bench.product.clean_up()?;
    println!("{}", before.line());
    println!("{}", figure::table(&figures));
    if let Some(path) = &args.json {
        let value = serde_json::json!({
            "machine": before,
            "command": std::env::args().collect::<Vec<_>>(),
            "runs": args.runs,
            "figures": figures,
        });
        std::fs::write(path, format!("{value:#}\n"))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

fn names() -> clap::builder::PossibleValuesParser {
    clap::builder::PossibleValuesParser::new(BENCHMARKS.iter().map(|(name, _)| *name))
}
