//! How long the tests would take on other machines and with other numbers of
//! environments. Pure arithmetic on what each test cost by itself.
//!
//! The model: an environment is started first, then takes the longest test that
//! is left, again and again. A test that took `wall` seconds alone and used
//! `core` core-seconds wants `core / wall` cores while it runs. When all that
//! runs wants more cores than there are, all of it slows down by the same factor.
//! That is pessimistic (what waits for a clock does not slow down) and does not
//! know memory, disks, or what Kubernetes does when it is late.

/// What something costs when nothing else runs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Cost {
    /// Seconds.
    pub(crate) wall: f64,
    /// Core-seconds.
    pub(crate) core: f64,
}

/// Seconds until the last test ends, on this many cores and in this many
/// environments, each of which costs `start` before its first test.
pub(crate) fn wall(tests: &[Cost], start: Cost, cores: u32, environments: usize) -> f64 {
    let mut queue = tests.to_vec();
    queue.sort_by(|a, b| a.wall.total_cmp(&b.wall)); // the longest is popped first
    // What each environment does: seconds left at full speed, and cores wanted.
    let mut running = vec![doing(start); environments.min(tests.len())];
    let mut now = 0.0;
    while !running.is_empty() {
        let wanted: f64 = running.iter().map(|(_, cores)| cores).sum();
        let speed = (f64::from(cores) / wanted).min(1.0);
        let next = running.iter().map(|(left, _)| *left).fold(f64::INFINITY, f64::min);
        now += next / speed;
        running.retain_mut(|(left, wanted)| {
            *left -= next;
            if *left > 1e-9 {
                return true;
            }
            // An environment is over when nothing is left for it.
            queue.pop().map(|test| (*left, *wanted) = doing(test)).is_some()
        });
    }
    now
}

/// The least wall in this many environments: the longest test after a start,
/// and all core-seconds on all cores.
pub(crate) fn bound(tests: &[Cost], start: Cost, cores: u32, environments: usize) -> f64 {
    let longest = tests.iter().map(|test| test.wall).fold(0.0, f64::max);
    let starts = start.core * environments.min(tests.len()) as f64;
    let core: f64 = tests.iter().map(|test| test.core).sum::<f64>() + starts;
    (start.wall + longest).max(core / f64::from(cores))
}

fn doing(cost: Cost) -> (f64, f64) {
    let wall = cost.wall.max(1e-3);
    (wall, cost.core / wall)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn costs(list: &[(f64, f64)]) -> Vec<Cost> {
        list.iter().map(|(wall, core)| Cost { wall: *wall, core: *core }).collect()
    }

    const FREE: Cost = Cost { wall: 0.0, core: 0.0 };

    fn near(got: f64, want: f64) {
        assert!((got - want).abs() < 0.01, "want {want}, got {got}");
    }

    #[test]
    fn one_environment_takes_them_one_after_the_other() {
        let tests = costs(&[(3.0, 1.0), (5.0, 0.5), (2.0, 0.1)]);
        near(wall(&tests, Cost { wall: 4.0, core: 4.0 }, 2, 1), 14.0);
        near(bound(&tests, Cost { wall: 4.0, core: 4.0 }, 2, 1), 9.0);
    }

    #[test]
    fn with_cores_enough_the_longest_goes_first() {
        let tests = costs(&[(2.0, 0.1), (2.0, 0.1), (4.0, 0.1)]);
        near(wall(&tests, FREE, 8, 2), 4.0);
        near(wall(&tests, FREE, 8, 32), 4.0);
    }

    #[test]
    fn without_cores_enough_all_slow_down() {
        // Four tests that each want a whole core, on two.
        let tests = costs(&[(3.0, 3.0); 4]);
        near(wall(&tests, FREE, 2, 4), 6.0);
        near(bound(&tests, FREE, 2, 4), 6.0);
        near(wall(&tests, FREE, 4, 4), 3.0);
    }

    #[test]
    fn it_is_never_below_the_bound_nor_above_one_environment_and_all_cpu() {
        // All small mixtures of a few costs.
        let few = [(0.1, 0.05), (1.0, 1.5), (4.0, 0.2), (10.0, 9.0)];
        let start = Cost { wall: 3.0, core: 5.0 };
        for mixture in 1..256_usize {
            let picked = (0..8).filter(|bit| mixture >> bit & 1 == 1).map(|bit| few[bit % 4]);
            let tests = costs(&picked.collect::<Vec<_>>());
            for cores in [1, 2, 8] {
                for environments in [1, 2, 5, 32] {
                    let got = wall(&tests, start, cores, environments);
                    let least = bound(&tests, start, cores, environments);
                    assert!(got >= least - 0.01, "{got} is below {least}");
                    let all: f64 = tests.iter().map(|t| t.wall.max(t.core)).sum::<f64>()
                        + start.wall.max(start.core) * environments as f64;
                    assert!(got <= all + 0.01, "{got} is above {all}");
                }
            }
        }
    }

    #[test]
    fn no_tests_take_no_time() {
        near(wall(&[], Cost { wall: 3.0, core: 5.0 }, 2, 4), 0.0);
    }
}
