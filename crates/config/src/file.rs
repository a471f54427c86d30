//! The sections of `seatrial.yaml`, as they are written.
//!
//! Each field stands here once, with its type, whether it must be there and
//! what it is otherwise. The doc comments are the documentation of the format:
//! they go into the JSON schema and into `docs/format.md`.

mod choice;

use std::time::Duration;

use seatrial_core::name::Name;
use seatrial_core::pipeline::{Adapter, Egress, Isolation};

use crate::read::{Field, List, Map, NonEmpty, Section, section};
use crate::value::{
    Absolute, Collect, ContainerVariable, Cpu, Glob, Kubernetes, Memory, Mode, Number, ParamType,
    Pattern, Port, Relative, Repository, Run, Variable,
};

pub(crate) use choice::{ApplyValue, BaseValue, Object, ParamDefault, Version, base};

section! {
    /// A pipeline: what is built, into what it is put, and how it is tested.
    File {
        /// Version of the format.
        seatrial: Version, required;
        /// Values that a run can set with `-p name=value`.
        params: Map<Name, ParamFile>, optional;
        /// Commands that make file trees.
        builds: Map<Name, BuildFile>, optional;
        /// Container images made from builds.
        images: Map<Name, ImageFile>, optional;
        /// What suites test against.
        environments: Map<Name, EnvironmentFile>, optional;
        /// What is tested, and how.
        suites: Map<Name, SuiteFile>, optional;
    }
}

section! {
    /// A parameter of a run. What lists it sees it as `$PARAM_NAME`.
    ParamFile {
        /// What it may be: `bool`, `string` or `enum`.
        type_: ParamType, required;
        /// The value when a run gives none.
        default: ParamDefault, default "`false`, the empty text, or the first of `values`";
        /// What an `enum` may be.
        values: NonEmpty<List<String>>, optional;
    }
}

section! {
    /// A command that makes a file tree.
    BuildFile {
        /// Patterns of the project's files that the command sees.
        inputs: NonEmpty<List<Glob>>, default "every tracked file";
        /// Tools on its PATH besides the shell and the core utilities.
        tools: List<Name>, optional;
        /// What is fetched first, under a key of its own; `run` sees the result read-only.
        fetch: FetchFile, optional;
        /// Directories kept between builds, such as `go-build`; never part of a key.
        caches: List<Name>, optional;
        /// Environment variables.
        env: Map<Variable, String>, optional;
        /// Parameters it sees.
        params: List<Name>, optional;
        /// The command: a script for `bash -euo pipefail`, or a list of a program and its arguments.
        run: Run, required;
        /// Patterns of what it leaves in `$OUT`; each must match something.
        outputs: List<Glob>, default "`[\"**\"]`, everything";
        /// What it may use.
        resources: ResourcesFile, default "no limit";
        /// How long it may take.
        timeout: Duration, default "`30m`";
        /// Whether it reaches the network.
        network: bool, default "`false`";
    }
}

section! {
    /// What a build fetches before it runs.
    FetchFile {
        /// Patterns of the project's files that the command sees.
        inputs: NonEmpty<List<Glob>>, required;
        /// The command.
        run: Run, required;
        /// Whether it reaches the network.
        network: bool, default "`false`";
        /// How long it may take.
        timeout: Duration, default "`30m`";
    }
}

section! {
    /// CPU and memory that something may use.
    ResourcesFile {
        /// Cores.
        cpu: Cpu, optional;
        /// Memory.
        memory: Memory, optional;
    }
}

