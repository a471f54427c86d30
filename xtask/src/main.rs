//! `cargo xtask`: what is done with this repository, as one program.
//!
//! One file a subcommand. Nothing of the product is here; what people run to
//! try, test, measure and keep the repository in order is.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line tool talks")]

mod bench;
mod demo;
mod fuzz;
mod generate;
mod leaks;
mod prerequisites;
mod repository;
mod steps;
mod test;
mod tidy;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Try, test, measure and keep this repository in order.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Xtask {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show the product at work: prerequisites, components, build, one run of examples/podinfo
    Demo(demo::Args),
    /// All that CI runs, in order, until the first red
    Test(test::Args),
    /// Try what reads strangers' bytes, each reader for some time
    Fuzz(fuzz::Args),
    /// Measure the budgets, as a table and JSON
    Bench(bench::Args),
    /// Rules of the repository that no compiler checks
    Tidy,
    /// Write the generated files: the schema, tables of the docs, help texts
    Generate(generate::Args),
}

fn main() -> ExitCode {
    let done = match Xtask::parse().command {
        Command::Demo(args) => demo::run(&args),
        Command::Test(args) => return test::run(&args),
        Command::Fuzz(args) => fuzz::run(&args),
        Command::Bench(args) => bench::run(args),
        Command::Tidy => tidy::run(),
        Command::Generate(args) => generate::run(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
