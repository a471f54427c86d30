//! What a person needs to understand a failure, taken before the environment
//! is gone.

use std::path::Path;
use std::sync::Arc;

use seatrial_core::failure::Failure;
use seatrial_deploy::EvidenceLimits;
use seatrial_protocol::event::Usage;
use seatrial_protocol::worker::AttemptEvent;
use seatrial_store::TreeLimits;

use crate::attempt::Attempt;
use crate::environment::Held;
use crate::machine::Machine;
use crate::serve::Done;

/// Warnings that are shown with the failure.
const SHOWN: usize = 12;

/// Writes evidence of all clusters into the store and says where it is.
pub(crate) async fn collect(
    machine: &Arc<Machine>,
    attempt: &Attempt,
    held: &Held,
) -> Result<Done, Failure> {
    let staging = machine.store().staging()?;
    let directory = staging.path().join("evidence");
    let create = |path: &Path| {
        std::fs::create_dir_all(path)
            .map_err(|error| Failure::environment("store.io", error.to_string()))
    };
    let limits = EvidenceLimits::starting_now();
    let mut summary = Vec::new();
    for (name, cluster) in held.named_clusters() {
        let directory = directory.join(name.as_str());
        create(&directory)?;
        attempt.progress("collecting evidence", None);
        // A broken environment may answer nothing; what there is, is taken.
        let evidence = seatrial_deploy::evidence(cluster, &[], &limits, &directory).await;
        summary.extend(evidence.errors.iter().map(|error| format!("missing: {error}")));
        if let Ok(events) = std::fs::read_to_string(directory.join("events.txt")) {
            let warnings: Vec<_> = events.lines().filter(|line| line.contains("Warning")).collect();
            let recent = warnings.len().saturating_sub(SHOWN);
            summary.extend(warnings[recent..].iter().map(|line| (*line).to_owned()));
        }
    }
    // Mostly the whole answer to why a pod does not start.
    let missed = held.missed_images();
    if !missed.is_empty() {
        summary.push(format!("images that nothing builds: {}", missed.join(", ")));
    }
    create(&directory.join("components"))?;
    for (name, text) in held.component_logs() {
        // A log that cannot be written is only evidence that is missing.
        let _ = std::fs::write(directory.join("components").join(format!("{name}.log")), text);
    }
    let store = machine.store().clone();
    let tree = tokio::task::spawn_blocking(move || {
        let tree = store.put_tree(&directory, TreeLimits::default());
        drop(staging);
        tree
    });
    let tree = tree.await.map_err(|panic| {
        Failure::environment("worker.panicked", format!("keeping evidence panicked: {panic}"))
    })??;
    let summary = summary.join("\n");
    attempt.event(AttemptEvent::Evidence { tree: tree.digest, summary }).await;
    Ok(Done::well(Usage::default()))
}
