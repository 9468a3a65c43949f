//! The members vote on who they are, with `witan member`, while they train: one joins, one leaves,
//! one gets another key.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::council::Council;
use crate::support::{Running, eventually, key_of, path, witan};

/// Puts a change to the vote from one home, and says yes from the others.
fn decide(change: &[&str], by: &Path, yes: &[&Path]) {
    let put = witan(&[&["member", "propose"], change, &["--json", "--home", path(by)]].concat());
    assert_eq!(put.code, Some(0), "{put:?}");
    let put: Value = serde_json::from_str(&put.out).unwrap();
    let petition = put["petition"].as_str().unwrap();
    for home in yes {
        eventually(&format!("{} hears of {change:?}", home.display()), || {
            let list = witan(&["member", "list", "--json", "--home", path(home)]);
            list.out.contains(petition)
        });
        let voted = witan(&["member", "vote", &petition[..8], "yes", "--home", path(home)]);
        assert_eq!(voted.code, Some(0), "{voted:?}");
    }
}

/// Whether the newest round of a home has the update of this member.
fn contributes(council: &Council, index: usize, name: &str) -> bool {
    let rounds = council.rounds(index);
    let included = rounds.last().and_then(|round| round["included"].as_array().cloned());
    included.is_some_and(|parts| parts.iter().any(|part| part["member"] == name))
}

fn expected(council: &Council, index: usize) -> usize {
    let rounds = council.rounds(index);
    rounds.last().map_or(0, |round| round["expected"].as_array().unwrap().len())
}

#[test]
fn one_joins_one_leaves_and_one_gets_another_key_while_the_others_go_on() {
    let council = Council::of_rounds(400);
    let homes: Vec<_> = (0..4).map(|index| council.home(index)).collect();
    let mut nodes = council.start(0..4);
    let home = council.newcomer(4);
    let key = key_of(&home);
    witan(&["run", "--home", path(&home)]).refused(3, "is in no [[members]] of", "--join");
    let join = ["run", "--stop-on-eof", "--join", "--home", path(&home)];
    let mut newcomer = Running::start(&join);
    newcomer.until("listening on /ip4/127.0.0.1/udp");
    nodes[0].until("round 1: committed");

    decide(&["add", "newcomer", &key], &homes[0], &[&homes[1], &homes[2]]);
    newcomer.until("as decided: add newcomer");
    eventually("the newcomer contributes", || contributes(&council, 0, "newcomer"));
    eventually("it has the ledger", || expected(&council, 4) == 5);

    decide(&["remove", "node-03"], &homes[0], &[&homes[1], &homes[2], &home]);
    nodes[3].until("as decided: remove");
    for other in ["node-00", "node-01", "node-02"] {
        nodes[3].until(&format!("disconnected from {other}"));
        nodes[0].until("disconnected from node-03");
    }
    eventually("four go on", || expected(&council, 0) == 4);
    let status = witan(&["status", "--json", "--home", path(&homes[3])]).out;
    let status: Value = serde_json::from_str(&status).unwrap();
    assert_eq!(status["report"]["status"]["waiting_for"], json!([]), "{status:#}");
    assert_eq!(status["report"]["status"]["connected"], json!([]), "{status:#}");

    let spare = council.home(5);
    let new_key = key_of(&spare);
    decide(&["rotate-key", "node-02", &new_key], &homes[0], &[&homes[1], &home]);
    nodes[2].until("as decided: rotate");
    let (status, said) = nodes.remove(2).stopped();
    assert!(status.success(), "{said:#?}");
    fs::rename(spare.join("key.pem"), homes[2].join("key.pem")).unwrap();
    nodes.push(Running::node(&homes[2]));
    let rotated_at = council.rounds(0).len();
    eventually("the new key contributes", || {
        council.rounds(0).len() > rotated_at && contributes(&council, 0, "node-02")
    });

    for node in nodes.into_iter().chain([newcomer]) {
        let (status, said) = node.stopped();
        assert!(status.success(), "{said:#?}");
    }
    council.verify(0..5);
}
