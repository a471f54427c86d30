//! What the first processes of sandboxes and environments have in common:
//! their socket, and starting and reaping children.
#![expect(unsafe_code, reason = "pre_exec")]

use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::execve;

use crate::action::Status;
use crate::error::{Error, Tried};

/// The socket to the owner, which this process was given as standard input;
/// from here on nothing that it starts gets it.
pub(crate) fn control_socket() -> Result<UnixStream, Error> {
    let socket = io::stdin()
        .as_fd()
        .try_clone_to_owned()
        .tried(|| "take over the socket to the owner".to_owned())?;
    let null = File::open("/dev/null").tried(|| "open /dev/null".to_owned())?;
    nix::unistd::dup2_stdin(&null).tried(|| "close standard input".to_owned())?;
    Ok(UnixStream::from(socket))
}

/// Closes standard output and standard error of this process.
pub(crate) fn silence() -> Result<(), Error> {
    let null =
        OpenOptions::new().write(true).open("/dev/null").tried(|| "open /dev/null".to_owned())?;
    nix::unistd::dup2_stdout(&null).tried(|| "close standard output".to_owned())?;
    nix::unistd::dup2_stderr(&null).tried(|| "close standard error".to_owned())
}

/// Why a first process woke up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wake {
    /// The owner said something or is gone.
    Owner,
    /// A child ended.
    Child,
}

/// The children of a first process, orphans of the namespace included.
pub(crate) struct Children {
    signals: SignalFd,
}

impl Children {
    /// Takes over the handling of ended children.
    pub(crate) fn new() -> Result<Self, Error> {
        let mask = SigSet::from(Signal::SIGCHLD);
        sigprocmask(SigmaskHow::SIG_BLOCK, Some(&mask), None)
            .tried(|| "block a signal".to_owned())?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let signals = SignalFd::with_flags(&mask, flags).tried(|| "make a signalfd".to_owned())?;
        Ok(Self { signals })
    }

    /// Starts a command with the output of this process, in a session of its own.
    pub(crate) fn start(
        &self,
        argv: &[String],
        env: &[(String, String)],
        cwd: &Path,
        user: Option<(u32, u32)>,
    ) -> Result<i32, Error> {
        let mut command = command(argv, env, cwd)?;
        if let Some((uid, gid)) = user {
            command.uid(uid).gid(gid);
        }
        spawn(command, &argv[0])
    }

    /// Starts a command with its output appended to `log`.
    pub(crate) fn start_logged(
        &self,
        argv: &[String],
        env: &[(String, String)],
        cwd: &Path,
        log: &Path,
    ) -> Result<i32, Error> {
        let mut command = command(argv, env, cwd)?;
        let file = OpenOptions::new().create(true).append(true).open(log);
        let file: OwnedFd = file.map_err(|source| Error::file("open", log, source))?.into();
        let second = file.try_clone().tried(|| "copy a file descriptor".to_owned())?;
        command.stdout(file).stderr(second);
        spawn(command, &argv[0])
    }

    /// Sleeps until the owner says something or goes, or a child ends.
    pub(crate) fn wait(&mut self, owner: &UnixStream) -> Result<Wake, Error> {
        loop {
            let mut fds = [
                PollFd::new(owner.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
            ];
            match poll(&mut fds, PollTimeout::NONE) {
                Err(Errno::EINTR) => continue,
                Err(error) => return Err(Error::system("wait", error)),
                Ok(_) => {}
            }
            let [from_owner, from_child] = fds.map(|fd| fd.any().unwrap_or(false));
            if from_child {
                while let Ok(Some(_)) = self.signals.read_signal() {}
                return Ok(Wake::Child);
            }
            if from_owner {
                return Ok(Wake::Owner);
            }
        }
    }

    /// Waits for all children that have ended.
    pub(crate) fn reap(&self) -> Vec<(i32, Status)> {
        let mut ended = Vec::new();
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) => ended.push((pid.as_raw(), Status::Code(code))),
                Ok(WaitStatus::Signaled(pid, signal, _)) => {
                    ended.push((pid.as_raw(), Status::Signal(signal as i32)));
                }
                Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return ended,
                Ok(_) | Err(_) => {}
            }
        }
    }
}

fn command(argv: &[String], env: &[(String, String)], cwd: &Path) -> Result<Command, Error> {
    let (program, args) =
        argv.split_first().ok_or_else(|| Error::Refused("there is no command".to_owned()))?;
    let mut command = Command::new(program);
    command
        .args(args)
        .env_clear()
        .envs(env.iter().map(|(key, value)| (key, value)))
        .current_dir(cwd)
        .stdin(Stdio::null());
    // What is named by its path is not left to the C library, which gives a file
    // that the kernel does not take for a program to `/bin/sh`.
    let direct = if program.contains('/') { Some(Program::new(argv, env)?) } else { None };
    // SAFETY: what runs between fork and exec must not need a lock that another
    // thread held: this process has one thread, so that it may even allocate.
    unsafe {
        command.pre_exec(move || {
            sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)?;
            nix::unistd::setsid()?;
            match &direct {
                Some(Program { path, argv, env }) => match execve(path, argv, env) {
                    Err(error) => Err(error.into()),
                    Ok(never) => match never {},
                },
                None => Ok(()),
            }
        });
    }
    Ok(command)
}

/// A program as the kernel takes it.
struct Program {
    path: CString,
    argv: Vec<CString>,
    env: Vec<CString>,
}

impl Program {
    fn new(argv: &[String], env: &[(String, String)]) -> Result<Self, Error> {
        let text = |text: &str| {
            CString::new(text).map_err(|_| Error::Refused(format!("{text:?} holds a zero byte")))
        };
        let argv = argv.iter().map(|arg| text(arg)).collect::<Result<Vec<_>, _>>()?;
        let env = env.iter().map(|(key, value)| text(&format!("{key}={value}")));
        Ok(Self { path: argv[0].clone(), env: env.collect::<Result<_, _>>()?, argv })
    }
}

fn spawn(mut command: Command, program: &str) -> Result<i32, Error> {
    let child = command.spawn().map_err(|source| Error::file("start", program, source))?;
    // Ended children are waited for in one place, by number.
    Ok(child.id().cast_signed())
}
