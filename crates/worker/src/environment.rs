//! Environments that this worker holds: booted, with a registry that answers
//! inside, and clients for what is done to them.

use std::collections::BTreeMap;
use std::net::SocketAddrV4;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use seatrial_cluster::layout::{FABRIC, REGISTRY_PORT};
use seatrial_cluster::{BootSpec, ClusterSpec, Environment, Event, Snapshotter, What};
use seatrial_core::digest::Digest;
use seatrial_core::failure::Failure;
use seatrial_core::name::Name;
use seatrial_core::stage::{Boot, SessionImage};
use seatrial_core::step::Step;
use seatrial_deploy::Cluster;
use seatrial_oci::{Catalog, Image, Registry};
use seatrial_protocol::event::Usage;
use seatrial_sandbox::action::{Network, Status};
use tokio_util::sync::CancellationToken;

use crate::attempt::Attempt;
use crate::machine::Machine;
use crate::suite::Target;

/// How long a boot may take: many times what it takes on a busy machine.
const BOOT: Duration = Duration::from_secs(120);

/// An environment that this worker holds.
pub struct Held {
    name: Name,
    /// Taken when it is shut down.
    environment: Mutex<Option<Environment>>,
    clusters: Vec<(Name, Cluster)>,
    main: Inside,
    kubeconfigs: BTreeMap<Name, String>,
    catalog: Catalog,
    /// Stops when it is dropped.
    _registry: Registry,
    replaced: Mutex<BTreeMap<String, Digest>>,
    health: Arc<Health>,
    /// CPU time that was told, in microseconds.
    told_us: AtomicU64,
    /// CPU time that no stage told: nothing was done in it, or what was failed.
    idle_us: AtomicU64,
}

/// What a process inside needs of the first cluster.
struct Inside {
    network: PathBuf,
    kubeconfig: String,
    resolv_conf: String,
}

/// Whether the environment's components live, and what else is wrong with it.
#[derive(Default)]
struct Health {
    broken: CancellationToken,
    cause: OnceLock<Failure>,
    /// What is not told yet.
    warnings: Mutex<Vec<Failure>>,
}

/// Boots an environment.
pub(crate) async fn boot(
    machine: &Arc<Machine>,
    attempt: &Attempt,
    boot: &Boot,
) -> Result<Held, Failure> {
    let began = Instant::now();
    let components = machine.components()?;
    let health = Arc::new(Health::default());
    let spec = BootSpec {
        id: format!("{}-{}", boot.environment, attempt.id().short()),
        exe: machine.exe().to_owned(),
        components: seatrial_cluster::Components {
            bin: components.bin.clone(),
            cni: components.cni.clone(),
        },
        clusters: boot
            .clusters
            .iter()
            .map(|cluster| ClusterSpec {
                name: cluster.name.clone(),
                nodes: cluster.nodes,
                resources: cluster.resources,
            })
            .collect(),
        egress: boot.egress.clone(),
        snapshotter: machine.layers().map_or(Snapshotter::Overlayfs, |layers| Snapshotter::Erofs {
            layers: layers.dir().to_owned(),
        }),
        within: BOOT,
    };
    let on_event = {
        let (attempt, health) = (attempt.clone(), health.clone());
        move |event: Event| match &event.what {
            What::ComponentDied { name, node, status, log_tail } => {
                health.died(name, node, *status, log_tail);
            }
            what => {
                attempt.progress(progress_of(what), None);
                health.warn(warning_of(what));
            }
        }
    };
    let environment = Environment::boot(machine.owner(), spec, Arc::new(on_event))
        .await
        .map_err(|error| error.failure())?;
    attempt.span(Step::ClusterSetup, "boot", began, Instant::now()).await;

    let catalog = Catalog::new();
    let listener = environment
        .listen(SocketAddrV4::new(FABRIC, REGISTRY_PORT))
        .map_err(|error| error.failure())?;
    let store = machine.store().as_ref().clone();
    let registry = seatrial_oci::serve(listener, catalog.clone(), store);

    let mut clusters = Vec::new();
    let mut kubeconfigs = BTreeMap::new();
    for cluster in &boot.clusters {
        let kubeconfig =
            environment.kubeconfig(&cluster.name).ok_or_else(|| unknown(&cluster.name))?;
        let client = seatrial_deploy::connect(&kubeconfig).await;
        let client = client
            .map_err(|error| Failure::environment("cluster.unreachable", Failure::chain(&error)))?;
        kubeconfigs.insert(cluster.name.clone(), kubeconfig);
        clusters.push((cluster.name.clone(), client));
    }
    let first = boot.clusters.first().map(|cluster| &cluster.name);
    let main = first.and_then(|name| {
        Some(Inside {
            network: environment.network_path(name)?.to_owned(),
            kubeconfig: environment.kubeconfig_inside(name)?,
            resolv_conf: environment.resolv_conf(name)?,
        })
    });
    let main =
        main.ok_or_else(|| Failure::config("worker.no_cluster", "the environment has no cluster"))?;
    Ok(Held {
        name: boot.environment.clone(),
        environment: Mutex::new(Some(environment)),
        clusters,
        main,
        kubeconfigs,
        catalog,
        _registry: registry,
        replaced: Mutex::default(),
        health,
        told_us: AtomicU64::new(0),
        idle_us: AtomicU64::new(0),
    })
}

