//! Proves that a record shows who was expected, present, contributed and co-signed, by signatures
//! alone, and that a run which lost a member says so at its end.

use witan_protocol::codec;
use witan_protocol::io::Notice;
use witan_protocol::ledger;
use witan_protocol::wire::RoundRecord;
use witan_tests::link::FAIR;
use witan_tests::model;
use witan_tests::world::World;

fn newest(world: &World) -> RoundRecord {
    codec::decode(world.nodes[0].records.last().unwrap(), 1 << 20).unwrap()
}

fn one_fails_and_one_is_dead() -> World {
    let mut world = World::new(7, 1, 1, FAIR);
    world.crash(4);
    world.nodes[4].fails = Some("no space left on device");
    world.start(4);
    world.crash(5);
    world
}

#[test]
fn a_member_without_an_update_is_present_by_its_own_signature_and_a_dead_one_is_not() {
    let mut world = one_fails_and_one_is_dead();
    assert!(world.run(60_000, World::finished), "{:?}", world.now);
    world.check();
    let (record, roster) = (newest(&world), world.federation.founders());
    let attendance = record.attendance(roster);
    let ids = |nodes: &[usize]| nodes.iter().map(|node| world.id(*node)).collect::<Vec<_>>();
    assert_eq!(attendance.expected, ids(&[0, 1, 2, 3, 4, 5, 6]));
    assert_eq!(attendance.present, ids(&[0, 1, 2, 3, 4, 6]));
    assert_eq!(attendance.contributed, ids(&[0, 1, 2, 3, 6]));
    assert!(attendance.cosigned.len() >= 5 && !attendance.cosigned.contains(&world.id(5)));
    let [failed, dead] = &record.proposal.absent[..] else { panic!("two are absent") };
    let heartbeat = failed.heartbeat(roster).unwrap();
    assert_eq!(heartbeat.sits_out.as_deref(), Some("no space left on device"));
    assert_eq!((dead.member, &dead.heard), (world.id(5), &None));
}

#[test]
fn nobody_is_present_by_anothers_heartbeat() {
    let mut world = one_fails_and_one_is_dead();
    assert!(world.run(60_000, World::finished));
    let mut record = newest(&world);
    record.proposal.absent[1].heard = record.proposal.absent[0].heard.clone();
    let bytes = record.encode();
    let bad = ledger::audit(&world.federation, model::start(), [&bytes[..]].into_iter());
    let bad = bad.unwrap_err();
    assert_eq!(bad.what.field, "absent of member-05", "{bad}");
}

#[test]
fn a_run_that_lost_a_member_names_it_at_the_end_and_one_that_came_back_does_not() {
    for returns in [false, true] {
        let mut world = World::new(7, 3, 2, FAIR);
        assert!(world.run(60_000, |world| world.nodes[0].records.len() == 1));
        world.crash(5);
        assert!(world.run(60_000, |world| world.nodes[0].records.len() == 2));
        if returns {
            world.start(5);
        }
        assert!(world.run(120_000, World::finished), "{:?}", world.now);
        let lost = if returns { vec![] } else { vec![world.id(5)] };
        for node in world.alive() {
            assert_eq!(node.running().status().missing, lost);
            let told = node.notices.iter().find_map(|(_, notice)| match notice {
                Notice::Missing { members } => Some(members.clone()),
                _ => None,
            });
            assert_eq!(told.unwrap_or_default(), lost);
        }
    }
}
