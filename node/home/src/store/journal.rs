//! The journal: what must survive a crash, in two append-only files, and nothing else is believed.
//!
//! `records.log` is the ledger and is never shortened. `wal.log` holds the vote's steps of the
//! rounds that are not committed yet; it is emptied when their record is durable. Sled is an index
//! over both and may be lost at any time. A second process may read `records.log` while the node
//! writes it.

use std::path::Path;

use serde::{Deserialize, Serialize};
use witan_protocol::io::Entry;
use witan_protocol::member::Round;

use super::append_file::{self, AppendFile, Contents, DamageAt, Magic, StoredFrame};
use crate::error::{Damage, StoreError};
use crate::home::Home;

const RECORDS_MAGIC: Magic = *b"witan records 1\n";
const WAL_MAGIC: Magic = *b"witan wal 1    \n";

/// A committed round record as it lies in `records.log`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredRecord {
    /// Where its entry begins in the file.
    pub offset: u64,
    /// The round.
    pub round: Round,
    /// The record's own bytes, opaque to the store.
    #[serde(with = "serde_bytes")]
    pub bytes: Vec<u8>,
}

/// One step of the vote as it lies in `wal.log`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WalEntry {
    /// The round it belongs to.
    pub round: Round,
    /// Opaque.
    pub bytes: Vec<u8>,
}

/// What a journal held when it was opened, in the order it was written.
#[derive(Debug, Default)]
pub struct Replay {
    /// Every committed record.
    pub records: Vec<StoredRecord>,
    /// The steps of rounds not committed.
    pub wal: Vec<WalEntry>,
    /// Files that ended in an unfinished entry, which was cut off: it had never been acknowledged.
    pub cut_tails: Vec<CutTail>,
}

/// An unfinished entry that was cut off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CutTail {
    /// The file.
    pub path: std::path::PathBuf,
    /// Where the entry began.
    pub offset: u64,
}

/// The journal, open for writing.
#[derive(Debug)]
pub struct Journal {
    records: AppendFile,
    wal: AppendFile,
    next: Option<Round>,
    wal_newest: Round,
}

/// The ledger file as any process can read it at any time. What is damaged is reported beside what
/// came before it; an unfinished last entry is left out, since a running node may be writing it.
pub fn read_records(home: &Home) -> Result<RecordsFile, StoreError> {
    let path = home.records_log();
    let (contents, damage) = append_file::read(&path, &RECORDS_MAGIC)?;
    let torn_at = contents.torn_at;
    let (records, misfit) = decode_records(contents.frames);
    let damage = misfit.or(damage).map(|at| StoreError::Damaged {
        path,
        offset: at.offset,
        round: Some(following(records.last().map(|record| record.round))),
        damage: at.damage,
    });
    Ok(RecordsFile { records, torn_at, damage })
}

/// Whether the write-ahead log is as it was written. Only of use where no node runs: one writes it
/// all the time.
pub fn check_wal(home: &Home, committed: Round) -> Result<(), StoreError> {
    read_wal(home, committed).map(|_| ())
}

/// The vote's steps in the write-ahead log, and where an unfinished one begins.
fn read_wal(home: &Home, committed: Round) -> Result<(Contents, Vec<WalEntry>), StoreError> {
    let path = home.wal_log();
    let (contents, damage) = append_file::read(&path, &WAL_MAGIC)?;
    let (steps, misfit) = decode_wal(&contents.frames);
    match misfit.or(damage) {
        Some(DamageAt { offset, damage }) => {
            let round = Some(following(Some(committed)));
            Err(StoreError::Damaged { path, offset, round, damage })
        }
        None => Ok((contents, steps)),
    }
}

/// What [`read_records`] found.
#[derive(Debug)]
pub struct RecordsFile {
    /// The records up to the end or the damage.
    pub records: Vec<StoredRecord>,
    /// Where an unfinished entry begins.
    pub torn_at: Option<u64>,
    /// The first damage.
    pub damage: Option<StoreError>,
}