section! {
    /// A container image.
    ImageFile {
        /// Names of images in manifests, charts and pods that stand for this one.
        replaces: List<Repository>, optional;
        /// What it starts from: `scratch`, `name:tag`, `name@sha256:...`, `{ image: NAME }` or `{ layout: DIR }`.
        base: BaseValue, default "`scratch`";
        /// What is added, in one layer.
        files: List<FilesFile>, optional;
        /// How it is started.
        config: ConfigFile, optional;
        /// A Dockerfile without `RUN` that says all of that instead.
        dockerfile: Relative, optional;
        /// Values of the `ARG`s of the Dockerfile.
        args: Map<ContainerVariable, String>, optional;
        /// Builds that the Dockerfile copies from, as `COPY --from=NAME`; a stage of that name is not looked at.
        builds: List<Name>, optional;
    }
}

section! {
    /// Files that are added to an image.
    FilesFile {
        /// The build whose output they are.
        build: Name, default "files of the project";
        /// The file or directory.
        path: Relative, required;
        /// Where it goes in the image.
        to: Absolute, required;
        /// Permission bits in octal, in quotes.
        mode: Mode, default "those of the file";
    }
}

section! {
    /// How a container is started: fields of the OCI image configuration.
    ConfigFile {
        /// Program and first arguments.
        entrypoint: List<String>, optional;
        /// Default further arguments.
        cmd: List<String>, optional;
        /// Environment variables.
        env: Map<ContainerVariable, String>, optional;
        /// User, or user and group: `65532` or `65532:65532`, in quotes.
        user: String, optional;
        /// Working directory.
        workdir: Absolute, optional;
        /// Ports, such as `8080/tcp`.
        ports: List<Port>, optional;
        /// Labels.
        labels: Map<String, String>, optional;
    }
}

section! {
    /// What suites test against: clusters with the product in them.
    EnvironmentFile {
        /// The environment it is on top of: it has the same clusters, and the steps of its base come first.
        base: Name, optional;
        /// Kubernetes clusters.
        clusters: NonEmpty<Map<Name, ClusterFile>>, default "those of `base`, else one named `main`";
        /// Where pods may connect to outside, as `host:port`.
        egress: List<Egress>, default "nothing leaves";
        /// How the product gets in, in order.
        install: List<InstallFile>, optional;
        /// What must hold before the first test.
        ready: List<ReadyFile>, default "all that was applied";
        /// How long all of `install` and `ready` may take.
        timeout: Duration, default "`5m`";
    }
}

section! {
    /// A Kubernetes cluster of an environment.
    ClusterFile {
        /// Minor version in quotes, such as `"1.37"`.
        kubernetes: Kubernetes, default "the newest that is known";
        /// Number of nodes, at most 16.
        nodes: Number<1, 16>, default "`1`";
        /// What all of it may use. Without `memory`, environments are run one after the other.
        resources: ResourcesFile, default "no limit";
    }
}

section! {
    /// A step that puts the product into a cluster: either `apply` or `run`.
    InstallFile {
        /// A file, directory or kustomization to apply: a path, or `{ build: NAME, path: PATH }`.
        apply: ApplyValue, optional;
        /// A command, with `KUBECONFIG` set.
        run: Run, optional;
        /// The cluster it is done to.
        cluster: Name, default "the only or first one";
        /// Patterns of the project's files that `run` sees.
        inputs: NonEmpty<List<Glob>>, default "every tracked file";
        /// Builds whose outputs `run` sees, as `$BUILD_NAME`.
        builds: List<Name>, optional;
        /// Tools on the PATH of `run`.
        tools: List<Name>, optional;
        /// Images that `run` names, as `$IMAGE_NAME=name@sha256:...`.
        images: List<Name>, optional;
        /// How long `run` may take.
        timeout: Duration, default "`5m`";
    }
}

section! {
    /// A condition that must hold before the first test.
    ReadyFile {
        /// The object, as `kind/name`.
        for_: Object, required;
        /// Its namespace.
        namespace: Name, default "`default`, or none for what has none";
        /// The condition that must be `True`.
        condition: String, default "`Available` for a deployment, `Complete` for a job, `Ready` for a pod or node";
        /// How long it may take.
        within: Duration, default "`2m`";
        /// The cluster it is in.
        cluster: Name, default "the only or first one";
    }
}

