//! The job as Seatrial does it: a work tree that stays is brought to the commit,
//! and `seatrial run`.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::Context as _;
use seatrial_core::account::Account;
use seatrial_core::verdict::Verdict;
use seatrial_protocol::event::{RunEvent, RunEventKind};
use seatrial_report::Summary;
use seatrial_report::summary::TestSummary;

use super::project::BASE;
use super::record::{Record, TestTime};
use super::{Setup, measured};

/// Does the job on a branch, with a state directory.
pub(crate) fn run(
    setup: &Setup,
    state: &Path,
    branch: &str,
    record: Record,
) -> anyhow::Result<Record> {
    let began = Instant::now();
    let (work, source_us) = setup.project.checkout(branch)?;
    let checked_out = began.elapsed().as_secs_f64();
    let mut events: Vec<RunEvent> = Vec::new();
    let mut verdict_s = None;
    let mut command = seatrial(setup, state, &work);
    command.args(["run", "--format", "json"]);
    let (status, text, cpu) = measured::lines(&mut command, |_, line| {
        let Ok(event) = serde_json::from_str::<RunEvent>(line) else { return };
        if matches!(event.kind, RunEventKind::VerdictReached { .. }) {
            verdict_s = Some(began.elapsed().as_secs_f64());
        }
        events.push(event);
    })?;
    let summary = Summary::from_events(&events);
    let ran = summary.verdict();
    anyhow::ensure!(
        matches!(ran, Some(Verdict::Passed | Verdict::Flaky | Verdict::Failed)),
        "seatrial run ended with {status} and {ran:?}\n{}",
        text.lines().rev().take(5).collect::<Vec<_>>().join("\n")
    );
    let wall_s = verdict_s.context("a verdict was told")?;
    let account = summary.account().context("a run has an account")?;
    let chain_us = chain_us(&summary, &account);
    // What its nodes used is counted by control groups; it is itself in none.
    let core_s = (source_us + account.core_us + cpu.own_us) as f64 / 1e6;
    let red = red(&summary);
    let mut record = Record { wall_s, core_s, red, tests: tests(&summary), ..record };
    record = record.accounted(&account, chain_us);
    // The checkout is before the run, and a part of its source.
    if let Some(row) = record.rows.iter_mut().find(|row| row.step == "source") {
        row.wall_s += checked_out;
        row.core_s += source_us as f64 / 1e6;
        record.unattributed_s -= checked_out;
    }
    Ok(record)
}

/// Builds all once, as the run of the commit before has done. Not measured.
pub(crate) fn warm(setup: &Setup, state: &Path) -> anyhow::Result<()> {
    let done = state.join(format!("bench-warm-{}-{}", setup.project.tree, setup.build));
    if done.exists() {
        return Ok(());
    }
    let (work, _) = setup.project.checkout(BASE)?;
    measured::run(seatrial(setup, state, &work).args(["build", "--format", "json"]))?;
    std::fs::write(done, "").context("the state was made")
}

fn seatrial(setup: &Setup, state: &Path, work: &Path) -> Command {
    let mut command = Command::new(&setup.seatrial);
    command.arg("-C").arg(work).env("SEATRIAL_STATE_DIR", state);
    command
}

/// The critical chain with the slowest test in the place of its whole suite:
/// tests can go apart, though a run of today does them one after the other.
fn chain_us(summary: &Summary, account: &Account) -> u64 {
    let of = |place: &usize| {
        let tests = summary.tests().iter().filter(|test| test.node as usize == *place);
        let slowest = tests.filter(|test| !test.subtest).map(|test| test.took_us()).max();
        let node = summary.nodes.get(*place);
        slowest.or_else(|| node?.took_us(summary.last_us)).unwrap_or(0)
    };
    account.bound.chain.iter().map(of).sum()
}

fn red(summary: &Summary) -> Vec<String> {
    let tests = summary.tests().iter().filter(|test| !test.subtest);
    let bad = tests.filter(|test| !matches!(test.verdict(), None | Some(Verdict::Passed)));
    let mut red: Vec<String> = bad.map(|test| time(test).full_name()).collect();
    red.sort();
    red
}

fn tests(summary: &Summary) -> Vec<TestTime> {
    let tests = summary.tests().iter().filter(|test| !test.subtest);
    tests.map(time).collect()
}

fn time(test: &TestSummary) -> TestTime {
    TestTime {
        environment: test.environment.clone().unwrap_or_default(),
        program: program(&test.program),
        name: test.name.clone(),
        wall_s: test.took_us() as f64 / 1e6,
        core_s: None,
    }
}

/// `product` for `product.test`: as the plain tools call it.
fn program(file: &str) -> String {
    file.trim_end_matches(".test").to_owned()
}
