//! Proves that an auditor notices: any altered bit of a stored record fails the audit and is named.

#[allow(dead_code)]
#[path = "simulator/world.rs"]
mod world;

use witan_protocol::digest::BlobRef;
use witan_protocol::ledger;
use witan_protocol::member::Round;
use world::{FAIR, World};

#[test]
fn an_altered_record_fails_the_audit_and_is_named() {
    let mut world = World::new(4, 2, 6, FAIR);
    assert!(world.run(60_000, World::finished), "{:?}", world.now);
    let (start, records) = (BlobRef::of(b"start"), &world.nodes[0].records);
    let first = ledger::audit(&world.federation, start, slices(records));
    assert_eq!(first.expect("what was persisted holds").len(), 2);
    for place in (0..records[1].len()).step_by(5) {
        let mut altered = records.clone();
        altered[1][place] ^= 1;
        let bad = ledger::audit(&world.federation, start, slices(&altered)).unwrap_err();
        assert_eq!(bad.round, Round(2), "byte {place}");
    }
    let swapped = [records[1].clone(), records[0].clone()];
    let bad = ledger::audit(&world.federation, start, slices(&swapped)).unwrap_err();
    assert_eq!(bad.round, Round(1));
}

fn slices(records: &[Vec<u8>]) -> impl Iterator<Item = &[u8]> {
    records.iter().map(Vec::as_slice)
}
