//! Proves, in simulated federations, that things go on: rounds close while a quorum lives, nothing
//! is trained again, who was away comes back, and who cannot decide says so.

use witan_protocol::codec;
use witan_protocol::federation::FaultModel;
use witan_protocol::io::{Notice, Time};
use witan_protocol::member::{Round, View};
use witan_protocol::wire::RoundRecord;
use witan_tests::link::{Cut, Direction, FAIR, ROUGH};
use witan_tests::world::{self, World};

#[test]
fn sixteen_members_finish_five_rounds_with_equal_heads() {
    let mut world = World::new(16, 5, 1, FAIR);
    assert!(world.run(60_000, World::finished), "not finished at {:?}", world.now);
    let head = world.nodes[0].running().status().head;
    for node in &world.nodes {
        assert_eq!(node.running().status().head, head);
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
                let status = node.running().status();
                n == victim || (status.round == Round(1) && status.updates_in == 16)
            })
        };
        assert!(world.run(10_000, everyone_has_all), "seed {seed}");
        let killed = world.now;
        world.crash(victim);
        assert!(world.run(60_000, World::finished), "seed {seed}: {:?}", world.now);
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
    for seed in 0..25 {
        let mut world = World::new(7, 3, seed, ROUGH);
        assert!(world.run(200_000, World::finished), "seed {seed}");
    }
}

#[test]
fn five_of_sixteen_dead_from_the_start_finish() {
    let mut world = World::new(16, 2, 3, ROUGH);
    (3..8).for_each(|node| world.crash(node));
    assert!(world.run(200_000, World::finished), "{:?}", world.now);
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
        let stalled = node.running().status().stalled.unwrap();
        assert!(stalled.starts_with("10 of 11 votes; missing: member-00, member-01"), "{stalled}");
        assert!(node.records.is_empty());
    }
    world.start(2);
    assert!(world.run(300_000, World::finished), "{:?}", world.now);
}

#[test]
fn a_federation_cut_in_half_decides_nothing_and_goes_on_when_it_is_whole() {
    for direction in [Direction::Both, Direction::Towards, Direction::From] {
        let mut world = World::new(16, 2, 5, FAIR);
        let far = (0..16).map(|node| node % 2 == 0).collect();
        world.cut(Cut { far, direction, noticed: false });
        world.run(30_000, |_| false);
        if direction == Direction::Both {
            assert!(world.nodes.iter().all(|node| node.records.is_empty()), "half decided");
        }
        world.heal();
        assert!(world.run(300_000, World::finished), "{direction:?}: {:?}", world.now);
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
    assert!(world.nodes[2].trained.iter().any(|round| round.0 >= 5), "it joined again");
    let early: Vec<_> = world.nodes[2].trained.iter().filter(|r| (2..=4).contains(&r.0)).collect();
    assert!(early.is_empty(), "it trained for closed rounds: {early:?}");
    for bytes in world.nodes[0].records.iter().take(3) {
        let record: RoundRecord = codec::decode(bytes, 1 << 20).expect("a stored record");
        let result = record.proposal.result;
        assert!(!world.nodes[2].fetched.contains(&result), "fetched an adapter nobody needs");
    }
}

#[test]
fn the_vote_that_completes_a_quorum_reaches_the_others() {
    for seed in 0..20 {
        let mut world = World::new(4, 2, seed, FAIR);
        world.crash(3);
        assert!(world.run(60_000, World::finished), "seed {seed}: {:?}", world.now);
        for closed in [Round(1), Round(2)] {
            let committed = |(at, notice): &(Time, Notice)| {
                matches!(notice, Notice::Committed { round, .. } if *round == closed).then_some(*at)
            };
            let notices = world.alive().flat_map(|node| &node.notices);
            let at: Vec<_> = notices.filter_map(committed).collect();
            let (first, last) = (at.iter().min().unwrap(), at.iter().max().unwrap());
            // Who missed that vote would have to wait until holdings are told again.
            let waited = last.0 - first.0;
            assert!(waited <= FAIR.delay_ms, "seed {seed}: {waited} ms in round {closed}");
        }
    }
}

#[test]
fn three_members_that_trust_each_other_survive_one_death() {
    let mut document = world::document(3, 2);
    document.council.fault_model = FaultModel::Crash;
    let mut world = World::with(document, 1, FAIR);
    world.run(300, |_| false);
    world.crash(1);
    assert!(world.run(60_000, World::finished), "{:?}", world.now);
}
