//! Suites and their adapters.

use seatrial_core::filter::{Filter, FilterError};
use seatrial_core::pipeline::{Adapter, Isolation, Override, Suite};

use super::{Checker, Kind, globs, items, texts, variables};
use crate::diagnostic::{Code, Diagnostic, listed};
use crate::file::{OverrideFile, SuiteFile};
use crate::read::{Given, List, Spanned};
use crate::source::Span;

impl Checker<'_, '_> {
    pub(super) fn suite(&mut self, suite: SuiteFile) -> Suite {
        let SuiteFile { build, adapter, files, run, args, select, tools, env, .. } = suite;
        let SuiteFile { environments, isolation, test_timeout, retries, .. } = suite;
        let SuiteFile { overrides, collect, .. } = suite;
        let adapter = adapter.value();
        match adapter {
            Some(adapter) if adapter.has_programs() => {
                let why = "the tests of this adapter are programs that a build makes";
                self.needed("build", &build, why);
                let why = "this adapter runs the test programs itself; give them `args`";
                self.unwanted("run", &run, why);
            }
            Some(Adapter::Pytest) => {
                let why = "this adapter runs pytest itself; give it `args`";
                self.unwanted("run", &run, why);
                let why = "pytest finds its tests itself; name their directory in `args`";
                self.unwanted("files", &files, why);
            }
            Some(_) => {
                self.needed("run", &run, "this adapter runs a command");
                let why = "this adapter runs a command: name the program in `run`";
                self.unwanted("files", &files, why);
                self.unwanted("args", &args, why);
            }
            // It was said what is wrong with the adapter; what else the suite
            // needs depends on it.
            None => {}
        }
        let files = match (adapter, files) {
            (Some(adapter), Given::Absent) if adapter.has_programs() => vec!["*.test".to_owned()],
            (_, files) => globs(files),
        };
        if adapter.is_some_and(|adapter| !adapter.selects()) {
            self.unwanted("overrides", &overrides, WHOLE);
            if retries.get().is_some_and(|retries| retries.value.0 > 0) {
                self.unwanted("retries", &retries, WHOLE);
            }
            if isolation.get().is_some_and(|isolation| isolation.value == Isolation::Fresh) {
                self.unwanted("isolation", &isolation, WHOLE);
            }
        }
        let overrides = self.overrides(overrides);
        let environments = items(environments).into_iter();
        Suite {
            build: build.spanned().map(|build| self.refer(Kind::Build, build)),
            adapter: adapter.unwrap_or(Adapter::Exec),
            files,
            run: run.value().map(|run| run.0),
            args: texts(args),
            select: items(select).into_iter().map(|pattern| pattern.value.0).collect(),
            tools: self.tools(tools),
            env: variables(env, |name| name.0),
            environments: environments.map(|name| self.refer(Kind::Environment, name)).collect(),
            isolation: isolation.value().unwrap_or(Isolation::Shared),
            test_timeout: test_timeout.value().unwrap_or(Suite::TEST_TIMEOUT),
            retries: retries.value().map_or(0, |retries| retries.0),
            overrides,
            collect: items(collect).into_iter().map(|collect| collect.value.0).collect(),
        }
    }

    fn overrides(&mut self, overrides: Given<List<OverrideFile>>) -> Vec<Override> {
        let overrides = items(overrides).into_iter();
        overrides.filter_map(|Spanned { value, span }| self.other(value, span)).collect()
    }

    /// Checks one override; `None`: there is none to speak of, and why was said.
    fn other(&mut self, other: OverrideFile, span: Span) -> Option<Override> {
        let OverrideFile { filter, isolation, test_timeout, retries } = other;
        if !filter.is_absent()
            && isolation.is_absent()
            && test_timeout.is_absent()
            && retries.is_absent()
        {
            let nothing = Diagnostic::new(Code::BadValue, "this override changes nothing");
            let fields = "give it `isolation`, `test-timeout` or `retries`";
            self.report(span, nothing.hint(fields));
        }
        let Spanned { value: text, span } = filter.spanned()?;
        let filter = text.parse::<Filter>().map_err(|error| self.bad_filter(span, &text, &error));
        Some(Override {
            filter: filter.ok()?,
            isolation: isolation.value(),
            test_timeout: test_timeout.value(),
            retries: retries.value().map(|retries| retries.0),
        })
    }

    fn bad_filter(&mut self, span: Span, text: &str, error: &FilterError) {
        let word = text.get(error.at.clone()).unwrap_or_default();
        let mut bad = Diagnostic::new(Code::BadFilter, error.message.clone())
            .nearest(self.reader.nearest(word, error.allowed.iter().copied()));
        if !error.allowed.is_empty() {
            bad = bad.hint(format!("allowed here: {}", listed(error.allowed.iter().copied())));
        }
        let place = self.reader.within(span, text, error.at.clone());
        self.report(place, bad.hint(FILTERS));
    }
}

const FILTERS: &str = "a filter is such as `test(~Failover) and not program(=load.test)`";

const WHOLE: &str =
    "a `junit` command runs all of its tests; the other adapters can run some of them";
