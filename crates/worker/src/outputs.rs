//! What a command left in `$OUT`, against what its pipeline says it makes.

use std::io::ErrorKind;
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
    let (mut shown, mut files) = (Vec::new(), 0_usize);
    // Directories come after what is in them, so that those that nothing is
    // left in can go with it.
    let walk = WalkDir::new(out).min_depth(1).contents_first(true).sort_by_file_name();
    for entry in walk {
        let entry = entry.map_err(|error| {
            Failure::environment("store.io", format!("cannot read $OUT: {error}"))
        })?;
        let Ok(path) = entry.path().strip_prefix(out) else { continue };
        let mut wanted = false;
        for (matcher, matched) in matchers.iter().zip(&mut matched) {
            let matches = matches(matcher, path);
            *matched |= matches;
            wanted |= matches;
        }
        let is_directory = entry.file_type().is_dir();
        if !is_directory {
            files += 1;
            if files <= SHOWN {
                shown.push(path.display().to_string());
            }
        }
        if wanted {
            continue;
        }
        let removed = match is_directory {
            false => std::fs::remove_file(entry.path()),
            true => match std::fs::remove_dir(entry.path()) {
                Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => Ok(()),
                removed => removed,
            },
        };
        removed.map_err(|error| {
            let path = path.display();
            Failure::environment("store.io", format!("cannot remove $OUT/{path}: {error}"))
        })?;
    }
    let Some(missing) = matched.iter().position(|matched| !matched) else { return Ok(()) };
    let there = match files {
        0 => "it has no file".to_owned(),
        n if n <= SHOWN => format!("it has: {}", shown.join(", ")),
        n => format!("it has: {} and {} more", shown.join(", "), n - SHOWN),
    };
    let pattern = &patterns[missing];
    let message = format!("nothing in $OUT matches `{pattern}` of `outputs:`");
    Err(Failure::product("build.output_missing", message).hint(there))
}

/// Whether a pattern matches a path or a directory that it is in.
pub(crate) fn matches(matcher: &GlobMatcher, path: &Path) -> bool {
    let parts = path.ancestors().filter(|part| !part.as_os_str().is_empty());
    parts.into_iter().any(|part| matcher.is_match(part))
}

/// A matcher of relative paths in which `*` stays within a directory. Hidden
/// files are files like others.
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
        let files = ["server", "a.test", "b.test", "deploy/base/x.yaml", "deploy/y.yaml"];
        for file in files.into_iter().chain([".hidden/.x", "deploy/.y.yaml"]) {
            let path = dir.path().join(file);
            std::fs::create_dir_all(path.parent().expect("it has one")).expect("made");
            std::fs::write(path, "x").expect("written");
        }
        std::fs::create_dir(dir.path().join("empty")).expect("made");
        let patterns: Vec<_> = patterns.iter().map(|p| (*p).to_owned()).collect();
        keep(dir.path(), &patterns).map_err(|failure| failure.message)?;
        let files = WalkDir::new(dir.path()).sort_by_file_name().into_iter().flatten();
        let empty = |entry: &walkdir::DirEntry| {
            std::fs::read_dir(entry.path()).is_ok_and(|mut there| there.next().is_none())
        };
        let files = files.filter(|entry| entry.file_type().is_file() || empty(entry));
        let relative = |path: &Path| path.strip_prefix(dir.path()).map(|p| p.display().to_string());
        Ok(files.filter_map(|entry| relative(entry.path()).ok()).collect())
    }

    #[test]
    fn what_matches_stays() {
        let ok = |files: &[&str]| Ok(files.iter().map(|f| (*f).to_owned()).collect());
        assert_eq!(check(&["server"]), ok(&["server"]));
        assert_eq!(check(&["*.test"]), ok(&["a.test", "b.test"]));
        let deploy = ["deploy/.y.yaml", "deploy/base/x.yaml", "deploy/y.yaml"];
        assert_eq!(check(&["deploy"]), ok(&deploy));
        let some = ["deploy/.y.yaml", "deploy/y.yaml", "server"];
        assert_eq!(check(&["deploy/*.yaml", "server"]), ok(&some));
        assert_eq!(check(&["*"]).map(|files| files.len()), Ok(8));
        assert_eq!(check(&[".hidden"]), ok(&[".hidden/.x"]));
        assert_eq!(check(&["empty", "*.test"]), ok(&["a.test", "b.test", "empty"]));
        assert_eq!(check(&[]).map(|files| files.len()), Ok(8));
    }

    #[test]
    fn each_pattern_must_match() {
        let missing = Err("nothing in $OUT matches `client` of `outputs:`".to_owned());
        assert_eq!(check(&["server", "client"]), missing);
    }
}
