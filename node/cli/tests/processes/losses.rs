//! A run that loses members for good finishes, names them wherever it speaks, and exits with 8.

use serde_json::{Value, json};

use crate::council::Council;
use crate::support::{Running, TESTNET, finished, path, witan};

#[test]
fn the_members_that_are_left_name_who_was_lost_and_exit_with_8_unless_that_is_allowed() {
    let council = Council::of_rounds(4);
    let patient = ["run", "--stop-on-eof", "--allow-absent", "--home", path(&council.home(2))]
        .map(str::to_owned);
    let mut patient = Running::start(&patient.each_ref().map(String::as_str));
    let mut nodes = council.start([0, 1, 3]);
    nodes[2].until("round 1: committed");
    nodes.pop().unwrap().signal("-KILL");
    nodes.push(patient);
    for node in &mut nodes {
        node.until("the run LOST 1 of its members: node-03");
        node.until("every round is committed");
    }
    patient = nodes.pop().unwrap();
    assert_eq!(patient.stopped().0.code(), Some(0));
    for node in nodes {
        let (status, said) = node.stopped();
        assert_eq!(status.code(), Some(8), "{said:#?}");
        let [.., error, hint] = &said[..] else { panic!("{said:#?}") };
        assert!(error.contains("every round is committed, but without node-03"), "{said:#?}");
        assert!(hint.contains("--allow-absent"), "{said:#?}");
    }
    let last = &council.rounds(0)[3];
    assert_eq!(last["present"], json!(["node-00", "node-01", "node-02"]), "{last:#}");
    council.verify(0..3);
}

#[test]
fn a_testnet_that_lost_too_many_stalls_says_so_and_finishes_when_one_returns() {
    finished();
    let folder = tempfile::tempdir().unwrap();
    let run = ["--json", "--rounds", "2", "--kill", "2@1", "--dir", path(folder.path())];
    let ended = witan(&[TESTNET, &run].concat());
    ended.refused(8, "every round is committed, but without node-03", "--allow-absent");
    let report: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(report["lost"], json!(["node-03"]), "{report:#}");
    let losses = &report["losses"];
    assert_eq!(losses["killed"], json!(["node-02", "node-03"]), "{report:#}");
    assert_eq!(losses["stalled"], "2 of 3 votes", "{report:#}");
    assert_eq!(losses["returned"], json!(["node-02"]), "{report:#}");
    assert_eq!(report["ledger_heads_agree"], true, "{report:#}");

    let run = ["testnet", "--resume", "--no-compare", "--json", "--dir", path(folder.path())];
    let ended = witan(&run);
    assert_eq!(ended.code, Some(0), "who was lost catches up: {ended:?}");
    let report: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!((&report["lost"], &report["verified"]), (&json!([]), &json!(4)), "{report:#}");
}
