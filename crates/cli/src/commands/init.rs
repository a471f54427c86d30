use std::io::{ErrorKind, Write as _};
use std::path::Path;

use clap::Args;
use seatrial_config::{FILE_NAME, template};
use seatrial_core::failure::Failure;

use crate::error::CommandError;
use crate::paths::PathArgs;
use crate::ui;

/// Write a seatrial.yaml for a Go, Rust, Python or Node project
///
/// It is made from what the files of the project look like, with comments:
/// read it, then `seatrial check` and `seatrial run`.
#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    /// Print it instead of writing a file
    #[arg(long)]
    print: bool,
}

/// Bytes of a file that are looked at.
const LOOK: u64 = 1 << 20;

impl InitArgs {
    pub(crate) fn run(&self, paths: &PathArgs) -> Result<u8, CommandError> {
        let dir = &paths.project;
        let files = seatrial_source::WorkTree::open(dir)?.files()?;
        let names: Vec<_> = files.paths().collect();
        let read = |path: &str| read(&dir.join(path));
        let Some(text) = template(&names, read) else {
            let message = "there is no go.mod, Cargo.toml, pyproject.toml, requirements.txt or \
                           package.json here, and `init` knows no other projects";
            return Err(Failure::config("init.unknown_project", message)
                .hint("start from the example in docs/format.md")
                .into());
        };
        if self.print {
            ui::data(&text)?;
            return Ok(0);
        }
        let path = dir.join(FILE_NAME);
        let mut file = std::fs::File::create_new(&path).map_err(|error| {
            let (code, what) = match error.kind() {
                ErrorKind::AlreadyExists => ("init.exists", "it is there already".to_owned()),
                _ => ("init.not_written", error.to_string()),
            };
            let message = format!("cannot write {}: {what}", path.display());
            Failure::config(code, message)
                .hint("`seatrial init --print` shows what would be written")
        })?;
        file.write_all(text.as_bytes())?;
        ui::note(&format!("wrote {}: read it, then `seatrial check`", path.display()));
        Ok(0)
    }
}

/// The begin of a file as text, when it is that.
fn read(path: &Path) -> Option<String> {
    use std::io::Read as _;
    let mut text = String::new();
    let file = std::fs::File::open(path).ok()?;
    file.take(LOOK).read_to_string(&mut text).ok()?;
    Some(text)
}
