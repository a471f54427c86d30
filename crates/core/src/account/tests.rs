use proptest::prelude::*;

use super::*;

fn node(step: Step, needs: &[usize], start_us: u64, end_us: u64) -> NodeTime {
    NodeTime {
        step,
        needs: needs.to_vec(),
        after: needs.last().copied(),
        start_us: Some(start_us),
        end_us: Some(end_us),
        core_us: 0,
        memory_peak: 0,
        decides: true,
        poolable: false,
        fastest_s: None,
        spans: Vec::new(),
    }
}

fn run(nodes: Vec<NodeTime>, planned_us: u64, verdict_us: u64) -> RunTimes {
    let after = nodes.len().checked_sub(1);
    RunTimes { nodes, planned_us, verdict_us, after, cores: 2, memory: 0 }
}

fn wall_of(account: &Account, step: Step) -> u64 {
    account.rows.iter().find(|row| row.step == step).map_or(0, |row| row.wall_us)
}

#[test]
fn overlapping_work_belongs_to_what_was_waited_for() {
    // A build and a boot side by side; the build ends later and is what the
    // install waited for, so the boot gets nothing of the wall.
    let mut install = node(Step::TestSetup, &[0, 1], 105, 130);
    install.after = Some(0);
    let account = Account::of(&run(
        vec![
            node(Step::ImageBuild, &[], 12, 100),
            node(Step::ClusterSetup, &[], 11, 60),
            install,
            node(Step::TestExecution, &[2], 130, 200),
        ],
        10,
        204,
    ));
    assert_eq!(wall_of(&account, Step::Source), 10);
    assert_eq!(wall_of(&account, Step::ImageBuild), 88);
    assert_eq!(wall_of(&account, Step::ClusterSetup), 0);
    assert_eq!(wall_of(&account, Step::TestSetup), 25);
    assert_eq!(wall_of(&account, Step::TestExecution), 70);
    // 10..12 before the build, 100..105 before the install, 200..204 before
    // the verdict.
    assert_eq!(account.unattributed_us, 2 + 5 + 4);
    let boot = account.rows.iter().find(|row| row.step == Step::ClusterSetup);
    assert_eq!(boot.map(|row| row.span_us), Some(49), "its span is still reported");
    assert_eq!((account.bound.us, account.bound.by), (88 + 25 + 70, BoundBy::Chain));
    assert_eq!(account.bound.chain, [0, 2, 3]);
}

#[test]
fn a_pool_would_have_had_the_environment() {
    let mut boot = node(Step::ClusterSetup, &[], 0, 500);
    boot.poolable = true;
    boot.core_us = 10_000;
    let account = Account::of(&run(vec![boot, node(Step::TestExecution, &[0], 500, 600)], 0, 600));
    assert_eq!(account.bound.us, 100);
    assert_eq!(account.bound.cores_us, 0);
    assert_eq!(account.bound.chain, [1]);
    assert_eq!(account.core_us, 10_000, "its cost is a cost all the same");
    assert_eq!(account.efficiency(), Some(1.0 / 6.0));
}

#[test]
fn the_largest_of_the_three_bounds() {
    let mut work = node(Step::ImageBuild, &[], 0, 100);
    work.fastest_s = Some(0.000_04);
    let bound_by =
        |work: NodeTime, memory| Account::of(&RunTimes { memory, ..run(vec![work], 0, 100) }).bound;
    let chain = bound_by(work.clone(), 0);
    assert_eq!((chain.us, chain.by, chain.memory_us), (40, BoundBy::Chain, None));
    work.core_us = 120;
    let cores = bound_by(work.clone(), 0);
    assert_eq!((cores.us, cores.by), (60, BoundBy::Cores));
    work.memory_peak = 9;
    let memory = bound_by(work, 10);
    assert_eq!((memory.us, memory.by, memory.memory_us), (90, BoundBy::Memory, Some(90)));
}

