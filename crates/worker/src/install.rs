//! Puts a product into an environment and waits until it is ready.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use seatrial_core::digest::Digest;
use seatrial_core::failure::Failure;
use seatrial_core::name::Name;
use seatrial_core::pipeline::{Command, Ready};
use seatrial_core::stage::{Install, StepAction};
use seatrial_core::step::Step;
use seatrial_core::tail::Tail;
use seatrial_deploy::{
    ApplyOptions, Found, ManifestError, Mismatch, Object, Progress, Readiness, ReadyCondition,
    ReadyState, Source, Wanted, check_images, image_ids,
};
use seatrial_protocol::event::Usage;
use seatrial_protocol::worker::AttemptEvent;
use seatrial_sandbox::action::{Network, Stream};
use seatrial_sandbox::root::Mount;

use crate::attempt::{Attempt, blocking, name};
use crate::command::{self, Deadline, Prepared, TAIL, bind, judge, usage};
use crate::environment::Held;
use crate::machine::Machine;
use crate::serve::Done;

/// Bytes of manifests that a kustomization may render to.
const RENDERED: usize = 64 << 20;
/// How long rendering may take.
const RENDER: Duration = Duration::from_secs(60);

/// Carries out an installation.
pub(crate) async fn run(
    machine: &Arc<Machine>,
    attempt: &Attempt,
    held: &Held,
    order: Install<Digest>,
) -> Result<Done, Failure> {
    let done = install(machine, attempt, held, order).await;
    done.map_err(|failure| held.name_misses(failure))
}

async fn install(
    machine: &Arc<Machine>,
    attempt: &Attempt,
    held: &Held,
    install: Install<Digest>,
) -> Result<Done, Failure> {
    let deadline = Instant::now() + install.timeout;
    // Beside each other: what is applied does not need its images at once.
    let answering = held.answer_with(machine, &install.images);
    let steps = carry_out(machine, attempt, held, &install, deadline);
    let ((), (used, applied)) = tokio::try_join!(answering, steps)?;
    let began = Instant::now();
    wait_ready(attempt, held, &install.ready, &applied, deadline).await?;
    attempt.span(Step::TestSetup, "ready", began, Instant::now()).await;
    for cluster in held.clusters() {
        if let Some(warning) = seatrial_deploy::restarts(cluster).await? {
            attempt.event(AttemptEvent::Warning(warning)).await;
        }
    }
    prove_images(held).await?;
    Ok(Done::well(used))
}

/// What was applied, by cluster.
type Applied = BTreeMap<Name, Vec<Object>>;

/// Carries out the steps of an installation, one after the other.
async fn carry_out(
    machine: &Arc<Machine>,
    attempt: &Attempt,
    held: &Held,
    install: &Install<Digest>,
    deadline: Instant,
) -> Result<(Usage, Applied), Failure> {
    let mut used = Usage::default();
    let mut applied = Applied::new();
    for step in &install.steps {
        let began = Instant::now();
        let what = match &step.action {
            StepAction::Apply { tree, path } => {
                let objects = objects(machine, attempt, *tree, path).await?;
                let cluster = held.cluster(&step.cluster)?;
                let on_progress = |progress: Progress<'_>| tell_progress(attempt, &progress);
                let options = ApplyOptions::until(deadline.into());
                let done = seatrial_deploy::apply(cluster, objects, &options, &on_progress).await?;
                applied.entry(step.cluster.clone()).or_default().extend(done);
                format!("apply {path}")
            }
            StepAction::Run { .. } => {
                let usage = run_step(machine, attempt, held, install, &step.action).await?;
                used.core_us += usage.core_us;
                "run".to_owned()
            }
        };
        attempt.span(Step::TestSetup, &what, began, Instant::now()).await;
    }
    Ok((used, applied))
}

/// Checks that what runs is what was built: before the first test, and after
/// the last.
pub(crate) async fn prove_images(held: &Held) -> Result<(), Failure> {
    let replaced = held.replaced();
    for cluster in held.clusters() {
        let containers = image_ids(cluster).await?;
        let mut wrong = check_images(&containers, &replaced);
        // A container that did not start yet runs nothing else, either.
        wrong.retain(|mismatch| mismatch.found != Found::Unknown);
        if !wrong.is_empty() {
            return Err(Mismatch::failure(&wrong));
        }
    }
    Ok(())
}

async fn objects(
    machine: &Arc<Machine>,
    attempt: &Attempt,
    tree: Digest,
    path: &str,
) -> Result<Vec<Object>, Failure> {
    let root = machine.store().tree_path(tree);
    let one = |error| ManifestError::failure(&[error]);
    let errors = |errors: Vec<_>| ManifestError::failure(&errors);
    match seatrial_deploy::locate(&root, Path::new(path)).map_err(one)? {
        Source::Files(files) => seatrial_deploy::read(&root, &files).map_err(errors),
        Source::Kustomization(directory) => {
            let text = render(machine, attempt, tree, &directory).await?;
            seatrial_deploy::parse(&text, &format!("{path} (rendered)")).map_err(errors)
        }
    }
}

