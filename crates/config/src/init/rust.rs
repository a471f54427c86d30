//! Rust projects: packages and workspaces of Cargo.

use std::collections::BTreeMap;

use seatrial_core::name::Name;

use super::detect::{E2E, in_dir, is_hidden};
use super::{Deploy, HEAD, line, name, quoted, shell, suite, tests_build};

/// What a Rust project has.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct RustProject {
    /// Whether there is a `Cargo.lock`.
    locked: bool,
    /// Whether packages come from elsewhere.
    fetches: bool,
    /// Whether a manifest names files of targets, which must be there when
    /// Cargo reads it.
    names_targets: bool,
    /// Programs, and the packages that they are in.
    programs: BTreeMap<Name, String>,
    /// End-to-end tests: the package and the name of the target.
    e2e: Vec<(String, String)>,
    deploy: Deploy,
}

impl RustProject {
    pub(super) fn detect(files: &[&str], read: &impl Fn(&str) -> Option<String>) -> Option<Self> {
        let files: Vec<&str> = files.iter().copied().filter(|path| !is_hidden(path)).collect();
        if !files.contains(&"Cargo.toml") {
            return None;
        }
        let mut project = Self { deploy: Deploy::detect(&files, read), ..Self::default() };
        if files.contains(&"Cargo.lock") {
            let lock = read("Cargo.lock").unwrap_or_default();
            project.locked = true;
            project.fetches = lock.lines().any(|line| line.starts_with("source = "));
        }
        for dir in files.iter().filter_map(|path| in_dir(path, "Cargo.toml")) {
            let file =
                |path: &str| if dir == "." { path.to_owned() } else { format!("{dir}/{path}") };
            let manifest = read(&file("Cargo.toml")).unwrap_or_default();
            let names = ["[lib]", "[[bin]]", "[[test]]", "[[example]]", "[[bench]]"];
            project.names_targets |= manifest.lines().any(|line| names.contains(&line.trim()));
            let Some(package) = package_name(&manifest) else { continue };
            if files.contains(&file("src/main.rs").as_str()) {
                project.programs.insert(name(&package), package.clone());
            }
            for path in &files {
                let Some(rest) = path.strip_prefix(&file("")) else { continue };
                if let Some(program) = target(rest, "src/bin/") {
                    project.programs.insert(name(program), package.clone());
                }
                let is_e2e = |test: &&str| test.split(['_', '-']).any(|part| E2E.contains(&part));
                if let Some(test) = target(rest, "tests/").filter(is_e2e) {
                    project.e2e.push((package.clone(), test.to_owned()));
                }
            }
        }
        Some(project)
    }

    pub(super) fn template(&self) -> String {
        let mut text = HEAD.to_owned();
        if !self.locked {
            line(&mut text, "# There is no Cargo.lock: `cargo generate-lockfile`, and commit it.");
        }
        text.push_str("\nbuilds:\n");
        let in_image = !self.deploy.is_empty();
        for (program, package) in &self.programs {
            line(&mut text, &format!("  {program}:"));
            self.tools(&mut text);
            if in_image {
                line(
                    &mut text,
                    "    env: { RUSTFLAGS: \"-C target-feature=+crt-static\" }   # for an image without a C library",
                );
            }
            line(&mut text, "    run: |");
            let target = match in_image {
                true => {
                    line(&mut text, "      host=$(rustc -vV | sed -n 's/^host: //p')");
                    ("--target \"$host\" ", "$host/")
                }
                false => ("", ""),
            };
            let which = format!("-p {} --bin {program}", shell(package));
            line(&mut text, &format!("      cargo build --locked --release {}{which}", target.0));
            line(
                &mut text,
                &format!("      cp \"$CARGO_TARGET_DIR/{}release/{program}\" \"$OUT/\"", target.1),
            );
            line(&mut text, &format!("    outputs: [{program}]"));
        }
        let tests = self.tests();
        line(&mut text, &format!("  {tests}:"));
        self.tools(&mut text);
        line(&mut text, "    run: |");
        line(&mut text, "      # Cargo gives each test program to the runner, which keeps it.");
        line(
            &mut text,
            &format!("      cargo test --locked {} --config \"$KEEP\"", self.targets()),
        );
        line(&mut text, &format!("    env: {{ KEEP: {} }}", quoted(KEEP)));
        line(&mut text, "    outputs: [\"*.test\"]");
        if in_image && !self.programs.is_empty() {
            text.push_str("\nimages:\n");
            for program in self.programs.keys() {
                text.push_str(&self.deploy.image(program, &format!("ghcr.io/example/{program}")));
            }
        }
        if in_image || !self.e2e.is_empty() {
            let any = self.programs.keys().next().cloned();
            text.push_str(&self.deploy.environments(&any.unwrap_or_else(|| name("app"))));
        }
        text.push_str(&suite(!self.e2e.is_empty()));
        line(&mut text, &format!("    build: {tests}"));
        line(&mut text, "    adapter: rust");
        if !self.e2e.is_empty() {
            line(&mut text, "    environments: [default]");
            line(&mut text, "    test-timeout: 5m");
        }
        text
    }

