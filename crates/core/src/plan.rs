//! The plan: the graph of actions and sessions for one state of a project.
//!
//! There is no order of phases here or anywhere: a node starts when what it
//! needs is there. A boot needs nothing, so it runs beside the builds.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::action::{Action, CommandAction, ImageAction, ImageBase, ImageLayerFile, Input};
use crate::digest::Digest;
use crate::failure::Failure;
use crate::name::Name;
use crate::pipeline::{
    Base, Build, Command, FileSource, Image, InstallAction, Isolation, Pipeline,
};
use crate::stage::{Boot, BootCluster, Install, SessionImage, Stage, Step, StepAction, SuiteStage};
use crate::step;

pub use self::growth::Growth;

mod growth;

/// A graph of work. Nodes stand behind all that they need.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// The nodes; they refer to each other by their place.
    pub nodes: Vec<Node>,
}

/// One node of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// Its name, unique in the plan: `build/server`, `default/boot`.
    pub name: String,
    /// The row of the step table it counts for.
    pub step: step::Step,
    /// Places of the nodes it needs, in rising order.
    pub needs: Vec<u32>,
    /// When it runs, once those have ended.
    pub when: When,
    /// What it does.
    pub work: Work,
    /// The place of the node that this one is a copy of, as another try or in
    /// another environment.
    pub again: Option<u32>,
}

/// On what condition a node runs, once all that it needs has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// When all of them ended well.
    AllWell,
    /// When one of them failed, or a test in it did.
    SomethingFailed,
    /// In any case.
    Always,
}

/// What a node does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Work {
    /// Makes an artifact.
    Action(Action<Input>),
    /// Does something in a session, or runs a suite apart from any.
    Stage {
        /// The node that began the session (its boot); `None`: no session.
        session: Option<u32>,
        /// The environment that the session is of.
        environment: Option<Name>,
        /// What is done.
        stage: Stage<Input>,
    },
}

/// What a run is asked to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// Run these suites; none named: all.
    Suites(Vec<Name>),
    /// Make these builds and images; none named: all.
    Artifacts(Vec<Name>),
    /// Bring one environment up, with the product in it.
    Environment(Name),
}

/// Patterns of project files that something reads, and behind a `!` of those
/// that it does not; none that it reads: every file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Sources(pub Vec<String>);

impl Sources {
    /// A file, or a directory with all that is below it. Signs in its name that
    /// mean something in a pattern mean themselves.
    #[must_use]
    pub fn at(path: &str) -> Self {
        let mut pattern = String::with_capacity(path.len());
        for sign in path.chars() {
            if matches!(sign, '*' | '?' | '[' | ']' | '{' | '}' | '!' | '\\') {
                pattern.push('\\');
            }
            pattern.push(sign);
        }
        let below = format!("{pattern}/**");
        Self(vec![pattern, below])
    }
}

/// What a plan is made from besides the pipeline.
pub struct Facts<'a> {
    /// The tree of each set of project files that is read.
    pub trees: &'a dyn Fn(&Sources) -> Result<Digest, Failure>,
    /// Which project files are read when a path is applied.
    pub applied: &'a dyn Fn(&str) -> Result<Sources, Failure>,
    /// Values of all parameters.
    pub params: &'a BTreeMap<Name, String>,
}

impl Plan {
    /// Plans what `selection` asks for.
    ///
    /// # Errors
    /// When a name is not one of the pipeline, nothing is selected, or a tree
    /// of project files cannot be made.
    pub fn new(
        pipeline: &Pipeline,
        selection: &Selection,
        facts: &Facts<'_>,
    ) -> Result<Self, Failure> {
        let mut planner = Planner {
            pipeline,
            facts,
            plan: Self::default(),
            fetches: HashMap::new(),
            builds: BTreeMap::new(),
            images: BTreeMap::new(),
        };
        match selection {
            Selection::Suites(names) => planner.suites(names)?,
            Selection::Artifacts(names) => planner.artifacts(names)?,
            Selection::Environment(name) => {
                planner.session(name, &[])?;
            }
        }
        Ok(planner.plan)
    }

