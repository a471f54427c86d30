//! A first pipeline file for a project, from what its files look like.
//!
//! Finding out and writing are apart: `GoProject::detect` and its kin look at a
//! list of paths (and at texts through their caller), `template_go` and its kin
//! make text of what was found. Neither touches the file system.

mod detect;
mod node;
mod python;
mod rust;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use seatrial_core::name::Name;

/// A pipeline file, with comments, for the project with these files (paths
/// relative to its root, `/` between parts); `read` gives the text of one.
/// `None`: it is no project of a kind that is known here.
#[must_use]
pub fn template(files: &[&str], read: impl Fn(&str) -> Option<String>) -> Option<String> {
    if let Some(project) = GoProject::detect(files, &read) {
        return Some(template_go(&project));
    }
    // What a project of one language has for its tools (a `package.json` for
    // formatters, a script in Python) is often in another one.
    rust::RustProject::detect(files, &read)
        .map(|project| project.template())
        .or_else(|| python::PythonProject::detect(files, &read).map(|project| project.template()))
        .or_else(|| node::NodeProject::detect(files, &read).map(|project| project.template()))
}

/// What a Go project with manifests has.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct GoProject {
    /// The module's path: `github.com/example/guestbook`.
    module: String,
    /// Whether dependencies are in `vendor/`, so that nothing is fetched.
    vendored: bool,
    /// Whether there is a `go.sum`.
    sums: bool,
    /// Directories of main packages: `cmd/guestbook`; `.` is the root.
    commands: Vec<String>,
    /// How it gets into a cluster.
    deploy: Deploy,
    /// Packages of end-to-end tests.
    e2e: Vec<TestPackage>,
    /// Other packages with tests.
    unit: Vec<TestPackage>,
}

/// A package with tests.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct TestPackage {
    /// Its directory: `test/e2e`.
    dir: String,
    /// The directory of its module; `.` is the root.
    module: String,
    /// The build tag that its tests need.
    tag: Option<String>,
}

/// A pipeline file for a Go project, with comments, that `load` accepts.
fn template_go(project: &GoProject) -> String {
    let mut text = String::new();
    for section in
        [HEAD.to_owned(), builds(project), images(project), environments(project), suites(project)]
    {
        text.push_str(&section);
    }
    text
}

const HEAD: &str = "\
# What Seatrial builds, installs and tests.
# `seatrial check` says what is wrong with this file; `seatrial run` does it all.
seatrial: 1
";

fn builds(project: &GoProject) -> String {
    let mut text = "\nbuilds:\n".to_owned();
    for (name, dir) in commands(project) {
        let package = if dir == "." { ".".to_owned() } else { format!("./{dir}") };
        line(&mut text, &format!("  {name}:"));
        line(
            &mut text,
            "    # inputs: [go.mod, go.sum, \"cmd/**\"]   # default: every tracked file",
        );
        line(&mut text, "    tools: [go]");
        fetch(&mut text, project, ".");
        line(&mut text, "    caches: [go-build]");
        line(
            &mut text,
            "    env: { CGO_ENABLED: \"0\" }   # a static program, for an image without a C library",
        );
        let run =
            format!("go build -trimpath -buildvcs=false -o \"$OUT/{name}\" {}", shell(&package));
        line(&mut text, &format!("    run: {}", quoted(&run)));
        line(&mut text, &format!("    outputs: [{name}]"));
    }
    let (build, packages) = tests(project);
    if packages.is_empty() && !project.commands.is_empty() {
        return text;
    }
    line(&mut text, &format!("  {build}:"));
    line(&mut text, "    tools: [go]");
    fetch(&mut text, project, packages.first().map_or(".", |package| &package.module));
    line(&mut text, "    caches: [go-build]");
    line(&mut text, "    run: |");
    for package in packages {
        let below = package.dir.strip_prefix(&package.module).unwrap_or(&package.dir);
        let below = below.trim_start_matches('/');
        let tag = package.tag.as_ref().map(|tag| format!("-tags {} ", shell(tag)));
        let binary = format!("{}.test", test_name(package));
        let target = if below.is_empty() { ".".to_owned() } else { format!("./{below}") };
        let compile = format!(
            "go test -c {}-o \"$OUT/{binary}\" {}",
            tag.unwrap_or_default(),
            shell(&target)
        );
        let inside = match package.module.as_str() {
            "." => compile,
            module => format!("(cd {} && {compile})", shell(module)),
        };
        line(&mut text, &format!("      {inside}"));
    }
    if packages.is_empty() {
        line(&mut text, "      go test -c -o \"$OUT/\" ./...   # no package with tests was found");
    }
    line(&mut text, "    outputs: [\"*.test\"]");
    text
}

