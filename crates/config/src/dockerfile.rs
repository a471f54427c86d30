//! Dockerfiles that put files together and run nothing, as images of a
//! pipeline. Docker's reference of the format is followed where it is read, and
//! what is not read is refused: an image is never another one than Docker's.
//!
//! Pure. A stage whose name is that of a build of the image's `builds` is that
//! build, as with `docker build --build-context`; what it says is not looked at.

use std::collections::{BTreeMap, BTreeSet};

use seatrial_core::name::Name;
use seatrial_core::pipeline::{Base, ImageConfig, ImageFile};

use crate::check::not_locked;
use crate::diagnostic::{Code, Diagnostic, Problems, nearest, quote};
use crate::file::BaseValue;
use crate::read::FromText as _;
use crate::source::Span;
use crate::value::{Absolute, Port};
use crate::{FileContent, Known, with_text};

mod copy;
mod lines;
mod words;

use lines::{Line, lines};
use words::{Variables, Word, words};

/// Most instructions of a file, and most files of an image that they name.
const MOST: usize = 2000;

/// Arguments that Docker sets by itself.
const PREDEFINED: &[&str] = &[
    "TARGETPLATFORM",
    "TARGETOS",
    "TARGETARCH",
    "TARGETVARIANT",
    "BUILDPLATFORM",
    "BUILDOS",
    "BUILDARCH",
    "BUILDVARIANT",
];

/// What an image that names a Dockerfile says besides.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Named {
    /// The path in the project.
    pub(crate) path: String,
    /// Values of its `ARG`s.
    pub(crate) args: BTreeMap<String, String>,
    /// Builds that it may copy from.
    pub(crate) builds: BTreeSet<Name>,
}

/// What the last stage of a Dockerfile comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) base: Base,
    pub(crate) files: Vec<ImageFile>,
    pub(crate) config: ImageConfig,
    /// Base images that it names by tag.
    pub(crate) tags: BTreeSet<String>,
}

/// What a Dockerfile comes to with its `.dockerignore`, and what is odd about
/// it.
pub(crate) fn load(
    named: &Named,
    known: &Known<'_>,
    files: &dyn Fn(&str) -> FileContent,
) -> Result<(Content, Vec<Diagnostic>), Vec<Diagnostic>> {
    let get = |path: &str| files(path).map_err(|diagnostic| vec![diagnostic]);
    let text = get(&named.path)?.ok_or_else(|| {
        let message = format!("there is no file {} in the project", quote(&named.path));
        vec![Diagnostic::new(Code::NotFound, message)]
    })?;
    let mut ignored = Vec::new();
    // The more special one counts, as with Docker.
    for path in [format!("{}.dockerignore", named.path), ".dockerignore".to_owned()] {
        if let Some(text) = get(&path)? {
            let read = |text: &str, problems: &mut _| Some(read_ignored(text, problems));
            ignored = with_text(&text, &path, read)?.0;
            break;
        }
    }
    with_text(&text, &named.path, |text, problems| read(text, named, known, &ignored, problems))
}

/// Reads a Dockerfile. `ignored` are patterns of files that it does not see.
fn read(
    text: &str,
    named: &Named,
    known: &Known<'_>,
    ignored: &[String],
    problems: &mut Problems,
) -> Option<Content> {
    let (lines, escape) = lines(text);
    if lines.len() > MOST {
        let message = format!("there are {} instructions, at most {MOST} are read", lines.len());
        problems.push(lines[MOST].span, Diagnostic::new(Code::TooLarge, message));
        return None;
    }
    let mut reader =
        Reader { named, known, ignored, escape, global: named.args.clone(), stages: Vec::new() };
    for line in &lines {
        if let Err((span, diagnostic)) = reader.line(line) {
            match reader.stages.last_mut() {
                Some(stage) => stage.wrong.push((span, diagnostic)),
                None => problems.push(span, diagnostic),
            }
        }
    }
    reader.finish(problems)
}