    fn tools(&self, text: &mut String) {
        line(text, "    tools: [cargo]");
        if self.fetches {
            let sources = if self.names_targets { ", \"**/*.rs\"" } else { "" };
            line(text, "    fetch:");
            line(text, &format!("      inputs: [Cargo.lock, \"**/Cargo.toml\"{sources}]"));
            line(text, "      network: true");
            line(
                text,
                "      run: |   # Cargo wants to see a target in each package: an empty one",
            );
            line(
                text,
                "        cp -r . /tmp/packages && chmod -R u+w /tmp/packages && cd /tmp/packages",
            );
            line(
                text,
                "        find . -name Cargo.toml -execdir mkdir -p src \\; -execdir touch src/lib.rs \\;",
            );
            line(text, "        cargo fetch --locked");
        }
        line(text, "    caches: [cargo]");
    }

    /// The build that makes the tests.
    fn tests(&self) -> Name {
        let usual = if self.e2e.is_empty() { "unit-tests" } else { "e2e-tests" };
        tests_build(usual, &self.programs)
    }

    fn targets(&self) -> String {
        if self.e2e.is_empty() {
            return "--workspace --tests".to_owned();
        }
        let one = |(package, test): &(String, String)| {
            format!("-p {} --test {}", shell(package), shell(test))
        };
        self.e2e.iter().map(one).collect::<Vec<_>>().join(" ")
    }
}

/// A runner for test programs: copies one under its name without Cargo's hash.
const KEEP: &str = "target.'cfg(all())'.runner = ['bash', '-euc', 'file=${1##*/}; \
to=$OUT/${file%-*}.test; test ! -e \"$to\" || to=$OUT/$file.test; cp \"$1\" \"$to\"', 'keep']";

/// The `name` below `[package]`.
fn package_name(manifest: &str) -> Option<String> {
    let below = manifest.lines().map(str::trim).skip_while(|line| *line != "[package]").skip(1);
    let mut below = below.take_while(|line| !line.starts_with('['));
    below.find_map(|line| {
        let (key, value) = line.split_once('=')?;
        let value = value.trim().strip_prefix('"')?.split('"').next()?;
        (key.trim() == "name").then(|| value.to_owned())
    })
}

/// The target of a file that Cargo finds by itself: `a` for `tests/a.rs` and
/// `tests/a/main.rs`.
fn target<'p>(path: &'p str, dir: &str) -> Option<&'p str> {
    let rest = path.strip_prefix(dir)?;
    let target = rest.strip_suffix("/main.rs").or_else(|| rest.strip_suffix(".rs"))?;
    (!target.contains('/')).then_some(target)
}

#[cfg(test)]
mod tests {
    use crate::init::tests::template;