impl Held {
    /// Its name in the pipeline.
    #[must_use]
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// A kubeconfig of each cluster that works on this machine.
    #[must_use]
    pub fn kubeconfigs(&self) -> &BTreeMap<Name, String> {
        &self.kubeconfigs
    }

    /// Ends it and waits until it is gone.
    ///
    /// # Errors
    /// When something of it cannot be removed.
    pub async fn shutdown(&self) -> Result<(), Failure> {
        let environment = self.environment.lock().unwrap_or_else(PoisonError::into_inner).take();
        match environment {
            Some(environment) => environment.shutdown().await.map_err(|error| error.failure()),
            None => Ok(()),
        }
    }

    /// Ends when a component of it dies, with what that says.
    pub async fn until_broken(&self) -> Failure {
        self.health.broken.cancelled().await;
        self.broken().unwrap_or_else(|| {
            Failure::environment(Failure::COMPONENT_DIED, "a component of the cluster ended")
        })
    }

    pub(crate) fn broken(&self) -> Option<Failure> {
        self.health.cause.get().cloned()
    }

    /// What is wrong with it without breaking it, since this was asked last.
    pub(crate) fn take_warnings(&self) -> Vec<Failure> {
        std::mem::take(&mut self.health.warnings.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Lets the registry answer with these images from now on: at once, or as
    /// soon as their layers can be mounted. Who asks earlier waits.
    pub(crate) async fn answer_with(
        &self,
        machine: &Machine,
        images: &BTreeMap<Name, SessionImage<Digest>>,
    ) -> Result<(), Failure> {
        for (name, session_image) in images {
            self.catalog.declare(name.as_str(), &session_image.replaces);
            let names = session_image.replaces.iter().cloned();
            let names = names.chain([format!("seatrial.local/{name}")]);
            let mut replaced = self.replaced.lock().unwrap_or_else(PoisonError::into_inner);
            replaced.extend(names.map(|name| (name, session_image.image)));
        }
        let store = machine.store();
        for (name, session_image) in images {
            if let Some(layers) = machine.layers() {
                layers.make(&Image::load(store, session_image.image)?).await;
            }
            self.catalog.built(name.as_str(), session_image.image, store)?;
        }
        Ok(())
    }

    /// Images that somebody asked the registry for and that nothing built.
    pub(crate) fn missed_images(&self) -> Vec<String> {
        let misses = self.catalog.misses().into_iter();
        misses.map(|miss| format!("{}:{}", miss.name, miss.reference)).collect()
    }

    /// Says of images that somebody asked for in vain which name is most like
    /// theirs: most of them are spelt wrong.
    pub(crate) fn name_misses(&self, mut failure: Failure) -> Failure {
        for miss in self.catalog.misses() {
            if let Some(near) = self.catalog.nearest(&miss.name) {
                let hint = format!("nothing builds `{}`; `{near}` is built", miss.name);
                failure = failure.hint(hint);
            }
        }
        failure
    }

    /// Names of images, and the digest that containers with them must run.
    pub(crate) fn replaced(&self) -> BTreeMap<String, Digest> {
        self.replaced.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How an install step names an image: by the name that its manifests know.
    pub(crate) fn reference(&self, name: &Name, image: &SessionImage<Digest>) -> String {
        let known = image.replaces.first().cloned();
        let known = known.unwrap_or_else(|| format!("seatrial.local/{name}"));
        format!("{known}@{}", image.image)
    }

    pub(crate) fn cluster(&self, name: &Name) -> Result<&Cluster, Failure> {
        let found = self.clusters.iter().find(|(known, _)| known == name);
        found.map(|(_, cluster)| cluster).ok_or_else(|| unknown(name))
    }

    pub(crate) fn clusters(&self) -> impl Iterator<Item = &Cluster> {
        self.clusters.iter().map(|(_, cluster)| cluster)
    }

    pub(crate) fn named_clusters(&self) -> impl Iterator<Item = (&Name, &Cluster)> {
        self.clusters.iter().map(|(name, cluster)| (name, cluster))
    }

    /// What tests and install steps see of it.
    pub(crate) fn target(&self) -> Target {
        Target {
            network: Network::Join(self.main.network.clone()),
            kubeconfig: self.main.kubeconfig.clone(),
            resolv_conf: self.main.resolv_conf.clone(),
            broken: self.health.broken.clone(),
        }
    }

    /// Something is done in it from now on. What it used before is told when it
    /// is [`Self::dropped`]: that it had to wait is not the cost of a stage.
    pub(crate) fn begin(&self) {
        self.idle_us.fetch_add(self.spent().core_us, Ordering::Relaxed);
    }

    /// What it used since this was asked last, and while nothing was done in it.
    pub(crate) fn dropped(&self) -> Usage {
        let spent = self.spent();
        let core_us = spent.core_us.saturating_add(self.idle_us.load(Ordering::Relaxed));
        Usage { core_us, ..spent }
    }

    /// What it used since this was asked last.
    pub(crate) fn spent(&self) -> Usage {
        let environment = self.environment.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(environment) = environment.as_ref() else { return Usage::default() };
        let usage = environment.usage();
        let told = self.told_us.swap(usage.core_us, Ordering::Relaxed);
        let core_us = usage.core_us.saturating_sub(told);
        Usage { core_us, memory_peak: usage.memory_peak }
    }

    /// The end of what each component wrote.
    pub(crate) fn component_logs(&self) -> Vec<(String, String)> {
        let environment = self.environment.lock().unwrap_or_else(PoisonError::into_inner);
        environment.as_ref().map(Environment::component_logs).unwrap_or_default()
    }
}

impl Health {
    fn died(&self, name: &str, node: &str, status: Status, log_tail: &str) {
        let how = match status {
            Status::Code(code) => format!("exit code {code}"),
            Status::Signal(signal) => format!("signal {signal}"),
        };
        let message = format!("{name} of node {node} ended by itself ({how})");
        let failure = Failure::environment(Failure::COMPONENT_DIED, message).detail(log_tail);
        // Only the first death is a cause; others follow from it.
        let _ = self.cause.set(failure);
        self.broken.cancel();
    }

    fn warn(&self, warning: Option<Failure>) {
        self.warnings.lock().unwrap_or_else(PoisonError::into_inner).extend(warning);
    }
}

fn unknown(cluster: &Name) -> Failure {
    let message = format!("the environment has no cluster `{cluster}`");
    Failure::config("worker.no_cluster", message)
}

fn progress_of(what: &What) -> String {
    match what {
        What::SetUp => "namespaces and keys are there".to_owned(),
        What::RuntimeAnswers { node } => format!("containerd answers on {node}"),
        What::ApiServes { cluster } => format!("the API of {cluster} serves"),
        What::NodeReady { node } => format!("{node} is ready"),
        What::AccountExists { .. } => "pods can be created".to_owned(),
        What::DnsAnswers { .. } => "DNS answers".to_owned(),
        What::Served => "served".to_owned(),
        What::PoliciesEnforced { node } => format!("NetworkPolicy is enforced on {node}"),
        What::PoliciesNotEnforced { node, why } => {
            format!("NetworkPolicy is not enforced on {node}: {why}")
        }
        What::ComponentDied { name, .. } => format!("{name} ended"),
    }
}

/// What a person has to know of an event, because tests may not show it: where
/// policies are not enforced, one that expects a connection to fail goes red,
/// and one that expects it to work says nothing.
fn warning_of(what: &What) -> Option<Failure> {
    let What::PoliciesNotEnforced { node, why } = what else { return None };
    let message = format!("NetworkPolicy is not enforced on {node}: {why}");
    Some(Failure::environment("cluster.policies_not_enforced", message).hint(
        "it needs a kernel with NFT_QUEUE, or with the NFQUEUE target and iptables: \
         `seatrial doctor` says what this machine lacks",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_that_are_not_enforced_are_a_warning_that_is_told_once() {
        let health = Health::default();
        let what = What::PoliciesNotEnforced { node: "c0n0".to_owned(), why: "no nft".to_owned() };
        for what in [What::Served, what] {
            health.warn(warning_of(&what));
        }
        let warnings = health.warnings.into_inner().expect("no panic");
        let said: Vec<_> = warnings.iter().map(|w| format!("{}: {}", w.code, w.message)).collect();
        let expected =
            "cluster.policies_not_enforced: NetworkPolicy is not enforced on c0n0: no nft";
        assert_eq!(said, [expected]);
    }
}
