use clap::Args;
use seatrial_core::name::Name;
use seatrial_core::plan::Selection;

use crate::commands::run::CommonArgs;
use crate::error::CommandError;
use crate::execute::{Request, execute};
use crate::paths::PathArgs;

/// Make builds and images, without a cluster
#[derive(Debug, Args)]
pub(crate) struct BuildArgs {
    /// Builds and images to make; all when none is named
    names: Vec<Name>,
    #[command(flatten)]
    common: CommonArgs,
}

impl BuildArgs {
    pub(crate) fn run(&self, paths: &PathArgs) -> Result<u8, CommandError> {
        let ran = execute(&Request {
            paths,
            selection: Selection::Artifacts(self.names.clone()),
            params: &self.common.params,
            format: self.common.format,
            scope: self.common.scope(),
            keep: false,
            locked: false,
            environments: None,
        })?;
        Ok(ran.exit_code())
    }
}
