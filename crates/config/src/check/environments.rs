//! Environments: their clusters, how the product gets in, and when it is ready.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use seatrial_core::name::Name;
use seatrial_core::pipeline::{
    Cluster, Environment, FileSource, InstallAction, InstallStep, Ready,
};

use super::{Checker, Kind, command, globs, items, key, resources};
use crate::diagnostic::{Code, Diagnostic, listed, quote};
use crate::file::{ClusterFile, EnvironmentFile, InstallFile, ReadyFile};
use crate::read::{Entry, Given, List, NonEmpty, Spanned};

/// How long a condition may take when the file says nothing.
const WITHIN: Duration = Duration::from_secs(2 * 60);

/// The names of an environment's clusters in the order of the file; none where
/// they could not be read.
type Clusters = Rc<[Name]>;

impl Checker<'_, '_> {
    pub(super) fn environments(
        &mut self,
        entries: Vec<Entry<Name, EnvironmentFile>>,
    ) -> BTreeMap<Name, Environment> {
        let base = |entry: &Entry<Name, EnvironmentFile>| {
            Some((entry.name.clone(), entry.value.as_ref()?.base.get()?.clone()))
        };
        let bases = entries.iter().filter_map(base).collect();
        self.refuse_cycles(Kind::Environment, &bases);
        let clusters = clusters(&entries, &bases);
        let mut checked = BTreeMap::new();
        self.below(&key("environments"), |this| {
            for Entry { key, name, value, .. } in entries {
                if let Some(environment) = value {
                    let clusters = Rc::clone(&clusters[&name]);
                    let environment =
                        this.below(&key, |this| this.environment(environment, &clusters));
                    checked.insert(name, environment);
                }
            }
        });
        checked
    }

    fn environment(&mut self, environment: EnvironmentFile, names: &Clusters) -> Environment {
        let EnvironmentFile { base, clusters, egress, install, ready, timeout } = environment;
        let on_top = !base.is_absent();
        if on_top {
            let why = "an environment on top of another runs in the clusters of its base";
            self.unwanted("clusters", &clusters, why);
        }
        let clusters = match clusters.value() {
            Some(NonEmpty(clusters)) => self.clusters(clusters.0),
            None if on_top => BTreeMap::new(),
            None => names.iter().map(|name| (name.clone(), self.cluster(None))).collect(),
        };
        let steps = items(install).into_iter();
        let conditions = |this: &mut Self, ready: List<ReadyFile>| {
            ready.into_iter().map(|ready| this.ready(ready, names)).collect()
        };
        Environment {
            base: base.spanned().map(|base| self.refer(Kind::Environment, base)),
            clusters,
            egress: items(egress).into_iter().map(|egress| egress.value).collect(),
            install: steps.map(|step| self.install(step, names)).collect(),
            ready: ready.value().map(|ready| conditions(self, ready)),
            timeout: timeout.value().unwrap_or(Environment::TIMEOUT),
        }
    }

    fn clusters(&mut self, entries: Vec<Entry<Name, ClusterFile>>) -> BTreeMap<Name, Cluster> {
        let pair = |entry: Entry<Name, ClusterFile>| {
            entry.value.map(|cluster| (entry.name, self.cluster(Some(cluster))))
        };
        entries.into_iter().filter_map(pair).collect()
    }

    fn cluster(&mut self, cluster: Option<ClusterFile>) -> Cluster {
        let newest = || self.reader.known.kubernetes.first().copied().unwrap_or_default();
        let (kubernetes, nodes, share) = match cluster {
            Some(ClusterFile { kubernetes, nodes, resources }) => (kubernetes, nodes, resources),
            None => (Given::Absent, Given::Absent, Given::Absent),
        };
        Cluster {
            kubernetes: kubernetes.value().map_or_else(|| newest().to_owned(), |version| version.0),
            nodes: nodes.value().map_or(1, |nodes| nodes.0),
            resources: resources(share),
        }
    }

