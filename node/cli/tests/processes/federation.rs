//! Four nodes train one model: through the death of an aggregator, and through an interruption.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Running, TESTNET, finished, path, witan};

#[test]
fn a_killed_aggregator_costs_a_view_and_nothing_else() {
    let report = &finished().report;
    let rounds = report["rounds"].as_array().unwrap();
    let column = |name: &str| rounds.iter().map(|round| round[name].clone()).collect::<Vec<_>>();
    assert_eq!(column("round"), [1, 2], "{report:#}");
    assert_eq!(column("view"), [0, 1], "{report:#}");
    assert_eq!(column("included"), [4, 4], "{report:#}");
    assert_eq!(report["ledger_heads_agree"], true, "{report:#}");
    assert_eq!(report["verified"], 4, "{report:#}");
    assert_eq!(report["flaws"], json!([]), "{report:#}");
    let killed = &report["killed"];
    assert_eq!((&killed["round"], &killed["view"]), (&json!(2), &json!(1)), "{report:#}");
    assert_eq!((&killed["retrained"], &killed["rejoined"]), (&json!(0), &json!(true)));
    assert_eq!(rounds[1]["failed_views"], json!([killed["node"]]), "{report:#}");
    // Who the record names may be the killed one: if its motion was out already, the next seat
    // carries that on.
}

#[test]
fn every_home_is_verified_offline_with_the_head_of_the_report() {
    let federation = finished();
    for index in 0..4 {
        let ended = witan(&["verify", "--json", "--home", path(&federation.home(index))]);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        let found: Value = serde_json::from_str(&ended.out).unwrap();
        assert_eq!(found["head"], federation.report["rounds"][1]["record_digest"]);
        assert_eq!(found["rounds"], 2);
    }
}

#[test]
fn an_interrupted_testnet_leaves_no_process_and_a_folder_that_resumes() {
    // The other testnet first: two at once on two cores let views time out that should not.
    finished();
    let folder = tempfile::tempdir().unwrap();
    let dir = path(folder.path());
    let mut launcher = Running::start(&[TESTNET, &["--rounds", "3", "--dir", dir]].concat());
    launcher.until("round 1 committed");
    launcher.signal("-INT");
    let (status, said) = launcher.ended();
    assert_eq!(status.code(), Some(130), "{said:#?}");
    let [.., error, hint] = &said[..] else { panic!("{said:#?}") };
    assert!(error.starts_with("error: interrupted"), "{said:#?}");
    assert!(hint.contains(&format!("witan testnet --resume --dir {dir}")), "{said:#?}");
    wait_until_nobody_names(folder.path());

    let ended = witan(&["testnet", "--resume", "--no-compare", "--json", "--dir", dir]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let report: Value = serde_json::from_str(&ended.out).unwrap();
    let rounds = report["rounds"].as_array().unwrap();
    assert_eq!(rounds.iter().map(|round| &round["round"]).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(rounds[0]["train_s"], Value::Null, "round 1 is not trained again: {report:#}");
    assert_eq!(report["ledger_heads_agree"], true, "{report:#}");
    assert_eq!(report["verified"], 4, "{report:#}");
}

#[test]
fn a_killed_launcher_leaves_no_process_and_a_folder_that_resumes() {
    finished();
    let folder = tempfile::tempdir().unwrap();
    let dir = path(folder.path());
    let mut launcher = Running::start(&[TESTNET, &["--rounds", "2", "--dir", dir]].concat());
    launcher.until("round 1 committed");
    launcher.signal("-KILL");
    wait_until_nobody_names(folder.path());
    let ended = witan(&["testnet", "--resume", "--no-compare", "--json", "--dir", dir]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

#[test]
fn an_interruption_is_heard_at_the_start_and_during_the_comparison() {
    finished();
    let folder = tempfile::tempdir().unwrap();
    let dir = path(folder.path());
    let flags = ["--nodes", "2", "--rounds", "1", "--local-steps", "1", "--dir", dir];
    for (flags, moment) in [
        (&flags[..], "2 nodes in"),
        (&["--resume", "--dir", dir], "checking every ledger"),
        (&["--resume", "--dir", dir], "training what the federation is compared with"),
    ] {
        let mut launcher = Running::start(&[&["testnet"], flags].concat());
        launcher.until(moment);
        launcher.signal("-INT");
        let (status, said) = launcher.ended();
        assert_eq!(status.code(), Some(130), "at {moment:?}: {said:#?}");
        assert!(said.iter().any(|line| line.contains("testnet --resume --dir")), "{said:#?}");
        wait_until_nobody_names(folder.path());
    }
    let ended = witan(&["testnet", "--resume", "--no-compare", "--json", "--dir", dir]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

/// Waits, for a bounded time, until no process has this folder in its arguments.
fn wait_until_nobody_names(folder: &Path) {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let left = processes_with(path(folder));
        if left.is_empty() {
            return;
        }
        assert!(Instant::now() < deadline, "still running: {left:#?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn processes_with(argument: &str) -> Vec<String> {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let arguments = processes.filter_map(|process| fs::read(process.path().join("cmdline")).ok());
    let arguments = arguments.map(|bytes| String::from_utf8_lossy(&bytes).replace('\0', " "));
    arguments.filter(|line| line.contains(argument)).collect()
}