/// Renders a kustomization in the sandbox: its files are the project's.
async fn render(
    machine: &Arc<Machine>,
    attempt: &Attempt,
    tree: Digest,
    directory: &Path,
) -> Result<String, Failure> {
    let kubectl = name("kubectl");
    let tools = BTreeSet::from([kubectl]);
    let (mut mounts, path) = machine.tools().provide(&tools).map_err(|error| error.failure())?;
    mounts.push(bind(machine.store().tree_path(tree), "/work", false));
    let argv = seatrial_deploy::render_command(Path::new("kubectl"), directory);
    let argv = argv.iter().map(|argument| argument.to_string_lossy().into_owned()).collect();
    let prepared = Prepared {
        run: Command::Argv(argv),
        env: BTreeMap::from([("HOME".to_owned(), "/tmp".to_owned())]),
        mounts,
        path,
        cwd: "/work".into(),
        network: Network::Private,
        memory: None,
        timeout: RENDER,
        broken: None,
        stop_signal: None,
    };
    let (machine, attempt) = (machine.clone(), attempt.clone());
    let work = move || {
        let (mut rendered, mut tail) = (Vec::new(), Tail::new(TAIL));
        let deadline = Deadline::at(RENDER);
        let outcome =
            command::run(&machine, &attempt, &prepared, &deadline, |stream, bytes| match stream {
                Stream::Stdout => {
                    let room = (RENDERED + 1).saturating_sub(rendered.len());
                    rendered.extend_from_slice(&bytes[..bytes.len().min(room)]);
                }
                Stream::Stderr => tail.push(bytes),
            })?;
        judge(&attempt, &prepared, &outcome, &tail, "kustomize")?;
        if rendered.len() > RENDERED {
            let message = format!("it renders to more than {} MiB", RENDERED >> 20);
            return Err(Failure::product("kustomize.too_large", message));
        }
        String::from_utf8(rendered).map_err(|_| {
            Failure::product("kustomize.failed", "what the kustomization renders is not UTF-8")
        })
    };
    blocking(work).await
}

async fn run_step(
    machine: &Arc<Machine>,
    attempt: &Attempt,
    held: &Held,
    install: &Install<Digest>,
    action: &StepAction<Digest>,
) -> Result<Usage, Failure> {
    let StepAction::Run { run, source, builds, tools, images, timeout } = action else {
        return Ok(Usage::default());
    };
    let store = machine.store();
    let (mut mounts, path) = machine.tools().provide(tools).map_err(|error| error.failure())?;
    mounts.push(bind(store.tree_path(*source), "/work", false));
    let target = held.target();
    mounts.push(Mount::File { to: "/kube/config".into(), content: target.kubeconfig });
    mounts.push(Mount::File { to: "/etc/resolv.conf".into(), content: target.resolv_conf });
    let mut env = BTreeMap::from([
        ("KUBECONFIG".to_owned(), "/kube/config".to_owned()),
        ("HOME".to_owned(), "/tmp".to_owned()),
        ("TMPDIR".to_owned(), "/tmp".to_owned()),
        ("LANG".to_owned(), "C.UTF-8".to_owned()),
    ]);
    for (build, tree) in builds {
        let to = format!("/builds/{build}");
        mounts.push(bind(store.tree_path(*tree), &to, false));
        env.insert(format!("BUILD_{}", build.variable()), to);
    }
    for (image, session_image) in install.images.iter().filter(|(name, _)| images.contains(*name)) {
        let reference = held.reference(image, session_image);
        env.insert(format!("IMAGE_{}", image.variable()), reference);
    }
    let prepared = Prepared {
        run: run.clone(),
        env,
        mounts,
        path,
        cwd: "/work".into(),
        network: target.network,
        memory: None,
        timeout: *timeout,
        broken: Some(target.broken),
        stop_signal: None,
    };
    let (machine, attempt) = (machine.clone(), attempt.clone());
    let work = move || {
        let mut log = attempt.log(name("output"));
        let mut tail = Tail::new(TAIL);
        let deadline = Deadline::at(prepared.timeout);
        let outcome = command::run(&machine, &attempt, &prepared, &deadline, |_, bytes| {
            log.write(bytes);
            tail.push(bytes);
        })?;
        judge(&attempt, &prepared, &outcome, &tail, "install")?;
        Ok(usage(&outcome))
    };
    blocking(work).await
}

async fn wait_ready(
    attempt: &Attempt,
    held: &Held,
    ready: &Option<Vec<Ready>>,
    applied: &BTreeMap<Name, Vec<Object>>,
    deadline: Instant,
) -> Result<(), Failure> {
    let mut conditions: BTreeMap<&Name, Vec<ReadyCondition>> = BTreeMap::new();
    match ready {
        Some(ready) => {
            for one in ready {
                conditions.entry(&one.cluster).or_default().push(condition(one));
            }
        }
        None => {
            for (cluster, objects) in applied {
                let all = seatrial_deploy::default_conditions(objects);
                conditions.entry(cluster).or_default().extend(all);
            }
        }
    }
    for (cluster, conditions) in conditions {
        let on_change = |states: &[ReadyState]| tell_ready(attempt, states);
        let cluster = held.cluster(cluster)?;
        seatrial_deploy::wait_ready(cluster, conditions, deadline.into(), &on_change).await?;
    }
    Ok(())
}

fn condition(ready: &Ready) -> ReadyCondition {
    ReadyCondition {
        api_version: None,
        kind: ready.kind.clone(),
        namespace: ready.namespace.clone(),
        name: ready.name.clone(),
        wanted: Wanted::condition(&ready.condition),
        within: Some(ready.within),
    }
}

fn tell_progress(attempt: &Attempt, progress: &Progress<'_>) {
    match progress {
        Progress::Applied { id, done, total } => {
            attempt.progress(format!("applied {id}"), Some((*done as u64, *total as u64)));
        }
        Progress::Waiting(problem) => attempt.progress(format!("waiting: {problem}"), None),
    }
}

fn tell_ready(attempt: &Attempt, states: &[ReadyState]) {
    let is_ready = |state: &&ReadyState| matches!(state.readiness, Readiness::Ready);
    let done = states.iter().filter(is_ready).count();
    let first = states.iter().find(|state| !is_ready(state));
    let text =
        first.map_or_else(|| "ready".to_owned(), |state| format!("waiting for {}", state.object));
    attempt.progress(text, Some((done as u64, states.len() as u64)));
}
