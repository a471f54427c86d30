//! What the end of a program that runs many tests says of them, where it is the
//! same for all that do.

use std::time::Duration;

use seatrial_core::failure::Failure;
use seatrial_protocol::test::TestOutcome;

use crate::program_failure::{died, not_a_test_program};
use crate::reader::board::Board;
use crate::{Exit, Invocation};

/// The program did not start: none of its tests ran.
pub(crate) fn not_started(board: &mut Board, invocation: &Invocation, exit: &Exit) -> Failure {
    board.set_reason(format!("its program did not start ({exit})"));
    not_a_test_program(invocation, exit, "")
}

/// The program ended by itself before it said that it was done: what was
/// running failed, the rest did not run.
pub(crate) fn cut_short(board: &mut Board, at: Duration, exit: &Exit) {
    let running = board.running();
    let message = format!("its program ended while it ran ({exit})");
    let reason = match running.first() {
        Some(test) => format!("its program ended in `{test}` before ({exit})"),
        None => format!("its program ended before ({exit})"),
    };
    board.cut_off(at, &running, TestOutcome::Failed, &message, reason);
}

/// The failure of a program that ended so while none of its tests failed: all
/// results may be true, and still nobody vouches for them.
pub(crate) fn nobody_failed(
    board: &Board,
    invocation: &Invocation,
    exit: &Exit,
) -> Option<Failure> {
    let when = if board.any_started() { "between tests" } else { "before its first test" };
    (!board.any_failed()).then(|| died(invocation, exit, when, board.outside()))
}

/// The worker stopped the program: what that says of its tests.
pub(crate) fn stopped(
    board: &mut Board,
    invocation: &Invocation,
    at: Duration,
    outcome: TestOutcome,
) -> Option<Failure> {
    let running = board.running();
    let late = match outcome {
        TestOutcome::TimedOut => board.overdue(invocation.test_timeout, at),
        _ => Vec::new(),
    };
    let hit = if late.is_empty() { &running } else { &late };
    let (message, reason) = match outcome {
        TestOutcome::TimedOut => ("ran out of time", "its program ran out of time before"),
        TestOutcome::Broken => ("its environment failed under it", "its environment failed before"),
        _ => ("stopped", "the run was stopped before"),
    };
    board.cut_off(at, hit, outcome, message, reason.to_owned());
    let waiting = outcome == TestOutcome::TimedOut && hit.is_empty();
    waiting.then(|| {
        let name = &invocation.program.name;
        Failure::product(
            "suite.timed_out",
            format!(
                "`{name}` ran out of time ({:?}) while no test was running",
                invocation.timeout
            ),
        )
        .detail(board.outside())
    })
}
