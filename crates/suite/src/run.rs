//! What is started to run tests.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use seatrial_core::pipeline::{Adapter, Command, Isolation, Suite, TestSettings};

use crate::list::{Listing, SIGINT, SIGQUIT, SIGTERM};
use crate::{Invocation, libtest, pytest};

/// What the worker decides about a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// How many tests of one program may run at once, where they say that they
    /// can and share what they test.
    pub parallel: u32,
    /// A directory in the sandbox that tests may write to, empty and new for
    /// each call: a report that was there before would be believed.
    pub reports: String,
}

/// Bytes of test names in one argument; Linux takes 128 KiB of one argument.
const NAMES_LIMIT: usize = 64 << 10;

/// The processes that run the tests of `listing`, to be started one after the
/// other: one unless settings of its tests differ, each test needs an
/// environment or, as in Rust, a process of its own, or the names do not fit in
/// an argument.
#[must_use]
pub fn run(suite: &Suite, listing: &Listing, options: &Options) -> Vec<Invocation> {
    let batches = match suite.adapter {
        // Its report names the tests afterwards: no setting of one is known.
        Adapter::Junit => vec![Batch {
            tests: listing.tests.clone(),
            isolation: suite.isolation,
            test_timeout: suite.test_timeout,
            room: 0,
        }],
        _ => batches(suite, listing),
    };
    batches
        .into_iter()
        .enumerate()
        .map(|(n, batch)| invocation(suite, listing, batch, n, options))
        .collect()
}

/// Tests that one process runs.
struct Batch {
    tests: Vec<String>,
    isolation: Isolation,
    test_timeout: Duration,
    /// Bytes that are left of its argument.
    room: usize,
}

fn batches(suite: &Suite, listing: &Listing) -> Vec<Batch> {
    let alone = suite.adapter == Adapter::Rust;
    let mut batches: Vec<Batch> = Vec::new();
    // The batch of each kind that may still get tests.
    let mut open: HashMap<(Isolation, Duration), usize> = HashMap::new();
    for test in &listing.tests {
        let TestSettings { isolation, test_timeout, .. } =
            suite.settings(&listing.program.name, test);
        // Quoting at most quadruples what a name needs.
        let size = test.len() * 4 + 1;
        let kind = (isolation, test_timeout);
        match open.get(&kind).map(|at| &mut batches[*at]) {
            Some(batch) if !alone && isolation != Isolation::Fresh && size <= batch.room => {
                batch.tests.push(test.clone());
                batch.room -= size;
            }
            _ => {
                open.insert(kind, batches.len());
                let room = NAMES_LIMIT.saturating_sub(size);
                let tests = vec![test.clone()];
                batches.push(Batch { tests, isolation, test_timeout, room });
            }
        }
    }
    batches
}

