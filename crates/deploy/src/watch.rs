//! Watching objects: the API server says what changes, nobody asks twice.

use std::time::Duration;

use futures::{Stream, StreamExt as _};
use kube::core::DynamicObject;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::utils::Backoff;
use kube::runtime::watcher;
use serde_json::Value;
use tokio::time::{Instant, timeout_at};

use crate::apply::classify;

/// Pauses between attempts to watch: 50 ms, doubled up to 1 s. The library's
/// own begins with 0.8 s, which is a third of a cluster's whole start.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pauses(Duration);

impl Default for Pauses {
    fn default() -> Self {
        Self(Duration::from_millis(50))
    }
}

impl Iterator for Pauses {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let pause = self.0;
        self.0 = (pause * 2).min(Duration::from_secs(1));
        Some(pause)
    }
}

impl Backoff for Pauses {
    fn reset(&mut self) {
        *self = Self::default();
    }
}

/// What happens to the objects of `api`, for ever. Errors are passed on and
/// the watch begins again.
pub(crate) fn changes(
    api: kube::Api<DynamicObject>,
    config: watcher::Config,
) -> impl Stream<Item = watcher::Result<watcher::Event<DynamicObject>>> + Send {
    watcher::watcher(api, config).backoff(Pauses::default())
}

/// Watches one object until `decide` returns something, or returns `None` at
/// the deadline. `decide` sees the object, its absence, or why it cannot be seen.
pub(crate) async fn until<T>(
    api: kube::Api<DynamicObject>,
    name: &str,
    deadline: Instant,
    mut decide: impl FnMut(Result<Option<&Value>, String>) -> Option<T>,
) -> Option<T> {
    let mut states = std::pin::pin!(watcher::watch_object(api, name).backoff(Pauses::default()));
    while let Ok(Some(state)) = timeout_at(deadline, states.next()).await {
        let decision = match state {
            Ok(object) => decide(Ok(object.map(json).as_ref())),
            Err(error) => decide(Err(reason(&error))),
        };
        if decision.is_some() {
            return decision;
        }
    }
    None
}

/// An object as the JSON it was on the wire.
pub(crate) fn json(object: DynamicObject) -> Value {
    // It was made from JSON: there is nothing in it that JSON has not.
    serde_json::to_value(object).unwrap_or_default()
}

/// Why a watch does not work, in one line.
pub(crate) fn reason(error: &watcher::Error) -> String {
    match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => classify(error).1,
        watcher::Error::WatchError(status) => status.message.clone(),
        watcher::Error::NoResourceVersion => error.to_string(),
    }
}
