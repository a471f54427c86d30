//! The third pass: sections to a checked pipeline.
//!
//! Resolves every name, fills in every default and reports what only shows
//! when fields are seen together. It goes on after each mistake with a value in
//! its place; the caller throws the pipeline away when there was one.

mod builds;
mod environments;
mod images;
mod suites;

use std::collections::{BTreeMap, BTreeSet};

use seatrial_core::name::Name;
use seatrial_core::pipeline::{Command, Pipeline, Resources};

pub(crate) use images::not_locked;

use crate::diagnostic::{Code, Diagnostic, listed, quote};
use crate::dockerfile::Named;
use crate::file::{File, ResourcesFile};
use crate::read::{Entry, Given, List, Map, NonEmpty, Reader, Spanned};
use crate::source::Span;
use crate::tree::Key;
use crate::value::{Glob, Run};

/// What a file says, checked.
pub(crate) struct Checked {
    pub(crate) pipeline: Pipeline,
    /// Dockerfiles that its images name: those images have yet to get what they say.
    pub(crate) dockerfiles: BTreeMap<Name, Named>,
    /// Base images that it names by tag.
    pub(crate) tags: BTreeSet<String>,
}

/// Checks a whole file.
pub(crate) fn check(file: File, reader: &mut Reader<'_>) -> Checked {
    let File { seatrial: _, params, builds, images, environments, suites } = file;
    let (params, builds, images) = (entries(params), entries(builds), entries(images));
    let (environments, suites) = (entries(environments), entries(suites));
    let mut checker = Checker {
        reader,
        names: BTreeMap::from([
            (Kind::Param, names(&params)),
            (Kind::Build, names(&builds)),
            (Kind::Image, names(&images)),
            (Kind::Environment, names(&environments)),
        ]),
        used: BTreeSet::new(),
        tags: BTreeSet::new(),
    };
    let declared: Vec<(Kind, Name, Key)> = std::iter::empty()
        .chain(params.iter().map(|e| (Kind::Param, e.name.clone(), e.key.clone())))
        .chain(builds.iter().map(|e| (Kind::Build, e.name.clone(), e.key.clone())))
        .collect();
    let params = checker.each("params", params, Checker::param);
    let builds = checker.each("builds", builds, Checker::build);
    let (images, dockerfiles) = checker.images(images);
    let pipeline = Pipeline {
        params,
        builds,
        images,
        environments: checker.environments(environments),
        suites: checker.each("suites", suites, Checker::suite),
    };
    checker.report_unused(&declared);
    Checked { pipeline, dockerfiles, tags: checker.tags }
}

/// What a name can refer to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Param,
    Build,
    Image,
    Environment,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Param => "parameter",
            Self::Build => "build",
            Self::Image => "image",
            Self::Environment => "environment",
        }
    }
}

struct Checker<'r, 'a> {
    reader: &'r mut Reader<'a>,
    names: BTreeMap<Kind, BTreeSet<Name>>,
    used: BTreeSet<(Kind, Name)>,
    /// Base images that are named by tag.
    tags: BTreeSet<String>,
}

impl Checker<'_, '_> {
    /// Checks each entry of a section; those that could not be read are left
    /// out.
    fn each<F, T>(
        &mut self,
        section: &str,
        entries: Vec<Entry<Name, F>>,
        mut check: impl FnMut(&mut Self, F) -> T,
    ) -> BTreeMap<Name, T> {
        let mut checked = BTreeMap::new();
        self.below(&key(section), |this| {
            for Entry { key, name, value, .. } in entries {
                if let Some(value) = value {
                    let value = this.below(&key, |this| check(this, value));
                    checked.insert(name, value);
                }
            }
        });
        checked
    }

    fn below<T>(&mut self, key: &Key, f: impl FnOnce(&mut Self) -> T) -> T {
        self.reader.enter(key);
        let result = f(self);
        self.reader.leave();
        result
    }

