//! Whatever a program writes: no panic, no dependence on how its bytes were
//! cut, nothing passed that did not start, and nothing silently lost.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use proptest::prelude::*;
use seatrial_core::fuzz::bytes;
use seatrial_core::pipeline::Adapter;
use seatrial_protocol::sanitise::sanitise;
use seatrial_protocol::test::{TestEvent, TestOutcome};
use seatrial_suite::reader::{Ending, Reader};
use seatrial_suite::{Exit, Invocation, Program, junit, list};

fn invocation(adapter: Adapter) -> Invocation {
    Invocation {
        adapter,
        program: Program { name: "p".to_owned(), path: "/p".to_owned() },
        tests: match adapter {
            Adapter::Exec => vec!["p".to_owned()],
            Adapter::Rust => vec!["TestA".to_owned()],
            Adapter::Junit => Vec::new(),
            Adapter::Go | Adapter::Ginkgo | Adapter::Pytest => {
                vec!["TestA".to_owned(), "TestB".to_owned()]
            }
        },
        argv: Vec::new(),
        env: BTreeMap::new(),
        report: None,
        timeout: Duration::from_secs(60),
        test_timeout: Duration::from_secs(60),
        stop_signal: 3,
    }
}

/// The pieces of what programs write, whole and broken.
fn written() -> impl Strategy<Value = Vec<u8>> {
    let pieces = prop::sample::select(vec![
        "\x16=== RUN   TestA\n",
        "\x16=== RUN   TestB\n",
        "\x16=== RUN   TestA/x\n",
        "\x16=== RUN   TestC\n",
        "\x16=== PAUSE TestA\n",
        "\x16=== CONT  TestA\n",
        "\x16=== NAME  TestB\n",
        "\x16=== NAME  \n",
        "\x16--- PASS: TestA (0.00s)\n",
        "\x16--- FAIL: TestA (0.50s)\n",
        "\x16--- SKIP: TestB (0.00s)\n",
        "\x16--- PASS: TestB (0.01s)\n",
        "\x16    --- FAIL: TestA/x (0.00s)\n",
        "\x16PASS\n",
        "\x16FAIL\n",
        "panic: boom [recovered]\n",
        "panic: test timed out after 1s\n",
        "text",
        "\n",
        "\x16",
        "\x1b[2J",
        "------------------------------\n",
        "TestA\n",
        "TestB [label]\n",
        "• [0.100 seconds]\n",
        "• [FAILED] [0.100 seconds]\n",
        "S [SKIPPED] [0.000 seconds]\n",
        "SSS\n",
        "test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured\n",
        "test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured\n",
        "test result: ok. 0 passed; 0 failed; 1 ignored\n",
        "test result: ok. 2",
        "\x16{\"event\":\"started\",\"test\":\"TestA\"}\n",
        "\x16{\"event\":\"finished\",\"test\":\"TestA\",\"outcome\":\"passed\",\"message\":\"\",\"seconds\":0.1,\"output\":\"\"}\n",
        "\x16{\"event\":\"ended\",\"code\":0}\n",
        "\x16{\"event\":\"ended\",\"code\":1}\n",
        "thread 'TestA' panicked at a.rs:1:2:\n",
        "  [FAILED] why\n",
        "ä",
        "•",
    ])
    .prop_map(|piece| piece.as_bytes().to_vec());
    let noise = prop::collection::vec(any::<u8>(), 0..8);
    prop::collection::vec(prop_oneof![8 => pieces, 1 => noise], 0..40).prop_map(|p| p.concat())
}

fn exits() -> impl Strategy<Value = Exit> {
    prop_oneof![
        3 => Just(Exit::Code(0)),
        2 => Just(Exit::Code(1)),
        1 => Just(Exit::Code(2)),
        1 => Just(Exit::Signal(9)),
        1 => Just(Exit::Stopped(TestOutcome::TimedOut)),
        1 => Just(Exit::Stopped(TestOutcome::Cancelled)),
        1 => Just(Exit::NotStarted("no".to_owned())),
    ]
}

fn adapters() -> impl Strategy<Value = Adapter> {
    prop::sample::select(vec![
        Adapter::Go,
        Adapter::Ginkgo,
        Adapter::Rust,
        Adapter::Pytest,
        Adapter::Junit,
        Adapter::Exec,
    ])
}

