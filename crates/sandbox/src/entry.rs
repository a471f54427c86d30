//! Starting the own executable again as the first process of a pid namespace.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use nix::sched::{CloneFlags, unshare};

use crate::error::{Error, Tried};

/// First argument of an executable that is to become a first process.
const WORD: &str = "__seatrial_sandbox";

/// What the started process is to become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Action,
    Init,
}

impl Role {
    fn word(self) -> &'static str {
        match self {
            Self::Action => "action",
            Self::Init => "init",
        }
    }
}

/// Turns this process into the first process of a sandbox or environment when
/// it was started for that, and then never returns. Call it first in `main`,
/// before any thread is started.
pub fn enter_if_asked() {
    let mut args = std::env::args_os().skip(1);
    if args.next().is_none_or(|word| word != WORD) {
        return;
    }
    let code = match args.next() {
        Some(role) if role == Role::Action.word() => crate::action::inside(),
        Some(role) if role == Role::Init.word() => crate::init::inside(),
        _ => 2,
    };
    #[expect(clippy::disallowed_methods, reason = "the caller, main, must not go on")]
    std::process::exit(code);
}

/// Starts `exe` again in `role`, as process 1 of a new pid namespace, with the
/// returned socket as its standard input.
///
/// `exe` must call [`enter_if_asked`] first. What the child inherits is this:
/// three file descriptors, an empty environment and the root directory.
pub(crate) fn start(
    exe: &Path,
    role: Role,
    stdout: impl Into<Stdio>,
    stderr: impl Into<Stdio>,
) -> Result<(Child, UnixStream), Error> {
    let (ours, theirs) = UnixStream::pair().tried(|| "make a socket pair".to_owned())?;
    let exe = std::path::absolute(exe).map_err(|source| Error::file("find", exe, source))?;
    let mut command = Command::new(&exe);
    command
        .args([WORD, role.word()])
        .env_clear()
        .current_dir("/")
        .stdin(OwnedFd::from(theirs))
        .stdout(stdout)
        .stderr(stderr);
    // Only children of the calling thread are born into the new namespace, so
    // this needs a thread of its own and leaves the caller as it was.
    let child = std::thread::scope(|scope| {
        let starter = scope.spawn(move || {
            unshare(CloneFlags::CLONE_NEWPID)
                .tried(|| "make a pid namespace (this needs root)".to_owned())?;
            command.spawn().map_err(|source| Error::file("start", exe, source))
        });
        starter.join().unwrap_or_else(|_| Err(Error::Gone("starting")))
    })?;
    Ok((child, ours))
}
