//! What a project has, from the paths of its files: how it gets into a cluster,
//! and what a Go project has besides.

use std::collections::BTreeSet;

use super::{Deploy, GoProject, TestPackage};
use crate::value::is_repository;

/// Directories that usually hold manifests.
const MANIFESTS: &[&str] =
    &["deploy", "deployment", "manifests", "k8s", "kubernetes", "kustomize", "config"];
/// Parts of a path that say end-to-end test.
pub(super) const E2E: &[&str] = &["e2e", "integration", "acceptance", "conformance"];

impl GoProject {
    /// What the project with these files (paths relative to its root, `/`
    /// between parts) has; `read` gives the text of one. `None`: there is no
    /// Go module at the root.
    pub(super) fn detect(files: &[&str], read: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let files: Vec<&str> = files.iter().copied().filter(|path| !is_hidden(path)).collect();
        if !files.contains(&"go.mod") {
            return None;
        }
        let go_mod = read("go.mod").unwrap_or_default();
        let module = go_mod.lines().find_map(|line| line.trim().strip_prefix("module "));
        let (e2e, unit) = test_packages(&files, &read);
        Some(Self {
            module: module.unwrap_or("app").trim().trim_matches('"').to_owned(),
            vendored: files.contains(&"vendor/modules.txt"),
            sums: files.contains(&"go.sum"),
            commands: commands(&files, &read),
            deploy: Deploy::detect(&files, &read),
            e2e,
            unit,
        })
    }
}

impl Deploy {
    /// How the project with these files gets into a cluster.
    pub(super) fn detect(files: &[&str], read: &impl Fn(&str) -> Option<String>) -> Self {
        let manifests = manifests(files, read);
        let images = manifests.as_deref().map(|dir| images(files, dir, read));
        let charts = files.iter().filter_map(|path| in_dir(path, "Chart.yaml"));
        let chart = charts.min_by_key(|dir| (dir.len(), *dir)).map(str::to_owned);
        Self { manifests, chart, images: images.unwrap_or_default() }
    }
}

/// Main packages: directories of `cmd/`, else the root.
fn commands(files: &[&str], read: &impl Fn(&str) -> Option<String>) -> Vec<String> {
    let is_main = |path: &str| {
        let text = read(path).unwrap_or_else(|| "package main".to_owned());
        text.lines().any(|line| line.trim() == "package main")
    };
    let sources = || files.iter().filter(|p| p.ends_with(".go") && !p.ends_with("_test.go"));
    let below_cmd = sources().filter(|path| {
        let parts: Vec<&str> = path.split('/').collect();
        matches!(parts.as_slice(), ["cmd", _, _]) && is_main(path)
    });
    let dirs: BTreeSet<&str> = below_cmd.map(|path| dir(path)).collect();
    let roots: &[&str] = match sources().any(|path| dir(path) == "." && is_main(path)) {
        true => &["."],
        false => &[],
    };
    let found = if dirs.is_empty() { roots.to_vec() } else { dirs.into_iter().collect() };
    found.into_iter().map(str::to_owned).collect()
}

/// The directory to apply: a kustomization before plain manifests, `base` and
/// `default` before others, short paths before long ones.
fn manifests(files: &[&str], read: &impl Fn(&str) -> Option<String>) -> Option<String> {
    let charts: Vec<&str> = files.iter().filter_map(|path| in_dir(path, "Chart.yaml")).collect();
    let usual = |path: &&&str| {
        let top = path.split('/').next().unwrap_or_default();
        let in_chart =
            charts.iter().any(|chart| *chart == "." || path.starts_with(&format!("{chart}/")));
        MANIFESTS.contains(&top) && is_yaml(path) && !in_chart
    };
    let rank = |path: &str| {
        let kustomization = in_dir(path, "kustomization.yaml").is_some();
        let last = dir(path).rsplit('/').next().unwrap_or_default();
        let preferred = matches!(last, "default" | "base");
        (!kustomization, !preferred, path.matches('/').count(), path.to_owned())
    };
    let is_object = |path: &&&str| read(path).is_none_or(|text| text.contains("apiVersion:"));
    let found = files.iter().filter(usual).filter(is_object).min_by_key(|path| rank(path));
    found.map(|path| dir(path).to_owned())
}

/// Images that the manifests below a directory name.
fn images(files: &[&str], dir: &str, read: &impl Fn(&str) -> Option<String>) -> Vec<String> {
    let below =
        |path: &&&str| is_yaml(path) && (dir == "." || path.starts_with(&format!("{dir}/")));
    let texts = files.iter().filter(below).filter_map(|path| read(path));
    let mut names = BTreeSet::new();
    for text in texts {
        let values = text.lines().filter_map(|line| {
            line.trim().trim_start_matches("- ").strip_prefix("image:").map(str::trim)
        });
        for value in values {
            let value = value.split(' ').next().unwrap_or_default().trim_matches(['"', '\'']);
            let name = value.split('@').next().unwrap_or_default();
            let name = match name.rsplit_once(':') {
                Some((name, tag)) if !tag.contains('/') => name,
                _ => name,
            };
            if is_repository(name) {
                names.insert(name.to_owned());
            }
        }
    }
    names.into_iter().collect()
}