impl Journal {
    /// Opens or makes the journal of a home that this process has locked.
    pub fn open(home: &Home) -> Result<(Self, Replay), StoreError> {
        let found = read_records(home)?;
        if let Some(damage) = found.damage {
            return Err(damage);
        }
        let committed = found.records.last().map(|record| record.round).unwrap_or_default();
        let (contents, steps) = read_wal(home, committed)?;
        let torn = Contents { frames: Vec::new(), torn_at: found.torn_at };
        let mut journal = Self {
            records: AppendFile::open(&home.records_log(), RECORDS_MAGIC, &torn)?,
            wal: AppendFile::open(&home.wal_log(), WAL_MAGIC, &contents)?,
            next: found.records.last().map(|record| following(Some(record.round))),
            wal_newest: steps.iter().map(|step| step.round).max().unwrap_or_default(),
        };
        let wal: Vec<_> = steps.into_iter().filter(|step| step.round > committed).collect();
        journal.drop_committed(committed)?;
        let cut_tails =
            [cut(&home.records_log(), found.torn_at), cut(&home.wal_log(), contents.torn_at)];
        let cut_tails = cut_tails.into_iter().flatten().collect();
        Ok((journal, Replay { records: found.records, wal, cut_tails }))
    }

    /// Appends an entry, not yet durable; returns the offset of a record.
    ///
    /// A record makes itself durable at once, because the steps it makes needless are dropped.
    pub fn append(&mut self, entry: &Entry) -> Result<Option<u64>, StoreError> {
        match entry {
            Entry::Wal { round, .. } => {
                self.wal.append(&encode(entry))?;
                self.wal_newest = self.wal_newest.max(*round);
                Ok(None)
            }
            Entry::Record { round, .. } => {
                self.expect(*round)?;
                let offset = self.records.append(&encode(entry))?;
                self.records.sync()?;
                self.next = Some(following(Some(*round)));
                self.drop_committed(*round)?;
                Ok(Some(offset))
            }
        }
    }

    /// Makes everything appended durable.
    pub fn sync(&mut self) -> Result<(), StoreError> {
        self.records.sync()?;
        self.wal.sync()
    }

    /// The record bytes of the entry at `offset`.
    pub fn record(&self, offset: u64) -> Result<Vec<u8>, StoreError> {
        let frame = StoredFrame { offset, body: self.records.body(offset)? };
        match decode(&frame.body) {
            Some(Entry::Record { bytes, .. }) => Ok(bytes),
            _ => Err(StoreError::Damaged {
                path: self.records.path().to_owned(),
                offset,
                round: None,
                damage: Damage::Entry,
            }),
        }
    }

    fn expect(&self, found: Round) -> Result<(), StoreError> {
        match self.next {
            Some(expected) if expected != found => Err(StoreError::OutOfOrder {
                path: self.records.path().to_owned(),
                expected,
                found,
            }),
            _ => Ok(()),
        }
    }

    /// Empties the write-ahead log once nothing in it is of a later round. Steps of a later round
    /// (this node was catching up) keep it until their own round is committed; replay skips the
    /// rest.
    fn drop_committed(&mut self, committed: Round) -> Result<(), StoreError> {
        match self.wal_newest > committed {
            true => Ok(()),
            false => self.wal.clear(),
        }
    }
}

fn decode_records(frames: Vec<StoredFrame>) -> (Vec<StoredRecord>, Option<DamageAt>) {
    let mut records: Vec<StoredRecord> = Vec::with_capacity(frames.len());
    for StoredFrame { offset, body } in frames {
        let Some(Entry::Record { round, bytes }) = decode(&body) else {
            return (records, Some(DamageAt { offset, damage: Damage::Entry }));
        };
        if records.last().is_some_and(|last| following(Some(last.round)) != round) {
            return (records, Some(DamageAt { offset, damage: Damage::Order }));
        }
        records.push(StoredRecord { offset, round, bytes });
    }
    (records, None)
}

fn decode_wal(frames: &[StoredFrame]) -> (Vec<WalEntry>, Option<DamageAt>) {
    let mut steps = Vec::with_capacity(frames.len());
    for StoredFrame { offset, body } in frames {
        let Some(Entry::Wal { round, bytes }) = decode(body) else {
            return (steps, Some(DamageAt { offset: *offset, damage: Damage::Entry }));
        };
        steps.push(WalEntry { round, bytes });
    }
    (steps, None)
}

fn encode(entry: &Entry) -> Vec<u8> {
    let mut bytes = Vec::new();
    ciborium::into_writer(entry, &mut bytes).expect("an entry is plain data, and memory takes it");
    bytes
}

fn decode(mut body: &[u8]) -> Option<Entry> {
    let entry = ciborium::from_reader(&mut body).ok()?;
    body.is_empty().then_some(entry)
}

fn following(round: Option<Round>) -> Round {
    Round(round.unwrap_or_default().0.saturating_add(1))
}

fn cut(path: &Path, torn_at: Option<u64>) -> Option<CutTail> {
    torn_at.map(|offset| CutTail { path: path.to_owned(), offset })
}
