//! What an environment tells while it boots and lives.

use std::sync::Arc;
use std::time::{Duration, Instant};

use seatrial_sandbox::action::Status;

/// Something that happened in an environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// When, from the start of the boot.
    pub at: Duration,
    /// What.
    pub what: What,
}

/// What happened. Nodes are named as [`crate::layout::NodeAt::name`] does,
/// clusters as in the specification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// Namespaces, links, roots and keys are there.
    SetUp,
    /// A container runtime answers.
    RuntimeAnswers {
        /// The node.
        node: String,
    },
    /// An API server serves objects.
    ApiServes {
        /// The cluster.
        cluster: String,
    },
    /// A node is ready, and pods can be scheduled to it.
    NodeReady {
        /// The node.
        node: String,
    },
    /// Pods can be created in the namespace `default`.
    AccountExists {
        /// The cluster.
        cluster: String,
    },
    /// The name server answers with the address of a Service.
    DnsAnswers {
        /// The cluster.
        cluster: String,
    },
    /// All of the above holds everywhere: the environment can be used.
    Served,
    /// The first NetworkPolicy appeared, and policies hold on a node from now on.
    PoliciesEnforced {
        /// The node.
        node: String,
    },
    /// The first NetworkPolicy appeared, and this node cannot enforce any.
    PoliciesNotEnforced {
        /// The node.
        node: String,
        /// What is missing.
        why: String,
    },
    /// A component ended, which none does by itself.
    ComponentDied {
        /// The component.
        name: String,
        /// The node.
        node: String,
        /// How it ended.
        status: Status,
        /// The end of what it wrote.
        log_tail: String,
    },
}

/// Who is told.
pub type OnEvent = Arc<dyn Fn(Event) + Send + Sync>;

/// Tells events with the time since a start.
#[derive(Clone)]
pub(crate) struct Teller {
    start: Instant,
    on_event: OnEvent,
}

impl Teller {
    pub(crate) fn new(on_event: OnEvent) -> Self {
        Self { start: Instant::now(), on_event }
    }

    pub(crate) fn tell(&self, what: What) {
        (self.on_event)(Event { at: self.start.elapsed(), what });
    }
}
