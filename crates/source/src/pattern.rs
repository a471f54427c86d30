//! Patterns of project files, as `inputs` in `seatrial.yaml` has them.

use globset::{Candidate, GlobBuilder, GlobSet, GlobSetBuilder};

use crate::error::SourceError;

/// Patterns of paths, relative to the directory of `seatrial.yaml`: `*` and
/// `?` within a component, `**` over components, `[a-z]`, `{a,b}`. One without
/// any of these is a file, or a directory with all that is in it.
#[derive(Debug, Clone)]
pub struct Patterns {
    /// None: there is no pattern.
    set: Option<GlobSet>,
    texts: Vec<String>,
}

impl Patterns {
    /// Reads patterns.
    ///
    /// # Errors
    /// [`SourceError::BadPattern`] for one that is absolute, leaves the
    /// project, is negated or has a syntax error.
    pub fn new<T: AsRef<str>>(patterns: &[T]) -> Result<Self, SourceError> {
        let texts: Vec<String> = patterns.iter().map(|text| text.as_ref().to_owned()).collect();
        if texts.is_empty() {
            return Ok(Self { set: None, texts });
        }
        let mut set = GlobSetBuilder::new();
        for text in &texts {
            add(&mut set, text)
                .map_err(|reason| SourceError::BadPattern { pattern: text.clone(), reason })?;
        }
        let set = set.build().map_err(|error| SourceError::BadPattern {
            pattern: texts.join(" "),
            reason: error.kind().to_string(),
        })?;
        Ok(Self { set: Some(set), texts })
    }

    /// Whether there is no pattern.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.set.is_none()
    }

    /// Whether one of the patterns matches this path.
    #[must_use]
    pub fn matches(&self, path: &str) -> bool {
        self.set.as_ref().is_some_and(|set| set.is_match_candidate(&Candidate::new(path)))
    }

    /// The patterns as they were written.
    #[must_use]
    pub fn texts(&self) -> &[String] {
        &self.texts
    }
}

fn add(set: &mut GlobSetBuilder, text: &str) -> Result<(), String> {
    let path = text.strip_prefix("./").unwrap_or(text);
    let path = path.strip_suffix('/').unwrap_or(path);
    if path.is_empty() || path.contains('\0') {
        return Err("it is empty".to_owned());
    }
    if path.starts_with('/') {
        return Err("it is absolute; patterns begin at the directory of seatrial.yaml".to_owned());
    }
    if path.split('/').any(|part| part == "..") {
        return Err("it leaves the project".to_owned());
    }
    if path.starts_with('!') {
        return Err("there are no negated patterns".to_owned());
    }
    let glob = |text: &str| {
        GlobBuilder::new(text)
            .literal_separator(true)
            .build()
            .map_err(|error| error.kind().to_string())
    };
    set.add(glob(path)?);
    if !path.contains(['*', '?', '[', ']', '{', '}', '\\']) {
        set.add(glob(&format!("{path}/**"))?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_matches() {
        let check = |pattern: &str, yes: &[&str], no: &[&str]| {
            let patterns = Patterns::new(&[pattern]).expect("pattern");
            for path in yes {
                assert!(patterns.matches(path), "{pattern} {path}");
            }
            for path in no {
                assert!(!patterns.matches(path), "{pattern} {path}");
            }
        };
        check("go.mod", &["go.mod"], &["x/go.mod", "go.mod2"]);
        check("cmd", &["cmd/a", "cmd/a/b"], &["cmd2", "x/cmd/a"]);
        check("./cmd/", &["cmd/a"], &["cmd2"]);
        check("cmd/**", &["cmd/a", "cmd/a/b"], &["cmd2/a"]);
        check("cmd/*", &["cmd/a"], &["cmd/a/b"]);
        check("**/*.go", &["a.go", "x/y/a.go"], &["a.go/x"]);
        check(r"k8s\[ab\]/**", &["k8s[ab]/x"], &["k8sa/x"]);
        check(r"\!x", &["!x"], &["x"]);
        check("*.{yaml,yml}", &["a.yaml", "b.yml"], &["x/a.yaml"]);
        assert!(!Patterns::new::<&str>(&[]).expect("none").matches("x"));
    }

    #[test]
    fn what_is_refused() {
        let refusal = |pattern: &str| Patterns::new(&[pattern]).expect_err("refused").to_string();
        assert_eq!(
            refusal("/etc/passwd"),
            "the pattern `/etc/passwd` cannot be used: it is absolute; patterns begin at the directory of seatrial.yaml"
        );
        assert_eq!(
            refusal("a/../../b"),
            "the pattern `a/../../b` cannot be used: it leaves the project"
        );
        assert_eq!(refusal("!x"), "the pattern `!x` cannot be used: there are no negated patterns");
        assert_eq!(refusal(""), "the pattern `` cannot be used: it is empty");
        assert_eq!(
            refusal("a[b"),
            "the pattern `a[b` cannot be used: unclosed character class; missing ']'"
        );
    }
}
