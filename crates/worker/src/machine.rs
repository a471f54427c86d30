//! The machine that a worker owns: its store, its components, its tools, and
//! the user that commands run as.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use seatrial_components::Installed;
use seatrial_core::action::{ComponentsIdentity, Platform};
use seatrial_core::digest::Digest;
use seatrial_core::failure::Failure;
use seatrial_core::plan::Plan;
use seatrial_oci::Registries;
use seatrial_protocol::VERSION;
use seatrial_protocol::worker::Hello;
use seatrial_sandbox::action::NOBODY;
use seatrial_sandbox::owner::{Owner, sweep};
use seatrial_store::{Scope, Store};

use crate::layers::MountableLayers;
use crate::tools::Tools;

/// What a worker is given.
pub struct Settings {
    /// The store.
    pub store: Arc<Store>,
    /// Kubernetes and friends; `None`: nothing that needs a cluster can be
    /// done.
    pub components: Option<Installed>,
    /// What is known of the registries that bases of images are pulled from.
    pub registries: Registries,
    /// Tools of the machine and of the components.
    pub tools: Tools,
    /// An executable that calls `seatrial_sandbox::enter_if_asked` first.
    pub exe: PathBuf,
    /// Environments that there may be at once.
    pub environments: u32,
    /// Whose code is run.
    pub scope: Scope,
}

/// A machine that can do what a worker is asked for.
pub struct Machine {
    settings: Settings,
    owner: Owner,
    uid: u32,
    gid: u32,
    platform: Platform,
    cores: u32,
    memory: u64,
    /// `None`: nodes unpack layers themselves.
    layers: OnceLock<Option<Arc<MountableLayers>>>,
}

