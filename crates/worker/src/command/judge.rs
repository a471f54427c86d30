//! What the end of a command means.

use std::time::Duration;

use nix::sys::signal::Signal;
use seatrial_core::failure::Failure;
use seatrial_core::quantity::{show_duration, show_size};
use seatrial_core::tail::Tail;
use seatrial_protocol::worker::AttemptEvent;
use seatrial_sandbox::action::{Outcome, Status};

use super::Prepared;
use crate::attempt::{Attempt, cancelled};

/// Bytes of the end of what a command printed that go with its failure.
pub(crate) const TAIL: usize = 8 << 10;

/// What programs print where names cannot be looked up: curl, glibc, Go, Node.
const NO_NAMES: [&str; 5] = [
    "Could not resolve host",
    "Temporary failure in name resolution",
    "failed to lookup address information",
    "dial tcp: lookup ",
    "EAI_AGAIN",
];

/// What the end of a command means: nothing, or a failure. `what` begins the
/// code of a failure.
pub(crate) fn judge(
    attempt: &Attempt,
    prepared: &Prepared,
    outcome: &Outcome,
    tail: &Tail,
    what: &str,
) -> Result<(), Failure> {
    // One that had ended before anybody could stop it ended by itself.
    if outcome.stopped && attempt.cancel().is_cancelled() {
        return Err(cancelled());
    }
    let limits = (prepared.timeout, prepared.memory);
    match fault(outcome, limits, tail, what) {
        Some(failure) => Err(failure),
        None => {
            if let Some(warning) = left_behind(outcome, what) {
                attempt.event_blocking(AttemptEvent::Warning(warning));
            }
            Ok(())
        }
    }
}

/// What is wrong with the end of a command, within these limits of time and
/// memory.
fn fault(
    outcome: &Outcome,
    (time, memory): (Duration, Option<u64>),
    tail: &Tail,
    what: &str,
) -> Option<Failure> {
    let failure = |code: &str, message: String| {
        Failure::product(&format!("{what}.{code}"), message).detail(tail.text())
    };
    if outcome.timed_out {
        let message = format!("it took longer than {}", show_duration(time));
        let failure = failure("timed_out", message);
        return Some(match what {
            // Its time is not the pipeline's to say.
            "kustomize" => failure.hint(
                "a kustomization is rendered without network: make remote bases and charts \
                 part of the project",
            ),
            _ => failure.hint("give it a longer `timeout:`"),
        });
    }
    if outcome.usage.oom_kills > 0 {
        return Some(match memory {
            Some(bytes) => {
                let message = format!("it needed more than the {} that it has", show_size(bytes));
                failure("out_of_memory", message)
                    .hint("give it more with `resources: { memory: ... }`")
            }
            None => failure("out_of_memory", "it used up the machine's memory".to_owned())
                .hint("limit what it does at once, or use a larger machine"),
        });
    }
    let message = match outcome.status {
        Status::Code(0) => return None,
        Status::Code(code) => format!("it ended with exit code {code}"),
        Status::Signal(signal) => match Signal::try_from(signal) {
            Ok(signal) => format!("{signal} ended it"),
            Err(_) => format!("signal {signal} ended it"),
        },
    };
    let failure = failure("failed", message);
    let text = tail.text();
    Some(if outcome.status == Status::Code(127) {
        failure.hint("a shell says 127 when it does not find a program: name it in `tools:`")
    } else if text.contains("Read-only file system") {
        failure.hint(
            "a command can write only to $OUT, $TMPDIR and its caches; \
             the project's files are read-only",
        )
    } else if what == "build" && NO_NAMES.iter().any(|sign| text.contains(sign)) {
        failure.hint(
            "commands have no network unless they ask for it: get what comes from elsewhere in \
             `fetch: { run: ..., network: true }`, which `run` finds in $FETCHED",
        )
    } else {
        failure
    })
}

/// What to say of processes that a command did not wait for.
fn left_behind(outcome: &Outcome, what: &str) -> Option<Failure> {
    let names = outcome.left_behind.join(", ");
    let message = format!("it left processes behind, which were ended: {names}");
    let warning = Failure::product(&format!("{what}.left_processes"), message);
    (!names.is_empty()).then_some(warning)
}

#[cfg(test)]
mod tests {
    use seatrial_sandbox::cgroup::Usage;

    use super::*;

    fn outcome(status: Status) -> Outcome {
        Outcome {
            status,
            timed_out: false,
            stopped: false,
            left_behind: Vec::new(),
            wall: Duration::from_secs(1),
            usage: Usage::default(),
        }
    }

    fn said(outcome: &Outcome, memory: Option<u64>, printed: &str) -> String {
        let mut tail = Tail::new(TAIL);
        tail.push(printed.as_bytes());
        match fault(outcome, (Duration::from_secs(90), memory), &tail, "build") {
            None => "nothing".to_owned(),
            Some(failure) => {
                assert_eq!(failure.detail, printed);
                format!("{}: {} ({})", failure.code, failure.message, failure.hints.join("; "))
            }
        }
    }

    #[test]
    fn each_end_says_what_happened_and_what_to_do() {
        let code = |code| outcome(Status::Code(code));
        let late = Outcome { timed_out: true, ..outcome(Status::Signal(9)) };
        let usage = Usage { oom_kills: 1, ..Usage::default() };
        let hungry = Outcome { usage, ..outcome(Status::Signal(9)) };
        let read_only = "mkdir: x: Read-only file system";
        let all = [
            said(&code(0), None, "fine"),
            said(&code(2), None, "x.go:1: undefined: y"),
            said(&code(127), None, "bash: line 1: protoc: command not found"),
            said(&code(1), None, read_only),
            said(&code(6), None, "curl: (6) Could not resolve host: example.com"),
            said(&outcome(Status::Signal(11)), None, ""),
            said(&outcome(Status::Signal(99)), None, ""),
            said(&late, None, read_only),
            said(&hungry, Some(2 << 30), ""),
            said(&hungry, None, ""),
        ];
        insta::assert_snapshot!(all.join("\n"), @r"
        nothing
        build.failed: it ended with exit code 2 ()
        build.failed: it ended with exit code 127 (a shell says 127 when it does not find a program: name it in `tools:`)
        build.failed: it ended with exit code 1 (a command can write only to $OUT, $TMPDIR and its caches; the project's files are read-only)
        build.failed: it ended with exit code 6 (commands have no network unless they ask for it: get what comes from elsewhere in `fetch: { run: ..., network: true }`, which `run` finds in $FETCHED)
        build.failed: SIGSEGV ended it ()
        build.failed: signal 99 ended it ()
        build.timed_out: it took longer than 1 m 30 s (give it a longer `timeout:`)
        build.out_of_memory: it needed more than the 2.0 GiB that it has (give it more with `resources: { memory: ... }`)
        build.out_of_memory: it used up the machine's memory (limit what it does at once, or use a larger machine)
        ");
    }

    #[test]
    fn processes_that_are_left_are_a_warning() {
        assert_eq!(left_behind(&outcome(Status::Code(0)), "build"), None);
        let left_behind_two = Outcome {
            left_behind: vec!["gradle".to_owned(), "sleep".to_owned()],
            ..outcome(Status::Code(0))
        };
        let warning = left_behind(&left_behind_two, "build").expect("a warning");
        assert_eq!(warning.message, "it left processes behind, which were ended: gradle, sleep");
    }
}
