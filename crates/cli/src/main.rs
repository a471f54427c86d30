//! The `seatrial` command: reads the command line, joins the crates, prints.
//!
//! One file a subcommand in `commands/`. Nothing here decides about a run.

mod commands;
mod error;
mod execute;
mod install;
mod junit;
mod keeper;
mod lock;
mod paths;
mod project;
mod recording;
mod registries;
mod ui;

use std::process::ExitCode;

use clap::Parser;

use crate::commands::Command;

/// End-to-end tests on real Kubernetes: from a working tree to a verdict.
///
/// Seatrial reads seatrial.yaml, builds what it says, boots a Kubernetes
/// cluster on this machine, installs the product and runs its tests.
///
/// Exit codes: 0 passed, 1 failed, 2 bad use or bad file (found before the
/// run or in it), 3 broken (infrastructure, not the product), 130 cancelled.
#[derive(Debug, Parser)]
#[command(name = "seatrial", version, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    paths: paths::PathArgs,
    #[command(subcommand)]
    command: Command,
}

fn main() -> ExitCode {
    // Must come first: this executable is also the first process of each
    // sandbox and environment.
    seatrial_sandbox::enter_if_asked();
    let filter = tracing_subscriber::EnvFilter::try_from_env("SEATRIAL_LOG")
        .unwrap_or_else(|_| "error,kube_client=off".into());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let cli = Cli::parse();
    match cli.command.run(&cli.paths) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            ui::show_error(&error);
            ExitCode::from(error.exit_code())
        }
    }
}
