//! `COPY` and `ADD`: files of the project, of builds and of other stages.

use seatrial_core::name::Name;
use seatrial_core::pipeline::{Base, FileSource, ImageFile};

use super::lines::Line;
use super::{MOST, Reader, Wrong, join, wrong};
use crate::Known;
use crate::diagnostic::{Code, Diagnostic, listed, nearest, quote};
use crate::read::FromText as _;
use crate::source::Span;
use crate::value::Relative;

impl Reader<'_> {
    pub(super) fn copy(&mut self, line: &Line) -> Result<(), Wrong> {
        let (mut from, mut owner, mut mode) = (None, None, None);
        let list = self.list_of(line)?;
        let words = match list {
            Some(words) => words,
            None => self.words(line)?,
        };
        let mut rest = words.as_slice();
        while let [word, after @ ..] = rest
            && word.text.starts_with("--")
        {
            rest = after;
            let span = line.place(word.start, word.end);
            let (flag, value) = word.text.split_once('=').unwrap_or((&word.text, ""));
            match flag {
                "--from" if line.keyword == "COPY" => from = Some((value.to_owned(), span)),
                "--chown" => owner = Some(numbers(value, span)?),
                "--chmod" => match u32::from_str_radix(value, 8) {
                    Ok(bits) if bits <= 0o7777 => mode = Some(bits),
                    _ => {
                        let hint = "octal bits such as `--chmod=0755`";
                        return wrong(
                            span,
                            Code::BadValue,
                            format!("{} are no permissions", quote(value)),
                            hint,
                        );
                    }
                },
                // It is about how Docker keeps layers.
                "--link" => {}
                _ => {
                    let message = format!("the option {} is not read", quote(flag));
                    return wrong(span, Code::NotAvailableYet, message, "");
                }
            }
        }
        let Some((to, sources)) = rest.split_last().filter(|(_, sources)| !sources.is_empty())
        else {
            let message = format!("`{}` takes what is copied, and where to", line.keyword);
            return wrong(line.span, Code::BadValue, message, "");
        };
        let to_span = line.place(to.start, to.end);
        let into = to.text.ends_with('/') || to.text == "." || to.text.ends_with("/.");
        if !into && sources.len() > 1 {
            let hint = "end it with `/`: it is a directory";
            return wrong(to_span, Code::BadPath, "several files cannot become one", hint);
        }
        let mut place = self.place(&to.text, to_span)?;
        let within = format!("{}/", place.trim_end_matches('/'));
        let known = |dir: &String| *dir == place || dir.starts_with(&within);
        if into && place != "/" {
            self.stage().directories.insert(place.clone());
            place.push('/');
        } else if !into && self.stage().directories.iter().any(known) {
            let hint = format!("write {} when the file is to be in it", quote(&within));
            return wrong(to_span, Code::BadPath, "this is a directory of the image", &hint);
        } else if !into && self.stage().base != Some(Base::Scratch) && is_usual_directory(&place) {
            let hint = format!("write {} when it is a directory", quote(&format!("{place}/")));
            let message = "whether this is a directory of the base is not known here";
            return wrong(to_span, Code::BadPath, message, &hint);
        }
        for source in sources {
            let span = line.place(source.start, source.end);
            if !into && is_glob(&source.text) {
                let hint = "end it with `/`: it is a directory";
                return wrong(
                    to_span,
                    Code::BadPath,
                    "what a pattern matches is no one file",
                    hint,
                );
            }
            if line.keyword == "ADD" {
                refuse_add(&source.text, span)?;
            }
            let found = match &from {
                None => self.of_project(&source.text, span)?,
                Some((name, name_span)) => self.of_stage(name, *name_span, &source.text, span)?,
            };
            for (mut file, below) in found {
                file.to = if below.is_empty() { place.clone() } else { join(&place, &below) };
                file.mode = mode.or(file.mode);
                file.owner = owner.or(file.owner);
                let files = &mut self.stage().files;
                if files.len() >= MOST {
                    let message = format!("the image has more than {MOST} sources of files");
                    return wrong(line.span, Code::TooLarge, message, "");
                }
                files.push(file);
            }
        }
        Ok(())
    }

    /// Files of the project, without a place in the image.
    fn of_project(&self, path: &str, span: Span) -> Result<Vec<(ImageFile, String)>, Wrong> {
        let pattern = relative(path, span)?;
        let (dir, last) = pattern.rsplit_once('/').unwrap_or(("", &pattern));
        // What ends with a suffix is hardly a directory.
        let suffix = last.rsplit_once('.').map(|(_, suffix)| suffix);
        let is_of_files = suffix.is_some_and(|suffix| !suffix.is_empty() && !is_glob(suffix));
        if is_glob(dir) || (is_glob(last) && !is_of_files) {
            let hint = "name the directory, or files by a pattern such as `dir/*.conf`";
            let message =
                format!("{} may match directories, whose content Docker would mix", quote(path));
            return wrong(span, Code::NotAvailableYet, message, hint);
        }
        let path = if is_glob(last) { dir.to_owned() } else { pattern.clone() };
        let ignored = self.ignored.iter().map(|pattern| format!("!{pattern}"));
        let patterns = match pattern.as_str() {
            "" => ignored.collect(),
            _ => [pattern.clone()].into_iter().chain(ignored).collect(),
        };
        Ok(vec![(file(None, path, patterns), String::new())])
    }

    /// Files of a build or of another stage, with where they are below what was
    /// named.
    fn of_stage(
        &mut self,
        name: &str,
        name_span: Span,
        path: &str,
        span: Span,
    ) -> Result<Vec<(ImageFile, String)>, Wrong> {
        let wanted = relative(path, span)?;
        if wanted.contains(['*', '?', '[']) {
            let hint = "name the file or the directory";
            return wrong(
                span,
                Code::NotAvailableYet,
                "patterns are for files of the project",
                hint,
            );
        }
        if let Some(build) = self.build(name) {
            return Ok(vec![(file(Some(build), wanted, Vec::new()), String::new())]);
        }
        let own = self.stages.len() - 1;
        let Some(at) = self.find_stage(name).filter(|at| *at < own) else {
            let known = self.stages[..own].iter().map(|stage| stage.name.as_str());
            let known: Vec<_> = known.filter(|name| !name.is_empty()).collect();
            let known: Vec<_> =
                known.into_iter().chain(self.named.builds.iter().map(Name::as_str)).collect();
            let message = format!("there is no stage or build {}", quote(name));
            let unknown = Diagnostic::new(Code::UnknownRef, message)
                .nearest(nearest(name, known.iter().copied()))
                .hint(match known.is_empty() {
                    true => "name a build in `builds` of the image".to_owned(),
                    false => format!(
                        "there are {}; a build is named in `builds` of the image",
                        listed(known)
                    ),
                });
            return Err((name_span, unknown));
        };
        self.stage().needs.push(at);
        let stage = &self.stages[at];
        let mut found = Vec::new();
        for file in &stage.files {
            let to = file.to.trim_start_matches('/');
            let open = to.is_empty() || to.ends_with('/');
            let to = to.trim_end_matches('/');
            let within = |path: &str, above: &str| match above {
                "" => Some(path.to_owned()),
                above => {
                    let rest = path.strip_prefix(above)?;
                    rest.strip_prefix('/').or(rest.is_empty().then_some("")).map(str::to_owned)
                }
            };
            if let Some(below) = within(to, &wanted) {
                // All of it, below what was named.
                let below = if open && !below.is_empty() { format!("{below}/") } else { below };
                found.push((file.clone(), below));
            } else if let Some(rest) = within(&wanted, to) {
                // Of a pattern it is not known here what it matches.
                let first = file.patterns.first();
                if open || first.is_some_and(|pattern| is_glob(pattern)) {
                    let message = format!(
                        "whether {} is a file of that stage is not known here",
                        quote(path)
                    );
                    let hint = "copy it there under its whole path, not into a directory";
                    return wrong(span, Code::NotAvailableYet, message, hint);
                }
                let mut file = file.clone();
                file.from.path = join(&file.from.path, &rest).trim_start_matches('/').to_owned();
                let all = file.patterns.first().is_none_or(|pattern| pattern.starts_with('!'));
                match (&file.from.build, all) {
                    (Some(_), _) => {}
                    (None, true) => file.patterns.insert(0, file.from.path.clone()),
                    (None, false) => file.patterns[0].clone_from(&file.from.path),
                }
                found.push((file, String::new()));
            }
        }
        if found.is_empty() {
            let message = format!("the stage {} does not copy {}", quote(name), quote(path));
            let hint = match stage.base {
                Some(Base::Scratch) => "",
                _ => "files of its base image cannot be taken out here; make them in a build",
            };
            return wrong(span, Code::UnknownRef, message, hint);
        }
        Ok(found)
    }
}

