use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::*;
use crate::action::{ComponentsIdentity, ToolIdentity};
use crate::pipeline::{Adapter, Command, Isolation};

fn name(text: &str) -> Name {
    text.parse().expect("a name")
}

fn platform() -> Platform {
    let versions = BTreeMap::from([("kubernetes".to_owned(), "1.37.2".to_owned())]);
    Platform {
        name: "linux/amd64".to_owned(),
        base: "debian".to_owned(),
        tools: BTreeMap::new(),
        components: Some(ComponentsIdentity { digest: Digest::of("all of 1.37.2"), versions }),
    }
}

fn boot() -> Boot {
    Boot {
        environment: name("default"),
        clusters: vec![BootCluster {
            name: name("main"),
            kubernetes: "1.37".to_owned(),
            nodes: 1,
            resources: Resources { cpu_millis: Some(2000), memory: None },
        }],
        egress: Vec::new(),
    }
}

fn install() -> Install<Digest> {
    let image = SessionImage { image: Digest::of("image"), replaces: vec!["a/server".to_owned()] };
    let apply = StepAction::Apply { tree: Digest::of("manifests"), path: "deploy".to_owned() };
    let run = StepAction::Run {
        run: Command::Script("helm install .".to_owned()),
        source: Digest::of("chart"),
        builds: BTreeMap::from([(name("crds"), Digest::of("crds"))]),
        tools: BTreeSet::from([name("helm")]),
        images: BTreeSet::from([name("server")]),
        timeout: Duration::from_secs(60),
    };
    Install {
        images: BTreeMap::from([(name("server"), image)]),
        steps: [apply, run].map(|action| Step { cluster: name("main"), action }).into(),
        ready: None,
        timeout: Duration::from_secs(60),
    }
}

fn suite() -> SuiteStage<Digest> {
    SuiteStage {
        name: name("e2e"),
        tree: Digest::of("programs"),
        suite: Suite {
            build: Some(name("tests")),
            adapter: Adapter::Go,
            files: vec!["*.test".to_owned()],
            run: None,
            args: Vec::new(),
            select: Vec::new(),
            tools: vec![name("kubectl")],
            env: BTreeMap::new(),
            environments: vec![name("default")],
            isolation: Isolation::Shared,
            test_timeout: Duration::from_secs(60),
            retries: 0,
            overrides: Vec::new(),
            collect: Vec::new(),
        },
        only: None,
        tried: 0,
    }
}

fn key(stage: impl Into<Stage<Digest>>, platform: &Platform) -> Digest {
    stage.into().record(platform, Some(Digest::of("on"))).expect("a record").key()
}

impl From<Boot> for Stage<Digest> {
    fn from(boot: Boot) -> Self {
        Self::Boot(boot)
    }
}

impl From<Install<Digest>> for Stage<Digest> {
    fn from(install: Install<Digest>) -> Self {
        Self::Install(install)
    }
}

impl From<SuiteStage<Digest>> for Stage<Digest> {
    fn from(suite: SuiteStage<Digest>) -> Self {
        Self::Suite(Box::new(suite))
    }
}

/// Checks that each change makes another key, and no two the same.
fn all_differ<T: Clone + Into<Stage<Digest>>>(one: &T, changes: &[fn(&mut T)]) {
    let mut keys = BTreeSet::from([key(one.clone(), &platform())]);
    for (place, change) in changes.iter().enumerate() {
        let mut other = one.clone();
        change(&mut other);
        assert!(keys.insert(key(other, &platform())), "change {place} makes no other key");
    }
}

/// Checks that no change makes another key.
fn all_equal<T: Clone + Into<Stage<Digest>>>(one: &T, changes: &[fn(&mut T)]) {
    for (place, change) in changes.iter().enumerate() {
        let mut other = one.clone();
        change(&mut other);
        let same = key(other, &platform()) == key(one.clone(), &platform());
        assert!(same, "change {place} makes another key");
    }
}

fn apply(install: &mut Install<Digest>) -> (&mut Digest, &mut String) {
    match &mut install.steps[0].action {
        StepAction::Apply { tree, path } => (tree, path),
        StepAction::Run { .. } => unreachable!("the first step applies"),
    }
}

/// What the second step runs.
struct Run<'a> {
    run: &'a mut Command,
    source: &'a mut Digest,
    builds: &'a mut BTreeMap<Name, Digest>,
    tools: &'a mut BTreeSet<Name>,
    images: &'a mut BTreeSet<Name>,
    timeout: &'a mut Duration,
}

fn run(install: &mut Install<Digest>) -> Run<'_> {
    match &mut install.steps[1].action {
        StepAction::Run { run, source, builds, tools, images, timeout } => {
            Run { run, source, builds, tools, images, timeout }
        }
        StepAction::Apply { .. } => unreachable!("the second step runs"),
    }
}

