//! Carries out a run in this process: worker, dispatcher, recording.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use seatrial_components::Installed;
use seatrial_core::failure::{Failure, Fault};
use seatrial_core::ids::RunId;
use seatrial_core::pipeline::Pipeline;
use seatrial_core::plan::{Plan, Selection, Work};
use seatrial_core::verdict::{Verdict, exit_code};
use seatrial_engine::{Dispatch, DispatchError, RunFacts, WorkerEnd, dispatch, link};
use seatrial_oci::Credentials;
use seatrial_protocol::worker::{FromWorker, Hello};
use seatrial_report::{Json, Look, Reporter, Summary, Terminal};
use seatrial_store::{Scope, Store};
use seatrial_worker::{Connection, Held, Machine, MachineError, Settings, room, serve};
use tokio::sync::watch;
use uuid::Uuid;

use crate::error::CommandError;
use crate::paths::PathArgs;
use crate::project::{Planned, find_tools};
use crate::recording::{NODES, Recording, history_name};
use crate::registries::registries;
use crate::{install, lock, ui};

/// What to run, and how it is shown.
pub(crate) struct Request<'a> {
    pub(crate) paths: &'a PathArgs,
    pub(crate) selection: Selection,
    pub(crate) params: &'a [(String, String)],
    pub(crate) format: Format,
    pub(crate) scope: Scope,
    pub(crate) keep: bool,
    /// Whether the run fails where something is not as the lock file has it.
    pub(crate) locked: bool,
    /// Environments that there may be at once; as many as fit when not said.
    pub(crate) environments: Option<u32>,
}

/// How a run is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// Lines for a person, on standard error; live progress on a terminal
    Terminal,
    /// One event a line, on standard output
    Json,
}

/// What a run came to.
pub(crate) struct Ran {
    pub(crate) run: RunId,
    pub(crate) verdict: Verdict,
    pub(crate) summary: Summary,
    /// Environments that are still there.
    pub(crate) kept: Vec<Arc<Held>>,
    /// Keeps what environments need: drop it last.
    pub(crate) machine: Arc<Machine>,
    pub(crate) runtime: tokio::runtime::Runtime,
}

impl Ran {
    /// The exit code of the command. A run that only mistakes in the pipeline
    /// file broke ends as one whose file is bad: trying again does not help.
    pub(crate) fn exit_code(&self) -> u8 {
        let failures = self.summary.failures();
        let of_the_file = failures.iter().all(|(_, failure)| failure.fault == Fault::Config);
        match self.verdict {
            Verdict::Broken if of_the_file && !failures.is_empty() => exit_code::USAGE,
            verdict => verdict.exit_code(),
        }
    }
}

