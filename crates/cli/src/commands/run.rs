use std::path::PathBuf;

use clap::Args;
use seatrial_core::name::Name;
use seatrial_core::plan::Selection;
use seatrial_store::Scope;

use crate::error::CommandError;
use crate::execute::{Format, Request, execute, parse_param};
use crate::junit::JunitFile;
use crate::keeper::{self, Keeper};
use crate::paths::PathArgs;

/// Build the product, boot a cluster, install, run the tests, say the verdict
///
/// What is tested is the working tree as it is, uncommitted changes included.
/// Everything made is kept by what it was made from: what did not change is
/// not made again.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// Suites to run; all when none is named
    suites: Vec<Name>,
    #[command(flatten)]
    common: CommonArgs,
    /// Write a JUnit XML report
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Leave the environments running, to look into them: see `seatrial env`
    #[arg(long)]
    keep: bool,
    /// Environments that there may be at once [default: as many as fit]
    ///
    /// When not said, as many as fit into the memory that is available, at most one for each
    /// core; one, when a cluster does not say how much memory its pods may use. Those that
    /// `--keep` leaves running are not counted.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..))]
    environments: Option<u32>,
    /// Fail where Kubernetes or a tool is not as seatrial.lock has it
    #[arg(long)]
    locked: bool,
}

/// Options of every command that carries out a plan.
#[derive(Debug, Args)]
pub(crate) struct CommonArgs {
    /// Set a parameter of the pipeline
    #[arg(short = 'p', long = "param", value_name = "NAME=VALUE", value_parser = parse_param)]
    pub(crate) params: Vec<(String, String)>,
    /// The code is somebody else's, such as a pull request from a fork
    ///
    /// What it makes is never used by a run without this. What those made is used here,
    /// once its content was verified. There are no environments, and no
    /// commands with the network.
    #[arg(long)]
    untrusted: bool,
    /// How the run is shown
    #[arg(long, value_enum, default_value_t = Format::Terminal)]
    pub(crate) format: Format,
}

impl CommonArgs {
    /// Whose code it is.
    pub(crate) fn scope(&self) -> Scope {
        if self.untrusted { Scope::Untrusted } else { Scope::Trusted }
    }
}

impl RunArgs {
    pub(crate) fn run(&self, paths: &PathArgs) -> Result<u8, CommandError> {
        let keeper = match self.keep {
            true => Some(match Keeper::of_this_process() {
                Some(keeper) => keeper,
                None => return keeper::launch(),
            }),
            false => None,
        };
        let junit = self.junit.as_deref().map(JunitFile::create).transpose()?;
        let ran = execute(&Request {
            paths,
            selection: Selection::Suites(self.suites.clone()),
            params: &self.common.params,
            format: self.common.format,
            scope: self.common.scope(),
            keep: self.keep,
            locked: self.locked,
            environments: self.environments,
        })?;
        if let Some(junit) = junit {
            junit.write(&ran.summary)?;
        }
        let code = ran.exit_code();
        match keeper {
            Some(keeper) => keeper.keep(paths, ran, code),
            None => Ok(code),
        }
    }
}
