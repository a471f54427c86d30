//! Kubernetes objects out of YAML or JSON text, each with the place it came from.
//!
//! Text is hostile: sizes, depth, aliases and names are bounded before an
//! object exists. Nothing here talks to a cluster and nothing runs a program:
//! rendering a kustomization is a command line that the caller runs, in a
//! sandbox, and whose output comes back to [`parse`].

use std::ffi::OsString;
use std::fmt;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use seatrial_core::failure::Failure;
use serde_json::Value;
use serde_saphyr::budget::BudgetBreach;
use serde_saphyr::options::DuplicateKeyPolicy;

/// Largest text that is read, in bytes. Bundles of definitions of large
/// operators are about 4 MiB.
const MAX_BYTES: u64 = 16 << 20;
/// Most YAML nodes in one text.
const MAX_NODES: usize = 500_000;
/// Most nodes that aliases may add.
const MAX_REPLAYED: usize = 50_000;
/// Deepest nesting. Schemas of custom resources with a pod template inside
/// reach about 50; an API server's answer deeper than 128 could not be read.
const MAX_DEPTH: usize = 100;
/// Stack of the parser, in bytes; only what is used of it takes memory.
const PARSER_STACK: usize = 32 << 20;
/// Most objects in one text, and most files in one directory.
const MAX_OBJECTS: usize = 10_000;

/// Where an object is written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin {
    /// The file as people name it, or what was rendered.
    pub file: String,
    /// The first line of the object, from 1.
    pub line: u64,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// The name of an object within a cluster.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectId {
    /// Group and version, such as `apps/v1`.
    pub api_version: String,
    /// The kind, such as `Deployment`.
    pub kind: String,
    /// The namespace that is written in the object, if one is.
    pub namespace: Option<String>,
    /// The name.
    pub name: String,
}

impl ObjectId {
    /// The API group, empty for the core group.
    #[must_use]
    pub fn group(&self) -> &str {
        self.api_version.split_once('/').map_or("", |(group, _)| group)
    }
}

/// As people say it: `Deployment default/web`, `Namespace shop`.
impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{} {namespace}/{}", self.kind, self.name),
            None => write!(f, "{} {}", self.kind, self.name),
        }
    }
}

/// An object that shall exist, as it is written.
#[derive(Debug, Clone, PartialEq)]
pub struct Object {
    /// Where it is written.
    pub origin: Origin,
    /// Its name.
    pub id: ObjectId,
    /// All of it, `apiVersion`, `kind` and `metadata.name` included.
    pub value: Value,
}

/// Why some text is not a list of objects.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// The path of an `apply` does not exist or cannot be read.
    #[error("cannot read {path}", path = .path.display())]
    Read {
        /// The path as it was given.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A link in the source tree that leads out of it.
    #[error("{path} leads outside of the source tree", path = .path.display())]
    Outside {
        /// The path as it was given.
        path: PathBuf,
    },
    /// Neither a file nor a directory, or a directory without manifests.
    #[error("{path} {reason}", path = .path.display())]
    NotManifests {
        /// The path as it was given.
        path: PathBuf,
        /// What is there instead.
        reason: &'static str,
    },
    /// The text breaks a rule or a limit at one place.
    #[error("{origin}:{column}: {message}")]
    Text {
        /// A stable code, such as `deploy.duplicate_key`.
        code: &'static str,
        /// The file and the line.
        origin: Origin,
        /// The column, from 1.
        column: u64,
        /// What was found and what is allowed.
        message: String,
    },
}

impl ManifestError {
    fn code(&self) -> &'static str {
        match self {
            Self::Read { .. } => "deploy.unreadable",
            Self::Outside { .. } => "deploy.outside",
            Self::NotManifests { .. } => "deploy.no_manifests",
            Self::Text { code, .. } => code,
        }
    }

    /// All of `errors` as one failure. A path that is not there is the pipeline
    /// file's fault; a manifest is part of the product.
    #[must_use]
    pub fn failure(errors: &[Self]) -> Failure {
        let lines: Vec<_> = errors.iter().map(|error| Failure::chain(error)).collect();
        let code = errors.first().map_or("deploy.bad_manifest", Self::code);
        let message = lines.join("\n");
        if errors.iter().any(|error| matches!(error, Self::Text { .. })) {
            Failure::product(code, message)
        } else {
            Failure::config(code, message).hint(
                "`apply` names a file, a directory with *.yaml, *.yml or *.json, or a directory \
                 with a kustomization.yaml, relative to seatrial.yaml",
            )
        }
    }
}

