//! Proves that the members change the roster by vote and nobody else does: who is added, removed or
//! given a new key is so from the next round, on every node, and by the ledger alone.

use witan_protocol::codec;
use witan_protocol::federation::Member;
use witan_protocol::io::{Input, Notice};
use witan_protocol::ledger;
use witan_protocol::member::Round;
use witan_protocol::status::PhaseName;
use witan_protocol::wire::{Ballot, Change, Petition};
use witan_protocol::{Identity, Participant};
use witan_tests::link::{FAIR, ROUGH, Weather};
use witan_tests::model;
use witan_tests::world::World;

fn participant(world: &World, node: usize) -> &Participant {
    world.nodes[node].running()
}

/// A node puts a petition: its own yes is the first ballot.
fn put(world: &mut World, node: usize, change: impl Fn(&World) -> Change) -> Petition {
    let petition = participant(world, node).petition(change(world)).expect("it can be done");
    world.ask(node, Input::Cast(Ballot { petition: petition.clone(), approve: true }));
    petition
}

/// Waits until these nodes hold the petition, and has each vote yes.
fn approve(world: &mut World, petition: &Petition, nodes: &[usize]) {
    vote(world, petition, nodes, true);
}

fn vote(world: &mut World, petition: &Petition, nodes: &[usize], approve: bool) {
    for node in nodes {
        let holds = |world: &World| {
            participant(world, *node).petitions().any(|poll| poll.petition == *petition)
        };
        assert!(world.run(world.now.0 + 30_000, holds), "node {node} never heard of it");
        world.ask(*node, Input::Cast(Ballot { petition: petition.clone(), approve }));
    }
}

fn member(world: &World, node: usize) -> Member {
    let (key, name) = (world.id(node), format!("newcomer-{node:02}"));
    Member { name, key, addresses: vec!["/dns4/new/tcp/1".into()], weight: 2 }
}

fn commits(world: &mut World, count: usize) {
    let reached = |world: &World| world.nodes[0].records.len() >= count;
    assert!(world.run(world.now.0 + 120_000, reached), "stuck at {:?}", world.now);
}

#[test]
fn a_newcomer_with_the_founding_document_joins_by_the_ledger_and_takes_its_turn() {
    for (seed, weather) in [(1, FAIR), (2, ROUGH)] {
        let mut world = World::new(4, 12, seed, weather);
        let newcomer = world.join();
        world.start(newcomer);
        commits(&mut world, 2);
        assert_eq!(participant(&world, newcomer).status().phase, PhaseName::Watching);
        assert!(world.nodes[newcomer].records.is_empty(), "nobody talks to a stranger");
        let petition = put(&mut world, 0, |world| Change::Add(member(world, newcomer)));
        approve(&mut world, &petition, &[1, 2]);
        assert!(world.run(400_000, World::finished), "seed {seed}: {:?}", world.now);
        world.check();
        let chain = world.audited(newcomer);
        assert_eq!(chain.len(), 12);
        let first = chain.iter().position(|a| a.roster.size() == 5).expect("it was added");
        assert!(chain[first..].iter().all(|a| (a.roster.size(), a.roster.quorum()) == (5, 4)));
        let id = world.id(newcomer);
        let contributed = chain.iter().filter(|audited| {
            audited.record.proposal.included.iter().any(|part| part.member == id)
        });
        assert!(contributed.count() >= 3, "seed {seed}");
        let led = chain.iter().any(|audited| audited.record.proposal.aggregator == id);
        assert!(led, "seed {seed}: each of five leads once in five rounds");
        assert_eq!(chain.last().unwrap().roster.member(&id).unwrap().weight, 2);
    }
}

#[test]
fn less_than_a_quorum_changes_nothing_and_the_petition_expires() {
    let mut world = World::new(4, 20, 3, FAIR);
    let petition = put(&mut world, 0, |world| Change::Remove(world.id(3)));
    approve(&mut world, &petition, &[1]);
    vote(&mut world, &petition, &[2, 3], false);
    commits(&mut world, 3);
    let poll = participant(&world, 3).petitions().next().expect("it is still open");
    let roster = participant(&world, 3).roster();
    assert_eq!((poll.cast(roster, true).count(), poll.cast(roster, false).count()), (2, 2));
    commits(&mut world, 16);
    assert_eq!(participant(&world, 3).petitions().count(), 0, "it expired");
    assert!(world.run(400_000, World::finished));
    assert!(world.audited(0).iter().all(|audited| audited.record.proposal.decision.is_none()));
}

#[test]
fn a_removed_member_learns_it_is_talked_to_no_more_and_counts_no_more() {
    let mut world = World::new(5, 6, 4, FAIR);
    let petition = put(&mut world, 1, |world| Change::Remove(world.id(4)));
    approve(&mut world, &petition, &[0, 2, 3]);
    assert!(world.run(400_000, World::finished), "{:?}", world.now);
    world.check();
    let chain = world.audited(0);
    let first = chain.iter().position(|a| a.roster.size() == 4).expect("it was removed");
    assert_eq!(chain[first].roster.quorum(), 3);
    let status = participant(&world, 4).status();
    assert_eq!(status.phase, PhaseName::Watching);
    assert_eq!(world.nodes[4].records.len(), first, "the record that removed it is its last");
    assert!(status.connected.is_empty(), "{:?}", status.connected);
    let told = world.nodes[4].notices.iter().any(|(_, notice)| {
        matches!(notice, Notice::RosterChanged { round, what }
            if round.0 == first as u64 + 1 && what.starts_with("remove "))
    });
    assert!(told);
}

