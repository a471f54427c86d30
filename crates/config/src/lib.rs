//! `seatrial.yaml`, `seatrial.lock` and settings: parse, check, resolve.
//!
//! Three passes with a type each: bytes to a tree with places ([`tree`]), tree
//! to sections as they are written ([`mod@file`]), sections to a checked
//! [`Pipeline`] ([`check`]). Each pass goes on after a mistake, so that all are
//! reported at once. The crate reads no file but in [`find()`], prints nothing,
//! and knows which versions and tools there are only from its caller.
//!
//! ```
//! use seatrial_config::{Known, Style, load, render};
//!
//! let known = Known { kubernetes: &["1.37"], tools: &["go"], images: None };
//! let text = "seatrial: 1\nbuilds: { server: { run: make, output: [x] } }\n";
//! let mistakes = load(text.as_bytes(), "seatrial.yaml", &known).unwrap_err();
//! assert_eq!(mistakes[0].code.as_str(), "config.unknown_field");
//! assert!(render(&mistakes, Style::Narrow).contains("did you mean `outputs`?"));
//! ```

mod check;
mod diagnostic;
mod dockerfile;
mod file;
mod find;
mod init;
mod lock;
mod params;
mod read;
mod reference;
mod settings;
mod source;
mod tree;
mod value;

use std::collections::{BTreeMap, BTreeSet};

use seatrial_core::digest::Digest;
use seatrial_core::name::Name;
use seatrial_core::pipeline::Pipeline;

pub use diagnostic::{Code, Diagnostic, Place, Severity, Style, failure, render};
pub use find::{FILE_NAME, find};
pub use init::template;
pub use lock::{Difference, LOCK_NAME, Lock, LockedTool};
pub use params::resolve_params;
pub use reference::{reference, schema};
pub use settings::Settings;

use check::Checked;
use diagnostic::Problems;
use read::{Read, Reader};
use source::{LARGEST, Source, Span};

/// What a pipeline can ask for, which this crate does not know by itself.
#[derive(Debug, Clone, Copy)]
pub struct Known<'a> {
    /// Minor versions of Kubernetes, the newest first.
    pub kubernetes: &'a [&'a str],
    /// Tools; another one gives a warning. Empty: no warnings.
    pub tools: &'a [&'a str],
    /// Digests of base images by name and tag, as the lock file has them.
    /// `None`: tags stand for nothing yet, and no image can be made.
    pub images: Option<&'a BTreeMap<String, Digest>>,
}

/// The content of a file of the project; nothing when there is none.
pub type FileContent = Result<Option<Vec<u8>>, Diagnostic>;

/// A pipeline that can be used, and what is likely not meant in it.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// What the file says.
    pub pipeline: Pipeline,
    /// Each of [`Severity::Warning`].
    pub warnings: Vec<Diagnostic>,
    /// Base images that it names by tag: `docker.io/library/alpine:3.22`.
    pub tags: BTreeSet<String>,
    /// Dockerfiles that images name, which have yet to be read.
    dockerfiles: BTreeMap<Name, dockerfile::Named>,
}

impl Loaded {
    /// Reads the Dockerfiles that images of the pipeline name, and the
    /// `.dockerignore` that goes with each, by `read`: it gives the content of
    /// a file of the project, and nothing when there is none.
    ///
    /// # Errors
    /// All mistakes in them; what `read` says of a file that it cannot give.
    pub fn read_dockerfiles(
        mut self,
        known: &Known<'_>,
        read: &dyn Fn(&str) -> FileContent,
    ) -> Result<Self, Vec<Diagnostic>> {
        let mut mistakes = Vec::new();
        for (name, named) in std::mem::take(&mut self.dockerfiles) {
            match dockerfile::load(&named, known, read) {
                Ok((content, warnings)) => {
                    self.warnings.extend(warnings);
                    if let Some(image) = self.pipeline.images.get_mut(&name) {
                        let dockerfile::Content { base, files, config, tags } = content;
                        self.tags.extend(tags);
                        (image.base, image.files, image.config) = (base, files, config);
                    }
                }
                Err(wrong) => mistakes.extend(wrong),
            }
        }
        if mistakes.is_empty() { Ok(self) } else { Err(mistakes) }
    }
}

/// Reads the content of a pipeline file. `origin` names the file in
/// diagnostics.
///
/// # Errors
/// All mistakes, in the order of the file, warnings among them. Mistakes of
/// form (text, YAML, limits) hide the rest.
pub fn load(text: &[u8], origin: &str, known: &Known<'_>) -> Result<Loaded, Vec<Diagnostic>> {
    let (Checked { pipeline, dockerfiles, tags }, warnings) =
        with_text(text, origin, |text, problems| read(text, problems, known))?;
    Ok(Loaded { pipeline, warnings, tags, dockerfiles })
}

/// Reads settings of a machine or a user. `origin` names the file in
/// diagnostics.
///
/// # Errors
/// All mistakes, as [`load`] has them.
pub fn load_settings(text: &[u8], origin: &str) -> Result<Settings, Vec<Diagnostic>> {
    let known = Known { kubernetes: &[], tools: &[], images: None };
    let (settings, _) = with_text(text, origin, |text, problems| {
        let Some(tree) = tree::parse(text, problems) else { return Some(Settings::default()) };
        let file = settings::SettingsFile::read(&tree, &mut Reader::new(problems, &known))?;
        Some(file.settings())
    })?;
    Ok(settings)
}

/// Reads the text of a file and what is in it, with what is odd about it.
fn with_text<T>(
    text: &[u8],
    origin: &str,
    read: impl FnOnce(&str, &mut Problems) -> Option<T>,
) -> Result<(T, Vec<Diagnostic>), Vec<Diagnostic>> {
    if text.len() > LARGEST {
        let message = format!("{origin} is larger than 1 MiB");
        let large = Diagnostic::new(Code::TooLarge, message);
        return Err(vec![large.hint(
            "a pipeline file describes a build: what is generated or data belongs beside it",
        )]);
    }
    let decoded = String::from_utf8_lossy(text);
    let mut problems = Problems::new(Source::new(origin, &decoded));
    if let Err(error) = std::str::from_utf8(text) {
        let at = error.valid_up_to();
        let bad = Diagnostic::new(Code::BadText, "these bytes are not UTF-8");
        problems.push(Span::new(at, at + 1), bad.hint("save the file as UTF-8"));
        return Err(problems.finish());
    }
    let found = read(&decoded, &mut problems);
    match (found, problems.has_errors()) {
        (Some(found), false) => Ok((found, problems.finish())),
        _ => Err(problems.finish()),
    }
}

fn read(text: &str, problems: &mut Problems, known: &Known<'_>) -> Option<Checked> {
    let Some(tree) = tree::parse(text, problems) else {
        if !problems.has_errors() {
            let empty = Diagnostic::new(Code::MissingField, "the file is empty");
            let hint = "`seatrial init` writes one to start from";
            problems.push(Span::default(), empty.hint(hint));
        }
        return None;
    };
    let mut reader = Reader::new(problems, known);
    let file = file::File::read(&tree, &mut reader)?;
    // What another version of the format means is not to be judged by the
    // rules of this one.
    file.seatrial.get()?;
    Some(check::check(file, &mut reader))
}
