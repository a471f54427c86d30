//! `cargo xtask tidy`: rules of the repository that no compiler checks. Each is
//! a function from text to what is wrong, and a test, so that `cargo test`
//! checks the repository too.

mod edges;
mod links;
mod manifests;
mod sources;

use std::fs;

use anyhow::Context as _;

use crate::repository::{files, root};

/// A file of the repository: its path from the root, and its text.
#[derive(Debug)]
struct Text {
    path: String,
    text: String,
}

/// Checks all rules.
pub(crate) fn run() -> anyhow::Result<()> {
    let texts = texts()?;
    let mut wrong = Vec::new();
    wrong.extend(edges::check(&texts)?);
    wrong.extend(manifests::check(&texts));
    wrong.extend(sources::check(&texts));
    wrong.extend(links::check(&texts));
    anyhow::ensure!(wrong.is_empty(), "against the rules:\n  {}", wrong.join("\n  "));
    Ok(())
}

/// Every text file of the repository.
fn texts() -> anyhow::Result<Vec<Text>> {
    let mut texts = Vec::new();
    for path in files()? {
        let bytes = fs::read(root().join(&path)).with_context(|| path.display().to_string())?;
        // What is not UTF-8 is no text.
        if let Ok(text) = String::from_utf8(bytes) {
            texts.push(Text { path: path.display().to_string(), text });
        }
    }
    Ok(texts)
}

/// The text of one file.
fn text<'a>(texts: &'a [Text], path: &str) -> anyhow::Result<&'a str> {
    let found = texts.iter().find(|file| file.path == path);
    found.map(|file| file.text.as_str()).with_context(|| format!("{path} is missing"))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_repository_is_tidy() {
        let wrong = super::run().err().map(|error| format!("{error:#}"));
        assert!(wrong.is_none(), "{}", wrong.unwrap_or_default());
    }
}
