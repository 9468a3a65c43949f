//! Four nodes under another strategy, with small deltas: as agreed, as recorded and as verified as
//! the default.

use serde_json::Value;

use crate::support::{TESTNET, finished, home, path, witan};

#[test]
fn another_strategy_with_small_deltas_is_recorded_and_verified_everywhere() {
    // The other testnet first: two at once on two cores let views time out that should not.
    finished();
    let folder = tempfile::tempdir().unwrap();
    let chosen = ["--strategy", "fedex", "--compression", "int8"];
    let run = ["--rounds", "2", "--json", "--dir", path(folder.path())];
    let ended = witan(&[TESTNET, &chosen, &run].concat());
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let report: Value = serde_json::from_str(&ended.out).unwrap();
    assert_eq!(report["ledger_heads_agree"], true, "{report:#}");
    assert_eq!(report["verified"], 4, "{report:#}");
    let bytes = report["adapter_bytes"].as_u64().unwrap();
    assert!(bytes < 130_000, "a quarter of 32-bit floats: {bytes}");

    let home = home(folder.path(), 1);
    let verified = witan(&["verify", "--json", "--home", path(&home)]);
    let verified: Value = serde_json::from_str(&verified.out).unwrap();
    assert_eq!(verified["recomputed"], serde_json::json!([1, 2]));
    let rounds = witan(&["rounds", "--json", "--home", path(&home)]);
    for line in rounds.out.lines() {
        let round: Value = serde_json::from_str(line).unwrap();
        assert_eq!(round["strategy"], "fedex");
        assert!(round["naive_error"].as_f64().unwrap() > 0.0, "{round:#}");
        let layer = &round["layers"][0];
        assert!(layer["layer"].as_str().unwrap().contains('.'), "named, not numbered: {layer}");
        let update = &round["included"][0]["update"];
        assert_eq!(
            (&update["codec"], update["delta"]["size_bytes"].as_u64()),
            (&"int8".into(), Some(bytes))
        );
    }
    assert!(home.join("owed/1").is_file() && home.join("owed/2").is_file());
}

#[test]
fn an_unknown_strategy_is_refused_with_the_known_ones() {
    let ended = witan(&[TESTNET, &["--strategy", "magic"]].concat());
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.err.contains("`magic` is unknown; known are fedavg, fedprox, "), "{ended:?}");
}
