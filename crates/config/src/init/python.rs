//! Python projects, by their `pyproject.toml` or `requirements.txt`.

use super::detect::is_hidden;
use super::{Deploy, HEAD, image_hint, line, name, quoted, shell, suite};

/// What a Python project has.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct PythonProject {
    /// Files of requirements at the root: `requirements.txt`.
    requirements: Vec<String>,
    /// Whether `pyproject.toml` names dependencies.
    dependencies: bool,
    /// Whether the tests are for pytest; else for unittest.
    pytest: bool,
    /// Whether pytest is among what is required.
    requires_pytest: bool,
    deploy: Deploy,
}

impl PythonProject {
    pub(super) fn detect(files: &[&str], read: &impl Fn(&str) -> Option<String>) -> Option<Self> {
        let files: Vec<&str> = files.iter().copied().filter(|path| !is_hidden(path)).collect();
        let is_requirements = |path: &&&str| {
            !path.contains('/') && path.contains("requirements") && path.ends_with(".txt")
        };
        let requirements: Vec<String> =
            files.iter().filter(is_requirements).map(ToString::to_string).collect();
        let has_project = files.contains(&"pyproject.toml");
        if requirements.is_empty() && !has_project {
            return None;
        }
        let project = has_project.then(|| read("pyproject.toml")).flatten().unwrap_or_default();
        let names_pytest = |path: &str| {
            let text = read(path).unwrap_or_default();
            text.lines().any(|line| line.trim_start().starts_with("pytest"))
        };
        let requires_pytest =
            requirements.iter().any(|path| names_pytest(path)) || project.contains("\"pytest");
        let mut tests = files.iter().filter(|path| path.ends_with(".py"));
        let uses_pytest = |path: &&str| {
            path.ends_with("conftest.py")
                || read(path).is_some_and(|text| text.contains("import pytest"))
        };
        Some(Self {
            dependencies: project.lines().any(|line| line.trim().starts_with("dependencies")),
            pytest: requires_pytest || project.contains("[tool.pytest") || tests.any(uses_pytest),
            requirements,
            requires_pytest,
            deploy: Deploy::detect(&files, read),
        })
    }

    pub(super) fn template(&self) -> String {
        let mut text = HEAD.to_owned();
        text.push_str("\nbuilds:\n  app:   # the project with its packages, as tests need it\n");
        let fetches = !self.requirements.is_empty() || self.dependencies;
        if fetches {
            line(&mut text, "    tools: [python3, pip]");
            self.fetch(&mut text);
            line(&mut text, "    caches: [pip]");
        }
        line(&mut text, "    run: |");
        line(&mut text, "      cp -r . \"$OUT/\" && chmod -R u+w \"$OUT\"");
        if fetches {
            line(&mut text, "      cp -r \"$FETCHED\" \"$OUT/.packages\"");
        }
        let in_cluster = !self.deploy.is_empty();
        if in_cluster {
            text.push_str(&image_hint("Python", "[python3, /app/main.py]"));
            text.push_str(&self.deploy.environments(&name("app")));
        }
        text.push_str(&suite(in_cluster));
        line(&mut text, "    build: app");
        match self.pytest {
            true => line(&mut text, "    adapter: pytest"),
            false => {
                line(&mut text, "    adapter: exec   # or pytest, which runs unittest's cases too");
                line(&mut text, "    run: python3 -m unittest discover");
            }
        }
        line(&mut text, "    tools: [python3]");
        let packages = if fetches { ":/tests/.packages/python" } else { "" };
        line(&mut text, &format!("    env: {{ PYTHONPATH: \"/tests:/tests/src{packages}\" }}"));
        if in_cluster {
            line(&mut text, "    environments: [default]");
        }
        text
    }

    fn fetch(&self, text: &mut String) {
        let more = if self.pytest && !self.requires_pytest { " pytest" } else { "" };
        let mut inputs: Vec<String> = self.requirements.iter().map(|path| quoted(path)).collect();
        let files: Vec<String> =
            self.requirements.iter().map(|path| format!("-r {}", shell(path))).collect();
        line(text, "    fetch:");
        if self.requirements.is_empty() {
            inputs.push("pyproject.toml".to_owned());
        }
        line(text, &format!("      inputs: [{}]", inputs.join(", ")));
        line(text, "      network: true");
        match self.requirements.is_empty() {
            false => line(text, &format!("      run: pip install {}{more}", files.join(" "))),
            true => {
                line(text, "      run: |");
                line(
                    text,
                    &format!("        python3 -c {} > /tmp/requirements.txt", shell(DEPENDENCIES)),
                );
                line(text, &format!("        pip install -r /tmp/requirements.txt{more}"));
            }
        }
    }
}

