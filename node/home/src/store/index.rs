//! The sled database: an index over the ledger, and the gossip log. Everything in it but the gossip
//! log can be built again from the journal, and is, whenever it is missing or cannot be opened.

use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use witan_files::write_atomically;
use witan_protocol::digest::Digest;
use witan_protocol::member::Round;

use super::frame::{self, Step};
use super::gossip_log::GossipLog;
use super::journal::StoredRecord;
use crate::error::{IndexError, StoreError};

/// Where one record lies, and what its bytes must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerRow {
    /// Offset of its entry in `records.log`.
    pub offset: u64,
    /// Digest of the record's bytes.
    pub digest: Digest,
}

impl LedgerRow {
    /// The row of a record.
    pub fn of(record: &StoredRecord) -> Self {
        Self { offset: record.offset, digest: Digest::of(&record.bytes) }
    }
}

/// The open database. Sled lets one process in, so only the holder of the home's lock opens it.
pub struct Index {
    path: PathBuf,
    db: sled::Db,
    ledger: sled::Tree,
    /// The gossip log.
    pub log: GossipLog,
}

/// How the index and the journal were found to agree when they were opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IndexState {
    /// The old database could not be opened; it was moved here and a new one made.
    pub moved_aside: Option<PathBuf>,
    /// Rows that were missing or wrong and are right now.
    pub rows_repaired: u64,
    /// The newest round the index knew that `records.log` does not hold: the ledger was cut.
    pub lost_up_to: Option<Round>,
    /// Entries at the end of the gossip log that were durable once and are gone.
    pub log_lost: u64,
}

impl Index {
    /// Opens the database at `path`, whatever state it is in, and makes it agree with `records`.
    pub fn open(path: &Path, records: &[StoredRecord]) -> Result<(Self, IndexState), StoreError> {
        let mut state = IndexState::default();
        let index = match try_open(path) {
            Ok(index) => index,
            Err(_) if path.exists() => {
                state.moved_aside = Some(move_aside(path)?);
                try_open(path).map_err(|source| failed(path, source))?
            }
            Err(source) => return Err(failed(path, source)),
        };
        index.repair(records, &mut state).map_err(|source| failed(path, source))?;
        state.log_lost = read_mark(path).unwrap_or(0).saturating_sub(index.log.end());
        index.write_mark()?;
        Ok((index, state))
    }

    /// Notes where a record lies.
    pub fn insert(&self, round: Round, row: &LedgerRow) -> Result<(), StoreError> {
        self.ledger
            .insert(round.0.to_be_bytes(), encode(row))
            .map(|_| ())
            .map_err(|source| failed(&self.path, source))
    }

    /// Where the record of a round lies.
    pub fn row(&self, round: Round) -> Result<Option<LedgerRow>, StoreError> {
        let value =
            self.ledger.get(round.0.to_be_bytes()).map_err(|source| failed(&self.path, source))?;
        Ok(value.and_then(|value| ciborium::from_reader(value.as_ref()).ok()))
    }

    /// Writes what waits in the gossip log.
    pub fn write_log(&mut self) -> Result<(), StoreError> {
        self.log.write().map_err(|source| failed(&self.path, source))
    }

    /// Writes what waits in the gossip log and makes everything durable.
    pub fn flush(&mut self) -> Result<(), StoreError> {
        self.write_log()?;
        self.db.flush().map_err(|source| failed(&self.path, source))?;
        self.write_mark()
    }

    /// Notes beside the database how long the gossip log is, for sled takes damage for the end of
    /// its log.
    fn write_mark(&self) -> Result<(), StoreError> {
        let path = mark_path(&self.path);
        write_atomically(&path, &frame::seal(0, &self.log.end().to_be_bytes()), 0o600)
            .map_err(|source| StoreError::io("cannot write", &path, source))
    }

    /// Opens a copy of the database at `path` as it is, and repairs nothing.
    pub fn open_copy(copy: &Path, path: &Path) -> Result<Self, StoreError> {
        let opened = try_open(copy).map_err(|source| failed(path, source))?;
        Ok(Self { path: path.to_owned(), ..opened })
    }

    /// The newest round it knows of.
    pub fn newest_round(&self) -> Option<Round> {
        let (key, _) = self.ledger.last().ok()??;
        key.first_chunk().map(|bytes| Round(u64::from_be_bytes(*bytes)))
    }

