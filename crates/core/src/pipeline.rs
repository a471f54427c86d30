//! What `seatrial.yaml` says, checked: every reference resolves, every value
//! is in its unit, every default is filled in. Made by `seatrial-config`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::name::Name;

pub use self::overrides::{Override, Spread, TestSettings};

mod overrides;

/// A checked pipeline.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pipeline {
    /// Values that a run can set with `-p name=value`.
    pub params: BTreeMap<Name, Param>,
    /// Commands that make file trees.
    pub builds: BTreeMap<Name, Build>,
    /// Container images made from builds.
    pub images: BTreeMap<Name, Image>,
    /// What suites test against.
    pub environments: BTreeMap<Name, Environment>,
    /// What is tested, and how.
    pub suites: BTreeMap<Name, Suite>,
}

/// A parameter: what it may be, and what it is when nobody says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Param {
    /// `true` or `false`.
    Bool {
        /// The value when none is given.
        default: bool,
    },
    /// Any text.
    String {
        /// The value when none is given.
        default: String,
    },
    /// One of a list.
    Enum {
        /// The value when none is given.
        default: String,
        /// What is allowed.
        values: Vec<String>,
    },
}

/// A command: a script for `bash -euo pipefail`, or a program with arguments.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Command {
    /// A script.
    Script(String),
    /// A program and its arguments, at least one.
    Argv(Vec<String>),
}

/// A command that makes a file tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Build {
    /// Patterns of the project's files that the command sees; none: every
    /// file.
    pub inputs: Vec<String>,
    /// Tools on its PATH besides the shell and the core utilities.
    pub tools: Vec<Name>,
    /// What is fetched first, with network, under a key of its own.
    pub fetch: Option<Fetch>,
    /// Directories kept between builds, never part of a key.
    pub caches: Vec<Name>,
    /// Environment variables.
    pub env: BTreeMap<String, String>,
    /// Parameters it sees as `$PARAM_NAME`.
    pub params: BTreeSet<Name>,
    /// The command.
    pub run: Command,
    /// Patterns of what it leaves in `$OUT`; each must match something.
    pub outputs: Vec<String>,
    /// What it may use; `None`: no limit.
    pub resources: Resources,
    /// How long it may take.
    pub timeout: Duration,
    /// Whether it reaches the network.
    pub network: bool,
}

/// What a build fetches before it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetch {
    /// Patterns of the project's files that the command sees.
    pub inputs: Vec<String>,
    /// The command.
    pub run: Command,
    /// Whether it reaches the network.
    pub network: bool,
    /// How long it may take.
    pub timeout: Duration,
}

/// CPU and memory that something may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Resources {
    /// Thousandths of a core.
    pub cpu_millis: Option<u64>,
    /// Bytes of memory.
    pub memory: Option<u64>,
}

/// A container image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Names of images in manifests, charts and pods that stand for this one,
    /// without tag or digest: `ghcr.io/example/guestbook`.
    pub replaces: Vec<String>,
    /// What it starts from.
    pub base: Base,
    /// What is added, in one layer.
    pub files: Vec<ImageFile>,
    /// How it is started.
    pub config: ImageConfig,
}

/// What an image starts from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Base {
    /// Nothing.
    Scratch,
    /// An image of a registry, by digest.
    Registry {
        /// Registry and repository, without tag or digest.
        name: String,
        /// The digest of its manifest or index.
        digest: Digest,
    },
    /// An OCI image layout directory of the project.
    Layout(String),
    /// Another image of the pipeline.
    Image(Name),
}

/// Files that are added to an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageFile {
    /// Where they come from.
    pub from: FileSource,
    /// Of files of the project: patterns of those that are meant, and behind a
    /// `!` of those that are not; none: all at `from`.
    pub patterns: Vec<String>,
    /// Where they go: an absolute path.
    pub to: String,
    /// Permission bits; `None` keeps those of the file.
    pub mode: Option<u32>,
    /// Numbers of the user and group that they belong to; `None`: root.
    pub owner: Option<(u32, u32)>,
}

/// A file or directory: of the project, or of a build's output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileSource {
    /// The build whose output it is; `None`: a file of the project.
    pub build: Option<Name>,
    /// A relative path without `..`; empty is the whole tree.
    pub path: String,
}

/// How a container of an image is started: the fields of the OCI image
/// configuration that most need.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ImageConfig {
    /// Program and first arguments.
    pub entrypoint: Vec<String>,
    /// Default further arguments.
    pub cmd: Vec<String>,
    /// Environment variables.
    pub env: BTreeMap<String, String>,
    /// User, or user and group: `65532` or `65532:65532`.
    pub user: Option<String>,
    /// Working directory.
    pub workdir: Option<String>,
    /// Ports, such as `8080/tcp`.
    pub ports: Vec<String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Directories that a container writes to apart from its image.
    pub volumes: Vec<String>,
    /// The signal that ends it.
    pub stop_signal: Option<String>,
}

/// What a suite tests against: clusters with a product in them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Environment {
    /// The environment it is on top of.
    pub base: Option<Name>,
    /// Clusters; those of `base` where it names none.
    pub clusters: BTreeMap<Name, Cluster>,
    /// Where pods may connect to outside: `host:port`.
    pub egress: Vec<Egress>,
    /// How the product gets in, in order, after the steps of `base`.
    pub install: Vec<InstallStep>,
    /// What must hold before the first test; `None`: all that was applied.
    pub ready: Option<Vec<Ready>>,
    /// How long all of `install` and `ready` may take.
    pub timeout: Duration,
}

/// One Kubernetes cluster of an environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    /// Minor version: `1.37`.
    pub kubernetes: String,
    /// Number of nodes, at least 1.
    pub nodes: u32,
    /// What all of it may use.
    pub resources: Resources,
}

