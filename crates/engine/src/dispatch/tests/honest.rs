//! Three seconds are put into one place of a run after the other: the step
//! table has them in the row of that place, and nowhere else.

use std::sync::atomic::{AtomicU64, Ordering};

use seatrial_core::account::Account;
use seatrial_report::Summary;

use super::*;

/// What is put in, and how far from it a row may be: what else a busy machine
/// does in a run of a few milliseconds.
const INJECTED: Duration = Duration::from_secs(3);
const NEAR_US: u64 = 100_000;

/// Where the time is put in.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Place {
    Nowhere,
    /// The worker takes longer with the node of this name.
    Worker(&'static str),
    /// The same, and it says of this time that it belongs to that step.
    Part(&'static str, Step),
    /// The engine takes longer to record an event of this kind.
    Engine(&'static str),
}

struct Ran {
    summary: Summary,
    account: Account,
    injected_us: u64,
}

/// Takes long over the first event of a kind.
struct Slow {
    events: Vec<RunEvent>,
    at: Option<&'static str>,
    took_us: u64,
}

impl Recorder for Slow {
    fn record(&mut self, events: &[RunEvent]) -> Result<(), Failure> {
        let is = |event: &RunEvent, kind: &str| {
            serde_json::to_value(event).expect("an event is JSON")["event"] == kind
        };
        if let Some(kind) = self.at
            && events.iter().any(|event| is(event, kind))
        {
            let began = Instant::now();
            #[expect(clippy::disallowed_methods, reason = "the time is what is tested")]
            std::thread::sleep(INJECTED);
            self.took_us += micros(began);
            self.at = None;
        }
        self.events.extend(events.iter().cloned());
        Ok(())
    }

    fn show(&mut self, _: &RunEvent) {}
}

fn micros(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_micros()).expect("a short time")
}

/// Runs the plan with a worker that is as quick as can be but for `place`.
/// `dies`: a component dies in the first environment, so that the run waits for
/// its end before it can try another.
fn run_with(place: Place, dies: bool) -> Ran {
    let (mut engine, WorkerEnd { mut from_engine, to_engine }) = link();
    let injected_us = Arc::new(AtomicU64::new(0));
    let injected = injected_us.clone();
    let worker = async move {
        while let Some(frame) = from_engine.recv().await {
            let Ok(ToWorker::Offer(offer)) = decode(&frame) else { continue };
            let (began, to_engine, injected) =
                (Instant::now(), to_engine.clone(), injected.clone());
            tokio::spawn(async move {
                let (here, step) = match place {
                    Place::Worker(node) => (node == offer.node, None),
                    Place::Part(node, step) => (node == offer.node, Some(step)),
                    Place::Nowhere | Place::Engine(_) => (false, None),
                };
                let mut said = Vec::new();
                if here {
                    #[expect(clippy::disallowed_methods, reason = "the time is what is tested")]
                    tokio::time::sleep(INJECTED).await;
                    injected.store(micros(began), Ordering::Relaxed);
                }
                if let Some(step) = step.filter(|_| here) {
                    let (name, start_us, end_us) = ("pull".to_owned(), 0, micros(began));
                    said.push(event(&offer, AttemptEvent::Span { step, name, start_us, end_us }));
                }
                let mut outcome = done();
                if offer.node.contains("/e2e") {
                    said.push(test(&offer, "TestA", TestOutcome::Passed));
                    outcome = if dies && offer.node == "default/e2e" { died() } else { done() };
                }
                let (attempt, epoch, usage) = (offer.attempt, offer.epoch, Usage::default());
                let took_us = micros(began);
                said.push(FromWorker::Result { attempt, epoch, outcome, usage, took_us });
                for message in said {
                    let _ = to_engine.send(encode(&message)).await;
                }
            });
        }
    };
    let at = match place {
        Place::Engine(kind) => Some(kind),
        _ => None,
    };
    let mut recorder = Slow { events: Vec::new(), at, took_us: 0 };
    let facts = facts();
    let (_keep, mut cancel) = watch::channel(None);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build();
    runtime.expect("a runtime").block_on(async {
        tokio::spawn(worker);
        let hello = hello();
        let run = Running::new(plan(), &facts, &hello);
        let run = run.drive(&hello, &mut cancel, &mut engine, &mut recorder);
        tokio::time::timeout(Duration::from_secs(60), run)
            .await
            .expect("it ends")
            .expect("recorded")
    });
    let summary = Summary::from_events(&recorder.events);
    let account = summary.account().expect("it began");
    let rows: u64 = account.rows.iter().map(|row| row.wall_us).sum();
    assert_eq!(rows + account.unattributed_us, summary.wall_us(), "{place:?}");
    let injected_us = injected_us.load(Ordering::Relaxed) + recorder.took_us;
    assert_eq!(injected_us >= 3_000_000, place != Place::Nowhere, "{place:?}: {injected_us}");
    Ran { summary, account, injected_us }
}

/// The wall of each step, and the time that belongs to none.
fn walls(account: &Account) -> Vec<(&'static str, u64)> {
    let rows = account.rows.iter().map(|row| (row.step.word(), row.wall_us));
    rows.chain([("unattributed", account.unattributed_us)]).collect()
}

#[test]
fn time_that_is_put_in_is_found_in_its_row_and_in_no_other() {
    let places = [
        (Place::Engine("planned"), false, "unattributed"),
        (Place::Engine("node-finished"), false, "unattributed"),
        // The suite ends while the engine has no time to hear of it.
        (Place::Engine("test-finished"), false, "unattributed"),
        (Place::Part("build/tests", Step::ImagePull), false, "image pull"),
        (Place::Worker("build/tests"), false, "test compile"),
        (Place::Worker("default/boot"), false, "cluster setup"),
        (Place::Worker("default/install"), false, "test setup"),
        (Place::Worker("default/e2e"), false, "test execution"),
        // The next environment waits for the end of this one.
        (Place::Worker("default/drop"), true, "post test"),
        (Place::Worker("default/boot#2"), true, "cluster setup"),
    ];
    std::thread::scope(|scope| {
        let plain = [false, true].map(|dies| scope.spawn(move || run_with(Place::Nowhere, dies)));
        let runs = places.map(|(place, dies, row)| {
            (place, dies, row, scope.spawn(move || run_with(place, dies)))
        });
        let plain = plain.map(|run| run.join().expect("no panic"));
        for (place, dies, row, run) in runs {
            let ran = run.join().expect("no panic");
            let before = walls(&plain[usize::from(dies)].account);
            for ((name, was), (_, is)) in before.into_iter().zip(walls(&ran.account)) {
                let more = if name == row { ran.injected_us } else { 0 };
                let off = is.abs_diff(was + more);
                assert!(off < NEAR_US, "{place:?}: {name} went from {was} to {is} us");
            }
        }
    });
}

#[test]
fn an_end_that_nobody_waits_for_takes_nothing_of_the_wall() {
    let ran = run_with(Place::Worker("default/drop"), false);
    assert!(ran.summary.wall_us() < INJECTED.as_micros().try_into().expect("a short time"));
    let row = ran.account.rows.iter().find(|row| row.step == Step::PostTest).expect("a row");
    assert_eq!(row.wall_us, 0);
    assert!(row.span_us.abs_diff(ran.injected_us) < NEAR_US, "{row:?}");
}