    /// Compares every row with the ledger's records and counts the gossip log's entries, none of
    /// which may be missing. Rows of the newest records may be: a crash leaves them unwritten, and
    /// they are built again.
    pub fn check(&self, records: &[StoredRecord]) -> Result<u64, StoreError> {
        let failed = |source| failed(&self.path, source);
        for row in &self.ledger {
            let (key, value) = row.map_err(failed)?;
            let round = Round(<[u8; 8]>::try_from(&*key).map_or(0, u64::from_be_bytes));
            let at = records.binary_search_by_key(&round, |record| record.round).ok();
            if at.is_none_or(|at| *encode(&LedgerRow::of(&records[at])) != *value) {
                return Err(StoreError::IndexRow { path: self.path.clone(), round });
            }
        }
        let entries = self.log.entries().map_err(failed)?;
        let entries = entries.map_err(|seq| StoreError::LogGap { path: self.path.clone(), seq })?;
        let (expected, found) = (read_mark(&self.path)?, self.log.end());
        match expected > found {
            true => Err(StoreError::LogCut { path: self.path.clone(), expected, found }),
            false => Ok(entries),
        }
    }

    /// Names this database in an error of its gossip log.
    pub fn failed(&self, source: sled::Error) -> StoreError {
        failed(&self.path, source)
    }

    fn repair(&self, records: &[StoredRecord], state: &mut IndexState) -> sled::Result<()> {
        for record in records {
            let (key, value) = (record.round.0.to_be_bytes(), encode(&LedgerRow::of(record)));
            if self.ledger.get(key)?.is_none_or(|old| old != value) {
                self.ledger.insert(key, value)?;
                state.rows_repaired += 1;
            }
        }
        let newest = records.last().map(|record| record.round.0).unwrap_or_default();
        while let Some((key, _)) = self.ledger.last()? {
            let round = key.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes));
            if round <= newest && key.len() == size_of::<u64>() {
                break;
            }
            state.lost_up_to = state.lost_up_to.or(Some(Round(round)));
            self.ledger.remove(key)?;
        }
        Ok(())
    }
}

impl std::fmt::Debug for Index {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Index").field("path", &self.path).finish_non_exhaustive()
    }
}

/// Sled panics on some damaged files instead of returning an error; either means "build it again".
fn try_open(path: &Path) -> sled::Result<Index> {
    let opened = panic::catch_unwind(AssertUnwindSafe(|| {
        let db = sled::Config::new()
            .path(path)
            .cache_capacity(CACHE_BYTES)
            .flush_every_ms(Some(FLUSH_EVERY_MS))
            .open()?;
        let ledger = db.open_tree("ledger")?;
        let log = GossipLog::open(db.open_tree("gossip_log")?)?;
        Ok(Index { path: path.to_owned(), db, ledger, log })
    }));
    opened.unwrap_or_else(|_| Err(sled::Error::ReportableBug("panicked".into())))
}

fn mark_path(path: &Path) -> PathBuf {
    path.with_extension("mark")
}

/// How many entries the gossip log had when it was last made durable; 0 if nobody noted it.
fn read_mark(path: &Path) -> Result<u64, StoreError> {
    let path = mark_path(path);
    let bytes = match std::fs::read(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(0),
        read => read.map_err(|source| StoreError::io("cannot read", &path, source))?,
    };
    match frame::step(&bytes, 0) {
        Step::Frame(body) => Ok(body.first_chunk().map_or(0, |end| u64::from_be_bytes(*end))),
        Step::End | Step::Torn => Ok(0),
        Step::Damaged(damage) => Err(StoreError::Damaged { path, offset: 0, round: None, damage }),
    }
}

fn move_aside(path: &Path) -> Result<PathBuf, StoreError> {
    let aside = (1_u32..)
        .map(|number| path.with_extension(format!("damaged-{number}")))
        .find(|aside| !aside.exists())
        .expect("there are fewer than 2^32 damaged folders");
    std::fs::rename(path, &aside)
        .map_err(|source| StoreError::io("cannot move aside", path, source))?;
    Ok(aside)
}

fn failed(path: &Path, source: sled::Error) -> StoreError {
    let source = match source {
        sled::Error::Io(source) => IndexError::Io(source),
        sled::Error::Corruption { .. } => IndexError::Corrupt,
        other => IndexError::Other(other.to_string()),
    };
    StoreError::Index { path: path.to_owned(), source }
}

fn encode(row: &LedgerRow) -> Vec<u8> {
    let mut bytes = Vec::new();
    ciborium::into_writer(row, &mut bytes).expect("a row is plain data, and memory takes it");
    bytes
}

/// Sixteen nodes share a machine in a testnet, and each reads its log rarely.
const CACHE_BYTES: u64 = 8 << 20;

/// What a crash of the machine may cost the gossip log; the ledger's rows are built again.
const FLUSH_EVERY_MS: u64 = 1_000;
