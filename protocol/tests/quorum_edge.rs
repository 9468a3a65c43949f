//! Proves two things at the edge of a quorum: whoever completes it still says so to the others, and
//! of a row of records that arrive at once only the newest adapter is fetched.

#[allow(dead_code)]
#[path = "simulator/world.rs"]
mod world;

use witan_protocol::codec;
use witan_protocol::io::{Kind, Notice};
use witan_protocol::record::RoundRecord;
use world::{FAIR, World};

#[test]
fn the_vote_that_completes_a_quorum_reaches_the_others() {
    for seed in 0..20 {
        let mut world = World::new(4, 2, seed, FAIR);
        world.crash(3);
        assert!(world.run(60_000, World::finished), "seed {seed}: {:?}", world.now);
        for node in world.alive() {
            let told = node
                .notices
                .iter()
                .any(|(_, notice)| matches!(notice, Notice::Accepted { kind: Kind::Record, .. }));
            assert!(!told, "seed {seed}: a member missed a vote and needed the record");
        }
    }
}

#[test]
fn only_the_newest_adapter_is_fetched_when_catching_up() {
    let mut world = World::new(7, 6, 5, FAIR);
    world.run(100, |_| false);
    world.crash(2);
    assert!(world.run(60_000, |world| world.nodes[0].records.len() >= 4));
    world.start(2);
    assert!(world.run(120_000, World::finished), "{:?}", world.now);
    let old = world.nodes[0].records.iter().take(3);
    for bytes in old {
        let record: RoundRecord = codec::decode(bytes, 1 << 20).expect("a stored record");
        let result = record.proposal.result.digest;
        assert!(!world.nodes[2].fetched.contains(&result), "fetched an adapter nobody needs");
    }
}