/// Why this machine cannot be a worker.
#[derive(Debug, thiserror::Error)]
pub enum MachineError {
    /// The process lacks privileges.
    #[error("environments and sandboxes need root on this machine")]
    NotRoot,
    /// What runs apart cannot be owned: mostly, control groups are missing.
    #[error("nothing can be run apart on this machine")]
    Sandbox(#[source] seatrial_sandbox::Error),
    /// The machine cannot be read.
    #[error("cannot read {0}")]
    Read(&'static str, #[source] std::io::Error),
}

impl MachineError {
    /// As it ends a command.
    #[must_use]
    pub fn failure(&self) -> Failure {
        let failure = Failure::environment("sandbox.unavailable", Failure::chain(self));
        match self {
            Self::NotRoot => failure.hint(
                "run it with sudo: builds and tests run as your user, \
                only what needs it as root",
            ),
            Self::Sandbox(_) | Self::Read(..) => failure.hint("`seatrial doctor` tells more"),
        }
    }
}

impl Machine {
    /// Looks at the machine.
    ///
    /// # Errors
    /// When it cannot be a worker.
    pub fn new(settings: Settings) -> Result<Self, MachineError> {
        if !nix::unistd::geteuid().is_root() {
            return Err(MachineError::NotRoot);
        }
        let state = settings.store.dir();
        remove_dead(|| sweep(state));
        let owner = Owner::register(state).map_err(MachineError::Sandbox)?;
        let (uid, gid) = command_user();
        let platform = platform(&settings.tools, settings.components.as_ref());
        let cores = cores()?;
        Ok(Self {
            settings,
            owner,
            uid,
            gid,
            platform,
            cores,
            memory: memory("MemTotal:")?,
            layers: OnceLock::new(),
        })
    }

    /// What it says of itself.
    #[must_use]
    pub fn hello(&self) -> Hello {
        Hello {
            version: VERSION,
            platform: self.platform.clone(),
            cores: self.cores,
            memory: self.memory,
            environments: self.settings.environments,
        }
    }

    pub(crate) fn platform(&self) -> &Platform {
        &self.platform
    }

    pub(crate) fn cores(&self) -> u32 {
        self.cores
    }

    pub(crate) fn store(&self) -> &Arc<Store> {
        &self.settings.store
    }

    pub(crate) fn registries(&self) -> &Registries {
        &self.settings.registries
    }

    pub(crate) fn scope(&self) -> Scope {
        self.settings.scope
    }

    pub(crate) fn tools(&self) -> &Tools {
        &self.settings.tools
    }

    pub(crate) fn exe(&self) -> &Path {
        &self.settings.exe
    }

    pub(crate) fn owner(&self) -> &Owner {
        &self.owner
    }

    /// The user and group that commands run as.
    pub(crate) fn user(&self) -> (u32, u32) {
        (self.uid, self.gid)
    }

    /// The layers that nodes mount, where this machine can do that; looked at
    /// when it is first asked for, and only where there can be nodes.
    pub(crate) fn layers(&self) -> Option<&Arc<MountableLayers>> {
        self.settings.components.as_ref()?;
        let look = || match MountableLayers::new(&self.settings.store) {
            Ok(layers) => Some(Arc::new(layers)),
            Err(error) => {
                tracing::debug!(error = %Failure::chain(&error), "layers are unpacked by nodes");
                None
            }
        };
        self.layers.get_or_init(look).as_ref()
    }

    pub(crate) fn components(&self) -> Result<&Installed, Failure> {
        self.settings.components.as_ref().ok_or_else(|| {
            Failure::environment("components.missing", "Kubernetes is not installed")
                .hint("run `seatrial components install`")
        })
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        remove_dead(|| self.owner.remove());
    }
}

/// How long what was killed may take to be gone: its control groups cannot be
/// removed before the kernel is through with it.
const DYING: Duration = Duration::from_secs(5);

/// Removes what the dead left, waiting until the kernel lets it. What cannot
/// be removed takes nothing from anybody, and the next start tries it again.
fn remove_dead<T>(remove: impl Fn() -> Result<T, seatrial_sandbox::Error>) {
    let deadline = Instant::now() + DYING;
    while let Err(error) = remove() {
        if Instant::now() > deadline {
            tracing::error!(error = %Failure::chain(&error), "something of a dead process is left");
            return;
        }
        #[expect(clippy::disallowed_methods, reason = "nothing tells when a group can be removed")]
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// What keys say of this machine, with these tools.
#[must_use]
pub fn platform(tools: &Tools, components: Option<&Installed>) -> Platform {
    Platform {
        name: format!("{}/{}", std::env::consts::OS, arch()),
        base: base_fingerprint(),
        tools: tools.identities(),
        components: components.map(|components| ComponentsIdentity {
            digest: components.digest,
            versions: components.versions.clone(),
        }),
    }
}

/// Commands run as the user who called sudo, else as nobody: never as root.
fn command_user() -> (u32, u32) {
    let of = |name: &str| {
        // Only a number that is no root counts; whoever can set these
        // variables for a root process is root already.
        std::env::var(name).ok().and_then(|text| text.parse::<u32>().ok()).filter(|id| *id != 0)
    };
    match (of("SUDO_UID"), of("SUDO_GID")) {
        (Some(uid), Some(gid)) => (uid, gid),
        _ => (NOBODY, NOBODY),
    }
}

/// What identifies the programs and libraries below `/usr` that every command
/// sees: the package database where there is one, else the C library.
fn base_fingerprint() -> String {
    let database = ["/var/lib/dpkg/status", "/lib/apk/db/installed", "/var/lib/rpm/rpmdb.sqlite"];
    let of = |path: &&str| std::fs::read(path).ok().map(|bytes| Digest::of(bytes).short());
    database.iter().find_map(of).unwrap_or_else(|| "unknown".to_owned())
}

fn arch() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// Memory for each core that no environment gets, in bytes: builds and test
/// programs run beside them.
const BESIDE: u64 = 1 << 30;

/// Instances of inotify that an environment uses for each node, measured with
/// cgroup version 1. With version 2 containerd adds one for each container.
const INOTIFY: u32 = 30;

/// Environments of a plan that this machine has room for at once, now: at most
/// one for each core.
///
/// # Errors
/// When the machine cannot be read.
pub fn room(plan: &Plan) -> Result<u32, MachineError> {
    let cores = cores()?;
    let memory = memory("MemAvailable:")?.saturating_sub(BESIDE.saturating_mul(cores.into()));
    Ok(plan.room(memory, watched()?, cores))
}

/// Nodes of clusters whose watches of files the kernel allows at once. Its limit
/// is for all that root runs: half of it is for pods, and for what else there is.
///
/// # Errors
/// When the limit cannot be read.
pub fn watched() -> Result<u32, MachineError> {
    let path = "/proc/sys/fs/inotify/max_user_instances";
    let text = std::fs::read_to_string(path).map_err(|source| MachineError::Read(path, source))?;
    Ok(text.trim().parse::<u32>().unwrap_or(0) / 2 / INOTIFY)
}

fn cores() -> Result<u32, MachineError> {
    let cores = std::thread::available_parallelism()
        .map_err(|source| MachineError::Read("the number of cores", source))?;
    Ok(u32::try_from(cores.get()).unwrap_or(u32::MAX))
}

/// What the kernel says of its memory under a name, in bytes.
fn memory(name: &str) -> Result<u64, MachineError> {
    let meminfo = std::fs::read_to_string("/proc/meminfo")
        .map_err(|source| MachineError::Read("/proc/meminfo", source))?;
    let line = meminfo.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.and_then(|rest| rest.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok());
    Ok(kib.unwrap_or(0).saturating_mul(1024))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_has_cores_and_memory() {
        let [total, available] = ["MemTotal:", "MemAvailable:"].map(|name| memory(name).unwrap());
        assert!(0 < available && available < total, "{available} of {total} bytes");
        assert_eq!(memory("MemOfTheFuture:").unwrap(), 0);
        assert!(cores().unwrap() > 0);
    }
}