#[test]
fn what_comes_after_the_verdict_delays_nothing() {
    let mut drop = node(Step::PostTest, &[0], 100, 900);
    drop.decides = false;
    drop.core_us = 5_000;
    let account = Account::of(&RunTimes {
        after: Some(0),
        ..run(vec![node(Step::TestExecution, &[], 0, 100), drop], 0, 100)
    });
    assert_eq!((account.wall_us, account.unattributed_us), (100, 0));
    assert_eq!((account.bound.us, account.bound.by), (100, BoundBy::Chain));
    assert_eq!(account.core_us, 5_000);
}

#[test]
fn a_stopped_run_was_waiting_for_what_ran_longest() {
    let mut build = node(Step::ImageBuild, &[], 10, 0);
    build.end_us = None;
    let mut boot = node(Step::ClusterSetup, &[], 30, 0);
    boot.end_us = None;
    let account = Account::of(&RunTimes { after: None, ..run(vec![build, boot], 10, 80) });
    assert_eq!(wall_of(&account, Step::ImageBuild), 70);
    assert_eq!(account.unattributed_us, 0);
}

#[test]
fn named_spans_have_rows_of_their_own() {
    let mut install = node(Step::TestSetup, &[], 0, 100);
    install.spans = vec![(Step::ImagePull, 10, 40), (Step::ImagePull, 20, 50)];
    let account = Account::of(&run(vec![install], 0, 100));
    let span = |step| account.rows.iter().find(|row| row.step == step).map(|row| row.span_us);
    assert_eq!(span(Step::ImagePull), Some(60));
    assert_eq!(span(Step::TestSetup), Some(60), "what the pulls leave of it");
    assert_eq!(wall_of(&account, Step::TestSetup), 60);
    assert_eq!(wall_of(&account, Step::ImagePull), 40);
    let pieces: Vec<_> = account.pieces.iter().map(|p| (p.start_us, p.end_us, p.step)).collect();
    let (setup, pull) = (Some(Step::TestSetup), Some(Step::ImagePull));
    assert_eq!(pieces, [(0, 10, setup), (10, 40, pull), (40, 50, pull), (50, 100, setup)]);
}

#[test]
fn cycles_and_places_that_do_not_exist_end() {
    let mut a = node(Step::ImageBuild, &[1, 7], 0, 0);
    a.after = Some(1);
    let mut b = node(Step::TestCompile, &[0], 0, 0);
    b.after = Some(0);
    let account = Account::of(&run(vec![a.clone(), b], 0, 50));
    assert_eq!((account.unattributed_us, account.bound.us), (50, 0));
    a.after = Some(9);
    assert_eq!(
        Account::of(&RunTimes { after: Some(5), ..run(vec![a], 3, 50) }).unattributed_us,
        47
    );
}

#[test]
fn a_run_without_time_has_no_efficiency() {
    let account = Account::of(&run(Vec::new(), 0, 0));
    assert_eq!((account.efficiency(), account.bound.us, account.pieces.len()), (None, 0, 0));
}

/// The longest way by trying every way.
fn brute_force(run: &RunTimes) -> u64 {
    fn longest(run: &RunTimes, i: usize) -> u64 {
        let node = &run.nodes[i];
        let own = match (node.start_us, node.end_us) {
            (Some(start), end) if start <= run.verdict_us && !node.poolable => {
                let end = end.unwrap_or(run.verdict_us).clamp(start, run.verdict_us);
                let record = node.fastest_s.map_or(u64::MAX, |s| (s * 1e6).round() as u64);
                record.min(end - start)
            }
            _ => 0,
        };
        own + node.needs.iter().map(|need| longest(run, *need)).max().unwrap_or(0)
    }
    (0..run.nodes.len())
        .filter(|i| run.nodes[*i].decides)
        .map(|i| longest(run, i))
        .max()
        .unwrap_or(0)
}

