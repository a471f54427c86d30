//! Actions: pure, keyed work that makes an artifact.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::key::Record;
use crate::name::Name;
use crate::pipeline::{Command, ImageConfig, Resources};

/// An action whose inputs may be `I`: places of other nodes while it is in a
/// plan, digests once those have ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action<I> {
    /// Runs a command in the sandbox; makes a tree.
    Command(CommandAction<I>),
    /// Puts an image together; makes an image.
    Image(ImageAction<I>),
}

/// Where an action finds something it reads.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Input {
    /// A tree that exists: files of the project.
    Tree(Digest),
    /// The output of another node of the plan, by its place.
    Node(u32),
}

/// A command that makes a tree.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CommandAction<I> {
    /// The command.
    pub run: Command,
    /// The project's files that it sees, read-only, as its working directory.
    pub source: I,
    /// What was fetched for it before, read-only.
    pub fetched: Option<I>,
    /// Environment variables, parameters among them.
    pub env: BTreeMap<String, String>,
    /// Tools on its PATH.
    pub tools: BTreeSet<Name>,
    /// Patterns of what it leaves in `$OUT`; each must match something.
    /// None: all that it leaves.
    pub outputs: Vec<String>,
    /// Directories kept between runs. Not part of the key.
    pub caches: BTreeSet<Name>,
    /// Whether it reaches the network.
    pub network: bool,
    /// How long it may take. Not part of the key.
    pub timeout: Duration,
    /// What it may use. Not part of the key.
    pub resources: Resources,
}

/// An image that is put together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageAction<I> {
    /// What it starts from.
    pub base: ImageBase<I>,
    /// What is added, in one layer.
    pub files: Vec<ImageLayerFile<I>>,
    /// How it is started.
    pub config: ImageConfig,
}

/// What an image starts from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ImageBase<I> {
    /// Nothing.
    Scratch,
    /// An image of a registry.
    Registry {
        /// Registry and repository.
        name: String,
        /// The digest of its manifest or index.
        digest: Digest,
    },
    /// An OCI image layout.
    Layout {
        /// The tree it is in.
        tree: I,
        /// Its directory in the tree; empty is the whole tree.
        path: String,
    },
    /// An image that another action made.
    Image(I),
}

/// Files that an image action adds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageLayerFile<I> {
    /// The tree they are in.
    pub tree: I,
    /// Where in it; empty is the whole tree.
    pub path: String,
    /// Where they go: an absolute path.
    pub to: String,
    /// Permission bits; `None` keeps those of the file.
    pub mode: Option<u32>,
    /// Numbers of the user and group that they belong to; `None`: root.
    pub owner: Option<(u32, u32)>,
}

/// What a tool is, on the machine where an action runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolIdentity {
    /// The digest of its resolved binary.
    pub binary: Digest,
    /// What it says of itself and its root: its version line.
    pub account: String,
}

/// What keys depend on besides the action itself: the machine.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Platform {
    /// Operating system and architecture: `linux/amd64`.
    pub name: String,
    /// A fingerprint of the packages of the base system that commands see.
    pub base: String,
    /// Tools by name.
    pub tools: BTreeMap<Name, ToolIdentity>,
    /// What clusters are started from; `None`: not on this machine.
    pub components: Option<ComponentsIdentity>,
}

/// What clusters are started from, on the machine where a session runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComponentsIdentity {
    /// The digest of all their files.
    pub digest: Digest,
    /// The version of each: `kubernetes` is `1.37.2`.
    pub versions: BTreeMap<String, String>,
}

impl Platform {
    /// Adds what some tools are to a record.
    pub(crate) fn add_tools<'a>(
        &self,
        record: &mut Record,
        tools: impl IntoIterator<Item = &'a Name>,
    ) {
        for tool in tools {
            let identity = self.tools.get(tool);
            let binary = identity.map(|identity| identity.binary.to_string());
            record.field(format!("tool {tool}"), binary.unwrap_or_default());
            let account = identity.map(|identity| identity.account.clone());
            record.field(format!("tool {tool} says"), account.unwrap_or_default());
        }
    }
}

impl<I> Action<I> {
    /// Everything that it reads.
    pub fn inputs(&self) -> Vec<&I> {
        match self {
            Self::Command(command) => {
                std::iter::once(&command.source).chain(&command.fetched).collect()
            }
            Self::Image(image) => {
                let base = match &image.base {
                    ImageBase::Scratch | ImageBase::Registry { .. } => None,
                    ImageBase::Layout { tree: input, .. } | ImageBase::Image(input) => Some(input),
                };
                base.into_iter().chain(image.files.iter().map(|file| &file.tree)).collect()
            }
        }
    }

