//! What Seatrial must not leave on a machine, counted.
//!
//! A process or control group is a leak when it belongs to an owner (see
//! `seatrial_sandbox::owner`) that no longer lives; so runs of other people on
//! the same machine are no leaks. Mounts, links, named network namespaces and
//! rules of the machine itself never change: no environment has any there.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;

/// How long the kernel and what watches an owner have, after it has ended.
const WITHIN: Duration = Duration::from_secs(1);

/// What there is on this machine that a run could leave.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Snapshot {
    /// Each thing as a line for a person, beginning with its kind.
    things: BTreeSet<String>,
}

impl Snapshot {
    /// Looks at the machine.
    pub(crate) fn take() -> anyhow::Result<Self> {
        let mut things = BTreeSet::new();
        let mounts = fs::read_to_string("/proc/self/mountinfo").context("mounts")?;
        things.extend(mounts.lines().map(|line| format!("mount {line}")));
        things.extend(names("/sys/class/net").map(|link| format!("link {link}")));
        things.extend(names("/run/netns").map(|name| format!("network namespace {name}")));
        things.extend(rules().lines().map(|line| format!("rule {}", line.trim())));
        for hierarchy in names("/sys/fs/cgroup").map(Some).chain([None]) {
            let ours =
                Path::new("/sys/fs/cgroup").join(hierarchy.unwrap_or_default()).join("seatrial");
            for owner in names(&ours).filter(|owner| is_dead(owner, start_time)) {
                things.insert(format!("control group {}", ours.join(owner).display()));
            }
        }
        for pid in names("/proc").filter_map(|name| name.parse().ok()) {
            things.extend(orphan(pid).map(|what| format!("process {what}")));
        }
        Ok(Self { things })
    }

    /// What is here and was not there `before`.
    fn since<'a>(&'a self, before: &Self) -> Vec<&'a str> {
        let new = self.things.iter().filter(|thing| !before.things.contains(*thing));
        new.map(String::as_str).collect()
    }
}

/// What may still be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum After {
    /// The run ended: nothing.
    End,
    /// The run was killed: empty control groups, which the next start removes.
    Kill,
}

/// Checks that nothing was left since `before`, waiting a second at most.
pub(crate) fn check(before: &Snapshot, after: After) -> anyhow::Result<()> {
    let deadline = Instant::now() + WITHIN;
    loop {
        let now = Snapshot::take()?;
        let mut left = now.since(before);
        left.retain(|thing| after == After::End || !thing.starts_with("control group "));
        if left.is_empty() {
            return Ok(());
        }
        anyhow::ensure!(
            Instant::now() < deadline,
            "left behind {} s after the end:\n  {}",
            WITHIN.as_secs(),
            left.join("\n  ")
        );
        #[expect(clippy::disallowed_methods, reason = "nothing tells when a mount or a link goes")]
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A process in a control group of an owner that is dead, unless it is dead
/// itself and only not yet waited for.
fn orphan(pid: u32) -> Option<String> {
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let owner = owner_in(&groups)?;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let is_zombie = stat.rsplit_once(") ").is_some_and(|(_, after)| after.starts_with('Z'));
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    (is_dead(owner, start_time) && !is_zombie).then(|| format!("{pid} {} of {owner}", name.trim()))
}

/// The owner of the process that is in these groups (see `cgroups(7)`).
fn owner_in(groups: &str) -> Option<&str> {
    let (_, below) = groups.lines().find_map(|line| line.split_once("/seatrial/"))?;
    below.split('/').next()
}

/// Whether `owner`, which is `PID-START-N`, no longer lives. What is not named
/// like an owner is none of ours.
fn is_dead(owner: &str, start_of: impl Fn(u32) -> Option<u64>) -> bool {
    let mut numbers = owner.split('-').map(str::parse::<u64>);
    let (Some(Ok(pid)), Some(Ok(start)), Some(Ok(_))) =
        (numbers.next(), numbers.next(), numbers.next())
    else {
        return false;
    };
    u32::try_from(pid).is_ok_and(|pid| start_of(pid) != Some(start))
}

/// When a process was started (field 22 of `/proc/PID/stat`, see `proc(5)`).
fn start_time(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, after) = stat.rsplit_once(')')?;
    after.split_whitespace().nth(19)?.parse().ok()
}

/// The rules of the machine's own network, without counters; nothing where nft
/// cannot be asked.
fn rules() -> String {
    let mut command = Command::new("nft");
    command.args(["--stateless", "list", "ruleset"]).stdin(Stdio::null());
    let output = command.output().map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&output).into_owned()
}

fn names(dir: impl AsRef<Path>) -> impl Iterator<Item = String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_is_dead_when_its_pid_is_free_or_another_process() {
        let start_of = |pid| (pid == 7).then_some(100);
        assert!(!is_dead("7-100-0", start_of));
        assert!(is_dead("7-99-0", start_of));
        assert!(is_dead("8-100-0", start_of));
        assert!(!is_dead("cgroup.procs", start_of));
    }

    #[test]
    fn the_owner_is_in_the_name_of_the_group() {
        let groups = "4:memory:/seatrial/7-100-0/main/kubepods/x\n0::/user.slice\n";
        assert_eq!(owner_in(groups), Some("7-100-0"));
        assert_eq!(owner_in("0::/user.slice\n"), None);
    }

    #[test]
    fn what_was_there_before_is_no_leak() {
        let snapshot = |things: &[&str]| Snapshot {
            things: things.iter().map(|thing| (*thing).to_owned()).collect(),
        };
        let before = snapshot(&["link lo", "link eth0"]);
        let after = snapshot(&["link lo", "link veth1"]);
        assert_eq!(after.since(&before), ["link veth1"]);
    }
}
