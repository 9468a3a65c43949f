//! What was altered is named, and never used in silence.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};

use crate::support::{Running, finished, flip, path, witan};

#[test]
fn one_flipped_bit_in_any_record_is_named_by_every_command_that_reads_it() {
    let (_folder, home) = finished().copy(1);
    let (home, log) = (path(&home), home.join("journal/records.log"));
    let size = usize::try_from(fs::metadata(&log).unwrap().len()).unwrap();
    for offset in [3, 20, 300, size / 2, size - 1] {
        flip(&log, offset);
        witan(&["verify", "--home", home]).refused(6, "records.log", "journal");
        flip(&log, offset);
    }
    assert_eq!(witan(&["verify", "--home", home]).code, Some(0));
    flip(&log, 300);
    for command in ["run", "rounds", "status"] {
        witan(&[command, "--home", home]).refused(6, "records.log is damaged at byte 16", "copy");
    }
    let drawing = ["draw", "--home", home, "a red circle", "--out", "/dev/null"];
    witan(&drawing).refused(6, "in round 1", "restore");
}

#[test]
fn one_flipped_bit_in_any_blob_is_named() {
    let (_folder, home) = finished().copy(2);
    let blobs = blobs_of(&home);
    assert!(blobs.len() >= 7, "the adapters and deltas of two rounds: {blobs:?}");
    for blob in &blobs {
        flip(blob, 77);
        let name = blob.file_name().unwrap().to_str().unwrap();
        witan(&["verify", "--home", path(&home)]).refused(6, name, "remove");
        flip(blob, 77);
    }
}

#[test]
fn a_ledger_cut_between_two_records_is_noticed() {
    let (_folder, home) = finished().copy(3);
    let log = home.join("journal/records.log");
    let rounds = witan(&["verify", "--json", "--home", path(&home)]).out;
    assert!(rounds.contains("\"rounds\":2"), "{rounds}");
    let file = OpenOptions::new().write(true).open(&log).unwrap();
    file.set_len(file.metadata().unwrap().len() - 1).unwrap();
    let verified = witan(&["verify", "--home", path(&home)]);
    verified.refused(6, "ends with round 1, but the index knows round 2", "fetches");

    let mut node = Running::node(&home);
    node.until("repaired:");
    node.until("the ledger once had 2 rounds and has 1");
    let log = witan(&["log", "--home", path(&home)]);
    assert!(log.out.contains("unfinished entry, which was cut off"), "{log:?}");
}

#[test]
fn a_damaged_index_is_built_again_and_both_outputs_say_so() {
    let (_folder, home) = finished().copy(1);
    flip(&home.join("db/conf"), 2);
    for command in ["log", "verify"] {
        witan(&[command, "--home", path(&home)]).refused(6, "the index", "remove");
    }
    let mut node = Running::node(&home);
    node.until("repaired: the index could not be opened and was built again");
    let log = witan(&["log", "--home", path(&home)]);
    assert!(log.out.contains("repaired: the index"), "{log:?}");
    assert_eq!(witan(&["verify", "--home", path(&home)]).code, Some(0));
}

#[test]
fn another_base_or_a_cut_federation_file_is_refused() {
    let (_folder, home) = finished().copy(1);
    let file = home.join("federation.toml");
    let whole = fs::read_to_string(&file).unwrap();
    let base = whole.split("base = \"").nth(1).unwrap()[..62].to_owned();
    fs::write(&file, whole.replacen(&base, &"0".repeat(62), 1)).unwrap();
    for command in ["run", "verify"] {
        witan(&[command, "--home", path(&home)]).refused(3, "the base model differs", "same base");
    }
    fs::write(&file, &whole[..whole.find("[lora]").unwrap() + 12]).unwrap();
    for command in ["run", "rounds", "log", "status"] {
        let ended = witan(&[command, "--home", path(&home)]);
        ended.refused(3, "federation.toml: federation file, line", "same federation.toml");
    }
    fs::write(&file, whole.replacen("rank = 8", "rank = 9", 1)).unwrap();
    witan(&["run", "--home", path(&home)]).refused(6, "record of round 1", "federation.toml");
}

fn blobs_of(home: &Path) -> Vec<PathBuf> {
    let folders = fs::read_dir(home.join("blobs")).unwrap().map(|entry| entry.unwrap().path());
    let folders = folders.filter(|folder| folder.file_name().unwrap().len() == 2);
    let files = folders.flat_map(|folder| fs::read_dir(folder).unwrap());
    files.map(|entry| entry.unwrap().path()).collect()
}
