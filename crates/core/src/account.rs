//! Where the time of a run went, and how fast it could have been.
//!
//! Pure arithmetic on what was measured: times and costs of nodes come in,
//! the step table, the bound and the efficiency go out. It reads no events and
//! formats nothing; `seatrial-report` does both.
//!
//! **The table.** Every instant from the start of the run to its verdict
//! belongs to exactly one step. The instants are found by walking back from
//! the verdict: from the node that decided it to the node whose end let that
//! one start, and so on. What nobody on that walk was running is
//! *unattributed*; only the time until the plan was made is known to be
//! [`Step::Source`]. So rows + unattributed = wall, whatever overlapped.
//!
//! **The bound.** The wall cannot be less than the largest of three: the
//! critical chain, the core-seconds over the cores, the memory-seconds over
//! the memory. Nodes that a perfect pool would have had ready count nothing in
//! all three, so that the efficiency of a run is never flattered by a slow
//! start of an environment.

use crate::step::Step;

/// A node of the plan, as it went.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeTime {
    /// The row that it counts for.
    pub step: Step,
    /// Places of the nodes that it needs. Places that do not exist, and nodes
    /// that need themselves over others, are ignored.
    pub needs: Vec<usize>,
    /// The node whose end let this one start.
    pub after: Option<usize>,
    /// When it started, in microseconds; `None`: it never did.
    pub start_us: Option<u64>,
    /// When it ended; `None`: it was still running, or never started.
    pub end_us: Option<u64>,
    /// CPU time it used, in microseconds of one core.
    pub core_us: u64,
    /// Bytes of memory that it held at most; 0 where that is not known.
    pub memory_peak: u64,
    /// Whether the verdict waits for it.
    pub decides: bool,
    /// Whether a perfect pool would have done it ahead of time.
    pub poolable: bool,
    /// Its fastest recorded duration in seconds, where there is a record.
    pub fastest_s: Option<f64>,
    /// Parts of it with a step of their own: step, start and end. What of the
    /// wall belongs to this node belongs to their rows while they last; where
    /// two overlap, to the one that began first.
    pub spans: Vec<(Step, u64, u64)>,
}

/// A run, as it went.
#[derive(Debug, Clone, PartialEq)]
pub struct RunTimes {
    /// Its nodes; they name each other by their place here.
    pub nodes: Vec<NodeTime>,
    /// When the plan was made, in microseconds after the start.
    pub planned_us: u64,
    /// When the verdict was reached: the wall.
    pub verdict_us: u64,
    /// The node whose end decided the verdict. `None` (somebody stopped the
    /// run): the walk begins at the node that the verdict waited for last.
    pub after: Option<usize>,
    /// Cores that the run could use; 0 is taken as 1.
    pub cores: u32,
    /// Bytes of memory that the run could use; 0 where that is not known.
    pub memory: u64,
}

/// One row of the step table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// The step.
    pub step: Step,
    /// Microseconds of the wall that belong to it.
    pub wall_us: u64,
    /// CPU time of its nodes, in microseconds of one core, including what they
    /// used after the verdict.
    pub core_us: u64,
    /// Sum of its spans in microseconds. Spans overlap, so this may exceed the
    /// wall.
    pub span_us: u64,
}

/// A piece of the wall, and what it was spent on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// Microseconds after the start of the run.
    pub start_us: u64,
    /// Microseconds after the start of the run.
    pub end_us: u64,
    /// The node that ran; `None`: no node did.
    pub node: Option<usize>,
    /// The row; `None`: unattributed.
    pub step: Option<Step>,
}

/// Which of the three bounds is the largest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BoundBy {
    /// The critical chain of nodes that need each other.
    Chain,
    /// The core-seconds, over the cores.
    Cores,
    /// The memory-seconds, over the memory.
    Memory,
}

/// The least wall that this work could have had on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bound {
    /// The bound: the largest of the three, in microseconds.
    pub us: u64,
    /// Which of the three it is.
    pub by: BoundBy,
    /// The critical chain, each node at its fastest, in microseconds.
    pub chain_us: u64,
    /// The nodes of that chain in order, without those that count nothing.
    pub chain: Vec<usize>,
    /// Core-seconds over cores, in microseconds.
    pub cores_us: u64,
    /// Memory-seconds over memory, in microseconds; `None`: not known.
    pub memory_us: Option<u64>,
}

/// Where the time of a run went, and how fast it could have been.
#[derive(Debug, Clone, PartialEq)]
pub struct Account {
    /// A row for each step, in the order of [`Step::ALL`].
    pub rows: Vec<Row>,
    /// Microseconds of the wall that belong to no step.
    pub unattributed_us: u64,
    /// Microseconds from the start of the run to its verdict.
    pub wall_us: u64,
    /// The pieces of the wall, first to last, without gap or overlap.
    pub pieces: Vec<Piece>,
    /// The least wall that was possible.
    pub bound: Bound,
    /// CPU time of all nodes, in microseconds of one core.
    pub core_us: u64,
}

