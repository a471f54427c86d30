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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::guestbook;

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
