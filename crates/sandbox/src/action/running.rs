//! The owner's side of a sandbox: starts it, reads its output, keeps its time.
#![expect(unsafe_code, reason = "pidfd system calls have no safe wrapper here")]

use std::fs::File;
use std::io::{self, PipeReader, Read};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Child;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::{ActionSpec, Order, Outcome, Report, Status};
use crate::cgroup::Cgroup;
use crate::entry::{Role, start};
use crate::error::{Error, Tried};
use crate::wire;

/// Which output of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Its standard output.
    Stdout,
    /// Its standard error.
    Stderr,
}

/// A command that was started. Dropping it ends the command.
#[derive(Debug)]
pub struct Running {
    child: Child,
    control: UnixStream,
    stdout: PipeReader,
    stderr: PipeReader,
    cgroup: Option<Cgroup>,
    stopper: Stopper,
    started: Instant,
    ended: bool,
}

/// Ends a running command from any thread, or asks it to end.
#[derive(Debug, Clone)]
pub struct Stopper {
    /// To the process inside, which takes orders as long as it runs.
    control: Arc<UnixStream>,
    /// A process number can be given to another process; this cannot.
    pidfd: Arc<OwnedFd>,
    asked: Arc<AtomicBool>,
}

impl Stopper {
    /// Ends the command and all it started. Does nothing when it has ended.
    pub fn stop(&self) {
        self.asked.store(true, Ordering::SeqCst);
        self.kill();
    }

    /// Sends a signal to the command itself and its process group, which may do
    /// with it what they like. Does nothing when the command has ended.
    pub fn signal(&self, signal: i32) {
        // The error says only that the process inside is gone.
        let _ = wire::send(&mut self.control.as_ref(), &Order::Signal(signal));
    }

    fn kill(&self) {
        // SAFETY: sends a signal to the process that the descriptor, which is
        // open, stands for; the null pointer asks for the default information.
        unsafe {
            libc::syscall(
                libc::SYS_pidfd_send_signal,
                self.pidfd.as_raw_fd(),
                libc::SIGKILL,
                std::ptr::null::<libc::siginfo_t>(),
                0,
            );
        }
    }
}

