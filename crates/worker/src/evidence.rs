//! What a person needs to understand a failure, taken before the environment
//! is gone.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use seatrial_core::failure::Failure;
use seatrial_deploy::EvidenceLimits;
use seatrial_protocol::event::Usage;
use seatrial_protocol::worker::AttemptEvent;
use seatrial_store::TreeLimits;
use tokio::time::Instant;

use crate::attempt::{Attempt, blocking};
use crate::environment::Held;
use crate::machine::Machine;
use crate::serve::Done;

/// Lines about what could not be had of a cluster.
const MISSING: usize = 6;

/// How long a cluster is asked in which a component died. It may answer nothing
/// any more, the logs of its components say why, and another try of what it was
/// for may wait for its room.
const BROKEN: Duration = Duration::from_secs(5);

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
    let mut limits = EvidenceLimits::starting_now();
    if held.broken().is_some() {
        limits.deadline = Instant::now() + BROKEN;
    }
    let (mut summary, mut missing) = (Vec::new(), Vec::new());
    for (name, cluster) in held.named_clusters() {
        let directory = directory.join(name.as_str());
        create(&directory)?;
        attempt.progress("collecting evidence", None);
        let evidence = seatrial_deploy::evidence(cluster, &[], &limits, &directory).await;
        summary.extend(evidence.summary);
        missing.extend(evidence.errors.iter().take(MISSING).map(|e| format!("missing: {e}")));
    }
    // Mostly the whole answer to why a pod does not start.
    let missed = held.missed_images();
    if !missed.is_empty() {
        summary.push(format!("images that nothing builds: {}", missed.join(", ")));
    }
    summary.extend(missing);
    create(&directory.join("components"))?;
    for (name, text) in held.component_logs() {
        // A log that cannot be written is only evidence that is missing.
        let _ = std::fs::write(directory.join("components").join(format!("{name}.log")), text);
    }
    let store = machine.store().clone();
    let tree = blocking(move || {
        let tree = store.put_tree(&directory, TreeLimits::default())?;
        drop(staging);
        Ok(tree)
    });
    let tree = tree.await?;
    let summary = summary.join("\n");
    attempt.event(AttemptEvent::Evidence { tree: tree.digest, summary }).await;
    Ok(Done::well(Usage::default()))
}
