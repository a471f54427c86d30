//! The processes of an environment: starting them, and noticing when one ends
//! that should not.

use std::collections::HashMap;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use seatrial_sandbox::action::Status;
use seatrial_sandbox::init::{Init, Report, Spawn};
use seatrial_sandbox::root::open_beneath;
use tokio::sync::{oneshot, watch};

use crate::commands::Component;
use crate::error::Error;
use crate::event::{Teller, What};
use crate::files::LOGS;
use crate::layout::{Layout, NodeAt};

/// How much of the end of a log is shown.
const TAIL: u64 = 4096;

/// What the first process reports, sorted.
pub(crate) struct Reports {
    layout: Layout,
    /// The bases of the nodes' roots, by index.
    bases: Vec<PathBuf>,
    teller: Teller,
    waiting: Mutex<HashMap<String, oneshot::Sender<Result<Status, String>>>>,
    died: watch::Sender<Option<Died>>,
    ending: Mutex<bool>,
}

/// A component that ended.
#[derive(Debug, Clone)]
struct Died {
    name: String,
    node: String,
    status: Status,
    log_tail: String,
}

impl Reports {
    pub(crate) fn new(layout: Layout, bases: Vec<PathBuf>, teller: Teller) -> Arc<Self> {
        let (died, _) = watch::channel(None);
        let (waiting, ending) = (Mutex::default(), Mutex::new(false));
        Arc::new(Self { layout, bases, teller, waiting, died, ending })
    }

    /// Takes a report; called from a thread of the sandbox.
    pub(crate) fn take(&self, report: Report) {
        let (id, ended) = match report {
            Report::Exited { id, status } => (id, Ok(status)),
            Report::NotStarted { id, why } => (id, Err(why)),
            Report::Gone => return self.gone(),
            _ => return,
        };
        if let Some(waiting) = lock(&self.waiting).remove(&id) {
            let _ = waiting.send(ended);
            return;
        }
        let Some((node, name)) = id.split_once('/') else { return };
        let (status, log_tail) = match ended {
            Ok(status) => (status, self.log_tail(node, name)),
            Err(why) => (Status::Code(127), why),
        };
        self.died(Died { name: name.to_owned(), node: node.to_owned(), status, log_tail });
    }

    /// From here on, the end of anything is what is wanted.
    pub(crate) fn ending(&self) {
        *lock(&self.ending) = true;
    }

    fn gone(&self) {
        let status = Status::Signal(9);
        let (name, node) = ("the first process".to_owned(), "fabric".to_owned());
        self.died(Died { name, node, status, log_tail: String::new() });
    }

    fn died(&self, died: Died) {
        if *lock(&self.ending) {
            return;
        }
        let Died { name, node, status, log_tail } = died.clone();
        self.teller.tell(What::ComponentDied { name, node, status, log_tail });
        // The first is the cause; what follows are its consequences.
        self.died.send_if_modified(|first| {
            let new = first.is_none();
            first.get_or_insert(died);
            new
        });
    }

    /// The end of each log there is, as `node/component`.
    pub(crate) fn logs(&self) -> Vec<(String, String)> {
        let mut logs = Vec::new();
        for (at, base) in self.layout.nodes().into_iter().zip(&self.bases) {
            let Ok(entries) = std::fs::read_dir(base.join(LOGS.trim_start_matches('/'))) else {
                continue;
            };
            for entry in entries.flatten() {
                let file = entry.file_name().to_string_lossy().into_owned();
                let Some(name) = file.strip_suffix(".log") else { continue };
                logs.push((format!("{}-{name}", at.name()), self.log_tail(&at.name(), name)));
            }
        }
        logs.sort();
        logs
    }

    fn log_tail(&self, node: &str, name: &str) -> String {
        let index = self.layout.nodes().iter().position(|at| at.name() == node);
        index.map_or_else(String::new, |index| {
            tail(&self.bases[index], &log_path(name)).unwrap_or_else(|why| why)
        })
    }
}

/// Starts processes in an environment.
#[derive(Clone)]
pub(crate) struct Processes {
    pub(crate) init: Arc<Init>,
    pub(crate) reports: Arc<Reports>,
    pub(crate) layout: Layout,
}

