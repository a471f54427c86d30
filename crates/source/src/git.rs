//! Running git: argument lists only, nothing taken from the environment, no
//! hook, no file-system monitor, no lock.

use std::io::{self, Read as _};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::error::SourceError;

/// Most bytes that git may print: a million paths of ordinary length.
const MOST_OUTPUT: u64 = 256 << 20;

/// What git said.
pub(crate) struct Answer {
    pub(crate) success: bool,
    pub(crate) stdout: Vec<u8>,
    stderr: String,
}

/// Runs git in `dir`. That it fails is an answer, not an error.
pub(crate) fn ask(dir: &Path, arguments: &[&str]) -> Result<Answer, SourceError> {
    let mut command = Command::new("git");
    for (name, _) in std::env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"GIT_") {
            command.env_remove(name);
        }
    }
    command
        .current_dir(dir)
        // Whose directory it is was decided by who named it: a build under
        // sudo reads the work tree of the calling user.
        .args(["-c", "safe.directory=*"])
        .args(["-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null"])
        .args(arguments)
        .env("GIT_OPTIONAL_LOCKS", "0")
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().map_err(SourceError::NoGit)?;
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    let out = child.stdout.take().expect("stdout is piped");
    let err = child.stderr.take().expect("stderr is piped");
    let read = std::thread::scope(|scope| {
        let reader = scope.spawn(|| drain(err, &mut stderr));
        let result = out.take(MOST_OUTPUT + 1).read_to_end(&mut stdout);
        if stdout.len() as u64 > MOST_OUTPUT {
            // It may be waiting for a reader that has stopped.
            drop(child.kill());
        }
        reader.join().expect("draining does not panic");
        result
    });
    let status = child.wait().map_err(SourceError::NoGit)?;
    read.map_err(SourceError::NoGit)?;
    if stdout.len() as u64 > MOST_OUTPUT {
        return Err(SourceError::Quota { what: "bytes of paths", limit: MOST_OUTPUT });
    }
    let stderr = String::from_utf8_lossy(&stderr).trim().to_owned();
    Ok(Answer { success: status.success(), stdout, stderr })
}

/// Runs git in `dir` and takes failure as an error.
pub(crate) fn run(dir: &Path, arguments: &[&str]) -> Result<Vec<u8>, SourceError> {
    let answer = ask(dir, arguments)?;
    if answer.success {
        return Ok(answer.stdout);
    }
    let command = arguments.first().map_or_else(String::new, |name| (*name).to_owned());
    Err(SourceError::Git { command, stderr: answer.stderr })
}

/// Keeps the first 4 KiB and reads the rest, so that the writer never waits.
fn drain(mut from: impl io::Read, kept: &mut Vec<u8>) {
    let (mut kept_now, mut rest) = (from.by_ref().take(4096), io::sink());
    if kept_now.read_to_end(kept).is_ok() {
        drop(io::copy(&mut from, &mut rest));
    }
}