/// A Ginkgo report with any outcomes, a JUnit report, or none.
fn reports() -> impl Strategy<Value = Option<String>> {
    let states =
        prop::sample::select(vec!["passed", "failed", "skipped", "pending", "timedout", "x"]);
    let ginkgo =
        (
            any::<bool>(),
            prop::collection::vec(
                (prop::sample::select(vec!["TestA", "TestB", "TestC"]), states),
                0..4,
            ),
        )
            .prop_map(|(succeeded, specs)| {
                let specs: Vec<_> = specs.into_iter().map(|(name, state)| serde_json::json!({
                "LeafNodeType": "It", "LeafNodeText": name, "State": state, "RunTime": 5,
            })).collect();
                let report =
                    serde_json::json!([{ "SuiteSucceeded": succeeded, "SpecReports": specs }]);
                Some(report.to_string())
            });
    prop_oneof![
        4 => ginkgo,
        1 => Just(Some("<testsuite><testcase name='x'/></testsuite>".to_owned())),
        1 => Just(None),
    ]
}

fn read(
    adapter: Adapter,
    chunks: &[&[u8]],
    exit: &Exit,
    report: Option<&[u8]>,
) -> (Vec<TestEvent>, Ending) {
    let mut reader = Reader::new(&invocation(adapter));
    let mut events = Vec::new();
    for chunk in chunks {
        events.extend(reader.push(Duration::from_secs(1), chunk));
        let _ = reader.deadline();
    }
    let ending = reader.finish(Duration::from_secs(2), exit, report);
    events.extend(ending.events.clone());
    (joined(events), ending)
}

/// Output of one test in a row as one event: only that depends on the cuts.
fn joined(events: Vec<TestEvent>) -> Vec<TestEvent> {
    let mut all: Vec<TestEvent> = Vec::new();
    for event in events {
        if let (
            Some(TestEvent::Output { test: a, text, .. }),
            TestEvent::Output { test: b, text: more, .. },
        ) = (all.last_mut(), &event)
            && a == b
        {
            text.push_str(more);
        } else {
            all.push(event);
        }
    }
    all
}

/// Every test that was selected ended, or is said not to have run, and nothing
/// but a program that ended well by itself makes it all green.
fn accounted(
    adapter: Adapter,
    bytes: &[u8],
    exit: &Exit,
    report: Option<&[u8]>,
) -> Result<(), TestCaseError> {
    let (events, ending) = read(adapter, &[bytes], exit, report);
    let mut ended: HashMap<&str, TestOutcome> = HashMap::new();
    let mut started: Vec<&str> = Vec::new();
    for event in &events {
        match event {
            TestEvent::Started { test, .. } => {
                prop_assert!(!started.contains(&test.as_str()), "{} started twice", test);
                started.push(test);
            }
            TestEvent::Finished { test, outcome, .. } => {
                prop_assert!(started.contains(&test.as_str()), "{} ended and never started", test);
                prop_assert!(ended.insert(test, *outcome).is_none(), "{} ended twice", test);
            }
            TestEvent::Output { .. } => {}
        }
    }
    for test in invocation(adapter).tests {
        let not_run = ending.not_run.contains(&test);
        prop_assert!(ended.contains_key(test.as_str()) != not_run, "{test}: {:?}", ending);
    }
    prop_assert_eq!(ending.not_run.is_empty(), ending.reason.is_empty());
    // All green takes a program that ended well by itself.
    let green = ending.failure.is_none()
        && ending.not_run.is_empty()
        && ended
            .values()
            .all(|o| matches!(o, TestOutcome::Passed | TestOutcome::Flaky | TestOutcome::Skipped));
    let only_text = !bytes.contains(&0x16);
    prop_assert!(
        !green || *exit == Exit::Code(0) || matches!(exit, Exit::Stopped(_)),
        "{:?} {:?}",
        exit,
        events
    );
    let framed = matches!(adapter, Adapter::Go | Adapter::Pytest);
    prop_assert!(!(green && framed && only_text), "text alone made it green");
    let no_summary = !bytes.windows(13).any(|b| b == b"test result: ");
    prop_assert!(
        !(green && adapter == Adapter::Rust && no_summary && *exit == Exit::Code(0)),
        "no last word and green"
    );
    prop_assert!(
        !(green
            && adapter == Adapter::Ginkgo
            && report.is_none()
            && !matches!(exit, Exit::Stopped(_))),
        "no report and green"
    );
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn chunks_do_not_matter(
        bytes in written(),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        exit in exits(),
        adapter in adapters(),
        report in reports(),
    ) {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.sort_unstable();
        let mut chunks = Vec::new();
        let mut from = 0;
        for cut in cuts {
            chunks.push(&bytes[from..cut]);
            from = cut;
        }
        chunks.push(&bytes[from..]);
        prop_assert_eq!(
            read(adapter, &[&bytes], &exit, report.as_deref().map(str::as_bytes)).0,
            read(adapter, &chunks, &exit, report.as_deref().map(str::as_bytes)).0
        );
    }

    #[test]
    fn every_selected_test_is_accounted_for(
        bytes in written(),
        exit in exits(),
        adapter in prop::sample::select(vec![Adapter::Go, Adapter::Ginkgo, Adapter::Rust, Adapter::Pytest, Adapter::Exec]),
        report in reports(),
    ) {
        accounted(adapter, &bytes, &exit, report.as_deref().map(str::as_bytes))?;
    }

    #[test]
    fn what_is_shown_does_nothing_to_a_terminal(
        parts in prop::collection::vec(prop_oneof![
            prop::sample::select(vec!["\x1b", "[", "]", "31", ";", "m", "H", "\x07", "\\", "\n", "\r", "P", "\u{9b}", "\u{9d}", "\u{202e}", "x"]).prop_map(str::to_owned),
            any::<char>().prop_map(String::from),
        ], 0..40),
    ) {
        let text = parts.concat();
        let safe = sanitise(&text);
        let mut rest = safe.text.as_str();
        while let Some((before, after)) = rest.split_once('\x1b') {
            prop_assert!(!before.chars().any(|c| c.is_control() && c != '\n' && c != '\t'));
            let parameters = after.strip_prefix('[').and_then(|a| a.split_once('m'));
            let (parameters, after) = parameters.expect("only colours are left");
            prop_assert!(parameters.bytes().all(|b| matches!(b, b'0'..=b'9' | b';' | b':')));
            rest = after;
        }
        prop_assert!(!rest.chars().any(|c| c.is_control() && c != '\n' && c != '\t'));
        // Once safe it stays as it is.
        let again = sanitise(&safe.text);
        prop_assert_eq!((again.text, again.dropped), (safe.text, 0));
    }
}

