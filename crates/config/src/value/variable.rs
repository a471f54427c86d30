//! Names of environment variables: an allow-list of spellings, and names that
//! change what runs instead of what it is told.

use serde_json::{Value as Json, json};

use crate::Known;
use crate::diagnostic::{Code, Diagnostic, quote};
use crate::read::FromText;

/// A variable of a build or suite.
#[derive(Debug)]
pub(crate) struct Variable(pub(crate) String);

/// A variable in an image's configuration: only the container sees it.
#[derive(Debug)]
pub(crate) struct ContainerVariable(pub(crate) String);

/// Names that make a shell, loader, runtime or Git run other code, and names
/// that the sandbox sets.
const FORBIDDEN: &[(&str, &str)] = &[
    ("PATH", "list what a command needs under `tools`"),
    ("HOME", "the sandbox has a home of its own"),
    ("OUT", "Seatrial sets it to the directory for outputs"),
    ("BASH_ENV", "it makes the shell run other code"),
    ("ENV", "it makes the shell run other code"),
    ("IFS", "it changes how the shell reads a script"),
    ("SHELLOPTS", "a script runs under `bash -euo pipefail`"),
    ("BASHOPTS", "a script runs under `bash -euo pipefail`"),
    ("NODE_OPTIONS", "it makes node run other code; pass options on the command line"),
    ("LD_*", "it makes programs load other code"),
    ("GIT_*", "it makes git run other code or read other repositories"),
    ("*_PROXY", "the network of a command is declared, not redirected"),
    ("BASH_FUNC_*", "it defines functions of the shell"),
    ("PARAM_*", "Seatrial sets it from `params`"),
    ("IMAGE_*", "Seatrial sets it from `images`"),
    ("BUILD_*", "Seatrial sets it from `builds`"),
    ("SEATRIAL_*", "Seatrial keeps the prefix for itself"),
];

/// The pattern of allowed spellings.
const SPELLING: &str = "^[A-Z_][A-Z0-9_]*$";

impl FromText for Variable {
    const WHAT: &'static str = "an environment variable";
    const VERBATIM: bool = true;

    fn from_text(text: &str, _: &Known<'_>) -> Result<Self, Diagnostic> {
        let forbidden = |why: &str| {
            let message = format!("the environment variable {} cannot be set", quote(text));
            Diagnostic::new(Code::EnvForbidden, message).hint(why)
        };
        let upper = text.to_ascii_uppercase();
        if let Some((_, why)) = FORBIDDEN.iter().find(|(pattern, _)| covers(pattern, &upper)) {
            return Err(forbidden(why));
        }
        let inner = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_';
        let good = text.len() <= 255
            && text.bytes().all(inner)
            && text.bytes().next().is_some_and(|b| !b.is_ascii_digit());
        match good {
            true => Ok(Self(text.to_owned())),
            false => Err(forbidden("a name consists of A-Z, 0-9 and `_`: `CGO_ENABLED`")),
        }
    }

    fn schema() -> Json {
        let forbidden = FORBIDDEN.iter().map(|(p, _)| format!("^{}$", p.replace('*', ".*")));
        json!({
            "pattern": SPELLING,
            "not": { "pattern": forbidden.collect::<Vec<_>>().join("|") },
        })
    }
}

impl FromText for ContainerVariable {
    const WHAT: &'static str = "an environment variable";
    const VERBATIM: bool = true;

    fn from_text(text: &str, _: &Known<'_>) -> Result<Self, Diagnostic> {
        let inner = |b: u8| b.is_ascii_alphanumeric() || b"_.-".contains(&b);
        let good = (1..=255).contains(&text.len())
            && text.bytes().all(inner)
            && !text.starts_with(|c: char| c.is_ascii_digit());
        good.then(|| Self(text.to_owned())).ok_or_else(|| {
            let message = format!("{} is no environment variable", quote(text));
            Diagnostic::new(Code::EnvForbidden, message)
                .hint("a name consists of letters, digits, `_`, `.` and `-`")
        })
    }

    fn schema() -> Json {
        json!({ "pattern": "^[A-Za-z_.-][A-Za-z0-9_.-]*$" })
    }
}

fn covers(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        Some((prefix, suffix)) => name.starts_with(prefix) && name.ends_with(suffix),
        None => pattern == name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_that_run_code_cannot_be_set() {
        let known = Known { kubernetes: &[], tools: &[], images: None };
        for good in ["CGO_ENABLED", "_X", "A1", "GOPROXY", "ENVIRONMENT", "MY_PATH", "OUTPUT"] {
            assert!(Variable::from_text(good, &known).is_ok(), "{good}");
        }
        let bad = [
            "",
            "PATH",
            "path",
            "LD_PRELOAD",
            "LD_",
            "BASH_ENV",
            "ENV",
            "IFS",
            "NODE_OPTIONS",
            "HOME",
            "GIT_DIR",
            "HTTPS_PROXY",
            "https_proxy",
            "OUT",
            "PARAM_X",
            "IMAGE_X",
            "BUILD_X",
            "lower",
            "SEATRIAL_X",
            "SHELLOPTS",
            "1A",
            "A-B",
            "A=B",
            "A B",
            "Ä",
        ];
        for bad in bad {
            assert!(Variable::from_text(bad, &known).is_err(), "{bad}");
        }
        assert!(ContainerVariable::from_text("PATH", &known).is_ok());
        assert!(ContainerVariable::from_text("A=B", &known).is_err());
    }
}
