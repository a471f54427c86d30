use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use crate::error::CommandError;
use crate::paths::PathArgs;

/// Print completions for a shell
///
/// For bash: seatrial completions bash > /etc/bash_completion.d/seatrial
#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

impl CompletionsArgs {
    pub(crate) fn run(&self, _paths: &PathArgs) -> Result<u8, CommandError> {
        let mut text = Vec::new();
        clap_complete::generate(self.shell, &mut crate::Cli::command(), "seatrial", &mut text);
        crate::ui::data(&String::from_utf8_lossy(&text))?;
        Ok(0)
    }
}
