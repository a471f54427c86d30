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
        let param = pipeline.params.iter().find(|(param, _)| param.as_str() == *name);
        match param {
            None => mistakes.push(unknown(pipeline, name)),
            Some((key, param)) => match refusal(param, value) {
                Some(allowed) => {
                    let message = format!("parameter `{key}` cannot be {}", quote(value));
                    mistakes.push(Diagnostic::new(Code::BadParam, message).hint(allowed));
                }
                None => {
                    values.insert(key.clone(), (*value).to_owned());
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

#[cfg(test)]
mod tests {
    use super::*;

    fn pipeline() -> Pipeline {
        let name = |text: &str| text.parse::<Name>().expect("a name");
        let values = vec!["low".to_owned(), "high".to_owned()];
        let params = BTreeMap::from([
            (name("race"), Param::Bool { default: false }),
            (name("tag"), Param::String { default: "latest".to_owned() }),
            (name("level"), Param::Enum { default: "low".to_owned(), values }),
        ]);
        Pipeline { params, ..Pipeline::default() }
    }

    #[test]
    fn given_values_stand_before_defaults_and_the_last_one_counts() {
        let given = [("race", "true"), ("level", "low"), ("level", "high")];
        let values = resolve_params(&pipeline(), &given).expect("good values");
        let shown: Vec<String> =
            values.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(shown, ["level=high", "race=true", "tag=latest"]);
    }

    #[test]
    fn all_mistakes_are_said() {
        let given =
            [("rase", "true"), ("race", "yes"), ("level", "x"), ("A b", ""), ("tag", "\u{1b}[2J")];
        let mistakes = resolve_params(&pipeline(), &given).expect_err("bad values");
        let shown: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
        insta::assert_snapshot!(shown.join("\n"), @r"
        error[config.bad_param]: there is no parameter `rase`
          hint: did you mean `race`?
          hint: the parameters are `level`, `race` and `tag`
        error[config.bad_param]: parameter `race` cannot be `yes`
          hint: allowed are `true` and `false`
        error[config.bad_param]: parameter `level` cannot be `x`
          hint: allowed are `low` and `high`
        error[config.bad_param]: there is no parameter `A b`
          hint: the parameters are `level`, `race` and `tag`
        error[config.bad_param]: parameter `tag` cannot be `\u{1b}[2J`
          hint: U+001B is not allowed in it
        ");
        let none = resolve_params(&Pipeline::default(), &[("race", "true")]).expect_err("none");
        assert_eq!(none[0].hints, ["the pipeline has no `params`"]);
    }
}