#[test]
fn a_boot_is_its_clusters_and_what_they_are_started_from() {
    all_differ(
        &boot(),
        &[
            |boot| boot.clusters[0].name = name("other"),
            |boot| boot.clusters[0].kubernetes = "1.36".to_owned(),
            |boot| boot.clusters[0].nodes = 2,
            |boot| boot.clusters[0].resources.cpu_millis = None,
            |boot| boot.clusters[0].resources.memory = Some(2000),
            |boot| boot.clusters.push(boot.clusters[0].clone()),
            |boot| boot.egress.push(Egress { host: "example.org".to_owned(), port: 443 }),
        ],
    );
    all_equal(&boot(), &[|boot| boot.environment = name("other")]);

    let of = |platform: &Platform| key(boot(), platform);
    let mut patch = platform();
    let versions = BTreeMap::from([("kubernetes".to_owned(), "1.37.3".to_owned())]);
    patch.components = Some(ComponentsIdentity { digest: Digest::of("all of 1.37.3"), versions });
    assert_ne!(of(&platform()), of(&patch), "another patch of Kubernetes is another boot");
    let none = Platform { components: None, ..platform() };
    assert_eq!(Stage::from(boot()).record(&none, None), None, "it is not known yet");
    assert_eq!(of(&platform()), of(&Platform { base: "other".to_owned(), ..platform() }));
}

#[test]
fn an_installation_is_images_steps_and_what_must_hold() {
    all_differ(
        &install(),
        &[
            |install| install.images.clear(),
            |install| install.images.values_mut().for_each(|i| i.image = Digest::of("other")),
            |install| install.images.values_mut().for_each(|i| i.replaces.clear()),
            |install| install.steps.truncate(1),
            |install| install.steps.reverse(),
            |install| install.steps[0].cluster = name("other"),
            |install| *apply(install).0 = Digest::of("other manifests"),
            |install| *apply(install).1 = "other".to_owned(),
            |install| *run(install).run = Command::Script("helm upgrade".to_owned()),
            |install| *run(install).run = Command::Argv(vec!["helm install .".to_owned()]),
            |install| *run(install).source = Digest::of("other chart"),
            |install| run(install).builds.clear(),
            |install| run(install).builds.values_mut().for_each(|tree| *tree = Digest::of("b")),
            |install| run(install).tools.clear(),
            |install| run(install).images.clear(),
            |install| install.ready = Some(Vec::new()),
        ],
    );
    all_equal(
        &install(),
        &[
            |install| install.timeout = Duration::from_secs(1),
            |install| *run(install).timeout = Duration::from_secs(1),
        ],
    );
    let mut other = platform();
    let helm = ToolIdentity { binary: Digest::of("helm"), account: "v4".to_owned() };
    other.tools.insert(name("helm"), helm);
    assert_ne!(key(install(), &platform()), key(install(), &other));

    // Commands see the machine's programs; what is only applied does not.
    let other = Platform { base: "other".to_owned(), ..platform() };
    assert_ne!(key(install(), &platform()), key(install(), &other));
    let mut applies = install();
    applies.steps.truncate(1);
    assert_eq!(key(applies.clone(), &platform()), key(applies, &other));
}

#[test]
fn a_suite_is_its_programs_and_how_they_are_run() {
    all_differ(
        &suite(),
        &[
            |suite| suite.tree = Digest::of("other programs"),
            |suite| suite.suite.adapter = Adapter::Ginkgo,
            |suite| suite.suite.files.push("b".to_owned()),
            |suite| suite.suite.run = Some(Command::Script("true".to_owned())),
            |suite| suite.suite.args.push("-v".to_owned()),
            |suite| suite.suite.select.push("-v".to_owned()),
            |suite| suite.suite.tools.clear(),
            |suite| suite.suite.env.extend([("A".to_owned(), "b".to_owned())]),
            |suite| suite.suite.collect.push("*.png".to_owned()),
        ],
    );
    all_equal(
        &suite(),
        &[
            |suite| suite.name = name("other"),
            |suite| suite.tried = 1,
            |suite| suite.only = Some(Vec::new()),
            |suite| suite.suite.build = Some(name("other")),
            |suite| suite.suite.environments.clear(),
            |suite| suite.suite.isolation = Isolation::Serial,
            |suite| suite.suite.test_timeout = Duration::from_secs(1),
            |suite| suite.suite.retries = 2,
        ],
    );
}

#[test]
fn each_stage_depends_on_what_it_stands_on_and_what_makes_nothing_has_no_record() {
    for stage in [Stage::from(boot()), install().into(), suite().into()] {
        let on = |on: Option<&str>| stage.record(&platform(), on.map(Digest::of));
        assert_ne!(on(None), on(Some("a")));
        assert_ne!(on(Some("a")), on(Some("b")));
    }
    assert_eq!(Stage::Evidence.record(&platform(), None), None);
    assert_eq!(Stage::Drop.record(&platform(), None), None);
}
