//! The lock: which components there are, in which version, and where each can
//! be had from. Pure data; `components.lock.json` beside this crate's
//! `Cargo.toml` is the one that Seatrial is tested with.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use seatrial_core::digest::Digest;
use serde::{Deserialize, Serialize};

/// Raised when the layout of a cached component changes.
const FORMAT: u32 = 1;

/// All components, in the order in which they are installed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Lock {
    /// The components. Quick builds come first, so that what is wrong with a
    /// machine shows early.
    pub components: Vec<Component>,
}

/// One component: the commands of one upstream, at one version.
///
/// In [`release`](Self::release) and [`go`](Self::go), `{version}` and `{arch}`
/// (`amd64`, `arm64`) stand for this component's version and the machine's
/// architecture.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Component {
    /// Its name, such as `containerd`.
    pub name: String,
    /// Its version without a leading `v`.
    pub version: String,
    /// Whether clusters can do without it. An optional component that cannot
    /// be had is reported and left out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
    /// The files of the publisher's release; empty if there is none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub release: Vec<ReleaseFile>,
    /// How to build the same version from Go modules.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub go: Option<GoBuild>,
}

/// One file of a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ReleaseFile {
    /// The publisher's address.
    pub url: String,
    /// The address of the publisher's checksum file. The checksum is recorded
    /// at the first installation and enforced from then on.
    pub checksum: String,
    /// The digest of the file where it is known by other means; then
    /// `checksum` is not asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// No more than this many MiB are accepted, packed or unpacked.
    pub limit_mib: u32,
    /// Where the file belongs, if it is a command by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// What to take from the file if it is a `.tar.gz`: from the name of an
    /// entry to where that belongs. Other entries are checked and skipped.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub entries: BTreeMap<String, String>,
}

/// How to build a component with the machine's own Go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct GoBuild {
    /// The name of the embedded module, whose `go.sum` fixes every byte of the
    /// source.
    pub module: String,
    /// From where a command belongs to the package it is built from.
    pub build: BTreeMap<String, String>,
    /// Build tags.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Linker flags after `-s -w`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ldflags: Vec<String>,
    /// Whether a C compiler is needed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cgo: bool,
    /// What the machine must have beside Go: a command, or a library that
    /// `pkg-config` knows when it starts with `lib`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<String>,
    /// More names of a built command, which then looks at the name it is
    /// started as. With it, the name under `build` is not installed itself.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub links: BTreeMap<String, String>,
}

/// Where an installed component came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// The publisher's release.
    Release,
    /// A build from Go modules on this machine.
    Go,
    /// A directory from another machine.
    Dir,
}

/// What is wrong with a lock.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// It is not the JSON that it should be.
    #[error("component lock")]
    Json(#[source] serde_json::Error),
    /// A name that would become part of a path is not a plain one.
    #[error("component lock: {0:?} is no plain name")]
    Name(String),
    /// Something belongs neither into `bin/` nor into `cni/`.
    #[error("component lock: {component}: {path:?} is neither bin/NAME nor cni/NAME")]
    Place {
        /// The component's name.
        component: String,
        /// The offending place.
        path: String,
    },
    /// Release and Go build would install different commands.
    #[error("component lock: {component}: release and Go build differ in {paths:?}")]
    Differ {
        /// The component's name.
        component: String,
        /// What only one of the two installs.
        paths: Vec<String>,
    },
}

impl Lock {
    /// The lock that this version of Seatrial was tested with.
    #[must_use]
    pub fn embedded() -> Self {
        Self::parse(include_str!("../components.lock.json"))
            .expect("a test reads the embedded lock, and it cannot change afterwards")
    }

    /// Reads and checks a lock.
    ///
    /// # Errors
    /// See [`LockError`].
    pub fn parse(json: &str) -> Result<Self, LockError> {
        let lock: Self = serde_json::from_str(json).map_err(LockError::Json)?;
        lock.components.iter().try_for_each(Component::check)?;
        Ok(lock)
    }
}

impl Component {
    /// What is installed, as `bin/NAME` and `cni/NAME`.
    #[must_use]
    pub fn places(&self) -> BTreeSet<&str> {
        match &self.go {
            Some(go) => go.places(),
            None => self.release_places(),
        }
    }

    /// Whether the component can come from `source` at all.
    pub(crate) fn has(&self, source: Source) -> bool {
        match source {
            Source::Release => !self.release.is_empty(),
            Source::Go => self.go.is_some(),
            Source::Dir => true,
        }
    }

    /// Fills in `{version}` and `{arch}`.
    pub(crate) fn expand(&self, text: &str, arch: &str) -> String {
        text.replace("{version}", &self.version).replace("{arch}", arch)
    }

    /// The digest of everything that decides about the bytes that come from
    /// `source`. The Go release is not in it: it is the machine's, and ten
    /// minutes of building are not repeated for each of its patches.
    pub(crate) fn digest(
        &self,
        source: Source,
        arch: &str,
        module: Option<&BTreeMap<String, String>>,
    ) -> Digest {
        let (name, version) = (&self.name, &self.version);
        let record = match source {
            Source::Release => {
                serde_json::json!([FORMAT, name, version, arch, "release", self.release])
            }
            Source::Go => serde_json::json!([FORMAT, name, version, arch, "go", self.go, module]),
            Source::Dir => serde_json::json!([FORMAT, name, version, arch, "dir", self.places()]),
        };
        Digest::of(record.to_string())
    }

    fn release_places(&self) -> BTreeSet<&str> {
        let files = self.release.iter().flat_map(|f| f.file.iter().chain(f.entries.values()));
        files.map(String::as_str).collect()
    }

    fn check(&self) -> Result<(), LockError> {
        for name in [&self.name, &self.version] {
            if !is_plain(name) {
                return Err(LockError::Name(name.clone()));
            }
        }
        let released = self.release_places();
        let built = self.go.as_ref().map(GoBuild::places).unwrap_or_default();
        let fields = self.go.iter().flat_map(|go| go.build.keys().chain(go.links.values()));
        for place in released.iter().chain(&built).copied().chain(fields.map(String::as_str)) {
            let name = place.strip_prefix("bin/").or_else(|| place.strip_prefix("cni/"));
            if !name.is_some_and(is_plain) {
                let (component, path) = (self.name.clone(), place.to_owned());
                return Err(LockError::Place { component, path });
            }
        }
        if !self.release.is_empty() && self.go.is_some() && released != built {
            let paths = released.symmetric_difference(&built).map(|p| (*p).to_owned()).collect();
            return Err(LockError::Differ { component: self.name.clone(), paths });
        }
        Ok(())
    }
}

impl GoBuild {
    fn places(&self) -> BTreeSet<&str> {
        let targets: BTreeSet<_> = self.links.values().collect();
        let built = self.build.keys().filter(|place| !targets.contains(place));
        built.chain(self.links.keys()).map(String::as_str).collect()
    }
}

impl Source {
    /// Every source, the publisher's own bytes first.
    pub const ALL: [Self; 3] = [Self::Release, Self::Go, Self::Dir];
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Release => "release",
            Self::Go => "go",
            Self::Dir => "dir",
        })
    }
}

/// Whether `text` is one component of a path and needs no escaping anywhere.
fn is_plain(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    text.len() <= 64
        && text.bytes().all(allowed)
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests;
