//! What the pages refer to exists.

use std::path::{Component, Path, PathBuf};

use super::Text;
use crate::repository::root;

/// What the pages refer to and is not there: the targets of links, and files of
/// `docs/` that are named in words.
pub(super) fn check(texts: &[Text]) -> Vec<String> {
    let exists = |path: &Path| root().join(path).exists();
    let pages = texts.iter().filter(|file| file.path.ends_with(".md"));
    pages.flat_map(|page| missing(page, exists)).collect()
}

fn missing(page: &Text, exists: impl Fn(&Path) -> bool) -> Vec<String> {
    let dir = Path::new(&page.path).parent().unwrap_or(Path::new(""));
    let mut wrong = Vec::new();
    for (n, line) in (1..).zip(page.text.lines()) {
        let links = targets(line, "](", ')').filter(|target| !target.contains(':'));
        let links = links.filter_map(|target| target.split('#').next()).map(|to| dir.join(to));
        let named = targets(line, "`docs/", '`').map(|rest| Path::new("docs").join(rest));
        for target in links.chain(named).map(|path| plain(&path)) {
            // A pattern or a placeholder names no file.
            let is_pattern = target.to_string_lossy().contains(['*', '<', ' ']);
            if !is_pattern && !exists(&target) {
                wrong.push(format!("{}:{n}: there is no {}", page.path, target.display()));
            }
        }
    }
    wrong
}

/// What stands between `start` and `end`, each time.
fn targets<'a>(line: &'a str, start: &'a str, end: char) -> impl Iterator<Item = &'a str> {
    line.split(start).skip(1).filter_map(move |rest| Some(rest.split_once(end)?.0))
}

/// The path without `.` and `..`.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => {
                plain.pop();
            }
            Component::CurDir => {}
            other => plain.push(other),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_followed_from_their_page() {
        let text = "[a](b.md#x), [c](../README.md), [d](https://example.com/e.md), [f](#g)\n\
            see `docs/format.md` and `docs/gone.md`, `docs/*.md`\n";
        let page = Text { path: "docs/a.md".to_owned(), text: text.to_owned() };
        let there = ["docs", "README.md", "docs/format.md"];
        let wrong = missing(&page, |path| there.contains(&path.to_str().unwrap()));
        assert_eq!(
            wrong,
            ["docs/a.md:1: there is no docs/b.md", "docs/a.md:2: there is no docs/gone.md"]
        );
    }
}