    fn install(&mut self, step: Spanned<InstallFile>, clusters: &Clusters) -> InstallStep {
        let Spanned { value: step, span } = step;
        let InstallFile { apply, run, cluster, inputs, builds, tools, images, timeout } = step;
        let cluster = self.in_cluster(cluster.spanned(), clusters);
        if apply.is_absent() && run.is_absent() {
            let message = "a step of `install` has neither `apply` nor `run`";
            let hint = "`apply: PATH` for manifests, `run: COMMAND` for anything else";
            self.report(span, Diagnostic::new(Code::MissingField, message).hint(hint));
        }
        let action = match apply.spanned() {
            Some(apply) => {
                let why = "a step either applies or runs; write two steps";
                self.unwanted("run", &run, why);
                let why = "it goes with `run`";
                self.unwanted("inputs", &inputs, why);
                self.unwanted("builds", &builds, why);
                self.unwanted("tools", &tools, why);
                self.unwanted("images", &images, why);
                self.unwanted("timeout", &timeout, why);
                let build = apply.value.build.map(|build| self.refer(Kind::Build, build));
                InstallAction::Apply(FileSource { build, path: apply.value.path.0 })
            }
            None => InstallAction::Run {
                run: command(run),
                inputs: globs(inputs),
                builds: self.refer_all(Kind::Build, builds),
                tools: self.tools(tools),
                images: self.refer_all(Kind::Image, images),
                timeout: timeout.value().unwrap_or(Environment::TIMEOUT),
            },
        };
        InstallStep { cluster, action }
    }

    fn ready(&mut self, ready: Spanned<ReadyFile>, clusters: &Clusters) -> Ready {
        let Spanned { value: ReadyFile { for_, namespace, condition, within, cluster }, span } =
            ready;
        let (kind, name) = for_.value().map_or_else(Default::default, |o| (o.kind, o.name));
        let usual = match kind.as_str() {
            "deployment" | "deploy" | "deployments" => "Available",
            "job" | "jobs" => "Complete",
            "pod" | "pods" | "node" | "nodes" | "" => "Ready",
            _ => "",
        };
        let condition = condition.value().unwrap_or_else(|| usual.to_owned());
        if condition.is_empty() {
            let message = format!("{} has no usual condition to wait for", quote(&kind));
            let missing = Diagnostic::new(Code::MissingField, message)
                .hint("name one: `condition: Established`, or leave `ready` out to wait for all that was applied");
            self.report(span, missing);
        }
        Ready {
            cluster: self.in_cluster(cluster.spanned(), clusters),
            kind,
            name,
            namespace: namespace.value().map(|namespace| namespace.to_string()),
            condition,
            within: within.value().unwrap_or(WITHIN),
        }
    }

    fn in_cluster(&mut self, cluster: Option<Spanned<Name>>, clusters: &Clusters) -> Name {
        match cluster {
            Some(Spanned { value: name, span }) => {
                if !clusters.contains(&name) && !clusters.is_empty() {
                    let words = || clusters.iter().map(Name::as_str);
                    let message = format!("there is no cluster {} here", quote(name.as_str()));
                    let unknown = Diagnostic::new(Code::UnknownRef, message)
                        .nearest(self.reader.nearest(name.as_str(), words()))
                        .hint(format!("this environment has {}", listed(words())));
                    self.report(span, unknown);
                }
                name
            }
            None => clusters.first().cloned().unwrap_or_else(main_cluster),
        }
    }
}

/// The clusters of each environment: its own, or those of the one at the
/// bottom of its bases.
fn clusters(
    entries: &[Entry<Name, EnvironmentFile>],
    bases: &BTreeMap<Name, Spanned<Name>>,
) -> BTreeMap<Name, Clusters> {
    let mut found: BTreeMap<Name, Clusters> = BTreeMap::new();
    for entry in entries {
        let given = entry.value.as_ref().map(|environment| &environment.clusters);
        let own: Clusters = match given {
            Some(Given::Absent) => Rc::from([main_cluster()]),
            Some(Given::Value(own)) => own.value.0.0.iter().map(|c| c.name.clone()).collect(),
            Some(Given::Unreadable) | None => Rc::from([]),
        };
        if !bases.contains_key(&entry.name) {
            found.insert(entry.name.clone(), own);
        }
    }
    for entry in entries {
        let mut path = Vec::new();
        let mut next = &entry.name;
        // A circle or an unknown base ends the walk; both were reported.
        while !found.contains_key(next)
            && path.len() <= bases.len()
            && let Some(base) = bases.get(next)
        {
            path.push(next.clone());
            next = &base.value;
        }
        let clusters = found.get(next).cloned().unwrap_or_else(|| Rc::from([]));
        found.extend(path.into_iter().map(|name| (name, Rc::clone(&clusters))));
    }
    found
}

fn main_cluster() -> Name {
    "main".parse().expect("a DNS label")
}
