//! What survives when the process is killed or the disk is full: shown with a child process, which
//! is this same test binary told by its environment to write to a home until it is stopped.

use std::env;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use witan_protocol::io::Entry;
use witan_protocol::member::Round;

use super::{Store, StoreError};
use crate::home::Home;

const HOME: &str = "WITAN_TEST_CRASH_HOME";

/// One round's entries: a step of the vote, then the record.
fn entries(round: u64, bytes: usize) -> [Entry; 2] {
    let round = Round(round);
    let bytes = vec![0x5a; bytes];
    [Entry::Wal { round, bytes: bytes.clone() }, Entry::Record { round, bytes }]
}

/// The child: says `open`, then each round it has been told is durable, then the error that ended
/// it. Without a home in its environment it is nobody's child and there is nothing to claim.
#[test]
fn child_writes_until_it_is_stopped() {
    let Some(home) = env::var_os(HOME) else { return };
    let (mut store, recovered) = Store::open(&Home::at(home)).unwrap();
    println!("\nopen");
    let mut round = recovered.records.last().map_or(0, |record| record.round.0);
    let error = loop {
        round += 1;
        match entries(round, 8_000).iter().try_for_each(|entry| store.persist(entry)) {
            Ok(()) => println!("durable {round}"),
            Err(error) => break error,
        }
    };
    assert!(store.persist(&entries(round, 8_000)[1]).is_err(), "a full disk stays full");
    println!("error {error}");
    println!("full {} hint {:?}", error.is_full_disk(), error.hint());
}

/// Starts the child in `home`, under a shell command that ends in `"$@"`.
fn start(home: &Path, shell: &str) -> Child {
    Command::new("sh")
        .args(["-c", shell, "sh"])
        .arg(env::current_exe().unwrap())
        .args(["--exact", "store::crash::child_writes_until_it_is_stopped", "--nocapture"])
        .env(HOME, home)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// The newest round a line says is durable.
fn durable(line: &str) -> Option<u64> {
    line.strip_prefix("durable ")?.trim().parse().ok()
}

#[test]
fn a_killed_process_loses_nothing_it_was_told_is_durable() {
    let dir = tempfile::tempdir().unwrap();
    let mut told = 0;
    for kill in 1..=5 {
        let mut child = start(dir.path(), "exec \"$@\"");
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let target = told + 7 * kill;
        while told < target {
            let line = lines.next().expect("the child writes on").unwrap();
            told = durable(&line).unwrap_or(told);
        }
        child.kill().unwrap();
        told = lines.map_while(Result::ok).filter_map(|line| durable(&line)).last().unwrap_or(told);
        child.wait().unwrap();
        let (store, recovered) = Store::open(&Home::at(dir.path())).unwrap();
        let kept = recovered.records.last().unwrap().round.0;
        assert!(kept == told || kept == told + 1, "told {told}, kept {kept}");
        assert_eq!(store.record(Round(kept)).unwrap().unwrap().len(), 8_000);
    }
}

#[test]
fn a_full_disk_is_named_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    // A file size limit (here 1 MiB, in blocks of 512 bytes) fails a write half way, as a disk
    // does.
    let child = start(dir.path(), "trap '' XFSZ; ulimit -f 2048; exec \"$@\"");
    let output = child.wait_with_output().unwrap();
    let output = String::from_utf8_lossy(&output.stdout);
    let told = output.lines().filter_map(durable).next_back().expect("some rounds fit");
    assert!(output.contains("error cannot write to "), "{output}");
    assert!(output.contains("full true hint Some(\"free space on the disk of "), "{output}");
    let (mut store, recovered) = Store::open(&Home::at(dir.path())).unwrap();
    assert_eq!(recovered.records.last().unwrap().round, Round(told));
    assert_eq!(recovered.cut_tails, [], "the failed write was undone");
    for entry in entries(told + 1, 8_000) {
        store.persist(&entry).unwrap();
    }
    let again = Store::open(&Home::at(dir.path())).unwrap_err();
    assert!(matches!(again, StoreError::Busy { .. }));
}