/// What the path of an `apply` is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Files with objects in them, in the order in which they are read.
    Files(Vec<PathBuf>),
    /// A directory to be rendered with [`render_command`].
    Kustomization(PathBuf),
}

/// The names that kustomize looks for in a directory.
pub const KUSTOMIZATIONS: [&str; 3] = ["kustomization.yaml", "kustomization.yml", "Kustomization"];

/// Finds what `path`, relative to `root`, is. Like `kubectl apply -f`, a
/// directory means its own `*.yaml`, `*.yml` and `*.json` by name, not those of
/// directories inside; one with a kustomization is rendered instead.
///
/// # Errors
/// When nothing is there, when no manifest is in it, or when it lies outside of `root`.
pub fn locate(root: &Path, path: &Path) -> Result<Source, ManifestError> {
    let read = |source| ManifestError::Read { path: path.to_owned(), source };
    let full = inside(root, path)?;
    let metadata = full.metadata().map_err(read)?;
    if metadata.is_file() {
        return Ok(Source::Files(vec![path.to_owned()]));
    }
    if !metadata.is_dir() {
        let reason = "is neither a file nor a directory";
        return Err(ManifestError::NotManifests { path: path.to_owned(), reason });
    }
    for name in KUSTOMIZATIONS {
        if full.join(name).is_file() {
            return Ok(Source::Kustomization(path.to_owned()));
        }
    }
    let mut files = Vec::new();
    for entry in full.read_dir().map_err(read)? {
        let name = PathBuf::from(entry.map_err(read)?.file_name());
        let extension = name.extension().and_then(|extension| extension.to_str());
        if matches!(extension, Some("yaml" | "yml" | "json")) {
            files.push(path.join(name));
        }
        if files.len() > MAX_OBJECTS {
            let reason = "has more than 10000 manifests";
            return Err(ManifestError::NotManifests { path: path.to_owned(), reason });
        }
    }
    if files.is_empty() {
        let reason = "has no *.yaml, *.yml or *.json and no kustomization.yaml";
        return Err(ManifestError::NotManifests { path: path.to_owned(), reason });
    }
    files.sort();
    Ok(Source::Files(files))
}

/// The command that renders a kustomization to standard output. `kubectl` is
/// the component; it needs to read the source tree and nothing else.
#[must_use]
pub fn render_command(kubectl: &Path, directory: &Path) -> Vec<OsString> {
    vec![kubectl.into(), "kustomize".into(), directory.into()]
}

