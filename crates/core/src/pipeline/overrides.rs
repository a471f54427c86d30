//! What holds for one test of a suite: the suite's settings, and what its
//! overrides put in their place.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Isolation, Suite};
use crate::filter::Filter;

/// Other settings for some tests of a suite.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Override {
    /// Which tests.
    pub filter: Filter,
    /// How they share an environment.
    pub isolation: Option<Isolation>,
    /// How long one of them may take.
    pub test_timeout: Option<Duration>,
    /// How often one of them is tried again when it failed.
    pub retries: Option<u32>,
}

/// What holds for one test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TestSettings {
    /// How it shares an environment.
    pub isolation: Isolation,
    /// How long it may take.
    pub test_timeout: Duration,
    /// How often it is tried again when it failed.
    pub retries: u32,
}

/// Where tests of a suite run, by program and name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Spread {
    /// In the environment in which they were listed.
    pub here: Vec<(String, String)>,
    /// In an environment each.
    pub apart: Vec<(String, String)>,
}

impl Spread {
    /// Tests of a suite that get an environment each, at most: each costs a
    /// boot.
    pub const MOST: usize = 500;
}

impl Suite {
    /// What holds for a test: of each setting, what the first override says
    /// that is for the test and says something, else what the suite says.
    #[must_use]
    pub fn settings(&self, program: &str, test: &str) -> TestSettings {
        let (mut isolation, mut test_timeout, mut retries) = (None, None, None);
        for other in self.overrides.iter().filter(|o| o.filter.matches(program, test)) {
            isolation = isolation.or(other.isolation);
            test_timeout = test_timeout.or(other.test_timeout);
            retries = retries.or(other.retries);
        }
        TestSettings {
            isolation: isolation.unwrap_or(self.isolation),
            test_timeout: test_timeout.unwrap_or(self.test_timeout),
            retries: retries.unwrap_or(self.retries),
        }
    }

    /// Whether some of its tests may get an environment each.
    #[must_use]
    pub fn has_fresh(&self) -> bool {
        let mut overrides = self.overrides.iter().filter_map(|one| one.isolation);
        self.isolation == Isolation::Fresh || overrides.any(|one| one == Isolation::Fresh)
    }

    /// Where the tests that it selects run.
    #[must_use]
    pub fn spread(&self, tests: &[(String, String)]) -> Spread {
        let fresh = |(program, test): &&(String, String)| {
            self.settings(program, test).isolation == Isolation::Fresh
        };
        let (mut apart, mut here): (Vec<_>, Vec<_>) = tests.iter().partition(fresh);
        // Such a suite has a session of its own: one test needs no other.
        if here.is_empty() && self.isolation == Isolation::Fresh && !apart.is_empty() {
            here.push(apart.remove(0));
        }
        let owned = |tests: Vec<&(String, String)>| tests.into_iter().cloned().collect();
        Spread { here: owned(here), apart: owned(apart) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::guestbook;

    #[test]
    fn one_test_of_a_fresh_suite_runs_where_it_was_listed() {
        let mut suite = guestbook().suites.into_values().next().expect("the sample has one");
        let tests = ["TestA", "TestB", "TestC"].map(|test| ("p".to_owned(), test.to_owned()));
        let names = |tests: Vec<(String, String)>| -> String {
            tests.into_iter().map(|(_, test)| test).collect::<Vec<_>>().join(" ")
        };
        let apart = |suite: &Suite| {
            let Spread { here, apart } = suite.spread(&tests);
            (names(here), names(apart))
        };
        let parts = |here: &str, apart: &str| (here.to_owned(), apart.to_owned());
        assert_eq!(apart(&suite), parts("TestA TestB TestC", ""));
        let other = |filter: &str, isolation| Override {
            filter: filter.parse().expect("a filter"),
            isolation: Some(isolation),
            test_timeout: None,
            retries: None,
        };
        suite.overrides = vec![other("test(B)", Isolation::Fresh)];
        assert_eq!(apart(&suite), parts("TestA TestC", "TestB"));
        // Others may have been in this environment before.
        suite.overrides = vec![other("all()", Isolation::Fresh)];
        assert_eq!(apart(&suite), parts("", "TestA TestB TestC"));
        suite.isolation = Isolation::Fresh;
        assert_eq!(apart(&suite), parts("TestA", "TestB TestC"));
        suite.overrides = vec![other("test(B)", Isolation::Shared)];
        assert_eq!(apart(&suite), parts("TestB", "TestA TestC"));
    }

    #[test]
    fn of_each_setting_the_first_that_says_something_holds() {
        let other = |filter: &str, test_timeout: Option<u64>, retries| Override {
            filter: filter.parse().expect("a filter"),
            isolation: None,
            test_timeout: test_timeout.map(Duration::from_secs),
            retries,
        };
        let mut suite = guestbook().suites.into_values().next().expect("the sample has one");
        suite.overrides = vec![
            other("test(Slow)", Some(900), None),
            other("program(e2e)", Some(60), Some(2)),
            Override {
                isolation: Some(Isolation::Fresh),
                ..other("test(=TestSlow)", None, Some(3))
            },
        ];
        let of = |program, test| {
            let TestSettings { isolation, test_timeout, retries } = suite.settings(program, test);
            (isolation, test_timeout.as_secs(), retries)
        };
        assert_eq!(of("e2e.test", "TestSlow"), (Isolation::Fresh, 900, 2));
        assert_eq!(of("e2e.test", "TestA"), (Isolation::Shared, 60, 2));
        assert_eq!(of("unit.test", "TestSlow"), (Isolation::Fresh, 900, 3));
        assert_eq!(of("unit.test", "TestA"), (Isolation::Shared, 600, 0));
    }
}
