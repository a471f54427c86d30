//! What tests leave below `$ARTIFACTS` and is kept when not all of them passed.
//! It is hostile: only regular files count, and only as much as has room.

use std::path::{Path, PathBuf};

use seatrial_core::failure::Failure;
use seatrial_store::TreeLimits;
use walkdir::WalkDir;

use crate::outputs::{matcher, matches};

/// What is kept of one suite at most.
pub(super) const LIMITS: TreeLimits = TreeLimits { entries: 2_000, bytes: 256 << 20 };
/// Files that are named in the summary.
const SHOWN: usize = 10;

/// The directory that one process of a suite could write to.
pub(super) struct Artifacts {
    /// The process's program.
    pub(super) program: String,
    /// The directory on the host.
    pub(super) on_host: PathBuf,
}

/// Copies what matches `patterns` below `into`: a directory for each program
/// and process. Returns what to tell; `None`: there is nothing to keep.
pub(super) fn keep(
    all: &[Artifacts],
    patterns: &[String],
    into: &Path,
) -> Result<Option<String>, Failure> {
    let of = |pattern: &String| matcher(pattern.strip_prefix("$ARTIFACTS/").unwrap_or(pattern));
    let matchers = patterns.iter().map(of).collect::<Result<Vec<_>, _>>()?;
    std::fs::create_dir_all(into).map_err(|error| cannot_keep(into, &error))?;
    let (mut names, mut bytes, mut left_out) = (Vec::new(), 0_u64, 0_usize);
    // Half the entries: each file may be alone in its directory.
    let most = LIMITS.entries / 2;
    for (process, artifacts) in (1..).zip(all) {
        let below = format!("{}/{process}", artifacts.program);
        for entry in WalkDir::new(&artifacts.on_host).min_depth(1).sort_by_file_name() {
            let Ok(entry) = entry else { continue };
            let Ok(path) = entry.path().strip_prefix(&artifacts.on_host) else { continue };
            if !entry.file_type().is_file() || !matchers.iter().any(|m| matches(m, path)) {
                continue;
            }
            let size = entry.metadata().map_or(u64::MAX, |meta| meta.len());
            let deep = path.components().count() > 8;
            match path.to_str() {
                Some(path) if names.len() < most && size <= LIMITS.bytes - bytes && !deep => {
                    bytes += size;
                    let name = format!("{below}/{path}");
                    copy(entry.path(), &into.join(&name))?;
                    names.push(name);
                }
                _ => left_out += 1,
            }
        }
    }
    if names.is_empty() && left_out == 0 {
        return Ok(None);
    }
    let shown = names.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    let mut summary = match names.len() {
        0 => "nothing of $ARTIFACTS is kept".to_owned(),
        n if n <= SHOWN => format!("kept of $ARTIFACTS: {shown}"),
        n => format!("kept of $ARTIFACTS: {shown} and {} more", n - SHOWN),
    };
    if left_out > 0 {
        summary.push_str(&format!("; too large, too many or badly named: {left_out}"));
    }
    Ok(Some(summary))
}

/// Copied, not moved: a second name of the same file may be anywhere.
fn copy(from: &Path, to: &Path) -> Result<(), Failure> {
    let parent = to.parent().unwrap_or(to);
    let copied = std::fs::create_dir_all(parent).and_then(|()| std::fs::copy(from, to));
    copied.map(drop).map_err(|error| cannot_keep(from, &error))
}

fn cannot_keep(path: &Path, error: &std::io::Error) -> Failure {
    Failure::environment("store.io", format!("cannot keep {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn regular_files_that_match_are_kept_by_program_and_process() {
        let dir = tempfile::tempdir().expect("a directory");
        let of = |process: &str| dir.path().join(process);
        for file in ["1/shot.png", "1/logs/a.log", "1/logs/.b.log", "1/0.json", "2/shot.png"] {
            std::fs::create_dir_all(of(file).parent().expect("it has one")).expect("made");
            std::fs::write(of(file), file).expect("written");
        }
        symlink("/etc/passwd", of("1/logs/passwd")).expect("linked");
        std::fs::hard_link(of("1/0.json"), of("2/logs")).expect("linked");
        let artifacts = |program: &str, on_host: &str| Artifacts {
            program: program.to_owned(),
            on_host: of(on_host),
        };
        let all = [artifacts("a.test", "1"), artifacts("sub/b.test", "2")];
        let patterns = ["$ARTIFACTS/*.png", "$ARTIFACTS/logs"].map(str::to_owned);
        let into = of("kept");
        let summary = keep(&all, &patterns, &into).expect("kept").expect("something");
        insta::assert_snapshot!(summary, @"kept of $ARTIFACTS: a.test/1/logs/.b.log, a.test/1/logs/a.log, a.test/1/shot.png, sub/b.test/2/logs, sub/b.test/2/shot.png");
        assert_eq!(
            std::fs::read_to_string(into.join("sub/b.test/2/shot.png")).expect("it is there"),
            "2/shot.png"
        );
        assert!(!into.join("a.test/1/logs/passwd").exists(), "a link was followed");
        let nothing = ["$ARTIFACTS/*.mp4".to_owned()];
        assert_eq!(keep(&all, &nothing, &of("none")).expect("kept"), None);
    }

    #[test]
    fn what_has_no_room_is_counted() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = std::fs::File::create(dir.path().join("huge")).expect("made");
        file.set_len(LIMITS.bytes + 1).expect("a hole");
        std::fs::write(dir.path().join("small"), "x").expect("written");
        let all = [Artifacts { program: "e2e".to_owned(), on_host: dir.path().to_owned() }];
        let into = tempfile::tempdir().expect("a directory");
        let summary = keep(&all, &["$ARTIFACTS/**".to_owned()], into.path()).expect("kept");
        insta::assert_snapshot!(summary.expect("something"), @"kept of $ARTIFACTS: e2e/1/small; too large, too many or badly named: 1");
    }
}
