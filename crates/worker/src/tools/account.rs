//! What a tool says of itself: where it lies, and what it is besides its
//! binary. A compiler is more than the file that is started, and what is on
//! the PATH may only be what chooses among several (`rustup`, `pyenv`).

use std::io;
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

/// Asks the tool `name`, found as `program`, in the directory of a project.
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
    go.env("GOTOOLCHAIN", "local").env("GOENV", "off").current_dir("/");
    let said = ask(&mut go)?;
    let (root, version) = said.split_once('\n').unwrap_or((&said, ""));
    let roots = vec![directory(root)?];
    Ok(Account { program: None, roots, text: version.trim().replace('\n', " ") })
}

/// Rust's tools are those of one toolchain: the one that `rustup` chooses for
/// the project, if it chooses.
fn rust(name: &str, program: &Path, project: &Path) -> io::Result<Account> {
    let rustc = |argument: &[&str]| {
        let mut rustc = Command::new(beside(program, "rustc"));
        // A toolchain that is not there is not installed unasked.
        ask(rustc.args(argument).env("RUSTUP_AUTO_INSTALL", "0").current_dir(project))
    };
    let root = directory(rustc(&["--print", "sysroot"])?.trim())?;
    let text = rustc(&["-vV"])?;
    let program = Some(root.join("bin").join(name)).filter(|program| program.exists());
    Ok(Account { program, roots: vec![root], text })
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
    // Isolated: what the caller's environment and home add is not there later.
    let said = ask(Command::new(interpreter).args(["-I", "-c", PYTHON]).current_dir(project))?;
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
    // Where it lies in a directory of its own, all of that is needed.
    let roots = match script.starts_with(&prefix) {
        true => vec![prefix],
        false => Vec::new(),
    };
    Ok(Account { program: Some(program.to_owned()), roots, text })
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
    let output = command.stdin(Stdio::null()).output()?;
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
