//! Kubernetes and friends: lock, fetch, build, verify.
//!
//! Owns what a cluster's binaries are (the lock), how they come onto this
//! machine (a release, or a build of the same version from Go modules) and
//! the directory that a cluster mounts read-only. It must not start any of
//! them, and it must not run inside an async task: everything here blocks,
//! some of it for minutes. Called by `cluster` and by `seatrial components`.
//!
//! ```no_run
//! use seatrial_components::{Components, From};
//!
//! let cache = std::path::Path::new("/home/me/.cache/seatrial/components");
//! let components = Components::locked();
//! let installed = match components.locate(cache).installed {
//!     Some(installed) => installed,
//!     None => components.install(cache, &From::Auto, &mut |step| eprintln!("{step}"))?,
//! };
//! assert!(installed.bin.join("kube-apiserver").exists());
//! # Ok::<(), seatrial_components::Error>(())
//! ```

mod archive;
mod cache;
mod checksum;
mod error;
mod fetch;
mod go;
mod install;
mod lock;
mod modules;
mod pause;
mod progress;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use seatrial_core::digest::Digest;

pub use archive::ArchiveError;
pub use checksum::ChecksumError;
pub use error::Error;
pub use fetch::FetchError;
pub use go::GoError;
pub use lock::{Component, GoBuild, Lock, LockError, ReleaseFile, Source};
pub use modules::{Modules, embedded_modules};
pub use progress::{Progress, Step};

/// The components of one lock, on this machine's architecture.
#[derive(Debug, Clone)]
pub struct Components {
    lock: Lock,
    modules: Modules,
    /// The architecture in the words of the publishers: `amd64`, `arm64`.
    arch: &'static str,
}

/// Where components may come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum From {
    /// The release; where its server cannot be reached within seconds, a
    /// build from Go modules. Components that are there already stay.
    Auto,
    /// The publisher's release only. What has none (see
    /// [`Component::release`]) is built nevertheless.
    Release,
    /// A build from Go modules only.
    Go,
    /// A copy of an installed directory ([`Installed::root`]), made on another
    /// machine.
    Dir(PathBuf),
}

/// What is on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Everything, ready to use.
    pub installed: Option<Installed>,
    /// Each component of the lock, in its order.
    pub components: Vec<ComponentStatus>,
}

/// Whether one component is on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ComponentStatus {
    /// The component's name in the lock.
    pub name: String,
    /// Its locked version.
    pub version: String,
    /// Whether clusters can do without it.
    pub optional: bool,
    /// Where the copy on this machine came from; nothing if there is none.
    pub source: Option<Source>,
}

/// A directory with every component, to be mounted read-only.
///
/// Its files are complete and their digests were checked when they were put
/// there. It is never changed afterwards, only replaced by another directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installed {
    /// The directory that holds [`bin`](Self::bin), [`cni`](Self::cni) and
    /// `components.json`, and nothing that points outside of it.
    pub root: PathBuf,
    /// The commands: `kube-apiserver`, `kubelet`, `kubectl`, `etcd`,
    /// `containerd`, `runc`, `coredns`, `helm`, `pause` and the rest.
    pub bin: PathBuf,
    /// The CNI plugins.
    pub cni: PathBuf,
    /// The version of each component.
    pub versions: BTreeMap<String, String>,
    /// The digest of all names, versions and file contents.
    pub digest: Digest,
}

impl Components {
    /// The components that this version of Seatrial was tested with.
    #[must_use]
    pub fn locked() -> Self {
        Self::new(Lock::embedded(), embedded_modules())
    }

    /// The components of `lock`, whose Go builds use `modules`.
    #[must_use]
    pub fn new(lock: Lock, modules: Modules) -> Self {
        let arch = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        Self { lock, modules, arch }
    }

    /// The lock.
    #[must_use]
    pub fn lock(&self) -> &Lock {
        &self.lock
    }

    /// Says what is in the cache, by looking at names and sizes only.
    ///
    /// An unreadable cache is an empty one: [`install`](Self::install) then
    /// says what is wrong with it.
    #[must_use]
    pub fn locate(&self, cache_dir: &Path) -> Status {
        let cache = cache::Cache::new(cache_dir);
        let components = self.lock.components.iter().map(|component| ComponentStatus {
            name: component.name.clone(),
            version: component.version.clone(),
            optional: component.optional,
            source: Source::ALL
                .into_iter()
                .find(|source| cache.component(&self.slot(component, *source)).is_some()),
        });
        Status { components: components.collect(), installed: cache.current(self.digest()) }
    }

    /// Brings every component into the cache and returns the directory that
    /// holds them all; quick when they are there already.
    ///
    /// Blocks until done. May be interrupted or killed at any moment: what is
    /// visible is complete, and the next call goes on where this one stopped
    /// (downloads by range, builds by Go's own cache). Of two processes that
    /// install the same component, the second waits and then uses it.
    ///
    /// # Errors
    /// See [`Error`]; each can be turned into a failure with hints.
    pub fn install(
        &self,
        cache_dir: &Path,
        from: &From,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Installed, Error> {
        install::install(self, &cache::Cache::new(cache_dir), from, progress)
    }

    /// The name under which a component is cached. It covers everything that
    /// decides about its bytes, so changed flags or modules never meet an old
    /// build.
    fn slot(&self, component: &Component, source: Source) -> cache::Slot {
        let files = component.go.as_ref().and_then(|go| self.modules.get(&go.module));
        let digest = component.digest(source, self.arch, files);
        let Component { name, version, .. } = component;
        cache::Slot::new(&format!("{name}-{version}-{source}"), digest)
    }

    /// The digest of everything that decides what an installation contains.
    fn digest(&self) -> Digest {
        let mut text = String::new();
        for component in &self.lock.components {
            for source in Source::ALL {
                text.push_str(self.slot(component, source).as_str());
                text.push('\n');
            }
        }
        Digest::of(text)
    }
}