/// Plans and carries out what was asked for.
pub(crate) fn execute(request: &Request<'_>) -> Result<Ran, CommandError> {
    let began = Instant::now();
    let Planned { pipeline, store, project, plan } =
        Planned::new(request.paths, &request.selection, request.params, request.format)?;
    let scope = request.scope;
    if scope == Scope::Untrusted {
        refuse_environments(&plan)?;
    }
    let machine = Arc::new(machine(request, &pipeline, &plan, store.clone())?);
    let facts = RunFacts {
        run: RunId::from_uuid(Uuid::now_v7()),
        began,
        history: history(&store, scope, &project.name, &plan)?,
        project: project.name,
        commit: project.head.commit,
        dirty: project.head.dirty,
        keep: request.keep,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let reporter: Box<dyn Reporter + Send> = match request.format {
        Format::Terminal => Box::new(Terminal::stderr(Look::of_stderr())),
        Format::Json => Box::new(Json::new(std::io::stdout())),
    };
    let run = facts.run;
    let mut recording = Recording::new(store, run, scope, reporter);
    let driven = runtime.block_on(drive(machine.clone(), plan, facts, &mut recording));
    recording.end();
    let (verdict, kept) = driven?;
    let summary = recording.summary().clone();
    Ok(Ran { run, verdict, summary, kept, machine, runtime })
}

async fn drive(
    machine: Arc<Machine>,
    plan: Plan,
    facts: RunFacts,
    recording: &mut Recording,
) -> Result<(Verdict, Vec<Arc<Held>>), CommandError> {
    let cancel = cancel_on_signal();
    let (mut worker_link, WorkerEnd { from_engine, to_engine }) = link();
    let worker = tokio::spawn(serve(machine, Connection { from_engine, to_engine }));
    let hello: Hello = match worker_link.receive().await {
        Some(Ok(FromWorker::Hello(hello))) => hello,
        _ => return Err(Failure::environment("worker.lost", "the worker said nothing").into()),
    };
    let run = Dispatch { plan, facts, worker: hello, cancel };
    let verdict = dispatch(run, &mut worker_link, recording).await;
    // The end of the connection is what ends the worker.
    drop(worker_link);
    let mut kept = worker.await.map_err(|panic| {
        Failure::environment("worker.panicked", format!("the worker panicked: {panic}"))
    })?;
    // Which kind of them ended first is chance; which is shown first is not.
    kept.sort_by(|a, b| a.name().cmp(b.name()));
    let verdict = verdict.map_err(|error| {
        let message = Failure::chain(&error);
        let DispatchError::Record(failure) = error;
        // Its code and its hints say what is wrong with the disk.
        Failure { message, ..failure }
    })?;
    Ok((verdict, kept))
}

/// An environment on this machine shares its kernel: a privileged pod is root
/// there (`docs/threat-model.md`), which code of somebody else must not become.
fn refuse_environments(plan: &Plan) -> Result<(), Failure> {
    let Some(boot) = plan.nodes.iter().find(|node| node.poolable()) else { return Ok(()) };
    let message = format!(
        "`{}` would run untrusted code in an environment of this machine, whose kernel it shares",
        boot.name
    );
    Err(Failure::config("run.untrusted_environment", message)
        .hint("name the suites that need no environment, or use `seatrial build --untrusted`")
        .hint("once somebody has read the code, run it without --untrusted"))
}

/// Looks at this machine, and installs what the plan needs and it lacks.
fn machine(
    request: &Request<'_>,
    pipeline: &Pipeline,
    plan: &Plan,
    store: Arc<Store>,
) -> Result<Machine, CommandError> {
    let paths = request.paths;
    let held = lock::Held::read(&paths.project, request.locked)?;
    held.kubernetes()?;
    // Before minutes go into installing what could not be used then.
    if !nix::unistd::geteuid().is_root() {
        return Err(MachineError::NotRoot.failure().into());
    }
    let needs_cluster = plan.nodes.iter().any(|node| node.poolable());
    let components: Option<Installed> = match needs_cluster {
        true => Some(install::ensure(&paths.components()?)?),
        false => None,
    };
    let bin = components.as_ref().map(|installed| installed.bin.as_path());
    let tools = find_tools(pipeline, bin, &paths.project)?;
    let different = held.compare(lock::here(pipeline, &tools))?;
    if request.format == Format::Terminal {
        different.iter().for_each(|warning| ui::note(warning));
    }
    let exe: PathBuf = "/proc/self/exe".into();
    let scope = request.scope;
    let mut registries = registries()?;
    if scope == Scope::Untrusted {
        // What the caller may pull is not for code of somebody else to read.
        registries.credentials = Credentials::default();
    }
    let environments = match request.environments {
        Some(environments) => environments,
        None if !needs_cluster => 1,
        None => {
            if request.format == Format::Terminal && plan.is_one_by_one() {
                ui::note(
                    "environments run one after the other, as a cluster does not say how much \
                     memory its pods may use (`resources: { memory: 2Gi }`)",
                );
            }
            room(plan).map_err(|error| error.failure())?
        }
    };
    let settings = Settings { store, components, registries, tools, exe, environments, scope };
    Ok(Machine::new(settings).map_err(|error| error.failure())?)
}

/// Expected and fastest seconds of a node.
pub(crate) type Durations = (Option<f64>, Option<f64>);

/// Expected and fastest seconds of each node, by history.
pub(crate) fn history(
    store: &Store,
    scope: Scope,
    project: &str,
    plan: &Plan,
) -> Result<Vec<Durations>, CommandError> {
    let known = store.records().expected_all(scope, NODES)?;
    let of = |name: &str| known.get(&history_name(project, name));
    Ok(plan
        .nodes
        .iter()
        .map(|node| {
            // A suite's time is that of its tests, which come and go.
            let suite = matches!(&node.work, Work::Stage { .. }) && node.suite().is_some();
            match of(&node.name) {
                Some(known) => {
                    let fastest = known.fastest.as_secs_f64();
                    (Some(known.median.as_secs_f64()), (!suite).then_some(fastest))
                }
                None => (None, None),
            }
        })
        .collect())
}

/// Becomes the reason when somebody presses Ctrl-C or asks this process to
/// end. The second time, it ends at once: environments end with it.
fn cancel_on_signal() -> watch::Receiver<Option<String>> {
    use tokio::signal::unix::{SignalKind, signal};
    let (sender, receiver) = watch::channel(None);
    tokio::spawn(async move {
        let (Ok(mut interrupt), Ok(mut terminate), Ok(mut hangup)) = (
            signal(SignalKind::interrupt()),
            signal(SignalKind::terminate()),
            signal(SignalKind::hangup()),
        ) else {
            return;
        };
        let mut asked = false;
        loop {
            let reason = tokio::select! {
                _ = interrupt.recv() => "interrupted (Ctrl-C)",
                _ = terminate.recv() => "asked to end (SIGTERM)",
                _ = hangup.recv() => "the terminal is gone (SIGHUP)",
            };
            if asked {
                #[expect(
                    clippy::disallowed_methods,
                    reason = "who asks twice wants no more waiting"
                )]
                std::process::exit(i32::from(exit_code::CANCELLED));
            }
            asked = true;
            let _ = sender.send(Some(reason.to_owned()));
        }
    });
    receiver
}

/// Values given as `-p name=value`.
pub(crate) fn parse_param(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) => Ok((name.to_owned(), value.to_owned())),
        None => Err("write it as name=value".to_owned()),
    }
}