    #[test]
    fn projects() {
        let service = template(&[
            ("Cargo.toml", "[workspace]\nmembers = [\"api\"]\n"),
            ("Cargo.lock", "source = \"registry+https://github.com/rust-lang/crates.io-index\"\n"),
            ("api/Cargo.toml", "[package]\nversion = \"1.0.0\"\nname = \"shop_api\"\n"),
            ("api/src/main.rs", ""),
            ("api/tests/e2e_orders.rs", ""),
            ("api/tests/parse.rs", ""),
            ("deploy/a.yaml", "apiVersion: v1\nimage: ghcr.io/example/shop-api:1\n"),
        ]);
        insta::assert_snapshot!(service, @r#"
        # What Seatrial builds, installs and tests.
        # `seatrial check` says what is wrong with this file; `seatrial run` does it all.
        seatrial: 1

        builds:
          shop-api:
            tools: [cargo]
            fetch:
              inputs: [Cargo.lock, "**/Cargo.toml"]
              network: true
              run: |   # Cargo wants to see a target in each package: an empty one
                cp -r . /tmp/packages && chmod -R u+w /tmp/packages && cd /tmp/packages
                find . -name Cargo.toml -execdir mkdir -p src \; -execdir touch src/lib.rs \;
                cargo fetch --locked
            caches: [cargo]
            env: { RUSTFLAGS: "-C target-feature=+crt-static" }   # for an image without a C library
            run: |
              host=$(rustc -vV | sed -n 's/^host: //p')
              cargo build --locked --release --target "$host" -p shop_api --bin shop-api
              cp "$CARGO_TARGET_DIR/$host/release/shop-api" "$OUT/"
            outputs: [shop-api]
          e2e-tests:
            tools: [cargo]
            fetch:
              inputs: [Cargo.lock, "**/Cargo.toml"]
              network: true
              run: |   # Cargo wants to see a target in each package: an empty one
                cp -r . /tmp/packages && chmod -R u+w /tmp/packages && cd /tmp/packages
                find . -name Cargo.toml -execdir mkdir -p src \; -execdir touch src/lib.rs \;
                cargo fetch --locked
            caches: [cargo]
            run: |
              # Cargo gives each test program to the runner, which keeps it.
              cargo test --locked -p shop_api --test e2e_orders --config "$KEEP"
            env: { KEEP: "target.'cfg(all())'.runner = ['bash', '-euc', 'file=${1##*/}; to=$OUT/${file%-*}.test; test ! -e \"$to\" || to=$OUT/$file.test; cp \"$1\" \"$to\"', 'keep']" }
            outputs: ["*.test"]

        images:
          shop-api:
            replaces: [ghcr.io/example/shop-api]   # as the manifests name it
            base: scratch   # or name@sha256:...
            files: [{ build: shop-api, path: shop-api, to: /shop-api, mode: "0755" }]
            config: { entrypoint: [/shop-api], user: "65532" }

        environments:
          default:   # a Kubernetes cluster with the product in it
            install:
              - apply: deploy

        suites:
          e2e:
            build: e2e-tests
            adapter: rust
            environments: [default]
            test-timeout: 5m
        "#);
        let library = template(&[
            ("Cargo.toml", "[package]\nname = \"a\"\n[[bin]]\nname = \"x\"\n"),
            ("src/lib.rs", ""),
        ]);
        insta::assert_snapshot!(library, @r#"
        # What Seatrial builds, installs and tests.
        # `seatrial check` says what is wrong with this file; `seatrial run` does it all.
        seatrial: 1
        # There is no Cargo.lock: `cargo generate-lockfile`, and commit it.

        builds:
          unit-tests:
            tools: [cargo]
            caches: [cargo]
            run: |
              # Cargo gives each test program to the runner, which keeps it.
              cargo test --locked --workspace --tests --config "$KEEP"
            env: { KEEP: "target.'cfg(all())'.runner = ['bash', '-euc', 'file=${1##*/}; to=$OUT/${file%-*}.test; test ! -e \"$to\" || to=$OUT/$file.test; cp \"$1\" \"$to\"', 'keep']" }
            outputs: ["*.test"]

        suites:
          unit:   # add `environments: [default]` to tests that need a cluster
            build: unit-tests
            adapter: rust
        "#);
        template(&[("Cargo.toml", "not a manifest"), ("src/bin/un-code: x.rs", "")]);
    }
}
