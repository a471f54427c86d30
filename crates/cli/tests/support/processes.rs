//! Runs in the background.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Starts a run in the background.
pub(crate) fn start(command: &mut Command) -> Child {
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts")
}

pub(crate) fn send(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(pid).expect("a pid"));
    kill(pid, signal).expect("it lives");
}

/// Waits for something to hold, and says what the state is when it does not.
pub(crate) fn wait_for<T: std::fmt::Debug>(
    what: &str,
    within: Duration,
    mut state: impl FnMut() -> Result<(), T>,
) {
    let began = Instant::now();
    while let Err(state) = state() {
        assert!(began.elapsed() < within, "no {what} within {within:?}: {state:?}");
        pause();
    }
}

#[expect(clippy::disallowed_methods, reason = "no event tells of what another process does")]
fn pause() {
    std::thread::sleep(Duration::from_millis(20));
}
