//! The command line of Rust test programs: what libtest, libtest-mimic and
//! other harnesses that cargo-nextest can run understand.
//!
//! One process runs one test: libtest has no stable output from which could be
//! told, while tests run at once, which of them wrote what, when one began or
//! which one took the process down.

/// Makes a program name its tests.
pub(crate) const LIST: [&str; 3] = ["--list", "--format", "terse"];

/// Makes a program run the tests that are named after `--`, without holding
/// back what they write: that of a test that hangs or dies would be lost.
pub(crate) const RUN: [&str; 2] = ["--exact", "--nocapture"];

/// Flags that decide what is run and how it is read, without dashes.
pub(crate) const RESERVED: &[&str] = &[
    "list",
    "format",
    "exact",
    "nocapture",
    "no-capture",
    "show-output",
    "test",
    "bench",
    "skip",
    "quiet",
    "q",
    "test-threads",
    "color",
    "logfile",
    "shuffle",
];

/// Bytes of the name of a test: what fits in one argument of a program.
const NAME_LIMIT: usize = 64 << 10;

/// The tests of a list: lines `name: test` and `name: benchmark`, and nothing
/// else. `None`: this is no such list.
pub(crate) fn names(list: &str) -> Option<Vec<String>> {
    let mut tests = Vec::new();
    for line in list.lines().filter(|line| !line.is_empty()) {
        match line.rsplit_once(": ") {
            Some((name, "test")) if !name.is_empty() && name.len() <= NAME_LIMIT => {
                tests.push(name.to_owned());
            }
            Some((_, "benchmark")) => {}
            _ => return None,
        }
    }
    Some(tests)
}

/// What the last line says about the one test that ran, which libtest writes
/// when all is over: `test result: ok. 1 passed; 0 failed; 0 ignored; ...`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Summary {
    /// One test passed.
    Passed,
    /// One test failed.
    Failed,
    /// One test was not run, as its code says.
    Ignored,
    /// No test, or several.
    Other,
}

impl Summary {
    /// Reads a line; `None` when it is some other one.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let (_, counts) = line.strip_prefix("test result: ")?.split_once(". ")?;
        let mut counts = counts.split("; ").map(|count| count.split_once(' '));
        let mut next = || counts.next().flatten();
        let (passed, failed, ignored) = (next()?, next()?, next()?);
        Some(match (passed, failed, ignored) {
            (("1", "passed"), ("0", "failed"), ("0", "ignored")) => Self::Passed,
            (("0", "passed"), ("1", "failed"), ("0", "ignored")) => Self::Failed,
            (("0", "passed"), ("0", "failed"), ("1", "ignored")) => Self::Ignored,
            ((_, "passed"), (_, "failed"), (_, "ignored")) => Self::Other,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists() {
        let tests = names("a::b: test\nbench: benchmark\nwith: colon - and space: test\n");
        assert_eq!(tests.unwrap(), ["a::b", "with: colon - and space"]);
        assert_eq!(names("").unwrap(), Vec::<String>::new());
        for other in
            ["hello\n", "a: test\nusage: x\n", ": test\n", "a: test\n2 tests, 0 benchmarks"]
        {
            assert_eq!(names(other), None, "{other:?}");
        }
    }

    #[test]
    fn summaries() {
        let of = |counts: &str| Summary::parse(&format!("test result: {counts}"));
        let rest = "0 measured; 6 filtered out; finished in 0.00s";
        assert_eq!(
            of(&format!("ok. 1 passed; 0 failed; 0 ignored; {rest}")),
            Some(Summary::Passed)
        );
        assert_eq!(
            of(&format!("FAILED. 0 passed; 1 failed; 0 ignored; {rest}")),
            Some(Summary::Failed)
        );
        assert_eq!(
            of(&format!("ok. 0 passed; 0 failed; 1 ignored; {rest}")),
            Some(Summary::Ignored)
        );
        assert_eq!(of(&format!("ok. 0 passed; 0 failed; 0 ignored; {rest}")), Some(Summary::Other));
        for other in ["", "ok", "ok. ", "ok. 1 passed", "ok. 1 passed; 2; 3", "ok. a b; c d; e f"] {
            assert_eq!(of(other), None, "{other:?}");
        }
        assert_eq!(Summary::parse("ok. 1 passed; 0 failed; 0 ignored"), None);
    }
}
