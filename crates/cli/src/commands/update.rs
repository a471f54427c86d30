use clap::Args;
use seatrial_config::{Code, LOCK_NAME, Loaded, Lock};
use seatrial_core::digest::Digest;
use seatrial_core::failure::Failure;

use crate::error::CommandError;
use crate::paths::PathArgs;
use crate::registries::registries;
use crate::{lock, project, ui};

/// Write seatrial.lock: what the pipeline's words stand for here and now
///
/// The exact patch of each version of Kubernetes, the digest of each base image
/// that is named by tag, and what each tool is. A run uses these digests, and
/// warns of tools that are others; `seatrial run --locked` fails.
#[derive(Debug, Args)]
pub(crate) struct UpdateArgs {
    /// Tools, images and versions of Kubernetes to update; all when none is named
    names: Vec<String>,
    /// Write nothing, say what would change, and exit with 1 if anything would
    #[arg(long)]
    check: bool,
}

impl UpdateArgs {
    pub(crate) fn run(&self, paths: &PathArgs) -> Result<u8, CommandError> {
        let dir = &paths.project;
        let Loaded { pipeline, tags, .. } = project::load_with(dir, None)?;
        let tools = project::find_tools(&pipeline, None, dir)?;
        let before = self.before(lock::read(dir))?;
        let mut here = lock::here(&pipeline, &tools);
        // Nobody is asked for what is not to be updated.
        let is_asked = |tag: &&String| self.names.is_empty() || self.names.contains(tag);
        here.images = tags.iter().filter(is_asked).map(resolve).collect::<Result<_, _>>()?;
        let after = match self.names.as_slice() {
            [] => here,
            names => before.clone().unwrap_or_default().updated(&here, names).map_err(|name| {
                let message = format!("neither seatrial.yaml nor {LOCK_NAME} has `{name}`");
                Failure::config("lock.unknown_name", message)
                    .hint("names are those of tools, base images with their tag, and versions of Kubernetes")
            })?,
        };
        let differences = before.clone().unwrap_or_default().differences(&after);
        for difference in &differences {
            ui::data(&format!("{difference}\n"))?;
        }
        if before.as_ref() == Some(&after) {
            ui::note(&format!("{LOCK_NAME} is up to date"));
            return Ok(0);
        }
        if self.check {
            ui::note(&format!("`seatrial update` would write {LOCK_NAME}"));
            return Ok(1);
        }
        lock::write(dir, &after)?;
        ui::note(&format!("wrote {LOCK_NAME}: keep it in Git"));
        Ok(0)
    }

    /// The lock so far. One that cannot be read is replaced when all of it is
    /// written anew, but not what a newer Seatrial wrote.
    fn before(
        &self,
        read: Result<Option<Lock>, CommandError>,
    ) -> Result<Option<Lock>, CommandError> {
        match read {
            Err(CommandError::Diagnostics(mistakes))
                if self.names.is_empty()
                    && !self.check
                    && mistakes.iter().all(|mistake| mistake.code != Code::UnknownVersion) =>
            {
                Ok(None)
            }
            read => read,
        }
    }
}

/// What an image's tag stands for now.
fn resolve(image: &String) -> Result<(String, Digest), CommandError> {
    let (name, tag) = image.rsplit_once(':').unwrap_or((image, "latest"));
    let digest = registries()?.resolve(name, tag).map_err(|error| {
        Failure::environment("lock.unresolved", Failure::chain(&error))
            .hint(format!("what `{image}` stands for is not known; nothing was written"))
    })?;
    Ok((image.clone(), digest))
}
