//! Claims about the store, on real files: what survives, what is cut, what is refused.

use std::fs;

use tempfile::TempDir;
use witan_protocol::digest::Digest;
use witan_protocol::member::MemberId;
use witan_protocol::wire::Kind;

use super::*;

struct Temp {
    _dir: TempDir,
    home: Home,
}

fn temp() -> Temp {
    let dir = tempfile::tempdir().unwrap();
    let home = Home::at(dir.path());
    Temp { _dir: dir, home }
}

fn record(round: u64) -> Entry {
    Entry::Record { round: Round(round), bytes: format!("the record of round {round}").into() }
}

fn step(round: u64, bytes: &str) -> Entry {
    Entry::Wal { round: Round(round), bytes: bytes.into() }
}

fn refused(via: u8, size_bytes: u64) -> Notice {
    Notice::Refused {
        via: MemberId([via; 32]),
        kind: Some(Kind::Vote),
        reason: "no member".into(),
        digest: Digest::of(b"x"),
        size_bytes,
    }
}

/// A home with three records and two steps of round 4.
fn filled() -> Temp {
    let temp = temp();
    let (mut store, _) = Store::open(&temp.home).unwrap();
    for round in 1..=3 {
        store.persist(&step(round, "a vote")).unwrap();
        store.persist(&record(round)).unwrap();
    }
    store.persist(&step(4, "a proposal")).unwrap();
    store.persist(&step(4, "a vote")).unwrap();
    temp
}

fn rounds(recovered: &Recovered) -> Vec<u64> {
    recovered.records.iter().map(|record| record.round.0).collect()
}

#[test]
fn what_was_persisted_is_recovered_in_order() {
    let temp = filled();
    let (store, recovered) = Store::open(&temp.home).unwrap();
    assert_eq!(rounds(&recovered), [1, 2, 3]);
    assert_eq!(recovered.records[1].bytes, b"the record of round 2");
    let steps: Vec<_> = recovered.wal.iter().map(|step| step.bytes.as_slice()).collect();
    assert_eq!(steps, [b"a proposal".as_slice(), b"a vote"]);
    assert_eq!(recovered.cut_tails, []);
    assert_eq!(recovered.index, IndexState::default());
    assert_eq!(store.record(Round(3)).unwrap().unwrap(), b"the record of round 3");
    assert_eq!(store.record(Round(4)).unwrap(), None);
}

#[test]
fn steps_of_a_committed_round_are_gone_and_later_ones_are_kept() {
    let temp = temp();
    let (mut store, _) = Store::open(&temp.home).unwrap();
    store.persist(&step(1, "old")).unwrap();
    store.persist(&step(2, "ahead")).unwrap();
    store.persist(&record(1)).unwrap();
    drop(store);
    let (_, recovered) = Store::open(&temp.home).unwrap();
    assert_eq!(recovered.wal, [WalEntry { round: Round(2), bytes: b"ahead".into() }]);
}

#[test]
fn a_record_out_of_order_is_refused() {
    let temp = filled();
    let (mut store, _) = Store::open(&temp.home).unwrap();
    for round in [3, 5] {
        let error = store.persist(&record(round)).unwrap_err();
        assert!(matches!(error, StoreError::OutOfOrder { .. }), "{error}");
    }
    store.persist(&record(4)).unwrap();
}

#[test]
fn a_journal_cut_at_any_byte_of_its_last_entry_loses_that_entry_alone() {
    for path in [Home::records_log, Home::wal_log] {
        let temp = filled();
        let path = path(&temp.home);
        let whole = fs::read(&path).unwrap();
        let (_, before) = Store::open(&temp.home).unwrap();
        let last = last_frame(&whole);
        for length in (last + 1..whole.len()).step_by(4) {
            fs::write(&path, &whole[..length]).unwrap();
            let (store, recovered) = Store::open(&temp.home).unwrap();
            let cut = CutTail { path: path.clone(), offset: last as u64 };
            assert_eq!(recovered.cut_tails, [cut], "cut to {length}");
            let lost = before.records.len() + before.wal.len()
                - recovered.records.len()
                - recovered.wal.len();
            assert_eq!(lost, 1, "cut to {length}");
            drop(store);
            let (_, again) = Store::open(&temp.home).unwrap();
            assert_eq!(again.cut_tails, [], "cut to {length}");
        }
    }
}

#[test]
fn a_flipped_byte_anywhere_in_the_journal_is_refused_and_named() {
    for path in [Home::records_log, Home::wal_log] {
        let temp = filled();
        let path = path(&temp.home);
        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x10;
            fs::write(&path, &bytes).unwrap();
            let error = Store::open(&temp.home).unwrap_err();
            let StoreError::Damaged { path: named, offset, .. } = &error else {
                panic!("byte {at}: {error}");
            };
            assert_eq!(named, &path);
            assert!(*offset <= at as u64, "byte {at} named as {offset}");
            assert!(error.hint().is_some());
        }
    }
}