/// Reads a `.dockerignore`: patterns of what is left out.
fn read_ignored(text: &str, problems: &mut Problems) -> Vec<String> {
    let mut patterns = Vec::new();
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let span = Span::new(at, at + line.trim_end().len());
        at += line.len();
        let pattern = line.trim();
        if pattern.is_empty() || pattern.starts_with('#') {
            continue;
        }
        if pattern.starts_with('!') {
            let message =
                format!("{} takes files in again, which is not available yet", quote(pattern));
            let bad = Diagnostic::new(Code::NotAvailableYet, message);
            problems.push(span, bad.hint("write patterns of just what is left out"));
            continue;
        }
        let pattern = pattern.trim_start_matches("./").trim_matches('/');
        if pattern.is_empty() || crate::value::leaves(pattern) {
            let message = format!("{} is no pattern of files of the project", quote(pattern));
            problems.push(span, Diagnostic::new(Code::BadPattern, message));
            continue;
        }
        // A directory is left out with all that is in it.
        patterns.extend([pattern.to_owned(), format!("{}/**", pattern.trim_end_matches("/**"))]);
    }
    patterns
}

type Wrong = (Span, Diagnostic);

#[derive(Default)]
struct Stage {
    name: String,
    /// Of a build: what it says is not looked at.
    replaced: bool,
    base: Option<Base>,
    /// The base as it is written, where that is a tag.
    tag: Option<String>,
    files: Vec<ImageFile>,
    config: ImageConfig,
    /// Directories that it is known to have.
    directories: BTreeSet<String>,
    shell: Option<Vec<String>>,
    /// Whether it has a `CMD` of its own.
    has_cmd: bool,
    /// Variables of `ARG` and `ENV`.
    variables: BTreeMap<String, String>,
    /// Stages that it needs.
    needs: Vec<usize>,
    wrong: Vec<Wrong>,
}

struct Reader<'a> {
    named: &'a Named,
    known: &'a Known<'a>,
    ignored: &'a [String],
    escape: char,
    /// Variables of `ARG` before the first stage.
    global: BTreeMap<String, String>,
    stages: Vec<Stage>,
}

fn wrong<T>(span: Span, code: Code, message: impl Into<String>, hint: &str) -> Result<T, Wrong> {
    let diagnostic = Diagnostic::new(code, message);
    Err((span, if hint.is_empty() { diagnostic } else { diagnostic.hint(hint) }))
}

