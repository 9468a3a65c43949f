//! Claims about the audit, on a real home: records signed by four members, blobs on disk.

mod filled;

use std::fs;
use std::path::Path;

use filled::{Filled, ROUNDS, aggregation, filled, filled_with};
use witan_files::Blobs;
use witan_home::audit::{Fault, Report, aggregate_of, audit};
use witan_home::store::{self, Store};
use witan_home::{Failure, FailureKind};
use witan_protocol::digest::{BlobRef, Digest};
use witan_protocol::io::{Entry, Notice};
use witan_protocol::member::Round;
use witan_protocol::wire::RoundRecord;

fn check(filled: &Filled) -> Result<Report, Fault> {
    audit(&filled.home, &filled.federation, &aggregation(&filled.federation))
}

/// Writes `path` with one byte altered at a time, about so many of them; each must be found.
fn flip_bytes(filled: &Filled, path: &Path, count: usize) -> usize {
    let whole = fs::read(path).unwrap();
    let positions: Vec<_> = (0..whole.len()).step_by(whole.len() / count + 1).collect();
    for &at in &positions {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << (at % 8);
        fs::write(path, bytes).unwrap();
        let failure = Failure::from(check(filled).expect_err(&format!("byte {at} of {path:?}")));
        assert_eq!(failure.kind, FailureKind::Tampered, "{}", failure.message);
        let named = path.display().to_string();
        assert!(failure.message.contains(&named), "byte {at}: {}", failure.message);
        assert!(failure.hint.is_some());
    }
    fs::write(path, whole).unwrap();
    positions.len()
}

#[test]
fn an_untouched_home_passes() {
    let filled = filled();
    let report = check(&filled).unwrap();
    assert_eq!((report.rounds, report.updates, report.votes), (3, 9, 9));
    assert_eq!(report.blobs, 13);
    assert_eq!(report.recomputed, [Round(1), Round(2), Round(3)]);
    assert_eq!((report.not_held, report.unfinished_at), (Vec::new(), None));
}

#[test]
fn a_flipped_byte_anywhere_in_the_ledger_is_named() {
    let filled = filled();
    assert!(flip_bytes(&filled, &filled.home.records_log(), 400) > 200);
    check(&filled).unwrap();
}

#[test]
fn a_flipped_byte_anywhere_in_the_write_ahead_log_is_named() {
    let filled = filled();
    let (mut store, _) = Store::open(&filled.home).unwrap();
    store.persist(&Entry::Wal { round: Round(ROUNDS + 1), bytes: vec![7; 100] }).unwrap();
    drop(store);
    assert!(flip_bytes(&filled, &filled.home.wal_log(), 400) > 100);
    check(&filled).unwrap();
}

/// Sled takes damage for the end of its log, and builds on what came before.
#[test]
fn a_flipped_byte_of_the_database_is_named_or_no_entry_of_the_gossip_log_is_lost() {
    let filled = filled();
    let (mut store, _) = Store::open(&filled.home).unwrap();
    for round in 1..=ROUNDS {
        store.append_log(round, &Notice::RoundStarted { round: Round(round) }).unwrap();
    }
    drop(store);
    let path = filled.home.db().join("db");
    let whole = fs::read(&path).unwrap();
    let written: Vec<_> = (0..whole.len()).filter(|&at| whole[at] != 0).collect();
    let mut named = 0;
    for &at in written.iter().step_by(written.len() / 40 + 1) {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        fs::write(&path, bytes).unwrap();
        match check(&filled).map_err(Failure::from) {
            Ok(report) => assert_eq!(report.log_entries, Some(ROUNDS), "byte {at}"),
            Err(failure) => {
                assert_eq!(failure.kind, FailureKind::Tampered, "{}", failure.message);
                assert!(failure.message.contains(&filled.home.db().display().to_string()));
                named += 1;
            }
        }
    }
    assert!(named > 0);
    let (_, recovered) = Store::open(&filled.home).unwrap();
    assert!(recovered.index.log_lost > 0, "the last one costs entries and is told");
}

