//! Everything about one run, for `seatrial explain`: why it has its verdict,
//! and what the verdict waited for.

use std::fmt::Write as _;

use seatrial_core::account::{Account, BoundBy};
use seatrial_core::verdict::Verdict;
use seatrial_protocol::event::RunEvent;

use crate::colour::Colour;
use crate::ending;
use crate::lines::short_commit;
use crate::runs::{columns, started};
use crate::summary::{NodeState, NodeSummary, Summary};
use crate::table::{chain, step_table};
use crate::text;

/// How many of the slowest tests are shown.
const SLOWEST: usize = 10;

/// Gaps shorter than this are left out of the chain, in microseconds.
const GAP_US: u64 = 1000;

/// Explains a recorded run: its verdict and why, where the time went, the
/// chain that the verdict waited for, the slowest tests, hits and misses, and
/// the spans of each node. A recording that is cut is explained as far as it
/// goes.
#[must_use]
pub fn explain(events: &[RunEvent]) -> String {
    let summary = Summary::from_events(events);
    let Some(run) = &summary.run else {
        return "nothing of this run was recorded\n".to_owned();
    };
    let mut out = format!("run       {}\n", run.id);
    let _ = writeln!(out, "project   {}", run.project);
    if let Some(commit) = &run.commit {
        let changes = if run.dirty { " with changes" } else { "" };
        let _ = writeln!(out, "commit    {}{changes}", short_commit(commit));
    }
    let _ = writeln!(out, "started   {} UTC", started(run.started_unix_ms));
    let wall = text::duration(summary.wall_us());
    let verdict = summary.verdict();
    let why = verdict.map(|verdict| ending::reason(&summary, verdict));
    let _ = match (verdict.map(Verdict::word), why) {
        (Some(word), Some(why)) => writeln!(out, "verdict   {word} after {wall}: {why}"),
        _ => writeln!(out, "verdict   none: this run ended without a verdict after {wall}"),
    };
    why_section(&mut out, &summary);
    section(&mut out, "where the time went", &step_table(&summary));
    if let Some(account) = summary.account() {
        section(&mut out, "what the verdict waited for", &waited_for(&summary, &account));
        let names = chain(&account.bound.chain, &summary);
        // The table names the chain itself where the chain is the bound.
        if account.bound.by != BoundBy::Chain && !names.is_empty() {
            let chain_us = text::duration(account.bound.chain_us);
            let body = format!("{names}\n{chain_us} with each node at its fastest\n");
            section(&mut out, "the critical chain of the bound", &body);
        }
    }
    section(&mut out, "tests", &tests(&summary));
    section(&mut out, "hits and misses", &hits(&summary));
    section(&mut out, "nodes and their spans", &nodes(&summary));
    out
}

fn section(out: &mut String, heading: &str, body: &str) {
    if !body.is_empty() {
        let _ = write!(out, "\n{heading}\n{}", text::indented_all(body, "  "));
    }
}

fn why_section(out: &mut String, summary: &Summary) {
    let mut body = String::new();
    for void in summary.void() {
        body.push_str(&ending::void_block(summary, void, Colour::Off));
    }
    for (node, failure) in summary.failures() {
        let name = node.map(|node| summary.node_name(node));
        body.push_str(&ending::failure_block(name.as_deref(), failure, Colour::Off));
    }
    let unwell = ending::unwell(summary);
    for test in unwell.iter().take(ending::FULL_TESTS) {
        let name = ending::test_name(test, summary);
        let _ = writeln!(body, "FAIL  {name}{}", ending::how(test));
        for (i, one) in test.tries.iter().enumerate() {
            if test.tries.len() > 1 {
                let took = text::duration(one.duration_us);
                let _ = writeln!(body, "      try {}, {took}", i + 1);
            }
            for said in [&one.message, &one.output].into_iter().flatten() {
                body.push_str(&text::indented(said, "      "));
            }
        }
    }
    for test in ending::flaky(summary).take(ending::FULL_TESTS) {
        let name = ending::test_name(test, summary);
        let _ = writeln!(body, "FLAKY  {name}  {}", ending::course(test));
        for said in test.tries.iter().flat_map(|one| [&one.message, &one.output]).flatten() {
            body.push_str(&text::indented(said, "      "));
        }
    }
    let rest: Vec<String> = unwell
        .iter()
        .skip(ending::FULL_TESTS)
        .map(|test| ending::test_name(test, summary))
        .collect();
    body.push_str(&ending::names("      and", &rest));
    for (node, warning) in &summary.warnings {
        let name = summary.node_name(*node);
        body.push_str(&ending::warning_block(&name, warning, Colour::Off));
    }
    for (node, tree, evidence) in &summary.evidence {
        let _ = writeln!(body, "evidence  {}  {tree}", summary.node_name(*node));
        body.push_str(&text::indented(evidence, "      "));
    }
    section(out, "why", &body);
}