fn invocation(
    suite: &Suite,
    listing: &Listing,
    batch: Batch,
    n: usize,
    options: &Options,
) -> Invocation {
    let Batch { tests, isolation, test_timeout, .. } = batch;
    let count = u32::try_from(tests.len()).unwrap_or(u32::MAX).max(1);
    let timeout = test_timeout.saturating_mul(count);
    let parallel = match isolation {
        Isolation::Shared => options.parallel.max(1),
        Isolation::Serial | Isolation::Fresh => 1,
    };
    let reports = options.reports.trim_end_matches('/');
    let path = listing.program.path.clone();
    let mut env = BTreeMap::new();
    let mut report = None;
    let (argv, stop_signal) = match suite.adapter {
        Adapter::Go => {
            let names: Vec<String> = tests.iter().map(|t| quote(t)).collect();
            let mut argv = vec![
                path,
                // Frames results, so that what a test prints is not taken for one.
                "-test.v=test2json".to_owned(),
                // os.Exit(0) in a test is a failure, as under `go test`.
                "-test.paniconexit0".to_owned(),
                "-test.count=1".to_owned(),
                format!("-test.timeout={}", go_duration(timeout)),
                format!("-test.parallel={parallel}"),
                format!("-test.run=^({})$", names.join("|")),
            ];
            argv.extend(suite.args.iter().cloned());
            (argv, SIGQUIT)
        }
        Adapter::Ginkgo => {
            let names: Vec<String> = tests.iter().map(|t| quote(t)).collect();
            let file = format!("{reports}/{n}.json");
            let mut argv = vec![
                path,
                "-test.paniconexit0".to_owned(),
                "--ginkgo.v".to_owned(),
                "--ginkgo.no-color".to_owned(),
                format!("--ginkgo.timeout={}", go_duration(timeout)),
                format!("--ginkgo.json-report={file}"),
                format!("--ginkgo.focus=^{} (?:{})$", quote(&listing.description), names.join("|")),
            ];
            argv.extend(suite.args.iter().cloned());
            report = Some(file);
            (argv, SIGINT)
        }
        Adapter::Rust => {
            let mut argv = vec![path];
            argv.extend(libtest::RUN.map(str::to_owned));
            argv.extend(suite.args.iter().cloned());
            argv.push("--".to_owned());
            argv.extend(tests.iter().cloned());
            (argv, SIGTERM)
        }
        Adapter::Pytest => (pytest::argv("run", &tests, &suite.args), SIGINT),
        Adapter::Exec | Adapter::Junit => {
            if suite.adapter == Adapter::Junit {
                let file = format!("{reports}/{n}.xml");
                env.insert("JUNIT".to_owned(), file.clone());
                report = Some(file);
            }
            let argv = match &suite.run {
                None => [path].into_iter().chain(suite.args.iter().cloned()).collect(),
                Some(Command::Argv(argv)) => argv.iter().chain(&suite.args).cloned().collect(),
                Some(Command::Script(script)) => {
                    // The word after the script is the script's `$0`.
                    ["bash", "-euo", "pipefail", "-c", script, &listing.program.name]
                        .into_iter()
                        .map(str::to_owned)
                        .chain(suite.args.iter().cloned())
                        .collect()
                }
            };
            (argv, SIGTERM)
        }
    };
    Invocation {
        adapter: suite.adapter,
        program: listing.program.clone(),
        tests,
        argv,
        env,
        report,
        timeout,
        test_timeout,
        stop_signal,
    }
}

/// A pattern of Go's regexp package that matches exactly `text`.
fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            // No argument can hold a NUL, and a line feed reads badly in `ps`.
            '\0'..='\x1f' | '\x7f' => quoted.push_str(&format!("\\x{:02x}", u32::from(c))),
            '\\' | '.' | '+' | '*' | '?' | '(' | ')' | '|' | '[' | ']' | '{' | '}' | '^' | '$' => {
                quoted.push('\\');
                quoted.push(c);
            }
            _ => quoted.push(c),
        }
    }
    quoted
}

/// A duration as Go's `time.ParseDuration` reads it; it holds 290 years.
fn go_duration(duration: Duration) -> String {
    let millis = duration.as_millis().clamp(1, 100 * 365 * 86_400_000);
    format!("{millis}ms")
}

#[cfg(test)]
pub(crate) mod tests {
    use seatrial_core::pipeline::Override;

    use super::*;

    /// A suite with one argument and nothing else of its own.
    pub(crate) fn suite(adapter: Adapter) -> Suite {
        Suite {
            build: None,
            adapter,
            files: Vec::new(),
            run: None,
            args: vec!["-extra".to_owned()],
            select: Vec::new(),
            tools: Vec::new(),
            env: BTreeMap::new(),
            environments: Vec::new(),
            isolation: Isolation::Shared,
            test_timeout: Duration::from_secs(60),
            retries: 0,
            overrides: Vec::new(),
            collect: Vec::new(),
        }
    }

    fn options() -> Options {
        Options { parallel: 4, reports: "/reports/".to_owned() }
    }

