//! A small checked pipeline that tests of this crate share.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::digest::Digest;
use crate::name::Name;
use crate::pipeline::{
    Adapter, Base, Build, Cluster, Command, Environment, Fetch, FileSource, Image, ImageConfig,
    ImageFile, InstallAction, InstallStep, Isolation, Pipeline, Resources, Suite,
};
use crate::plan::{Facts, Plan, Selection, Sources};

/// One service, one image, one environment and two suites: one in it, one
/// apart.
pub(crate) fn guestbook() -> Pipeline {
    let name = |text: &str| text.parse::<Name>().expect("a name");
    let build = |run: &str, fetch: Option<Fetch>| Build {
        inputs: Vec::new(),
        tools: vec![name("go")],
        fetch,
        caches: vec![name("go-build")],
        env: BTreeMap::new(),
        params: BTreeSet::new(),
        run: Command::Script(run.into()),
        outputs: vec!["*".into()],
        resources: Resources::default(),
        timeout: Build::TIMEOUT,
        network: false,
    };
    let fetch = Fetch {
        inputs: vec!["go.mod".into(), "go.sum".into()],
        run: Command::Script("go mod download".into()),
        network: true,
        timeout: Duration::from_secs(600),
    };
    let image = Image {
        replaces: vec!["ghcr.io/example/guestbook".into()],
        base: Base::Scratch,
        files: vec![ImageFile {
            from: FileSource { build: Some(name("server")), path: "guestbook".into() },
            patterns: Vec::new(),
            to: "/guestbook".into(),
            mode: Some(0o755),
            owner: None,
        }],
        config: ImageConfig::default(),
    };
    let environment = Environment {
        base: None,
        clusters: BTreeMap::from([(
            name("main"),
            Cluster { kubernetes: "1.37".into(), nodes: 1, resources: Resources::default() },
        )]),
        egress: Vec::new(),
        install: vec![InstallStep {
            cluster: name("main"),
            action: InstallAction::Apply(FileSource { build: None, path: "deploy".into() }),
        }],
        ready: None,
        timeout: Environment::TIMEOUT,
    };
    let suite = |environments: Vec<Name>| Suite {
        build: Some(name("e2e-tests")),
        adapter: Adapter::Go,
        files: vec!["*.test".into()],
        run: None,
        args: Vec::new(),
        select: Vec::new(),
        tools: Vec::new(),
        env: BTreeMap::new(),
        environments,
        isolation: Isolation::Shared,
        test_timeout: Suite::TEST_TIMEOUT,
        retries: 0,
        overrides: Vec::new(),
        collect: Vec::new(),
    };
    Pipeline {
        params: BTreeMap::new(),
        builds: BTreeMap::from([
            (name("server"), build("go build", Some(fetch))),
            (name("e2e-tests"), build("go test -c", None)),
        ]),
        images: BTreeMap::from([(name("guestbook"), image)]),
        environments: BTreeMap::from([(name("default"), environment)]),
        suites: BTreeMap::from([
            (name("e2e"), suite(vec![name("default")])),
            (name("unit"), suite(Vec::new())),
        ]),
    }
}

/// The plan of it with one more suite in the environment.
pub(crate) fn two_suites() -> Plan {
    let mut pipeline = guestbook();
    let inside = pipeline.suites.values().find(|suite| !suite.environments.is_empty());
    let inside = inside.expect("the sample has one").clone();
    pipeline.suites.insert("load".parse().expect("a name"), inside);
    plan_of(&pipeline)
}

/// The plan of all suites of a pipeline, project files standing for themselves.
pub(crate) fn plan_of(pipeline: &Pipeline) -> Plan {
    let params = BTreeMap::new();
    let facts = Facts {
        trees: &|sources| Ok(Digest::of(format!("{sources:?}"))),
        applied: &|path| Ok(Sources(vec![path.to_owned()])),
        params: &params,
    };
    Plan::new(pipeline, &Selection::Suites(Vec::new()), &facts).expect("the sample plans")
}
