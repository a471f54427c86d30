//! Rules for `Cargo.toml` and `Cargo.lock`.

use super::Text;

/// Packages in `Cargo.lock`. Each is time in every cold build: who raises this
/// says in the same commit what it buys (`docs/dependencies.md`).
const MOST_PACKAGES: usize = 390;

/// What every crate takes from the workspace.
const INHERITED: &[&str] = &[
    "version.workspace = true",
    "edition.workspace = true",
    "rust-version.workspace = true",
    "license.workspace = true",
    "publish.workspace = true",
    "[lints]\nworkspace = true",
];

/// What is wrong with the manifests and the lock file.
pub(super) fn check(texts: &[Text]) -> Vec<String> {
    let mut wrong = Vec::new();
    for Text { path, text } in texts {
        if path == "Cargo.lock" {
            let packages = text.lines().filter(|line| *line == "[[package]]").count();
            if packages > MOST_PACKAGES {
                wrong.push(format!("{path} has {packages} packages, {MOST_PACKAGES} are allowed"));
            }
        } else if path.ends_with("Cargo.toml") && path != "Cargo.toml" {
            for line in INHERITED.iter().filter(|line| !text.contains(*line)) {
                wrong.push(format!("{path} lacks `{}`", line.replace('\n', " ")));
            }
            wrong.extend(own_versions(text).map(|line| {
                format!("{path}: `{line}`: versions stand in the root's Cargo.toml only")
            }));
        }
    }
    wrong
}

/// Lines in sections of dependencies that do not take them from the workspace.
fn own_versions(manifest: &str) -> impl Iterator<Item = &str> {
    let mut in_dependencies = false;
    manifest.lines().filter(move |line| {
        if line.starts_with('[') {
            in_dependencies = line.ends_with("dependencies]");
        }
        in_dependencies && line.contains('=') && !line.contains("workspace = true")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_takes_everything_from_the_workspace() {
        let good = format!("[package]\nname = \"x\"\n{}\n", INHERITED.join("\n"));
        let bad = format!("{good}\n[dependencies]\nserde = \"1\"\nanyhow.workspace = true\n");
        let check = |text: String| check(&[Text { path: "crates/x/Cargo.toml".into(), text }]);
        assert_eq!(check(good), Vec::<String>::new());
        assert_eq!(
            check(bad.replace("[lints]\nworkspace = true", "")),
            [
                "crates/x/Cargo.toml lacks `[lints] workspace = true`",
                "crates/x/Cargo.toml: `serde = \"1\"`: versions stand in the root's Cargo.toml only",
            ]
        );
    }

    #[test]
    fn a_lock_file_that_grew_too_much_is_wrong() {
        let lock =
            |packages| Text { path: "Cargo.lock".into(), text: "[[package]]\n".repeat(packages) };
        assert_eq!(check(&[lock(MOST_PACKAGES)]), Vec::<String>::new());
        assert_eq!(check(&[lock(MOST_PACKAGES + 1)]).len(), 1);
    }
}
