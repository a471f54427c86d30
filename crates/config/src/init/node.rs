//! Node projects, by their `package.json`.

use super::detect::is_hidden;
use super::{Deploy, HEAD, image_hint, line, name, quoted, suite};

/// What a Node project has.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct NodeProject {
    /// What the package is called.
    name: String,
    manager: Manager,
    /// The lock file, if there is one.
    lock: Option<&'static str>,
    /// Whether packages come from elsewhere.
    fetches: bool,
    /// Whether there is a script `build`.
    builds: bool,
    /// The script `test`.
    test: Option<String>,
    deploy: Deploy,
}

/// What installs packages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Manager {
    #[default]
    Npm,
    Pnpm,
    Yarn,
}

impl NodeProject {
    pub(super) fn detect(files: &[&str], read: &impl Fn(&str) -> Option<String>) -> Option<Self> {
        let files: Vec<&str> = files.iter().copied().filter(|path| !is_hidden(path)).collect();
        if !files.contains(&"package.json") {
            return None;
        }
        // What is no JSON is for Node to tell; a file to start from helps all the same.
        let package = read("package.json").and_then(|text| serde_json::from_str(&text).ok());
        let package: serde_json::Value = package.unwrap_or_default();
        let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
        let depends = |field: &str| package[field].as_object().is_some_and(|map| !map.is_empty());
        let locks = [
            ("package-lock.json", Manager::Npm),
            ("npm-shrinkwrap.json", Manager::Npm),
            ("pnpm-lock.yaml", Manager::Pnpm),
            ("yarn.lock", Manager::Yarn),
        ];
        let lock = locks.into_iter().find(|(file, _)| files.contains(file));
        Some(Self {
            name: text(&package["name"]).unwrap_or_else(|| "app".to_owned()),
            manager: lock.map(|(_, manager)| manager).unwrap_or_default(),
            lock: lock.map(|(file, _)| file),
            fetches: depends("dependencies") || depends("devDependencies"),
            builds: package["scripts"]["build"].is_string(),
            test: text(&package["scripts"]["test"]),
            deploy: Deploy::detect(&files, read),
        })
    }

    pub(super) fn template(&self) -> String {
        let (tool, install) = match (self.manager, self.lock) {
            (Manager::Npm, Some(_)) => ("npm", "npm ci"),
            (Manager::Npm, None) => ("npm", "npm install --no-package-lock"),
            (Manager::Pnpm, _) => ("pnpm", "pnpm install --frozen-lockfile"),
            (Manager::Yarn, _) => ("yarn", "yarn install --frozen-lockfile"),
        };
        let mut text = HEAD.to_owned();
        text.push_str("\nbuilds:\n  app:   # the project with its packages, as tests need it\n");
        line(&mut text, &format!("    tools: [node, {tool}]"));
        if self.fetches {
            if self.lock.is_none() {
                line(&mut text, "    # There is no lock file: each fetch may get other versions.");
            }
            let lock = self.lock.map(|lock| format!(", {lock}")).unwrap_or_default();
            line(&mut text, "    fetch:");
            line(&mut text, &format!("      inputs: [package.json{lock}]"));
            line(&mut text, "      network: true");
            line(&mut text, &format!("      run: cp -r . \"$OUT/\" && cd \"$OUT\" && {install}"));
        }
        line(&mut text, "    run: |");
        line(&mut text, "      cp -r . \"$OUT/\" && chmod -R u+w \"$OUT\"");
        if self.fetches {
            line(&mut text, "      cp -r \"$FETCHED/node_modules\" \"$OUT/\"");
        }
        if self.builds {
            line(&mut text, &format!("      cd \"$OUT\" && {tool} run build"));
        }
        let in_cluster = !self.deploy.is_empty();
        if in_cluster {
            text.push_str(&image_hint("Node", "[node, /app/index.js]"));
            text.push_str(&self.deploy.environments(&name(&self.name)));
        }
        text.push_str(&suite(in_cluster));
        line(&mut text, "    build: app");
        let (adapter, run, note) = self.runs(tool);
        line(&mut text, &format!("    adapter: {adapter}{note}"));
        line(&mut text, &format!("    tools: [node, {tool}]"));
        if in_cluster {
            line(&mut text, "    environments: [default]");
        }
        line(&mut text, &format!("    run: {}", quoted(&run)));
        text
    }

