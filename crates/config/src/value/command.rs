//! Commands: a script for the shell, or a program with its arguments.

use seatrial_core::pipeline::Command;
use serde_json::{Value as Json, json};

use crate::Known;
use crate::diagnostic::{Code, Diagnostic, quote};
use crate::read::{FromText, List, Read, Reader};
use crate::tree::{Node, Value};

/// A script without template expressions.
struct Script(String);

/// What `run` takes.
pub(crate) struct Run(pub(crate) Command);

impl FromText for Script {
    const WHAT: &'static str = "a script, or a list of a program and its arguments";

    fn from_text(text: &str, _: &Known<'_>) -> Result<Self, Diagnostic> {
        if text.trim().is_empty() {
            return Err(Diagnostic::new(Code::BadValue, "the script is empty"));
        }
        if let Some(expression) = template(text) {
            let message = format!("the script has a template expression {}", quote(expression));
            return Err(Diagnostic::new(Code::InterpolationInScript, message).hint(
                "nothing is written into a script; values come as variables: \"$PARAM_RACE\", \
                 \"$IMAGE_GUESTBOOK\"",
            ));
        }
        Ok(Self(text.to_owned()))
    }

    fn schema() -> Json {
        json!({ "type": "string", "minLength": 1 })
    }
}

impl Read for Run {
    fn read(node: &Node, reader: &mut Reader<'_>) -> Option<Self> {
        if !matches!(node.value, Value::List(_)) {
            return Script::read(node, reader).map(|script| Self(Command::Script(script.0)));
        }
        let list = List::<String>::read(node, reader)?;
        let argv: Vec<String> = list.into_iter().map(|argument| argument.value).collect();
        match argv.first() {
            Some(program) if !program.is_empty() => Some(Self(Command::Argv(argv))),
            _ => {
                let empty = Diagnostic::new(Code::BadValue, "the list names no program");
                reader.report(node.span, empty.hint("the program first, then its arguments"));
                None
            }
        }
    }

    fn what() -> String {
        Script::WHAT.to_owned()
    }

    fn schema() -> Json {
        json!({
            "oneOf": [
                <Script as FromText>::schema(),
                { "type": "array", "items": { "type": "string" }, "minItems": 1 },
            ],
        })
    }
}

/// The first template expression of a script: `${{ ... }}`, or `{{ name }}` as
/// CI systems write it. A Go template, such as `go list -f '{{.Dir}}'` takes,
/// is none: its words are keywords or are followed by a field.
fn template(script: &str) -> Option<&str> {
    const GO: &[&str] = &["end", "else", "break", "continue"];
    script.match_indices("{{").find_map(|(at, _)| {
        let rest = &script[at + 2..];
        let inner = rest.trim_start_matches(['-', ' ', '\t']);
        let word = inner.len() - inner.trim_start_matches(word_character).len();
        let (name, after) = inner.split_at(word);
        let dollar = script[..at].ends_with('$');
        let lone = after.trim_start().starts_with(['}', '|']);
        let foreign = !name.is_empty()
            && !name.starts_with(|c: char| c.is_ascii_digit())
            && (after.starts_with('.') || lone && !GO.contains(&name));
        let end = || rest.find("}}").map_or(script.len(), |end| at + 2 + end + 2);
        (dollar || foreign).then(|| &script[at - usize::from(dollar)..end()])
    })
}

fn word_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_of_ci_systems_are_found_and_those_of_go_are_not() {
        for bad in [
            "echo ${{ params.race }}",
            "echo ${{x}}",
            "echo {{ image }}",
            "echo {{params.race}}",
            "echo '{{ name | upper }}'",
            "echo ${{",
        ] {
            assert!(template(bad).is_some(), "{bad}");
        }
        for good in [
            "echo $PARAM_RACE ${X:-y}",
            "go list -f '{{.Dir}}' ./...",
            "go list -f '{{range .Deps}}{{.}}{{else}}-{{end}}'",
            "kubectl get -o go-template='{{ len .items }}'",
            "a() { { b; } }",
        ] {
            assert_eq!(template(good), None, "{good}");
        }
        assert_eq!(template("a ${{ b }} c"), Some("${{ b }}"));
    }
}
