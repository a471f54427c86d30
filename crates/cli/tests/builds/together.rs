//! Two runs at the same time on one state directory: equal actions are carried
//! out once, and the one goes on when the other is killed, at whatever moment.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;

use super::{made, root};
use crate::clones;
use crate::command_lines::processes_with;
use crate::events::events;
use crate::processes::{send, start, wait_for};
use crate::support::{Project, Ran};

/// Two builds, one of them with a fetch, an image of both, and a suite: what
/// they do takes long enough for another run to find them in flight.
fn project(mark: &str) -> Project {
    root();
    let work = format!("sh -c 'sleep 0.15; true {mark}'");
    Project::new(&[(
        "seatrial.yaml",
        &format!(
            r#"seatrial: 1
builds:
  one: {{ run: "{work}; echo one > $OUT/one" }}
  two:
    fetch: {{ inputs: [seatrial.yaml], run: "{work}; echo fetched > $OUT/fetched" }}
    run: "{work}; cat $FETCHED/fetched > $OUT/two"
images:
  both:
    files:
      - {{ build: one, path: one, to: /one }}
      - {{ build: two, path: two, to: /two }}
suites:
  reads: {{ build: two, adapter: exec, run: "{work}; grep fetched two" }}
  writes: {{ build: one, adapter: exec, run: "grep one one" }}
"#
        ),
    )])
}

/// A clone of a project that uses the same state directory.
fn clone(of: &Project, arguments: &[&str]) -> (Project, Command) {
    let clone = clones::clone(of);
    let mut command = clone.command(arguments);
    command.env("SEATRIAL_STATE_DIR", of.state());
    (clone, command)
}

/// How often each action was carried out, by its name.
fn carried_out(runs: &[&Ran]) -> BTreeMap<String, u32> {
    let mut times = BTreeMap::new();
    for run in runs {
        for event in events(run, "node-finished") {
            assert_eq!(event["outcome"]["outcome"], "done", "{event}");
        }
        for (name, _, hit) in made(run) {
            *times.entry(name).or_default() += u32::from(!hit);
        }
    }
    times
}

#[test]
fn equal_actions_of_two_runs_are_carried_out_once() {
    let first = project("71077400");
    for arguments in [&["build", "--format", "json"][..], &["run", "--format", "json"]] {
        let (_clone, mut command) = clone(&first, arguments);
        let runs = [start(&mut first.command(arguments)), start(&mut command)];
        let runs = runs.map(|run| first.ran(&run.wait_with_output().expect("it ends")));
        let codes = [&runs[0], &runs[1]].map(|run| run.code);
        assert_eq!(codes, [0, 0], "{}{}", runs[0].text(), runs[1].text());
        let times = carried_out(&[&runs[0], &runs[1]]);
        assert!(!times.is_empty() && times.values().all(|times| *times == 1), "{times:?}");
        // Nothing of it is left for the other command to find.
        std::fs::remove_dir_all(first.state()).expect("removed");
    }
}

/// Kills a run after the event with this number; false when it has fewer, and
/// so came to its end.
fn kill_after(mut run: Child, event: usize) -> bool {
    let mut lines = BufReader::new(run.stdout.take().expect("a pipe")).lines();
    let seen = lines.by_ref().take(event).filter_map(Result::ok).count();
    if seen == event && run.try_wait().expect("a child").is_none() {
        send(run.id(), Signal::SIGKILL);
    }
    let status = run.wait().expect("it ends");
    assert!(seen == event || status.success(), "{status} after {seen} events");
    seen == event
}

#[test]
fn a_run_goes_on_whenever_the_other_is_killed() {
    let mark = "71077401";
    let first = project(mark);
    let arguments = ["run", "--format", "json"];
    let (_clone, mut command) = clone(&first, &arguments);
    let mut event = 1;
    loop {
        let killed = start(&mut first.command(&arguments));
        let other = start(&mut command);
        let had_more = kill_after(killed, event);
        let ran = first.ran(&other.wait_with_output().expect("it ends"));
        assert_eq!(ran.code, 0, "killed after event {event}: {}", ran.text());
        let verdict = events(&ran, "run-finished");
        assert_eq!(verdict.first().map(|event| &event["verdict"]), Some(&Value::from("passed")));
        // What the killed one had recorded is not done again, and all else once.
        let times = carried_out(&[&ran]);
        assert!(times.values().all(|times| *times <= 1), "{times:?}");
        wait_for("end of all processes", Duration::from_secs(10), || {
            let left = processes_with(mark);
            if left.is_empty() { Ok(()) } else { Err(left) }
        });
        // The next start removes the control groups, which are empty.
        let next = first.run(&["build"]);
        assert_eq!(next.code, 0, "{}", next.text());
        std::fs::remove_dir_all(first.state()).expect("removed");
        if !had_more {
            break;
        }
        event += 1;
    }
    // Otherwise the loop has killed nothing worth killing.
    assert!(event > 20, "only {event} events");
}
