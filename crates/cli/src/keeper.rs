//! Environments that stay when the command is over.
//!
//! An environment dies with its owner, so an owner has to stay. The command
//! starts itself once more in a session of its own ([`launch`]); that process
//! does all the work, writes to the same terminal, and tells its exit code.
//! When an environment is to stay, it lets go of the terminal and waits at a
//! socket until somebody takes the environment down ([`Keeper::keep`]).
//!
//! ```text
//!  seatrial env up ──starts──▶ keeper ──owns──▶ environment
//!        ▲  "exit 0"              │
//!        └────────────────────────┤
//!  seatrial env down ──"down"────▶┘  <state>/environments/<id>/control.sock
//! ```

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use nix::sys::signal::{Signal, kill, raise};
use nix::unistd::Pid;
use seatrial_core::failure::Failure;
use serde::{Deserialize, Serialize};

use crate::error::CommandError;
use crate::execute::Ran;
use crate::paths::PathArgs;
use crate::ui;

/// Makes a process a keeper, when it names the process that started it: no
/// other process is meant, whoever inherits the variable.
const STARTED_BY: &str = "SEATRIAL_KEEPER_OF";

/// Name of the socket at which an environment is taken down.
const SOCKET: &str = "control.sock";

/// How long an environment may take to go down.
const DOWN: Duration = Duration::from_secs(60);

/// What is known of an environment that stays.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Kept {
    /// Its identifier, short enough to type.
    pub(crate) id: String,
    /// Its name in the pipeline.
    pub(crate) environment: String,
    /// The project.
    pub(crate) project: String,
    /// Milliseconds since 1970 when it was brought up.
    pub(crate) since_unix_ms: u64,
    /// The process that owns it.
    pub(crate) keeper: u32,
    /// Clusters that have a `kubeconfig-NAME` beside this file.
    pub(crate) clusters: Vec<String>,
}

/// Starts this command again as a keeper, and waits until it tells its exit
/// code or ends.
pub(crate) fn launch() -> Result<u8, CommandError> {
    let mut arguments = std::env::args_os();
    let mut keeper = Command::new("/proc/self/exe")
        // As whoever lists processes knows it.
        .arg0(arguments.next().unwrap_or_else(|| "seatrial".into()))
        .args(arguments)
        .env(STARTED_BY, std::process::id().to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let pid = Pid::from_raw(i32::try_from(keeper.id()).unwrap_or(i32::MAX));
    // It is in a session of its own: the terminal's Ctrl-C does not reach it.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let stdout = keeper.stdout.take();
    let answer = runtime.block_on(async move {
        let reading = tokio::task::spawn_blocking(move || answer(stdout?));
        tokio::pin!(reading);
        loop {
            tokio::select! {
                answer = &mut reading => break answer.ok().flatten(),
                result = tokio::signal::ctrl_c() => if result.is_ok() {
                    let _ = kill(pid, Signal::SIGINT);
                },
            }
        }
    });
    match answer {
        Some(code) => Ok(code),
        None => {
            let status = keeper.wait()?;
            Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(3))
        }
    }
}

/// Passes on what the keeper prints, until it tells its exit code.
fn answer(stdout: impl std::io::Read) -> Option<u8> {
    for line in BufReader::new(stdout).lines() {
        let line = line.ok()?;
        match line.strip_prefix("seatrial-exit ") {
            Some(code) => return code.parse().ok(),
            None => ui::data(&format!("{line}\n")).ok()?,
        }
    }
    None
}

/// This process, when it is a keeper.
pub(crate) struct Keeper {
    let_go: Arc<AtomicBool>,
}

impl Keeper {
    /// The keeper that this process was started to be, if it was.
    pub(crate) fn of_this_process() -> Option<Self> {
        let started_by = std::env::var(STARTED_BY).ok()?;
        let parent = nix::unistd::getppid().to_string();
        (started_by == parent).then(Self::begin)
    }

    /// Makes this process independent of the terminal; it still ends when the
    /// command that started it does.
    fn begin() -> Self {
        // Fails only for the leader of a process group, which a process that
        // was just started is not.
        let _ = nix::unistd::setsid();
        let let_go = Arc::new(AtomicBool::new(false));
        let keeper = Self { let_go: let_go.clone() };
        std::thread::spawn(move || {
            // The other end is held by the command that started this process.
            let _ = std::io::stdin().read_to_end(&mut Vec::new());
            if !let_go.load(Ordering::SeqCst) {
                let _ = raise(Signal::SIGTERM);
            }
        });
        keeper
    }

