//! Puts images together.

use std::time::Instant;

use seatrial_core::action::{ImageAction, ImageBase};
use seatrial_core::digest::Digest;
use seatrial_core::failure::Failure;
use seatrial_core::step::Step;
use seatrial_oci::Pull;
use seatrial_protocol::event::Usage;
use seatrial_protocol::worker::AttemptEvent;
use tokio::runtime::Handle;

use crate::action::Made;
use crate::attempt::{Attempt, micros};
use crate::machine::Machine;

/// Makes an image, pulling its base when that is not in the store yet.
pub(crate) fn make(
    machine: &Machine,
    attempt: &Attempt,
    action: &ImageAction<Digest>,
) -> Result<Made, Failure> {
    let store = machine.store();
    let platform = &machine.platform().name;
    if let ImageBase::Registry { name, digest } = &action.base
        && seatrial_oci::held(store, *digest, platform).is_none()
    {
        pull(machine, attempt, name, *digest)?;
    }
    let began = Instant::now();
    let image = seatrial_oci::assemble(store, action, platform)?;
    if let Some(layers) = machine.layers().cloned() {
        // Beside what comes next. Whoever answers with the image waits for it.
        let image = image.clone();
        Handle::current().spawn(async move { layers.make(&image).await });
    }
    // It is hashing and copying on this thread: its time is its core time.
    let usage = Usage { core_us: micros(began.elapsed()), memory_peak: 0 };
    Ok(Made { outputs: image.outputs(), usage })
}

/// Copies a base into the store. A mirror that did wrong is told.
fn pull(machine: &Machine, attempt: &Attempt, name: &str, digest: Digest) -> Result<(), Failure> {
    let began = Instant::now();
    attempt.progress(format!("pulling {name}"), None);
    let (store, registries) = (machine.store().clone(), machine.registries().clone());
    let (name, platform) = (name.to_owned(), machine.platform().name.clone());
    let pulled = attempt.until_cancelled(move || {
        let wanted = Pull { name: &name, digest, platform: &platform };
        Ok(seatrial_oci::pull(&store, &registries, wanted)?)
    });
    attempt.span_blocking(Step::ImagePull, "pull", began, Instant::now());
    for wrong in pulled?.passed_over {
        attempt.event_blocking(AttemptEvent::Warning(wrong.into()));
    }
    Ok(())
}
