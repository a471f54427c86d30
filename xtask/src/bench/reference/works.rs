//! What plain tools did, and when: written down while it happens, and put into
//! the same account that a run of Seatrial gets.

use std::sync::Mutex;
use std::time::Instant;

use seatrial_core::account::{Account, NodeTime, RunTimes};
use seatrial_core::step::Step;

/// Something that was done. It is named by its place.
#[derive(Debug, Clone)]
struct Work {
    step: Step,
    needs: Vec<usize>,
    start_us: u64,
    end_us: u64,
    core_us: u64,
}

/// The works of one job.
pub(crate) struct Works {
    began: Instant,
    list: Mutex<Vec<Work>>,
}

impl Works {
    /// The job begins now.
    pub(crate) fn begin() -> Self {
        Self { began: Instant::now(), list: Mutex::default() }
    }

    /// Microseconds since the beginning.
    pub(crate) fn now_us(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// Does something, which tells what CPU time it used in microseconds.
    pub(crate) fn work<T>(
        &self,
        step: Step,
        needs: &[usize],
        work: impl FnOnce() -> anyhow::Result<(T, u64)>,
    ) -> anyhow::Result<(T, usize)> {
        eprintln!("    {:>7.1} s  {}", self.now_us() as f64 / 1e6, step.word());
        let start_us = self.now_us();
        let (made, core_us) = work()?;
        Ok((made, self.done(step, needs, (start_us, self.now_us()), core_us)))
    }

    /// Notes something that was done; its place.
    pub(crate) fn done(
        &self,
        step: Step,
        needs: &[usize],
        (start_us, end_us): (u64, u64),
        core_us: u64,
    ) -> usize {
        let mut list = self.list.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        list.push(Work { step, needs: needs.to_vec(), start_us, end_us, core_us });
        list.len() - 1
    }

    /// Adds CPU time in microseconds to a work that is over.
    pub(crate) fn add_core(&self, place: usize, core_us: u64) {
        let mut list = self.list.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        list[place].core_us += core_us;
    }

    /// All CPU time so far, in microseconds.
    pub(crate) fn core_us(&self) -> u64 {
        let list = self.list.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        list.iter().map(|work| work.core_us).sum()
    }

    /// The account of a job that is over, on this many cores.
    pub(crate) fn account(&self, wall_us: u64, cores: u32) -> Account {
        let list = self.list.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        Account::of(&times(&list, wall_us, cores))
    }
}

/// The bound counts what it counts for a run of Seatrial: clusters are for a
/// pool, and what comes after the tests is not waited for. The walk back goes to
/// whatever ended last before something began: who does one thing after the
/// other waits for the one before, needed or not.
fn times(list: &[Work], wall_us: u64, cores: u32) -> RunTimes {
    let before = |start_us: u64| {
        // What took no time could come before itself.
        let ended = list.iter().enumerate().filter(|(_, work)| work.start_us < work.end_us);
        let ended = ended.filter(|(_, work)| work.end_us <= start_us);
        ended.max_by_key(|(_, work)| work.end_us).map(|(place, _)| place)
    };
    let node = |work: &Work| NodeTime {
        step: work.step,
        needs: work.needs.clone(),
        after: before(work.start_us),
        start_us: Some(work.start_us),
        end_us: Some(work.end_us),
        core_us: work.core_us,
        memory_peak: 0,
        decides: work.step != Step::PostTest,
        poolable: work.step == Step::ClusterSetup,
        fastest_s: None,
        spans: Vec::new(),
    };
    RunTimes {
        nodes: list.iter().map(node).collect(),
        planned_us: 0,
        verdict_us: wall_us,
        after: before(wall_us),
        cores,
        memory: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(account: &Account, step: Step) -> u64 {
        account.rows.iter().find(|row| row.step == step).map_or(0, |row| row.wall_us)
    }

    #[test]
    fn what_comes_one_after_the_other_has_all_of_the_wall_and_the_bound_has_not() {
        let works = Works::begin();
        let source = works.done(Step::Source, &[], (0, 10), 5);
        let cluster = works.done(Step::ClusterSetup, &[], (10, 60), 80);
        let image = works.done(Step::ImageBuild, &[source], (60, 90), 20);
        let setup = works.done(Step::TestSetup, &[cluster, image], (91, 100), 1);
        works.done(Step::TestExecution, &[setup], (100, 120), 1);
        works.done(Step::TestExecution, &[setup], (120, 130), 1);
        works.done(Step::PostTest, &[], (130, 140), 9);
        let account = works.account(140, 2);
        assert_eq!(row(&account, Step::ClusterSetup), 50);
        assert_eq!(row(&account, Step::TestExecution), 30);
        assert_eq!(account.unattributed_us, 1);
        // Source, image, setup and the slowest test: 10 + 30 + 9 + 20.
        assert_eq!(account.bound.chain_us, 69);
        assert_eq!(account.bound.cores_us, 14);
    }
}
