//! Tests that fail and are tried again, without an environment.

use insta::assert_snapshot;

use crate::events::events;
use crate::support::Project;
use crate::{cases, root, suite};

const TESTS: &str = r#"package unit

import (
	"os"
	"testing"
)

func failUntil(t *testing.T, try string) {
	if os.Getenv("SEATRIAL_TRY") < try {
		t.Fatal("not in try " + os.Getenv("SEATRIAL_TRY"))
	}
}

func TestSound(t *testing.T) {}

func TestSecond(t *testing.T) {
	if os.Getenv("SEATRIAL_TRY") == "1" {
		t.Run("part", func(t *testing.T) { failUntil(t, "2") })
	}
}

func TestThird(t *testing.T) { failUntil(t, "3") }

func TestNever(t *testing.T) { failUntil(t, "9") }
"#;

const GO: &str = r#"seatrial: 1
builds:
  tests:
    tools: [go]
    env: { CGO_ENABLED: "0" }
    inputs: [go.mod, "*.go"]
    run: go test -c -o "$OUT/unit.test" .
suites:
  flaky:
    build: tests
    adapter: go
    select: [Sound, Second, Third]
    retries: 1
    overrides:
      - { filter: "test(=TestThird) and program(unit)", retries: 2 }
      - { filter: test(=TestRenamed), test-timeout: 1s }
  red: { build: tests, adapter: go, select: [Sound, Never, Second], retries: 1 }
"#;

#[test]
fn what_fails_is_tried_again_and_never_silently_green() {
    root();
    let project = Project::new(&[
        ("seatrial.yaml", GO),
        ("go.mod", "module example.org/unit\n\ngo 1.24\n"),
        ("unit_test.go", TESTS),
    ]);
    let junit = project.beside("junit.xml").display().to_string();
    let flaky = project.run(&["run", "flaky", "--junit", &junit]);
    assert_eq!(flaky.code, 0, "{}", flaky.text());
    // Durations differ.
    let told = |text: &str, words: &[&str]| -> String {
        let is_one = |line: &&str| words.iter().any(|word| line.starts_with(word));
        let lines = text.lines().filter(is_one).map(|line| match line.rsplit_once("  ") {
            Some((line, end)) if end.ends_with(" s") => line,
            _ => line,
        });
        lines.map(|line| format!("{line}\n")).collect()
    };
    assert_snapshot!(told(&flaky.stderr, &["plan", "warn", "FLAKY"]), @"
    plan  2 nodes
    warn  suite/flaky: the override for `test(=TestRenamed)` of suite `flaky` is for none of its tests
    plan  suite/flaky: 3 tests of 4
    plan  suite/flaky: 2 tests are tried again, 1 node
    plan  suite/flaky#2: 2 tests of 4
    plan  suite/flaky#2: 1 test is tried again, 1 node
    plan  suite/flaky#3: 1 test of 4
    FLAKY  flaky/unit.test TestSecond  failed, then passed
    FLAKY  flaky/unit.test TestThird  failed, then failed, then passed
    ");
    assert!(
        flaky.stderr.contains("flaky: 2 of 3 tests passed only when tried again"),
        "{}",
        flaky.text()
    );
    let xml = std::fs::read_to_string(&junit).expect("written");
    assert_snapshot!(cases(&xml), @"
    TestSound:
    TestSecond:
    TestThird:
    TestSecond/part:
    ");
    assert_eq!(xml.matches("<flakyFailure").count(), 4, "{xml}");
    // A recorded run looks the same.
    let explained = project.run(&["explain"]);
    assert_snapshot!(told(explained.stdout.replace("\n  ", "\n").as_str(), &["FLAKY"]), @"
    FLAKY  flaky/unit.test TestSecond  failed, then passed
    FLAKY  flaky/unit.test TestThird  failed, then failed, then passed
    ");

    let planned = project.run(&["plan", "flaky"]).stdout;
    assert!(planned.contains("to be done, retries 1, overrides 2"), "{planned}");

    let red = project.run(&["run", "red", "--format", "json"]);
    assert_eq!(red.code, 1, "{}", red.text());
    let outcomes = events(&red, "test-finished");
    let outcome = |event: &serde_json::Value| format!("{} {}", event["test"], event["outcome"]);
    assert_snapshot!(outcomes.iter().map(outcome).collect::<Vec<_>>().join("\n"), @r#"
    "TestSound" "passed"
    "TestSecond/part" "failed"
    "TestSecond" "failed"
    "TestNever" "failed"
    "TestSecond" "passed"
    "TestNever" "failed"
    "#);
    // The third try is not made, and says nothing.
    assert_eq!(events(&red, "suite-grown").len(), 1);
}

#[test]
fn a_command_that_fails_is_run_again_as_a_whole() {
    let project = suite("exec\n    retries: 3", "test \"$SEATRIAL_TRY\" = 3");
    let ran = project.run(&["run"]);
    assert_eq!(ran.code, 0, "{}", ran.text());
    assert!(
        ran.stderr.contains("FLAKY  s/s s  failed, then failed, then passed"),
        "{}",
        ran.text()
    );
}
