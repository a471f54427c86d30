//! `seatrial.lock` beside the pipeline file: read, held against this machine,
//! written.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;

use seatrial_config::{LOCK_NAME, Lock, LockedTool};
use seatrial_core::action::ToolIdentity;
use seatrial_core::digest::Digest;
use seatrial_core::failure::Failure;
use seatrial_core::name::Name;
use seatrial_core::pipeline::Pipeline;
use seatrial_worker::Tools;

use crate::error::CommandError;
use crate::project::{self, kubernetes_patches, tools_of};

/// Tools that come with Seatrial, each release with its own.
const OWN: &[&str] = &["helm", "kubectl"];

/// What a run holds against this machine.
pub(crate) struct Held {
    lock: Lock,
    /// Whether any difference ends the run.
    strict: bool,
}

impl Held {
    /// Reads the lock file of a project. Without one nothing is held against
    /// anything, unless it is asked for.
    pub(crate) fn read(dir: &Path, strict: bool) -> Result<Self, CommandError> {
        match read(dir)? {
            Some(lock) => Ok(Self { lock, strict }),
            None if strict => {
                Err(Failure::config("lock.missing", format!("there is no {LOCK_NAME} here"))
                    .hint("`seatrial update` writes one; keep it in Git")
                    .into())
            }
            None => Ok(Self { lock: Lock::default(), strict }),
        }
    }

    /// Refuses a patch version of Kubernetes that this Seatrial does not have:
    /// nobody would test on another one without having said so.
    pub(crate) fn kubernetes(&self) -> Result<(), Failure> {
        let known = kubernetes_patches();
        for (minor, patch) in &self.lock.kubernetes {
            let Some(known) = known.get(minor).filter(|known| *known != patch) else { continue };
            let message =
                format!("{LOCK_NAME} has Kubernetes {patch}, and this Seatrial has {known}");
            return Err(Failure::config("lock.kubernetes", message)
                .hint(format!("`seatrial update {minor}` settles for {known}")));
        }
        Ok(())
    }

    /// What is different here, as warnings; with `--locked` that is an error.
    pub(crate) fn compare(&self, mut now: Lock) -> Result<Vec<String>, Failure> {
        // What a tag stands for is taken from the lock file, not held against it.
        now.images.clone_from(&self.lock.images);
        let found = self.lock.differences(&now);
        if self.strict && !found.is_empty() {
            let found: Vec<_> = found.iter().map(ToString::to_string).collect();
            let message = format!("what is here is not what {LOCK_NAME} has");
            return Err(Failure::config("lock.differs", message)
                .detail(found.join("\n"))
                .hint("`seatrial update` takes what is here, without `--locked` it is a warning"));
        }
        // What is not in it was never settled.
        let changed = found.iter().filter(|found| found.before.is_some() && found.after.is_some());
        Ok(changed.map(|found| format!("warning: not as in {LOCK_NAME}: {found}")).collect())
    }
}

/// The lock file of a project, if there is one.
pub(crate) fn read(dir: &Path) -> Result<Option<Lock>, CommandError> {
    let mistake = |found| CommandError::Diagnostics(vec![found]);
    let Some(text) = project::read_within(dir, LOCK_NAME).map_err(mistake)? else {
        return Ok(None);
    };
    let path = dir.join(LOCK_NAME);
    let origin = path.strip_prefix("./").unwrap_or(&path).display().to_string();
    Lock::parse(&text, &origin).map(Some).map_err(CommandError::Diagnostics)
}

/// Writes the lock file of a project: all of it or nothing.
pub(crate) fn write(dir: &Path, lock: &Lock) -> Result<(), Failure> {
    let path = dir.join(LOCK_NAME);
    let written =
        tempfile::Builder::new().prefix(".seatrial.lock.").tempfile_in(dir).and_then(|mut file| {
            use std::os::unix::fs::PermissionsExt as _;
            file.write_all(lock.render().as_bytes())?;
            file.as_file().set_permissions(std::fs::Permissions::from_mode(0o644))?;
            file.as_file().sync_all()?;
            file.persist(&path).map_err(|error| error.error)?;
            std::fs::File::open(dir)?.sync_all()
        });
    written.map_err(|error| {
        Failure::environment(
            "lock.not_written",
            format!("cannot write {}: {error}", path.display()),
        )
    })
}

/// What the words of a pipeline stand for here, but for tags of images: only
/// their registries know that.
pub(crate) fn here(pipeline: &Pipeline, tools: &Tools) -> Lock {
    let clusters = pipeline.environments.values().flat_map(|env| env.clusters.values());
    let minors = clusters.map(|cluster| &cluster.kubernetes);
    let patches = kubernetes_patches();
    let named = tools_of(pipeline);
    let is_locked = |name: &Name| named.contains(name) && !OWN.contains(&name.as_str());
    let identities = tools.identities().into_iter().filter(|(name, _)| is_locked(name));
    Lock {
        kubernetes: minors.filter_map(|m| Some((m.clone(), patches.get(m)?.clone()))).collect(),
        images: BTreeMap::new(),
        tools: identities.map(|(name, identity)| (name, locked(&identity))).collect(),
    }
}

fn locked(identity: &ToolIdentity) -> LockedTool {
    let ToolIdentity { binary, account } = identity;
    let version = match account.lines().next() {
        Some(line) if !line.is_empty() => line.to_owned(),
        _ => binary.to_string().chars().take("sha256:".len() + 12).collect(),
    };
    LockedTool { version, digest: Digest::of(format!("{binary}\n{account}")) }
}
