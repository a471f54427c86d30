use std::path::PathBuf;

use clap::{Args, Subcommand};
use seatrial_components::{Components, From};

use crate::error::CommandError;
use crate::paths::PathArgs;
use crate::{install, ui};

/// Kubernetes and friends: what is installed, and install it
#[derive(Debug, Args)]
pub(crate) struct ComponentsArgs {
    #[command(subcommand)]
    command: ComponentsCommand,
}

#[derive(Debug, Subcommand)]
enum ComponentsCommand {
    /// Install what is missing; `run` does this by itself
    Install {
        /// `auto`: the release, and a build from Go modules where that cannot
        /// be had within seconds; `release`; `go`; or the directory of an
        /// installation that was copied from another machine
        #[arg(long, value_name = "auto|release|go|DIR", default_value = "auto")]
        from: String,
    },
    /// Show what is installed, in which version, from where
    Status,
}

impl ComponentsArgs {
    pub(crate) fn run(&self, paths: &PathArgs) -> Result<u8, CommandError> {
        let cache = paths.components()?;
        match &self.command {
            ComponentsCommand::Install { from } => {
                let from = match from.as_str() {
                    "auto" => From::Auto,
                    "release" => From::Release,
                    "go" => From::Go,
                    dir => From::Dir(PathBuf::from(dir)),
                };
                let installed = install::install(&cache, &from)?;
                ui::note(&format!("installed in {}", installed.root.display()));
                Ok(0)
            }
            ComponentsCommand::Status => {
                let status = Components::locked().locate(&cache);
                let mut rows = vec![["component", "version", "installed from"].map(str::to_owned)];
                for component in &status.components {
                    let from = match component.source {
                        Some(source) => source.to_string(),
                        None if component.optional => "missing (optional)".to_owned(),
                        None => "missing".to_owned(),
                    };
                    rows.push([component.name.clone(), component.version.clone(), from]);
                }
                ui::data(&ui::columns(&rows))?;
                match status.installed {
                    Some(installed) => {
                        ui::note(&format!("all in {}", installed.root.display()));
                        Ok(0)
                    }
                    None => {
                        ui::note("hint: `seatrial components install` installs what is missing");
                        Ok(seatrial_core::verdict::exit_code::FAILED)
                    }
                }
            }
        }
    }
}
