//! What a tool says of itself: where it lies, and what it is besides its
//! binary. A compiler is more than the file that is started, and what is on
//! the PATH may only be what chooses among several (`rustup`, `pyenv`).
//!
//! What chooses is asked outside of any sandbox, as whoever runs this. It never
//! sees the project, whose files could make it run a program of theirs
//! (`path` of a toolchain): only a version that they name is handed to it.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A tool's own account.
#[derive(Debug, Default)]
pub(super) struct Account {
    /// The program itself, where that is not what was found on the PATH.
    pub(super) program: Option<PathBuf>,
    /// Directories without which it does not work.
    pub(super) roots: Vec<PathBuf>,
    /// What it is. Where it lies is no part of it: a Go in another place is
    /// the same Go.
    pub(super) text: String,
}

/// Most bytes of a file that chooses a version.
const CHOICE: u64 = 64 << 10;

/// Asks the tool `name`, found as `program`, of the version that a project
/// chooses.
pub(super) fn of(name: &str, program: &Path, project: &Path) -> io::Result<Account> {
    match name {
        "go" => go(program),
        "cargo" | "rustc" | "rustdoc" | "rustfmt" => rust(name, program, project),
        "python" | "python3" | "pip" | "pip3" | "pytest" => python(name, program, project),
        "node" | "npm" | "npx" | "pnpm" | "yarn" => node(program),
        _ => Ok(Account::default()),
    }
}

fn go(program: &Path) -> io::Result<Account> {
    let mut go = Command::new(program.canonicalize()?);
    go.args(["env", "GOROOT", "GOVERSION", "GOHOSTARCH"]);
    go.env("GOTOOLCHAIN", "local").env("GOENV", "off");
    let said = ask(&mut go)?;
    let (root, version) = said.split_once('\n').unwrap_or((&said, ""));
    let roots = vec![directory(root)?];
    Ok(Account { program: None, roots, text: version.trim().replace('\n', " ") })
}

/// Rust's tools are those of one toolchain: the one that `rustup` chooses for
/// the project, if it chooses.
fn rust(name: &str, program: &Path, project: &Path) -> io::Result<Account> {
    let toolchain = rust_toolchain(project)?;
    let rustc = |argument: &[&str]| {
        let mut rustc = Command::new(beside(program, "rustc"));
        if let Some(toolchain) = &toolchain {
            rustc.env("RUSTUP_TOOLCHAIN", toolchain);
        }
        // A toolchain that is not there is not installed unasked.
        ask(rustc.args(argument).env("RUSTUP_AUTO_INSTALL", "0"))
    };
    let root = directory(rustc(&["--print", "sysroot"])?.trim())?;
    let text = rustc(&["-vV"])?;
    let program = Some(root.join("bin").join(name)).filter(|program| program.exists());
    Ok(Account { program, roots: vec![root], text })
}

/// The toolchain that a project's file names
/// (<https://rust-lang.github.io/rustup/overrides.html>).
fn rust_toolchain(project: &Path) -> io::Result<Option<String>> {
    for name in ["rust-toolchain", "rust-toolchain.toml"] {
        let Some(text) = choice(project, name)? else { continue };
        let channel = match text.trim() {
            line if !line.contains(['\n', '[', '=']) => line,
            text => {
                let channel = text.lines().find_map(|line| {
                    let (key, value) = line.split_once('=')?;
                    (key.trim() == "channel").then(|| value.trim().trim_matches(['"', '\'']))
                });
                let unnamed = || io::Error::other(format!("{name} names no `channel`"));
                channel.ok_or_else(unnamed)?
            }
        };
        return version(name, channel).map(Some);
    }
    Ok(None)
}

/// The file by which a project chooses: one of its own, not what a link names.
fn choice(project: &Path, name: &str) -> io::Result<Option<String>> {
    let path = project.join(name);
    if !path.symlink_metadata().is_ok_and(|meta| meta.is_file()) {
        return Ok(None);
    }
    let mut text = String::new();
    File::open(path)?.take(CHOICE).read_to_string(&mut text)?;
    Ok(Some(text))
}

