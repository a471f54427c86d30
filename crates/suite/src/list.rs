//! Which tests a program has: how it is asked, and what it answers.

use std::collections::BTreeMap;
use std::time::Duration;

use seatrial_core::failure::Failure;
use seatrial_core::pipeline::{Adapter, Suite};

use crate::ginkgo_report::GinkgoReport;
use crate::program_failure::{first_lines, not_a_test_program};
use crate::{Exit, Invocation, Program, libtest, pytest};

/// How long a program may take to list its tests.
pub const LIST_TIMEOUT: Duration = Duration::from_secs(120);

/// How many bytes of a program's answer are read.
pub const LIST_LIMIT: usize = 16 << 20;

/// The tests of one program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// How they are run.
    pub adapter: Adapter,
    /// The program.
    pub program: Program,
    /// Their names in the program's order. Of a `junit` suite none: only its
    /// report names them.
    pub tests: Vec<String>,
    /// What a Ginkgo suite calls itself; its filters match this and the name.
    pub(crate) description: String,
}

/// How the tests of a program become known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum List {
    /// They are known without asking.
    Known(Listing),
    /// The program is run and its answer given to [`parse`].
    Ask(Invocation),
}

impl Listing {
    /// The same program with only these tests, for a retry or a batch.
    #[must_use]
    pub fn only(&self, tests: Vec<String>) -> Self {
        Self { tests, ..self.clone() }
    }

    #[cfg(test)]
    pub(crate) fn of(adapter: Adapter, program: &str, tests: &[&str]) -> Self {
        Self {
            adapter,
            program: Program { name: program.to_owned(), path: format!("/tests/{program}") },
            tests: tests.iter().map(ToString::to_string).collect(),
            description: "Suite".to_owned(),
        }
    }
}

/// How to learn the tests of `program`. `reports` is an empty directory in the
/// sandbox that the program may write to.
///
/// # Errors
/// `suite.reserved_argument`: `args` of the suite holds a flag that Seatrial
/// sets itself.
pub fn list(suite: &Suite, program: Program, reports: &str) -> Result<List, Failure> {
    check_args(suite)?;
    let mut argv = vec![program.path.clone()];
    let mut report = None;
    match suite.adapter {
        Adapter::Go => argv.push("-test.list=.*".to_owned()),
        Adapter::Ginkgo => {
            let path = format!("{}/list.json", reports.trim_end_matches('/'));
            // A seed, so that the order is the same each time.
            argv.extend(
                ["--ginkgo.dry-run", "--ginkgo.no-color", "--ginkgo.seed=1"].map(str::to_owned),
            );
            argv.push(format!("--ginkgo.json-report={path}"));
            report = Some(path);
        }
        Adapter::Rust => argv.extend(libtest::LIST.map(str::to_owned)),
        Adapter::Pytest => {}
        Adapter::Exec | Adapter::Junit => {
            let tests = match suite.adapter {
                Adapter::Exec => vec![program.name.clone()],
                _ => Vec::new(),
            };
            let description = String::new();
            return Ok(List::Known(Listing {
                adapter: suite.adapter,
                program,
                tests,
                description,
            }));
        }
    }
    match suite.adapter {
        Adapter::Pytest => argv = pytest::argv("list", &[], &suite.args),
        _ => argv.extend(suite.args.iter().cloned()),
    }
    Ok(List::Ask(Invocation {
        adapter: suite.adapter,
        program,
        tests: Vec::new(),
        argv,
        env: BTreeMap::new(),
        report,
        timeout: LIST_TIMEOUT,
        test_timeout: LIST_TIMEOUT,
        stop_signal: SIGQUIT,
    }))
}

