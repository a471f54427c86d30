//! One suite for every backend.

use uuid::Uuid;

use super::memory::MemoryRecords;
use super::sqlite::SqliteRecords;
use super::*;

const TRUSTED: Scope = Scope::Trusted;

/// Runs each test on each backend.
macro_rules! suite {
    ($($test:ident),* $(,)?) => {
        mod memory_records {
            $(#[test] fn $test() { super::$test(&super::MemoryRecords::default()); })*
        }
        mod sqlite_records {
            $(#[test] fn $test() {
                let dir = tempfile::tempdir().expect("temporary directory");
                super::$test(&super::SqliteRecords::open(dir.path()).expect("open"));
            })*
        }
    };
}

suite!(
    the_first_result_stays,
    epochs_grow,
    events_are_dense,
    runs_are_found_by_what_people_type,
    old_runs_are_forgotten_with_their_events,
    history_keeps_the_last_ten_and_the_fastest,
);

fn run(id: u128) -> RunId {
    RunId::from_uuid(Uuid::from_u128(id))
}

fn result(text: &str) -> ActionResult {
    let outputs = Outputs::Blobs(vec![Digest::of(text)]);
    ActionResult { outputs, core_us: 1, wall_us: 2, log: Some(Digest::of("log")), finished_at: 3 }
}

fn the_first_result_stays(records: &dyn Records) {
    let key = Digest::of("key");
    let (first, second) = (result("first"), result("second"));
    let later = ActionResult { core_us: 99, ..first.clone() };
    let record = |result, replace| records.record(key, TRUSTED, result, replace).expect("record");
    assert_eq!(records.lookup(key, TRUSTED).expect("lookup"), None);
    assert_eq!(record(&first, None), Recorded::Stored);
    assert_eq!(record(&later, None), Recorded::Same);
    assert_eq!(record(&second, None), Recorded::Conflict(first.clone()));
    assert_eq!(record(&second, Some(&later)), Recorded::Conflict(first.clone()));
    assert_eq!(records.lookup(key, TRUSTED).expect("lookup"), Some(first.clone()));
    assert_eq!(records.lookup(key, Scope::Untrusted).expect("lookup"), None);
    assert_eq!(record(&second, Some(&first)), Recorded::Stored);
    assert_eq!(records.lookup(key, TRUSTED).expect("lookup"), Some(second));
}

fn epochs_grow(records: &dyn Records) {
    let next = |key: &str, scope| records.next_epoch(Digest::of(key), scope).expect("epoch").0;
    assert_eq!((next("a", TRUSTED), next("a", TRUSTED), next("b", TRUSTED)), (1, 2, 1));
    assert_eq!(next("a", Scope::Untrusted), 1);
}

fn events_are_dense(records: &dyn Records) {
    let append = |id, seq, events: &[&str], state: &str| {
        let events: Vec<String> = events.iter().map(|e| (*e).to_owned()).collect();
        records.append_events(run(id), TRUSTED, seq, &events, state)
    };
    append(1, 0, &["a", "b"], "1").expect("first");
    append(2, 0, &[], "other").expect("a run without events");
    append(1, 2, &["c"], "2").expect("next");
    for seq in [0, 2, 4, u64::MAX] {
        let error = append(1, seq, &["x"], "3").expect_err("not dense");
        let text = format!("run {} continues with event 3, not {seq}", run(1));
        assert_eq!(error.to_string(), text);
    }
    append(3, 1, &["x"], "3").expect_err("begins with 0");
    assert_eq!(records.events(run(1), 0, 99).expect("events"), ["a", "b", "c"]);
    assert_eq!(records.events(run(1), 1, 1).expect("events"), ["b"]);
    assert_eq!(records.events(run(9), 0, usize::MAX).expect("events"), [""; 0]);
    let row = |id, events, state: &str| RunRow {
        run: run(id),
        scope: TRUSTED,
        events,
        state: state.to_owned(),
    };
    assert_eq!(records.run(run(1)).expect("run"), Some(row(1, 3, "2")));
    assert_eq!(records.run(run(3)).expect("run"), None);
    assert_eq!(records.runs(9).expect("runs"), [row(2, 0, "other"), row(1, 3, "2")]);
    assert_eq!(records.runs(1).expect("runs").len(), 1);
}

fn runs_are_found_by_what_people_type(records: &dyn Records) {
    let error = records.find_run("latest").expect_err("there is none");
    assert_eq!(error.to_string(), "no run `latest`");
    let first = run(0x0191_0000_0000_7000_8000_0000_aaaa_1111);
    let second = run(0x0191_0000_0000_7000_8000_0000_bbbb_1111);
    for id in [first, second] {
        records.append_events(id, TRUSTED, 0, &[], "").expect("append");
    }
    let find = |text: &str| records.find_run(text).map_err(|error| error.to_string());
    assert_eq!(find("latest"), Ok(second));
    assert_eq!(find(&first.to_string()), Ok(first));
    assert_eq!(find("AAAA1111"), Ok(first));
    assert_eq!(find("0191"), Err("`0191` can be any of aaaa1111, bbbb1111".to_owned()));
    assert_eq!(find("111"), Err("no run `111`".to_owned()));
    assert_eq!(find("cafe"), Err("no run `cafe`".to_owned()));
    assert_eq!(find("%' OR 1"), Err("no run `%' OR 1`".to_owned()));
}

fn old_runs_are_forgotten_with_their_events(records: &dyn Records) {
    for id in 1..=4 {
        records.append_events(run(id), TRUSTED, 0, &["x".to_owned()], "").expect("append");
    }
    assert_eq!(records.forget_runs(2).expect("forget"), [run(2), run(1)]);
    assert_eq!(records.forget_runs(2).expect("forget"), []);
    let rows = records.runs(10).expect("runs");
    assert_eq!(rows.iter().map(|row| row.run).collect::<Vec<_>>(), [run(4), run(3)]);
    assert_eq!(records.events(run(1), 0, 10).expect("events"), Vec::<String>::new());
    assert_eq!(records.events(run(3), 0, 10).expect("events"), ["x"]);
    // One that comes again begins anew, and is the newest.
    records.append_events(run(1), TRUSTED, 0, &[], "").expect("append");
    assert_eq!(records.find_run("latest").expect("latest"), run(1));
}

fn history_keeps_the_last_ten_and_the_fastest(records: &dyn Records) {
    let series = |name| Series { group: "test/e2e", name };
    let expected = |name| records.expected(TRUSTED, series(name)).expect("expected");
    let millis = Duration::from_millis;
    assert_eq!(expected("slow"), None);
    for ms in [50, 1000, 10, 2000, 3000] {
        records.record_duration(TRUSTED, series("slow"), millis(ms)).expect("record");
    }
    let slow = Expected { median: millis(1000), fastest: millis(10) };
    assert_eq!(expected("slow"), Some(slow));
    for _ in 0..10 {
        records.record_duration(TRUSTED, series("slow"), millis(400)).expect("record");
    }
    let slow = Expected { median: millis(400), fastest: millis(10) };
    assert_eq!(expected("slow"), Some(slow));
    records.record_duration(TRUSTED, series("quick"), millis(1)).expect("record");
    let quick = Expected { median: millis(1), fastest: millis(1) };
    let all = records.expected_all(TRUSTED, "test/e2e").expect("all");
    assert_eq!(all, BTreeMap::from([("quick".to_owned(), quick), ("slow".to_owned(), slow)]));
    assert_eq!(records.expected_all(TRUSTED, "build").expect("all"), BTreeMap::new());
    assert_eq!(records.expected_all(Scope::Untrusted, "test/e2e").expect("all"), BTreeMap::new());
}