/// A version that can be handed on: nothing that could be a path.
fn version(name: &str, text: &str) -> io::Result<String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
    match !text.is_empty() && !text.starts_with(['.', '-']) && text.chars().all(fits) {
        true => Ok(text.to_owned()),
        false => Err(io::Error::other(format!("{name} names no version that can be used"))),
    }
}

/// What an interpreter is includes what is installed in it.
const PYTHON: &str = "\
import sys
from importlib.metadata import distributions
print(sys.prefix)
print(sys.base_prefix)
print(sys.version.replace('\\n', ' '))
for name in sorted({f\"{d.metadata['Name']} {d.version}\" for d in distributions()}):
    print(name)
";

fn python(name: &str, program: &Path, project: &Path) -> io::Result<Account> {
    let interpreter = match name {
        "python" | "python3" => program.to_owned(),
        _ => beside(program, "python3"),
    };
    let mut asked = Command::new(interpreter);
    if let Some(text) = choice(project, ".python-version")? {
        let mut lines = text.lines().map(str::trim);
        if let Some(line) = lines.find(|line| !line.is_empty() && !line.starts_with('#')) {
            asked.env("PYENV_VERSION", version(".python-version", line)?);
        }
    }
    // Isolated: what the caller's environment and home add is not there later.
    let said = ask(asked.args(["-I", "-c", PYTHON]))?;
    let mut lines = said.lines();
    let (prefix, base) = (lines.next().unwrap_or_default(), lines.next().unwrap_or_default());
    let (prefix, base) = (directory(prefix)?, directory(base)?);
    let program = Some(prefix.join("bin").join(name)).filter(|program| program.exists());
    let mut roots = vec![prefix, base];
    roots.dedup();
    Ok(Account { program, roots, text: lines.collect::<Vec<_>>().join("\n") })
}

/// Node's tools are scripts beside it, found by links.
fn node(program: &Path) -> io::Result<Account> {
    let mut node = Command::new(beside(program, "node"));
    let said = ask(node.args(["-p", "process.execPath + '\\n' + process.version"]))?;
    let (binary, version) = said.trim().split_once('\n').unwrap_or((said.trim(), ""));
    let prefix = Path::new(binary).parent().and_then(Path::parent);
    let prefix = directory(&prefix.unwrap_or(Path::new("")).display().to_string())?;
    let script = program.canonicalize()?;
    let mut text = version.to_owned();
    if let Some(package) = script.ancestors().find_map(|dir| package_version(dir, &prefix)) {
        text.push_str(&format!(" {package}"));
    }
    for package in installed(&prefix.join("lib/node_modules")) {
        text.push_str(&format!("\n{package}"));
    }
    // Where it lies in a directory of its own, all of that is needed.
    let roots = match script.starts_with(&prefix) {
        true => vec![prefix],
        false => Vec::new(),
    };
    Ok(Account { program: Some(program.to_owned()), roots, text })
}

/// What is installed for everybody, whose programs are beside `node`.
fn installed(modules: &Path) -> Vec<String> {
    let below = |dir: &Path| {
        let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect::<Vec<_>>()
    };
    let scoped =
        |dir: PathBuf| match dir.file_name().is_some_and(|name| name.as_encoded_bytes()[0] == b'@')
        {
            true => below(&dir),
            false => vec![dir],
        };
    let packages = below(modules).into_iter().flat_map(scoped);
    let mut packages: Vec<_> =
        packages.filter_map(|dir| package_version(&dir, Path::new(""))).collect();
    packages.sort_unstable();
    packages
}

/// The version of the package whose directory this is: `npm 10.8.2`.
fn package_version(dir: &Path, prefix: &Path) -> Option<String> {
    if dir == prefix {
        return None;
    }
    let text = std::fs::read_to_string(dir.join("package.json")).ok()?;
    let package: serde_json::Value = serde_json::from_str(&text).ok()?;
    Some(format!("{} {}", package.get("name")?.as_str()?, package.get("version")?.as_str()?))
}

/// Another program of the same directory, or of the PATH.
fn beside(program: &Path, name: &str) -> PathBuf {
    let beside = program.with_file_name(name);
    if beside.exists() { beside } else { PathBuf::from(name) }
}

/// A directory that may be shown to commands.
fn directory(path: &str) -> io::Result<PathBuf> {
    let dir = Path::new(path).canonicalize()?;
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let holds_home = home.is_some_and(|home| home.starts_with(&dir));
    if holds_home || dir.parent().is_none() {
        let message = format!("all of {} would be shown to commands", dir.display());
        return Err(io::Error::other(message));
    }
    Ok(dir)
}

fn ask(command: &mut Command) -> io::Result<String> {
    let output = command.current_dir("/").stdin(Stdio::null()).output()?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(name: &str) -> PathBuf {
        let path = std::env::var_os("PATH").expect("a PATH");
        let mut all = std::env::split_paths(&path).map(|dir| dir.join(name));
        all.find(|program| program.exists()).unwrap_or_else(|| panic!("these tests need `{name}`"))
    }

    #[test]
    fn rust_is_a_toolchain_and_not_what_chooses_it() {
        let cargo = of("cargo", &found("cargo"), Path::new("/")).expect("an account");
        let program = cargo.program.expect("a program");
        assert!(program.ends_with("bin/cargo") && program.starts_with(&cargo.roots[0]));
        assert_ne!(program.canonicalize().expect("there").file_name().expect("a name"), "rustup");
        assert!(cargo.text.starts_with("rustc 1."), "{}", cargo.text);
        assert!(cargo.text.contains("\ncommit-hash: "), "{}", cargo.text);
    }

    #[test]
    fn a_project_chooses_a_version_and_no_program() {
        let dir = tempfile::tempdir().expect("a directory");
        let chosen = |name: &str, text: &str| {
            std::fs::write(dir.path().join(name), text).expect("written");
            let chosen = rust_toolchain(dir.path()).map_err(|error| error.to_string());
            std::fs::remove_file(dir.path().join(name)).expect("removed");
            chosen
        };
        let toml = "rust-toolchain.toml";
        assert_eq!(chosen("rust-toolchain", "1.95.0\n"), Ok(Some("1.95.0".to_owned())));
        assert_eq!(
            chosen(toml, "[toolchain]\nchannel = \"nightly-2026-01-01\"\n"),
            Ok(Some("nightly-2026-01-01".to_owned()))
        );
        let none = "rust-toolchain.toml names no `channel`";
        assert_eq!(chosen(toml, "[toolchain]\npath = \"evil\"\n"), Err(none.to_owned()));
        let bad = "rust-toolchain.toml names no version that can be used";
        assert_eq!(chosen(toml, "[toolchain]\nchannel = '/tmp/evil'\n"), Err(bad.to_owned()));
        // What a link names is not read.
        std::os::unix::fs::symlink("/etc/hostname", dir.path().join(toml)).expect("a link");
        assert_eq!(rust_toolchain(dir.path()).expect("no choice"), None);
    }

    #[test]
    fn python_is_also_what_is_installed_in_it() {
        let python = of("python3", &found("python3"), Path::new("/")).expect("an account");
        assert!(python.text.starts_with("3."), "{}", python.text);
        let program = python.program.expect("a program");
        assert!(python.roots.iter().any(|root| program.starts_with(root)), "{program:?}");
    }

    #[test]
    fn npm_has_a_version_besides_that_of_node() {
        let npm = of("npm", &found("npm"), Path::new("/")).expect("an account");
        assert!(npm.text.starts_with('v') && npm.text.contains(" npm "), "{}", npm.text);
        assert!(npm.program.expect("a program").ends_with("npm"));
    }

    #[test]
    fn a_home_is_not_shown() {
        let home = std::env::var("HOME").expect("a home");
        for path in ["/", home.as_str()] {
            assert!(directory(path).is_err(), "{path}");
        }
        assert!(directory("/usr/lib").is_ok());
    }
}