/// Reads the answer to [`List::Ask`]: what the program wrote, how it ended and
/// the report it left. More than [`LIST_LIMIT`] bytes of `output` are refused.
///
/// # Errors
/// `suite.not_a_test_program` with the first lines of its output when it is no
/// such program or cannot list its tests; `suite.focused` when specs are
/// focused in code; `report.bad_json` when the report is unreadable;
/// `suite.list_too_large`.
pub fn parse(
    asked: &Invocation,
    output: &[u8],
    exit: &Exit,
    report: Option<&[u8]>,
) -> Result<Listing, Failure> {
    if output.len() > LIST_LIMIT {
        // What is missing would be tests that nobody runs.
        let name = &asked.program.name;
        let message = format!("`{name}` writes more than {} MiB as its list", LIST_LIMIT >> 20);
        return Err(Failure::product("suite.list_too_large", message)
            .hint("a program that is asked for its tests should print nothing else"));
    }
    let text = String::from_utf8_lossy(output);
    let refuse = || not_a_test_program(asked, exit, &text);
    let (tests, description) = match asked.adapter {
        Adapter::Go => {
            if *exit != Exit::Code(0) {
                return Err(refuse());
            }
            let tests: Vec<String> =
                text.lines().map(str::trim).filter(|l| is_go_test(l)).map(str::to_owned).collect();
            // A package without tests answers with nothing; some other program
            // that ignores our flags does not.
            if tests.is_empty() && !text.trim().is_empty() && !text.lines().any(is_go_name) {
                return Err(refuse());
            }
            (tests, String::new())
        }
        Adapter::Ginkgo => {
            let report = report.ok_or_else(refuse)?;
            let report = GinkgoReport::parse(&asked.program.name, report)?;
            if report.focused {
                return Err(focused(asked));
            }
            if *exit != Exit::Code(0) {
                return Err(refuse());
            }
            let specs = report.specs.into_iter().filter(|s| s.is_test() && s.state == "passed");
            (specs.map(|s| s.name()).collect(), report.description)
        }
        Adapter::Rust => {
            if *exit != Exit::Code(0) {
                return Err(refuse());
            }
            (libtest::names(&text).ok_or_else(refuse)?, String::new())
        }
        Adapter::Pytest => (pytest::names(&text).ok_or_else(refuse)?, String::new()),
        // These are never asked.
        Adapter::Junit | Adapter::Exec => (Vec::new(), String::new()),
    };
    Ok(Listing { adapter: asked.adapter, program: asked.program.clone(), tests, description })
}

/// `FIt` and the like, left in by mistake, silently drop all other specs.
pub(crate) fn focused(invocation: &Invocation) -> Failure {
    Failure::product(
        "suite.focused",
        format!(
            "`{}` has specs that are focused in code: the others would never run",
            invocation.program.name
        ),
    )
    .hint("remove `FIt`, `FDescribe` and the like (`ginkgo unfocus`), and use `select` instead")
}

pub(crate) const SIGINT: i32 = 2;
pub(crate) const SIGQUIT: i32 = 3;
pub(crate) const SIGTERM: i32 = 15;

/// Whether `-test.run` runs what has this name: `Test`, `Fuzz` or `Example`
/// and then no lower-case letter (`go help testfunc`). Benchmarks are listed
/// too, but they are no tests.
fn is_go_test(name: &str) -> bool {
    is_go_name(name)
        && ["Test", "Fuzz", "Example"].iter().any(|prefix| {
            name.strip_prefix(prefix)
                .is_some_and(|rest| rest.chars().next().is_none_or(|c| !c.is_lowercase()))
        })
}

fn is_go_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= 512 && name.chars().all(|c| c.is_alphanumeric() || c == '_')
}

