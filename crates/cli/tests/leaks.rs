//! Nothing is left on the machine: after a run, after Ctrl-C and after kill -9
//! at any moment. These tests need root, git, a C compiler and the components.
//!
//! Others may use the machine meanwhile: what belongs to the run under test is
//! told by its control groups, named after its process, and by its directory.
#![expect(clippy::print_stdout, reason = "a random moment has to be told")]

#[path = "support/clones.rs"]
mod clones;
#[path = "support/owned.rs"]
mod owned;
#[path = "support/processes.rs"]
mod processes;
#[path = "support/shop.rs"]
mod shop;
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nix::sys::signal::Signal;
use owned::process;
use processes::{send, start, wait_for};
use serde_json::Value;
use shop::{command, shop};
use support::Project;

/// How long the kernel has after the end of a process that owned something. On
/// a quiet machine it takes well under a second; how long is no test's affair.
const SOON: Duration = Duration::from_secs(10);
/// How long a run may take to a moment that is waited for.
const BUSY: Duration = Duration::from_secs(120);

/// What belongs to the processes `owners` and the directory of a project.
#[derive(Debug, Default, PartialEq)]
struct Left {
    processes: Vec<String>,
    mounts: Vec<String>,
    /// Network namespaces that were seen alive and still are.
    namespaces: Vec<String>,
    /// Links and rules of the machine that were not there before.
    links: Vec<String>,
    rules: Vec<String>,
    /// What the next start removes: control groups, and files of the living.
    groups: Vec<String>,
    live: Vec<String>,
}

/// What a run is watched with.
struct Watched<'a> {
    project: &'a Project,
    owners: BTreeSet<u32>,
    namespaces: BTreeSet<PathBuf>,
    links: BTreeSet<String>,
    rules: BTreeSet<String>,
}

impl<'a> Watched<'a> {
    fn new(project: &'a Project) -> Self {
        let (owners, namespaces) = (BTreeSet::new(), BTreeSet::new());
        Self { project, owners, namespaces, links: links(), rules: rules() }
    }

    /// Looks at what an owner has now, to know it again.
    fn look(&mut self, owner: u32) {
        self.owners.insert(owner);
        let own = fs::read_link("/proc/self/ns/net").expect("/proc");
        let processes = self.processes();
        let of = |pid: &u32| fs::read_link(format!("/proc/{pid}/ns/net")).ok();
        self.namespaces.extend(processes.keys().filter_map(of).filter(|ns| *ns != own));
    }

    /// Processes in control groups of the owners, and the owners.
    fn processes(&self) -> BTreeMap<u32, String> {
        let ours = |pid: u32| {
            let groups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
            let of = |owner: &u32| groups.contains(&format!("/seatrial/{owner}-"));
            self.owners.contains(&pid) || self.owners.iter().any(of)
        };
        // Its name and state.
        let name = |pid: u32| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            (pid, stat.split(' ').take(3).collect::<Vec<_>>().join(" "))
        };
        // A zombie waits only for its parent, which may be none of ours.
        let named = pids().filter(|pid| ours(*pid)).map(name);
        named.filter(|(_, name)| !name.ends_with(" Z")).collect()
    }

    fn left(&self) -> Box<Left> {
        let dir = self.project.beside("").display().to_string();
        let mounts = fs::read_to_string("/proc/self/mountinfo").expect("/proc");
        let alive: BTreeSet<_> =
            pids().filter_map(|pid| fs::read_link(format!("/proc/{pid}/ns/net")).ok()).collect();
        let namespaces = self.namespaces.intersection(&alive);
        Box::new(Left {
            processes: self.processes().into_values().collect(),
            mounts: mounts.lines().filter(|l| l.contains(&dir)).map(str::to_owned).collect(),
            namespaces: namespaces.map(|ns| ns.display().to_string()).collect(),
            links: links().difference(&self.links).cloned().collect(),
            rules: rules().difference(&self.rules).cloned().collect(),
            groups: self.groups(),
            live: names(&self.project.state().join("live")),
        })
    }

    fn groups(&self) -> Vec<String> {
        let root = Path::new("/sys/fs/cgroup");
        let all = names(root).into_iter().map(|name| root.join(name)).chain([root.to_owned()]);
        let owned =
            |name: &String| self.owners.iter().any(|owner| name.starts_with(&format!("{owner}-")));
        let ours = all.map(|dir| dir.join("seatrial")).map(|dir| names(&dir));
        ours.flatten().filter(owned).collect()
    }

    /// After an end of its own nothing is left at all.
    fn assert_nothing_left(&self) {
        wait_for("empty machine", SOON, || match self.left() {
            left if *left == Left::default() => Ok(()),
            left => Err(left),
        });
    }

    /// After kill -9 only what needs a living process to remove it is left,
    /// and the next start, of anything, removes that.
    fn assert_nothing_lives(&self) {
        wait_for("empty machine", SOON, || {
            let left = self.left();
            let next =
                Left { groups: left.groups.clone(), live: left.live.clone(), ..Left::default() };
            if *left == next { Ok(()) } else { Err(left) }
        });
    }

    fn assert_next_start_sweeps(&self) {
        let ran = self.project.run(&["run", "alone"]);
        assert_eq!(ran.code, 0, "{}", ran.text());
        self.assert_nothing_left();
    }
}