impl Reader<'_> {
    fn finish(mut self, problems: &mut Problems) -> Option<Content> {
        let Some(last) = self.stages.len().checked_sub(1) else {
            let message = "there is no `FROM`";
            if !problems.has_errors() {
                problems.push(Span::default(), Diagnostic::new(Code::MissingField, message));
            }
            return None;
        };
        // What no image comes from is not looked at, as Docker does not either.
        let mut needed = BTreeSet::from([last]);
        for at in (0..=last).rev() {
            if needed.contains(&at) {
                needed.extend(&self.stages[at].needs);
            }
        }
        let mut tags = BTreeSet::new();
        for at in needed {
            tags.extend(self.stages[at].tag.take());
            for (span, diagnostic) in std::mem::take(&mut self.stages[at].wrong) {
                problems.push(span, diagnostic);
            }
        }
        let Stage { base, files, config, .. } = self.stages.pop()?;
        Some(Content { base: base?, files, config, tags })
    }

    fn line(&mut self, line: &Line) -> Result<(), Wrong> {
        let early = self.stages.is_empty() && !matches!(line.keyword.as_str(), "FROM" | "ARG");
        if early {
            return wrong(line.span, Code::BadValue, "a Dockerfile begins with `FROM`", "");
        }
        if line.keyword == "FROM" {
            return self.from(line);
        }
        if self.stages.last().is_some_and(|stage| stage.replaced) {
            return Ok(());
        }
        if line.text.contains("<<") && matches!(line.keyword.as_str(), "COPY" | "ADD" | "RUN") {
            let hint = "write the file into the project, or make it in a build";
            return wrong(line.span, Code::NotAvailableYet, "a here-document is not read", hint);
        }
        match line.keyword.as_str() {
            "ARG" => self.arg(line),
            "COPY" | "ADD" => self.copy(line),
            "ENV" => {
                for (name, value) in self.pairs(line)? {
                    let stage = self.stage();
                    stage.variables.insert(name.clone(), value.clone());
                    stage.config.env.insert(name, value);
                }
                Ok(())
            }
            "LABEL" => {
                let pairs = self.pairs(line)?;
                self.stage().config.labels.extend(pairs);
                Ok(())
            }
            "WORKDIR" => {
                let word = self.whole(line)?;
                let dir = self.place(&word.text, line.place(word.start, word.end))?;
                self.stage().directories.insert(dir.clone());
                self.stage().config.workdir = Some(dir);
                Ok(())
            }
            "USER" => {
                let word = self.whole(line)?;
                self.stage().config.user = Some(word.text);
                Ok(())
            }
            "STOPSIGNAL" => {
                let word = self.whole(line)?;
                self.stage().config.stop_signal = Some(word.text);
                Ok(())
            }
            "EXPOSE" => {
                let known = self.known;
                for word in self.words(line)? {
                    let port = Port::from_text(&word.text, known)
                        .map_err(|diagnostic| (line.place(word.start, word.end), diagnostic))?;
                    let ports = &mut self.stage().config.ports;
                    if !ports.contains(&port.0) {
                        ports.push(port.0);
                    }
                }
                Ok(())
            }
            "VOLUME" => {
                let places = match self.list(line)? {
                    Some(places) => places,
                    None => self.words(line)?.into_iter().map(|word| word.text).collect(),
                };
                self.stage().directories.extend(places.iter().cloned());
                self.stage().config.volumes.extend(places);
                Ok(())
            }
            "SHELL" => {
                let shell = self.list(line)?;
                if shell.as_ref().is_none_or(Vec::is_empty) {
                    return wrong(line.span, Code::WrongType, "`SHELL` takes a list", "");
                }
                self.stage().shell = shell;
                Ok(())
            }
            "ENTRYPOINT" => {
                let argv = self.argv(line)?;
                let stage = self.stage();
                stage.config.entrypoint = argv;
                // Arguments of the program before are none of this one.
                if !stage.has_cmd {
                    stage.config.cmd.clear();
                }
                Ok(())
            }
            "CMD" => {
                let argv = self.argv(line)?;
                let stage = self.stage();
                stage.config.cmd = argv;
                stage.has_cmd = true;
                Ok(())
            }
            // Kubernetes has probes, and the author is nothing of an image.
            "HEALTHCHECK" | "MAINTAINER" => {
                let message = format!("`{}` has no effect in Kubernetes", line.keyword);
                Err((line.span, Diagnostic::warning(Code::Unused, message)))
            }
            "RUN" => {
                let hint = "make it a build of seatrial.yaml, name that in `builds` of the image, and take its output: `COPY --from=NAME`";
                wrong(
                    line.span,
                    Code::NotAvailableYet,
                    "`RUN` is not carried out: images are put together here, commands run in builds",
                    hint,
                )
            }
            "ONBUILD" => {
                let hint = "leave it out: it is for images that are built on this one";
                wrong(line.span, Code::NotAvailableYet, "`ONBUILD` is not carried out", hint)
            }
            other => {
                const WORDS: &[&str] = &[
                    "FROM",
                    "ARG",
                    "COPY",
                    "ADD",
                    "ENV",
                    "LABEL",
                    "WORKDIR",
                    "USER",
                    "STOPSIGNAL",
                    "EXPOSE",
                    "VOLUME",
                    "SHELL",
                    "ENTRYPOINT",
                    "CMD",
                    "RUN",
                ];
                let message = format!("there is no instruction {}", quote(other));
                let unknown = Diagnostic::new(Code::UnknownField, message);
                Err((line.span, unknown.nearest(nearest(other, WORDS.iter().copied()))))
            }
        }
    }

    fn stage(&mut self) -> &mut Stage {
        self.stages.last_mut().expect("`line` looked for one")
    }

    fn from(&mut self, line: &Line) -> Result<(), Wrong> {
        let read = self.split(line, &self.global, false);
        self.stages.push(Stage::default());
        let words = read?;
        let (base, name) = match words.as_slice() {
            [base] => (base, None),
            [base, word, name] if word.text.eq_ignore_ascii_case("as") => (base, Some(name)),
            [flag, ..] if flag.text.starts_with("--") => {
                let span = line.place(flag.start, flag.end);
                let hint = "images are for the platform of this machine";
                return wrong(span, Code::NotAvailableYet, "`FROM` has no options here", hint);
            }
            _ => {
                return wrong(
                    line.span,
                    Code::BadValue,
                    "write `FROM image` or `FROM image AS name`",
                    "",
                );
            }
        };
        let name = name.map(|name| name.text.to_ascii_lowercase()).unwrap_or_default();
        let found = self.find_stage(&base.text).filter(|at| at + 1 < self.stages.len());
        let replaced = self.build(&name).is_some();
        let stage = match found {
            _ if replaced => Stage { replaced, ..Stage::default() },
            Some(at) if self.stages[at].replaced => {
                let message =
                    format!("the stage {} is a build, which is no image", quote(&base.text));
                return wrong(line.place(base.start, base.end), Code::BadValue, message, "");
            }
            Some(at) => {
                let of = &self.stages[at];
                Stage {
                    base: of.base.clone(),
                    files: of.files.clone(),
                    config: of.config.clone(),
                    directories: of.directories.clone(),
                    shell: of.shell.clone(),
                    variables: of.config.env.clone(),
                    needs: vec![at],
                    ..Stage::default()
                }
            }
            None => {
                let mut tag = None;
                let read = crate::file::base(&base.text, self.known);
                let base = match read {
                    Ok(BaseValue::Registry { name, digest }) => Ok(Base::Registry { name, digest }),
                    Ok(BaseValue::Tag { name, digest, .. }) => {
                        tag = Some(base.text.clone());
                        let unknown = || (line.place(base.start, base.end), not_locked(&base.text));
                        digest.map(|digest| Base::Registry { name, digest }).ok_or_else(unknown)
                    }
                    Ok(_) => Ok(Base::Scratch),
                    Err(mut diagnostic) => {
                        // How another image is named in seatrial.yaml is no help here.
                        diagnostic.hints.truncate(1);
                        Err((line.place(base.start, base.end), diagnostic))
                    }
                };
                // Known by its name all the same, for what comes from it.
                self.stage().name.clone_from(&name);
                Stage { base: Some(base?), tag, ..Stage::default() }
            }
        };
        *self.stage() = Stage { name, ..stage };
        Ok(())
    }

    fn find_stage(&self, name: &str) -> Option<usize> {
        let name = name.to_ascii_lowercase();
        let number = name.parse::<usize>().ok().filter(|at| *at < self.stages.len());
        let named = self.stages.iter().rposition(|stage| !name.is_empty() && stage.name == name);
        named.or(number)
    }

    fn build(&self, name: &str) -> Option<Name> {
        self.named.builds.iter().find(|build| build.as_str() == name).cloned()
    }

    fn arg(&mut self, line: &Line) -> Result<(), Wrong> {
        for word in self.words(line)? {
            let (name, default) = match word.text.split_once('=') {
                Some((name, default)) => (name, Some(default.to_owned())),
                None => (word.text.as_str(), None),
            };
            let given = self.named.args.get(name).cloned();
            if given.is_none() && default.is_none() && PREDEFINED.contains(&name) {
                let hint = format!("say what it is in `args` of the image: `{name}: ...`");
                let message = format!("{} is not set here", quote(name));
                return wrong(
                    line.place(word.start, word.end),
                    Code::NotAvailableYet,
                    message,
                    &hint,
                );
            }
            let global = &mut self.global;
            match self.stages.last_mut() {
                None => {
                    let value = given.or(default).unwrap_or_default();
                    global.insert(name.to_owned(), value);
                }
                // `ENV` has the last word.
                Some(stage) if stage.config.env.contains_key(name) => {}
                Some(stage) => {
                    let value = given.or(default).or_else(|| global.get(name).cloned());
                    stage.variables.insert(name.to_owned(), value.unwrap_or_default());
                }
            }
        }
        Ok(())
    }

    /// A place in the image, below the working directory when it is relative.
    fn place(&mut self, path: &str, span: Span) -> Result<String, Wrong> {
        let stage = self.stage();
        let workdir = match (&stage.config.workdir, &stage.base) {
            (Some(dir), _) => dir.clone(),
            (None, Some(Base::Scratch)) => "/".to_owned(),
            (None, _) if path.starts_with('/') => "/".to_owned(),
            (None, _) => {
                let message = "the working directory of the base is not known here";
                return wrong(
                    span,
                    Code::BadPath,
                    message,
                    "begin it with `/`, or write `WORKDIR` before",
                );
            }
        };
        let path = if path.starts_with('/') { path.to_owned() } else { join(&workdir, path) };
        let place =
            Absolute::from_text(&path, self.known).map_err(|diagnostic| (span, diagnostic))?;
        Ok(place.0)
    }

    fn words(&self, line: &Line) -> Result<Vec<Word>, Wrong> {
        self.split(line, self.variables(), false)
    }

    /// All of an instruction as one word, which must be there.
    fn whole(&self, line: &Line) -> Result<Word, Wrong> {
        let word = self.split(line, self.variables(), true)?.pop();
        word.map_or_else(|| self.nothing(line), Ok)
    }

    fn variables(&self) -> &BTreeMap<String, String> {
        self.stages.last().map_or(&self.global, |stage| &stage.variables)
    }

    fn split(
        &self,
        line: &Line,
        known: &BTreeMap<String, String>,
        whole: bool,
    ) -> Result<Vec<Word>, Wrong> {
        let base = self.stages.last().and_then(|stage| stage.base.as_ref());
        let others = line.keyword != "FROM" && matches!(base, Some(Base::Registry { .. }));
        let variables = Variables { known, others, escape: self.escape };
        let words = words(&line.text, &variables, whole).map_err(|wrong| {
            let span = line.place(wrong.start, wrong.end);
            (span, Diagnostic::new(Code::BadValue, wrong.message))
        })?;
        if words.is_empty() { self.nothing(line) } else { Ok(words) }
    }

    fn nothing<T>(&self, line: &Line) -> Result<T, Wrong> {
        let message = format!("there is nothing behind `{}`", line.keyword);
        wrong(line.span, Code::MissingField, message, "")
    }

    /// `NAME=value ...`, or the old form, `NAME value`.
    fn pairs(&self, line: &Line) -> Result<Vec<(String, String)>, Wrong> {
        let words = self.words(line)?;
        if !words[0].text.contains('=') {
            let name = words[0].text.clone();
            let Some(second) = words.get(1) else {
                let message = format!("{} has no value", quote(&name));
                return wrong(line.span, Code::BadValue, message, "write `NAME=value`");
            };
            let value: Vec<_> = words[1..].iter().map(|word| word.text.as_str()).collect();
            // Spaces between words count in it.
            let text = line.text[second.start..].to_owned();
            let plain = !text.contains(['"', '\'', '$', self.escape]);
            return Ok(vec![(name, if plain { text } else { value.join(" ") })]);
        }
        let pair = |word: &Word| match word.text.split_once('=') {
            Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
            _ => {
                let message = format!("{} has no value", quote(&word.text));
                wrong(
                    line.place(word.start, word.end),
                    Code::BadValue,
                    message,
                    "write `NAME=value`",
                )
            }
        };
        words.iter().map(pair).collect()
    }

    /// A JSON list, where it is one.
    fn list(&self, line: &Line) -> Result<Option<Vec<String>>, Wrong> {
        if !line.text.starts_with('[') {
            return Ok(None);
        }
        match serde_json::from_str(&line.text) {
            Ok(list) => Ok(Some(list)),
            Err(_) => {
                let message = "this is no list of texts in JSON";
                wrong(line.place(0, line.text.len()), Code::WrongType, message, "quote with `\"`")
            }
        }
    }

    /// The same as words.
    fn list_of(&self, line: &Line) -> Result<Option<Vec<Word>>, Wrong> {
        let end = line.text.len();
        let word = |text| Word { text, start: 0, end };
        Ok(self.list(line)?.map(|list| list.into_iter().map(word).collect()))
    }

    /// A program and its arguments: a list, or a line for the shell.
    fn argv(&mut self, line: &Line) -> Result<Vec<String>, Wrong> {
        if line.text.is_empty() {
            return self.nothing(line);
        }
        if let Some(list) = self.list(line)? {
            if list.is_empty() {
                let message = "an empty list is not read";
                return wrong(line.span, Code::NotAvailableYet, message, "leave it out");
            }
            return Ok(list);
        }
        let shell = self.stage().shell.clone();
        let shell = shell.unwrap_or_else(|| vec!["/bin/sh".to_owned(), "-c".to_owned()]);
        Ok([shell, vec![line.text.clone()]].concat())
    }
}

fn join(above: &str, below: &str) -> String {
    match (above.trim_end_matches('/'), below) {
        (above, "") => above.to_owned(),
        (above, below) => format!("{above}/{below}"),
    }
}

#[cfg(test)]
mod tests;
