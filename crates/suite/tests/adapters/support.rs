//! Compiles the fixtures with `go` and drives their programs as the worker
//! does: one pipe for stdout and stderr, a deadline, a signal, a report file.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use std::os::unix::process::ExitStatusExt;

use seatrial_core::failure::Failure;
use seatrial_core::pipeline::{Adapter, Isolation, Suite};
use seatrial_protocol::test::{TestEvent, TestOutcome};
use seatrial_suite::list::{self, List, Listing};
use seatrial_suite::reader::{Ending, Reader};
use seatrial_suite::run::{self, Options};
use seatrial_suite::{Exit, Invocation, Program, STOP_GRACE};

/// What a program did, as the reader saw it.
pub(crate) struct Seen {
    pub(crate) events: Vec<TestEvent>,
    pub(crate) not_run: Vec<String>,
    pub(crate) reason: String,
    pub(crate) failure: Option<Failure>,
    /// All that it wrote.
    pub(crate) bytes: Vec<u8>,
    pub(crate) exit: Exit,
    pub(crate) report: Option<Vec<u8>>,
}

impl Seen {
    /// How each test ended, sorted: `TestA passed`.
    pub(crate) fn outcomes(&self) -> String {
        let mut lines: Vec<String> = self
            .events
            .iter()
            .filter_map(|event| match event {
                TestEvent::Finished { test, outcome, .. } => {
                    let outcome = serde_json::to_value(outcome).unwrap();
                    Some(format!("{test} {}", outcome.as_str().unwrap()))
                }
                _ => None,
            })
            .collect();
        lines.sort();
        lines.extend(self.not_run.iter().map(|test| format!("{test} (not run)")));
        if let Some(failure) = &self.failure {
            lines.push(format!("! {}", failure.code));
        }
        lines.join("\n")
    }

    /// What `test` wrote.
    pub(crate) fn output(&self, of: Option<&str>) -> String {
        self.events
            .iter()
            .filter_map(|event| match event {
                TestEvent::Output { test, text, .. } if test.as_deref() == of => {
                    Some(text.as_str())
                }
                _ => None,
            })
            .collect()
    }

    pub(crate) fn message(&self, of: &str) -> String {
        self.events
            .iter()
            .find_map(|event| match event {
                TestEvent::Finished { test, message, .. } if test == of => message.clone(),
                _ => None,
            })
            .unwrap_or_default()
    }

    pub(crate) fn outcome(&self, of: &str) -> Option<TestOutcome> {
        self.events.iter().find_map(|event| match event {
            TestEvent::Finished { test, outcome, .. } if test == of => Some(*outcome),
            _ => None,
        })
    }
}

pub(crate) fn suite(adapter: Adapter) -> Suite {
    Suite {
        build: None,
        adapter,
        files: Vec::new(),
        run: None,
        args: Vec::new(),
        select: Vec::new(),
        tools: Vec::new(),
        env: Default::default(),
        environments: Vec::new(),
        isolation: Isolation::Shared,
        test_timeout: Duration::from_secs(60),
        retries: 0,
        overrides: Vec::new(),
        collect: Vec::new(),
    }
}

/// The compiled test program of a fixture; compiled once a test binary.
pub(crate) fn program(fixture: &'static str) -> Program {
    static DIRECTORY: OnceLock<tempfile::TempDir> = OnceLock::new();
    static GO: OnceLock<PathBuf> = OnceLock::new();
    static GINKGO: OnceLock<PathBuf> = OnceLock::new();
    let cell = if fixture == "go" { &GO } else { &GINKGO };
    let path = cell.get_or_init(|| {
        let directory = DIRECTORY.get_or_init(|| tempfile::tempdir().unwrap());
        let path = directory.path().join(format!("{fixture}.test"));
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(fixture);
        let output = Command::new("go")
            .args(["test", "-c", "-mod=readonly", "-o"])
            .arg(&path)
            .arg(".")
            .current_dir(source)
            .output()
            .expect("these tests need `go`");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        path
    });
    Program { name: format!("{fixture}.test"), path: path.to_str().unwrap().to_owned() }
}