fn file(build: Option<Name>, path: String, patterns: Vec<String>) -> ImageFile {
    let from = FileSource { build, path };
    ImageFile { from, patterns, to: String::new(), mode: None, owner: None }
}

/// A path of what is copied, from its root.
fn relative(path: &str, span: Span) -> Result<String, Wrong> {
    let known = Known { kubernetes: &[], tools: &[], images: None };
    let path = match path.trim_start_matches('/') {
        "" => ".",
        path => path,
    };
    let path = Relative::from_text(path, &known).map_err(|diagnostic| (span, diagnostic))?;
    Ok(path.0)
}

fn is_glob(text: &str) -> bool {
    !text.starts_with('!') && text.contains(['*', '?', '[', '{', '\\'])
}

fn numbers(text: &str, span: Span) -> Result<(u32, u32), Wrong> {
    let (user, group) = text.split_once(':').unwrap_or((text, text));
    match (user.parse(), group.parse()) {
        (Ok(user), Ok(group)) => Ok((user, group)),
        _ => {
            let message = format!("{} are no numbers of a user and group", quote(text));
            let hint = "names are known only inside an image: write `--chown=65532:65532`";
            wrong(span, Code::BadValue, message, hint)
        }
    }
}

fn refuse_add(source: &str, span: Span) -> Result<(), Wrong> {
    let remote = source.contains("://") || source.starts_with("git@");
    let archive = [".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst"];
    if remote {
        let hint = "fetch it in a build of seatrial.yaml, and `COPY --from` that";
        return wrong(span, Code::NotAvailableYet, "`ADD` fetches nothing here", hint);
    }
    if archive.iter().any(|end| source.ends_with(end)) {
        let hint = "unpack it in a build of seatrial.yaml, or `COPY` it as it is";
        return wrong(span, Code::NotAvailableYet, "`ADD` unpacks nothing here", hint);
    }
    Ok(())
}

/// Directories that most bases have: a file in their place breaks the image.
fn is_usual_directory(place: &str) -> bool {
    let parts: Vec<_> = place.trim_matches('/').split('/').collect();
    match parts.as_slice() {
        [one] => {
            "bin boot dev etc home lib lib64 media mnt opt proc root run sbin srv sys tmp usr var"
                .split(' ')
                .any(|dir| dir == *one)
        }
        ["usr" | "local", last] | ["usr", "local", last] => {
            "bin sbin lib lib64 share src etc include local".split(' ').any(|dir| dir == *last)
        }
        ["var", last] => "lib log cache tmp run spool".split(' ').any(|dir| dir == *last),
        _ => false,
    }
}