    fn report(&mut self, span: Span, diagnostic: Diagnostic) {
        self.reader.report(span, diagnostic);
    }

    /// Takes a name that must be one of the file's.
    fn refer(&mut self, kind: Kind, name: Spanned<Name>) -> Name {
        let Spanned { value: name, span } = name;
        let names = &self.names[&kind];
        if names.contains(&name) {
            self.used.insert((kind, name.clone()));
            return name;
        }
        let words = || names.iter().map(Name::as_str);
        let message = format!("there is no {} {}", kind.word(), quote(name.as_str()));
        let unknown = Diagnostic::new(Code::UnknownRef, message)
            .nearest(self.reader.nearest(name.as_str(), words().take(1000)))
            .hint(match names.is_empty() {
                true => format!("this file has no {}s", kind.word()),
                false => format!("this file has {}", listed(words())),
            });
        self.report(span, unknown);
        name
    }

    fn refer_all(&mut self, kind: Kind, list: Given<List<Name>>) -> BTreeSet<Name> {
        items(list).into_iter().map(|name| self.refer(kind, name)).collect()
    }

    /// Takes tools, each once; an unknown one is a warning, for a machine may
    /// have it all the same.
    fn tools(&mut self, list: Given<List<Name>>) -> Vec<Name> {
        let mut tools: Vec<Name> = Vec::new();
        let mut seen = BTreeSet::new();
        for Spanned { value: tool, span } in items(list) {
            let known = self.reader.known.tools;
            if !known.is_empty() && !known.contains(&tool.as_str()) {
                let message = format!("the tool {} is not a known one", quote(tool.as_str()));
                let words = known.iter().copied();
                let unknown = Diagnostic::warning(Code::UnknownTool, message)
                    .nearest(self.reader.nearest(tool.as_str(), words.clone()))
                    .hint(format!(
                        "it is looked for on the worker's PATH; known are {}",
                        listed(words)
                    ));
                self.report(span, unknown);
            }
            if seen.insert(tool.clone()) {
                tools.push(tool);
            }
        }
        tools
    }

    /// Reports a field that must be there in this case and is not.
    fn needed<T>(&mut self, field: &str, given: &Given<T>, why: &str) {
        if given.is_absent() {
            let message = format!("field `{field}` is missing{}", self.reader.place());
            let missing = Diagnostic::new(Code::MissingField, message).hint(why);
            self.report(self.reader.here().unwrap_or_default(), missing);
        }
    }

    /// Reports a field that has no meaning in this case.
    fn unwanted<T>(&mut self, field: &str, given: &Given<T>, why: &str) {
        if let Some(Spanned { span, .. }) = given.get() {
            let message = format!("field `{field}` has no meaning here");
            self.report(*span, Diagnostic::new(Code::Conflict, message).hint(why));
        }
    }

    /// Reports each circle of names that stand on one another.
    fn refuse_cycles(&mut self, kind: Kind, bases: &BTreeMap<Name, Spanned<Name>>) {
        for cycle in cycles(bases) {
            let span = bases[&cycle[0]].span;
            let mut path: Vec<&str> = cycle.iter().map(Name::as_str).take(20).collect();
            path.push(if cycle.len() > 20 { "…" } else { cycle[0].as_str() });
            let message = format!("{}s stand on each other in a circle", kind.word());
            let circle = Diagnostic::new(Code::Cycle, message)
                .label(path.join(" -> "))
                .hint("one of them must have another base or none");
            self.report(span, circle);
        }
    }

    fn report_unused(&mut self, declared: &[(Kind, Name, Key)]) {
        // A reference that could not be read may be the one that is missed.
        if self.reader.problems.has_errors() {
            return;
        }
        for (kind, name, key) in declared {
            if !self.used.contains(&(*kind, name.clone())) {
                let message = format!("nothing uses the {} {}", kind.word(), quote(name.as_str()));
                let unused = Diagnostic::warning(Code::Unused, message);
                self.report(key.span, unused.hint("it is made only when it is asked for by name"));
            }
        }
    }
}