/// Prints the dependencies of a `pyproject.toml`, optional ones included.
const DEPENDENCIES: &str = "import itertools, tomllib; \
p = tomllib.load(open(\"pyproject.toml\", \"rb\")).get(\"project\", {}); \
print(*p.get(\"dependencies\", []), *itertools.chain(*p.get(\"optional-dependencies\", {}).values()), sep=\"\\n\")";

#[cfg(test)]
mod tests {
    use crate::init::tests::template;

    #[test]
    fn projects() {
        let shop = template(&[
            ("requirements.txt", "requests==2.0\n"),
            ("requirements-dev.txt", "pytest>=8\n"),
            ("shop.py", ""),
            ("k8s/a.yaml", "apiVersion: v1\n"),
        ]);
        insta::assert_snapshot!(shop, @r#"
        # What Seatrial builds, installs and tests.
        # `seatrial check` says what is wrong with this file; `seatrial run` does it all.
        seatrial: 1

        builds:
          app:   # the project with its packages, as tests need it
            tools: [python3, pip]
            fetch:
              inputs: [requirements.txt, requirements-dev.txt]
              network: true
              run: pip install -r requirements.txt -r requirements-dev.txt
            caches: [pip]
            run: |
              cp -r . "$OUT/" && chmod -R u+w "$OUT"
              cp -r "$FETCHED" "$OUT/.packages"

        # images:   # what your manifests run, on a base that has Python
        #   app:
        #     replaces: [ghcr.io/example/app]
        #     base: docker.io/library/NAME@sha256:...
        #     files: [{ build: app, path: ., to: /app }]
        #     config: { entrypoint: [python3, /app/main.py] }

        environments:
          default:   # a Kubernetes cluster with the product in it
            install:
              - apply: k8s

        suites:
          e2e:
            build: app
            adapter: pytest
            tools: [python3]
            env: { PYTHONPATH: "/tests:/tests/src:/tests/.packages/python" }
            environments: [default]
        "#);
        let project = template(&[
            ("pyproject.toml", "[project]\ndependencies = [\"requests\"]\n"),
            ("tests/conftest.py", ""),
        ]);
        insta::assert_snapshot!(project, @r#"
        # What Seatrial builds, installs and tests.
        # `seatrial check` says what is wrong with this file; `seatrial run` does it all.
        seatrial: 1

        builds:
          app:   # the project with its packages, as tests need it
            tools: [python3, pip]
            fetch:
              inputs: [pyproject.toml]
              network: true
              run: |
                python3 -c 'import itertools, tomllib; p = tomllib.load(open("pyproject.toml", "rb")).get("project", {}); print(*p.get("dependencies", []), *itertools.chain(*p.get("optional-dependencies", {}).values()), sep="\n")' > /tmp/requirements.txt
                pip install -r /tmp/requirements.txt pytest
            caches: [pip]
            run: |
              cp -r . "$OUT/" && chmod -R u+w "$OUT"
              cp -r "$FETCHED" "$OUT/.packages"

        suites:
          unit:   # add `environments: [default]` to tests that need a cluster
            build: app
            adapter: pytest
            tools: [python3]
            env: { PYTHONPATH: "/tests:/tests/src:/tests/.packages/python" }
        "#);
        let plain = template(&[("pyproject.toml", ""), ("test_a.py", "import unittest\n")]);
        insta::assert_snapshot!(plain, @r#"
        # What Seatrial builds, installs and tests.
        # `seatrial check` says what is wrong with this file; `seatrial run` does it all.
        seatrial: 1

        builds:
          app:   # the project with its packages, as tests need it
            run: |
              cp -r . "$OUT/" && chmod -R u+w "$OUT"

        suites:
          unit:   # add `environments: [default]` to tests that need a cluster
            build: app
            adapter: exec   # or pytest, which runs unittest's cases too
            run: python3 -m unittest discover
            tools: [python3]
            env: { PYTHONPATH: "/tests:/tests/src" }
        "#);
    }
}
