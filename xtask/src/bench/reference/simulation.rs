//! How long the tests would take on other machines and with other numbers of
//! environments. Pure arithmetic on what each test cost by itself.
//!
//! The model: each environment is of one configuration and takes tests of that.
//! It is started first, then takes the longest test that is left, again and
//! again. Environments are shared out evenly; a configuration that got none begins
//! when an environment of another has nothing left. A test that took `wall`
//! seconds alone and used `core` core-seconds wants `core / wall` cores while it
//! runs. When all that runs wants more cores than there are, all of it slows down
//! by the same factor. That is pessimistic (what waits for a clock does not slow
//! down) and does not know memory, disks, or what Kubernetes does when it is late.

/// What something costs when nothing else runs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Cost {
    /// Seconds.
    pub(crate) wall: f64,
    /// Core-seconds.
    pub(crate) core: f64,
}

/// Seconds until the last test ends, on this many cores and in this many
/// environments at a time, each of which costs `start` before its first test.
/// The tests are those of each configuration.
pub(crate) fn wall(
    configurations: &[Vec<Cost>],
    start: Cost,
    cores: u32,
    environments: usize,
) -> f64 {
    let mut queues = configurations.to_vec();
    for queue in &mut queues {
        queue.sort_by(|a, b| a.wall.total_cmp(&b.wall)); // the longest is popped first
    }
    let mut waiting = places(configurations, environments).into_iter();
    // What each environment does: seconds left at full speed, and cores wanted.
    let begun = |place| (doing(start), place);
    let mut running: Vec<_> = waiting.by_ref().take(environments).map(begun).collect();
    let mut now = 0.0;
    while !running.is_empty() {
        let wanted: f64 = running.iter().map(|((_, cores), _)| cores).sum();
        let speed = (f64::from(cores) / wanted).min(1.0);
        let next = running.iter().map(|((left, _), _)| *left).fold(f64::INFINITY, f64::min);
        now += next / speed;
        running.retain_mut(|(does, place)| {
            does.0 -= next;
            if does.0 > 1e-9 {
                return true;
            }
            if let Some(test) = queues[*place].pop() {
                *does = doing(test);
                return true;
            }
            // It is over, and another may have its room.
            waiting.next().map(begun).map(|other| (*does, *place) = other).is_some()
        });
    }
    now
}

/// The least wall in this many environments: the longest test after a start,
/// and all core-seconds on all cores.
pub(crate) fn bound(
    configurations: &[Vec<Cost>],
    start: Cost,
    cores: u32,
    environments: usize,
) -> f64 {
    let tests = || configurations.iter().flatten();
    let longest = tests().map(|test| test.wall).fold(0.0, f64::max);
    let starts = start.core * places(configurations, environments).len() as f64;
    let core: f64 = tests().map(|test| test.core).sum::<f64>() + starts;
    (start.wall + longest).max(core / f64::from(cores))
}

/// The configuration of each environment, in the order of their starts: all in
/// turn, each at least once and never more often than it has tests.
fn places(configurations: &[Vec<Cost>], environments: usize) -> Vec<usize> {
    let has = |turn| {
        let places = configurations.iter().enumerate();
        places.filter(move |(_, tests)| turn < tests.len()).map(|(place, _)| place)
    };
    let most = configurations.iter().map(Vec::len).max().unwrap_or(0);
    (0..most).flat_map(has).take(environments.max(has(0).count())).collect()
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

    fn one(list: &[(f64, f64)]) -> [Vec<Cost>; 1] {
        [costs(list)]
    }

    const FREE: Cost = Cost { wall: 0.0, core: 0.0 };

    fn near(got: f64, want: f64) {
        assert!((got - want).abs() < 0.01, "want {want}, got {got}");
    }

    #[test]
    fn one_environment_takes_them_one_after_the_other() {
        let tests = one(&[(3.0, 1.0), (5.0, 0.5), (2.0, 0.1)]);
        near(wall(&tests, Cost { wall: 4.0, core: 4.0 }, 2, 1), 14.0);
        near(bound(&tests, Cost { wall: 4.0, core: 4.0 }, 2, 1), 9.0);
    }

    #[test]
    fn with_cores_enough_the_longest_goes_first() {
        let tests = one(&[(2.0, 0.1), (2.0, 0.1), (4.0, 0.1)]);
        near(wall(&tests, FREE, 8, 2), 4.0);
        near(wall(&tests, FREE, 8, 32), 4.0);
    }

    #[test]
    fn without_cores_enough_all_slow_down() {
        // Four tests that each want a whole core, on two.
        let tests = one(&[(3.0, 3.0); 4]);
        near(wall(&tests, FREE, 2, 4), 6.0);
        near(bound(&tests, FREE, 2, 4), 6.0);
        near(wall(&tests, FREE, 4, 4), 3.0);
    }

    #[test]
    fn it_is_never_below_the_bound_nor_above_one_after_the_other_and_all_cpu() {
        // All small mixtures of a few costs.
        let few = [(0.1, 0.05), (1.0, 1.5), (4.0, 0.2), (10.0, 9.0)];
        let start = Cost { wall: 3.0, core: 5.0 };
        for mixture in 1..256_usize {
            let picked = (0..8).filter(|bit| mixture >> bit & 1 == 1).map(|bit| few[bit % 4]);
            let mut tests = costs(&picked.collect::<Vec<_>>());
            // Some in a configuration of their own.
            let others = tests.split_off(tests.len() * (mixture % 3) / 2);
            let tests = [tests, others];
            for cores in [1, 2, 8] {
                for environments in [1, 2, 5, 32] {
                    let got = wall(&tests, start, cores, environments);
                    let least = bound(&tests, start, cores, environments);
                    assert!(got >= least - 0.01, "{got} is below {least}");
                    let all: f64 = tests.iter().flatten().map(|t| t.wall.max(t.core)).sum::<f64>()
                        + start.wall.max(start.core) * environments.max(2) as f64;
                    assert!(got <= all + 0.01, "{got} is above {all}");
                }
            }
        }
    }

    #[test]
    fn no_tests_take_no_time() {
        near(wall(&[], Cost { wall: 3.0, core: 5.0 }, 2, 4), 0.0);
        near(wall(&[Vec::new()], Cost { wall: 3.0, core: 5.0 }, 2, 4), 0.0);
    }

    #[test]
    fn an_environment_takes_tests_of_its_configuration_alone() {
        let tests = [costs(&[(5.0, 0.1); 2]), costs(&[(1.0, 0.1)])];
        let start = Cost { wall: 2.0, core: 0.1 };
        // One after the other, each with its start; both; the long ones in two.
        near(wall(&tests, start, 8, 1), 2.0 + 10.0 + 2.0 + 1.0);
        near(wall(&tests, start, 8, 2), 2.0 + 10.0);
        near(wall(&tests, start, 8, 3), 2.0 + 5.0);
        near(wall(&tests, start, 8, 9), 2.0 + 5.0);
        assert_eq!(places(&tests, 1), [0, 1]);
        assert_eq!(places(&tests, 9), [0, 1, 0]);
    }
}