impl Account {
    /// Accounts for a run.
    #[must_use]
    pub fn of(run: &RunTimes) -> Self {
        let counted = counted(&run.nodes);
        let pieces = walk(run, &counted);
        let mut rows = Step::ALL.map(|step| Row { step, wall_us: 0, core_us: 0, span_us: 0 });
        let mut unattributed_us = 0;
        for piece in &pieces {
            let us = piece.end_us - piece.start_us;
            match piece.step {
                Some(step) => row(&mut rows, step).wall_us += us,
                None => unattributed_us += us,
            }
        }
        sum_spans(run, &mut rows);
        let core_us = rows.iter().fold(0, |sum: u64, row| sum.saturating_add(row.core_us));
        Self {
            rows: rows.to_vec(),
            unattributed_us,
            wall_us: run.verdict_us,
            pieces,
            bound: bound(run, &counted),
            core_us,
        }
    }

    /// The bound over the wall: 1 when the run could not have been faster.
    /// `None` when there is no wall to speak of.
    #[must_use]
    pub fn efficiency(&self) -> Option<f64> {
        (self.wall_us > 0).then(|| self.bound.us as f64 / self.wall_us as f64)
    }
}

fn row(rows: &mut [Row; 8], step: Step) -> &mut Row {
    &mut rows[Step::ALL.iter().position(|s| *s == step).expect("ALL holds every step")]
}

/// Which nodes the verdict waits for: those that decide, and all that those
/// need.
fn counted(nodes: &[NodeTime]) -> Vec<bool> {
    let mut counted = vec![false; nodes.len()];
    let mut open: Vec<usize> = (0..nodes.len()).filter(|i| nodes[*i].decides).collect();
    while let Some(i) = open.pop() {
        if !counted[i] {
            counted[i] = true;
            open.extend(nodes[i].needs.iter().filter(|n| **n < nodes.len()));
        }
    }
    counted
}

/// Start and end of what a node did before the verdict; `None`: nothing.
fn before_verdict(node: &NodeTime, verdict_us: u64) -> Option<(u64, u64)> {
    let start = node.start_us.filter(|start| *start <= verdict_us)?;
    Some((start, node.end_us.unwrap_or(verdict_us).clamp(start, verdict_us)))
}

/// Walks back from the verdict and returns the pieces, first to last.
fn walk(run: &RunTimes, counted: &[bool]) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut now = run.verdict_us;
    let mut next = run.after.or_else(|| last_waited_for(run, counted));
    let mut seen = vec![false; run.nodes.len()];
    // A recording may claim a cycle of nodes without duration: each node once.
    while let Some(i) = next.filter(|i| *i < seen.len() && !std::mem::replace(&mut seen[*i], true))
    {
        let node = &run.nodes[i];
        let Some((start, end)) = before_verdict(node, run.verdict_us) else {
            break;
        };
        let end = end.min(now);
        gap(&mut pieces, end, now, run.planned_us);
        let start = start.min(end);
        parts(&mut pieces, start, end, i, node);
        now = start;
        next = node.after;
    }
    gap(&mut pieces, 0, now, run.planned_us);
    pieces.reverse();
    pieces
}

/// Of the nodes that the verdict waits for: the one that ran last before it,
/// and of several the one that ran longest.
fn last_waited_for(run: &RunTimes, counted: &[bool]) -> Option<usize> {
    (0..run.nodes.len())
        .filter(|i| counted[*i])
        .filter_map(|i| before_verdict(&run.nodes[i], run.verdict_us).map(|time| (i, time)))
        .max_by_key(|(_, (start, end))| (*end, std::cmp::Reverse(*start)))
        .map(|(i, _)| i)
}

/// Adds time in which no node of the walk ran. What lies before the plan was
/// spent on reading the source, since nothing else can run then.
fn gap(pieces: &mut Vec<Piece>, start: u64, end: u64, planned_us: u64) {
    let split = planned_us.clamp(start, end);
    piece(pieces, split, end, None, None);
    piece(pieces, start, split, None, Some(Step::Source));
}

/// Adds time of a node, split where a part of it has another row; last part
/// first, as the walk goes.
fn parts(pieces: &mut Vec<Piece>, start: u64, end: u64, i: usize, node: &NodeTime) {
    let mut others: Vec<_> = node.spans.iter().filter(|(step, ..)| *step != node.step).collect();
    others.sort_unstable_by_key(|(_, from, _)| *from);
    let mut parts = Vec::new();
    let mut now = start;
    for (step, from, to) in others {
        let from = (*from).clamp(now, end);
        let to = (*to).clamp(from, end);
        if from < to {
            piece(&mut parts, now, from, Some(i), Some(node.step));
            piece(&mut parts, from, to, Some(i), Some(*step));
            now = to;
        }
    }
    piece(&mut parts, now, end, Some(i), Some(node.step));
    pieces.extend(parts.into_iter().rev());
}

fn piece(
    pieces: &mut Vec<Piece>,
    start_us: u64,
    end_us: u64,
    node: Option<usize>,
    step: Option<Step>,
) {
    if start_us < end_us {
        pieces.push(Piece { start_us, end_us, node, step });
    }
}