section! {
    /// Tests that share an adapter and kinds of environment.
    SuiteFile {
        /// The build that makes the test programs; `pytest`, `junit` and `exec` can do without.
        build: Name, optional;
        /// How tests are listed, run and read: `go`, `ginkgo`, `rust`, `pytest`, `junit` or `exec`.
        adapter: Adapter, required;
        /// Patterns of test programs in the build's output, for `go`, `ginkgo` and `rust`.
        files: NonEmpty<List<Glob>>, default "`[\"*.test\"]`";
        /// The command of a `junit` or `exec` suite; `junit` writes its report to `$JUNIT`.
        run: Run, optional;
        /// Further arguments for each test program, or for pytest.
        args: List<String>, optional;
        /// Regular expressions; a test whose name matches one is selected.
        select: List<Pattern>, default "every test";
        /// Tools on the PATH of the tests.
        tools: List<Name>, optional;
        /// Environment variables.
        env: Map<Variable, String>, optional;
        /// Environments; each runs all tests.
        environments: List<Name>, default "none: the tests run in the sandbox alone";
        /// How tests share an environment: `shared`, `serial` or `fresh` (one for each test).
        isolation: Isolation, default "`shared`";
        /// How long one test may take.
        test_timeout: Duration, default "`10m`";
        /// How often a failed test is tried again, at most 10 times.
        retries: Number<0, 10>, default "`0`";
        /// Other settings for some tests; the first that matches and sets a field wins.
        overrides: List<OverrideFile>, optional;
        /// What a failing test leaves in `$ARTIFACTS` that is kept.
        collect: List<Collect>, default "nothing";
    }
}

section! {
    /// Other settings for some tests of a suite.
    OverrideFile {
        /// Which tests, such as `test(~Failover) and not program(=load.test)`.
        filter: String, required;
        /// How they share an environment.
        isolation: Isolation, optional;
        /// How long one of them may take.
        test_timeout: Duration, optional;
        /// How often they are tried again.
        retries: Number<0, 10>, optional;
    }
}

section! {
    /// A file or directory of a build's output.
    BuildPathFile {
        /// The build.
        build: Name, required;
        /// The path in its output.
        path: Relative, required;
    }
}

section! {
    /// Another image of this file as a base.
    BaseImageFile {
        /// Its name.
        image: Name, required;
    }
}

section! {
    /// An OCI image layout directory of the project as a base.
    BaseLayoutFile {
        /// The directory.
        layout: Relative, required;
    }
}

/// A section of the documentation: its heading, where it stands, its fields.
pub(crate) struct Chapter {
    pub(crate) heading: &'static str,
    pub(crate) doc: &'static [&'static str],
    pub(crate) fields: &'static [Field],
}

/// All sections, in the order of the documentation.
pub(crate) fn chapters() -> Vec<Chapter> {
    fn chapter<S: Section>(heading: &'static str) -> Chapter {
        Chapter { heading, doc: S::DOC, fields: S::FIELDS }
    }
    vec![
        chapter::<File>("The file"),
        chapter::<ParamFile>("params.NAME"),
        chapter::<BuildFile>("builds.NAME"),
        chapter::<FetchFile>("builds.NAME.fetch"),
        chapter::<ResourcesFile>("resources"),
        chapter::<ImageFile>("images.NAME"),
        chapter::<FilesFile>("images.NAME.files"),
        chapter::<ConfigFile>("images.NAME.config"),
        chapter::<EnvironmentFile>("environments.NAME"),
        chapter::<ClusterFile>("environments.NAME.clusters.NAME"),
        chapter::<InstallFile>("environments.NAME.install"),
        chapter::<ReadyFile>("environments.NAME.ready"),
        chapter::<SuiteFile>("suites.NAME"),
        chapter::<OverrideFile>("suites.NAME.overrides"),
    ]
}