/// The circles of a graph in which everything has at most one base.
fn cycles(bases: &BTreeMap<Name, Spanned<Name>>) -> Vec<Vec<Name>> {
    let mut cycles = Vec::new();
    let mut done: BTreeSet<&Name> = BTreeSet::new();
    for start in bases.keys() {
        let mut path: Vec<&Name> = Vec::new();
        let mut next = Some(start);
        while let Some(name) = next
            && done.insert(name)
        {
            path.push(name);
            next = bases.get(name).map(|base| &base.value);
        }
        // Where the walk stopped at something of this same walk, the rest of
        // the path from there is a circle.
        if let Some(at) = next.and_then(|name| path.iter().position(|p| *p == name)) {
            cycles.push(path[at..].iter().map(|name| (*name).clone()).collect());
        }
    }
    cycles
}

fn entries<F>(section: Given<Map<Name, F>>) -> Vec<Entry<Name, F>> {
    section.value().map_or_else(Vec::new, |section| section.0)
}

fn names<F>(entries: &[Entry<Name, F>]) -> BTreeSet<Name> {
    entries.iter().map(|entry| entry.name.clone()).collect()
}

/// The items of a list that may not be there.
fn items<T>(list: Given<List<T>>) -> List<T> {
    list.value().unwrap_or_default()
}

fn texts(list: Given<List<String>>) -> Vec<String> {
    items(list).into_iter().map(|item| item.value).collect()
}

/// Variables, and whatever else is a mapping to text.
fn variables<K>(
    map: Given<Map<K, String>>,
    name: impl Fn(K) -> String,
) -> BTreeMap<String, String> {
    let entries = map.value().map_or_else(Vec::new, |map| map.0);
    let pair = |entry: Entry<K, String>| Some((name(entry.name), entry.value?));
    entries.into_iter().filter_map(pair).collect()
}

fn resources(section: Given<ResourcesFile>) -> Resources {
    section.value().map_or_else(Resources::default, |ResourcesFile { cpu, memory }| Resources {
        cpu_millis: cpu.value().map(|cpu| cpu.0),
        memory: memory.value().map(|memory| memory.0),
    })
}

/// The command, or one in its place where it could not be read.
fn command(run: Given<Run>) -> Command {
    run.value().map_or_else(|| Command::Script(String::new()), |run| run.0)
}

/// Patterns of files.
fn globs(patterns: Given<NonEmpty<List<Glob>>>) -> Vec<String> {
    let patterns = patterns.value().map_or_else(Vec::new, |patterns| patterns.0);
    patterns.into_iter().map(|glob| glob.value.0).collect()
}

/// A key that needs no place of its own.
fn key(text: &str) -> Key {
    Key { text: text.to_owned(), span: Span::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(edges: &[(&str, &str)]) -> BTreeMap<Name, Spanned<Name>> {
        let name = |text: &str| text.parse::<Name>().expect("a name");
        let edge = |(from, to): &(&str, &str)| {
            (name(from), Spanned { value: name(to), span: Span::default() })
        };
        edges.iter().map(edge).collect()
    }

    #[test]
    fn each_circle_is_found_once() {
        let shown = |edges| {
            let paths = cycles(&graph(edges)).into_iter();
            paths
                .map(|c| c.iter().map(Name::as_str).collect::<Vec<_>>().join(">"))
                .collect::<Vec<_>>()
        };
        assert_eq!(shown(&[("a", "b"), ("b", "c")]), Vec::<String>::new());
        assert_eq!(shown(&[("a", "a")]), ["a"]);
        assert_eq!(shown(&[("a", "b"), ("b", "c"), ("c", "b"), ("d", "c")]), ["b>c"]);
        assert_eq!(shown(&[("a", "b"), ("b", "a"), ("x", "y"), ("y", "x")]), ["a>b", "x>y"]);
    }
}