fn fetch(text: &mut String, project: &GoProject, module: &str) {
    if project.vendored && module == "." {
        return;
    }
    let file =
        |name: &str| if module == "." { name.to_owned() } else { format!("{module}/{name}") };
    let mut inputs = vec![quoted(&file("go.mod"))];
    if project.sums {
        inputs.push(quoted(&file("go.sum")));
    }
    let run = match module {
        "." => "go mod download".to_owned(),
        module => format!("cd {} && go mod download", shell(module)),
    };
    let (inputs, run) = (inputs.join(", "), quoted(&run));
    line(text, &format!("    fetch: {{ inputs: [{inputs}], run: {run}, network: true }}"));
}

fn images(project: &GoProject) -> String {
    let mut text = String::new();
    for name in commands(project).into_keys() {
        if text.is_empty() {
            text.push_str("\nimages:\n");
        }
        text.push_str(&project.deploy.image(&name, &guess(project, &name)));
    }
    text
}

fn environments(project: &GoProject) -> String {
    if project.deploy.is_empty() && project.e2e.is_empty() {
        return String::new();
    }
    project.deploy.environments(&base_name(project))
}

/// How a project gets into a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Deploy {
    /// The directory to apply: manifests or a kustomization.
    manifests: Option<String>,
    /// The directory of a Helm chart, used when there are no manifests.
    chart: Option<String>,
    /// Names of images in the manifests, without tag.
    images: Vec<String>,
}

impl Deploy {
    fn is_empty(&self) -> bool {
        self.manifests.is_none() && self.chart.is_none()
    }

    fn environments(&self, name: &Name) -> String {
        let step = match (&self.manifests, &self.chart) {
            (Some(dir), _) => format!("      - apply: {}\n", quoted(dir)),
            (None, Some(dir)) => {
                let chart = if dir == "." { ".".to_owned() } else { format!("./{dir}") };
                let run = format!("helm upgrade --install {name} {}", shell(&chart));
                let inputs = if dir == "." { "**".to_owned() } else { format!("{dir}/**") };
                format!(
                    "      - run: {}\n        inputs: [{}]\n        tools: [helm]\n",
                    quoted(&run),
                    quoted(&inputs)
                )
            }
            (None, None) => {
                return "\nenvironments:\n  default:   # a Kubernetes cluster with nothing in it\n    \
                        # install: [{ apply: deploy }]   # a file, directory or kustomization\n    \
                        timeout: 5m\n"
                    .to_owned();
            }
        };
        format!(
            "\nenvironments:\n  default:   # a Kubernetes cluster with the product in it\n    install:\n{step}"
        )
    }

    /// The images of the manifests that are made from `name`.
    fn replaces(&self, name: &Name) -> Vec<&str> {
        let last = |image: &str| image.rsplit('/').next() == Some(name.as_str());
        self.images.iter().map(String::as_str).filter(|image| last(image)).collect()
    }

    /// The begin of an image: its name, and which names in the manifests it
    /// stands for; `guess` when there is none like its own.
    fn image(&self, name: &Name, guess: &str) -> String {
        let mut text = String::new();
        line(&mut text, &format!("  {name}:"));
        match self.replaces(name).as_slice() {
            [] => {
                line(&mut text, "    # The name of this image in your manifests, without tag:");
                line(&mut text, &format!("    replaces: [{}]", quoted(guess)));
            }
            names => {
                let names: Vec<String> = names.iter().map(|name| quoted(name)).collect();
                line(
                    &mut text,
                    &format!("    replaces: [{}]   # as the manifests name it", names.join(", ")),
                );
            }
        }
        line(&mut text, "    base: scratch   # or name@sha256:...");
        line(
            &mut text,
            &format!("    files: [{{ build: {name}, path: {name}, to: /{name}, mode: \"0755\" }}]"),
        );
        line(&mut text, &format!("    config: {{ entrypoint: [/{name}], user: \"65532\" }}"));
        text
    }
}

/// The beginning of the one suite, by whether it is in an environment.
fn suite(in_environment: bool) -> String {
    let named = match in_environment {
        true => "  e2e:",
        false => "  unit:   # add `environments: [default]` to tests that need a cluster",
    };
    format!("\nsuites:\n{named}\n")
}

