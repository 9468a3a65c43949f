//! Proves the protocol in simulated federations: agreement always, progress while a quorum lives,
//! no second vote across crashes, no second training, honest words when nothing can be decided.
//!
//! A failure names its seed; the same seed replays the same run.

#[allow(dead_code)] // Other tests use the rest.
mod world;

use witan_protocol::io::Notice;
use witan_protocol::member::{Round, View};
use world::{FAIR, ROUGH, World};

/// `WITAN_SEEDS=300` looks at more runs than the everyday number.
fn seeds(everyday: u64) -> std::ops::Range<u64> {
    0..std::env::var("WITAN_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(everyday)
}

#[test]
fn sixteen_members_finish_five_rounds_with_equal_heads() {
    let mut world = World::new(16, 5, 1, FAIR);
    assert!(world.run(60_000, World::finished), "not finished at {:?}", world.now);
    world.check();
    for node in &world.nodes {
        assert_eq!(node.committed(), (1..=5).map(|r| (Round(r), 0, 16)).collect::<Vec<_>>());
        assert_eq!(node.trained, (1..=5).map(Round).collect::<Vec<_>>(), "trained once a round");
    }
}

#[test]
fn a_dead_aggregator_is_replaced_with_nothing_retrained() {
    for seed in 0..3 {
        let mut world = World::new(16, 2, seed, FAIR);
        let first = world.nodes[0].notices.iter().find_map(|(_, notice)| match notice {
            Notice::ViewStarted { round: Round(1), view: View(0), aggregator } => Some(*aggregator),
            _ => None,
        });
        let victim = world.node_of(&first.expect("the first seat is told when the round starts"));
        let everyone_has_all = |world: &World| {
            world.nodes.iter().enumerate().all(|(n, node)| {
                let status = node.participant.as_ref().unwrap().status();
                n == victim || (status.round == Round(1) && status.updates_in == 16)
            })
        };
        assert!(world.run(10_000, everyone_has_all), "seed {seed}");
        let killed = world.now;
        world.crash(victim);
        assert!(world.run(60_000, World::finished), "seed {seed}: {:?}", world.now);
        world.check();
        let survivor = world.alive().next().unwrap();
        assert_eq!(survivor.committed()[0], (Round(1), 1, 16), "seed {seed}");
        assert_eq!(survivor.trained, [Round(1), Round(2)], "seed {seed}");
        let decided = survivor.notices.iter().find_map(|(at, notice)| {
            matches!(notice, Notice::Committed { round: Round(1), .. }).then_some(*at)
        });
        let took = decided.unwrap().0 - killed.0;
        assert!(took < 5000, "seed {seed}: {took} ms");
    }
}

#[test]
fn lossy_networks_finish() {
    for seed in seeds(25) {
        let mut world = World::new(7, 3, seed, ROUGH);
        assert!(world.run(200_000, World::finished), "seed {seed}");
        world.check();
    }
}

#[test]
fn five_of_sixteen_dead_from_the_start_finish() {
    let mut world = World::new(16, 2, 3, ROUGH);
    (3..8).for_each(|node| world.crash(node));
    assert!(world.run(200_000, World::finished), "{:?}", world.now);
    world.check();
    assert!(world.alive().all(|node| node.committed().iter().all(|(_, _, used)| *used == 11)));
}

#[test]
fn six_of_sixteen_dead_stall_say_so_and_go_on_when_one_returns() {
    let mut world = World::new(16, 1, 4, FAIR);
    (0..6).for_each(|node| world.crash(node));
    assert!(!world.run(100_000, World::finished));
    for node in world.alive() {
        let told: Vec<_> = node
            .notices
            .iter()
            .filter_map(|(_, notice)| match notice {
                Notice::Stalled { missing, needed, .. } => Some((missing.len(), *needed)),
                _ => None,
            })
            .collect();
        assert_eq!(told, [(6, 11)], "told once");
        let stalled = node.participant.as_ref().unwrap().status().stalled.unwrap();
        assert!(stalled.starts_with("10 of 11 votes; missing: member-00, member-01"), "{stalled}");
        assert!(node.records.is_empty());
    }
    world.start(2);
    assert!(world.run(300_000, World::finished), "{:?}", world.now);
    world.check();
}

#[test]
fn a_crash_between_any_two_outputs_never_votes_twice() {
    for seed in seeds(60) {
        let mut world = World::new(4, 3, seed, ROUGH);
        let victim = (seed % 4) as usize;
        world.crash_after = Some((victim, 1 + seed * 3));
        let crashed = |world: &World| world.nodes[victim].participant.is_none();
        if world.run(100_000, |world| crashed(world) || world.finished()) && crashed(&world) {
            let until = world.now.0 + 700 * (seed % 5);
            world.run(until, World::finished);
            world.start(victim);
        }
        assert!(world.run(400_000, World::finished), "seed {seed}: {:?}", world.now);
        world.check();
        let trained = &world.nodes[victim].trained;
        for round in 1..=3 {
            let times = trained.iter().filter(|r| **r == Round(round)).count();
            assert!(times <= 2, "seed {seed}: trained {times} times for round {round}");
        }
    }
}

#[test]
fn a_restarted_member_does_not_train_again_what_it_published() {
    let mut world = World::new(4, 1, 9, FAIR);
    let published = |world: &World| !world.nodes[1].wal.is_empty();
    assert!(world.run(10_000, published));
    world.crash(1);
    world.start(1);
    assert!(world.run(60_000, World::finished));
    world.check();
    assert_eq!(world.nodes[1].trained, [Round(1)]);
}

#[test]
fn a_member_that_was_away_catches_up_by_records_and_fetches_only_the_newest_adapter() {
    let mut world = World::new(7, 6, 5, FAIR);
    world.run(100, |_| false);
    world.crash(2);
    assert!(world.run(60_000, |world| world.nodes[0].records.len() >= 4));
    world.start(2);
    let caught_up = |world: &World| world.nodes[2].records.len() >= 4;
    assert!(world.run(60_000, caught_up));
    assert!(world.run(120_000, World::finished), "{:?}", world.now);
    world.check();
    assert!(world.nodes[2].trained.iter().any(|round| round.0 >= 5), "it joined again");
    let early: Vec<_> = world.nodes[2].trained.iter().filter(|r| (2..=4).contains(&r.0)).collect();
    assert!(early.is_empty(), "it trained for closed rounds: {early:?}");
}

#[test]
fn a_wrong_aggregate_never_commits_and_is_objected_to_by_name() {
    for seed in 0..4 {
        let mut world = World::new(7, 7, seed, FAIR);
        world.nodes[3].lies = true;
        let liar = world.id(3);
        let honest_done = |world: &World| {
            world.nodes.iter().enumerate().all(|(n, node)| n == 3 || node.records.len() == 7)
        };
        assert!(world.run(300_000, honest_done), "seed {seed}: {:?}", world.now);
        world.check();
        let objected = world.nodes[0].notices.iter().any(|(_, notice)| {
            matches!(notice, Notice::Objection { against, because, .. }
                if *against == liar && because.starts_with("result is"))
        });
        assert!(objected, "seed {seed}: nobody noticed");
    }
}

#[test]
fn three_members_that_trust_each_other_survive_one_death() {
    use witan_protocol::federation::FaultModel;
    let mut world =
        World::with(3, 2, 1, FAIR, |document| document.council.fault_model = FaultModel::Crash);
    world.run(300, |_| false);
    world.crash(1);
    assert!(world.run(60_000, World::finished), "{:?}", world.now);
    world.check();
}