    /// The same action with each input changed by `resolve`.
    ///
    /// # Errors
    /// The first error of `resolve`.
    pub fn try_map<J, E>(self, mut resolve: impl FnMut(I) -> Result<J, E>) -> Result<Action<J>, E> {
        Ok(match self {
            Self::Command(command) => Action::Command(CommandAction {
                source: resolve(command.source)?,
                fetched: command.fetched.map(&mut resolve).transpose()?,
                run: command.run,
                env: command.env,
                tools: command.tools,
                outputs: command.outputs,
                caches: command.caches,
                network: command.network,
                timeout: command.timeout,
                resources: command.resources,
            }),
            Self::Image(image) => Action::Image(ImageAction {
                base: match image.base {
                    ImageBase::Scratch => ImageBase::Scratch,
                    ImageBase::Registry { name, digest } => ImageBase::Registry { name, digest },
                    ImageBase::Layout { tree, path } => {
                        ImageBase::Layout { tree: resolve(tree)?, path }
                    }
                    ImageBase::Image(input) => ImageBase::Image(resolve(input)?),
                },
                files: image
                    .files
                    .into_iter()
                    .map(|file| {
                        Ok(ImageLayerFile {
                            tree: resolve(file.tree)?,
                            path: file.path,
                            to: file.to,
                            mode: file.mode,
                            owner: file.owner,
                        })
                    })
                    .collect::<Result<_, E>>()?,
                config: image.config,
            }),
        })
    }
}

impl Action<Digest> {
    /// What the key of its result on a machine is made of.
    ///
    /// A tool that `platform` does not know counts as absent: such an action
    /// fails before it runs, and nothing is recorded under the key.
    #[must_use]
    pub fn record(&self, platform: &Platform) -> Record {
        match self {
            Self::Command(command) => command.record(platform),
            Self::Image(image) => image.record(platform),
        }
    }
}

impl CommandAction<Digest> {
    fn record(&self, platform: &Platform) -> Record {
        let mut record = Record::new("command");
        record.field("platform", &platform.name);
        record.field("base", &platform.base);
        record.command("", &self.run);
        record.field("source", self.source.to_string());
        record.list("fetched", self.fetched.iter().map(Digest::to_string));
        record.map("env", &self.env);
        platform.add_tools(&mut record, &self.tools);
        record.list("outputs", &self.outputs);
        record.field("network", self.network.to_string());
        record
    }
}

impl ImageAction<Digest> {
    fn record(&self, platform: &Platform) -> Record {
        let mut record = Record::new("image");
        record.field("platform", &platform.name);
        match &self.base {
            ImageBase::Scratch => record.field("base", "scratch"),
            ImageBase::Registry { name, digest } => {
                record.list("base", ["registry", name, &digest.to_string()]);
            }
            ImageBase::Layout { tree, path } => {
                record.list("base", ["layout", &tree.to_string(), path]);
            }
            ImageBase::Image(image) => record.list("base", ["image", &image.to_string()]),
        }
        for file in &self.files {
            let mode = file.mode.map(|mode| format!("{mode:o}")).unwrap_or_default();
            let tree = file.tree.to_string();
            let owner = file.owner.map(|(user, group)| format!("{user}:{group}"));
            let owner = owner.unwrap_or_default();
            let fields = [&tree, &file.path, &file.to, &mode, &owner];
            record.list(&format!("file {}", file.to), fields);
        }
        let config = &self.config;
        record.list("entrypoint", &config.entrypoint);
        record.list("cmd", &config.cmd);
        record.map("env", &config.env);
        record.list("user", &config.user);
        record.list("workdir", &config.workdir);
        record.list("ports", &config.ports);
        record.map("labels", &config.labels);
        record.list("volumes", &config.volumes);
        record.list("stop signal", &config.stop_signal);
        record
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn action() -> CommandAction<Digest> {
        CommandAction {
            run: Command::Script("go build".into()),
            source: Digest::of("source"),
            fetched: Some(Digest::of("modules")),
            env: BTreeMap::from([("CGO_ENABLED".into(), "0".into())]),
            tools: BTreeSet::from(["go".parse().expect("a name")]),
            outputs: vec!["server".into()],
            caches: BTreeSet::new(),
            network: false,
            timeout: Duration::from_secs(60),
            resources: Resources::default(),
        }
    }

    #[test]
    fn what_can_change_the_output_changes_the_key_and_nothing_else_does() {
        let platform = Platform { name: "linux/amd64".into(), ..Platform::default() };
        let base = action().record(&platform);
        let changed = |change: fn(&mut CommandAction<Digest>)| {
            let mut action = action();
            change(&mut action);
            action.record(&platform)
        };
        assert_ne!(base, changed(|a| a.run = Command::Script("go build .".into())));
        assert_ne!(base, changed(|a| a.run = Command::Argv(vec!["go build".into()])));
        assert_ne!(base, changed(|a| a.source = Digest::of("other")));
        assert_ne!(base, changed(|a| a.fetched = None));
        assert_ne!(base, changed(|a| a.env.clear()));
        assert_ne!(base, changed(|a| a.tools.clear()));
        assert_ne!(base, changed(|a| a.outputs.push("b".into())));
        assert_ne!(base, changed(|a| a.network = true));
        assert_eq!(base, changed(|a| a.timeout = Duration::from_secs(1)));
        assert_eq!(base, changed(|a| a.resources.cpu_millis = Some(1)));
        assert_eq!(base, changed(|a| a.caches.extend(["c".parse().expect("a name")])));

        let identity = ToolIdentity { binary: Digest::of("go"), account: "go1.26".into() };
        let mut other = platform.clone();
        other.tools.insert("go".parse().expect("a name"), identity);
        assert_ne!(base, action().record(&other));
        // A tool that the action does not name is not its business.
        let identity = ToolIdentity { binary: Digest::of("x"), account: String::new() };
        let mut other = platform;
        other.tools.insert("helm".parse().expect("a name"), identity);
        assert_eq!(base, action().record(&other));
    }
}
