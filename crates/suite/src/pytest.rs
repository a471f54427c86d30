//! The command line of pytest, and what our plugin in it writes.
//!
//! The plugin (`pytest.py`) writes each event as a line of JSON behind a SYN
//! byte, to a descriptor that pytest's capturing does not reach. What tests
//! print is no such line.

use std::time::Duration;

use seatrial_protocol::test::TestOutcome;
use serde::Deserialize;

/// Begins a line that the plugin wrote.
pub(crate) const MARK: u8 = 0x16;

/// Flags that decide what is run and how it is read, without dashes.
pub(crate) const RESERVED: &[&str] = &[
    "collect-only",
    "co",
    "color",
    "q",
    "qq",
    "k",
    "m",
    "x",
    "exitfirst",
    "maxfail",
    "lf",
    "last-failed",
    "ff",
    "failed-first",
    "n",
    "numprocesses",
];

/// Starts pytest with the plugin: to list all tests (`mode` `list`), or to run
/// (`run`) some.
pub(crate) fn argv(mode: &str, tests: &[String], args: &[String]) -> Vec<String> {
    let mut argv: Vec<String> =
        ["python3", "-c", include_str!("pytest.py"), mode].map(str::to_owned).into();
    argv.push(tests.len().to_string());
    argv.extend(tests.iter().chain(args).cloned());
    argv
}

/// What the plugin says.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub(crate) enum Event {
    /// There is this test.
    Test { test: String },
    /// A test begins.
    Started { test: String },
    /// A test ended.
    Finished { test: String, outcome: Outcome, message: String, seconds: f64, output: String },
    /// pytest is done, with this exit code.
    Ended { code: i32 },
}

/// How pytest says that a test ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Outcome {
    Passed,
    Failed,
    Skipped,
}

impl From<Outcome> for TestOutcome {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Passed => Self::Passed,
            Outcome::Failed => Self::Failed,
            Outcome::Skipped => Self::Skipped,
        }
    }
}

impl Event {
    /// Reads a line with its line feed; `None`: the plugin did not write it.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let event = line.strip_prefix(char::from(MARK))?.strip_suffix('\n')?;
        let event: Self = serde_json::from_str(event).ok()?;
        match event {
            Self::Finished { seconds, .. } if Duration::try_from_secs_f64(seconds).is_err() => None,
            event => Some(event),
        }
    }
}

/// The tests of a list, when pytest ended well.
pub(crate) fn names(list: &str) -> Option<Vec<String>> {
    let mut tests = Vec::new();
    let mut ended = false;
    for line in list
        .split_inclusive('\n')
        .flat_map(|line| line.split_at_checked(line.find(char::from(MARK))?))
    {
        match Event::parse(line.1) {
            Some(Event::Test { test }) => tests.push(test),
            // 5: there are no tests.
            Some(Event::Ended { code: 0 | 5 }) => ended = true,
            _ => {}
        }
    }
    ended.then_some(tests)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events() {
        let started = Event::Started { test: "a.py::b[\u{16}]".to_owned() };
        assert_eq!(
            Event::parse("\x16{\"event\":\"started\",\"test\":\"a.py::b[\\u0016]\"}\n"),
            Some(started)
        );
        for other in [
            "{\"event\":\"started\",\"test\":\"a\"}\n",
            "\x16{\"event\":\"started\",\"test\":\"a\"}",
            "\x16{\"event\":\"started\"}\n",
            "\x16{\"event\":\"boom\"}\n",
            "\x16[]\n",
            "\x16{\"event\":\"finished\",\"test\":\"a\",\"outcome\":\"passed\",\"message\":\"\",\
             \"seconds\":-1,\"output\":\"\"}\n",
        ] {
            assert_eq!(Event::parse(other), None, "{other:?}");
        }
    }

    #[test]
    fn lists() {
        let test = "text \x16{\"event\":\"test\",\"test\":\"a.py::b\"}\n";
        let ended = |code: i32| format!("\x16{{\"event\":\"ended\",\"code\":{code}}}\n");
        assert_eq!(names(&format!("noise\n{test}{}", ended(0))).unwrap(), ["a.py::b"]);
        assert_eq!(names(&ended(5)).unwrap(), Vec::<String>::new());
        assert_eq!(names(&format!("{test}{}", ended(2))), None);
        assert_eq!(names(test), None);
    }
}
