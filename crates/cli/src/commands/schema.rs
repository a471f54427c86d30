use clap::Args;

use crate::error::CommandError;
use crate::paths::PathArgs;
use crate::ui;

/// Print the JSON schema of seatrial.yaml, for editors
#[derive(Debug, Args)]
pub(crate) struct SchemaArgs {}

impl SchemaArgs {
    pub(crate) fn run(&self, _paths: &PathArgs) -> Result<u8, CommandError> {
        ui::data(&format!("{:#}\n", seatrial_config::schema()))?;
        Ok(0)
    }
}