impl Running {
    /// Starts a command in a sandbox. `exe` is an executable that calls
    /// [`crate::enter_if_asked`], mostly `/proc/self/exe`; `cgroup`, when given, is
    /// removed at the end.
    ///
    /// # Errors
    /// When the first process of the sandbox cannot be started; that it cannot set
    /// up the sandbox, or the command in it, is said by [`Running::wait`].
    pub fn start(exe: &Path, spec: &ActionSpec, cgroup: Option<Cgroup>) -> Result<Self, Error> {
        let started = Instant::now();
        let (stdout, their_stdout) = io::pipe().tried(|| "make a pipe".to_owned())?;
        let (stderr, their_stderr) = io::pipe().tried(|| "make a pipe".to_owned())?;
        let (mut child, mut control) = start(exe, Role::Action, their_stdout, their_stderr)?;
        // The process waits for its specification, so all it will ever start is
        // born into the control group.
        let prepared = (|| {
            let pidfd = pidfd_of(child.id())?;
            if let Some(cgroup) = &cgroup {
                cgroup.join(child.id())?;
            }
            wire::send(&mut control, spec).tried(|| "send to the sandbox".to_owned())?;
            let orders = control.try_clone().tried(|| "copy a file descriptor".to_owned())?;
            Ok(Stopper { control: Arc::new(orders), pidfd: Arc::new(pidfd), asked: Arc::default() })
        })();
        match prepared {
            Ok(stopper) => {
                Ok(Self { child, control, stdout, stderr, cgroup, stopper, started, ended: false })
            }
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                if let Some(cgroup) = cgroup {
                    let _ = cgroup.remove();
                }
                Err(error)
            }
        }
    }

    /// What ends this command early, from any thread.
    #[must_use]
    pub fn stopper(&self) -> Stopper {
        self.stopper.clone()
    }

    /// Waits until the command and all it started have ended; ends them after
    /// `timeout`. Gives output as it comes to `on_output`, which may be without end.
    ///
    /// # Errors
    /// When the sandbox could not be set up, or the program cannot be started.
    pub fn wait(
        mut self,
        timeout: Duration,
        mut on_output: impl FnMut(Stream, &[u8]),
    ) -> Result<Outcome, Error> {
        let deadline = self.started.checked_add(timeout);
        let mut output = Output { on_output: &mut on_output };
        let mut open = [true, true];
        let mut report = Ok(None);
        let mut timed_out = false;
        loop {
            let left = deadline.map(|d| d.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) && !timed_out {
                timed_out = true;
                self.stopper.kill();
            }
            // A kill is followed by the end of the control socket.
            let left = if timed_out { None } else { left };
            let ready = self.poll(open, left)?;
            if ready[1] {
                open[0] = output.read(Stream::Stdout, &mut self.stdout);
            }
            if ready[2] {
                open[1] = output.read(Stream::Stderr, &mut self.stderr);
            }
            if ready[0] {
                match wire::receive::<Report>(&mut self.control) {
                    Ok(Some(Report::Started)) => {}
                    Ok(Some(Report::Failed(why))) => report = Err(Error::Setup(why)),
                    Ok(Some(Report::NotStarted(why))) => report = Err(Error::NotStarted(why)),
                    Ok(Some(Report::Exited { status, left_behind })) => {
                        report = Ok(Some((status, left_behind)));
                    }
                    Ok(None) | Err(_) => break,
                }
            }
        }
        // Returns when the whole pid namespace is empty.
        self.child.wait().tried(|| "wait for the sandbox".to_owned())?;
        self.ended = true;
        let wall = self.started.elapsed();
        for (index, stream) in [Stream::Stdout, Stream::Stderr].into_iter().enumerate() {
            // What is left in the pipe; somebody outside may hold its other end.
            while open[index] && self.poll_one(stream)? {
                open[index] = match stream {
                    Stream::Stdout => output.read(stream, &mut self.stdout),
                    Stream::Stderr => output.read(stream, &mut self.stderr),
                };
            }
        }
        let stopped = self.stopper.asked.load(Ordering::SeqCst);
        let usage = self.cgroup.as_ref().map(Cgroup::usage).unwrap_or_default();
        if let Some(cgroup) = self.cgroup.take() {
            cgroup.remove()?;
        }
        let killed = timed_out || stopped || usage.oom_kills > 0;
        let (status, left_behind) = match report? {
            Some(report) => report,
            None if killed => (Status::Signal(libc::SIGKILL), Vec::new()),
            None => return Err(Error::Gone("a command ran")),
        };
        Ok(Outcome { status, timed_out, stopped, left_behind, wall, usage })
    }

    /// Which of the control socket and the open outputs have something to read.
    fn poll(&self, open: [bool; 2], left: Option<Duration>) -> Result<[bool; 3], Error> {
        let sources = [
            (self.control.as_fd(), true),
            (self.stdout.as_fd(), open[0]),
            (self.stderr.as_fd(), open[1]),
        ];
        let mut fds: Vec<PollFd<'_>> = Vec::new();
        for (fd, wanted) in sources {
            let flags = if wanted { PollFlags::POLLIN } else { PollFlags::empty() };
            if wanted {
                fds.push(PollFd::new(fd, flags));
            }
        }
        wait_for(&mut fds, left)?;
        let mut answers = fds.iter().map(|fd| fd.any().unwrap_or(false));
        let mut ready = [false; 3];
        for (slot, (_, wanted)) in ready.iter_mut().zip(sources) {
            *slot = wanted && answers.next().unwrap_or(false);
        }
        Ok(ready)
    }

    fn poll_one(&self, stream: Stream) -> Result<bool, Error> {
        let fd = match stream {
            Stream::Stdout => self.stdout.as_fd(),
            Stream::Stderr => self.stderr.as_fd(),
        };
        let mut fds = [PollFd::new(fd, PollFlags::POLLIN)];
        wait_for(&mut fds, Some(Duration::ZERO))?;
        Ok(fds[0].any().unwrap_or(false))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.ended {
            self.stopper.kill();
            let _ = self.child.wait();
        }
        if let Some(cgroup) = self.cgroup.take() {
            let _ = cgroup.remove();
        }
    }
}

struct Output<'a> {
    on_output: &'a mut dyn FnMut(Stream, &[u8]),
}

impl Output<'_> {
    /// Reads once; whether there can be more.
    fn read(&mut self, stream: Stream, from: &mut PipeReader) -> bool {
        let mut buffer = [0; 16 * 1024];
        let count = match from.read(&mut buffer) {
            Ok(0) => return false,
            Ok(count) => count,
            Err(error) => return error.kind() == io::ErrorKind::Interrupted,
        };
        (self.on_output)(stream, &buffer[..count]);
        true
    }
}

fn wait_for(fds: &mut [PollFd<'_>], left: Option<Duration>) -> Result<(), Error> {
    let timeout = match left {
        None => PollTimeout::NONE,
        // Rounded up, or the last millisecond would be spent spinning.
        Some(left) => {
            PollTimeout::try_from(left.as_micros().div_ceil(1000)).unwrap_or(PollTimeout::MAX)
        }
    };
    match poll(fds, timeout) {
        Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
        Err(error) => Err(Error::system("wait for a sandbox", error)),
    }
}

fn pidfd_of(pid: u32) -> Result<OwnedFd, Error> {
    // SAFETY: takes two integers. The process is our child and not waited for,
    // so that its number is still its own.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error())
            .tried(|| "open a pidfd (needs Linux 5.3)".to_owned());
    }
    let fd = i32::try_from(fd).map_err(|_| Error::Missing("no file descriptor".to_owned()))?;
    // SAFETY: the kernel just made this descriptor for us alone.
    Ok(OwnedFd::from(unsafe { File::from_raw_fd(fd) }))
}
