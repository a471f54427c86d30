//! The job as it is done today, in plain tools: `git clone`, a cluster from
//! nothing, `go build` and an image archive for each service, import into the
//! node, `kubectl apply`, `kubectl rollout status`, `go test`, logs, cluster
//! deleted; then the second environment. See `bench/baseline/README.md` for
//! why it is what it is.

mod cluster;
mod image;
mod suite;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context as _;
use seatrial_core::step::Step;

use self::cluster::Cluster;
use super::project::remove;
use super::record::{Record, System, TestTime};
use super::works::Works;
use super::{Setup, measured};

/// The product's services; each is an image.
const SERVICES: [&str; 3] = ["store", "leader", "front"];

/// The product's environments, and what is applied in each.
const ENVIRONMENTS: [(&str, &str); 2] = [("default", "deploy/base"), ("cached", "deploy/cached")];

/// What has to be rolled out before the first test.
const WORKLOADS: [&str; 3] = ["statefulset/store", "deployment/front", "deployment/leader"];

/// Before a command: it ends with who started it. A bench that is killed leaves
/// no tests behind that would disturb the next one.
const ENDS_WITH_PARENT: [&str; 3] = ["setpriv", "--pdeathsig", "KILL"];

/// Where the plain tools keep what outlives a job: the compiler's caches.
pub(crate) struct Caches(PathBuf);

impl Caches {
    pub(crate) fn in_dir(dir: &Path) -> Self {
        Self(dir.join("plain-caches"))
    }

    pub(crate) fn forget(&self) -> anyhow::Result<()> {
        remove(&self.0)
    }

    fn go(&self, dir: &Path) -> Command {
        let mut command = Command::new(ENDS_WITH_PARENT[0]);
        command.args(&ENDS_WITH_PARENT[1..]).arg("go");
        command.current_dir(dir).env("CGO_ENABLED", "0");
        command.env("GOCACHE", self.0.join("build")).env("GOMODCACHE", self.0.join("modules"));
        command
    }

    /// Compiles all once, as the job of the commit before has done. Not measured.
    pub(crate) fn warm(&self, setup: &Setup) -> anyhow::Result<()> {
        let Setup { project, scratch, build, .. } = setup;
        let done = self.0.join(format!("warm-{}-{build}", project.tree));
        if done.exists() {
            return Ok(());
        }
        // Where a job has its clone: the compiler keeps what it made by directory.
        let dir = scratch.join("clone");
        project.clone_into(super::project::BASE, &dir)?;
        for service in SERVICES {
            measured::run(&mut image::build(self, &dir, service))?;
        }
        let none = ["test", "-count=1", "-run=^$", "./e2e/..."];
        measured::run(self.go(&dir).args(none).args(suite::COMPILED))?;
        remove(&dir)?;
        std::fs::write(done, "").context("the caches were made")
    }
}

/// A job under way.
struct Job<'a> {
    setup: &'a Setup,
    caches: &'a Caches,
    works: Works,
    dir: PathBuf,
    careful: bool,
    /// How many of the environments, and how often each test there.
    environments: usize,
    times: u32,
    tests: Vec<TestTime>,
    red: Vec<String>,
    untold_us: u64,
}

/// Does the job on a branch.
pub(crate) fn run(
    setup: &Setup,
    caches: &Caches,
    branch: &str,
    record: Record,
) -> anyhow::Result<Record> {
    job(setup, caches, branch, record, (ENVIRONMENTS.len(), 1))
}

/// Runs every test so often in a row, in one environment.
pub(crate) fn repeat(
    setup: &Setup,
    caches: &Caches,
    times: u32,
    record: Record,
) -> anyhow::Result<Record> {
    job(setup, caches, super::project::BASE, record, (1, times))
}

fn job(
    setup: &Setup,
    caches: &Caches,
    branch: &str,
    record: Record,
    (environments, times): (usize, u32),
) -> anyhow::Result<Record> {
    let dir = setup.scratch.join("clone");
    remove(&dir)?;
    let careful = record.system == System::Careful;
    let works = Works::begin();
    let (tests, red) = (Vec::new(), Vec::new());
    let mut job =
        Job { setup, caches, works, dir, careful, environments, times, tests, red, untold_us: 0 };
    job.all(branch)?;
    let wall_us = job.works.now_us();
    let account = job.works.account(wall_us, setup.cores);
    let record = Record {
        wall_s: wall_us as f64 / 1e6,
        core_s: (job.works.core_us() + job.untold_us) as f64 / 1e6,
        red: job.red,
        tests: job.tests,
        ..record
    };
    remove(&job.dir)?;
    Ok(record.accounted(&account, account.bound.chain_us))
}