fn pids() -> impl Iterator<Item = u32> {
    names(Path::new("/proc")).into_iter().filter_map(|name| name.parse().ok())
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

fn links() -> BTreeSet<String> {
    names(Path::new("/sys/class/net")).into_iter().collect()
}

fn rules() -> BTreeSet<String> {
    let output = Command::new("nft").args(["list", "ruleset"]).output();
    let output = output.map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&output).lines().map(str::to_owned).collect()
}

/// A run in the background whose events can be waited for.
struct Run {
    child: Child,
    events: Receiver<Value>,
    /// The nodes of its plan, by their places.
    nodes: Vec<Value>,
}

impl Run {
    fn start(project: &Project, arguments: &[&str]) -> Self {
        Self::of(&mut command(project, arguments))
    }

    fn of(command: &mut Command) -> Self {
        let mut child = start(command.args(["--format", "json"]));
        let (sender, events) = channel();
        let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let event = serde_json::from_str(&line).expect("an event is a line of JSON");
                if sender.send(event).is_err() {
                    break;
                }
            }
        });
        Self { child, events, nodes: Vec::new() }
    }

    /// The next event; `None`: it has ended.
    fn next(&mut self, deadline: Instant) -> Option<Value> {
        let left = deadline.saturating_duration_since(Instant::now());
        let event = match self.events.recv_timeout(left) {
            Ok(event) => event,
            Err(RecvTimeoutError::Disconnected) => return None,
            Err(RecvTimeoutError::Timeout) => panic!("neither an event nor an end"),
        };
        if let Some("planned" | "plan-grown" | "suite-grown") = event["event"].as_str() {
            self.nodes.extend(event["nodes"].as_array().cloned().unwrap_or_default());
        }
        Some(event)
    }

    /// The name of the node that an event is of.
    fn node<'a>(&'a self, event: &Value) -> &'a str {
        let place = event["node"].as_u64().and_then(|node| usize::try_from(node).ok());
        place.and_then(|place| self.nodes.get(place)?["name"].as_str()).unwrap_or_default()
    }

    /// Waits for an event of a node.
    fn until(&mut self, kind: &str, node: &str) {
        let deadline = Instant::now() + BUSY;
        loop {
            let event = self.next(deadline);
            let event = event.unwrap_or_else(|| panic!("no {kind} of {node}: it ended"));
            if event["event"] == kind && self.node(&event) == node {
                return;
            }
        }
    }

    /// Reads its events for a time, or until its end.
    fn pass(&self, time: Duration) {
        let deadline = Instant::now() + time;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if let Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) =
                self.events.recv_timeout(left)
            {
                break;
            }
        }
    }

    fn end(mut self) -> std::process::ExitStatus {
        self.child.wait().expect("it ends")
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        // Where a test failed.
        let _ = self.child.kill();
    }
}