#[test]
fn a_running_home_is_checked_but_for_what_only_its_node_can_read() {
    let filled = filled();
    let (_running, _) = Store::open(&filled.home).unwrap();
    assert_eq!(check(&filled).unwrap().log_entries, None);
}

#[test]
fn a_flipped_byte_anywhere_in_a_blob_is_named() {
    let filled = filled();
    for blob in Blobs::open(filled.home.blobs()).unwrap().list().unwrap() {
        flip_bytes(&filled, &filled.home.blob(&blob.digest), 30);
    }
    check(&filled).unwrap();
}

#[test]
fn a_forged_record_in_a_sound_frame_is_named() {
    let filled = filled();
    let stored = store::read_records(&filled.home).unwrap().records;
    for forge in [
        |record: &mut RoundRecord| record.certificate.signatures[1].signature[7] ^= 1,
        |record: &mut RoundRecord| record.certificate.signatures.truncate(2),
        |record: &mut RoundRecord| record.proposal.included[2].envelope[99] ^= 1,
        |record: &mut RoundRecord| record.proposal.previous = Digest([0; 32]),
        |record: &mut RoundRecord| record.proposal.result = BlobRef::of(b"mine"),
        |record: &mut RoundRecord| {
            let elected = record.proposal.aggregator;
            let other = record.proposal.included.iter().find(|input| input.member != elected);
            record.proposal.aggregator = other.unwrap().member;
        },
    ] {
        fs::remove_dir_all(filled.home.journal()).unwrap();
        fs::remove_dir_all(filled.home.db()).unwrap();
        let (mut store, _) = Store::open(&filled.home).unwrap();
        for record in &stored {
            let (round, mut bytes) = (record.round, record.bytes.clone());
            if round == Round(2) {
                let mut forged = witan_protocol::codec::decode(&bytes, bytes.len()).unwrap();
                forge(&mut forged);
                bytes = forged.encode();
            }
            store.persist(&Entry::Record { round, bytes }).unwrap();
        }
        drop(store);
        let failure = Failure::from(check(&filled).unwrap_err());
        assert_eq!(failure.kind, FailureKind::Tampered, "{}", failure.message);
        assert!(failure.message.contains("round 2"), "{}", failure.message);
    }
}

#[test]
fn an_aggregate_of_something_else_is_named_with_its_round() {
    let filled = filled_with(|aggregate, start| aggregate.result = start);
    let fault = check(&filled).unwrap_err();
    assert!(matches!(fault, Fault::Aggregate { round: Round(1), .. }), "{fault}");
}

#[test]
fn a_naive_error_of_something_else_is_named_with_its_round() {
    let filled = filled_with(|aggregate, _| aggregate.naive_error[0].error += 0.5);
    let fault = check(&filled).unwrap_err();
    assert!(matches!(fault, Fault::NaiveError { round: Round(1) }), "{fault}");
}

#[test]
fn a_ledger_cut_between_two_records_is_found_out() {
    let filled = filled();
    let last = store::read_records(&filled.home).unwrap().records.pop().unwrap();
    let path = filled.home.records_log();
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..usize::try_from(last.offset).unwrap()]).unwrap();
    let fault = check(&filled).unwrap_err();
    assert!(matches!(fault, Fault::Shortened { expected: Round(3), found: Round(2), .. }));
}

#[test]
fn rounds_this_member_was_away_for_are_told_and_not_failed() {
    let filled = filled();
    let records = store::read_records(&filled.home).unwrap().records;
    let first = witan_protocol::codec::decode(&records[0].bytes, records[0].bytes.len()).unwrap();
    let missing =
        aggregate_of(&filled.federation, &first, filled.federation.founders()).inputs[1].delta;
    fs::remove_file(filled.home.blob(&missing.digest)).unwrap();
    let report = check(&filled).unwrap();
    assert_eq!(report.not_held, [Round(1)]);
    assert_eq!(report.recomputed, [Round(2), Round(3)]);
}

#[test]
fn a_running_home_can_be_checked() {
    let filled = filled();
    let _running = Store::open(&filled.home).unwrap();
    assert_eq!(check(&filled).unwrap().rounds, ROUNDS);
}
