//! What a stage works with, as a record: what made an environment what it is.
//!
//! No result is taken from a cache by it, since a session works with something
//! alive. It says whether two environments are the same, and what is different
//! when they are not.

use std::collections::BTreeSet;

use super::{Boot, BootCluster, Install, SessionImage, Stage, Step, StepAction, SuiteStage};
use crate::action::Platform;
use crate::digest::Digest;
use crate::key::Record;
use crate::name::Name;
use crate::pipeline::{Egress, Ready, Resources, Suite};

impl Stage<Digest> {
    /// What it works with on a machine, in the environment that the stage with
    /// the key `on` left (see [`crate::plan::Plan::stands_on`]). `None`: it
    /// makes nothing, or nothing to start clusters from is on the machine yet.
    ///
    /// Time-outs are no part of it, as they are none of an action's, nor is how
    /// tests share an environment and how often one is tried.
    #[must_use]
    pub fn record(&self, platform: &Platform, on: Option<Digest>) -> Option<Record> {
        let mut record = match self {
            Self::Boot(boot) => boot.record(platform)?,
            Self::Install(install) => install.record(platform),
            Self::Suite(suite) => suite.record(platform),
            Self::Evidence | Self::Drop => return None,
        };
        let on = on.map_or_else(|| "none".to_owned(), |key| key.to_string());
        record.field("environment", on);
        Some(record)
    }
}

impl Boot {
    fn record(&self, platform: &Platform) -> Option<Record> {
        let components = platform.components.as_ref()?;
        // Two environments of one kind are the same, whatever they are called.
        let Self { environment: _, clusters, egress } = self;
        let mut record = Record::new("boot");
        record.field("platform", &platform.name);
        record.field("components", components.digest.to_string());
        for (name, version) in &components.versions {
            record.field(format!("component {name}"), version);
        }
        for BootCluster { name, kubernetes, nodes, resources } in clusters {
            let Resources { cpu_millis, memory } = resources;
            let label = |what: &str| format!("cluster {name} {what}");
            record.field(label("kubernetes"), kubernetes);
            record.field(label("nodes"), nodes.to_string());
            record.list(&label("cpu"), cpu_millis.map(|millis| millis.to_string()));
            record.list(&label("memory"), memory.map(|bytes| bytes.to_string()));
        }
        record.list("egress", egress.iter().map(|Egress { host, port }| format!("{host}:{port}")));
        Some(record)
    }
}

impl Install<Digest> {
    fn record(&self, platform: &Platform) -> Record {
        let Self { images, steps, ready, timeout: _ } = self;
        let mut record = Record::new("install");
        for (name, SessionImage { image, replaces }) in images {
            record.field(format!("image {name}"), image.to_string());
            record.list(&format!("image {name} replaces"), replaces);
        }
        record.field("steps", steps.len().to_string());
        let mut on_path = BTreeSet::new();
        for (number, Step { cluster, action }) in (1..).zip(steps) {
            let label = |what: &str| format!("step {number} {what}");
            record.field(label("cluster"), cluster.as_str());
            match action {
                StepAction::Apply { tree, path } => {
                    record.field(label("applies"), path);
                    record.field(label("manifests"), tree.to_string());
                }
                StepAction::Run { run, source, builds, tools, images, timeout: _ } => {
                    record.command(&label(""), run);
                    record.field(label("source"), source.to_string());
                    record.list(&label("builds"), builds.keys().map(Name::as_str));
                    for (name, tree) in builds {
                        record.field(label(&format!("build {name}")), tree.to_string());
                    }
                    record.list(&label("images"), images.iter().map(Name::as_str));
                    record.list(&label("tools"), tools.iter().map(Name::as_str));
                    on_path.extend(tools);
                }
            }
        }
        if steps.iter().any(|step| matches!(step.action, StepAction::Run { .. })) {
            record.field("base", &platform.base);
        }
        platform.add_tools(&mut record, on_path);
        let ready = ready.as_ref().map(|conditions| conditions.iter().map(said).collect());
        record.list("ready", ready.unwrap_or_else(|| vec!["all that was applied".to_owned()]));
        record
    }
}

fn said(ready: &Ready) -> String {
    let Ready { cluster, kind, name, namespace, condition, within: _ } = ready;
    let namespace = namespace.as_ref().map(|name| format!("{name}/")).unwrap_or_default();
    format!("{cluster}: {kind} {namespace}{name} {condition}")
}

impl SuiteStage<Digest> {
    fn record(&self, platform: &Platform) -> Record {
        let Self { name: _, tree, suite, only: _, tried: _ } = self;
        let Suite {
            build: _, // by content, as `tree`
            adapter,
            files,
            run,
            args,
            select,
            tools,
            env,
            environments: _,
            isolation: _,
            test_timeout: _,
            retries: _,
            overrides: _,
            collect,
        } = suite;
        let mut record = Record::new("suite");
        record.field("platform", &platform.name);
        record.field("base", &platform.base);
        record.field("tests", tree.to_string());
        record.field("adapter", adapter.word());
        record.list("files", files);
        record.field("command", if run.is_some() { "own" } else { "the adapter's" });
        if let Some(run) = run {
            record.command("", run);
        }
        record.list("args", args);
        record.list("select", select);
        record.map("env", env);
        record.list("tools", tools.iter().map(Name::as_str));
        platform.add_tools(&mut record, tools);
        record.list("collect", collect);
        record
    }
}

#[cfg(test)]
mod tests;
