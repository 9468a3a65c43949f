//! Proves, in simulated federations, that what a member trained for a round that closed without it
//! counts in a later one where that was agreed, whatever made it late: slow work, a cut, a crash.

use witan_protocol::codec;
use witan_protocol::ledger;
use witan_protocol::member::Round;
use witan_protocol::wire::RoundRecord;
use witan_tests::faults::{Fault, Point};
use witan_tests::lies::Lie;
use witan_tests::link::{Cut, Direction, FAIR, Weather};
use witan_tests::model;
use witan_tests::world::{self, World};

const LATE: usize = 3;

/// Four members, of whom three suffice; a round waits four seconds.
fn world(rounds: u64, late_rounds: u64, seed: u64, weather: Weather) -> World {
    let mut document = world::document(4, rounds);
    document.council.late_rounds = late_rounds;
    document.council.round_deadline_s = 4;
    World::at_rest(document, seed, weather)
}

fn finish(world: &mut World) {
    let rounds = world.federation.document().training.rounds as usize;
    let done = |world: &World| world.honest().all(|node| node.records.len() == rounds);
    assert!(world.run(400_000, done), "seed {}: {:?}", world.seed, world.now);
    let records = world.nodes[0].records.iter().map(Vec::as_slice);
    ledger::audit(&world.federation, model::start(), records).expect("what was committed holds");
}

/// In which rounds an update of the late member counted, and which it was.
fn counted(world: &World) -> Vec<(Round, Round)> {
    let late = world.id(LATE);
    let roster = world.federation.founders();
    let records = world.nodes[0].records.iter().map(|bytes| codec::decode(bytes, 1 << 20).unwrap());
    let of = |record: RoundRecord| {
        let proposal = record.proposal;
        let is_included = proposal.included.iter().any(|part| part.member == late);
        let absent = proposal.absent.iter().find(|absent| absent.member == late);
        let stands_in = absent.and_then(|absent| absent.late_update(roster));
        let round = stands_in.map(|update| update.round);
        round.or(is_included.then_some(proposal.round)).map(|update| (proposal.round, update))
    };
    records.filter_map(of).collect()
}

#[test]
fn what_a_slow_member_trains_counts_late_and_its_training_goes_on_meanwhile() {
    let slow = |late_rounds| {
        let mut world = world(6, late_rounds, 1, FAIR);
        world.nodes[LATE].slowness = 15;
        world.begin();
        finish(&mut world);
        world
    };
    let world = slow(2);
    let counts = counted(&world);
    assert!(counts.len() >= 3, "{counts:?}");
    assert!(counts.iter().any(|(round, update)| update < round), "{counts:?}");
    let trained = &world.nodes[LATE].trained;
    assert!(trained.windows(2).all(|two| two[0] < two[1]), "each round once: {trained:?}");
    let closed = slow(0);
    assert!(counted(&closed).iter().all(|(round, update)| round == update), "nobody agreed to it");
    assert!(counted(&closed).len() < counts.len(), "{:?}", counted(&closed));
}

#[test]
fn what_a_cut_kept_back_counts_late() {
    let mut world = world(4, 1, 2, FAIR);
    let far = (0..4).map(|node| node == LATE).collect();
    let cut = Cut { far, direction: Direction::Both, noticed: true };
    world.schedule(50, Fault::Cut(cut));
    world.schedule(2_500, Fault::Reconnect);
    // Back at its work, it needs longer for the next round than that round lasts.
    world.nodes[LATE].slowness = 5;
    world.begin();
    finish(&mut world);
    let counts = counted(&world);
    assert!(counts.iter().any(|(round, update)| update < round), "{counts:?}");
}

#[test]
fn what_was_signed_before_a_crash_counts_late_or_is_replaced_by_what_is_fresh() {
    let mut late = 0;
    for seed in 0..40 {
        let mut world = world(5, 2, seed, FAIR);
        world.nodes[LATE].slowness = 4 + seed % 12;
        world.nodes[LATE].doom = Some((Point::AfterPersist, 1 + 1_500 * (seed % 4)));
        world.begin();
        finish(&mut world);
        let counts = counted(&world);
        let ascends = counts.windows(2).all(|two| two[0].1 < two[1].1);
        assert!(ascends, "seed {seed}: {counts:?}");
        late += counts.iter().filter(|(round, update)| update < round).count();
    }
    assert!(late > 10, "only {late} counted late");
}

#[test]
fn a_late_update_that_proves_useless_is_left_out_and_stops_nothing() {
    let mut world = world(5, 2, 3, FAIR);
    world.corrupt(LATE, &[Lie::UnusableUpdate]);
    world.nodes[LATE].slowness = 15;
    world.begin();
    finish(&mut world);
    assert_eq!(counted(&world), [], "a delta that is not finite");
}