    /// Lets go of the terminal with this exit code, then holds what is kept
    /// until it is taken down.
    pub(crate) fn keep(self, paths: &PathArgs, ran: Ran, code: u8) -> Result<u8, CommandError> {
        if ran.kept.is_empty() {
            return Ok(code);
        }
        let id = ran.run.short();
        let dir = directory(&paths.state()?).join(&id);
        let listener = publish(&dir, &id, &ran)?;
        tell(&dir, &id, &ran);
        self.let_go.store(true, Ordering::SeqCst);
        ui::data(&format!("seatrial-exit {code}\n"))?;
        detach()?;
        let reply = until_down(&listener, &dir);
        let Ran { kept, runtime, machine, .. } = ran;
        let down = runtime.block_on(async {
            for held in &kept {
                held.shutdown().await?;
            }
            Ok::<(), Failure>(())
        });
        drop(kept);
        drop(machine);
        let _ = std::fs::remove_dir_all(&dir);
        if let (Some(mut stream), Err(failure)) = (reply, &down) {
            let _ = stream.write_all(failure.message.as_bytes());
        }
        down?;
        Ok(code)
    }
}

/// Waits until somebody asks for the end, and returns who; or until `dir` is
/// removed, after which nobody could ask.
fn until_down(listener: &UnixListener, dir: &Path) -> Option<UnixStream> {
    // Without inotify, of which there may be none left, a request still comes.
    let removed = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)
        .and_then(|inotify| {
            let flags = AddWatchFlags::IN_DELETE | AddWatchFlags::IN_DELETE_SELF;
            inotify.add_watch(dir, flags).map(|_| inotify)
        })
        .ok();
    loop {
        if !dir.join(SOCKET).exists() {
            return None;
        }
        let mut sources = vec![PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
        sources.extend(removed.as_ref().map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN)));
        if poll(&mut sources, PollTimeout::NONE).is_err() {
            continue;
        }
        let asked = sources[0].any().unwrap_or(false);
        if let Some(inotify) = &removed {
            // What exactly happened is looked at above.
            let _ = inotify.read_events();
        }
        let Some(Ok((mut stream, _))) = asked.then(|| listener.accept()) else { continue };
        let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
        // A request that cannot be read is no request.
        let mut request = [0; 5];
        if stream.read_exact(&mut request).is_ok() && &request == b"down\n" {
            return Some(stream);
        }
    }
}

/// The socket in a directory, by a path that is short whatever the directory's
/// is: an address of a socket has at most 108 bytes (unix(7)). It is good as
/// long as the returned file is open.
fn socket(dir: &Path) -> std::io::Result<(File, PathBuf)> {
    let dir = File::open(dir)?;
    let path = format!("/proc/self/fd/{}/{SOCKET}", dir.as_raw_fd());
    Ok((dir, path.into()))
}

fn connect(dir: &Path) -> std::io::Result<UnixStream> {
    let (_open, path) = socket(dir)?;
    UnixStream::connect(path)
}

/// Where environments that stay are listed.
fn directory(state: &Path) -> PathBuf {
    state.join("environments")
}

/// Writes down what stays, for its owner's eyes only: kubeconfigs hold keys.
fn publish(dir: &Path, id: &str, ran: &Ran) -> Result<UnixListener, CommandError> {
    use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
    let _ = std::fs::remove_dir_all(dir);
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let write = |name: String, text: &str| {
        let mut options = std::fs::OpenOptions::new();
        let options = options.write(true).create_new(true).mode(0o600);
        options.open(dir.join(name)).and_then(|mut file| file.write_all(text.as_bytes()))
    };
    let mut clusters: Vec<String> = Vec::new();
    for held in &ran.kept {
        for (cluster, kubeconfig) in held.kubeconfigs() {
            // Several environments of a run have clusters of the same name.
            let numbered = (2..).map(|number| format!("{cluster}-{number}"));
            let mut names = std::iter::once(cluster.to_string()).chain(numbered);
            let name = names.find(|name| !clusters.contains(name)).unwrap_or_default();
            write(format!("kubeconfig-{name}"), kubeconfig)?;
            clusters.push(name);
        }
    }
    let header = ran.summary.run.as_ref();
    let kept = Kept {
        id: id.to_owned(),
        environment: ran.kept.first().map(|held| held.name().to_string()).unwrap_or_default(),
        project: header.map(|run| run.project.clone()).unwrap_or_default(),
        since_unix_ms: header.map(|run| run.started_unix_ms).unwrap_or_default(),
        keeper: std::process::id(),
        clusters,
    };
    let (_open, path) = socket(dir)?;
    let listener = UnixListener::bind(path)?;
    // Last: what is listed can be used.
    write("kept.json".to_owned(), &serde_json::json!(kept).to_string())?;
    Ok(listener)
}

