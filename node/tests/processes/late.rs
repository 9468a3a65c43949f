//! A member too slow for its round: where the federation agreed on it, its update counts in the next.

use std::fs::File;

use witan::jobs::turns::Turns;

use crate::council::Council;
use crate::support::{edit, eventually, path, witan};

#[test]
fn an_update_that_missed_its_round_counts_in_the_next_one() {
    let council = Council::of_rounds(2);
    for index in 0..4 {
        let file = council.home(index).join("federation.toml");
        edit(&file, "round_deadline_s = 300", "round_deadline_s = 5\nlate_rounds = 1");
    }
    // The slow one takes turns with this test, which goes first.
    let slow = 3;
    let turns = council.home(slow).join("own-turns");
    Turns::create(&turns, 1).unwrap();
    edit(&council.home(slow).join("node.toml"), "turns = \"../../turns\"", "turns = \"own-turns\"");
    let turn = || File::open(turns.join("turn-0")).unwrap();
    let first = turn();
    first.lock().unwrap();
    let mut nodes = council.start(0..4);
    nodes[0].until("round 1: committed");
    drop(first);
    eventually("it trains", || turn().try_lock().is_err());
    let second = turn();
    second.lock().unwrap();
    for node in &mut nodes {
        node.until("every round is committed");
    }
    drop(second);
    let rounds = council.rounds(0);
    let why = |round: usize| {
        let absent = rounds[round - 1]["absent"].as_array().unwrap();
        let slow = absent.iter().find(|absent| absent["member"] == "node-03");
        slow.unwrap_or_else(|| panic!("{:#}", rounds[round - 1]))["why"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    assert!(why(1).starts_with("no update had arrived"), "{}", why(1));
    assert!(why(2).ends_with("its late one of round 1 counts for less"), "{}", why(2));
    let told = witan(&["rounds", "--round", "2", "--home", path(&council.home(1))]);
    assert!(told.out.contains("its late one of round 1 counts for less"), "{}", told.out);
    council.verify(0..4);
}