impl Processes {
    /// Starts a component, which runs until the environment ends.
    pub(crate) fn start(&self, at: NodeAt, component: Component) -> Result<(), Error> {
        tracing::debug!(node = at.name(), component = component.name(), "start");
        let name = component.name();
        self.spawn(at, name, component.argv(at), component.env(at))
    }

    /// Runs a command to its end, which must be a good one.
    pub(crate) async fn run(&self, at: NodeAt, name: &str, argv: Vec<String>) -> Result<(), Error> {
        let (sender, receiver) = oneshot::channel();
        lock(&self.reports.waiting).insert(id(at, name), sender);
        self.spawn(at, name, argv, Component::Containerd.env(at))?;
        match receiver.await.map_err(|_| Error::Gone)? {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => {
                let log_tail = self.reports.log_tail(&at.name(), name);
                Err(Error::Died { name: name.to_owned(), node: at.name(), status, log_tail })
            }
            Err(why) => Err(Error::NotStarted { name: name.to_owned(), why }),
        }
    }

    /// Waits for `wanted`, but not past `deadline` nor the death of a component.
    /// What was `seen` last explains why it did not come.
    pub(crate) async fn wait<T>(
        &self,
        what: &str,
        deadline: Instant,
        seen: &Seen,
        wanted: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let begun = Instant::now();
        let mut died = self.reports.died.subscribe();
        tokio::select! {
            biased;
            result = wanted => result,
            Ok(first) = died.wait_for(Option::is_some) => match first.clone() {
                Some(Died { name, node, status, log_tail }) => {
                    Err(Error::Died { name, node, status, log_tail })
                }
                None => Err(Error::Gone),
            },
            () = tokio::time::sleep_until(deadline.into()) => Err(Error::Late {
                what: what.to_owned(),
                after: begun.elapsed(),
                last: seen.get(),
            }),
        }
    }

    fn spawn(
        &self,
        at: NodeAt,
        name: &str,
        argv: Vec<String>,
        env: Vec<(String, String)>,
    ) -> Result<(), Error> {
        let node = self.layout.index(at);
        let spawn =
            Spawn { id: id(at, name), node, argv, env, log: log_path(name), cwd: "/".into() };
        self.init.spawn(spawn).map_err(Error::from)
    }
}

/// The last state of something that is waited for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen(Arc<Mutex<String>>);

impl Seen {
    pub(crate) fn set(&self, state: impl Into<String>) {
        *lock(&self.0) = state.into();
    }

    fn get(&self) -> String {
        let seen = lock(&self.0).clone();
        if seen.is_empty() { "nothing".to_owned() } else { seen }
    }
}

/// Asks again and again, `interval` apart, until the answer is yes.
pub(crate) async fn poll<T>(
    interval: Duration,
    mut ask: impl AsyncFnMut() -> Result<Option<T>, Error>,
) -> Result<T, Error> {
    loop {
        if let Some(answer) = ask().await? {
            return Ok(answer);
        }
        #[expect(clippy::disallowed_methods, reason = "for what tells nobody of its state")]
        tokio::time::sleep(interval).await;
    }
}

fn id(at: NodeAt, name: &str) -> String {
    format!("{}/{name}", at.name())
}

fn log_path(name: &str) -> PathBuf {
    Path::new(LOGS).join(format!("{name}.log"))
}

/// The end of a log, from a whole line on.
fn tail(base: &Path, inside: &Path) -> Result<String, String> {
    let mut file = open_beneath(base, inside).map_err(|error| error.to_string())?;
    let length = file.metadata().map_or(0, |meta| meta.len());
    let start = length.saturating_sub(TAIL);
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(start))
        .and_then(|_| file.take(TAIL).read_to_end(&mut bytes))
        .map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    Ok(match text.split_once('\n') {
        Some((_, rest)) if start > 0 => rest.to_owned(),
        _ => text,
    })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_log_begins_with_a_whole_line() {
        let base = tempfile::tempdir().unwrap();
        let lines: String = (0..1000).map(|n| format!("line {n}\n")).collect();
        std::fs::write(base.path().join("log"), lines).unwrap();
        let text = tail(base.path(), Path::new("/log")).unwrap();
        assert!(text.starts_with("line ") && text.ends_with("line 999\n"), "{text}");
        std::fs::write(base.path().join("log"), "short").unwrap();
        assert_eq!(tail(base.path(), Path::new("/log")).unwrap(), "short");
    }
}