fn until_tests_run(owner: u32) {
    let test = || process(owner, "kubectl", "wait --for=delete node");
    wait_for("tests", BUSY, || test().map(|_| ()).ok_or("not begun"));
}

#[test]
fn nothing_is_left_by_runs_that_end_or_are_interrupted_at_any_moment() {
    use std::os::unix::process::ExitStatusExt as _;
    let project = shop();
    let moments = ["build", "boot", "install", "tests"];
    for moment in moments {
        let mut watched = Watched::new(&project);
        let suite = if moment == "build" { "slow" } else { "waits" };
        let mut run = Run::start(&project, &["run", suite]);
        let pid = run.child.id();
        match moment {
            "build" => run.until("node-started", "build/slow"),
            "boot" => run.until("node-progress", "default/boot"),
            "install" => run.until("node-started", "default/install"),
            _ => until_tests_run(pid),
        }
        // An event is told before what it tells of is there.
        wait_for("something to leave", BUSY, || {
            watched.look(pid);
            if watched.left().groups.is_empty() { Err(moment) } else { Ok(()) }
        });
        send(pid, Signal::SIGINT);
        let status = run.end();
        assert_eq!(status.code(), Some(130), "{moment}: {status:?} {:?}", status.signal());
        watched.assert_nothing_left();
    }
    let runs = project.run(&["runs"]).stdout;
    assert_eq!(runs.matches("cancelled").count(), moments.len(), "{runs}");

    // And one that goes its way, to a failed test and its evidence.
    let mut watched = Watched::new(&project);
    let mut run = Run::start(&project, &["run", "red"]);
    run.until("node-started", "default/install");
    watched.look(run.child.id());
    run.pass(BUSY);
    assert_eq!(run.end().code(), Some(1));
    watched.assert_nothing_left();
}

#[test]
fn nothing_lives_on_when_a_run_is_killed_at_a_random_moment() {
    use std::os::unix::process::ExitStatusExt as _;
    let seed = std::env::var("SEATRIAL_TEST_SEED").ok().and_then(|text| text.parse().ok());
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    let seed: u32 = seed.unwrap_or_else(|| now.subsec_nanos());
    println!("SEATRIAL_TEST_SEED={seed}");
    let project = shop();
    let mut random = seed;
    for nth in 0..4 {
        // A linear congruential generator; its high bits are good enough.
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let after = Duration::from_millis(u64::from(random >> 16) * 12_000 / 65_536);
        let mut watched = Watched::new(&project);
        let run = Run::start(&project, &["run", "waits"]);
        let pid = run.child.id();
        run.pass(after);
        watched.look(pid);
        println!("kill {nth} after {after:?}: {:?}", watched.processes());
        send(pid, Signal::SIGKILL);
        assert_eq!(run.end().signal(), Some(9));
        watched.assert_nothing_lives();
        watched.assert_next_start_sweeps();
    }
}