/// Fills in the costs and the sums of spans. A node's own step gets what its
/// named spans leave.
fn sum_spans(run: &RunTimes, rows: &mut [Row; 8]) {
    let source = row(rows, Step::Source);
    source.span_us = source.span_us.saturating_add(run.planned_us.min(run.verdict_us));
    for node in &run.nodes {
        let own = row(rows, node.step);
        own.core_us = own.core_us.saturating_add(node.core_us);
        let Some(start) = node.start_us else { continue };
        let end = node.end_us.unwrap_or(run.verdict_us).max(start);
        let mut spans: Vec<_> = node
            .spans
            .iter()
            .map(|(step, from, to)| (*step, (*from).clamp(start, end), (*to).clamp(start, end)))
            .filter(|(_, from, to)| from < to)
            .collect();
        spans.sort_unstable_by_key(|(_, from, _)| *from);
        let mut covered_us = 0;
        let mut covered_until = start;
        for (step, from, to) in spans {
            let row = row(rows, step);
            row.span_us = row.span_us.saturating_add(to - from);
            covered_us += to.saturating_sub(from.max(covered_until));
            covered_until = covered_until.max(to);
        }
        let own = row(rows, node.step);
        own.span_us = own.span_us.saturating_add(end - start - covered_us);
    }
}

fn bound(run: &RunTimes, counted: &[bool]) -> Bound {
    let (chain_us, chain) = critical_chain(run, counted);
    let mut core_us: u128 = 0;
    let mut memory_us: u128 = 0;
    for node in run.nodes.iter().zip(counted).filter_map(|(n, c)| (*c && !n.poolable).then_some(n))
    {
        let Some((start, end)) = before_verdict(node, run.verdict_us) else {
            continue;
        };
        let own = u128::from(end - start);
        let whole = u128::from(node.end_us.unwrap_or(run.verdict_us).saturating_sub(start));
        // What a node used after the verdict did not delay it: a share by time.
        let used = u128::from(node.core_us);
        core_us += (used * own).checked_div(whole).unwrap_or(used);
        memory_us = memory_us.saturating_add(u128::from(node.memory_peak) * own);
    }
    let fit = |us: u128| u64::try_from(us).unwrap_or(u64::MAX);
    let cores_us = fit(core_us / u128::from(run.cores.max(1)));
    let memory_us = (run.memory > 0).then(|| fit(memory_us / u128::from(run.memory)));
    let mut largest = (chain_us, BoundBy::Chain);
    for (us, by) in [(cores_us, BoundBy::Cores), (memory_us.unwrap_or(0), BoundBy::Memory)] {
        if us > largest.0 {
            largest = (us, by);
        }
    }
    Bound { us: largest.0, by: largest.1, chain_us, chain, cores_us, memory_us }
}

/// What a node counts in the critical chain: its fastest duration, this one
/// included, so that a hit is not priced as if it had been made.
fn fastest_us(node: &NodeTime, verdict_us: u64) -> u64 {
    if node.poolable {
        return 0;
    }
    let Some((start, end)) = before_verdict(node, verdict_us) else {
        return 0;
    };
    let recorded = node.fastest_s.filter(|s| s.is_finite() && *s >= 0.0);
    recorded.map_or(u64::MAX, |s| (s * 1e6).round() as u64).min(end - start)
}

/// The longest way through `needs` that ends at a node the verdict waits for,
/// and the nodes on it that count something.
fn critical_chain(run: &RunTimes, counted: &[bool]) -> (u64, Vec<usize>) {
    let nodes = &run.nodes;
    let mut missing: Vec<usize> = vec![0; nodes.len()];
    let mut needed_by: Vec<Vec<usize>> = vec![Vec::new(); nodes.len()];
    for (i, node) in nodes.iter().enumerate() {
        for need in node.needs.iter().filter(|n| **n < nodes.len()) {
            missing[i] += 1;
            needed_by[*need].push(i);
        }
    }
    // In the order of needs; nodes of a cycle never become ready and so never
    // count.
    let mut best: Vec<(u64, Option<usize>)> = vec![(0, None); nodes.len()];
    let mut ready: Vec<usize> = (0..nodes.len()).filter(|i| missing[*i] == 0).collect();
    let mut last: Option<(u64, usize)> = None;
    while let Some(i) = ready.pop() {
        best[i].0 = best[i].0.saturating_add(fastest_us(&nodes[i], run.verdict_us));
        let until = best[i].0;
        if counted[i] && last.is_none_or(|(us, _)| until > us) {
            last = Some((until, i));
        }
        for later in &needed_by[i] {
            if until > best[*later].0 {
                best[*later] = (until, Some(i));
            }
            missing[*later] -= 1;
            if missing[*later] == 0 {
                ready.push(*later);
            }
        }
    }
    let Some((chain_us, end)) = last else {
        return (0, Vec::new());
    };
    let mut chain: Vec<usize> = std::iter::successors(Some(end), |i| best[*i].1).collect();
    chain.retain(|i| fastest_us(&nodes[*i], run.verdict_us) > 0);
    chain.reverse();
    (chain_us, chain)
}

#[cfg(test)]
mod tests;
