use clap::Args;
use seatrial_config::Loaded;

use crate::error::CommandError;
use crate::paths::PathArgs;
use crate::{project, ui};

/// Check seatrial.yaml: all mistakes at once
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {}

impl CheckArgs {
    pub(crate) fn run(&self, paths: &PathArgs) -> Result<u8, CommandError> {
        let Loaded { pipeline, warnings, .. } = project::load(&paths.project)?;
        project::tell_warnings(&warnings);
        ui::note(&format!(
            "seatrial.yaml is fine: {}, {}, {}, {}",
            count(pipeline.builds.len(), "build"),
            count(pipeline.images.len(), "image"),
            count(pipeline.environments.len(), "environment"),
            count(pipeline.suites.len(), "suite"),
        ));
        Ok(0)
    }
}

fn count(n: usize, what: &str) -> String {
    match n {
        1 => format!("1 {what}"),
        n => format!("{n} {what}s"),
    }
}