fn suites(project: &GoProject) -> String {
    let (build, _) = tests(project);
    let mut text = suite(!project.e2e.is_empty());
    line(&mut text, &format!("    build: {build}"));
    line(&mut text, "    adapter: go   # or ginkgo, junit, exec");
    if !project.e2e.is_empty() {
        line(&mut text, "    environments: [default]");
        line(&mut text, "    test-timeout: 5m");
    }
    text
}

/// The packages whose tests are run, and the build that makes them.
fn tests(project: &GoProject) -> (Name, &[TestPackage]) {
    let (usual, packages) = match project.e2e.as_slice() {
        [] => ("unit-tests", project.unit.as_slice()),
        packages => ("e2e-tests", packages),
    };
    (tests_build(usual, &commands(project)), packages)
}

/// The name of the build that makes the tests: the usual one, if no program has
/// it.
fn tests_build<T>(usual: &str, programs: &BTreeMap<Name, T>) -> Name {
    let mut names = [usual, "test-programs"].map(name).into_iter();
    names.find(|name| !programs.contains_key(name)).unwrap_or_else(|| name("seatrial-tests"))
}

/// How an image that needs more than files of the project is said: which base
/// it stands on cannot be guessed.
fn image_hint(language: &str, entrypoint: &str) -> String {
    format!(
        "\n# images:   # what your manifests run, on a base that has {language}\n\
         #   app:\n\
         #     replaces: [ghcr.io/example/app]\n\
         #     base: docker.io/library/NAME@sha256:...\n\
         #     files: [{{ build: app, path: ., to: /app }}]\n\
         #     config: {{ entrypoint: {entrypoint} }}\n"
    )
}

/// The name that the image of a module on GitHub usually has.
fn guess(project: &GoProject, name: &Name) -> String {
    let owner = project.module.strip_prefix("github.com/").and_then(|rest| rest.split('/').next());
    let owner = owner.unwrap_or("example").to_ascii_lowercase();
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    match owner.chars().all(plain) && owner.parse::<Name>().is_ok() {
        true => format!("ghcr.io/{owner}/{name}"),
        false => format!("ghcr.io/example/{name}"),
    }
}

/// Directories of commands by the names of what they make. Two directories of
/// one name could not be told apart in the file: the last one stays.
fn commands(project: &GoProject) -> BTreeMap<Name, &str> {
    let named = |dir: &'_ String| match dir.rsplit('/').next() {
        Some(last) if last != "." => name(last),
        _ => base_name(project),
    };
    project.commands.iter().map(|dir| (named(dir), dir.as_str())).collect()
}

/// The last part of the module's path that is no version.
fn base_name(project: &GoProject) -> Name {
    let version = |part: &str| {
        let digits = part.strip_prefix('v').unwrap_or_default();
        !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())
    };
    name(project.module.rsplit('/').find(|part| !version(part)).unwrap_or("app"))
}

/// The name of a test program: `test-e2e` of `test/e2e`.
fn test_name(package: &TestPackage) -> Name {
    name(&package.dir)
}

/// Any text as a name.
fn name(text: &str) -> Name {
    let fold = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let folded: String = text.chars().map(fold).take(63).collect();
    folded.trim_matches('-').parse().unwrap_or_else(|_| "app".parse().expect("a DNS label"))
}

/// Text as a word of the shell.
fn shell(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "./_-+,".contains(c);
    match text.chars().all(plain) && !text.is_empty() {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', "'\\''")),
    }
}

/// Text as a YAML scalar, in double quotes where it needs any.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "./_-+ $=&\"".contains(c);
    let first = text.chars().next().is_some_and(|c| c.is_ascii_alphabetic());
    match first && text.chars().all(plain) {
        true => text.to_owned(),
        // JSON strings are YAML's double-quoted scalars.
        false => serde_json::Value::from(text).to_string(),
    }
}

