//! What stands at the end of a run: failures, table, counts, verdict.

use std::fmt::Write as _;

use seatrial_core::failure::{Failure, Fault, Retry};
use seatrial_core::verdict::Verdict;
use seatrial_protocol::test::TestOutcome;

use crate::colour::Colour;
use crate::summary::{Summary, TestSummary, Try};
use crate::table::step_table;
use crate::text;

/// Most failing tests that are shown in full; the others by name.
pub(crate) const FULL_TESTS: usize = 20;

/// Most names of a list that are written out.
const NAMES: usize = 100;

/// Renders the end of a run, after a blank line.
pub(crate) fn ending(summary: &Summary, colour: Colour) -> String {
    let mut out = String::new();
    for void in summary.void() {
        let _ = write!(out, "\n{}", void_block(summary, void, colour));
    }
    for (node, failure) in summary.failures() {
        let name = node.map(|node| summary.node_name(node));
        let _ = write!(out, "\n{}", failure_block(name.as_deref(), failure, colour));
    }
    out.push_str(&failing_tests(summary, colour));
    out.push_str(&flaky_tests(summary, colour));
    for (node, _, evidence) in &summary.evidence {
        let heading = format!("evidence  {}", summary.node_name(*node));
        let _ =
            write!(out, "\n{}\n{}", colour.strong(&heading), text::indented(evidence, "      "));
    }
    let _ = write!(out, "\n{}", step_table(summary));
    let counts = summary.counts();
    if counts.total() > 0 {
        let _ = writeln!(out, "{:<12} {}  ({})", "tests", counts.total(), counts.words());
    }
    for (_, environment) in &summary.kept {
        let _ = writeln!(out, "{:<12} environment {environment}: see `seatrial env ls`", "kept");
    }
    let _ = writeln!(out, "\n{}", verdict_line(summary, colour));
    out
}

/// The verdict in one line, and how to see more.
pub(crate) fn verdict_line(summary: &Summary, colour: Colour) -> String {
    let wall = text::duration(summary.wall_us());
    let more = summary.run.as_ref().map_or_else(String::new, |run| {
        format!("  {}", colour.faint(&format!("(seatrial explain {})", run.id.short())))
    });
    let Some(verdict) = summary.verdict() else {
        let text = colour.odd("this run ended without a verdict");
        return format!("{text} after {wall}{more}");
    };
    let word = colour.verdict(Some(verdict), verdict.word());
    format!("{word}: {} in {wall}{more}", reason(summary, verdict))
}

/// What the verdict rests on, in a few words.
pub(crate) fn reason(summary: &Summary, verdict: Verdict) -> String {
    let counts = summary.counts();
    let total = text::count(counts.total() as usize, "test");
    let not_tests = summary.failures().len();
    match verdict {
        Verdict::Passed if counts.total() > 0 => total,
        Verdict::Passed => "nothing to test, all was made".to_owned(),
        Verdict::Flaky => format!("{} of {total} passed only when tried again", counts.flaky),
        Verdict::Failed if counts.failed > 0 => format!("{} of {total}", counts.failed),
        Verdict::Failed | Verdict::Broken if not_tests > 0 => text::count(not_tests, "failure"),
        Verdict::Broken if counts.broken > 0 => {
            format!("the environment failed under {} of {total}", counts.broken)
        }
        Verdict::Cancelled => match &summary.cancel {
            Some(reason) => format!("stopped ({reason})"),
            None => "stopped".to_owned(),
        },
        Verdict::NotRun => format!("{} of {total} did not run", counts.not_run),
        Verdict::Failed | Verdict::Broken => total,
    }
}

/// A failure that is not of a test: message, detail, hints, whose fault.
pub(crate) fn failure_block(name: Option<&str>, failure: &Failure, colour: Colour) -> String {
    let mut out = message_block(&colour.bad("FAIL"), name, failure, colour);
    let fault = match failure.fault {
        Fault::Product => "the product or its tests",
        Fault::Config => "the pipeline file or the command line",
        Fault::Environment => "the machine, the network or Seatrial",
    };
    let retry = match failure.retry {
        Retry::Never => "a retry does not help",
        Retry::Safe => "a retry may help",
    };
    let blame = format!("[{}] fault of {fault}; {retry}", failure.code);
    let _ = writeln!(out, "      {}", colour.faint(&blame));
    out
}

/// What a person should know though nothing failed.
pub(crate) fn warning_block(name: &str, warning: &Failure, colour: Colour) -> String {
    message_block(&colour.odd("warn"), Some(name), warning, colour)
}

/// What made a node void, and what tried it again.
pub(crate) fn void_block(
    summary: &Summary,
    (node, failure, elsewhere): (u32, &Failure, u32),
    colour: Colour,
) -> String {
    let name = summary.node_name(node);
    let mut out = message_block(&colour.odd("void"), Some(&name), failure, colour);
    let (code, again) = (&failure.code, summary.node_name(elsewhere));
    let what = format!("[{code}] says nothing about the product; tried again as {again}");
    let _ = writeln!(out, "      {}", colour.faint(&what));
    out
}