impl Job<'_> {
    fn all(&mut self, branch: &str) -> anyhow::Result<()> {
        let clone = || Ok(((), self.setup.project.clone_into(branch, &self.dir)?));
        let ((), source) = self.works.work(Step::Source, &[], clone)?;
        let mut images = Vec::new();
        for (environment, manifests) in ENVIRONMENTS.into_iter().take(self.environments) {
            let (cluster, booted) = if images.is_empty() {
                let (cluster, built) = self.cluster_and_images(source)?;
                images = built;
                cluster
            } else {
                self.boot(&[source])?
            };
            let ended = self.environment(environment, manifests, &cluster, booted, &images);
            // Also after an error: it holds a cluster.
            let untold = self.works.work(Step::PostTest, &[], || {
                let (used, untold) = cluster.delete()?;
                Ok((untold, used))
            });
            ended?;
            self.untold_us += untold?.0;
        }
        Ok(())
    }

    /// A cluster and the images: one after the other, or, done carefully, at once.
    fn cluster_and_images(&self, source: usize) -> anyhow::Result<((Cluster, usize), Vec<usize>)> {
        if !self.careful {
            let cluster = self.boot(&[source])?;
            return Ok((cluster, self.images(source)?));
        }
        std::thread::scope(|scope| {
            let images = scope.spawn(|| self.images(source));
            let cluster = self.boot(&[source]);
            let images = images.join().map_err(|_| anyhow::anyhow!("the builds panicked"))?;
            Ok((cluster?, images?))
        })
    }

    fn boot(&self, needs: &[usize]) -> anyhow::Result<(Cluster, usize)> {
        self.works.work(Step::ClusterSetup, needs, || {
            let cluster = Cluster::boot(self.setup)?;
            let used = cluster.used_us();
            Ok((cluster, used))
        })
    }

    fn images(&self, source: usize) -> anyhow::Result<Vec<usize>> {
        let image = |service: &&str| {
            let make = || Ok(((), image::make(self.caches, &self.dir, service)?));
            Ok(self.works.work(Step::ImageBuild, &[source], make)?.1)
        };
        SERVICES.iter().map(image).collect()
    }

    fn environment(
        &mut self,
        environment: &str,
        manifests: &str,
        cluster: &Cluster,
        booted: usize,
        images: &[usize],
    ) -> anyhow::Result<()> {
        let works = &self.works;
        let needs = [&[booted], images].concat();
        let ((), loaded) = works.work(Step::ImagePull, &needs, || {
            let mut own = 0;
            for service in SERVICES {
                own += cluster.import(&image::archive(&self.dir, service))?;
            }
            Ok(((), own + cluster.used_us()))
        })?;
        let ((), ready) = works.work(Step::TestSetup, &[loaded], || {
            let mut own = 0;
            let manifests = self.dir.join(manifests);
            let apply = |command: &mut Command| measured::run(command.arg(&manifests));
            own += apply(cluster.kubectl().args(["apply", "--kustomize"]))?;
            for workload in WORKLOADS {
                let status = ["rollout", "status", "--namespace=reference", "--timeout=120s"];
                own += measured::run(cluster.kubectl().args(status).arg(workload))?;
            }
            Ok(((), own + cluster.used_us()))
        })?;
        let go = suite::command(self.caches, &self.dir, cluster, self.careful, self.times);
        let ran = suite::run(go, works, cluster, ready, self.careful)?;
        for (program, name, passed, wall_s, core_s) in ran {
            let environment = environment.to_owned();
            let test = TestTime { environment, program, name, wall_s, core_s };
            if !passed {
                self.red.push(test.full_name());
            }
            self.tests.push(test);
        }
        self.red.sort();
        self.works.work(Step::PostTest, &[], || {
            let (_, own) = measured::output(cluster.kubectl().args([
                "cluster-info",
                "dump",
                "--namespaces=reference",
                "--output-directory",
                &self.dir.join("logs").display().to_string(),
            ]))?;
            Ok(((), own + cluster.used_us()))
        })?;
        Ok(())
    }
}
