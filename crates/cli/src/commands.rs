//! The subcommands, one file each.

mod build;
mod check;
mod completions;
mod components;
mod doctor;
mod env;
mod explain;
mod gc;
mod init;
mod logs;
mod plan;
mod run;
mod runs;
mod schema;
mod scrub;
mod update;

use clap::Subcommand;

use crate::error::CommandError;
use crate::paths::PathArgs;

/// A subcommand. Its doc comment is its help.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Run(run::RunArgs),
    Build(build::BuildArgs),
    Check(check::CheckArgs),
    Plan(plan::PlanArgs),
    Env(env::EnvArgs),
    Runs(runs::RunsArgs),
    Explain(explain::ExplainArgs),
    Logs(logs::LogsArgs),
    Init(init::InitArgs),
    Update(update::UpdateArgs),
    Components(components::ComponentsArgs),
    Gc(gc::GcArgs),
    Scrub(scrub::ScrubArgs),
    Doctor(doctor::DoctorArgs),
    Schema(schema::SchemaArgs),
    Completions(completions::CompletionsArgs),
}

impl Command {
    /// Runs it and returns the exit code.
    pub(crate) fn run(&self, paths: &PathArgs) -> Result<u8, CommandError> {
        match self {
            Self::Run(args) => args.run(paths),
            Self::Build(args) => args.run(paths),
            Self::Check(args) => args.run(paths),
            Self::Plan(args) => args.run(paths),
            Self::Env(args) => args.run(paths),
            Self::Runs(args) => args.run(paths),
            Self::Explain(args) => args.run(paths),
            Self::Logs(args) => args.run(paths),
            Self::Init(args) => args.run(paths),
            Self::Update(args) => args.run(paths),
            Self::Components(args) => args.run(paths),
            Self::Gc(args) => args.run(paths),
            Self::Scrub(args) => args.run(paths),
            Self::Doctor(args) => args.run(paths),
            Self::Schema(args) => args.run(paths),
            Self::Completions(args) => args.run(paths),
        }
    }
}