/// Reads the objects of files below `root`.
///
/// # Errors
/// All that is wrong with any of them.
pub fn read(root: &Path, files: &[PathBuf]) -> Result<Vec<Object>, Vec<ManifestError>> {
    let mut objects = Vec::new();
    let mut errors = Vec::new();
    for path in files {
        match read_text(root, path) {
            Ok(text) => match parse(&text, &path.display().to_string()) {
                Ok(more) => objects.extend(more),
                Err(more) => errors.extend(more),
            },
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() { Ok(objects) } else { Err(errors) }
}

/// Reads the objects of a text with any number of YAML documents. `file` is
/// what errors call it. Scalars mean what they mean to `kubectl` (YAML 1.1:
/// `0644` is octal, `yes` is a boolean); empty documents are skipped and a
/// `List` is taken apart.
///
/// # Errors
/// The first syntax error or broken limit, or else all that is wrong with the objects.
pub fn parse(text: &str, file: &str) -> Result<Vec<Object>, Vec<ManifestError>> {
    if text.len() as u64 > MAX_BYTES {
        return Err(vec![too_large(file)]);
    }
    let documents = documents(text).map_err(|error| vec![syntax_error(file, &error)])?;
    let mut objects = Vec::new();
    let mut errors = Vec::new();
    for document in documents {
        let origin = Origin { file: file.to_owned(), line: document.defined.line().max(1) };
        let column = document.defined.column().max(1);
        for value in items(document.value) {
            if objects.len() == MAX_OBJECTS {
                errors.push(ManifestError::Text {
                    code: "deploy.too_large",
                    origin,
                    column,
                    message: format!("more than {MAX_OBJECTS} objects in one file"),
                });
                return Err(errors);
            }
            match identify(&value) {
                Ok(id) => objects.push(Object { origin: origin.clone(), id, value }),
                Err((code, message)) => {
                    let origin = origin.clone();
                    errors.push(ManifestError::Text { code, origin, column, message });
                }
            }
        }
    }
    if errors.is_empty() { Ok(objects) } else { Err(errors) }
}

/// `path` below `root`, every link followed.
fn inside(root: &Path, path: &Path) -> Result<PathBuf, ManifestError> {
    let read = |source| ManifestError::Read { path: path.to_owned(), source };
    let root = root.canonicalize().map_err(read)?;
    let full = root.join(path).canonicalize().map_err(read)?;
    if full.starts_with(&root) {
        Ok(full)
    } else {
        Err(ManifestError::Outside { path: path.to_owned() })
    }
}

fn read_text(root: &Path, path: &Path) -> Result<String, ManifestError> {
    let read = |source| ManifestError::Read { path: path.to_owned(), source };
    let full = inside(root, path)?;
    // Opening a FIFO would wait for somebody to write to it.
    if !full.metadata().map_err(read)?.is_file() {
        let reason = "is not a file";
        return Err(ManifestError::NotManifests { path: path.to_owned(), reason });
    }
    let mut bytes = Vec::new();
    let file = std::fs::File::open(full).map_err(read)?;
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(read)?;
    let file = path.display().to_string();
    if bytes.len() as u64 > MAX_BYTES {
        return Err(too_large(&file));
    }
    String::from_utf8(bytes).map_err(|error| {
        let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let newlines = good.iter().filter(|byte| **byte == b'\n').count();
        let line_start = good.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        ManifestError::Text {
            code: "deploy.bad_text",
            origin: Origin { file, line: newlines as u64 + 1 },
            column: (good.len() - line_start) as u64 + 1,
            message: "this is not UTF-8".to_owned(),
        }
    })
}

fn too_large(file: &str) -> ManifestError {
    ManifestError::Text {
        code: "deploy.too_large",
        origin: Origin { file: file.to_owned(), line: 1 },
        column: 1,
        message: format!("larger than {} MiB", MAX_BYTES >> 20),
    }
}

type Document = serde_saphyr::Spanned<Value>;

/// Parses on a stack of its own: the parser needs some 25 KiB of it for each
/// level when it is not optimised, and a thread of the runtime has 2 MiB.
fn documents(text: &str) -> Result<Vec<Document>, serde_saphyr::Error> {
    let parse = || serde_saphyr::from_str_multiple_with_options::<Document, _>(text, options());
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(PARSER_STACK);
        let thread = thread.spawn_scoped(scope, parse).map_err(|cause| {
            // There is no thread to be had, so there is no text to blame.
            serde_saphyr::Error::IOError { cause }
        })?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn options() -> serde_saphyr::Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: MAX_DEPTH,
            max_nodes: MAX_NODES,
            max_documents: MAX_OBJECTS,
            max_aliases: 1_000,
            max_anchors: 1_000,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: MAX_REPLAYED,
        },
        duplicate_keys: DuplicateKeyPolicy::Error,
        legacy_octal_numbers: true,
        strict_booleans: false,
        with_snippet: false,
    }
}

fn syntax_error(file: &str, error: &serde_saphyr::Error) -> ManifestError {
    use serde_saphyr::Error;
    let mut error = error.without_snippet();
    let location = error.location();
    // The place is the alias; what is wrong there is inside.
    while let Error::AliasError { error: inner, .. } = error {
        error = inner.without_snippet();
    }
    let code = match error {
        Error::Budget { breach: BudgetBreach::Depth { .. }, .. } => "deploy.too_deep",
        Error::Budget {
            breach:
                BudgetBreach::Aliases { .. }
                | BudgetBreach::Anchors { .. }
                | BudgetBreach::AliasAnchorRatio { .. }
                | BudgetBreach::RecordedAnchorEvents { .. }
                | BudgetBreach::RecordedAnchorBytes { .. },
            ..
        }
        | Error::AliasReplayCounterOverflow { .. }
        | Error::AliasReplayLimitExceeded { .. }
        | Error::AliasExpansionLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. }
        | Error::RecursiveReferencesRequireWeakTypes { .. } => "deploy.alias_budget",
        Error::Budget { .. } => "deploy.too_large",
        Error::DuplicateMappingKey { .. } => "deploy.duplicate_key",
        _ => "deploy.bad_yaml",
    };
    let message = match code {
        "deploy.alias_budget" => {
            format!("aliases add more than {MAX_REPLAYED} nodes, or go in circles")
        }
        "deploy.too_deep" => format!("nested deeper than {MAX_DEPTH}"),
        "deploy.too_large" => format!("more than {MAX_NODES} nodes or {MAX_OBJECTS} documents"),
        // The parser's text ends with the place and may go over several lines;
        // the place is in front of ours.
        _ => {
            let text = error.to_string();
            let text = text.lines().next().unwrap_or_default();
            let text = text.rsplit_once(" at line ").map_or(text, |(message, _)| message);
            // Advice for who calls the parser, not for who writes the text.
            text.split_once(", set ").map_or(text, |(message, _)| message).to_owned()
        }
    };
    ManifestError::Text {
        code,
        origin: Origin {
            file: file.to_owned(),
            line: location.map_or(1, |location| location.line().max(1)),
        },
        column: location.map_or(1, |location| location.column().max(1)),
        message,
    }
}

