//! A member that is elected and publishes a wrong aggregate, validly signed: it is never committed,
//! and the record that closes the round in its place tells who it was, with both digests.

use std::path::Path;
use std::process::Command;

use witan_home::Home;
use witan_protocol::digest::BlobRef;
use witan_protocol::ledger::Tip;
use witan_protocol::member::View;

use crate::council::Council;
use crate::support::{Running, path, witan};

#[test]
fn a_wrong_aggregate_is_never_committed_and_the_record_after_it_says_whose_it_was() {
    let council = Council::of_rounds(2);
    let federation = Home::at(council.home(0)).read_federation().unwrap();
    let elected = Tip::genesis(&federation, BlobRef::of(b"")).leaders().of(View(0));
    let liar = federation.founders().place_of(&elected).unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_witan")).with_file_name("examples").join("liar");
    let _lying = Running::of(Command::new(program).arg(council.home(liar)));
    let honest: Vec<_> = (0..4).filter(|index| *index != liar).collect();
    let mut nodes = council.start(honest.iter().copied());
    for node in &mut nodes {
        node.until("every round is committed");
        node.until(&format!("round 1: objection against node-{liar:02}: result is "));
    }
    for index in &honest {
        let first = &council.rounds(*index)[0];
        let failed = &first["failed_views"][0];
        assert_eq!(failed["aggregator"], format!("node-{liar:02}"), "{first:#}");
        let refuted = &failed["refuted"];
        assert_eq!(refuted["computed"], first["result_digest"], "{first:#}");
        assert_ne!(refuted["computed"], refuted["proposed"], "{first:#}");
        assert_eq!(refuted["by"].as_array().unwrap().len(), 2, "one of two of four is honest");
        let told = witan(&["rounds", "--home", path(&council.home(*index))]).out;
        let proposed = refuted["proposed"].as_str().unwrap();
        assert!(
            told.contains(&format!("its aggregate was WRONG: it proposed {proposed}")),
            "{told}"
        );
    }
    nodes.into_iter().for_each(|node| assert!(node.stopped().0.success()));
    council.verify(honest);
}