/// Flags that decide what is run, how it is read or how long it may take.
fn check_args(suite: &Suite) -> Result<(), Failure> {
    const GO: &[&str] = &[
        "test.run",
        "test.skip",
        "test.list",
        "test.v",
        "test.count",
        "test.timeout",
        "test.paniconexit0",
        "test.fuzz",
    ];
    const GINKGO: &[&str] = &[
        "ginkgo.focus",
        "ginkgo.dry-run",
        "ginkgo.json-report",
        "ginkgo.v",
        "ginkgo.vv",
        "ginkgo.succinct",
        "ginkgo.fd",
        "ginkgo.no-color",
        "ginkgo.timeout",
        "ginkgo.github-output",
        "ginkgo.parallel.process",
        "ginkgo.parallel.total",
        "ginkgo.parallel.host",
    ];
    let reserved: &[&[&str]] = match suite.adapter {
        Adapter::Go => &[GO],
        Adapter::Ginkgo => &[GO, GINKGO],
        Adapter::Rust => &[libtest::RESERVED],
        Adapter::Pytest => &[pytest::RESERVED],
        Adapter::Exec | Adapter::Junit => &[],
    };
    for arg in &suite.args {
        let Some(flag) = arg.strip_prefix("--").or_else(|| arg.strip_prefix('-')) else {
            continue;
        };
        let flag = flag.split_once('=').map_or(flag, |(name, _)| name);
        if reserved.iter().any(|flags| flags.contains(&flag)) {
            return Err(Failure::config(
                "suite.reserved_argument",
                format!("`args` holds `{}`, which Seatrial sets itself", first_lines(arg)),
            )
            .hint("choose tests with `select`, and their time with `test-timeout`"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::tests::suite;

    fn ask(adapter: Adapter, args: &[&str]) -> Result<String, String> {
        let args = args.iter().map(ToString::to_string).collect();
        let suite = Suite { args, ..suite(adapter) };
        let program = Program { name: "e2e.test".to_owned(), path: "/tests/e2e.test".to_owned() };
        match list(&suite, program, "/reports") {
            Ok(List::Ask(ask)) => Ok(ask.argv.join(" ")),
            Ok(List::Known(listing)) => Ok(listing.tests.join(" ")),
            Err(failure) => Err(format!("{}: {}", failure.code, failure.message)),
        }
    }

    #[test]
    fn how_a_program_is_asked() {
        let said = [
            ask(Adapter::Go, &["-short"]),
            ask(Adapter::Ginkgo, &["--provider=skeleton"]),
            ask(Adapter::Exec, &[]),
            ask(Adapter::Junit, &[]),
        ];
        insta::assert_snapshot!(said.map(Result::unwrap).join("\n"), @r"
        /tests/e2e.test -test.list=.* -short
        /tests/e2e.test --ginkgo.dry-run --ginkgo.no-color --ginkgo.seed=1 --ginkgo.json-report=/reports/list.json --provider=skeleton
        e2e.test
        ");
    }

    #[test]
    fn flags_that_decide_what_is_run_are_refused() {
        let refused = |flag: &str| {
            Err(format!(
                "suite.reserved_argument: `args` holds `{flag}`, which Seatrial sets itself"
            ))
        };
        for flag in ["-test.run=TestA", "--test.run", "-test.count=2", "-test.skip=x"] {
            assert_eq!(ask(Adapter::Go, &["-v", flag]), refused(flag));
        }
        assert_eq!(ask(Adapter::Ginkgo, &["--ginkgo.focus=x"]), refused("--ginkgo.focus=x"));
        // Filters that apply when it lists apply when it runs.
        assert!(ask(Adapter::Ginkgo, &["--ginkgo.skip=x", "--ginkgo.label-filter=y"]).is_ok());
        // A command's arguments are its own.
        assert!(ask(Adapter::Exec, &["-test.run=x"]).is_ok());
    }

    #[test]
    fn names_that_go_runs() {
        for test in ["Test", "TestA", "Test_a", "Test1", "TestÜ", "FuzzX", "Example", "ExampleA_b"]
        {
            assert!(is_go_test(test), "{test}");
        }
        for other in ["", "Testament", "BenchmarkX", "ok", "Test A", "TestA.*", "TestA/b", "testA"]
        {
            assert!(!is_go_test(other), "{other}");
        }
    }
}
