//! What one run of the reference job was: the same shape for every system, so
//! that they can stand side by side. Kept as one JSON file a run.

use seatrial_core::account::{Account, BoundBy};
use serde::{Deserialize, Serialize};

/// How the job is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum System {
    /// Plain tools, one after the other.
    Baseline,
    /// Plain tools, what can go on at once doing so.
    Careful,
    /// `seatrial run`.
    Seatrial,
}

impl System {
    /// All, as tables have them.
    pub(crate) const ALL: [Self; 3] = [Self::Baseline, Self::Careful, Self::Seatrial];

    /// All, in the order of a round: each is first once in three rounds, as what
    /// runs later finds more in the machine's memory.
    pub(crate) fn in_turn(round: u32) -> [Self; 3] {
        let mut order = Self::ALL;
        order.rotate_left(round.saturating_sub(1) as usize % Self::ALL.len());
        order
    }

    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Baseline => "baseline",
            Self::Careful => "careful",
            Self::Seatrial => "seatrial",
        }
    }
}

/// What is different from the run before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Case {
    /// Nothing is there: no compiler cache, no modules, no state
    Cold,
    /// One source file of one service changed
    Changed,
    /// Nothing changed
    Unchanged,
    /// Only a test changed
    Test,
    /// A commit that breaks one behaviour
    Broken,
}

impl Case {
    /// All, in the order of a round.
    pub(crate) const ALL: [Self; 5] =
        [Self::Cold, Self::Changed, Self::Unchanged, Self::Test, Self::Broken];

    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Cold => "cold",
            Self::Changed => "changed",
            Self::Unchanged => "unchanged",
            Self::Test => "test",
            Self::Broken => "broken",
        }
    }

    /// What it is, in words.
    pub(crate) fn said(self) -> &'static str {
        match self {
            Self::Cold => "everything cold",
            Self::Changed => "one source file of one service changed",
            Self::Unchanged => "nothing changed",
            Self::Test => "only a test changed",
            Self::Broken => "a commit that breaks one behaviour",
        }
    }
}

/// One run of the job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) system: System,
    pub(crate) case: Case,
    pub(crate) round: u32,
    /// Tests that did not pass, as `ENVIRONMENT PROGRAM TEST`, sorted; without
    /// subtests.
    pub(crate) red: Vec<String>,
    /// From nothing to the verdict, in seconds.
    pub(crate) wall_s: f64,
    /// CPU time of what was started: of Seatrial its nodes and itself, of plain
    /// tools every command and cluster.
    pub(crate) core_s: f64,
    /// A row for each step of the table.
    pub(crate) rows: Vec<Row>,
    /// Seconds of the wall that belong to no step.
    pub(crate) unattributed_s: f64,
    /// The least wall that this work could have had, and which of the three it is.
    pub(crate) bound_s: f64,
    pub(crate) bound_by: String,
    /// Tests that ran, without subtests.
    pub(crate) tests: Vec<TestTime>,
    /// Load of the machine (1 minute) before and after.
    pub(crate) load: (f64, f64),
    /// The machine, and the build of which commit, in words.
    #[serde(default)]
    pub(crate) measured: String,
    /// What runs of one round have in common, a digest.
    #[serde(default)]
    pub(crate) build: String,
}

/// A row of the step table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) step: String,
    pub(crate) wall_s: f64,
    pub(crate) core_s: f64,
}

/// A test as it went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct TestTime {
    pub(crate) environment: String,
    pub(crate) program: String,
    pub(crate) name: String,
    pub(crate) wall_s: f64,
    /// What it and the cluster used meanwhile, when nothing else ran in that
    /// cluster.
    pub(crate) core_s: Option<f64>,
}

impl TestTime {
    /// `ENVIRONMENT PROGRAM TEST`.
    pub(crate) fn full_name(&self) -> String {
        format!("{} {} {}", self.environment, self.program, self.name)
    }
}

impl Record {
    /// Whether both are of one round of one case.
    pub(crate) fn is_beside(&self, other: &Self) -> bool {
        (self.case, self.round) == (other.case, other.round)
    }

    pub(crate) fn efficiency(&self) -> f64 {
        self.bound_s / self.wall_s
    }

    /// Fills in where the time went. `chain_us`: the critical chain with tests
    /// one by one, where the account has them as one.
    pub(crate) fn accounted(mut self, account: &Account, chain_us: u64) -> Self {
        let seconds = |us: u64| us as f64 / 1e6;
        let row = |row: &seatrial_core::account::Row| Row {
            step: row.step.word().to_owned(),
            wall_s: seconds(row.wall_us),
            core_s: seconds(row.core_us),
        };
        self.rows = account.rows.iter().map(row).collect();
        self.unattributed_s = self.wall_s - self.rows.iter().map(|row| row.wall_s).sum::<f64>();
        let (us, by) = if account.bound.cores_us >= chain_us {
            (account.bound.cores_us, BoundBy::Cores)
        } else {
            (chain_us, BoundBy::Chain)
        };
        self.bound_s = seconds(us);
        self.bound_by = match by {
            BoundBy::Cores => "cores",
            BoundBy::Chain => "chain",
            BoundBy::Memory => "memory",
        }
        .to_owned();
        self
    }
}

/// A run that took `wall_s`, half of it in each of two steps.
#[cfg(test)]
pub(crate) fn sample(system: System, case: Case, round: u32, wall_s: f64) -> Record {
    let row = |step: &str, wall_s, core_s| Row { step: step.to_owned(), wall_s, core_s };
    Record {
        system,
        case,
        round,
        red: Vec::new(),
        wall_s,
        core_s: 99.0,
        rows: vec![
            row("source", wall_s / 2.0, 1.0),
            row("test execution", wall_s / 2.0 - 1.0, 2.0),
        ],
        unattributed_s: 1.0,
        bound_s: wall_s / 5.0,
        bound_by: "cores".to_owned(),
        tests: Vec::new(),
        load: (0.0, 0.0),
        measured: "a machine; a build".to_owned(),
        build: String::new(),
    }
}
