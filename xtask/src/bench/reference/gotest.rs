//! What `go test -json` tells: which test ran when, and how it ended. Read
//! while it happens, so that what the cluster used can be asked between tests.
//! The format: `go doc test2json`.

use serde::Deserialize;

/// One line.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Line {
    action: String,
    #[serde(default)]
    package: String,
    #[serde(default)]
    test: String,
    #[serde(default)]
    output: String,
}

/// What happened to a test or a program.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Happened {
    /// A program began: all before was compiling.
    Program(String),
    /// A program ended.
    ProgramEnded(String),
    /// A test began, of a program.
    Began(String, String),
    /// A test ended, well or not.
    Ended(String, String, bool),
}

/// Reads a line; `None`: it tells nothing that is wanted, such as of a subtest.
pub(crate) fn read(line: &str) -> Option<Happened> {
    let line: Line = serde_json::from_str(line).ok()?;
    let program = line.package.rsplit('/').next().unwrap_or_default().to_owned();
    if program.is_empty() || line.test.contains('/') {
        return None;
    }
    Some(match (line.action.as_str(), line.test.as_str()) {
        ("start", "") => Happened::Program(program),
        ("pass" | "fail" | "skip", "") => Happened::ProgramEnded(program),
        (_, "") => return None,
        ("run", _) => Happened::Began(program, line.test),
        ("pass" | "skip", _) => Happened::Ended(program, line.test, true),
        ("fail", _) => Happened::Ended(program, line.test, false),
        _ => return None,
    })
}

/// What a test and its subtests wrote, out of all lines.
pub(crate) fn said(text: &str, test: &str) -> String {
    let lines = text.lines().filter_map(|line| serde_json::from_str::<Line>(line).ok());
    let of = lines.filter(|line| line.test.split('/').next() == Some(test));
    of.map(|line| line.output).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_and_programs_are_told_apart_and_subtests_left_out() {
        let read = |text: &str| read(text);
        let line = |rest: &str| format!(r#"{{"Time":"x","Package":"a.test/e2e/one",{rest}}}"#);
        let one = || "one".to_owned();
        assert_eq!(read(&line(r#""Action":"start""#)), Some(Happened::Program(one())));
        assert_eq!(
            read(&line(r#""Action":"run","Test":"TestA""#)),
            Some(Happened::Began(one(), "TestA".into()))
        );
        assert_eq!(
            read(&line(r#""Action":"fail","Test":"TestA""#)),
            Some(Happened::Ended(one(), "TestA".into(), false))
        );
        assert_eq!(read(&line(r#""Action":"fail""#)), Some(Happened::ProgramEnded(one())));
        for nothing in [
            r#""Action":"fail","Test":"TestA/sub""#,
            r#""Action":"output","Test":"TestA","Output":"x""#,
            r#""Action":"output","Output":"PASS""#,
        ] {
            assert_eq!(read(&line(nothing)), None);
        }
        assert_eq!(read("# seatrial.invalid/reference"), None);
        let text = [
            line(r#""Action":"output","Test":"TestA/sub","Output":"x\n""#),
            line(r#""Action":"output","Test":"TestAB","Output":"y\n""#),
            line(r#""Action":"output","Test":"TestA","Output":"z\n""#),
        ];
        assert_eq!(said(&text.join("\n"), "TestA"), "x\nz\n");
    }
}