/// Two runs of one commit on one state directory, an environment each: whenever
/// the one is killed, the other comes to the same verdict, and nothing of the
/// one lives. At some moments; with `SEATRIAL_TEST_FULL` after every event.
#[test]
fn another_run_goes_on_whenever_one_with_an_environment_is_killed() {
    use std::os::unix::process::ExitStatusExt as _;
    let full = std::env::var_os("SEATRIAL_TEST_FULL").is_some();
    let moments = [
        ("node-finished", "build/shop"),
        ("node-finished", "default/boot"),
        ("node-started", "default/install"),
        ("test-started", "default/e2e"),
        ("node-started", "default/drop"),
    ];
    let project = shop();
    let clone = clones::clone(&project);
    let run = |of: &Project| {
        Run::of(command(of, &["run", "e2e"]).env("SEATRIAL_STATE_DIR", project.state()))
    };
    for nth in 0.. {
        let mut watched = Watched::new(&project);
        let (mut killed, mut other) = (run(&project), run(&clone));
        let deadline = Instant::now() + BUSY;
        let mut seen = 0;
        let what = loop {
            let Some(event) = killed.next(deadline) else { break None };
            let what = (event["event"].as_str().unwrap_or_default(), killed.node(&event));
            let is_now = if full { seen == nth } else { what == moments[nth] };
            if is_now {
                break Some(format!("{} {}", what.0, what.1));
            }
            seen += 1;
        };
        // It had fewer events, and has ended.
        let Some(what) = what else {
            assert!(full && nth > 20, "the end after {seen} events, when it was to be killed");
            break;
        };
        println!("kill {nth} after {what}");
        watched.look(killed.child.id());
        send(killed.child.id(), Signal::SIGKILL);
        let status = killed.end();
        // The last events may be those of a run that was quicker than this test.
        assert!(status.signal() == Some(9) || full && status.success(), "{status:?}");
        wait_for("end of all processes", SOON, || match watched.processes() {
            left if left.is_empty() => Ok(()),
            left => Err(left),
        });

        let (mut verdict, mut made) = (Value::Null, BTreeMap::new());
        while let Some(event) = other.next(deadline) {
            if event["event"] == "run-finished" {
                verdict = event["verdict"].clone();
            }
            if event["outcome"]["hit"] == false {
                *made.entry(other.node(&event).to_owned()).or_insert(0) += 1;
            }
        }
        watched.owners.insert(other.child.id());
        assert_eq!((other.end().code(), verdict), (Some(0), Value::from("passed")), "{what}");
        assert!(made.values().all(|times| *times == 1), "{what}: {made:?}");
        watched.assert_next_start_sweeps();
        fs::remove_dir_all(project.state()).expect("removed");
        if !full && nth + 1 == moments.len() {
            break;
        }
    }
}

#[test]
fn an_environment_that_stays_goes_with_its_keeper_and_with_who_waits_for_it() {
    let project = shop();
    let up = project.finish(&mut command(&project, &["env", "up"]));
    assert_eq!(up.code, 0, "{}", up.text());
    let mut watched = Watched::new(&project);
    let keeper = keeper(&project);
    watched.look(keeper);
    assert!(watched.processes().len() > 8, "{:?}", watched.processes());
    send(keeper, Signal::SIGKILL);
    watched.assert_nothing_lives();
    let listed = project.run(&["env", "ls"]);
    assert_eq!(listed.stdout, "");
    watched.assert_next_start_sweeps();

    // Who waits for it is killed while it boots: nobody would know of it.
    let mut run = Run::start(&project, &["env", "up"]);
    run.until("node-progress", "default/boot");
    let mut watched = Watched::new(&project);
    let owner = names(&project.state().join("live")).pop().expect("an owner");
    let owner = owner.split('-').next().and_then(|pid| pid.parse().ok()).expect("a pid");
    assert_ne!(owner, run.child.id());
    watched.look(owner);
    send(run.child.id(), Signal::SIGKILL);
    run.end();
    wait_for("end of the keeper", Duration::from_secs(20), || match watched.processes() {
        left if left.is_empty() => Ok(()),
        left => Err(left),
    });
    watched.assert_nothing_left();
}

/// The process that holds the one environment that stays.
fn keeper(project: &Project) -> u32 {
    let dir = project.state().join("environments");
    let id = names(&dir).pop().expect("an environment");
    let kept = fs::read_to_string(dir.join(id).join("kept.json")).expect("published");
    let kept: Value = serde_json::from_str(&kept).expect("JSON");
    kept["keeper"].as_u64().and_then(|pid| u32::try_from(pid).ok()).expect("a pid")
}