    /// How the tests are run: adapter, command and a remark.
    fn runs(&self, tool: &str) -> (&'static str, String, &'static str) {
        let test = self.test.as_deref().unwrap_or_default();
        let first: Vec<&str> = test.split_whitespace().collect();
        let junit = match first.as_slice() {
            [] | ["node", "--test", ..] => {
                "node --test --test-reporter=junit --test-reporter-destination=\"$JUNIT\""
            }
            ["vitest", ..] => {
                "node_modules/.bin/vitest run --reporter=junit --outputFile=\"$JUNIT\""
            }
            ["mocha", ..] => {
                "node_modules/.bin/mocha --reporter xunit --reporter-option output=\"$JUNIT\""
            }
            _ => {
                let note = "   # or junit, with a reporter that writes to $JUNIT";
                return ("exec", format!("{tool} test"), note);
            }
        };
        let patterns = match first.as_slice() {
            ["node", "--test", rest @ ..] => rest.join(" "),
            _ => String::new(),
        };
        ("junit", format!("{junit} {patterns}").trim_end().to_owned(), "")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::init::tests::accepted_text;

    fn template(files: &[&str], package: &str) -> String {
        let read = |path: &str| match path {
            "package.json" => Some(package.to_owned()),
            _ => Some("apiVersion: v1\n".to_owned()),
        };
        let text = NodeProject::detect(files, &read).expect("a Node project").template();
        accepted_text(&text);
        text
    }

    #[test]
    fn projects() {
        let plain = template(&["package.json", "a.test.js"], "{}");
        insta::assert_snapshot!(plain, @r#"
        # What Seatrial builds, installs and tests.
        # `seatrial check` says what is wrong with this file; `seatrial run` does it all.
        seatrial: 1

        builds:
          app:   # the project with its packages, as tests need it
            tools: [node, npm]
            run: |
              cp -r . "$OUT/" && chmod -R u+w "$OUT"

        suites:
          unit:   # add `environments: [default]` to tests that need a cluster
            build: app
            adapter: junit
            tools: [node, npm]
            run: node --test --test-reporter=junit --test-reporter-destination="$JUNIT"
        "#);
        let package = r#"{ "name": "@x/shop", "dependencies": { "a": "1" },
            "scripts": { "build": "tsc", "test": "jest --ci" } }"#;
        let shop = template(&["package.json", "package-lock.json", "deploy/a.yaml"], package);
        insta::assert_snapshot!(shop, @r#"
        # What Seatrial builds, installs and tests.
        # `seatrial check` says what is wrong with this file; `seatrial run` does it all.
        seatrial: 1

        builds:
          app:   # the project with its packages, as tests need it
            tools: [node, npm]
            fetch:
              inputs: [package.json, package-lock.json]
              network: true
              run: cp -r . "$OUT/" && cd "$OUT" && npm ci
            run: |
              cp -r . "$OUT/" && chmod -R u+w "$OUT"
              cp -r "$FETCHED/node_modules" "$OUT/"
              cd "$OUT" && npm run build

        # images:   # what your manifests run, on a base that has Node
        #   app:
        #     replaces: [ghcr.io/example/app]
        #     base: docker.io/library/NAME@sha256:...
        #     files: [{ build: app, path: ., to: /app }]
        #     config: { entrypoint: [node, /app/index.js] }

        environments:
          default:   # a Kubernetes cluster with the product in it
            install:
              - apply: deploy

        suites:
          e2e:
            build: app
            adapter: exec   # or junit, with a reporter that writes to $JUNIT
            tools: [node, npm]
            environments: [default]
            run: npm test
        "#);
        for lock in ["pnpm-lock.yaml", "yarn.lock", "npm-shrinkwrap.json"] {
            template(&["package.json", lock], package);
        }
        template(&["package.json"], "no json");
        template(&["package.json"], r#"{ "scripts": { "test": "node --test 'a: #b' {}" } }"#);
    }
}