fn tell(dir: &Path, id: &str, ran: &Ran) {
    let name = ran.kept.first().map(|held| held.name().to_string()).unwrap_or_default();
    let mut text = format!("environment {name} stays, as {id}\n");
    if let Some((cluster, _)) = ran.kept.iter().find_map(|held| held.kubeconfigs().iter().next()) {
        let path = dir.join(format!("kubeconfig-{cluster}"));
        text.push_str(&format!("  export KUBECONFIG={}\n", path.display()));
    }
    text.push_str(&format!("  seatrial env shell {id}    a shell with kubectl\n"));
    text.push_str(&format!("  seatrial env down {id}     end it\n"));
    ui::note(&text);
}

/// Lets go of the terminal.
fn detach() -> Result<(), CommandError> {
    let null = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null")?;
    let detached = nix::unistd::dup2_stdin(&null)
        .and_then(|()| nix::unistd::dup2_stdout(&null))
        .and_then(|()| nix::unistd::dup2_stderr(&null));
    detached.map_err(std::io::Error::from)?;
    Ok(())
}

/// The environments that stay. What a keeper that died left is removed: its
/// environment died with it.
pub(crate) fn list(state: &Path) -> Result<Vec<(Kept, PathBuf)>, CommandError> {
    let Ok(entries) = std::fs::read_dir(directory(state)) else { return Ok(Vec::new()) };
    let mut list = Vec::new();
    for dir in entries.flatten().map(|entry| entry.path()) {
        let Ok(text) = std::fs::read_to_string(dir.join("kept.json")) else { continue };
        let Ok(kept) = serde_json::from_str::<Kept>(&text) else { continue };
        if connect(&dir).is_ok() {
            list.push((kept, dir));
        } else {
            let _ = std::fs::remove_dir_all(&dir);
        }
    }
    list.sort_by_key(|(kept, _)| kept.since_unix_ms);
    Ok(list)
}

/// The environment that a person means: by its id, or by its name when that
/// is the only one; without either, the only one.
pub(crate) fn find(state: &Path, wanted: Option<&str>) -> Result<(Kept, PathBuf), CommandError> {
    let list = list(state)?;
    let known: Vec<_> =
        list.iter().map(|(kept, _)| format!("{} ({})", kept.id, kept.environment)).collect();
    let is_meant = |kept: &Kept| {
        wanted.is_none_or(|text| kept.id.starts_with(text) || kept.environment == text)
    };
    let mut meant: Vec<_> = list.into_iter().filter(|(kept, _)| is_meant(kept)).collect();
    match (meant.pop(), meant.is_empty()) {
        (Some(found), true) => Ok(found),
        (found, _) => {
            let message = match (found, wanted) {
                (Some(_), _) => "more than one environment can be meant".to_owned(),
                (None, Some(text)) => format!("no environment `{text}` stays"),
                (None, None) => "no environment stays".to_owned(),
            };
            let hint = match known.is_empty() {
                true => "`seatrial env up` brings one up".to_owned(),
                false => format!("there are: {}", known.join(", ")),
            };
            Err(Failure::config("env.unknown", message).hint(hint).into())
        }
    }
}

/// Takes an environment down and waits until it is gone.
pub(crate) fn down(dir: &Path) -> Result<(), CommandError> {
    let mut stream = connect(dir)?;
    stream.set_read_timeout(Some(DOWN))?;
    stream.write_all(b"down\n")?;
    let mut answer = String::new();
    // The keeper closes its end when everything is gone.
    stream.read_to_string(&mut answer)?;
    if answer.is_empty() {
        return Ok(());
    }
    Err(Failure::environment("env.not_gone", answer).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keeper_is_reached_below_a_long_path_and_ends_with_it() {
        let state = tempfile::tempdir().expect("a directory");
        let dir = state.path().join("x".repeat(200));
        std::fs::create_dir(&dir).expect("made");
        let keeper = || {
            let (_open, path) = socket(&dir).expect("there");
            let listener = UnixListener::bind(path).expect("the path is short enough");
            let dir = dir.clone();
            std::thread::spawn(move || until_down(&listener, &dir).is_some())
        };
        let kept = keeper();
        // Who only looks whether it is there asks for nothing.
        drop(connect(&dir).expect("it listens"));
        connect(&dir).expect("it listens").write_all(b"down\n").expect("it reads");
        assert!(kept.join().expect("no panic"), "somebody asked");

        std::fs::remove_file(dir.join(SOCKET)).expect("it is there");
        let kept = keeper();
        std::fs::remove_dir_all(&dir).expect("removed");
        assert!(!kept.join().expect("no panic"), "nobody asked");
    }
}
