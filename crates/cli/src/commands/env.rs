use std::process::Command;

use clap::{Args, Subcommand};
use seatrial_core::name::Name;
use seatrial_core::plan::Selection;
use seatrial_core::verdict::exit_code;

use crate::commands::run::CommonArgs;
use crate::error::CommandError;
use crate::execute::{Request, execute};
use crate::keeper::{self, Keeper};
use crate::paths::PathArgs;
use crate::project::load;
use crate::ui;

/// Environments by hand: a cluster with my product in it
#[derive(Debug, Args)]
pub(crate) struct EnvArgs {
    #[command(subcommand)]
    command: EnvCommand,
}

#[derive(Debug, Subcommand)]
enum EnvCommand {
    /// Bring an environment up, product installed, and leave it running
    Up {
        /// The environment of seatrial.yaml; may be left out when there is one,
        /// or one is called `default`
        environment: Option<Name>,
        #[command(flatten)]
        common: CommonArgs,
    },
    /// List environments that are running
    Ls,
    /// Open a shell in which kubectl speaks to an environment
    Shell {
        /// Its id or name; may be left out when there is one
        environment: Option<String>,
        /// A command to run instead of a shell
        #[arg(last = true)]
        command: Vec<String>,
    },
    /// Print the kubeconfig of an environment, for use on this machine
    Kubeconfig {
        /// Its id or name; may be left out when there is one
        environment: Option<String>,
        /// The cluster; the first when not said
        #[arg(long)]
        cluster: Option<String>,
    },
    /// End an environment
    Down {
        /// Its id or name; may be left out when there is one
        environment: Option<String>,
        /// End all
        #[arg(long, conflicts_with = "environment")]
        all: bool,
    },
}

impl EnvArgs {
    pub(crate) fn run(&self, paths: &PathArgs) -> Result<u8, CommandError> {
        let state = paths.state()?;
        match &self.command {
            EnvCommand::Up { environment, common } => {
                let Some(keeper) = Keeper::of_this_process() else { return keeper::launch() };
                let name = match environment {
                    Some(name) => name.clone(),
                    None => only_environment(paths)?,
                };
                let ran = execute(&Request {
                    paths,
                    selection: Selection::Environment(name),
                    params: &common.params,
                    format: common.format,
                    scope: common.scope(),
                    keep: true,
                    locked: false,
                    environments: None,
                })?;
                let code = ran.exit_code();
                keeper.keep(paths, ran, code)
            }
            EnvCommand::Ls => {
                let list = keeper::list(&state)?;
                if list.is_empty() {
                    ui::note("no environment is running: `seatrial env up` brings one up");
                    return Ok(0);
                }
                let mut rows =
                    vec![["id", "environment", "project", "clusters"].map(str::to_owned)];
                for (kept, _) in list {
                    let clusters = kept.clusters.join(", ");
                    rows.push([kept.id, kept.environment, kept.project, clusters]);
                }
                ui::data(&ui::columns(&rows))?;
                Ok(0)
            }
            EnvCommand::Shell { environment, command } => {
                let (kept, dir) = keeper::find(&state, environment.as_deref())?;
                shell(paths, &kept, &dir, command)
            }
            EnvCommand::Kubeconfig { environment, cluster } => {
                let (kept, dir) = keeper::find(&state, environment.as_deref())?;
                let cluster = cluster.clone().or_else(|| kept.clusters.first().cloned());
                let file = format!("kubeconfig-{}", cluster.unwrap_or_default());
                ui::data(&std::fs::read_to_string(dir.join(file))?)?;
                Ok(0)
            }
            EnvCommand::Down { environment, all } => {
                let down = match all {
                    true => keeper::list(&state)?,
                    false => vec![keeper::find(&state, environment.as_deref())?],
                };
                for (kept, dir) in down {
                    keeper::down(&dir)?;
                    ui::note(&format!("{} ({}) is gone", kept.id, kept.environment));
                }
                Ok(0)
            }
        }
    }
}

/// The environment that is meant when none is named.
fn only_environment(paths: &PathArgs) -> Result<Name, CommandError> {
    let pipeline = load(&paths.project)?.pipeline;
    let default: Name = "default".parse().expect("this is a name");
    let mut names = pipeline.environments.keys();
    match (names.next(), names.next()) {
        (Some(only), None) => Ok(only.clone()),
        _ => Ok(default),
    }
}

fn shell(
    paths: &PathArgs,
    kept: &keeper::Kept,
    dir: &std::path::Path,
    command: &[String],
) -> Result<u8, CommandError> {
    let installed =
        seatrial_components::Components::locked().locate(&paths.components()?).installed;
    let bin = installed.map(|installed| installed.bin.display().to_string()).unwrap_or_default();
    let path = format!("{bin}:{}", std::env::var("PATH").unwrap_or_default());
    let shell = std::env::var("SHELL").unwrap_or_else(|_| "/bin/sh".to_owned());
    let (program, arguments) = match command.split_first() {
        Some((program, arguments)) => (program.clone(), arguments),
        None => (shell, &[] as &[String]),
    };
    let cluster = kept.clusters.first().cloned().unwrap_or_default();
    let status = Command::new(program)
        .args(arguments)
        .env("KUBECONFIG", dir.join(format!("kubeconfig-{cluster}")))
        .env("SEATRIAL_ENVIRONMENT", &kept.environment)
        .env("PATH", path)
        .status()?;
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.unwrap_or(exit_code::BROKEN))
}
