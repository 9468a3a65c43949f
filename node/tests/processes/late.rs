//! A member too slow for its round: where the federation agreed on it, its update counts in the next.

use std::fs::{self, File};
use std::path::Path;

use serde_json::Value;
use witan::jobs::turns::Turns;

use crate::council::Council;
use crate::support::{edit, eventually, path, witan};

#[test]
fn an_update_that_missed_its_round_counts_in_the_next_one() {
    let council = Council::of_rounds(2);
    for index in 0..4 {
        let file = council.home(index).join("federation.toml");
        edit(&file, "round_deadline_s = 300", "round_deadline_s = 8\nlate_rounds = 1");
    }
    // This test takes turns with the members: the slow one must wait in round 1, the others in round 2.
    let slow = council.home(3);
    Turns::create(&slow.join("own-turns"), 1).unwrap();
    edit(&slow.join("node.toml"), "turns = \"../../turns\"", "turns = \"own-turns\"");
    let common = council.home(0).join("../../turns");
    let held = taken(&slow.join("own-turns"));
    let mut nodes = council.start(0..4);
    eventually("three updates are out", || updates_of(1, &council) == 3);
    let others_wait = taken(&common);
    nodes[0].until("round 1: committed");
    drop(held);
    let turn = File::open(slow.join("own-turns/turn-0")).unwrap();
    eventually("the slow one trains", || turn.try_lock().is_err() || turn.unlock().is_err());
    // Given as soon as its training is over, so that it does not begin the next.
    turn.lock().unwrap();
    eventually("the fourth is", || updates_of(1, &council) == 4);
    drop(others_wait);
    for node in &mut nodes {
        node.until("every round is committed");
    }
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

/// Every turn of a folder, until it is dropped.
fn taken(folder: &Path) -> Vec<File> {
    let turns = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files: Vec<_> = turns.map(|path| File::open(path).unwrap()).collect();
    files.iter().for_each(|file| file.lock().unwrap());
    files
}

/// How many updates for a round node 0 sent or accepted.
fn updates_of(round: u64, council: &Council) -> usize {
    let (home, round) = (council.home(0), round.to_string());
    let told =
        witan(&["log", "--json", "--kind", "update", "--round", &round, "--home", path(&home)]);
    let lines = told.out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter(|line| line["notice"]["kind"] == "update").count()
}
