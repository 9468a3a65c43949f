//! Proves, in simulated federations, that nothing wrong is ever agreed on: every invariant of
//! `witan_tests::invariants` holds after every event, whatever the network, the machines and a
//! third of the members do.
//!
//! A failure prints its seed and the line that replays it.

use witan_protocol::io::Notice;
use witan_protocol::ledger;
use witan_protocol::member::Round;
use witan_tests::faults::Point;
use witan_tests::lies::Lie;
use witan_tests::link::{FAIR, ROUGH};
use witan_tests::model;
use witan_tests::sweep::{self, Settings};
use witan_tests::world::{self, World};

#[test]
fn every_invariant_holds_in_mixed_runs_of_seven() {
    sweep_all(0..120, Settings { members: 7, rounds: 3, is_verbose: false });
}

#[test]
fn every_invariant_holds_in_mixed_runs_of_sixteen() {
    sweep_all(0..16, Settings { members: 16, rounds: 2, is_verbose: false });
}

#[test]
fn every_invariant_holds_in_mixed_runs_of_the_smallest_council() {
    sweep_all(0..64, Settings { members: 4, rounds: 3, is_verbose: false });
}

#[test]
fn one_seed_is_one_run() {
    let settings = Settings { members: 7, rounds: 2, is_verbose: false };
    let (first, second) = (sweep::run(11, settings), sweep::run(11, settings));
    assert_eq!((first.ended_ms, first.events), (second.ended_ms, second.events));
    assert_eq!(first.coverage, second.coverage);
}

#[test]
fn a_crash_between_any_two_outputs_never_votes_twice() {
    for seed in 0..60 {
        let mut world = World::new(4, 3, seed, ROUGH);
        let victim = (seed % 4) as usize;
        let point = Point::AfterOutputs(1 + seed as u32 * 3);
        world.nodes[victim].doom = Some((point, 1 + 700 * (seed % 5)));
        assert!(world.run(400_000, World::finished), "seed {seed}: {:?}", world.now);
        let trained = &world.nodes[victim].trained;
        for round in 1..=3 {
            let times = trained.iter().filter(|r| **r == Round(round)).count();
            assert!(times <= 2, "seed {seed}: trained {times} times for round {round}");
        }
    }
}

#[test]
fn a_crash_around_the_moment_something_becomes_durable_never_votes_twice() {
    for seed in 0..60 {
        let mut world = World::new(4, 2, seed, ROUGH);
        let point = if seed % 2 == 0 { Point::BeforePersist } else { Point::AfterPersist };
        world.run(seed * 97, |_| false);
        world.nodes[(seed % 4) as usize].doom = Some((point, 1 + 500 * (seed % 3)));
        assert!(world.run(400_000, World::finished), "seed {seed}: {:?}", world.now);
    }
}

#[test]
fn a_wrong_aggregate_never_commits_and_is_objected_to_by_name() {
    for seed in 0..4 {
        let mut world = World::at_rest(world::document(7, 7), seed, FAIR);
        world.corrupt(3, &[Lie::WrongAggregate]);
        world.begin();
        let liar = world.id(3);
        let done = |world: &World| world.honest().all(|node| node.records.len() == 7);
        assert!(world.run(300_000, done), "seed {seed}: {:?}", world.now);
        let objected = world.nodes[0].notices.iter().any(|(_, notice)| {
            matches!(notice, Notice::Objection { against, because, .. }
                if *against == liar && because.starts_with("result is"))
        });
        assert!(objected, "seed {seed}: nobody noticed");
    }
}

#[test]
fn every_lie_alone_is_survived_by_as_many_liars_as_are_allowed() {
    for (seed, lie) in Lie::ALL.into_iter().enumerate() {
        let mut world = World::at_rest(world::document(7, 3), seed as u64, FAIR);
        world.corrupt(2, &[lie]);
        world.corrupt(5, &[lie]);
        world.begin();
        assert!(world.run(600_000, World::finished), "{lie}: {:?}", world.now);
    }
}

#[test]
fn an_altered_record_fails_the_audit_and_is_named() {
    let mut world = World::new(4, 2, 6, FAIR);
    assert!(world.run(60_000, World::finished), "{:?}", world.now);
    let records = &world.nodes[0].records;
    let audit = |records: &[Vec<u8>]| {
        ledger::audit(&world.federation, model::start(), records.iter().map(Vec::as_slice))
    };
    assert_eq!(audit(records).expect("what was persisted holds").len(), 2);
    for place in (0..records[1].len()).step_by(5) {
        let mut altered = records.clone();
        altered[1][place] ^= 1;
        assert_eq!(audit(&altered).unwrap_err().round, Round(2), "byte {place}");
    }
    let swapped = [records[1].clone(), records[0].clone()];
    assert_eq!(audit(&swapped).unwrap_err().round, Round(1));
}

#[track_caller]
fn sweep_all(seeds: std::ops::Range<u64>, settings: Settings) {
    let failed = seeds.map(|seed| sweep::run(seed, settings)).find(|run| run.failure.is_some());
    if let Some(run) = failed {
        panic!("{}", run.verdict(settings));
    }
}