/// The objects of one document: none of an empty one, many of a `List`.
fn items(document: Value) -> Vec<Value> {
    match document {
        Value::Null => Vec::new(),
        Value::Object(mut map)
            if map.get("apiVersion") == Some(&Value::from("v1"))
                && map.get("kind").and_then(Value::as_str).is_some_and(|k| k.ends_with("List"))
                && map.get("items").is_some_and(Value::is_array) =>
        {
            match map.remove("items") {
                Some(Value::Array(items)) => items,
                _ => Vec::new(),
            }
        }
        other => vec![other],
    }
}

fn identify(value: &Value) -> Result<ObjectId, (&'static str, String)> {
    if !value.is_object() {
        return Err(("deploy.not_an_object", "this is not a Kubernetes object".to_owned()));
    }
    let text = |pointer: &str| match value.pointer(pointer) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        // `off`, `no` and `0x10` are no text in YAML 1.1.
        Some(other) => {
            let field = pointer[1..].replace('/', ".");
            let is = match other {
                Value::Bool(value) => format!("it is the boolean {value}: put it in quotes"),
                Value::Number(value) => format!("it is the number {value}: put it in quotes"),
                _ => "it is a list or a mapping".to_owned(),
            };
            Err(("deploy.not_an_object", format!("`{field}` has to be text, {is}")))
        }
    };
    let required = |pointer: &str| {
        text(pointer)?.filter(|text| !text.is_empty()).ok_or_else(|| {
            let field = pointer[1..].replace('/', ".");
            ("deploy.not_an_object", format!("a Kubernetes object needs `{field}`"))
        })
    };
    let api_version = required("/apiVersion")?;
    let kind = required("/kind")?;
    let name = match text("/metadata/name")? {
        None if text("/metadata/generateName")?.is_some() => {
            return Err((
                "deploy.not_an_object",
                "`metadata.generateName` cannot be applied: give the object a `metadata.name`"
                    .to_owned(),
            ));
        }
        _ => required("/metadata/name")?,
    };
    let namespace = text("/metadata/namespace")?.filter(|text| !text.is_empty());
    let parts = [
        ("apiVersion", Some(&api_version)),
        ("kind", Some(&kind)),
        ("metadata.name", Some(&name)),
        ("metadata.namespace", namespace.as_ref()),
    ];
    for (field, text) in parts {
        if let Some(text) = text.filter(|text| !is_safe(field, text)) {
            let shown: String = text.chars().take(80).flat_map(char::escape_default).collect();
            return Err(("deploy.bad_name", format!("`{shown}` is not allowed as `{field}`")));
        }
    }
    Ok(ObjectId { api_version, kind, namespace, name })
}

/// Whether `text` can stand in a path of the API. The API server has stricter
/// rules of its own for each kind; these keep a name from being something else.
fn is_safe(field: &str, text: &str) -> bool {
    let plain = |c: char| c.is_ascii_graphic() && !"/%?#\\".contains(c);
    let characters = match field {
        "apiVersion" => {
            text.split('/').count() <= 2
                && text.split('/').all(|part| {
                    let mut characters = part.chars();
                    !part.is_empty()
                        && characters.all(|c| c.is_ascii_alphanumeric() || ".-".contains(c))
                })
        }
        _ => text.chars().all(plain),
    };
    characters && text.len() <= 253 && text != "." && text != ".."
}

#[cfg(test)]
mod tests;