fn waited_for(summary: &Summary, account: &Account) -> String {
    let mut rows = vec![["start s", "took s", "step", "what", "waited for"].map(str::to_owned)];
    for piece in &account.pieces {
        let took_us = piece.end_us - piece.start_us;
        if piece.node.is_none() && took_us < GAP_US {
            continue;
        }
        let node = piece.node.and_then(|place| summary.nodes.get(place));
        let what = match (node, piece.step) {
            (Some(node), _) => node.plan.name.clone(),
            (None, Some(_)) => "reading files, making the plan".to_owned(),
            (None, None) => "no node ran".to_owned(),
        };
        let after = node.and_then(|node| node.after).map(|after| summary.node_name(after));
        rows.push([
            text::tenths(piece.start_us),
            text::tenths(took_us),
            piece.step.map_or("unattributed", seatrial_core::step::Step::word).to_owned(),
            what,
            after.unwrap_or_else(|| if node.is_some() { "the plan" } else { "" }.to_owned()),
        ]);
    }
    if rows.len() > 1 { columns(&rows, 2) } else { String::new() }
}

fn tests(summary: &Summary) -> String {
    let counts = summary.counts();
    if counts.total() == 0 {
        return String::new();
    }
    let mut slowest: Vec<_> =
        summary.tests().iter().filter(|test| !test.subtest && !test.tries.is_empty()).collect();
    slowest.sort_by_key(|test| std::cmp::Reverse(test.took_us()));
    let rows: Vec<_> = slowest
        .iter()
        .take(SLOWEST)
        .map(|test| {
            [
                text::duration(test.took_us()),
                test.verdict().map_or("skipped", Verdict::word).to_owned(),
                ending::test_name(test, summary),
            ]
        })
        .collect();
    let words = counts.words();
    let heading = if rows.is_empty() { "" } else { ", the slowest first:" };
    format!("{} ({words}){heading}\n{}", counts.total(), columns(&rows, 1))
}

fn hits(summary: &Summary) -> String {
    let named = |wanted: fn(&NodeState) -> bool| {
        let nodes = summary.nodes.iter().filter(|node| wanted(&node.state));
        nodes.map(|node| node.plan.name.as_str()).collect::<Vec<_>>()
    };
    let hits = named(|state| matches!(state, NodeState::Hit(_)));
    let made = named(|state| matches!(state, NodeState::Made(Some(_))));
    let mut out = String::new();
    for (word, names) in [("hit ", hits), ("made", made)] {
        if !names.is_empty() {
            let _ = writeln!(out, "{word} {:>3}  {}", names.len(), names.join(", "));
        }
    }
    out
}

fn nodes(summary: &Summary) -> String {
    if summary.nodes.is_empty() {
        return String::new();
    }
    let mut rows = vec![["start s", "took s", "core-s", "memory", "", "node"].map(str::to_owned)];
    for node in &summary.nodes {
        let memory = match node.usage.memory_peak {
            0 => String::new(),
            bytes => text::size(bytes),
        };
        rows.push([
            node.start_us.map_or_else(|| "-".to_owned(), text::tenths),
            node.took_us(summary.last_us).map_or_else(|| "-".to_owned(), text::tenths),
            text::tenths(node.usage.core_us),
            memory,
            state(node, summary),
            node.plan.name.clone(),
        ]);
        rows.extend(node.spans.iter().map(|span| {
            [
                text::tenths(span.start_us),
                text::tenths(span.end_us.saturating_sub(span.start_us)),
                String::new(),
                String::new(),
                String::new(),
                format!("  {}: {}", span.step.word(), span.name),
            ]
        }));
    }
    columns(&rows, 4)
}

