//! Values for parameters, as they are given on the command line.

use std::collections::BTreeMap;

use seatrial_core::name::Name;
use seatrial_core::pipeline::{Param, Pipeline};

use crate::diagnostic::{Code, Diagnostic, listed, nearest, quote};
use crate::source::invisible;

/// The value of every parameter of a pipeline, from what was given and from
/// the defaults. The last of several values for one parameter counts.
///
/// # Errors
/// All names that are no parameter and all values that are not allowed.
pub fn resolve_params(
    pipeline: &Pipeline,
    given: &[(&str, &str)],
) -> Result<BTreeMap<Name, String>, Vec<Diagnostic>> {
    let defaults = pipeline.params.iter().map(|(name, param)| (name.clone(), default(param)));
    let mut values: BTreeMap<Name, String> = defaults.collect();
    let mut mistakes = Vec::new();
    for (name, value) in given {
        let param = name
            .parse::<Name>()
            .ok()
            .and_then(|n| pipeline.params.get_key_value(&n).map(|(n, p)| (n.clone(), p)));
        match param {
            None => mistakes.push(unknown(pipeline, name)),
            Some((key, param)) => match refusal(param, value) {
                Some(allowed) => {
                    let message = format!("parameter `{key}` cannot be {}", quote(value));
                    mistakes.push(Diagnostic::new(Code::BadParam, message).hint(allowed));
                }
                None => {
                    values.insert(key, (*value).to_owned());
                }
            },
        }
    }
    if mistakes.is_empty() { Ok(values) } else { Err(mistakes) }
}

fn default(param: &Param) -> String {
    match param {
        Param::Bool { default } => default.to_string(),
        Param::String { default } | Param::Enum { default, .. } => default.clone(),
    }
}

/// Why a value is not allowed, as what is.
fn refusal(param: &Param, value: &str) -> Option<String> {
    match param {
        Param::Bool { .. } if matches!(value, "true" | "false") => None,
        Param::Bool { .. } => Some("allowed are `true` and `false`".to_owned()),
        Param::Enum { values, .. } if values.iter().any(|v| v == value) => None,
        Param::Enum { values, .. } => {
            Some(format!("allowed are {}", listed(values.iter().map(String::as_str))))
        }
        Param::String { .. } if value.len() > 64 << 10 => Some("at most 64 KiB".to_owned()),
        Param::String { .. } => invisible(value)
            .next()
            .map(|(_, c)| format!("U+{:04X} is not allowed in it", u32::from(c))),
    }
}

fn unknown(pipeline: &Pipeline, name: &str) -> Diagnostic {
    let words = || pipeline.params.keys().map(Name::as_str);
    let unknown = Diagnostic::new(Code::BadParam, format!("there is no parameter {}", quote(name)))
        .nearest(nearest(name, words()));
    match pipeline.params.is_empty() {
        true => unknown.hint("the pipeline has no `params`"),
        false => unknown.hint(format!("the parameters are {}", listed(words()))),
    }
}
