//! The project: its pipeline, its files, its place in the store.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use seatrial_components::Components;
use seatrial_config::{Code, Diagnostic, FILE_NAME, FileContent, Known, Loaded};
use seatrial_core::digest::Digest;
use seatrial_core::failure::Failure;
use seatrial_core::name::Name;
use seatrial_core::pipeline::{InstallAction, Pipeline};
use seatrial_core::plan::{Facts, Plan, Selection, Sources};
use seatrial_deploy::KUSTOMIZATIONS;
use seatrial_source::{Head, Patterns, ProjectFiles, WorkTree};
use seatrial_store::Store;
use seatrial_worker::Tools;

use crate::error::CommandError;
use crate::execute::Format;
use crate::paths::PathArgs;
use crate::{lock, ui};

/// Tools that pipelines name without a warning.
const TOOLS: &[&str] = &[
    "cargo", "cc", "gcc", "git", "go", "helm", "java", "kubectl", "make", "mvn", "node", "npm",
    "npx", "pip", "pnpm", "pytest", "python3", "rustc", "yarn",
];

/// Largest pipeline file that is read, and one byte more: the checker refuses
/// it then, without its being read whole.
const READ: u64 = (1 << 20) + 1;

/// Untracked files that are named.
const SHOWN: usize = 5;

/// Reads and checks the pipeline file of a directory, and what its lock file
/// says of the base images in it.
pub(crate) fn load(dir: &Path) -> Result<Loaded, CommandError> {
    let images = lock::read(dir)?.unwrap_or_default().images;
    load_with(dir, Some(&images))
}

/// The same, where tags of base images stand for `images`; `None`: for nothing
/// yet.
pub(crate) fn load_with(
    dir: &Path,
    images: Option<&BTreeMap<String, Digest>>,
) -> Result<Loaded, CommandError> {
    let mistake = |found| CommandError::Diagnostics(vec![found]);
    let path = seatrial_config::find(dir).map_err(mistake)?;
    let text = read_within(dir, FILE_NAME).map_err(mistake)?.unwrap_or_default();
    let versions = kubernetes_versions();
    let versions: Vec<_> = versions.iter().map(String::as_str).collect();
    let known = Known { kubernetes: &versions, tools: TOOLS, images };
    let origin = path.strip_prefix("./").unwrap_or(&path).display().to_string();
    let loaded = seatrial_config::load(&text, &origin, &known);
    let read = |path: &str| read_within(dir, path);
    loaded
        .and_then(|loaded| loaded.read_dockerfiles(&known, &read))
        .map_err(CommandError::Diagnostics)
}

/// A file of the project that is read here, and not by a command apart: nothing
/// that a link leads to elsewhere, as this process may read what its user may
/// not.
pub(crate) fn read_within(dir: &Path, path: &str) -> FileContent {
    use std::io::Read as _;
    let cannot = |error: std::io::Error| Diagnostic::unreadable(path, &error.to_string());
    let find =
        || -> std::io::Result<_> { Ok((dir.canonicalize()?, dir.join(path).canonicalize()?)) };
    let (root, file) = match find() {
        Ok(found) => found,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(cannot(error)),
    };
    if !file.starts_with(&root) {
        return Err(Diagnostic::unreadable(path, "it leads out of the project"));
    }
    if !file.is_file() {
        return Err(Diagnostic::unreadable(path, "it is not a file"));
    }
    let mut text = Vec::new();
    let read = std::fs::File::open(file).and_then(|file| file.take(READ).read_to_end(&mut text));
    read.map_err(cannot)?;
    Ok(Some(text))
}

/// Shows what is odd about a pipeline file.
pub(crate) fn tell_warnings(warnings: &[Diagnostic]) {
    if !warnings.is_empty() {
        ui::note(&seatrial_config::render(warnings, ui::style()));
    }
}

/// Minor versions of Kubernetes that there are components for.
pub(crate) fn kubernetes_versions() -> Vec<String> {
    kubernetes_patches().into_keys().rev().collect()
}

/// Patch versions of Kubernetes that there are components for, by minor
/// version.
pub(crate) fn kubernetes_patches() -> BTreeMap<String, String> {
    let components = Components::locked();
    let kubernetes = components.lock().components.iter().find(|c| c.name == "kubernetes");
    let by_minor = |patch: &str| {
        let patch = patch.trim_start_matches('v');
        let mut parts = patch.split('.');
        Some((format!("{}.{}", parts.next()?, parts.next()?), patch.to_owned()))
    };
    kubernetes.and_then(|component| by_minor(&component.version)).into_iter().collect()
}

/// The tools of a pipeline as they are on this machine: among the components
/// in `bin`, else on the PATH, in the versions that the project in `dir` chooses.
pub(crate) fn find_tools(
    pipeline: &Pipeline,
    bin: Option<&Path>,
    dir: &Path,
) -> Result<Tools, Failure> {
    let path = std::env::var("PATH").unwrap_or_default();
    Tools::find(&tools_of(pipeline), &path, bin, dir).map_err(|error| error.failure())
}

/// Every tool that a pipeline names, and those that Seatrial itself uses.
pub(crate) fn tools_of(pipeline: &Pipeline) -> BTreeSet<Name> {
    let builds = pipeline.builds.values().flat_map(|build| build.tools.iter());
    let suites = pipeline.suites.values().flat_map(|suite| suite.tools.iter());
    let steps = pipeline.environments.values().flat_map(|environment| &environment.install);
    let steps = steps.flat_map(|step| match &step.action {
        InstallAction::Run { tools, .. } => tools.as_slice(),
        InstallAction::Apply(_) => &[],
    });
    let own: Name = "kubectl".parse().expect("this is a name");
    builds.chain(suites).chain(steps).cloned().chain([own]).collect()
}

