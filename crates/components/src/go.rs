//! Builds a component with the machine's own Go: the same source as the
//! release, fixed by the embedded `go.sum`.
//!
//! Compiled packages stay in Go's build cache, so an interrupted build goes on
//! where it was. A build runs with the caller's proxy settings and nothing of
//! its flags.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsStr;
use std::fs;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::cache::{SlotLock, remove_if_there};
use crate::error::{Error, IoContext as _};
use crate::{Component, GoBuild, Step};

/// How many lines of a failed command's output an error holds.
const TAIL_LINES: usize = 30;
/// How much of one line it holds.
const TAIL_LINE_BYTES: u64 = 600;
/// How often progress is reported when nothing is compiled.
const TICK: Duration = Duration::from_secs(1);

/// Why a build from Go modules is not possible or failed.
#[derive(Debug, thiserror::Error)]
pub enum GoError {
    /// There is no `go`.
    #[error("Go is not installed")]
    Missing,
    /// `go` is older than a component's source needs.
    #[error("Go is {found}, but {needed} or newer is needed")]
    TooOld {
        /// The version of the machine's Go.
        found: String,
        /// The version that `go.mod` asks for.
        needed: String,
    },
    /// Something else that a build needs is not there.
    #[error("{0} is not installed")]
    Needs(String),
    /// The lock names a module that was not given.
    #[error("there is no module {0:?}")]
    Module(String),
    /// A command could not be started.
    #[error("start {command}")]
    Start {
        /// The command.
        command: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A command ended with an error.
    #[error("`{command}` failed ({status})")]
    Failed {
        /// The command.
        command: String,
        /// How it ended.
        status: String,
        /// The last lines that it wrote.
        output: String,
    },
}

/// Builds `component` in `work` and returns the directory with its files.
pub(crate) fn build(
    component: &Component,
    go: &GoBuild,
    module: &BTreeMap<String, String>,
    work: &Path,
    lock: &SlotLock,
    progress: &mut dyn FnMut(Step),
) -> Result<PathBuf, Error> {
    // Whatever an interrupted build left here is of no use: Go's cache is.
    remove_if_there(work)?;
    let (source, made) = (work.join("module"), work.join("made"));
    for dir in [&source, &made.join("bin"), &made.join("cni")] {
        fs::create_dir_all(dir).doing("make", dir)?;
    }
    for (name, text) in module {
        let path = source.join(name);
        fs::write(&path, text).doing("write", &path)?;
    }
    let host = Host { source: &source, go, lock };
    host.check(module)?;
    let packages = host.packages(work, progress)?;
    let start = Instant::now();
    let mut compiled = 0;
    for (place, package) in &go.build {
        let mut command = host.go(&["build", "-v", "-trimpath", "-buildvcs=false"]);
        let mut ldflags = vec!["-s -w".to_owned()];
        ldflags.extend(go.ldflags.iter().map(|flag| component.expand(flag, "")));
        command.arg("-ldflags").arg(ldflags.join(" "));
        command.arg("-o").arg(made.join(place)).arg(package);
        host.run(command, Stdio::null(), &mut |line| {
            // With -v, each package is named when its compilation begins.
            compiled += usize::from(line.is_some_and(|l| !l.starts_with("go: ")));
            progress(Step::Building { elapsed: start.elapsed(), compiled, packages });
        })?;
    }
    for (place, target) in &go.links {
        let path = made.join(place);
        fs::hard_link(made.join(target), &path).doing("link", &path)?;
    }
    for target in go.links.values() {
        remove_if_there(&made.join(target))?;
    }
    Ok(made)
}

/// The machine's Go, in the directory of one module.
struct Host<'a> {
    source: &'a Path,
    go: &'a GoBuild,
    lock: &'a SlotLock,
}