fn state(node: &NodeSummary, summary: &Summary) -> String {
    let word = match &node.state {
        NodeState::Waiting => "waiting",
        NodeState::Running => "running",
        NodeState::Made(Some(_)) => "made",
        NodeState::Made(None) => "done",
        NodeState::Hit(_) => "hit",
        NodeState::Failed(_) => "failed",
        NodeState::Cancelled => "cancelled",
        NodeState::Skipped(because) => {
            return format!("skipped {}", summary.because(*because));
        }
    };
    let word = if node.elsewhere.is_some() { format!("{word}, void") } else { word.to_owned() };
    match node.attempts {
        0 | 1 => word,
        attempts => format!("{word} (attempt {attempts})"),
    }
}

#[cfg(test)]
mod snapshots {
    use super::*;
    use crate::sample;

    #[test]
    fn failed_run() {
        insta::assert_snapshot!(explain(&sample::failed()), @r"
        run       0193d0c8-1111-7000-8000-0000c0ffee01
        project   guestbook
        commit    8c1d2e3f4a5b with changes
        started   2026-12-24 10:00:00 UTC
        verdict   failed after 21.6 s: 3 of 4 tests

        why
          FAIL  e2e/api.test TestConfig
                config_test.go:12: want 2
                    got 1
          FAIL  e2e/api.test TestProbe  timed out
          FAIL  e2e/api.test TestScale/down
                scale_test.go:40: still 3 pods
          evidence  default/evidence  sha256:ee8250fb76e094b34b471f13a73dbbe51d1ae142e9df59d7c0d31ec20f0a0a8e
                pod guestbook-0: CrashLoopBackOff
                panic: no config

        where the time went
          step                 wall s      %    core-s    spans s
          source                0.400    1.8       0.0        0.4
          image pull            0.300    1.4       0.0        0.3
          cluster setup         0.000    0.0       4.6        4.2
          image build           8.798   40.7      11.2        8.8
          test compile          0.000    0.0       6.0        7.4
          test setup            4.738   21.9       2.0        4.7
          test execution        7.360   34.1       0.9        7.4
          post test             0.000    0.0       0.1        0.5
          unattributed          0.016    0.1
          total                21.612  100.0      24.8       33.7
          bound        20.1 s  (critical chain: build/server > image/guestbook > default/install > default/e2e)
          efficiency   93.0 %  (bound / wall)
          cost         24.8 core-s

        what the verdict waited for
          start s  took s  step            what                            waited for
              0.0     0.4  source          reading files, making the plan
              0.4     0.0  unattributed    no node ran
              0.4     8.6  image build     build/server                    the plan
              9.0     0.0  unattributed    no node ran
              9.0     0.2  image build     image/guestbook                 build/server
              9.2     0.0  unattributed    no node ran
              9.2     0.2  test setup      default/install                 image/guestbook
              9.4     0.3  image pull      default/install                 image/guestbook
              9.7     4.5  test setup      default/install                 image/guestbook
             14.2     0.0  unattributed    no node ran
             14.3     7.4  test execution  default/e2e                     default/install
             21.6     0.0  unattributed    no node ran

        tests
          4 (1 passed, 3 failed), the slowest first:
          5.0 s  failed  e2e/api.test TestProbe
          2.0 s  failed  e2e/api.test TestScale
          0.7 s  failed  e2e/api.test TestConfig
          0.2 s  passed  e2e/api.test TestDNS

        hits and misses
          made   4  build/server, build/e2e-tests, image/guestbook, default/evidence

        nodes and their spans
          start s  took s  core-s    memory        node
              0.4     8.6    11.0  64.0 MiB  made  build/server
              4.6     7.4     6.0  64.0 MiB  made  build/e2e-tests
              9.0     0.2     0.2  64.0 MiB  made  image/guestbook
              0.4     4.2     4.6  64.0 MiB  done  default/boot
              9.2     5.0     2.0  64.0 MiB  done  default/install
              9.4     0.3                            image pull: pull guestbook
             14.3     7.4     0.9  64.0 MiB  done  default/e2e
             21.6     0.4     0.1  64.0 MiB  made  default/evidence
             22.0     0.1     0.0  64.0 MiB  done  default/drop
        ");
    }

    #[test]
    fn run_with_a_session_that_was_tried_elsewhere() {
        let text = explain(&sample::tried_elsewhere());
        let sections = text.split("\n\n").filter(|section| {
            ["why", "what the verdict waited for", "nodes"].iter().any(|s| section.starts_with(s))
        });
        insta::assert_snapshot!(sections.collect::<Vec<_>>().join("\n\n"), @r"
        why
          void  default/e2e: etcd of node c0n0 ended by itself (signal 9)
                | raft: became leader
                [cluster.component_died] says nothing about the product; tried again as default/e2e#2

        what the verdict waited for
          start s  took s  step            what                            waited for
              0.0     0.4  source          reading files, making the plan
              0.4     0.0  unattributed    no node ran
              0.4     8.6  image build     build/server                    the plan
              9.0     0.0  unattributed    no node ran
              9.0     0.2  image build     image/guestbook                 build/server
              9.2     0.0  unattributed    no node ran
              9.2     0.2  test setup      default/install                 image/guestbook
              9.4     0.3  image pull      default/install                 image/guestbook
              9.7     4.5  test setup      default/install                 image/guestbook
             14.2     0.0  unattributed    no node ran
             14.3     1.3  test execution  default/e2e                     default/install
             15.5     0.0  unattributed    no node ran
             15.5     0.3  post test       default/evidence                default/e2e
             15.8     0.0  unattributed    no node ran
             15.8     0.1  post test       default/drop                    default/evidence
             15.9     0.0  unattributed    no node ran
             15.9     4.1  cluster setup   default/boot#2                  default/drop
             20.0     0.0  unattributed    no node ran
             20.0     4.0  test setup      default/install#2               default/boot#2
             24.0     0.0  unattributed    no node ran
             24.0     1.6  test execution  default/e2e#2                   default/install#2
             25.6     0.0  unattributed    no node ran

        nodes and their spans
          start s  took s  core-s    memory                node
              0.4     8.6    11.0  64.0 MiB  made          build/server
              4.6     7.4     6.0  64.0 MiB  made          build/e2e-tests
              9.0     0.2     0.2  64.0 MiB  made          image/guestbook
              0.4     4.2     4.6  64.0 MiB  done, void    default/boot
              9.2     5.0     2.0  64.0 MiB  done, void    default/install
              9.4     0.3                                    image pull: pull guestbook
             14.3     1.3     0.3  64.0 MiB  failed, void  default/e2e
             15.5     0.3     0.1  64.0 MiB  made, void    default/evidence
             15.8     0.1     0.0  64.0 MiB  done, void    default/drop
             15.9     4.1     4.5  64.0 MiB  done          default/boot#2
             20.0     4.0     1.9  64.0 MiB  done          default/install#2
             24.0     1.6     0.4  64.0 MiB  done          default/e2e#2
                -       -     0.0            waiting       default/evidence#2
                -       -     0.0            waiting       default/drop#2
        ");
    }

    #[test]
    fn cut_run() {
        insta::assert_snapshot!(explain(&sample::cut()), @r"
        run       0193d0c8-1111-7000-8000-0000c0ffee01
        project   guestbook
        commit    8c1d2e3f4a5b with changes
        started   2026-12-24 10:00:00 UTC
        verdict   none: this run ended without a verdict after 15.5 s

        where the time went
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

        what the verdict waited for
          start s  took s  step            what                            waited for
              0.0     0.4  source          reading files, making the plan
              0.4     0.0  unattributed    no node ran
              0.4     8.6  image build     build/server                    the plan
              9.0     0.0  unattributed    no node ran
              9.0     0.2  image build     image/guestbook                 build/server
              9.2     0.0  unattributed    no node ran
              9.2     0.2  test setup      default/install                 image/guestbook
              9.4     0.3  image pull      default/install                 image/guestbook
              9.7     4.5  test setup      default/install                 image/guestbook
             14.2     0.0  unattributed    no node ran
             14.3     1.3  test execution  default/e2e                     default/install

        tests
          3 (3 not-run)

        hits and misses
          made   3  build/server, build/e2e-tests, image/guestbook

        nodes and their spans
          start s  took s  core-s    memory           node
              0.4     8.6    11.0  64.0 MiB  made     build/server
              4.6     7.4     6.0  64.0 MiB  made     build/e2e-tests
              9.0     0.2     0.2  64.0 MiB  made     image/guestbook
              0.4     4.2     4.6  64.0 MiB  done     default/boot
              9.2     5.0     2.0  64.0 MiB  done     default/install
              9.4     0.3                               image pull: pull guestbook
             14.3     1.3     0.0            running  default/e2e
                -       -     0.0            waiting  default/evidence
                -       -     0.0            waiting  default/drop
        ");
    }

    #[test]
    fn nothing_at_all() {
        assert_eq!(explain(&[]), "nothing of this run was recorded\n");
    }
}
