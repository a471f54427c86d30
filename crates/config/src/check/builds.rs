//! Parameters and builds.

use seatrial_core::pipeline::{Build, Fetch, Param};

use super::{Checker, Kind, command, globs, items, resources, variables};
use crate::diagnostic::{Code, Diagnostic, listed, quote};
use crate::file::{BuildFile, FetchFile, ParamDefault, ParamFile};
use crate::read::Given;
use crate::value::ParamType;

impl Checker<'_, '_> {
    pub(super) fn param(&mut self, param: ParamFile) -> Param {
        let ParamFile { type_, default, values } = param;
        let type_ = type_.value().unwrap_or(ParamType::String);
        if type_ != ParamType::Enum {
            self.unwanted("values", &values, "only `type: enum` has a list of values");
        }
        let span = default.get().map(|default| default.span).unwrap_or_default();
        let mismatch = |what: &str| {
            let message = format!("the default of this parameter is not {what}");
            Diagnostic::new(Code::WrongType, message)
        };
        match (type_, default.value()) {
            (ParamType::Bool, None) => Param::Bool { default: false },
            (ParamType::Bool, Some(ParamDefault::Bool(default))) => Param::Bool { default },
            (ParamType::Bool, Some(ParamDefault::Text(_))) => {
                self.report(span, mismatch("`true` or `false`"));
                Param::Bool { default: false }
            }
            (_, Some(ParamDefault::Bool(default))) => {
                self.report(span, mismatch("text").hint(format!("quote it: \"{default}\"")));
                Param::String { default: String::new() }
            }
            (ParamType::String, None) => Param::String { default: String::new() },
            (ParamType::String, Some(ParamDefault::Text(default))) => Param::String { default },
            (ParamType::Enum, default) => {
                self.needed("values", &values, "list what the parameter may be");
                let values = values.value().map_or_else(Vec::new, |values| values.0);
                let values: Vec<String> = values.into_iter().map(|item| item.value).collect();
                let default = match default {
                    Some(ParamDefault::Text(default)) => Some(default),
                    _ => values.first().cloned(),
                };
                let default = default.unwrap_or_default();
                if !values.contains(&default) && !values.is_empty() {
                    let message =
                        format!("the default {} is not one of the values", quote(&default));
                    let allowed = listed(values.iter().map(String::as_str));
                    let bad = Diagnostic::new(Code::BadValue, message);
                    self.report(span, bad.hint(format!("allowed are {allowed}")));
                }
                Param::Enum { default, values }
            }
        }
    }

    pub(super) fn build(&mut self, build: BuildFile) -> Build {
        let BuildFile { inputs, tools, fetch, caches, env, params, .. } = build;
        let BuildFile { run, outputs, resources: share, timeout, network, .. } = build;
        let outputs = match outputs {
            Given::Absent => vec!["**".to_owned()],
            outputs => items(outputs).into_iter().map(|glob| glob.value.0).collect(),
        };
        Build {
            inputs: globs(inputs),
            tools: self.tools(tools),
            fetch: fetch.value().map(|fetch| self.fetch(fetch)),
            caches: items(caches).into_iter().map(|name| name.value).collect(),
            env: variables(env, |name| name.0),
            params: self.refer_all(Kind::Param, params),
            run: command(run),
            outputs,
            resources: resources(share),
            timeout: timeout.value().unwrap_or(Build::TIMEOUT),
            network: network.value().unwrap_or(false),
        }
    }

    fn fetch(&mut self, fetch: FetchFile) -> Fetch {
        Fetch {
            inputs: globs(fetch.inputs),
            run: command(fetch.run),
            network: fetch.network.value().unwrap_or(false),
            timeout: fetch.timeout.value().unwrap_or(Build::TIMEOUT),
        }
    }
}