    /// How many environments there may be at once: as many as fit into so much
    /// memory (in bytes) and so many nodes of clusters, were each as large as
    /// the largest, at most `most`, and always one. No more than one when any
    /// may use as much memory as there is: what the kernel ends then could be a
    /// neighbour's, and its test red.
    #[must_use]
    pub fn room(&self, memory: u64, nodes: u32, most: u32) -> u32 {
        let largest = self.boots().try_fold((1, 1), |(memory, nodes), boot| {
            Some((boot.memory()?.max(memory), boot.nodes().max(nodes)))
        });
        let fitting = largest.map_or(1, |(one_memory, one_nodes)| {
            (memory / one_memory).min(u64::from(nodes / one_nodes))
        });
        u32::try_from(fitting).unwrap_or(u32::MAX).clamp(1, most.max(1))
    }

    /// Whether it has several environments that are there one after the other
    /// since one may use as much memory as there is.
    #[must_use]
    pub fn is_one_by_one(&self) -> bool {
        let several = self.boots().count() > 1
            || self.nodes.iter().filter_map(Node::suite_stage).any(|stage| stage.suite.has_fresh());
        several && self.boots().any(|boot| boot.memory().is_none())
    }

    fn boots(&self) -> impl Iterator<Item = &Boot> {
        self.nodes.iter().filter_map(|node| match &node.work {
            Work::Stage { stage: Stage::Boot(boot), .. } => Some(boot),
            _ => None,
        })
    }

    /// The node at a place.
    #[must_use]
    pub fn node(&self, place: u32) -> Option<&Node> {
        self.nodes.get(place as usize)
    }

    /// Whether the verdict waits for the node at this place.
    #[must_use]
    pub fn decides(&self, place: u32) -> bool {
        self.node(place).is_some_and(Node::decides)
    }

    /// The session that the node at this place is part of, by the place of the
    /// boot that begins it.
    #[must_use]
    pub fn session(&self, place: u32) -> Option<u32> {
        match &self.node(place)?.work {
            Work::Stage { stage: Stage::Boot(_), .. } => Some(place),
            Work::Stage { session, .. } => *session,
            Work::Action(_) => None,
        }
    }

    /// The stage that made the environment as the node at this place finds it: of
    /// an installation the boot, of a suite the installation.
    #[must_use]
    pub fn stands_on(&self, place: u32) -> Option<u32> {
        let node = self.node(place).filter(|node| node.decides())?;
        let session = self.session(place)?;
        let makes = |place: &u32| {
            let work = self.node(*place).map(|node| &node.work);
            matches!(work, Some(Work::Stage { stage: Stage::Boot(_) | Stage::Install(_), .. }))
                && self.session(*place) == Some(session)
        };
        node.needs.iter().copied().rfind(makes)
    }
}

impl Node {
    /// Whether the verdict waits for it. What only tidies up or explains does
    /// not decide.
    #[must_use]
    pub fn decides(&self) -> bool {
        !matches!(self.work, Work::Stage { stage: Stage::Evidence | Stage::Drop, .. })
    }

    /// Whether a perfect pool would have done it ahead of time.
    #[must_use]
    pub fn poolable(&self) -> bool {
        matches!(self.work, Work::Stage { stage: Stage::Boot(_), .. })
    }

    /// The suite that it runs, when it runs one.
    #[must_use]
    pub fn suite(&self) -> Option<&Name> {
        self.suite_stage().map(|stage| &stage.name)
    }

    /// What it does of a suite, when it runs one.
    #[must_use]
    pub fn suite_stage(&self) -> Option<&SuiteStage<Input>> {
        match &self.work {
            Work::Stage { stage: Stage::Suite(stage), .. } => Some(stage),
            _ => None,
        }
    }

    /// Whether it runs only some of the tests that its suite selects.
    #[must_use]
    pub fn is_part(&self) -> bool {
        self.suite_stage().is_some_and(|stage| stage.only.is_some())
    }

    /// The environment that it is part of, when it is.
    #[must_use]
    pub fn environment(&self) -> Option<&Name> {
        match &self.work {
            Work::Stage { environment, .. } => environment.as_ref(),
            Work::Action(_) => None,
        }
    }
}

