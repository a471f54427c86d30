//! Which crate may use which: the table in `ARCHITECTURE.md` against what the
//! manifests say.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context as _;
use serde::Deserialize;

use super::{Text, text};
use crate::repository::cargo;

/// A dependency of one crate of ours on another, by their names in the table.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Edge {
    from: String,
    to: String,
    /// Only tests, benches and examples have it.
    only_tests: bool,
}

/// What a crate may use, by the table.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Allowed {
    all: bool,
    always: BTreeSet<String>,
    in_tests: BTreeSet<String>,
}

/// What is wrong with the edges between crates.
pub(super) fn check(texts: &[Text]) -> anyhow::Result<Vec<String>> {
    let table = table(text(texts, "ARCHITECTURE.md")?)?;
    let (crates, edges) = workspace()?;
    Ok(compare(&table, &crates, &edges))
}

fn compare(
    table: &BTreeMap<String, Allowed>,
    crates: &BTreeSet<String>,
    edges: &BTreeSet<Edge>,
) -> Vec<String> {
    let mut wrong = Vec::new();
    for name in crates.iter().filter(|name| !table.contains_key(*name)) {
        wrong.push(format!("crate {name} is not in the table of ARCHITECTURE.md"));
    }
    for name in table.keys().filter(|name| !crates.contains(*name)) {
        wrong.push(format!("ARCHITECTURE.md has a crate {name} that does not exist"));
    }
    let none = Allowed::default();
    for Edge { from, to, only_tests } in edges {
        let allowed = table.get(from).unwrap_or(&none);
        let may = allowed.all
            || allowed.always.contains(to)
            || (*only_tests && allowed.in_tests.contains(to));
        if !may {
            let what = if *only_tests { "in its tests" } else { "" };
            wrong.push(format!("{from} must not use {to} {what}").trim_end().to_owned());
        }
    }
    wrong
}

/// Reads the table: rows ``| `crate` | idea | what it may use |``, the last
/// column being `–`, `all`, or names, those for tests after `tests:`.
fn table(page: &str) -> anyhow::Result<BTreeMap<String, Allowed>> {
    let (_, section) = page.split_once("\n## Crates\n").context("no section Crates")?;
    let section = section.split("\n## ").next().unwrap_or_default();
    let mut table = BTreeMap::new();
    for row in section.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [name, _, uses] = cells.as_slice() else {
            anyhow::bail!("not three cells: {row}");
        };
        let (always, in_tests) = uses.split_once("tests:").unwrap_or((uses, ""));
        let names = |list: &str| -> BTreeSet<String> {
            let names = list.split([',', ';']).map(str::trim);
            names.filter(|name| !name.is_empty() && *name != "–").map(str::to_owned).collect()
        };
        let mut allowed = Allowed { all: false, always: names(always), in_tests: names(in_tests) };
        allowed.all = allowed.always.remove("all");
        table.insert(name.trim_matches('`').to_owned(), allowed);
    }
    anyhow::ensure!(!table.is_empty(), "ARCHITECTURE.md has no table of crates");
    Ok(table)
}

/// What is read of `cargo metadata` (<https://doc.rust-lang.org/cargo/commands/cargo-metadata.html>,
/// format 1).
#[derive(Debug, Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Debug, Deserialize)]
struct Package {
    name: String,
    dependencies: Vec<Dependency>,
}

#[derive(Debug, Deserialize)]
struct Dependency {
    name: String,
    /// `null` is what the product needs.
    kind: Option<String>,
}

/// The crates of the workspace and the edges between them.
fn workspace() -> anyhow::Result<(BTreeSet<String>, BTreeSet<Edge>)> {
    let output = cargo(&["metadata", "--no-deps", "--format-version", "1"]).output()?;
    anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim());
    let metadata: Metadata = serde_json::from_slice(&output.stdout).context("cargo metadata")?;
    Ok(between(&metadata))
}

fn between(metadata: &Metadata) -> (BTreeSet<String>, BTreeSet<Edge>) {
    let names: BTreeSet<_> = metadata.packages.iter().map(|package| &package.name).collect();
    let mut edges = BTreeSet::new();
    for package in &metadata.packages {
        for dependency in package.dependencies.iter().filter(|d| names.contains(&d.name)) {
            edges.insert(Edge {
                from: short(&package.name),
                to: short(&dependency.name),
                only_tests: dependency.kind.as_deref() == Some("dev"),
            });
        }
    }
    (names.iter().map(|name| short(name)).collect(), edges)
}

/// The name in the table: `core` of `seatrial-core`, `cli` of the command.
fn short(package: &str) -> String {
    match package {
        "seatrial" => "cli",
        other => other.strip_prefix("seatrial-").unwrap_or(other),
    }
    .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# A\n\n## Crates\n\n| crate | one idea | may use |\n|---|---|---|\n\
        | `core` | words | – |\n| `store` | blobs | core; tests: source |\n| `cli` | joins | all |\n\n\
        ## Then\n\n| `other` | x | y |\n";

    fn edge(from: &str, to: &str, only_tests: bool) -> Edge {
        Edge { from: from.to_owned(), to: to.to_owned(), only_tests }
    }

    fn wrong(crates: &[&str], edges: &[Edge]) -> Vec<String> {
        let crates = crates.iter().map(|name| (*name).to_owned()).collect();
        compare(&table(PAGE).unwrap(), &crates, &edges.iter().cloned().collect())
    }

    #[test]
    fn edges_are_read_from_what_cargo_says() {
        let metadata = r#"{"packages": [
            {"name": "seatrial-core", "dependencies": [{"name": "serde", "kind": null}]},
            {"name": "seatrial", "dependencies": [
                {"name": "seatrial-core", "kind": null}, {"name": "xtask", "kind": "dev"}]},
            {"name": "xtask", "dependencies": [{"name": "seatrial-core", "kind": "build"}]}]}"#;
        let (crates, edges) = between(&serde_json::from_str(metadata).unwrap());
        assert_eq!(crates.into_iter().collect::<Vec<_>>(), ["cli", "core", "xtask"]);
        assert_eq!(
            edges.into_iter().collect::<Vec<_>>(),
            [edge("cli", "core", false), edge("cli", "xtask", true), edge("xtask", "core", false)]
        );
    }

    #[test]
    fn edges_of_the_table_are_fine() {
        let edges =
            [edge("store", "core", false), edge("store", "source", true), edge("cli", "x", false)];
        assert_eq!(wrong(&["core", "store", "cli"], &edges), Vec::<String>::new());
    }

    #[test]
    fn every_other_edge_is_wrong() {
        let edges = [edge("core", "store", true), edge("store", "source", false)];
        assert_eq!(
            wrong(&["core", "store", "cli"], &edges),
            ["core must not use store in its tests", "store must not use source"]
        );
    }

    #[test]
    fn crates_and_rows_belong_together() {
        assert_eq!(
            wrong(&["core", "cli", "new"], &[]),
            [
                "crate new is not in the table of ARCHITECTURE.md",
                "ARCHITECTURE.md has a crate store that does not exist"
            ]
        );
    }
}
