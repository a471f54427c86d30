//! What is done to a cluster through its API: apply, ready, evidence.
//!
//! The worker calls this with a kubeconfig and with manifests as text. Nothing
//! here starts a program, boots a cluster or knows where one runs.
//!
//! Decisions are pure (`order`, `readiness`, `trouble`, `images`, and what an
//! answer to a request means); the modules with async functions ask the API
//! server, watch it, and do what was decided.

mod apply;
mod cluster;
mod evidence;
mod explain;
mod images;
mod manifest;
mod namespace;
mod order;
mod readiness;
mod ready;
mod restarts;
mod trouble;
mod watch;

pub use crate::apply::{ApplyError, ApplyOptions, Cause, Problem, Progress, apply};
pub use crate::cluster::{Cluster, ConnectError, connect};
pub use crate::evidence::{Evidence, EvidenceLimits, evidence};
pub use crate::images::{ContainerImage, Found, Mismatch, check_images, image_ids, image_name};
pub use crate::manifest::{
    KUSTOMIZATIONS, ManifestError, Object, ObjectId, Origin, Source, locate, parse, read,
    render_command,
};
pub use crate::namespace::{ensure_namespace, wait_service_account};
pub use crate::readiness::{Readiness, Wanted, readiness};
pub use crate::ready::{ReadyCondition, ReadyState, default_conditions, wait_ready};
pub use crate::restarts::restarts;