/// Lists the tests of a program.
pub(crate) fn listed(
    suite: &Suite,
    program: Program,
    env: &[(&str, &str)],
) -> Result<Listing, Failure> {
    let reports = tempfile::tempdir().unwrap();
    match list::list(suite, program, reports.path().to_str().unwrap())? {
        List::Known(listing) => Ok(listing),
        List::Ask(ask) => {
            let seen = drive(&ask, env);
            list::parse(&ask, &seen.bytes, &seen.exit, seen.report.as_deref())
        }
    }
}

/// Runs tests of a fixture in one process.
pub(crate) fn ran(suite: &Suite, program: Program, tests: &[&str], env: &[(&str, &str)]) -> Seen {
    let listing = listed(suite, program, &[]).unwrap();
    let listing = listing.only(tests.iter().map(ToString::to_string).collect());
    let reports = tempfile::tempdir().unwrap();
    let reports = reports.path().to_str().unwrap().to_owned();
    let invocations = run::run(suite, &listing, &Options { parallel: 4, reports });
    assert_eq!(invocations.len(), 1);
    drive(&invocations[0], env)
}

/// Starts an invocation and feeds a reader until it has ended.
pub(crate) fn drive(invocation: &Invocation, env: &[(&str, &str)]) -> Seen {
    let mut reader = Reader::new(invocation);
    let started = Instant::now();
    let (mut output, input) = std::io::pipe().unwrap();
    let mut command = Command::new(&invocation.argv[0]);
    command
        .args(&invocation.argv[1..])
        .envs(&invocation.env)
        .envs(env.iter().copied())
        .stdin(Stdio::null())
        .stdout(input.try_clone().unwrap())
        .stderr(input);
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) => {
            let exit = Exit::NotStarted(error.to_string());
            let ending = reader.finish(started.elapsed(), &exit, None);
            return seen(Vec::new(), ending, Vec::new(), exit, None);
        }
    };
    // The command holds the write ends of the pipe; without them it ends with
    // the program.
    drop(command);
    let (sender, chunks) = mpsc::channel();
    let pump = std::thread::spawn(move || {
        let mut buffer = [0; 8192];
        while let Ok(length @ 1..) = output.read(&mut buffer) {
            if sender.send(buffer[..length].to_vec()).is_err() {
                break;
            }
        }
    });
    let (mut events, mut bytes, mut stopped) = (Vec::new(), Vec::new(), None);
    loop {
        let deadline = match stopped {
            None => reader.deadline(),
            Some(at) => at + STOP_GRACE,
        };
        match chunks.recv_timeout(deadline.saturating_sub(started.elapsed())) {
            Ok(chunk) => {
                events.extend(reader.push(started.elapsed(), &chunk));
                bytes.extend(chunk);
            }
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) if stopped.is_none() => {
                stopped = Some(started.elapsed());
                signal(&child, invocation.stop_signal);
            }
            Err(RecvTimeoutError::Timeout) => {
                child.kill().unwrap();
                break;
            }
        }
    }
    let status = child.wait().unwrap();
    pump.join().unwrap();
    let exit = if stopped.is_some() { Exit::Stopped(TestOutcome::TimedOut) } else { exit(status) };
    let report = invocation.report.as_ref().and_then(|path| std::fs::read(path).ok());
    let ending = reader.finish(started.elapsed(), &exit, report.as_deref());
    seen(events, ending, bytes, exit, report)
}

fn seen(
    mut events: Vec<TestEvent>,
    ending: Ending,
    bytes: Vec<u8>,
    exit: Exit,
    report: Option<Vec<u8>>,
) -> Seen {
    events.extend(ending.events);
    let (not_run, reason, failure) = (ending.not_run, ending.reason, ending.failure);
    Seen { events, not_run, reason, failure, bytes, exit, report }
}

fn exit(status: ExitStatus) -> Exit {
    match status.code() {
        Some(code) => Exit::Code(code),
        None => Exit::Signal(status.signal().unwrap()),
    }
}

fn signal(child: &Child, signal: i32) {
    let status =
        Command::new("kill").arg(format!("-{signal}")).arg(child.id().to_string()).status();
    assert!(status.unwrap().success());
}
