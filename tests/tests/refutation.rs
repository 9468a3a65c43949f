//! Proves that the record that closes a round shows a wrong aggregate of an earlier view, with both
//! digests and the signatures of members of whom one is honest, and that fewer cannot refute.

use witan_protocol::codec;
use witan_protocol::ledger;
use witan_protocol::member::View;
use witan_protocol::wire::{Refutation, RoundRecord};
use witan_tests::lies::Lie;
use witan_tests::link::FAIR;
use witan_tests::model;
use witan_tests::world::{self, World};

const ROUNDS: u64 = 7;
const LIAR: usize = 3;

/// A world of seven in which one proposes wrong aggregates, run to its end.
fn world() -> World {
    let mut world = World::at_rest(world::document(7, ROUNDS), 5, FAIR);
    world.corrupt(LIAR, &[Lie::WrongAggregate]);
    world.begin();
    let done = |world: &World| world.honest().all(|node| node.records.len() as u64 == ROUNDS);
    assert!(world.run(600_000, done), "{:?}", world.now);
    world.check();
    world
}

fn records(world: &World) -> Vec<RoundRecord> {
    let decode = |bytes: &Vec<u8>| codec::decode(bytes, 1 << 20).unwrap();
    world.nodes[0].records.iter().map(decode).collect()
}

#[test]
fn the_record_after_a_wrong_aggregate_names_who_made_it_and_both_digests() {
    let world = world();
    let (records, liar) = (records(&world), world.id(LIAR));
    let failed = records.iter().filter(|record| record.proposal.view > View(0));
    assert!(failed.clone().count() > 0, "it never led");
    for RoundRecord { proposal, .. } in failed {
        let refutation = proposal.refutation.as_ref().expect("all received it");
        let objection = &refutation.objection;
        assert_eq!((objection.against, objection.view), (liar, View(0)));
        assert_eq!(objection.expected, proposal.result.digest.to_string());
        assert_ne!(objection.found, objection.expected);
        assert_eq!(refutation.signatures.len(), world.federation.founders().honest());
    }
    assert!(
        records.iter().all(|it| it.proposal.view > View(0) || it.proposal.refutation.is_none())
    );
}

fn refutation(record: &mut RoundRecord) -> &mut Refutation {
    record.proposal.refutation.as_mut().unwrap()
}

#[test]
fn a_refutation_that_is_not_signed_by_enough_or_not_of_this_fails_the_audit() {
    let world = world();
    let records = records(&world);
    let place = records.iter().position(|it| it.proposal.refutation.is_some()).unwrap();
    let flaw = |change: fn(&mut RoundRecord)| {
        let mut record = records[place].clone();
        change(&mut record);
        let mut bytes = world.nodes[0].records.clone();
        bytes[place] = record.encode();
        let all = bytes.iter().map(Vec::as_slice);
        ledger::audit(&world.federation, model::start(), all).unwrap_err().what.field
    };
    assert_eq!(flaw(|it| refutation(it).signatures.truncate(2)), "refutation.signatures");
    assert_eq!(flaw(|it| refutation(it).signatures.swap(0, 1)), "refutation.signatures[1]");
    assert_eq!(
        flaw(|it| refutation(it).signatures[0].signature[7] ^= 1),
        "refutation.signatures[0]"
    );
    assert_eq!(
        flaw(|it| refutation(it).objection.found = "0".repeat(64)),
        "refutation.signatures[0]"
    );
    assert_eq!(flaw(|it| refutation(it).objection.found = "0".repeat(65)), "refutation");
    assert_eq!(flaw(|it| refutation(it).objection.field = "included".into()), "refutation.field");
    assert_eq!(flaw(|it| refutation(it).objection.view.0 += 1), "refutation.view");
    assert_eq!(flaw(|it| refutation(it).objection.round.0 += 1), "refutation.round");
    let other = |it: &mut RoundRecord| {
        let aggregator = it.proposal.aggregator;
        refutation(it).objection.against = aggregator;
    };
    assert_eq!(flaw(other), "refutation.against");
}