impl Work {
    /// Everything that it reads.
    #[must_use]
    pub fn inputs(&self) -> Vec<&Input> {
        match self {
            Self::Action(action) => action.inputs(),
            Self::Stage { stage, .. } => stage.inputs(),
        }
    }
}

struct Planner<'a> {
    pipeline: &'a Pipeline,
    facts: &'a Facts<'a>,
    plan: Plan,
    /// Places of what is fetched.
    fetches: HashMap<CommandAction<Input>, u32>,
    builds: BTreeMap<Name, u32>,
    images: BTreeMap<Name, u32>,
}

impl Planner<'_> {
    fn suites(&mut self, names: &[Name]) -> Result<(), Failure> {
        let pipeline = self.pipeline;
        for name in names {
            if !pipeline.suites.contains_key(name) {
                return Err(unknown("suite", name, pipeline.suites.keys()));
            }
        }
        let selected: Vec<_> = pipeline
            .suites
            .iter()
            .filter(|(name, _)| names.is_empty() || names.contains(name))
            .collect();
        if selected.is_empty() {
            return Err(Failure::config(
                "run.nothing_selected",
                "the pipeline has no suite to run",
            )
            .hint("add one under `suites:`; `seatrial init` writes an example"));
        }
        // Sessions first: their boots need nothing and should be offered first.
        let mut environments: BTreeMap<&Name, Vec<&Name>> = BTreeMap::new();
        for (name, suite) in &selected {
            for environment in &suite.environments {
                environments.entry(environment).or_default().push(name);
            }
        }
        for (environment, suites) in environments {
            let is_fresh = |name: &&Name| pipeline.suites[*name].isolation == Isolation::Fresh;
            let (fresh, shared): (Vec<_>, Vec<_>) = suites.into_iter().partition(is_fresh);
            if !shared.is_empty() {
                self.session(environment, &shared)?;
            }
            // Nobody else's tests are in its environments.
            for suite in fresh {
                self.session(environment, &[suite])?;
            }
        }
        for (name, suite) in selected {
            if suite.environments.is_empty() {
                let stage = self.suite(name)?;
                self.stage(format!("suite/{name}"), None, None, &[], When::AllWell, stage);
            }
        }
        Ok(())
    }

    fn artifacts(&mut self, names: &[Name]) -> Result<(), Failure> {
        let pipeline = self.pipeline;
        for name in names {
            if !pipeline.builds.contains_key(name) && !pipeline.images.contains_key(name) {
                let known = pipeline.builds.keys().chain(pipeline.images.keys());
                return Err(unknown("build or image", name, known));
            }
        }
        for name in pipeline.builds.keys() {
            if names.is_empty() || names.contains(name) {
                self.build(name, step::Step::ImageBuild)?;
            }
        }
        for name in pipeline.images.keys() {
            if names.is_empty() || names.contains(name) {
                self.image(name)?;
            }
        }
        if self.plan.nodes.is_empty() {
            return Err(Failure::config("run.nothing_selected", "the pipeline builds nothing"));
        }
        Ok(())
    }

    /// Plans a session: boot, install, the suites, evidence, drop.
    fn session(&mut self, environment: &Name, suites: &[&Name]) -> Result<(), Failure> {
        let pipeline = self.pipeline;
        let lineage = pipeline.lineage(environment);
        let (Some((_, top)), Some(clusters)) =
            (lineage.last().copied(), pipeline.clusters(environment))
        else {
            return Err(unknown("environment", environment, pipeline.environments.keys()));
        };
        let clusters = clusters
            .iter()
            .map(|(name, cluster)| BootCluster {
                name: name.clone(),
                kubernetes: cluster.kubernetes.clone(),
                nodes: cluster.nodes,
                resources: cluster.resources,
            })
            .collect();
        let egress: BTreeSet<_> =
            lineage.iter().flat_map(|(_, e)| e.egress.iter().cloned()).collect();
        let boot = Stage::Boot(Boot {
            environment: environment.clone(),
            clusters,
            egress: egress.into_iter().collect(),
        });
        let of = match suites {
            [suite] if pipeline.suites[*suite].isolation == Isolation::Fresh => {
                format!("{environment}/{suite}")
            }
            _ => environment.to_string(),
        };
        let name = |what: &str| format!("{of}/{what}");
        let boot = self.stage(name("boot"), None, Some(environment), &[], When::AllWell, boot);

        let mut images = BTreeMap::new();
        for (name, image) in &pipeline.images {
            let place = self.image(name)?;
            let replaces = image.replaces.clone();
            images.insert(name.clone(), SessionImage { image: Input::Node(place), replaces });
        }
        let mut steps = Vec::new();
        for (_, layer) in &lineage {
            for step in &layer.install {
                let action = self.install_action(&step.action)?;
                steps.push(Step { cluster: step.cluster.clone(), action });
            }
        }
        let ready = match lineage.iter().any(|(_, layer)| layer.ready.is_some()) {
            // What any layer names must hold; what none names is not guessed.
            true => {
                Some(lineage.iter().flat_map(|(_, l)| l.ready.iter().flatten().cloned()).collect())
            }
            false => None,
        };
        let install = Stage::Install(Install { images, steps, ready, timeout: top.timeout });
        let install = self.stage(
            name("install"),
            Some(boot),
            Some(environment),
            &[boot],
            When::AllWell,
            install,
        );
        let mut last = vec![install];
        for suite in suites {
            let stage = self.suite(suite)?;
            // One suite after the other: they share what they test.
            let needs = [install, last[last.len() - 1]];
            let when = When::AllWell;
            let place = self.stage(
                format!("{environment}/{suite}"),
                Some(boot),
                Some(environment),
                &needs,
                when,
                stage,
            );
            last.push(place);
        }
        let mut needs = vec![boot];
        needs.extend(last);
        let evidence = self.stage(
            name("evidence"),
            Some(boot),
            Some(environment),
            &needs,
            When::SomethingFailed,
            Stage::Evidence,
        );
        needs.push(evidence);
        self.stage(name("drop"), Some(boot), Some(environment), &needs, When::Always, Stage::Drop);
        Ok(())
    }

    fn install_action(&mut self, action: &InstallAction) -> Result<StepAction<Input>, Failure> {
        Ok(match action {
            InstallAction::Apply(source) => {
                let tree = match &source.build {
                    Some(_) => self.files(source)?,
                    None => {
                        let sources = (self.facts.applied)(&source.path)?;
                        Input::Tree((self.facts.trees)(&sources)?)
                    }
                };
                StepAction::Apply { tree, path: source.path.clone() }
            }
            InstallAction::Run { run, inputs, builds, tools, images, timeout } => {
                let mut trees = BTreeMap::new();
                for name in builds {
                    let place = self.build(name, step::Step::TestSetup)?;
                    trees.insert(name.clone(), Input::Node(place));
                }
                StepAction::Run {
                    run: run.clone(),
                    source: Input::Tree((self.facts.trees)(&Sources(inputs.clone()))?),
                    builds: trees,
                    tools: tools.iter().cloned().collect(),
                    images: images.clone(),
                    timeout: *timeout,
                }
            }
        })
    }

    fn suite(&mut self, name: &Name) -> Result<Stage<Input>, Failure> {
        let pipeline = self.pipeline;
        let Some(suite) = pipeline.suites.get(name) else {
            return Err(unknown("suite", name, pipeline.suites.keys()));
        };
        let tree = match &suite.build {
            Some(build) => Input::Node(self.build(build, step::Step::TestCompile)?),
            None => Input::Tree((self.facts.trees)(&Sources(Vec::new()))?),
        };
        let (name, suite) = (name.clone(), suite.clone());
        Ok(Stage::Suite(Box::new(SuiteStage { name, tree, suite, only: None, tried: 0 })))
    }

    fn build(&mut self, name: &Name, step: step::Step) -> Result<u32, Failure> {
        let pipeline = self.pipeline;
        if let Some(place) = self.builds.get(name) {
            return Ok(*place);
        }
        let Some(build) = pipeline.builds.get(name) else {
            return Err(unknown("build", name, pipeline.builds.keys()));
        };
        let fetched = match &build.fetch {
            None => None,
            Some(fetch) => {
                let source = (self.facts.trees)(&Sources(fetch.inputs.clone()))?;
                let action = command(build, &fetch.run, Input::Tree(source));
                let action = CommandAction {
                    network: fetch.network,
                    timeout: fetch.timeout,
                    outputs: Vec::new(),
                    caches: BTreeSet::new(),
                    // What is fetched depends on what is to be fetched, not on
                    // how it is built afterwards.
                    env: BTreeMap::new(),
                    ..action
                };
                // Two builds often fetch the same: one node does it for both.
                Some(Input::Node(match self.fetches.get(&action) {
                    Some(place) => *place,
                    None => {
                        let work = Work::Action(Action::Command(action.clone()));
                        let place =
                            self.push(format!("fetch/{name}"), step, &[], When::AllWell, work);
                        self.fetches.insert(action, place);
                        place
                    }
                }))
            }
        };
        let source = Input::Tree((self.facts.trees)(&Sources(build.inputs.clone()))?);
        let mut env = build.env.clone();
        for param in &build.params {
            let value = self.facts.params.get(param).cloned().unwrap_or_default();
            env.insert(format!("PARAM_{}", param.variable()), value);
        }
        let action = Action::Command(CommandAction {
            fetched,
            env,
            outputs: build.outputs.clone(),
            ..command(build, &build.run, source)
        });
        let place =
            self.push(format!("build/{name}"), step, &[], When::AllWell, Work::Action(action));
        self.builds.insert(name.clone(), place);
        Ok(place)
    }

    fn image(&mut self, name: &Name) -> Result<u32, Failure> {
        let pipeline = self.pipeline;
        if let Some(place) = self.images.get(name) {
            return Ok(*place);
        }
        let Some(image) = pipeline.images.get(name) else {
            return Err(unknown("image", name, pipeline.images.keys()));
        };
        let base = match &image.base {
            Base::Scratch => ImageBase::Scratch,
            Base::Registry { name, digest } => {
                ImageBase::Registry { name: name.clone(), digest: *digest }
            }
            Base::Layout(path) => {
                let tree = Input::Tree((self.facts.trees)(&Sources::at(path))?);
                ImageBase::Layout { tree, path: path.clone() }
            }
            Base::Image(name) => ImageBase::Image(Input::Node(self.image(name)?)),
        };
        let action = Action::Image(ImageAction {
            base,
            files: self.image_files(image)?,
            config: image.config.clone(),
        });
        let work = Work::Action(action);
        let place =
            self.push(format!("image/{name}"), step::Step::ImageBuild, &[], When::AllWell, work);
        self.images.insert(name.clone(), place);
        Ok(place)
    }

    fn image_files(&mut self, image: &Image) -> Result<Vec<ImageLayerFile<Input>>, Failure> {
        let mut files = Vec::new();
        for file in &image.files {
            let tree = match &file.from.build {
                Some(_) => self.files(&file.from)?,
                // Only what goes in: an image does not change with a file
                // that is not in it.
                None => {
                    let path = &file.from.path;
                    let sources = match file.patterns.as_slice() {
                        [] if path.is_empty() => Sources(Vec::new()),
                        [] => Sources::at(path),
                        patterns => Sources(patterns.to_vec()),
                    };
                    Input::Tree((self.facts.trees)(&sources)?)
                }
            };
            let path = file.from.path.clone();
            let (to, mode, owner) = (file.to.clone(), file.mode, file.owner);
            files.push(ImageLayerFile { tree, path, to, mode, owner });
        }
        Ok(files)
    }

    fn files(&mut self, source: &FileSource) -> Result<Input, Failure> {
        match &source.build {
            Some(build) => Ok(Input::Node(self.build(build, step::Step::ImageBuild)?)),
            None => Ok(Input::Tree((self.facts.trees)(&Sources(Vec::new()))?)),
        }
    }

    fn stage(
        &mut self,
        name: String,
        session: Option<u32>,
        environment: Option<&Name>,
        needs: &[u32],
        when: When,
        stage: Stage<Input>,
    ) -> u32 {
        let step = match &stage {
            Stage::Boot(_) => step::Step::ClusterSetup,
            Stage::Install(_) => step::Step::TestSetup,
            Stage::Suite(_) => step::Step::TestExecution,
            Stage::Evidence | Stage::Drop => step::Step::PostTest,
        };
        let environment = environment.cloned();
        self.push(name, step, needs, when, Work::Stage { session, environment, stage })
    }

    fn push(
        &mut self,
        name: String,
        step: step::Step,
        needs: &[u32],
        when: When,
        work: Work,
    ) -> u32 {
        let inputs = work.inputs().into_iter().filter_map(|input| match input {
            Input::Node(place) => Some(*place),
            Input::Tree(_) => None,
        });
        let needs: BTreeSet<u32> = needs.iter().copied().chain(inputs).collect();
        let needs = needs.into_iter().collect();
        self.plan.nodes.push(Node { name, step, needs, when, work, again: None });
        place_of(self.plan.nodes.len() - 1)
    }
}