/// The files of a project as trees in the store, each set of them made once.
struct Files {
    /// The project's directory.
    dir: PathBuf,
    files: ProjectFiles,
    store: Arc<Store>,
    trees: RefCell<BTreeMap<Sources, Digest>>,
}

/// What is to be done, and with what.
pub(crate) struct Planned {
    pub(crate) pipeline: Pipeline,
    pub(crate) store: Arc<Store>,
    pub(crate) project: Project,
    pub(crate) plan: Plan,
}

impl Planned {
    /// Reads the pipeline and the project's files, and plans what `selection`
    /// asks for. A person (`format`) is told what is odd about them.
    pub(crate) fn new(
        paths: &PathArgs,
        selection: &Selection,
        params: &[(String, String)],
        format: Format,
    ) -> Result<Self, CommandError> {
        let Loaded { pipeline, mut warnings, .. } = load(&paths.project)?;
        // What a build is used for is not the question of who asks for it.
        if matches!(selection, Selection::Artifacts(_)) {
            warnings.retain(|warning| warning.code != Code::Unused);
        }
        if format == Format::Terminal {
            tell_warnings(&warnings);
        }
        let given: Vec<_> = params.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        let params = seatrial_config::resolve_params(&pipeline, &given)
            .map_err(CommandError::Diagnostics)?;
        let store = Arc::new(Store::open(paths.state()?)?);
        let project = Project::open(&paths.project, store.clone())?;
        let plan = project.plan(&pipeline, selection, &params)?;
        if format == Format::Terminal {
            project.tell_untracked();
        }
        Ok(Self { pipeline, store, project, plan })
    }
}

/// A project that can be planned.
pub(crate) struct Project {
    pub(crate) name: String,
    pub(crate) head: Head,
    files: Files,
}

impl Project {
    /// Looks at the work tree of a directory.
    fn open(dir: &Path, store: Arc<Store>) -> Result<Self, CommandError> {
        let tree = WorkTree::open(dir)?;
        let name = tree.dir().file_name().map(|name| name.to_string_lossy().into_owned());
        let files = tree.files()?;
        Ok(Self {
            name: name.unwrap_or_else(|| "project".to_owned()),
            head: tree.head(&files, &store)?,
            files: Files { dir: tree.dir().to_owned(), files, store, trees: RefCell::default() },
        })
    }

    /// Plans what `selection` asks for.
    fn plan(
        &self,
        pipeline: &Pipeline,
        selection: &Selection,
        params: &BTreeMap<Name, String>,
    ) -> Result<Plan, CommandError> {
        let trees = |sources: &Sources| self.files.tree(sources);
        let applied = |path: &str| self.files.applied(path);
        let facts = Facts { trees: &trees, applied: &applied, params };
        Ok(Plan::new(pipeline, selection, &facts)?)
    }

    /// New files are part of what is tested: a person should not wonder why.
    fn tell_untracked(&self) {
        let untracked: Vec<_> = self.files.files.untracked().collect();
        if untracked.is_empty() {
            return;
        }
        let mut text = untracked[..untracked.len().min(SHOWN)].join(", ");
        if untracked.len() > SHOWN {
            text.push_str(&format!(" and {} more", untracked.len() - SHOWN));
        }
        ui::note(&format!("note: included though Git does not track them: {text}"));
    }
}

impl Files {
    fn tree(&self, sources: &Sources) -> Result<Digest, Failure> {
        if let Some(tree) = self.trees.borrow().get(sources) {
            return Ok(*tree);
        }
        let (exclude, include): (Vec<_>, Vec<_>) =
            sources.0.iter().map(String::as_str).partition(|pattern| pattern.starts_with('!'));
        let exclude: Vec<_> = exclude.iter().map(|pattern| &pattern[1..]).collect();
        let (include, exclude) = (Patterns::new(&include)?, Patterns::new(&exclude)?);
        let snapshot = self.files.snapshot(&include, &exclude, &self.store)?;
        self.trees.borrow_mut().insert(sources.clone(), snapshot.tree);
        Ok(snapshot.tree)
    }

    /// Which files are read when this path is applied. A kustomization may refer
    /// to any file of the project, and so may a link.
    fn applied(&self, path: &str) -> Result<Sources, Failure> {
        let all = Sources(Vec::new());
        let is_link = |path: &Path| self.dir.join(path).is_symlink();
        let above = Path::new(path).ancestors().skip(1);
        if path.is_empty() || above.into_iter().any(is_link) {
            return Ok(all);
        }
        let inside = format!("{path}/");
        let is_part = |file: &&str| *file == path || file.starts_with(&inside);
        let files: Vec<&str> = self.files.paths().filter(is_part).collect();
        if files.is_empty() {
            return Err(Failure::config(
                "run.nothing_to_apply",
                format!("nothing of the project is at `{path}`, which an environment applies"),
            )
            .hint(
                "files that Git ignores are no part of the project; \
                 what a build makes is named by `{ build: NAME, path: PATH }`",
            ));
        }
        let refers = |file: &&str| {
            let name = file.strip_prefix(&inside).unwrap_or(file);
            KUSTOMIZATIONS.contains(&name) || is_link(Path::new(file))
        };
        match files.iter().any(refers) {
            true => Ok(all),
            false => Ok(Sources::at(path)),
        }
    }
}
