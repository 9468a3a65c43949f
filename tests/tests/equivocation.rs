//! Proves that a member that equivocates is caught, named in a record
//! with both signatures, and leads no view from then on; and that nobody else can be accused.

use witan_protocol::codec;
use witan_protocol::digest::Digest;
use witan_protocol::io::Notice;
use witan_protocol::ledger;
use witan_protocol::member::{Round, View};
use witan_protocol::wire::{Evidence, Message, RoundRecord, Vote, VoteStep, envelope};
use witan_tests::faults::Point;
use witan_tests::lies::Lie;
use witan_tests::link::{FAIR, ROUGH};
use witan_tests::model;
use witan_tests::world::{self, World};

const ROUNDS: u64 = 10;
const LIAR: usize = 3;

fn records(world: &World) -> Vec<RoundRecord> {
    let decode = |bytes: &Vec<u8>| codec::decode(bytes, 1 << 20).unwrap();
    world.nodes[0].records.iter().map(decode).collect()
}

/// A world of seven in which one equivocates, run to its end.
fn after(lie: Lie, seed: u64) -> World {
    let mut world = World::at_rest(world::document(7, ROUNDS), seed, FAIR);
    world.corrupt(LIAR, &[lie]);
    world.begin();
    let done = |world: &World| world.honest().all(|node| node.records.len() as u64 == ROUNDS);
    assert!(world.run(600_000, done), "{lie}, seed {seed}: {:?}", world.now);
    world.check();
    world
}

#[test]
fn who_says_two_things_is_named_in_a_record_once_and_leads_no_later_view() {
    for lie in [Lie::TwoVotes, Lie::TwoUpdates, Lie::TwoProposals] {
        for seed in 0..3 {
            let world = after(lie, seed);
            let (records, liar) = (records(&world), world.id(LIAR));
            let charged: Vec<_> = records
                .iter()
                .flat_map(|r| r.proposal.evidence.iter().map(|e| (r.proposal.round, e.member)))
                .collect();
            let [(round, member)] = charged[..] else { panic!("{lie}: {charged:?}") };
            assert_eq!(member, liar, "{lie}, seed {seed}");
            for record in records.iter().filter(|record| record.proposal.round > round) {
                let proposal = &record.proposal;
                let failed = proposal.failed_views.iter().map(|failed| failed.aggregator);
                let led = failed.chain([proposal.aggregator]).any(|leader| leader == liar);
                assert!(!led, "{lie}, seed {seed}: it led in round {}", proposal.round);
            }
            let told = world.nodes[0].notices.iter().any(|(_, notice)| {
                matches!(notice, Notice::Suspended { member, because, .. }
                    if *member == liar && because.starts_with("two "))
            });
            assert!(told, "{lie}, seed {seed}");
        }
    }
}

#[test]
fn honest_members_that_crash_and_return_are_never_accused() {
    for seed in 0..40 {
        let mut world = World::new(4, 3, seed, ROUGH);
        let victim = (seed % 4) as usize;
        world.nodes[victim].doom = Some((Point::AfterOutputs(1 + seed as u32 * 5), 1));
        assert!(world.run(400_000, World::finished), "seed {seed}: {:?}", world.now);
        assert!(records(&world).iter().all(|r| r.proposal.evidence.is_empty()), "seed {seed}");
    }
}

#[test]
fn a_proof_holds_only_for_two_different_things_of_one_member_in_one_place() {
    let world = World::new(4, 1, 1, FAIR);
    let (roster, id) = (world.federation.founders(), world.federation.id());
    let vote = |node: usize, step: VoteStep, view: u32, value: u8| {
        let value = Some(Digest([value; 32]));
        let vote = Message::Vote(Vote { round: Round(1), view: View(view), step, value });
        envelope::seal(&world.nodes[node].identity, id, &vote)
    };
    let proof = |one: Vec<u8>, other: Vec<u8>| {
        let (first, second) = if one < other { (one, other) } else { (other, one) };
        Evidence { member: world.id(1), round: Round(1), first, second }
    };
    let one = vote(1, VoteStep::Prevote, 0, 1);
    let good = proof(one.clone(), vote(1, VoteStep::Prevote, 0, 2));
    assert_eq!(good.check(roster).as_deref(), Ok("two prevotes in view 0 of round 1"));
    for (bad, field) in [
        (proof(one.clone(), vote(1, VoteStep::Prevote, 1, 2)), "first, second"),
        (proof(one.clone(), vote(1, VoteStep::Precommit, 0, 2)), "first, second"),
        (proof(one.clone(), one.clone()), "first, second"),
        (Evidence { round: Round(2), ..good.clone() }, "round"),
        (
            Evidence { first: good.second.clone(), second: good.first.clone(), ..good.clone() },
            "first, second",
        ),
    ] {
        assert_eq!(bad.check(roster).unwrap_err().field, field);
    }
    let other = proof(one, vote(2, VoteStep::Prevote, 0, 2)).check(roster).unwrap_err();
    assert!(["first", "second"].contains(&other.field.as_str()), "{other}");
    assert!(codec::encode(&good).len() < 700, "{}", codec::encode(&good).len());
}

#[test]
fn a_record_with_a_forged_proof_fails_the_audit() {
    let world = after(Lie::TwoVotes, 1);
    let mut bytes = world.nodes[0].records.clone();
    let place = records(&world).iter().position(|r| !r.proposal.evidence.is_empty()).unwrap();
    let mut record = records(&world).swap_remove(place);
    record.proposal.evidence[0].member = world.id(0);
    bytes[place] = record.encode();
    let all = bytes.iter().map(Vec::as_slice);
    let bad = ledger::audit(&world.federation, model::start(), all).unwrap_err();
    assert_eq!(bad.what.field, "evidence[0].first", "{bad}");
}
