//! A member too slow for its round: where the federation agreed on it, its update counts in the
//! next.

use std::fs::File;
use std::path::Path;

use serde_json::Value;
use witan_node::jobs::core_slots::CoreSlots;

use crate::council::Council;
use crate::support::{edit, eventually, path, witan};

#[test]
fn an_update_that_missed_its_round_counts_in_the_next_one() {
    let council = Council::of_rounds(2);
    for index in 0..4 {
        let home = council.home(index);
        let late = "round_deadline_s = 20\nlate_rounds = 1";
        edit(&home.join("federation.toml"), "round_deadline_s = 300", late);
        CoreSlots::create(&home.join("own-turns"), 1).unwrap();
        edit(&home.join("node.toml"), "turns = \"../../turns\"", "turns = \"own-turns\"");
    }
    // Nobody trains but when this test says so, and nobody twice.
    let turn = |index| Held::take(&council.home(index).join("own-turns/turn-0"));
    let (others, slow) = ([turn(0), turn(1), turn(2)], turn(3));
    let mut nodes = council.start(0..4);
    let others = others.map(Held::lend);
    eventually("three updates are out", || updates_of(1, &council) == 3);
    nodes[0].until("round 1: committed");
    let _slow = slow.lend();
    eventually("the fourth is", || updates_of(1, &council) == 4);
    drop(others);
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

/// A member's only turn, in the hands of this test.
struct Held(File);

impl Held {
    fn take(turn: &Path) -> Self {
        let file = File::open(turn).unwrap();
        file.lock().unwrap();
        Self(file)
    }

    /// Gives the member its turn, and takes it back as soon as its training is over.
    fn lend(self) -> Self {
        let Self(turn) = self;
        turn.unlock().unwrap();
        eventually("it trains", || turn.try_lock().is_err() || turn.unlock().is_err());
        turn.lock().unwrap();
        Self(turn)
    }
}

/// How many updates for a round node 0 sent or accepted.
fn updates_of(round: u64, council: &Council) -> usize {
    let (home, round) = (council.home(0), round.to_string());
    let told =
        witan(&["log", "--json", "--kind", "update", "--round", &round, "--home", path(&home)]);
    let lines = told.out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter(|line| line["notice"]["kind"] == "update").count()
}