/// A place outside that pods may connect to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Egress {
    /// A host name.
    pub host: String,
    /// A TCP port.
    pub port: u16,
}

/// One step that puts the product into a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstallStep {
    /// The cluster; the only or first one when not said.
    pub cluster: Name,
    /// What is done.
    pub action: InstallAction,
}

/// What an install step does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InstallAction {
    /// Applies a file, a directory or a kustomization, server-side.
    Apply(FileSource),
    /// Runs a command with `KUBECONFIG` and the images as `$IMAGE_NAME`.
    Run {
        /// The command.
        run: Command,
        /// Patterns of the project's files that it sees.
        inputs: Vec<String>,
        /// Builds whose outputs it sees, as `$BUILD_NAME`.
        builds: BTreeSet<Name>,
        /// Tools on its PATH.
        tools: Vec<Name>,
        /// Images that must be there, as `$IMAGE_NAME=name@digest`.
        images: BTreeSet<Name>,
        /// How long it may take.
        timeout: Duration,
    },
}

/// A condition that is waited for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready {
    /// The cluster; the only or first one when not said.
    pub cluster: Name,
    /// Kind, lower case as kubectl takes it: `deployment`.
    pub kind: String,
    /// Name of the object.
    pub name: String,
    /// Its namespace; `None`: `default`, or none for cluster-scoped kinds.
    pub namespace: Option<String>,
    /// The condition that must be `True`: `Available`.
    pub condition: String,
    /// How long it may take.
    pub within: Duration,
}

/// Tests that share an adapter and kinds of environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suite {
    /// The build that makes the test programs; `None` only for `exec` and
    /// `junit` suites that run project files.
    pub build: Option<Name>,
    /// How tests are listed, run and read.
    pub adapter: Adapter,
    /// Patterns of test programs in the build's output.
    pub files: Vec<String>,
    /// The command of a `junit` or `exec` suite.
    pub run: Option<Command>,
    /// Further arguments for each test program.
    pub args: Vec<String>,
    /// Regular expressions; a test whose name matches one is selected. None:
    /// every test.
    pub select: Vec<String>,
    /// Tools on the PATH of the tests.
    pub tools: Vec<Name>,
    /// Environment variables.
    pub env: BTreeMap<String, String>,
    /// Environments; none: the tests run in the sandbox alone.
    pub environments: Vec<Name>,
    /// How tests share an environment.
    pub isolation: Isolation,
    /// How long one test may take.
    pub test_timeout: Duration,
    /// How often a failed test is tried again.
    pub retries: u32,
    /// Other settings for some tests; see [`Suite::settings`].
    pub overrides: Vec<Override>,
    /// What a failing test leaves that is kept.
    pub collect: Vec<String>,
}

/// How a suite's tests are listed, run and read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Adapter {
    /// A Go test binary (`go test -c`).
    Go,
    /// A Go test binary whose tests are Ginkgo specs.
    Ginkgo,
    /// A Rust test binary (`cargo test --no-run`), one process for each test.
    Rust,
    /// The tests that pytest collects.
    Pytest,
    /// Any command that writes a JUnit XML report to `$JUNIT`.
    Junit,
    /// Any command: one test, passed when it exits with 0.
    Exec,
}

impl Adapter {
    /// As a pipeline file says it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Go => "go",
            Self::Ginkgo => "ginkgo",
            Self::Rust => "rust",
            Self::Pytest => "pytest",
            Self::Junit => "junit",
            Self::Exec => "exec",
        }
    }

    /// Whether the tests are in programs that a build makes; else a command
    /// runs them.
    #[must_use]
    pub fn has_programs(self) -> bool {
        matches!(self, Self::Go | Self::Ginkgo | Self::Rust)
    }

    /// Whether single tests can be run, and be named before they run.
    #[must_use]
    pub fn selects(self) -> bool {
        self != Self::Junit
    }
}

/// How tests share an environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Isolation {
    /// Tests of one program may run while others do.
    Shared,
    /// One test at a time in its environment; other environments may be there.
    Serial,
    /// An environment for each test.
    Fresh,
}

impl Pipeline {
    /// `environment` and the environments it stands on, the lowest first.
    ///
    /// Checked pipelines have no cycle and no dangling `base`; an unknown name
    /// gives an empty list.
    #[must_use]
    pub fn lineage<'a>(&'a self, environment: &'a Name) -> Vec<(&'a Name, &'a Environment)> {
        let mut lineage = Vec::new();
        let mut next = Some(environment);
        while let Some((name, found)) = next.and_then(|n| self.environments.get_key_value(n)) {
            // A pipeline that was not checked must not hang whoever asks.
            if lineage.len() > self.environments.len() {
                break;
            }
            lineage.push((name, found));
            next = found.base.as_ref();
        }
        lineage.reverse();
        lineage
    }

    /// The clusters of an environment: its own, or those it inherits.
    #[must_use]
    pub fn clusters<'a>(&'a self, environment: &'a Name) -> Option<&'a BTreeMap<Name, Cluster>> {
        let mut lineage = self.lineage(environment);
        lineage.reverse();
        lineage.into_iter().map(|(_, e)| &e.clusters).find(|clusters| !clusters.is_empty())
    }
}

impl Build {
    /// How long a build may take when its file says nothing.
    pub const TIMEOUT: Duration = Duration::from_secs(30 * 60);
}

impl Environment {
    /// How long installing may take when the file says nothing.
    pub const TIMEOUT: Duration = Duration::from_secs(5 * 60);
}

impl Suite {
    /// How long one test may take when the file says nothing.
    pub const TEST_TIMEOUT: Duration = Duration::from_secs(10 * 60);
}