const TEST2JSON: &str = "\x16=== RUN   TestA\n\x16=== RUN   TestA/x\ntext\n\x16=== PAUSE TestA/x\n\x16=== CONT  TestA/x\n\
    \x16    --- PASS: TestA/x (0.00s)\n\x16--- PASS: TestA (0.50s)\n\x16=== RUN   TestB\n\
    \x16=== NAME  TestB\n    b_test.go:7: why\n\x16--- FAIL: TestB (1.25s)\n\x16FAIL\n";

const GINKGO: &str = "Running Suite: S\n------------------------------\nTestA\n/x/a_test.go:3\n  out\n\
    • [0.100 seconds]\n------------------------------\nTestB [label]\n  [FAILED] why\n• [FAILED] [0.100 seconds]\n\
    ------------------------------\nS [SKIPPED] [0.000 seconds]\n";

const GINKGO_REPORT: &str = r#"[{"SuiteDescription":"S","SuiteSucceeded":true,"SpecialSuiteFailureReasons":["x"],
"SpecReports":[{"ContainerHierarchyTexts":null,"LeafNodeType":"It","LeafNodeText":"TestA","State":"passed","RunTime":5000000},
{"ContainerHierarchyTexts":["c"],"LeafNodeType":"It","LeafNodeText":"TestB","State":"failed","RunTime":1,"NumAttempts":2,
"MaxFlakeAttempts":2,"Failure":{"Message":"why","Location":{"FileName":"a_test.go","LineNumber":7}}}]}]"#;

const JUNIT: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<testsuites><testsuite name="s" tests="3"><testcase classname="c" name="a &lt;b&#10;" time="0.5"/>
<testcase name="f"><failure message="m">why <![CDATA[<x>]]></failure><system-out>o</system-out></testcase>
<testcase name="s"><skipped/></testcase></testsuite></testsuites>
"#;

proptest! {
    #[test]
    fn fuzz_junit(report in bytes(&[JUNIT])) {
        if let Ok(read) = junit::parse(&report) {
            prop_assert!(!read.cases.is_empty() && read.cases.len() <= junit::CASES_LIMIT);
        }
    }

    #[test]
    fn fuzz_test2json(written in bytes(&[TEST2JSON]), exit in exits()) {
        accounted(Adapter::Go, &written, &exit, None)?;
    }

    #[test]
    fn fuzz_ginkgo(
        written in bytes(&[GINKGO]),
        report in bytes(&[GINKGO_REPORT]),
        exit in exits(),
    ) {
        accounted(Adapter::Ginkgo, &written, &exit, Some(&report))?;
    }

    #[test]
    fn fuzz_list(
        go in bytes(&["TestA\nExampleB\nFuzzC\nok\n"]),
        report in bytes(&[GINKGO_REPORT]),
        exit in exits(),
    ) {
        for (adapter, written) in [(Adapter::Go, &go), (Adapter::Ginkgo, &go)] {
            if let Ok(listing) = list::parse(&invocation(adapter), written, &exit, Some(&report)) {
                prop_assert!(exit == Exit::Code(0), "{:?}", listing);
            }
        }
    }
}
