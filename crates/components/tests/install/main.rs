//! Whole installations of tiny components: from a server with the layout of a
//! release, from Go modules (needs Go, no network), and from a directory.

mod go;
mod release;
mod server;

use std::collections::BTreeMap;
use std::path::Path;

use seatrial_components::{Components, Error, From, Installed, Lock, Modules, Step};
use server::Server;

/// A component with a plain file and an archive, and the same from Go.
fn components(base: &str) -> Components {
    let lock = format!(
        r#"{{ "components": [
            {{ "name": "plain", "version": "1.2.3",
               "release": [{{ "url": "{base}/v{{version}}/plain-{{arch}}",
                              "checksum": "{base}/v{{version}}/SHA256SUMS",
                              "limit-mib": 1, "file": "bin/plain" }}],
               "go": {{ "module": "hello", "build": {{ "bin/plain": "." }} }} }},
            {{ "name": "packed", "version": "4.5",
               "release": [{{ "url": "{base}/packed-{{version}}.tgz",
                              "checksum": "{base}/packed-{{version}}.tgz.sha256",
                              "limit-mib": 1,
                              "entries": {{ "packed-{{version}}/a": "bin/a", "b": "cni/b" }} }}],
               "go": {{ "module": "hello", "build": {{ "bin/hello": "." }},
                        "links": {{ "bin/a": "bin/hello", "cni/b": "bin/hello" }} }} }}
        ] }}"#
    );
    Components::new(Lock::parse(&lock).unwrap(), modules("package main\n\nfunc main() {}\n"))
}

fn modules(main: &str) -> Modules {
    let files = [("go.mod", "module hello.invalid\n\ngo 1.21\n"), ("main.go", main)];
    let files = files.map(|(name, text)| (name.to_owned(), text.to_owned()));
    BTreeMap::from([("hello".to_owned(), BTreeMap::from(files))])
}

/// Installs and returns what was said, without what depends on timing.
fn install(
    components: &Components,
    cache: &Path,
    from: &From,
) -> (Result<Installed, Error>, Vec<String>) {
    let mut said = Vec::new();
    let result = components.install(cache, from, &mut |progress| {
        let name = &progress.component;
        said.push(match progress.step {
            Step::Downloading { file, done, total: Some(total) } if done == total => {
                format!("{name}: downloaded {file}")
            }
            Step::Downloading { .. } | Step::Fetching { .. } | Step::Building { .. } => return,
            Step::Done { source, .. } => format!("{name}: done from {source}"),
            other => format!("{name}: {other}"),
        });
    });
    (result, said)
}

/// Installs what has to work.
fn good_install(components: &Components, cache: &Path, from: &From) -> Installed {
    install(components, cache, from).0.unwrap()
}

fn chain(error: &Error) -> String {
    let failure = error.failure();
    format!("{}: {}\nhint: {}", failure.code, failure.message, failure.hints.join("\nhint: "))
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

/// A cache directory and a server with a good release of [`components`].
fn good() -> (tempfile::TempDir, Server, Components) {
    let server = Server::start();
    server.release();
    let components = components(&server.base());
    (tempfile::tempdir().unwrap(), server, components)
}
