//! Patterns: of files, and of test names.

use serde_json::{Value as Json, json};

use super::path::leaves;
use crate::Known;
use crate::diagnostic::{Code, Diagnostic, quote};
use crate::read::FromText;

/// Bytes that a pattern may have.
const LONGEST: usize = 1024;

/// A pattern of files, relative, that does not leave its root.
pub(crate) struct Glob(pub(crate) String);

/// A pattern of files below `$ARTIFACTS`.
pub(crate) struct Collect(pub(crate) String);

/// A regular expression without look-around or back-references.
pub(crate) struct Pattern(pub(crate) String);

impl FromText for Glob {
    const WHAT: &'static str = "a pattern of files such as `cmd/**`";

    fn from_text(text: &str, _: &Known<'_>) -> Result<Self, Diagnostic> {
        check_glob(text, text)?;
        Ok(Self(text.to_owned()))
    }

    fn schema() -> Json {
        json!({ "type": "string", "minLength": 1, "maxLength": LONGEST, "pattern": "^[^/]" })
    }
}

impl FromText for Collect {
    const WHAT: &'static str = "a pattern of files such as `$ARTIFACTS/**`";

    fn from_text(text: &str, _: &Known<'_>) -> Result<Self, Diagnostic> {
        let Some(below) = text.strip_prefix("$ARTIFACTS/") else {
            return Err(bad(text, "it does not begin with `$ARTIFACTS/`")
                .hint("tests leave what is worth keeping in the directory `$ARTIFACTS`"));
        };
        check_glob(text, below)?;
        Ok(Self(text.to_owned()))
    }

    fn schema() -> Json {
        json!({ "type": "string", "maxLength": LONGEST, "pattern": "^\\$ARTIFACTS/" })
    }
}

impl FromText for Pattern {
    const WHAT: &'static str = "a regular expression";

    fn from_text(text: &str, _: &Known<'_>) -> Result<Self, Diagnostic> {
        if text.len() > LONGEST {
            return Err(bad(text, "it is longer than 1 KiB"));
        }
        // 1 MiB of program: a repetition of a repetition of a repetition fits
        // 1 KiB of text and not the memory of a machine.
        match regex::RegexBuilder::new(text).size_limit(1 << 20).build() {
            Ok(_) => Ok(Self(text.to_owned())),
            Err(regex::Error::CompiledTooBig(_)) => Err(bad(text, "it is too large when compiled")),
            Err(error) => {
                let error = error.to_string();
                let why = error.lines().last().unwrap_or_default().trim_start_matches("error: ");
                Err(bad(text, why))
            }
        }
    }

    fn schema() -> Json {
        json!({ "type": "string", "maxLength": LONGEST })
    }
}

fn check_glob(text: &str, glob: &str) -> Result<(), Diagnostic> {
    if glob.is_empty() {
        return Err(bad(text, "it is empty"));
    }
    if text.len() > LONGEST {
        return Err(bad(text, "it is longer than 1 KiB"));
    }
    if glob.starts_with('/') || glob.contains('\\') || leaves(glob) {
        return Err(bad(text, "it leaves the tree")
            .hint("relative, with `/` between parts, and no `..`: `internal/**`"));
    }
    let built = globset::GlobBuilder::new(glob).literal_separator(true).build();
    built.map(drop).map_err(|error| bad(text, &error.kind().to_string()))
}

fn bad(text: &str, why: &str) -> Diagnostic {
    Diagnostic::new(Code::BadPattern, format!("{} is no pattern: {why}", quote(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: Known<'_> = Known { kubernetes: &[], tools: &[], images: None };

    #[test]
    fn globs_stay_inside() {
        for good in ["go.mod", "cmd/**", "*.test", "a/{b,c}/[0-9]?.go", "..a/b..", "**"] {
            assert!(Glob::from_text(good, &KNOWN).is_ok(), "{good}");
        }
        let long = "x".repeat(1025);
        for bad in ["", "/etc/**", "../x", "a/../b", "a/..", "a\\b", "[", "{a", "{..,b}/c", &long] {
            assert!(Glob::from_text(bad, &KNOWN).is_err(), "{bad}");
        }
        assert!(Collect::from_text("$ARTIFACTS/**", &KNOWN).is_ok());
        for bad in ["$ARTIFACTS/../x", "$ARTIFACTS//x", "/tmp/*", "$ARTIFACTS/", "$HOME/*"] {
            assert!(Collect::from_text(bad, &KNOWN).is_err(), "{bad}");
        }
    }

    #[test]
    fn regular_expressions_cannot_explode() {
        assert!(Pattern::from_text("^Test(Roll|Scale).*/x$", &KNOWN).is_ok());
        let long = "x".repeat(1025);
        for bad in ["(", "(?=x)", r"(a)\1", "((a{500}){500}){500}", &long] {
            assert!(Pattern::from_text(bad, &KNOWN).is_err(), "{bad}");
        }
    }
}
