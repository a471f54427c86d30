use proptest::prelude::*;

use super::*;
use crate::sample;

fn plain(events: &[RunEvent]) -> String {
    let mut lines = Lines::new(Colour::Off);
    let mut out = Vec::new();
    for event in events {
        lines.event(event, &mut out).expect("memory can be written");
    }
    lines.end(&mut out).expect("memory can be written");
    String::from_utf8(out).expect("UTF-8")
}

#[test]
fn passed_run() {
    insta::assert_snapshot!(plain(&sample::passed()), @r"
    run   c0ffee01 of guestbook at 8c1d2e3f4a5b with changes, 2 cores, 4.0 GiB
    plan  8 nodes
    done  default/boot  4.2 s
    made  build/server  8.6 s
    made  image/guestbook  0.2 s
    made  build/e2e-tests  7.4 s
    done  default/install  5.0 s
    plan  default/e2e: 3 tests of 4
    PASS  e2e/api.test TestScale  1.2 s
    PASS  e2e/api.test TestConfig  0.3 s
    SKIP  e2e/api.test TestProbe  0.0 s
    done  default/e2e  1.6 s

    step                 wall s      %    core-s    spans s
    source                0.400    2.5       0.0        0.4
    image pull            0.300    1.9       0.0        0.3
    cluster setup         0.000    0.0       4.6        4.2
    image build           8.798   55.6      11.2        8.8
    test compile          0.000    0.0       6.0        7.4
    test setup            4.738   30.0       2.0        4.7
    test execution        1.570    9.9       0.4        1.6
    post test             0.000    0.0       0.0        0.0
    unattributed          0.016    0.1
    total                15.822  100.0      24.2       27.4
    bound        14.3 s  (critical chain: build/server > image/guestbook > default/install > default/e2e)
    efficiency   90.4 %  (bound / wall)
    cost         24.2 core-s
    tests        3  (2 passed, 1 skipped)

    passed: 3 tests in 15.8 s  (seatrial explain c0ffee01)
    ");
}

#[test]
fn failed_run() {
    insta::assert_snapshot!(plain(&sample::failed()), @r"
    run   c0ffee01 of guestbook at 8c1d2e3f4a5b with changes, 2 cores, 4.0 GiB
    plan  8 nodes
    done  default/boot  4.2 s
    made  build/server  8.6 s
    made  image/guestbook  0.2 s
    made  build/e2e-tests  7.4 s
    done  default/install  5.0 s
    plan  default/e2e: 4 tests of 5
    PASS  e2e/api.test TestDNS  0.2 s
    FAIL  e2e/api.test TestConfig  0.7 s
          config_test.go:12: want 2
              got 1
    FAIL  e2e/api.test TestScale/down  0.9 s
          scale_test.go:40: still 3 pods
    FAIL  e2e/api.test TestScale  2.0 s
    TIMEOUT  e2e/api.test TestProbe  5.0 s
    done  default/e2e  7.4 s

    FAIL  e2e/api.test TestConfig
    FAIL  e2e/api.test TestProbe  timed out
    FAIL  e2e/api.test TestScale/down

    step                 wall s      %    core-s    spans s
    source                0.400    1.8       0.0        0.4
    image pull            0.300    1.4       0.0        0.3
    cluster setup         0.000    0.0       4.6        4.2
    image build           8.798   40.7      11.2        8.8
    test compile          0.000    0.0       6.0        7.4
    test setup            4.738   21.9       2.0        4.7
    test execution        7.360   34.1       0.9        7.4
    post test             0.000    0.0       0.0        0.0
    unattributed          0.016    0.1
    total                21.612  100.0      24.7       33.2
    bound        20.1 s  (critical chain: build/server > image/guestbook > default/install > default/e2e)
    efficiency   93.0 %  (bound / wall)
    cost         24.7 core-s
    tests        4  (1 passed, 3 failed)

    failed: 3 of 4 tests in 21.6 s  (seatrial explain c0ffee01)

    evidence  default/evidence
          pod guestbook-0: CrashLoopBackOff
          panic: no config

    failed: 3 of 4 tests in 21.6 s  (seatrial explain c0ffee01)
    ");
}

#[test]
fn flaky_run() {
    insta::assert_snapshot!(plain(&sample::flaky()), @r"
    run   c0ffee01 of guestbook at 8c1d2e3f4a5b with changes, 2 cores, 4.0 GiB
    plan  8 nodes
    done  default/boot  4.2 s
    made  build/server  8.6 s
    made  image/guestbook  0.2 s
    made  build/e2e-tests  7.4 s
    done  default/install  5.0 s
    plan  default/e2e: 1 test of 2
    FAIL  e2e/api.test TestScale  0.7 s
          scale_test.go:40: still 3 pods
    PASS  e2e/api.test TestScale  0.9 s  (try 2, flaky)
    done  default/e2e  1.8 s

    FLAKY  e2e/api.test TestScale  failed, then passed

    step                 wall s      %    core-s    spans s
    source                0.400    2.5       0.0        0.4
    image pull            0.300    1.9       0.0        0.3
    cluster setup         0.000    0.0       4.6        4.2
    image build           8.798   55.0      11.2        8.8
    test compile          0.000    0.0       6.0        7.4
    test setup            4.738   29.6       2.0        4.7
    test execution        1.751   10.9       0.4        1.8
    post test             0.000    0.0       0.0        0.0
    unattributed          0.015    0.1
    total                16.002  100.0      24.2       27.6
    bound        14.5 s  (critical chain: build/server > image/guestbook > default/install > default/e2e)
    efficiency   90.5 %  (bound / wall)
    cost         24.2 core-s
    tests        1  (1 flaky)

    flaky: 1 of 1 test passed only when tried again in 16.0 s  (seatrial explain c0ffee01)
    ");
}

#[test]
fn build_failure() {
    insta::assert_snapshot!(plain(&sample::build_failure()), @r"
    run   c0ffee01 of guestbook at 8c1d2e3f4a5b with changes, 2 cores, 4.0 GiB
    plan  8 nodes
    FAIL  build/server  1.9 s
          `go build` ended with exit code 1
    skip  image/guestbook  because of build/server
    skip  default/install  because of image/guestbook
    skip  default/e2e  because of default/install

    FAIL  build/server: `go build` ended with exit code 1
          | # example.com/guestbook
          | ./main.go:7:2: undefined: serve
          hint: the whole output: `seatrial logs c0ffee01 build/server`
          [build.failed] fault of the product or its tests; a retry does not help

    step                 wall s      %    core-s    spans s
    source                0.400   17.4       0.0        0.4
    image pull            0.000    0.0       0.0        0.0
    cluster setup         0.000    0.0       0.0        1.9
    image build           1.899   82.5       2.0        1.9
    test compile          0.000    0.0       0.0        0.0
    test setup            0.000    0.0       0.0        0.0
    test execution        0.000    0.0       0.0        0.0
    post test             0.000    0.0       0.0        0.0
    unattributed          0.003    0.1
    total                 2.302  100.0       2.0        4.2
    bound        1.9 s  (critical chain: build/server)
    efficiency   82.5 %  (bound / wall)
    cost         2.0 core-s

    failed: 1 failure in 2.3 s  (seatrial explain c0ffee01)
    ");
}

#[test]
fn broken_run() {
    insta::assert_snapshot!(plain(&sample::broken()), @r"
    run   c0ffee01 of guestbook at 8c1d2e3f4a5b with changes, 2 cores, 4.0 GiB
    plan  8 nodes
    FAIL  default/boot  1.0 s
          kube-apiserver of default ended with exit code 1
    skip  default/install  because of default/boot
    skip  default/e2e  because of default/install

    FAIL  default/boot: kube-apiserver of default ended with exit code 1
          | error: bind: address already in use
          hint: run `seatrial doctor`
          [cluster.component_died] fault of the machine, the network or Seatrial; a retry may help

    step                 wall s      %    core-s    spans s
    source                0.400   28.5       0.0        0.4
    image pull            0.000    0.0       0.0        0.0
    cluster setup         0.998   71.2       0.9        1.0
    image build           0.000    0.0       0.0        0.0
    test compile          0.000    0.0       0.0        0.0
    test setup            0.000    0.0       0.0        0.0
    test execution        0.000    0.0       0.0        0.0
    post test             0.000    0.0       0.0        0.0
    unattributed          0.004    0.3
    total                 1.402  100.0       0.9        1.4
    cost         0.9 core-s

    broken: 1 failure in 1.4 s  (seatrial explain c0ffee01)
    ");
}

#[test]
fn cancelled_run() {
    insta::assert_snapshot!(plain(&sample::cancelled()), @r"
    run   c0ffee01 of guestbook at 8c1d2e3f4a5b with changes, 2 cores, 4.0 GiB
    plan  8 nodes
    done  default/boot  4.2 s
    made  build/server  8.6 s
    made  image/guestbook  0.2 s
    made  build/e2e-tests  7.4 s
    done  default/install  5.0 s
    plan  default/e2e: 2 tests of 3
    stop  Ctrl-C
    STOP  e2e/api.test TestScale  0.7 s
    stop  default/e2e  0.7 s

    step                 wall s      %    core-s    spans s
    source                0.400    2.7       0.0        0.4
    image pull            0.300    2.0       0.0        0.3
    cluster setup         0.000    0.0       4.6        4.2
    image build           8.798   58.8      11.2        8.8
    test compile          0.000    0.0       6.0        7.4
    test setup            4.738   31.7       2.0        4.7
    test execution        0.710    4.7       0.1        0.7
    post test             0.000    0.0       0.0        0.0
    unattributed          0.015    0.1
    total                14.961  100.0      23.9       26.5
    cost         23.9 core-s
    tests        2  (1 cancelled, 1 not-run)

    cancelled: stopped (Ctrl-C) in 15.0 s  (seatrial explain c0ffee01)
    ");
}

#[test]
fn run_with_a_session_that_was_tried_elsewhere() {
    insta::assert_snapshot!(plain(&sample::tried_elsewhere()), @r"
    run   c0ffee01 of guestbook at 8c1d2e3f4a5b with changes, 2 cores, 4.0 GiB
    plan  8 nodes
    done  default/boot  4.2 s
    made  build/server  8.6 s
    made  image/guestbook  0.2 s
    made  build/e2e-tests  7.4 s
    done  default/install  5.0 s
    plan  default/e2e: 2 tests of 3
    PASS  e2e/api.test TestConfig  0.3 s
    BROKEN  e2e/api.test TestScale  0.9 s
          scaling up
    FAIL  default/e2e  1.3 s
          etcd of node c0n0 ended by itself (signal 9)
    plan  default is tried again elsewhere, 5 nodes: etcd of node c0n0 ended by itself (signal 9)
    made  default/evidence  0.3 s
    done  default/drop  0.1 s
    done  default/boot#2  4.1 s
    done  default/install#2  4.0 s
    plan  default/e2e#2: 2 tests of 3
    PASS  e2e/api.test TestConfig  0.3 s  (try 2)
    PASS  e2e/api.test TestScale  1.2 s  (try 2)
    done  default/e2e#2  1.6 s

    void  default/e2e: etcd of node c0n0 ended by itself (signal 9)
          | raft: became leader
          [cluster.component_died] says nothing about the product; tried again as default/e2e#2

    step                 wall s      %    core-s    spans s
    source                0.400    1.5       0.0        0.4
    image pull            0.300    1.2       0.0        0.3
    cluster setup         4.109   16.1       9.1        8.3
    image build           8.798   34.4      11.2        8.8
    test compile          0.000    0.0       6.0        7.4
    test setup            8.737   34.2       3.9        8.7
    test execution        2.811   11.0       0.7        2.8
    post test             0.385    1.5       0.1        0.4
    unattributed          0.022    0.1
    total                25.562  100.0      31.0       37.1
    bound        13.3 s  (critical chain: build/server > image/guestbook > default/install#2 > default/e2e#2)
    efficiency   51.9 %  (bound / wall)
    cost         31.0 core-s
    tests        2  (2 passed)

    passed: 2 tests in 25.6 s  (seatrial explain c0ffee01)
    ");
}

#[test]
fn run_with_a_test_that_breaks_its_environment() {
    let text = plain(&sample::breaks_its_environment());
    let end = text.split("BROKEN").last().unwrap_or_default();
    insta::assert_snapshot!(end, @r"
      e2e/api.test TestScale  0.9 s  (try 2)
          scaling up
    FAIL  default/e2e#2  1.3 s
          etcd of node c0n0 ended by itself (signal 9)

    void  default/e2e: etcd of node c0n0 ended by itself (signal 9)
          | raft: became leader
          [cluster.component_died] says nothing about the product; tried again as default/e2e#2

    FAIL  default/e2e#2: etcd of node c0n0 ended by itself (signal 9)
          | raft: became leader
          [cluster.component_died] fault of the machine, the network or Seatrial; a retry may help

    FAIL  e2e/api.test TestScale  breaks its environment

    step                 wall s      %    core-s    spans s
    source                0.400    1.6       0.0        0.4
    image pull            0.300    1.2       0.0        0.3
    cluster setup         4.109   16.3       9.1        8.3
    image build           8.798   34.8      11.2        8.8
    test compile          0.000    0.0       6.0        7.4
    test setup            8.737   34.6       3.9        8.7
    test execution        2.503    9.9       0.7        2.5
    post test             0.385    1.5       0.1        0.4
    unattributed          0.022    0.1
    total                25.254  100.0      31.0       36.8
    bound        12.9 s  (critical chain: build/server > image/guestbook > default/install#2 > default/e2e#2)
    efficiency   51.3 %  (bound / wall)
    cost         31.0 core-s
    tests        2  (1 passed, 1 failed)

    failed: 1 of 2 tests in 25.3 s  (seatrial explain c0ffee01)
    ");
}

#[test]
fn nothing_changed() {
    insta::assert_snapshot!(plain(&sample::nothing_changed()), @r"
    run   c0ffee01 of guestbook at 8c1d2e3f4a5b with changes, 2 cores, 4.0 GiB
    plan  8 nodes
    hit   build/server  0.0 s
    hit   build/e2e-tests  0.0 s
    hit   image/guestbook  0.0 s

    step                 wall s      %    core-s    spans s
    source                0.400   98.5       0.0        0.4
    image pull            0.000    0.0       0.0        0.0
    cluster setup         0.000    0.0       0.0        0.0
    image build           0.004    1.0       0.0        0.0
    test compile          0.000    0.0       0.0        0.0
    test setup            0.000    0.0       0.0        0.0
    test execution        0.000    0.0       0.0        0.0
    post test             0.000    0.0       0.0        0.0
    unattributed          0.002    0.5
    total                 0.406  100.0       0.0        0.4
    bound        0.0 s  (critical chain: build/server > image/guestbook)
    efficiency   1.0 %  (bound / wall)
    cost         0.0 core-s

    passed: nothing to test, all was made in 0.4 s  (seatrial explain c0ffee01)
    ");
}

#[test]
fn cut_run() {
    insta::assert_snapshot!(plain(&sample::cut()), @r"
    run   c0ffee01 of guestbook at 8c1d2e3f4a5b with changes, 2 cores, 4.0 GiB
    plan  8 nodes
    done  default/boot  4.2 s
    made  build/server  8.6 s
    made  image/guestbook  0.2 s
    made  build/e2e-tests  7.4 s
    done  default/install  5.0 s
    plan  default/e2e: 3 tests of 4

    step                 wall s      %    core-s    spans s
    source                0.400    2.6       0.0        0.4
    image pull            0.300    1.9       0.0        0.3
    cluster setup         0.000    0.0       4.6        4.2
    image build           8.798   56.7      11.2        8.8
    test compile          0.000    0.0       6.0        7.4
    test setup            4.738   30.6       2.0        4.7
    test execution        1.250    8.1       0.0        1.3
    post test             0.000    0.0       0.0        0.0
    unattributed          0.014    0.1
    total                15.500  100.0      23.8       27.1
    cost         23.8 core-s
    tests        3  (3 not-run)

    this run ended without a verdict after 15.5 s  (seatrial explain c0ffee01)
    ");
}

#[test]
fn a_verdict_that_the_end_made_worse() {
    let mut events = sample::passed();
    if let Some(last) = events.last_mut() {
        last.kind = RunEventKind::RunFinished { verdict: Verdict::Broken };
    }
    let text = plain(&events);
    let end = text.lines().rev().take(2).collect::<Vec<_>>();
    assert_eq!(end[1], "what came after the verdict made it broken, it was passed");
    assert!(end[0].starts_with("broken: "), "{text}");
}

#[test]
fn a_log_says_now_and_then_how_far_a_node_is() {
    let mut events = sample::passed();
    let place = events
        .iter()
        .position(|event| matches!(event.kind, RunEventKind::NodeProgress { .. }))
        .expect("it has progress");
    let progress = events[place].clone();
    let later =
        [29, 35, 50, 66].map(|seconds| RunEvent { at_us: seconds * 1_000_000, ..progress.clone() });
    events.splice(place + 1..place + 1, later);
    let mut lines = Lines::new(Colour::Off).with_progress();
    let mut out = Vec::new();
    for event in &events {
        lines.event(event, &mut out).expect("memory can be written");
    }
    let text = String::from_utf8(out).expect("UTF-8");
    let progress: Vec<_> = text.lines().filter(|line| line.starts_with("...")).collect();
    assert_eq!(
        progress,
        [
            "...   build/server  34.6 s  compile  40 %",
            "...   build/server  1 m 06 s  compile  40 %"
        ]
    );
    assert!(!plain(&events).contains("..."), "only where it is asked for");
}

#[test]
fn of_many_failing_tests_the_first_are_shown_in_full() {
    let mut events = sample::failed();
    let verdict = events.iter().position(|e| matches!(e.kind, RunEventKind::VerdictReached { .. }));
    let verdict = verdict.expect("it has a verdict");
    let many = (0..200).map(|i| RunEvent {
        kind: RunEventKind::TestFinished {
            node: 5,
            program: "api.test".to_owned(),
            test: format!("TestMany{i}"),
            outcome: TestOutcome::Failed,
            duration_us: 1,
            message: None,
            output: Some("why".to_owned()),
        },
        ..events[verdict].clone()
    });
    let many: Vec<_> = many.collect();
    events.splice(verdict..verdict, many);
    let text = plain(&events);
    // Three of the sample print what they have to say, or say nothing.
    assert_eq!(text.matches("\n      why\n").count(), FULL_TESTS - 4, "{text}");
    assert!(text.contains("\n      and e2e/api.test TestMany20\n"), "{text}");
    assert!(text.contains("\n      and 83 more\n"), "{text}");
}

#[test]
fn colour_changes_no_words() {
    for events in
        [sample::failed(), sample::cancelled(), sample::flaky(), sample::tried_elsewhere()]
    {
        let mut lines = Lines::new(Colour::On);
        let mut out = Vec::new();
        for event in &events {
            lines.event(event, &mut out).expect("memory can be written");
        }
        let coloured = String::from_utf8(out).expect("UTF-8");
        assert!(coloured.contains('\x1b'));
        assert_eq!(strip_ansi_escapes::strip_str(coloured), plain(&events));
    }
}

#[test]
fn no_text_of_a_test_controls_the_terminal() {
    for mut events in [sample::failed(), sample::cancelled(), sample::build_failure()] {
        sample::poison(&mut events, "\x1b[2J\r\u{202e}\u{9b}1A\u{7}");
        let shown = plain(&events) + &crate::explain(&events);
        let bad = |c: char| c != '\n' && (c.is_control() || c == '\u{202e}');
        assert!(!shown.contains(bad), "{shown:?}");
    }
}

#[test]
fn a_recording_read_back_looks_the_same() {
    for events in [sample::passed(), sample::failed(), sample::tried_elsewhere(), sample::cut()] {
        let mut json = crate::Json::new(Vec::new());
        for event in &events {
            crate::Reporter::event(&mut json, event).expect("memory can be written");
        }
        let recorded = String::from_utf8(json.into_inner()).expect("UTF-8");
        assert_eq!(recorded.lines().count(), events.len());
        let read = |line| serde_json::from_str(line).expect("an event");
        let back: Vec<RunEvent> = recorded.lines().map(read).collect();
        assert_eq!(plain(&back), plain(&events));
        assert_eq!(crate::explain(&back), crate::explain(&events));
    }
}

proptest! {
    #[test]
    fn any_part_of_a_recording_is_shown(
        keep in prop::collection::vec(any::<bool>(), 64),
        which in 0..5_usize,
        swap in (0..20_usize, 0..20_usize),
    ) {
        let all = [
            sample::passed(),
            sample::failed(),
            sample::build_failure(),
            sample::cancelled(),
            sample::tried_elsewhere(),
        ];
        let mut events: Vec<RunEvent> =
            all[which].iter().zip(keep).filter(|(_, keep)| *keep).map(|(e, _)| e.clone()).collect();
        if swap.0.max(swap.1) < events.len() {
            events.swap(swap.0, swap.1);
        }
        let _ = plain(&events);
        let _ = crate::explain(&events);
        let summary = Summary::from_events(&events);
        crate::junit(&summary, &mut Vec::new()).expect("memory can be written");
        if let Some(account) = summary.account() {
            let rows: u64 = account.rows.iter().map(|row| row.wall_us).sum();
            prop_assert_eq!(rows + account.unattributed_us, summary.wall_us());
        }
    }
}

#[test]
fn what_is_tried_again_is_told_with_both_outcomes() {
    insta::assert_snapshot!(plain(&sample::retried()), @"
    run   c0ffee01 of guestbook at 8c1d2e3f4a5b with changes, 2 cores, 4.0 GiB
    plan  8 nodes
    done  default/boot  4.2 s
    made  build/server  8.6 s
    made  image/guestbook  0.2 s
    made  build/e2e-tests  7.4 s
    done  default/install  5.0 s
    plan  default/e2e: 2 tests of 3
    PASS  e2e/api.test TestConfig  0.3 s
    FAIL  e2e/api.test TestScale/down  0.3 s
          scale_test.go:40: still 3 pods
    FAIL  e2e/api.test TestScale  0.4 s
    done  default/e2e  0.8 s
    plan  default/e2e: 1 test is tried again, 5 nodes
    done  default/drop  0.1 s
    done  default/boot#2  4.1 s
    done  default/install#2  4.0 s
    plan  default/e2e#2: 1 test of 2
    PASS  e2e/api.test TestScale  1.2 s  (try 2, flaky)
    done  default/e2e#2  1.3 s

    FLAKY  e2e/api.test TestScale  failed, then passed

    step                 wall s      %    core-s    spans s
    source                0.400    1.6       0.0        0.4
    image pull            0.300    1.2       0.0        0.3
    cluster setup         4.099   16.8       9.1        8.3
    image build           8.798   36.0      11.2        8.8
    test compile          0.000    0.0       6.0        7.4
    test setup            8.737   35.7       3.9        8.7
    test execution        2.010    8.2       0.7        2.0
    post test             0.097    0.4       0.0        0.1
    unattributed          0.021    0.1
    total                24.462  100.0      30.9       36.0
    bound        18.7 s  (critical chain: build/server > image/guestbook > default/install > default/e2e > default/install#2 > default/e2e#2)
    efficiency   76.6 %  (bound / wall)
    cost         30.9 core-s
    tests        2  (1 passed, 1 flaky)

    flaky: 1 of 2 tests passed only when tried again in 24.5 s  (seatrial explain c0ffee01)
    ");
}