prop_compose! {
    /// Any times at all: nodes that overlap, wait for later ones, never end.
    fn any_node(place: usize, count: usize)(
        step in 0..Step::ALL.len(),
        needs in prop::collection::vec(0..count, 0..4),
        after in prop::option::of(0..count + 1),
        start_us in prop::option::of(0..2_000_u64),
        duration_us in prop::option::of(0..1_000_u64),
        (core_us, memory_peak) in (0..3_000_u64, 0..50_u64),
        decides in any::<bool>(),
        poolable in any::<bool>(),
        fastest_us in prop::option::of(0..1_000_u32),
        spans in prop::collection::vec((0..Step::ALL.len(), 0..3_000_u64, 0..3_000_u64), 0..3),
    ) -> NodeTime {
        NodeTime {
            step: Step::ALL[step],
            needs: needs.into_iter().filter(|need| *need < place).collect(),
            after,
            start_us,
            end_us: start_us.zip(duration_us).map(|(start, duration)| start + duration),
            core_us,
            memory_peak,
            decides,
            poolable,
            fastest_s: fastest_us.map(|us| f64::from(us) / 1e6),
            spans: spans.into_iter().map(|(step, from, to)| (Step::ALL[step], from, to)).collect(),
        }
    }
}

fn any_run() -> impl Strategy<Value = RunTimes> {
    (1..9_usize).prop_flat_map(|count| {
        let nodes: Vec<_> = (0..count).map(|place| any_node(place, count)).collect();
        let after = prop::option::of(0..count + 1);
        (nodes, 0..800_u64, 0..2_500_u64, after, 1..9_u32, 0..200_u64).prop_map(
            |(nodes, planned_us, verdict_us, after, cores, memory)| RunTimes {
                nodes,
                planned_us,
                verdict_us,
                after,
                cores,
                memory,
            },
        )
    })
}

/// Runs as a dispatcher makes them: a node starts when the last that it needs
/// has ended, and the verdict comes when the last has.
fn orderly_run() -> impl Strategy<Value = RunTimes> {
    any_run().prop_map(|mut run| {
        for i in 0..run.nodes.len() {
            let ends = |need: &usize| run.nodes[*need].end_us.unwrap_or(0);
            let after = run.nodes[i].needs.iter().copied().max_by_key(ends);
            let free = after.map_or(run.planned_us, |need| ends(&need));
            let node = &mut run.nodes[i];
            let duration = node.start_us.unwrap_or(7) % 400;
            node.after = after;
            node.start_us = Some(free + duration % 5);
            node.end_us = Some(free + duration % 5 + duration);
            node.decides = true;
        }
        run.after = (0..run.nodes.len()).max_by_key(|i| run.nodes[*i].end_us);
        run.verdict_us = run.nodes.iter().filter_map(|node| node.end_us).max().unwrap_or(0) + 1;
        run
    })
}

proptest! {
    #[test]
    fn rows_and_unattributed_are_the_wall(run in any_run()) {
        let account = Account::of(&run);
        let rows: u64 = account.rows.iter().map(|row| row.wall_us).sum();
        prop_assert_eq!(rows + account.unattributed_us, run.verdict_us);
    }

    #[test]
    fn every_instant_belongs_to_exactly_one_piece(run in any_run()) {
        let account = Account::of(&run);
        let mut now = 0;
        for piece in &account.pieces {
            prop_assert_eq!(piece.start_us, now);
            prop_assert!(piece.end_us > piece.start_us);
            now = piece.end_us;
            if let Some(node) = piece.node.map(|i| &run.nodes[i]) {
                let spans = node.spans.iter().map(|(step, ..)| *step);
                prop_assert!(spans.chain([node.step]).any(|step| piece.step == Some(step)));
                prop_assert!(node.start_us.is_some_and(|start| start <= piece.start_us));
                prop_assert!(node.end_us.is_none_or(|end| piece.end_us <= end));
            }
        }
        prop_assert_eq!(now, run.verdict_us);
    }

    #[test]
    fn the_chain_is_the_longest_way(run in any_run()) {
        let bound = Account::of(&run).bound;
        prop_assert_eq!(bound.chain_us, brute_force(&run));
        for pair in bound.chain.windows(2) {
            prop_assert!(pair[0] < pair[1], "in the order of needs");
        }
        prop_assert_eq!(bound.us, bound.chain_us.max(bound.cores_us).max(bound.memory_us.unwrap_or(0)));
    }

    #[test]
    fn an_orderly_run_is_never_faster_than_its_chain(run in orderly_run()) {
        let account = Account::of(&run);
        prop_assert!(account.bound.chain_us <= account.wall_us);
    }
}
