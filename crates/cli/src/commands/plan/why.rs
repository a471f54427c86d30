//! Why a node is made, or is not: its key beside that of the last run.

use seatrial_core::digest::Digest;
use seatrial_core::failure::Failure;
use seatrial_core::ids::RunId;
use seatrial_core::key::{Change, Record};
use seatrial_report::Summary;
use seatrial_store::{Content, Manifest, Records, Scope, Store};

use super::Line;
use crate::commands::runs::events;
use crate::error::CommandError;

/// Runs that are looked at for an earlier key, newest first.
const RUNS: usize = 100;
/// Files that are named.
const FILES: usize = 20;

/// Says why the node of this name is made, or is not.
///
/// # Errors
/// When there is no such node in the plan, or the records cannot be read.
pub(super) fn why(
    lines: &[Line],
    name: &str,
    project: &str,
    store: &Store,
    scope: Scope,
) -> Result<String, CommandError> {
    let Some(line) = lines.iter().find(|line| line.name == name) else {
        return Err(unknown(lines, name).into());
    };
    let state = match line.hit {
        Some(true) => "there",
        Some(false) => "to be made",
        None => "done in every run, since it works with something alive",
    };
    let mut text = format!("{name}: {state}\n");
    let (Some(key), Some(record)) = (line.key, &line.record) else {
        if line.is_boot {
            text.push_str("its key is not known yet: Kubernetes is not installed here\n");
            text.push_str("  seatrial components install\n");
        }
        if line.waits_for.is_empty() {
            return Ok(text);
        }
        let waits = line.waits_for.join(" and ");
        text.push_str(&format!("its key waits for what {waits} will be\n"));
        for upstream in &line.waits_for {
            text.push_str(&format!("  seatrial plan --why {upstream}\n"));
        }
        return Ok(text);
    };
    let is = key.short();
    match last_key(store.records(), scope, project, name)? {
        None => text.push_str(&format!("no recorded run of {project} has it; its key is {is}\n")),
        Some((run, before, _)) if before == key => {
            let run = run.short();
            text.push_str(&format!("nothing changed since run {run}: its key is {is}\n"));
            if line.hit == Some(false) {
                text.push_str("it failed then, or what it made is gone\n");
            }
        }
        Some((run, before, earlier)) => {
            let (run, was) = (run.short(), before.short());
            text.push_str(&format!("since run {run} its key changed from {was} to {is}:\n"));
            let now = record.clone().abbreviated();
            for change in now.changes_since(&earlier) {
                text.push_str(&told(&change, store));
                if let (Some(on), "environment") = (&line.stands_on, change.label) {
                    text.push_str(&format!("    seatrial plan --why {on}\n"));
                }
            }
        }
    }
    Ok(text)
}

/// The key of a node in the newest run that had it, and what it was made of.
fn last_key(
    records: &dyn Records,
    scope: Scope,
    project: &str,
    name: &str,
) -> Result<Option<(RunId, Digest, Record)>, CommandError> {
    for row in records.runs(RUNS)?.into_iter().filter(|row| row.scope == scope) {
        let summary = Summary::from_events(&events(records, row.run)?);
        if summary.run.as_ref().is_none_or(|run| run.project != project) {
            continue;
        }
        let node = summary.nodes.into_iter().find(|node| node.plan.name == name);
        if let Some((key, record)) = node.and_then(|node| node.keyed) {
            return Ok(Some((row.run, key, record)));
        }
    }
    Ok(None)
}

fn told(change: &Change<'_>, store: &Store) -> String {
    let (before, now) = (change.before.unwrap_or("nothing"), change.now.unwrap_or("nothing"));
    let label = change.label;
    let mut text = match (before.parse(), now.parse()) {
        (Ok(before), Ok(now)) => match files(before, now, store) {
            Some(files) => format!("  {label}\n{files}"),
            // Long values are kept as digests too.
            None => format!("  {label} is another\n"),
        },
        _ => format!("  {label}: {} -> {}\n", before.escape_debug(), now.escape_debug()),
    };
    if label == "base" {
        text.push_str("    packages of the base system, or its architecture\n");
    }
    text
}

/// Which files differ between two trees, when both are in the store.
fn files(before: Digest, now: Digest, store: &Store) -> Option<String> {
    let (before, now) = (store.manifest(before).ok()?, store.manifest(now).ok()?);
    let content = |manifest: &Manifest, path: &str| -> Option<Content> {
        manifest.get(path).map(|entry| entry.content.clone())
    };
    let mut lines = Vec::new();
    for entry in now.entries() {
        match content(&before, &entry.path) {
            None => lines.push(format!("    + {}\n", entry.path.escape_debug())),
            Some(was) if was != entry.content => {
                lines.push(format!("    ~ {}\n", entry.path.escape_debug()));
            }
            Some(_) => {}
        }
    }
    let gone = before.entries().iter().filter(|entry| now.get(&entry.path).is_none());
    lines.extend(gone.map(|entry| format!("    - {}\n", entry.path.escape_debug())));
    let more = lines.len().saturating_sub(FILES);
    lines.truncate(FILES);
    if more > 0 {
        lines.push(format!("    and {more} more\n"));
    }
    Some(lines.concat())
}

fn unknown(lines: &[Line], name: &str) -> Failure {
    let is_keyed = |line: &&Line| line.key.is_some() || line.is_boot || !line.waits_for.is_empty();
    let keyed = lines.iter().filter(is_keyed);
    let known: Vec<&str> = keyed.map(|line| line.name.as_str()).collect();
    Failure::config("plan.unknown_node", format!("the plan has no node `{name}`"))
        .hint(format!("there are: {}", known.join(", ")))
}