impl Host<'_> {
    /// Says what is missing before minutes are spent.
    fn check(&self, module: &BTreeMap<String, String>) -> Result<(), Error> {
        let found = self.read(self.go(&["env", "GOVERSION"])).map_err(|error| match error {
            GoError::Start { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                GoError::Missing
            }
            other => other,
        })?;
        // `go1.26.8`, or `devel go1.27-0123abc` of a Go built from its tree.
        let found = found.trim().rsplit_once("go").map_or(found.trim(), |(_, version)| version);
        let mod_file = module.get("go.mod").map(String::as_str).unwrap_or_default();
        let needed = mod_file.lines().find_map(|line| line.strip_prefix("go ")).unwrap_or("1.0");
        if version(found) < version(needed) {
            let (found, needed) = (found.to_owned(), needed.trim().to_owned());
            return Err(GoError::TooOld { found, needed }.into());
        }
        for need in &self.go.needs {
            let mut command = if need.starts_with("lib") {
                let mut command = Command::new("pkg-config");
                command.args(["--exists", need]);
                command
            } else {
                let mut command = Command::new(need);
                command.arg("--version");
                command
            };
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            if !command.status().is_ok_and(|status| status.success()) {
                return Err(GoError::Needs(need.clone()).into());
            }
        }
        Ok(())
    }

    /// How many packages the build consists of. Go has to download their
    /// source for that, and does not do it again for the build.
    fn packages(&self, work: &Path, progress: &mut dyn FnMut(Step)) -> Result<usize, Error> {
        let mut command = self.go(&["list", "-deps"]);
        command.args(self.go.build.values());
        let list = work.join("packages");
        let output = fs::File::create(&list).doing("write", &list)?;
        let (start, mut modules) = (Instant::now(), 0);
        self.run(command, output.into(), &mut |line| {
            modules += usize::from(line.is_some_and(|l| l.starts_with("go: downloading")));
            progress(Step::Fetching { elapsed: start.elapsed(), modules });
        })?;
        Ok(fs::read_to_string(&list).doing("read", &list)?.lines().count())
    }

    /// A `go` command with everything pinned that decides about its result.
    fn go(&self, args: &[&str]) -> Command {
        let mut command = Command::new("go");
        command.current_dir(self.source).args(args);
        if args[0] != "env" {
            command.args(["-mod=readonly", "-tags", &self.go.tags.join(",")]);
        }
        // Not empty: an empty variable would let `go env -w` settings through.
        command.env("GOFLAGS", "-mod=readonly");
        command.env("GOTOOLCHAIN", "local").env("GOWORK", "off").env("GO111MODULE", "on");
        command.env("CGO_ENABLED", if self.go.cgo { "1" } else { "0" });
        for name in ["GOOS", "GOARCH", "GOAMD64", "GOARM64", "GOEXPERIMENT", "GODEBUG"] {
            command.env_remove(name);
        }
        command
    }

    /// The output of a quick command.
    fn read(&self, mut command: Command) -> Result<String, GoError> {
        command.stdin(Stdio::null());
        let name = describe(&command);
        let output =
            command.output().map_err(|source| GoError::Start { command: name.clone(), source })?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let text = String::from_utf8_lossy(&output.stderr);
        let skip = text.lines().count().saturating_sub(TAIL_LINES);
        let output_tail = text.lines().skip(skip).collect::<Vec<_>>().join("\n");
        let status = output.status.to_string();
        Err(GoError::Failed { command: name, status, output: output_tail })
    }

    /// Runs a long command; `tick` gets each line of its output, and nothing
    /// once a second while there is none.
    fn run(
        &self,
        mut command: Command,
        stdout: Stdio,
        tick: &mut dyn FnMut(Option<&str>),
    ) -> Result<(), Error> {
        let name = describe(&command);
        // The lock as standard input: see `SlotLock`.
        let stdin = self.lock.0.try_clone().doing("share the lock in", self.source)?;
        command.stdin(stdin).stdout(stdout).stderr(Stdio::piped());
        let start = |source| GoError::Start { command: name.clone(), source };
        let mut child = Running(command.spawn().map_err(start)?);
        let lines = lines(child.0.stderr.take());
        let mut tail = VecDeque::new();
        loop {
            match lines.recv_timeout(TICK) {
                Ok(line) => {
                    tick(Some(&line));
                    tail.push_back(line);
                    if tail.len() > TAIL_LINES {
                        tail.pop_front();
                    }
                }
                Err(mpsc::RecvTimeoutError::Timeout) => tick(None),
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
            }
        }
        let status = child.0.wait().map_err(start)?;
        if status.success() {
            return Ok(());
        }
        let output = Vec::from(tail).join("\n");
        Err(GoError::Failed { command: name, status: status.to_string(), output }.into())
    }
}

/// A child that does not outlive an early return.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail when the child has ended and was waited for: that is the
        // usual case.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The lines of a stream, from a thread that ends with the stream.
fn lines(stream: Option<std::process::ChildStderr>) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::sync_channel(64);
    std::thread::spawn(move || {
        let Some(stream) = stream else { return };
        let mut stream = BufReader::new(stream);
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = (&mut stream).take(TAIL_LINE_BYTES).read_until(b'\n', &mut line);
            if !matches!(read, Ok(1..)) {
                return;
            }
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            if sender.send(text).is_err() {
                return;
            }
        }
    });
    receiver
}

/// A command for people: its program and arguments.
fn describe(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}

/// A Go version as numbers; what follows a digit's end (`rc1`) is ignored.
fn version(text: &str) -> Vec<u32> {
    let number = |part: &str| {
        let digits = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len());
        part[..digits].parse().unwrap_or(0)
    };
    text.trim().split('.').map(number).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_versions_are_compared_as_numbers() {
        assert!(version("1.26.8") >= version("1.26.6"));
        assert!(version("1.26.10") > version("1.26.9"));
        assert!(version("1.27rc1") > version("1.26.9"));
        assert!(version("1.25.9") < version("1.26"));
        assert!(version("devel") < version("1.0"));
    }
}
