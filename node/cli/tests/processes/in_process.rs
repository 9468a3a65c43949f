//! `witan testnet --in-process` trains and aggregates byte for byte what processes commit.

use serde_json::Value;

use crate::support::{TESTNET, finished, path, witan};

#[test]
fn one_process_commits_the_adapters_that_many_do_and_an_attack_changes_them() {
    let folder = tempfile::tempdir().unwrap();
    let run = |name: &str, rounds: &str, flags: &[&str]| -> Value {
        let dir = folder.path().join(name);
        let args = ["--rounds", rounds, "--in-process", "--json", "--dir", path(&dir)];
        let ended = witan(&[TESTNET, &args, flags].concat());
        assert_eq!(ended.code, Some(0), "{ended:?}");
        serde_json::from_str(&ended.out).unwrap()
    };
    let digests = |report: &Value| {
        let rounds = report["rounds"].as_array().unwrap().iter();
        rounds.map(|round| round["result_digest"].clone()).collect::<Vec<_>>()
    };
    let (processes, plain) = (&finished().report, run("plain", "2", &[]));
    assert_eq!(digests(&plain), digests(processes));
    assert_eq!(plain["comparison"]["federated"], processes["comparison"]["federated"]);
    let attacked = run("attacked", "1", &["--attack", "flipped"]);
    assert_ne!(digests(&attacked)[0], digests(&plain)[0]);
    let without = run("absent", "1", &["--attack", "absent"]);
    assert_eq!(without["rounds"][0]["absent"], serde_json::json!(["node-03"]));

    let adapter = folder.path().join("plain/adapter");
    let picture = folder.path().join("disc.png");
    let draw = ["draw", "--adapter", path(&adapter), "--out", path(&picture), "a red circle"];
    assert_eq!(witan(&draw).code, Some(0));
    for flags in [&["--attack", "flipped"][..], &["--in-process", "--kill", "1@1"]] {
        assert_eq!(witan(&[TESTNET, flags].concat()).code, Some(2), "{flags:?}");
    }
}