#[test]
fn a_rotated_key_works_from_the_next_round_and_the_old_one_is_refused() {
    let mut world = World::new(4, 8, 5, FAIR);
    let new = Identity::from_seed([77; 32]);
    let to = new.member();
    let petition = put(&mut world, 2, |world| Change::RotateKey { from: world.id(2), to });
    approve(&mut world, &petition, &[0, 1]);
    let rotated = |world: &World| world.nodes[2].roster.contains(&new.member());
    assert!(world.run(120_000, rotated), "{:?}", world.now);
    commits(&mut world, 3);
    let before = world.nodes[2].records.len();
    world.crash(2);
    world.nodes[2].identity = new.clone();
    world.start(2);
    assert!(world.run(400_000, World::finished), "{:?}", world.now);
    world.check();
    let chain = world.audited(2);
    let last = &chain.last().unwrap().record.proposal;
    assert!(last.included.iter().any(|part| part.member == new.member()));
    assert_eq!(chain[before].roster.name_of(&new.member()), "member-02", "the name stays");
}

#[test]
fn ballots_and_changes_survive_crashes_and_bad_weather() {
    for seed in 0..12 {
        let mut world = World::new(5, 8, seed, ROUGH);
        let petition = put(&mut world, 0, |world| Change::Remove(world.id(4)));
        approve(&mut world, &petition, &[1, 2]);
        // Everybody's memory goes at once; three ballots are on three disks.
        (0..4).for_each(|node| world.crash(node));
        world.run(world.now.0 + 50, |_| false);
        (0..4).for_each(|node| world.start(node));
        approve(&mut world, &petition, &[3]);
        assert!(world.run(600_000, World::finished), "seed {seed}: {:?}", world.now);
        world.check();
        assert_eq!(participant(&world, 0).roster().size(), 4, "seed {seed}");
    }
}

#[test]
fn what_cannot_be_done_cannot_be_put() {
    let mut world = World::new(4, 2, 6, FAIR);
    let refused = |world: &World, change: Change| {
        participant(world, 0).petition(change).unwrap_err().to_string()
    };
    let mut twin = member(&world, 1);
    twin.name = "somebody".into();
    assert!(refused(&world, Change::Add(twin)).contains("a key no other member has"));
    let mut namesake = member(&world, 0);
    namesake.key = Identity::from_seed([88; 32]).member();
    namesake.name = "member-01".into();
    assert!(refused(&world, Change::Add(namesake)).contains("a name no other member has"));
    let stranger = Identity::from_seed([99; 32]).member();
    assert!(refused(&world, Change::Remove(stranger)).contains("a member's key"));
    let taken = Change::RotateKey { from: world.id(1), to: world.id(2) };
    assert!(refused(&world, taken).contains("a key no other member has"));
    put(&mut world, 0, |world| Change::Remove(world.id(3)));
    let second = Change::Remove(world.id(2));
    assert!(refused(&world, second).contains("one open petition a member"));
}

#[test]
fn a_decision_without_a_quorum_or_twice_fails_the_audit() {
    let mut world = World::new(4, 6, 7, FAIR);
    let petition = put(&mut world, 0, |world| Change::Remove(world.id(3)));
    approve(&mut world, &petition, &[1, 2]);
    assert!(world.run(400_000, World::finished));
    let chain = world.audited(0);
    let place = chain.iter().position(|a| a.record.proposal.decision.is_some()).unwrap();
    let audit = |records: &[Vec<u8>]| {
        let slices = records.iter().map(Vec::as_slice);
        ledger::audit(&world.federation, model::start(), slices).unwrap_err()
    };
    let mut short = world.nodes[0].records.clone();
    let mut record = chain[place].record.clone();
    record.proposal.decision.as_mut().unwrap().ballots.pop();
    short[place] = codec::encode(&record);
    assert_eq!(audit(&short).what.field, "decision");
    let mut twice = world.nodes[0].records.clone();
    let mut record = chain[place + 1].record.clone();
    record.proposal.decision = chain[place].record.proposal.decision.clone();
    twice[place + 1] = codec::encode(&record);
    let bad = audit(&twice);
    assert_eq!((bad.round, bad.what.found.as_str()), (Round(place as u64 + 2), "decided before"));
}

#[test]
fn a_member_away_for_a_hundred_rounds_joins_through_changes_and_fetches_one_adapter() {
    let quick = Weather { train_ms: 100, ..FAIR };
    let mut world = World::new(5, 110, 8, quick);
    world.crash(4);
    world.nodes[4].trained.clear();
    let newcomer = world.join();
    world.start(newcomer);
    let petition = put(&mut world, 0, |world| Change::Add(member(world, newcomer)));
    approve(&mut world, &petition, &[1, 2, 3]);
    let reached = |world: &World| world.nodes[0].records.len() >= 100;
    assert!(world.run(3_000_000, reached), "{:?}", world.now);
    world.start(4);
    assert!(world.run(6_000_000, World::finished), "{:?}", world.now);
    world.check();
    let chain = world.audited(4);
    assert_eq!((chain.len(), chain[109].roster.size()), (110, 6));
    let trained = &world.nodes[4].trained;
    assert!(trained.iter().all(|round| round.0 == 1 || round.0 > 100), "{trained:?}");
    assert!(trained.iter().any(|round| round.0 > 100), "it contributes again: {trained:?}");
    let committed = chain[..100].iter().map(|audited| audited.record.proposal.result);
    let fetched = &world.nodes[4].fetched;
    let adapters: Vec<_> = committed.filter(|result| fetched.contains(result)).collect();
    assert!(adapters.len() <= 1, "fetched {} adapters of closed rounds", adapters.len());
}
