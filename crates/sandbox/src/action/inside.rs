//! The first process of a sandbox: sets the surroundings up, starts the
//! command, waits for it and reports. One thread; exits as soon as the owner's
//! end of the socket closes.

use std::fs::{self, File};
use std::os::unix::net::UnixStream;
use std::path::Path;

use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::{ActionSpec, Network, Order, Report};
use crate::error::{Error, Tried};
use crate::init::first::{Children, Wake, control_socket, silence};
use crate::netns::loopback_up;
use crate::privilege::{empty_bounding_set, no_new_privileges};
use crate::{landlock, seccomp, wire};

/// Runs as process 1 of a sandbox; returns the exit code.
pub(crate) fn inside() -> i32 {
    let Ok(mut owner) = control_socket() else {
        return 2;
    };
    let Ok(Some(spec)) = wire::receive::<ActionSpec>(&mut owner) else {
        return 2;
    };
    if let Err(error) = set_up(&spec) {
        let message = seatrial_core::failure::Failure::chain(&error);
        let _ = wire::send(&mut owner, &Report::Failed(message));
        return 1;
    }
    match run(&spec, &mut owner) {
        Ok(()) => 0,
        Err(error) => {
            let message = seatrial_core::failure::Failure::chain(&error);
            let _ = wire::send(&mut owner, &Report::NotStarted(message));
            1
        }
    }
}

fn set_up(spec: &ActionSpec) -> Result<(), Error> {
    if spec.uid == 0 || spec.gid == 0 {
        return Err(Error::Refused("a command never runs as root".to_owned()));
    }
    let mut spaces = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWCGROUP;
    match &spec.network {
        Network::Host => {}
        Network::Private => spaces |= CloneFlags::CLONE_NEWNET,
        Network::Join(path) => {
            let file = File::open(path).map_err(|source| Error::file("open", path, source))?;
            setns(&file, CloneFlags::CLONE_NEWNET).tried(|| format!("join {}", path.display()))?;
        }
    }
    unshare(spaces).tried(|| "make namespaces".to_owned())?;
    nix::unistd::sethostname("sandbox").tried(|| "set the host name".to_owned())?;
    if spec.network == Network::Private {
        loopback_up()?;
    }
    spec.root.enter()?;
    nix::unistd::setgroups(&[]).tried(|| "drop groups".to_owned())?;
    spec.limits.apply()?;
    empty_bounding_set()?;
    no_new_privileges()?;
    landlock::apply(&spec.root)?;
    // Last, since it forbids what the rest needs.
    seccomp::apply()
}

fn run(spec: &ActionSpec, owner: &mut UnixStream) -> Result<(), Error> {
    let mut children = Children::new()?;
    let id = children.start(&spec.argv, &spec.env, &spec.cwd, Some((spec.uid, spec.gid)))?;
    // The command's output ends when the command's end of the pipes closes.
    silence()?;
    let told = wire::send(owner, &Report::Started);
    if told.is_err() {
        return Ok(());
    }
    loop {
        if children.wait(owner)? == Wake::Owner {
            match wire::receive(owner) {
                Ok(Some(Order::Signal(signal))) => forward(signal, id),
                // The owner is gone, and so is what ran for it.
                Ok(None) | Err(_) => return Ok(()),
            }
            continue;
        }
        let ended = children.reap();
        if let Some((_, status)) = ended.into_iter().find(|(pid, _)| *pid == id) {
            let left_behind = others();
            let _ = wire::send(owner, &Report::Exited { status, left_behind });
            return Ok(());
        }
    }
}

/// Passes a signal on to the command and what it started in its group: the
/// command leads one, since it was started in a session of its own.
fn forward(signal: i32, command: i32) {
    if let Ok(signal) = Signal::try_from(signal) {
        // It may have ended; then its end is told next.
        let _ = killpg(Pid::from_raw(command), signal);
    }
}

/// Names of the processes in this pid namespace other than this one.
fn others() -> Vec<String> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let name = |entry: fs::DirEntry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        let stat =
            fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat")).ok()?;
        let (before, after) = stat.rsplit_once(')')?;
        // A dead child that nobody has waited for yet is not left behind.
        let dead = after.trim_start().starts_with(['Z', 'X']);
        let (_, name) = before.split_once('(')?;
        (pid != 1 && !dead).then(|| name.to_owned())
    };
    entries.flatten().filter_map(name).take(8).collect()
}
