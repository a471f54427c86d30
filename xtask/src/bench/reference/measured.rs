//! Commands, with the CPU time that they and all that they started used.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, ExitStatus, Stdio};

use anyhow::{Context as _, bail};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::{Pid, SysconfVar, sysconf};

use crate::repository::shown;

/// CPU time of a process that ended, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cpu {
    /// Its own.
    pub(crate) own_us: u64,
    /// With that of all children that it waited for, and of theirs. What a
    /// namespace took with it at its end is in none.
    pub(crate) all_us: u64,
}

/// Waits for a child; how it ended and its CPU time.
pub(crate) fn wait(child: &mut Child) -> anyhow::Result<(ExitStatus, Cpu)> {
    // Its own end of input may be what it waits for.
    drop(child.stdin.take());
    let pid = i32::try_from(child.id())?;
    // It is looked at after its end and before it is gone: only then do the
    // numbers have all of it.
    waitid(Id::Pid(Pid::from_raw(pid)), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT)?;
    let of = |children| cpu_us(pid, children).unwrap_or(0);
    let cpu = Cpu { own_us: of(false), all_us: of(true) };
    Ok((child.wait()?, cpu))
}

/// CPU time of a process in microseconds so far; with that of its waited-for
/// children, if so asked.
pub(crate) fn cpu_us(pid: i32, children: bool) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let ticks = ticks(&stat, children)?;
    let a_second = sysconf(SysconfVar::CLK_TCK).ok()??;
    Some(ticks * 1_000_000 / u64::try_from(a_second).ok()?)
}

/// Processes that a process started and that are there still.
pub(crate) fn children(pid: u32) -> Vec<i32> {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let of_thread = |thread: std::io::Result<std::fs::DirEntry>| {
        std::fs::read_to_string(thread.ok()?.path().join("children")).ok()
    };
    let texts: Vec<String> = threads.filter_map(of_thread).collect();
    let pids = texts.iter().flat_map(|text| text.split_whitespace());
    pids.filter_map(|pid| pid.parse().ok()).collect()
}

/// The name of a process.
pub(crate) fn name(pid: i32) -> String {
    let text = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    text.trim().to_owned()
}

/// Ticks in the text of `/proc/PID/stat`: see proc_pid_stat(5), fields 14 to 17.
fn ticks(stat: &str, children: bool) -> Option<u64> {
    // The name, field 2, is in parentheses and may have anything in it.
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let last = if children { 15 } else { 13 };
    fields.get(11..last)?.iter().map(|field| field.parse::<u64>().ok()).sum()
}

/// Runs a command to its good end; its CPU time in microseconds.
pub(crate) fn run(command: &mut Command) -> anyhow::Result<u64> {
    Ok(output(command)?.1)
}

/// Runs a command to its good end; what it printed, and its CPU time in
/// microseconds.
pub(crate) fn output(command: &mut Command) -> anyhow::Result<(String, u64)> {
    let (status, text, cpu) = lines(command, |_, _| {})?;
    if !status.success() {
        let last: Vec<_> = text.lines().rev().take(20).collect();
        let last: Vec<_> = last.into_iter().rev().collect();
        bail!("{} ended with {status}\n{}", shown(command), last.join("\n"));
    }
    Ok((text, cpu.all_us))
}

/// Runs a command to its end; each is told the process and each line that it
/// prints on standard output, as soon as it does. Standard error goes on to ours.
pub(crate) fn lines(
    command: &mut Command,
    mut each: impl FnMut(u32, &str),
) -> anyhow::Result<(ExitStatus, String, Cpu)> {
    let shown = shown(command);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("{shown} does not start"))?;
    let mut text = String::new();
    for line in BufReader::new(child.stdout.take().context("it has one")?).split(b'\n') {
        let line = String::from_utf8_lossy(&line?).into_owned();
        each(child.id(), &line);
        text.push_str(&line);
        text.push('\n');
    }
    let (status, cpu) = wait(&mut child)?;
    Ok((status, text, cpu))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_read_behind_any_name() {
        let stat = "7 (a b) c) S 1 7 7 0 -1 4194560 1 2 3 4 11 22 330 440 20 0 1 0 5";
        assert_eq!(ticks(stat, false), Some(33));
        assert_eq!(ticks(stat, true), Some(803));
        assert_eq!(ticks("7 (a) S 1", true), None);
    }

    #[test]
    fn time_of_children_is_counted_and_failures_have_their_output() {
        let busy = "for i in 1 2; do (i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done); done";
        let (text, core_us) =
            output(Command::new("sh").args(["-c", &format!("echo hi; {busy}")])).unwrap();
        assert_eq!(text, "hi\n");
        assert!(core_us > 0);
        let failed = run(Command::new("sh").args(["-c", "echo why; exit 3"])).unwrap_err();
        assert!(failed.to_string().ends_with("why"), "{failed}");
    }
}