    fn argv(suite: &Suite, listing: &Listing) -> String {
        let invocations = run(suite, listing, &options());
        invocations.iter().map(|i| i.argv.join(" ")).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn command_lines() {
        let go = Listing::of(Adapter::Go, "e2e.test", &["TestA", "TestB"]);
        insta::assert_snapshot!(argv(&suite(Adapter::Go), &go), @"/tests/e2e.test -test.v=test2json -test.paniconexit0 -test.count=1 -test.timeout=120000ms -test.parallel=4 -test.run=^(TestA|TestB)$ -extra");
        let fresh = Suite { isolation: Isolation::Fresh, ..suite(Adapter::Go) };
        insta::assert_snapshot!(argv(&fresh, &go), @r"
        /tests/e2e.test -test.v=test2json -test.paniconexit0 -test.count=1 -test.timeout=60000ms -test.parallel=1 -test.run=^(TestA)$ -extra
        /tests/e2e.test -test.v=test2json -test.paniconexit0 -test.count=1 -test.timeout=60000ms -test.parallel=1 -test.run=^(TestB)$ -extra
        ");
        let slow = Override {
            filter: "test(=TestB)".parse().expect("a filter"),
            isolation: Some(Isolation::Serial),
            test_timeout: Some(Duration::from_secs(600)),
            retries: None,
        };
        let other = Suite { overrides: vec![slow], ..suite(Adapter::Go) };
        let go = Listing::of(Adapter::Go, "e2e.test", &["TestA", "TestB", "TestC"]);
        insta::assert_snapshot!(argv(&other, &go), @"
        /tests/e2e.test -test.v=test2json -test.paniconexit0 -test.count=1 -test.timeout=120000ms -test.parallel=4 -test.run=^(TestA|TestC)$ -extra
        /tests/e2e.test -test.v=test2json -test.paniconexit0 -test.count=1 -test.timeout=600000ms -test.parallel=1 -test.run=^(TestB)$ -extra
        ");
        let specs = Listing::of(Adapter::Ginkgo, "e2e.test", &["[sig-apps] a (b)", "x\ny"]);
        insta::assert_snapshot!(argv(&suite(Adapter::Ginkgo), &specs), @r"/tests/e2e.test -test.paniconexit0 --ginkgo.v --ginkgo.no-color --ginkgo.timeout=120000ms --ginkgo.json-report=/reports/0.json --ginkgo.focus=^Suite (?:\[sig-apps\] a \(b\)|x\x0ay)$ -extra");
    }

    #[test]
    fn commands_are_never_joined_into_text() {
        let one = Listing::of(Adapter::Exec, "smoke", &["smoke"]);
        let script =
            Suite { run: Some(Command::Script("exit 0".to_owned())), ..suite(Adapter::Exec) };
        assert_eq!(
            run(&script, &one, &options())[0].argv,
            ["bash", "-euo", "pipefail", "-c", "exit 0", "smoke", "-extra"]
        );
        let words =
            Suite { run: Some(Command::Argv(vec!["a b".to_owned()])), ..suite(Adapter::Junit) };
        let invocation =
            run(&words, &Listing::of(Adapter::Junit, "unit", &[]), &options()).remove(0);
        assert_eq!(invocation.argv, ["a b", "-extra"]);
        assert_eq!(invocation.env["JUNIT"], "/reports/0.xml");
        assert_eq!(invocation.report.as_deref(), Some("/reports/0.xml"));
        assert_eq!(
            run(&suite(Adapter::Exec), &one, &options())[0].argv,
            ["/tests/smoke", "-extra"]
        );
    }

    #[test]
    fn many_names_are_spread_over_several_processes() {
        let names: Vec<String> = (0..10_000).map(|n| format!("TestNumber{n}")).collect();
        let listing = Listing::of(Adapter::Go, "e2e.test", &[]).only(names.clone());
        let invocations = run(&suite(Adapter::Go), &listing, &options());
        assert!(invocations.len() > 1);
        assert!(invocations.iter().flat_map(|i| &i.argv).all(|a| a.len() < 128 << 10));
        assert_eq!(invocations.into_iter().flat_map(|i| i.tests).collect::<Vec<_>>(), names);
    }
}