#[test]
fn the_damaged_round_is_named() {
    let temp = filled();
    let path = temp.home.records_log();
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.windows(7).position(|seven| seven == b"round 2").unwrap();
    bytes[at + 6] = b'9';
    fs::write(&path, bytes).unwrap();
    let error = Store::open(&temp.home).unwrap_err();
    assert!(error.to_string().contains("in round 2"), "{error}");
    assert_eq!(read_records(&temp.home).unwrap().records.len(), 1);
}

#[test]
fn a_missing_index_is_built_again_from_the_journal() {
    let temp = filled();
    fs::remove_dir_all(temp.home.db()).unwrap();
    let (store, recovered) = Store::open(&temp.home).unwrap();
    assert_eq!(recovered.index.rows_repaired, 3);
    assert_eq!(store.record(Round(2)).unwrap().unwrap(), b"the record of round 2");
}

#[test]
fn whatever_happens_to_the_index_the_records_come_back() {
    let names = [("conf", 0), ("conf", 8), ("db", 0), ("db", 100), ("db", 4096)];
    for (name, at) in names {
        let temp = filled();
        let path = temp.home.db().join(name);
        let mut bytes = fs::read(&path).unwrap();
        let from = at.min(bytes.len());
        bytes[from..].fill(0xa5);
        fs::write(&path, bytes).unwrap();
        let (store, recovered) = Store::open(&temp.home).unwrap();
        assert!(recovered.index.rows_repaired == 3 || at == 4096, "{name} from byte {at}");
        for round in 1..=3 {
            let expected = format!("the record of round {round}");
            assert_eq!(store.record(Round(round)).unwrap().unwrap(), expected.as_bytes());
        }
    }
}

#[test]
fn an_index_that_cannot_be_opened_is_moved_aside() {
    let temp = filled();
    fs::remove_dir_all(temp.home.db()).unwrap();
    fs::write(temp.home.db(), b"not a folder").unwrap();
    let (_, recovered) = Store::open(&temp.home).unwrap();
    let aside = recovered.index.moved_aside.expect("a file is no database");
    assert_eq!(fs::read(aside).unwrap(), b"not a folder");
    assert_eq!(recovered.index.rows_repaired, 3);
}

#[test]
fn a_ledger_shorter_than_its_index_is_told() {
    let temp = filled();
    let path = temp.home.records_log();
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..last_frame(&whole)]).unwrap();
    let (_, recovered) = Store::open(&temp.home).unwrap();
    assert_eq!(rounds(&recovered), [1, 2]);
    assert_eq!(recovered.index.lost_up_to, Some(Round(3)));
}

#[test]
fn records_are_readable_by_others_while_the_node_writes() {
    let temp = filled();
    let (mut store, _) = Store::open(&temp.home).unwrap();
    store.persist(&record(4)).unwrap();
    let found = read_records(&temp.home).unwrap();
    assert_eq!(found.records.len(), 4);
    assert!(found.damage.is_none());
}

#[test]
fn the_log_is_filtered_and_paged() {
    let temp = temp();
    let (mut store, _) = Store::open(&temp.home).unwrap();
    store.append_log(1, &Notice::RoundStarted { round: Round(1) }).unwrap();
    for number in 0..150 {
        store.append_log(2, &refused(number % 3, u64::from(number))).unwrap();
    }
    let of_peer = LogFilter { peer: Some(MemberId([2; 32])), ..LogFilter::default() };
    assert_eq!(store.log(&of_peer).unwrap().len(), 50);
    let of_round = LogFilter { round: Some(Round(1)), ..LogFilter::default() };
    assert_eq!(store.log(&of_round).unwrap().len(), 1);
    let of_kind = LogFilter { kind: Some(Kind::Vote), after: Some(100), ..LogFilter::default() };
    let page = store.log(&of_kind).unwrap();
    assert_eq!(page.iter().map(|entry| entry.seq).collect::<Vec<_>>(), Vec::from_iter(101..151));
    drop(store);
    let (mut store, _) = Store::open(&temp.home).unwrap();
    assert_eq!(store.log(&LogFilter::default()).unwrap().len(), 151);
    assert_eq!(store.append_log(3, &Notice::Finished).unwrap().seq, 151);
}

/// Where the last frame of a journal file begins.
fn last_frame(file: &[u8]) -> usize {
    let mut offset = 16;
    loop {
        let frame::Step::Frame(body) = frame::step(file, offset) else { panic!("a whole file") };
        let next = offset + frame::frame_bytes(body);
        if next == file.len() as u64 {
            return usize::try_from(offset).unwrap();
        }
        offset = next;
    }
}
