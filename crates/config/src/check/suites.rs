//! Suites and their adapters.

use seatrial_core::pipeline::{Adapter, Isolation, Suite};

use super::{Checker, Kind, globs, items, texts, variables};
use crate::diagnostic::{Code, Diagnostic};
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
        if let Some(Spanned { value: Isolation::Fresh, span }) = isolation.get() {
            self.later(*span, "isolation `fresh`", SERIAL);
        }
        if let Some(Spanned { value, span }) = retries.get()
            && value.0 > 0
        {
            self.later(*span, "`retries`", NO_RETRY);
        }
        self.overrides(overrides);
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
            collect: items(collect).into_iter().map(|collect| collect.value.0).collect(),
        }
    }

    fn overrides(&mut self, overrides: Given<List<OverrideFile>>) {
        let Some(Spanned { value: overrides, span }) = overrides.spanned() else {
            return;
        };
        if !overrides.is_empty() {
            self.later(span, "`overrides`", "until then, put such tests into a suite of their own");
        }
        for Spanned { value: OverrideFile { filter, isolation, test_timeout, retries }, span } in
            overrides
        {
            if !filter.is_absent()
                && isolation.is_absent()
                && test_timeout.is_absent()
                && retries.is_absent()
            {
                let nothing = Diagnostic::new(Code::BadValue, "this override changes nothing");
                self.report(span, nothing);
            }
        }
    }

    fn later(&mut self, span: Span, what: &str, instead: &str) {
        let message = format!("{what} is not available yet");
        self.report(span, Diagnostic::new(Code::NotAvailableYet, message).hint(instead));
    }
}

const NO_RETRY: &str = "until then, a test that fails fails the run: mend the test";

const SERIAL: &str = "until then, use `serial`, and tests that clean up after themselves";