fn line(text: &mut String, line: &str) {
    writeln!(text, "{line}").expect("a String takes all text");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Known, Style, load, render};

    /// What the text of a file says, which must be without mistakes.
    pub(super) fn accepted_text(text: &str) -> seatrial_core::pipeline::Pipeline {
        let tools = &["cargo", "go", "helm", "node", "npm", "pip", "pnpm", "python3", "yarn"];
        let known = Known { kubernetes: &["1.37"], tools, images: None };
        match load(text.as_bytes(), "seatrial.yaml", &known) {
            Ok(loaded) => loaded.pipeline,
            Err(mistakes) => panic!("{text}\n{}", render(&mistakes, Style::Narrow)),
        }
    }

    /// The file for a project with these files, which must be without mistakes.
    pub(super) fn template(files: &[(&str, &str)]) -> String {
        let read = |path: &str| {
            files.iter().find(|(name, _)| *name == path).map(|(_, text)| text.to_string())
        };
        let names: Vec<&str> = files.iter().map(|(name, _)| *name).collect();
        let text = super::template(&names, read).expect("a project of a known kind");
        accepted_text(&text);
        text
    }

    fn accepted(project: &GoProject) -> seatrial_core::pipeline::Pipeline {
        accepted_text(&template_go(project))
    }

    #[test]
    fn file_of_a_usual_project() {
        let package = |dir: &str| TestPackage {
            dir: dir.to_owned(),
            module: ".".to_owned(),
            tag: Some("e2e".to_owned()),
        };
        let project = GoProject {
            module: "github.com/Example/guestbook/v2".to_owned(),
            sums: true,
            commands: vec!["cmd/guestbook".to_owned()],
            deploy: Deploy {
                manifests: Some("deploy/base".to_owned()),
                chart: None,
                images: vec!["ghcr.io/example/guestbook".to_owned(), "redis".to_owned()],
            },
            e2e: vec![package("test/e2e")],
            ..GoProject::default()
        };
        accepted(&project);
        insta::assert_snapshot!(template_go(&project), @r##"
        # What Seatrial builds, installs and tests.
        # `seatrial check` says what is wrong with this file; `seatrial run` does it all.
        seatrial: 1

        builds:
          guestbook:
            # inputs: [go.mod, go.sum, "cmd/**"]   # default: every tracked file
            tools: [go]
            fetch: { inputs: [go.mod, go.sum], run: go mod download, network: true }
            caches: [go-build]
            env: { CGO_ENABLED: "0" }   # a static program, for an image without a C library
            run: go build -trimpath -buildvcs=false -o "$OUT/guestbook" ./cmd/guestbook
            outputs: [guestbook]
          e2e-tests:
            tools: [go]
            fetch: { inputs: [go.mod, go.sum], run: go mod download, network: true }
            caches: [go-build]
            run: |
              go test -c -tags e2e -o "$OUT/test-e2e.test" ./test/e2e
            outputs: ["*.test"]

        images:
          guestbook:
            replaces: [ghcr.io/example/guestbook]   # as the manifests name it
            base: scratch   # or name@sha256:...
            files: [{ build: guestbook, path: guestbook, to: /guestbook, mode: "0755" }]
            config: { entrypoint: [/guestbook], user: "65532" }

        environments:
          default:   # a Kubernetes cluster with the product in it
            install:
              - apply: deploy/base

        suites:
          e2e:
            build: e2e-tests
            adapter: go   # or ginkgo, junit, exec
            environments: [default]
            test-timeout: 5m
        "##);
    }

    #[test]
    fn every_shape_of_a_project_is_accepted() {
        let some = |text: &str| Some(text.to_owned());
        let package = |dir: &str, module: &str| TestPackage {
            dir: dir.to_owned(),
            module: module.to_owned(),
            tag: None,
        };
        accepted(&GoProject::default());
        let odd = GoProject {
            module: "example.com/Ä b/it's:{x}".to_owned(),
            commands: vec![
                ".".to_owned(),
                "cmd/We Ird".to_owned(),
                "cmd/a: b".to_owned(),
                "cmd/e2e-tests".to_owned(),
            ],
            deploy: Deploy { chart: some("charts/it's \"x\": y"), ..Deploy::default() },
            e2e: vec![package("e2e/$(x)", "e2e"), package("e2e", "e2e"), package("x'y", ".")],
            ..GoProject::default()
        };
        let pipeline = accepted(&odd);
        assert_eq!(pipeline.builds.len(), 5);
        let vendored = GoProject {
            vendored: true,
            deploy: Deploy { manifests: some("."), ..Deploy::default() },
            unit: vec![package(".", "."), package("pkg/a", ".")],
            ..GoProject::default()
        };
        let pipeline = accepted(&vendored);
        assert!(pipeline.builds.values().all(|build| build.fetch.is_none()));
        assert_eq!(pipeline.suites.len(), 1);
    }
}
