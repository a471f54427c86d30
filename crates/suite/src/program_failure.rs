//! What is said when a program is not what its suite takes it for.

use seatrial_core::failure::Failure;
use seatrial_core::pipeline::Adapter;

use crate::{Exit, Invocation};

/// The failure of a program that cannot be listed or run as its adapter
/// needs, with the first lines of what it wrote.
pub(crate) fn not_a_test_program(invocation: &Invocation, exit: &Exit, output: &str) -> Failure {
    let name = &invocation.program.name;
    let (kind, make) = match invocation.adapter {
        Adapter::Go => ("a Go test program", "build it with `go test -c` (Go 1.20 or later)"),
        Adapter::Ginkgo => (
            "a test program with Ginkgo specs",
            "build it with `go test -c` from a package that calls `RunSpecs` of Ginkgo 2",
        ),
        Adapter::Rust => (
            "a Rust test program",
            "build it with `cargo test --no-run`; a harness of its own must know `--list`, \
             `--format`, `--exact` and `--nocapture`",
        ),
        Adapter::Pytest => (
            "pytest",
            "the suite's `tools` must hold `python3`, and pytest must be installed in it or be \
             below a directory that the suite's PYTHONPATH names; `python3 -m pytest \
             --collect-only` shows what it cannot collect",
        ),
        Adapter::Junit | Adapter::Exec => ("a program", "check the suite's `run` and `files`"),
    };
    let message = match exit {
        // ENOEXEC: executable by its mode, and nothing the kernel knows.
        Exit::NotStarted(reason) if reason.starts_with("Exec format error") => {
            format!("`{name}` is not a program ({reason})")
        }
        Exit::NotStarted(reason) => format!("`{name}` could not be started: {reason}"),
        _ if mentions_flags(output) => {
            format!("`{name}` is not {kind}: it does not know the flags of one ({exit})")
        }
        _ => format!("`{name}` did not answer as {kind} does ({exit})"),
    };
    Failure::product("suite.not_a_test_program", message)
        .detail(first_lines(output))
        .hint(make)
        .hint("narrow the suite's `files` to the test programs if it matches others too")
}

/// The failure of a program that ended without saying how its tests went.
pub(crate) fn died(invocation: &Invocation, exit: &Exit, when: &str, output: String) -> Failure {
    let name = &invocation.program.name;
    Failure::product("suite.program_died", format!("`{name}` ended {when} ({exit})"))
        .detail(output)
        .hint("a setup such as `TestMain` that fails, or a call of os.Exit, ends the program")
}

/// The failure when two accounts of the same run do not agree.
pub(crate) fn contradiction(invocation: &Invocation, what: &str, output: String) -> Failure {
    let name = &invocation.program.name;
    Failure::product("report.contradiction", format!("`{name}` contradicts itself: {what}"))
        .detail(output)
}

/// At most 20 lines and 4 KiB from the beginning of `output`.
pub(crate) fn first_lines(output: &str) -> String {
    let lines: usize = output.split_inclusive('\n').take(20).map(str::len).sum();
    let mut end = lines.min(4096);
    while !output.is_char_boundary(end) {
        end -= 1;
    }
    output[..end].to_owned()
}

/// Whether our flags were refused: the texts of Go's `flag.failf`, and others.
fn mentions_flags(output: &str) -> bool {
    output.contains("flag provided but not defined")
        || output.contains("invalid boolean value \"test2json\"")
        // libtest's, and that of clap.
        || output.contains("Unrecognized option: ")
        || output.contains("error: unexpected argument '--")
}