fn message_block(word: &str, name: Option<&str>, failure: &Failure, colour: Colour) -> String {
    let mut out = String::new();
    let mut message = failure.message.lines();
    let first = message.next().unwrap_or("no reason was given");
    match name {
        Some(name) => _ = writeln!(out, "{word}  {name}: {first}"),
        None => _ = writeln!(out, "{word}  {first}"),
    }
    let rest: Vec<&str> = message.collect();
    out.push_str(&text::indented(&rest.join("\n"), "      "));
    out.push_str(&text::indented(&failure.detail, "      | "));
    for hint in &failure.hints {
        let _ = writeln!(out, "      {} {hint}", colour.strong("hint:"));
    }
    out
}

/// A test as it is named everywhere: `e2e/api.test TestScale`, and where,
/// when its suite runs in several environments.
pub(crate) fn test_name(test: &TestSummary, summary: &Summary) -> String {
    let several = summary.nodes.iter().any(|node| {
        node.plan.suite.as_ref() == Some(&test.suite) && node.plan.environment != test.environment
    });
    match &test.environment {
        Some(environment) if several => {
            format!("{} {} on {environment}", test.group(), test.name)
        }
        _ => format!("{} {}", test.group(), test.name),
    }
}

/// Tests that did not do well, subtests in place of theirs.
pub(crate) fn unwell<'a>(summary: &'a Summary) -> Vec<&'a TestSummary> {
    let all = summary.tests();
    let bad =
        |test: &&'a TestSummary| matches!(test.verdict(), Some(Verdict::Failed | Verdict::Broken));
    let part_of = |part: &TestSummary, test: &TestSummary| {
        part.subtest
            && part.name.strip_prefix(&test.name).is_some_and(|rest| rest.starts_with('/'))
            && (&part.suite, &part.environment, &part.program)
                == (&test.suite, &test.environment, &test.program)
    };
    let parts: Vec<_> = all.iter().filter(|test| test.subtest).filter(bad).collect();
    let says_nothing = |test: &TestSummary| {
        test.tries.iter().all(|one| one.message.is_none() && one.output.is_none())
    };
    all.iter()
        .filter(bad)
        .filter(|test| !says_nothing(test) || !parts.iter().any(|part| part_of(part, test)))
        .collect()
}

/// How a test went wrong, where `FAIL` does not say it.
pub(crate) fn how(test: &TestSummary) -> &'static str {
    let unwell =
        |one: &&Try| matches!(one.outcome.verdict(), Some(Verdict::Failed | Verdict::Broken));
    match test.tries.iter().rev().find(unwell).map(|one| one.outcome) {
        Some(TestOutcome::TimedOut) => "  timed out",
        Some(TestOutcome::Broken) if test.breaks_its_environment() => "  breaks its environment",
        Some(TestOutcome::Broken) => "  its environment failed",
        _ => "",
    }
}

fn failing_tests(summary: &Summary, colour: Colour) -> String {
    let unwell = unwell(summary);
    let mut out = String::new();
    if unwell.is_empty() {
        return out;
    }
    out.push('\n');
    for test in unwell.iter().take(FULL_TESTS) {
        let word = colour.verdict(test.verdict(), "FAIL");
        let _ = writeln!(out, "{word}  {}{}", test_name(test, summary), how(test));
        let message = test.tries.iter().rev().find_map(|one| one.message.as_deref());
        out.push_str(&text::indented(message.unwrap_or_default(), "      "));
    }
    let rest: Vec<String> =
        unwell.iter().skip(FULL_TESTS).map(|test| test_name(test, summary)).collect();
    out.push_str(&names("      and", &rest));
    out
}

/// Tests that passed only when they were tried again, with what each try said.
fn flaky_tests(summary: &Summary, colour: Colour) -> String {
    let flaky: Vec<_> = flaky(summary).collect();
    let mut out = String::new();
    if flaky.is_empty() {
        return out;
    }
    out.push('\n');
    let word = colour.verdict(Some(Verdict::Flaky), "FLAKY");
    for test in flaky.iter().take(NAMES) {
        let _ = writeln!(out, "{word}  {}  {}", test_name(test, summary), course(test));
    }
    let rest = flaky.iter().skip(NAMES).map(|test| test_name(test, summary));
    out.push_str(&names("      and", &rest.collect::<Vec<_>>()));
    out
}

/// Tests that passed only when they were tried again, without parts of others.
pub(crate) fn flaky(summary: &Summary) -> impl Iterator<Item = &TestSummary> {
    let tests = summary.tests().iter();
    tests.filter(|test| !test.subtest && test.verdict() == Some(Verdict::Flaky))
}

/// What each try of a test said: `failed, then passed`.
pub(crate) fn course(test: &TestSummary) -> String {
    let word = |one: &Try| one.outcome.verdict().map_or("skipped", Verdict::word);
    test.tries.iter().map(word).collect::<Vec<_>>().join(", then ")
}

/// A list of names, one a line after `lead`, bounded.
pub(crate) fn names(lead: &str, names: &[String]) -> String {
    let mut out = String::new();
    for name in names.iter().take(NAMES) {
        let _ = writeln!(out, "{lead} {name}");
    }
    if names.len() > NAMES {
        let _ = writeln!(out, "{lead} {} more", names.len() - NAMES);
    }
    out
}