/// Packages with tests: end-to-end ones, and others.
fn test_packages(
    files: &[&str],
    read: &impl Fn(&str) -> Option<String>,
) -> (Vec<TestPackage>, Vec<TestPackage>) {
    let module_of = |path: &str| {
        let holds = |module: &&str| *module != "." && path.starts_with(&format!("{module}/"));
        let modules = files.iter().filter_map(|path| in_dir(path, "go.mod"));
        modules.filter(holds).max_by_key(|module| module.len()).unwrap_or(".").to_owned()
    };
    let mut packages: BTreeSet<TestPackage> = BTreeSet::new();
    for path in files.iter().filter(|path| path.ends_with("_test.go")) {
        let text = read(path).unwrap_or_default();
        let tag = text.lines().find_map(|line| line.strip_prefix("//go:build "));
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let tag = tag.map(str::trim).filter(|tag| tag.chars().all(word)).map(str::to_owned);
        let package = TestPackage { dir: dir(path).to_owned(), module: module_of(path), tag };
        // A file without a tag may only hold helpers of those with one.
        match packages.iter().find(|known| known.dir == package.dir).cloned() {
            Some(known) if known.tag.is_some() => {}
            Some(known) => {
                packages.remove(&known);
                packages.insert(package);
            }
            None => {
                packages.insert(package);
            }
        }
    }
    let is_e2e = |package: &TestPackage| {
        let mut parts = package.dir.split('/');
        parts.any(|part| E2E.contains(&part))
            || package.tag.as_deref().is_some_and(|t| E2E.contains(&t))
    };
    packages.into_iter().partition(is_e2e)
}

fn is_yaml(path: &str) -> bool {
    path.ends_with(".yaml") || path.ends_with(".yml")
}

/// Whether a path belongs to a tool or to dependencies, not to the project.
pub(super) fn is_hidden(path: &str) -> bool {
    let foreign = |part: &str| {
        part.starts_with('.') || matches!(part, "testdata" | "node_modules" | "third_party")
    };
    path != "vendor/modules.txt" && (path.starts_with("vendor/") || path.split('/').any(foreign))
}

fn dir(path: &str) -> &str {
    path.rsplit_once('/').map_or(".", |(dir, _)| dir)
}

/// The directory of a path whose file has a name.
pub(super) fn in_dir<'p>(path: &'p str, name: &str) -> Option<&'p str> {
    let (dir, file) = path.rsplit_once('/').unwrap_or((".", path));
    (file == name).then_some(dir)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_usual_project() {
        let files = [
            "go.mod",
            "go.sum",
            "cmd/guestbook/main.go",
            "cmd/guestbook/main_test.go",
            "cmd/internal/x/main.go",
            "deploy/base/kustomization.yaml",
            "deploy/base/deployment.yaml",
            "deploy/overlays/prod/kustomization.yaml",
            "config/app.yaml",
            "charts/guestbook/Chart.yaml",
            "test/e2e/go.mod",
            "test/e2e/roll/roll_test.go",
            "vendor/x/y/e2e/x_test.go",
            ".github/workflows/ci.yaml",
        ];
        let read = |path: &str| {
            let text = match path {
                "go.mod" => "module github.com/example/guestbook\n\ngo 1.27\n",
                "config/app.yaml" => "port: 80\n",
                "test/e2e/roll/roll_test.go" => "//go:build e2e\n\npackage roll\n",
                "deploy/base/deployment.yaml" => {
                    "apiVersion: v1\n      - image: \"ghcr.io/example/guestbook:1.2\" # x\n  image: redis@sha256:00\n"
                }
                path if path.ends_with(".go") => "package main\n",
                _ => "apiVersion: v1\n",
            };
            Some(text.to_owned())
        };
        let project = GoProject::detect(&files, read).expect("a Go module");
        insta::assert_debug_snapshot!(project, @r#"
        GoProject {
            module: "github.com/example/guestbook",
            vendored: false,
            sums: true,
            commands: [
                "cmd/guestbook",
            ],
            deploy: Deploy {
                manifests: Some(
                    "deploy/base",
                ),
                chart: Some(
                    "charts/guestbook",
                ),
                images: [
                    "ghcr.io/example/guestbook",
                    "redis",
                ],
            },
            e2e: [
                TestPackage {
                    dir: "test/e2e/roll",
                    module: "test/e2e",
                    tag: Some(
                        "e2e",
                    ),
                },
            ],
            unit: [
                TestPackage {
                    dir: "cmd/guestbook",
                    module: ".",
                    tag: None,
                },
            ],
        }
        "#);
        assert_eq!(GoProject::detect(&["main.go"], read), None);
    }

    #[test]
    fn a_single_program_without_manifests() {
        let files = ["go.mod", "main.go", "main_test.go", "pkg/a/a_test.go"];
        let project = GoProject::detect(&files, |_| None).expect("a Go module");
        assert_eq!(project.commands, ["."]);
        assert_eq!(project.deploy, Deploy::default());
        assert_eq!((project.e2e.len(), project.unit.len()), (0, 2));
    }
}
