//! What a command left in `$OUT`, against what its pipeline says it makes.

use std::path::Path;

use globset::{GlobBuilder, GlobMatcher};
use seatrial_core::failure::Failure;
use walkdir::WalkDir;

/// Names shown of what is there when something else was expected.
const SHOWN: usize = 10;

/// Leaves in `out` only what matches `patterns`: a pattern that matches a
/// directory keeps all that is in it. No pattern: everything stays.
pub(crate) fn keep(out: &Path, patterns: &[String]) -> Result<(), Failure> {
    if patterns.is_empty() {
        return Ok(());
    }
    let matchers = patterns.iter().map(|p| matcher(p)).collect::<Result<Vec<_>, _>>()?;
    let mut matched = vec![false; patterns.len()];
    let mut unwanted = Vec::new();
    let mut there = Vec::new();
    for entry in WalkDir::new(out).min_depth(1).sort_by_file_name() {
        let entry = entry.map_err(|error| {
            Failure::environment("store.io", format!("cannot read $OUT: {error}"))
        })?;
        if entry.file_type().is_dir() {
            continue;
        }
        let Ok(path) = entry.path().strip_prefix(out) else { continue };
        let mut wanted = false;
        for (matcher, matched) in matchers.iter().zip(&mut matched) {
            let matches = path
                .ancestors()
                .filter(|part| !part.as_os_str().is_empty())
                .any(|part| matcher.is_match(part));
            *matched |= matches;
            wanted |= matches;
        }
        there.push(path.display().to_string());
        if !wanted {
            unwanted.push(entry.path().to_owned());
        }
    }
    if let Some(missing) = matched.iter().position(|matched| !matched) {
        let shown = match there.len() {
            0 => "it is empty".to_owned(),
            n if n <= SHOWN => format!("it has: {}", there.join(", ")),
            n => format!("it has: {} and {} more", there[..SHOWN].join(", "), n - SHOWN),
        };
        let pattern = &patterns[missing];
        return Err(Failure::product(
            "build.output_missing",
            format!("nothing in $OUT matches `{pattern}` of `outputs:`"),
        )
        .hint(shown));
    }
    for path in unwanted {
        std::fs::remove_file(&path).map_err(|error| {
            let path = path.display();
            Failure::environment("store.io", format!("cannot remove {path}: {error}"))
        })?;
    }
    Ok(())
}

/// A matcher of relative paths in which `*` stays within a directory.
pub(crate) fn matcher(pattern: &str) -> Result<GlobMatcher, Failure> {
    let glob = GlobBuilder::new(pattern).literal_separator(true).build();
    let glob = glob.map_err(|error| Failure::config("config.bad_pattern", error.to_string()))?;
    Ok(glob.compile_matcher())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(patterns: &[&str]) -> Result<Vec<String>, String> {
        let dir = tempfile::tempdir().expect("a directory");
        for file in ["server", "a.test", "b.test", "deploy/base/x.yaml", "deploy/y.yaml"] {
            let path = dir.path().join(file);
            std::fs::create_dir_all(path.parent().expect("it has one")).expect("made");
            std::fs::write(path, "x").expect("written");
        }
        let patterns: Vec<_> = patterns.iter().map(|p| (*p).to_owned()).collect();
        keep(dir.path(), &patterns).map_err(|failure| failure.message)?;
        let files = WalkDir::new(dir.path()).sort_by_file_name().into_iter().flatten();
        let files = files.filter(|entry| entry.file_type().is_file());
        let relative = |path: &Path| path.strip_prefix(dir.path()).map(|p| p.display().to_string());
        Ok(files.filter_map(|entry| relative(entry.path()).ok()).collect())
    }

    #[test]
    fn what_matches_stays() {
        let ok = |files: &[&str]| Ok(files.iter().map(|f| (*f).to_owned()).collect());
        assert_eq!(check(&["server"]), ok(&["server"]));
        assert_eq!(check(&["*.test"]), ok(&["a.test", "b.test"]));
        assert_eq!(check(&["deploy"]), ok(&["deploy/base/x.yaml", "deploy/y.yaml"]));
        assert_eq!(check(&["deploy/*.yaml", "server"]), ok(&["deploy/y.yaml", "server"]));
        assert_eq!(check(&[]).map(|files| files.len()), Ok(5));
    }

    #[test]
    fn each_pattern_must_match() {
        let missing = Err("nothing in $OUT matches `client` of `outputs:`".to_owned());
        assert_eq!(check(&["server", "client"]), missing);
    }
}
