//! Stages: what is done in a session, from boot to drop, and suites that need
//! no environment.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::name::Name;
use crate::pipeline::{Command, Egress, Ready, Resources, Suite};

mod record;

/// One stage, whose inputs may be `I` (see [`crate::action::Action`]).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage<I> {
    /// Starts clusters from nothing.
    Boot(Boot),
    /// Puts the product in and waits until it is ready.
    Install(Install<I>),
    /// Runs the tests of a suite.
    Suite(Box<SuiteStage<I>>),
    /// Collects what a person needs to understand a failure.
    Evidence,
    /// Ends the session: the environment is gone, or kept when asked for.
    Drop,
}

/// What is started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Boot {
    /// The environment's name in the pipeline.
    pub environment: Name,
    /// Its clusters.
    pub clusters: Vec<BootCluster>,
    /// Where pods may connect to outside.
    pub egress: Vec<Egress>,
}

/// Memory for the control plane of a cluster and for the parts of each node, in
/// bytes, beyond what its pods may use.
const CONTROL_PLANE: u64 = 1 << 30;
const NODE: u64 = 256 << 20;

/// The most memory that all of an environment may use, in bytes, when each of
/// its clusters (how many nodes, and what their pods may use) says it.
pub fn memory(clusters: impl IntoIterator<Item = (u32, Resources)>) -> Option<u64> {
    clusters.into_iter().try_fold(0_u64, |sum, (nodes, pods)| {
        let nodes = NODE.saturating_mul(u64::from(nodes));
        Some(sum.saturating_add(pods.memory?).saturating_add(CONTROL_PLANE).saturating_add(nodes))
    })
}

impl Boot {
    /// The most memory that the environment may use, in bytes; `None`: as much
    /// as there is.
    #[must_use]
    pub fn memory(&self) -> Option<u64> {
        memory(self.clusters.iter().map(|cluster| (cluster.nodes, cluster.resources)))
    }

    /// Nodes of all its clusters.
    #[must_use]
    pub fn nodes(&self) -> u32 {
        self.clusters.iter().fold(0, |sum, cluster| sum.saturating_add(cluster.nodes))
    }
}

/// One cluster that is started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BootCluster {
    /// Its name in the environment.
    pub name: Name,
    /// Kubernetes' minor version.
    pub kubernetes: String,
    /// Number of nodes.
    pub nodes: u32,
    /// What all of it may use.
    pub resources: Resources,
}

/// How a product gets in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Install<I> {
    /// The images that the environment's registry answers with.
    pub images: BTreeMap<Name, SessionImage<I>>,
    /// Steps, in order.
    pub steps: Vec<Step<I>>,
    /// What must hold then; `None`: all that was applied.
    pub ready: Option<Vec<Ready>>,
    /// How long all of it may take.
    pub timeout: Duration,
}

/// An image that an environment's registry answers with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SessionImage<I> {
    /// The image.
    pub image: I,
    /// The names that it answers to besides its own.
    pub replaces: Vec<String>,
}

/// One step of an installation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step<I> {
    /// The cluster.
    pub cluster: Name,
    /// What is done.
    pub action: StepAction<I>,
}

/// What a step of an installation does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepAction<I> {
    /// Applies a file, a directory or a kustomization.
    Apply {
        /// The tree it is in.
        tree: I,
        /// Where in it.
        path: String,
    },
    /// Runs a command.
    Run {
        /// The command.
        run: Command,
        /// The project's files that it sees, as its working directory.
        source: I,
        /// Outputs of builds that it sees.
        builds: BTreeMap<Name, I>,
        /// Tools on its PATH.
        tools: BTreeSet<Name>,
        /// Images that it sees as variables.
        images: BTreeSet<Name>,
        /// How long it may take.
        timeout: Duration,
    },
}

/// The tests of a suite, in one environment or in none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SuiteStage<I> {
    /// The suite's name.
    pub name: Name,
    /// The tree that test programs are in, and their working directory.
    pub tree: I,
    /// What the pipeline says of it.
    pub suite: Suite,
    /// Program and name of the tests that are run; `None`: all that it selects.
    pub only: Option<Vec<(String, String)>>,
    /// How often these were tried before.
    pub tried: u32,
}

impl<I> Stage<I> {
    /// Everything that it reads.
    pub fn inputs(&self) -> Vec<&I> {
        match self {
            Self::Boot(_) | Self::Evidence | Self::Drop => Vec::new(),
            Self::Suite(suite) => vec![&suite.tree],
            Self::Install(install) => {
                let images = install.images.values().map(|image| &image.image);
                let steps = install.steps.iter().flat_map(|step| match &step.action {
                    StepAction::Apply { tree, .. } => vec![tree],
                    StepAction::Run { source, builds, .. } => {
                        std::iter::once(source).chain(builds.values()).collect()
                    }
                });
                images.chain(steps).collect()
            }
        }
    }

    /// The same stage with each input changed by `resolve`.
    ///
    /// # Errors
    /// The first error of `resolve`.
    pub fn try_map<J, E>(self, mut resolve: impl FnMut(I) -> Result<J, E>) -> Result<Stage<J>, E> {
        Ok(match self {
            Self::Boot(boot) => Stage::Boot(boot),
            Self::Evidence => Stage::Evidence,
            Self::Drop => Stage::Drop,
            Self::Suite(stage) => Stage::Suite(Box::new(SuiteStage {
                tree: resolve(stage.tree)?,
                name: stage.name,
                suite: stage.suite,
                only: stage.only,
                tried: stage.tried,
            })),
            Self::Install(install) => {
                let mut images = BTreeMap::new();
                for (name, image) in install.images {
                    let resolved = resolve(image.image)?;
                    images.insert(name, SessionImage { image: resolved, replaces: image.replaces });
                }
                let mut steps = Vec::new();
                for step in install.steps {
                    let action = step.action.try_map(&mut resolve)?;
                    steps.push(Step { cluster: step.cluster, action });
                }
                let Install { ready, timeout, .. } = install;
                Stage::Install(Install { images, steps, ready, timeout })
            }
        })
    }
}

impl<I> StepAction<I> {
    fn try_map<J, E>(
        self,
        resolve: &mut impl FnMut(I) -> Result<J, E>,
    ) -> Result<StepAction<J>, E> {
        Ok(match self {
            Self::Apply { tree, path } => StepAction::Apply { tree: resolve(tree)?, path },
            Self::Run { run, source, builds, tools, images, timeout } => StepAction::Run {
                source: resolve(source)?,
                builds: builds
                    .into_iter()
                    .map(|(name, tree)| Ok((name, resolve(tree)?)))
                    .collect::<Result<_, E>>()?,
                run,
                tools,
                images,
                timeout,
            },
        })
    }
}