fn command(build: &Build, run: &Command, source: Input) -> CommandAction<Input> {
    CommandAction {
        run: run.clone(),
        source,
        fetched: None,
        env: build.env.clone(),
        tools: build.tools.iter().cloned().collect(),
        outputs: Vec::new(),
        caches: build.caches.iter().cloned().collect(),
        network: build.network,
        timeout: build.timeout,
        resources: build.resources,
    }
}

pub(crate) fn place_of(index: usize) -> u32 {
    u32::try_from(index).expect("a pipeline file of at most 1 MiB names fewer nodes than 2^32")
}

fn unknown<'a>(what: &str, name: &Name, known: impl Iterator<Item = &'a Name>) -> Failure {
    let mut known: Vec<_> = known.map(Name::as_str).collect();
    // A build and an image of it mostly have one name.
    known.sort_unstable();
    known.dedup();
    let hint = match known.is_empty() {
        true => format!("the pipeline has no {what}"),
        false => format!("there are: {}", known.join(", ")),
    };
    Failure::config("run.unknown_name", format!("there is no {what} `{name}`")).hint(hint)
}

#[cfg(test)]
mod tests {
    use crate::pipeline::{Isolation, Resources};
    use crate::testing::{guestbook, plan_of};

    #[test]
    fn a_machine_has_room_for_environments_as_large_as_the_largest() {
        const GIB: u64 = 1 << 30;
        let resources = |gib| Resources { cpu_millis: None, memory: Some(gib * GIB) };
        let mut pipeline = guestbook();
        let plan = plan_of(&pipeline);
        assert_eq!(plan.room(64 * GIB, 64, 8), 1, "nothing is said of its memory");
        assert!(!plan.is_one_by_one(), "there is one");
        for suite in pipeline.suites.values_mut() {
            suite.isolation = Isolation::Fresh;
        }
        assert!(plan_of(&pipeline).is_one_by_one());
        for environment in pipeline.environments.values_mut() {
            environment.clusters.values_mut().for_each(|cluster| cluster.resources = resources(2));
        }
        assert_eq!(
            plan_of(&pipeline).room(13 * GIB, 64, 8),
            4,
            "3.25 GiB each, with what runs pods"
        );
        let mut large = pipeline.environments.values().next().expect("the sample has one").clone();
        for cluster in large.clusters.values_mut() {
            cluster.nodes = 3;
            cluster.resources = resources(5);
        }
        pipeline.environments.insert("large".parse().expect("a name"), large);
        let suite = pipeline.suites.values_mut().find(|suite| !suite.environments.is_empty());
        suite.expect("the sample has one").environments.push("large".parse().expect("a name"));
        let plan = plan_of(&pipeline);
        assert!(!plan.is_one_by_one());
        assert_eq!(plan.room(14 * GIB, 64, 8), 2, "6.75 GiB each");
        assert_eq!(plan.room(64 * GIB, 11, 8), 3, "three nodes each");
        assert_eq!(plan.room(64 * GIB, 64, 2), 2, "no more than may be");
        assert_eq!([plan.room(GIB, 64, 8), plan.room(0, 0, 0)], [1, 1], "one is always tried");
    }
}
