//! What a node remembers: the journal (durable, the truth), sled over it (an index, and the gossip
//! log) and blobs (files named by digest).
//!
//! One process writes a home, the one that holds its lock; any process may read `records.log`. The
//! driver calls [`Store::append`] for each `Persist` and [`Store::sync`] before the first output
//! after it, so that a run of `Persist` costs one fdatasync. All calls block: a few milliseconds.

pub mod append_file;
pub mod frame;
pub mod gossip_log;
pub mod index;
pub mod journal;
pub mod snapshot;

use witan_protocol::io::{Entry, Notice};
use witan_protocol::member::Round;

pub use gossip_log::{LogEntry, LogFilter, round_of};
pub use index::IndexState;
pub use journal::{CutTail, RecordsFile, StoredRecord, WalEntry, check_wal, read_records};
pub use snapshot::Snapshot;

use crate::error::StoreError;
use crate::home::{Home, HomeLock};
use index::{Index, LedgerRow};
use journal::Journal;

/// The store of one home, open for writing; holds the home's lock.
#[derive(Debug)]
pub struct Store {
    home: Home,
    journal: Journal,
    index: Index,
    _lock: HomeLock,
}

/// What a store held when it was opened: enough to go on as if nothing had happened.
#[derive(Debug)]
pub struct Recovered {
    /// Every committed record, oldest first.
    pub records: Vec<StoredRecord>,
    /// The vote's steps of the rounds not committed, in order.
    pub wal: Vec<WalEntry>,
    /// Unfinished entries that were cut off.
    pub cut_tails: Vec<CutTail>,
    /// What had to be done to the index.
    pub index: IndexState,
}

impl Recovered {
    /// What was found in another state than this program left it in, and repaired: one line each,
    /// for people.
    pub fn repairs(&self) -> Vec<String> {
        let cut = self.cut_tails.iter().map(|CutTail { path, offset }| {
            let path = path.display();
            format!("{path} ended in an unfinished entry, which was cut off at byte {offset}")
        });
        let moved = self.index.moved_aside.iter().map(|path| {
            let path = path.display();
            format!("the index could not be opened and was built again; the old one is {path}")
        });
        let lost = self.index.lost_up_to.iter().map(|round| {
            let held = self.records.len();
            format!("the ledger once had {round} rounds and has {held}: the others have the rest")
        });
        let log_lost = (self.index.log_lost > 0)
            .then(|| format!("the gossip log lost its newest {} entries", self.index.log_lost));
        cut.chain(moved).chain(lost).chain(log_lost).collect()
    }
}

impl Store {
    /// Locks and opens a home, making what is missing.
    ///
    /// # Errors
    /// [`StoreError::Busy`] if another process has it, [`StoreError::Damaged`] if the journal was
    /// altered. An unfinished last entry or a broken index is no error: see [`Recovered`].
    pub fn open(home: &Home) -> Result<(Self, Recovered), StoreError> {
        home.create()?;
        let lock = home.lock()?;
        let (journal, replay) = Journal::open(home)?;
        let (index, state) = Index::open(&home.db(), &replay.records)?;
        let store = Self { home: home.clone(), journal, index, _lock: lock };
        let recovered = Recovered {
            records: replay.records,
            wal: replay.wal,
            cut_tails: replay.cut_tails,
            index: state,
        };
        Ok((store, recovered))
    }

    /// Appends an entry; durable only after [`Store::sync`].
    pub fn append(&mut self, entry: &Entry) -> Result<(), StoreError> {
        let offset = self.journal.append(entry)?;
        if let (Some(offset), Entry::Record { round, bytes }) = (offset, entry) {
            let record = StoredRecord { offset, round: *round, bytes: bytes.clone() };
            self.index.insert(*round, &LedgerRow::of(&record))?;
        }
        Ok(())
    }

    /// Makes everything appended durable; does nothing when everything already is.
    pub fn sync(&mut self) -> Result<(), StoreError> {
        self.journal.sync()
    }

    /// [`Store::append`] and [`Store::sync`].
    pub fn persist(&mut self, entry: &Entry) -> Result<(), StoreError> {
        self.append(entry)?;
        self.sync()
    }

    /// The bytes of the record of a round, checked against the index; `None` if it is not here.
    pub fn record(&self, round: Round) -> Result<Option<Vec<u8>>, StoreError> {
        match self.index.row(round)? {
            Some(row) => self.journal.record(row.offset).map(Some),
            None => Ok(None),
        }
    }

    /// Notes a notice in the gossip log, at this moment of the wall clock. Not durable.
    pub fn append_log(&mut self, at_ms: u64, notice: &Notice) -> Result<LogEntry, StoreError> {
        self.index.log.append(at_ms, notice).map_err(|source| self.index.failed(source))
    }

    /// The first page of what the filter asks for, at most [`LOG_PAGE`] entries, oldest first; the
    /// next page is asked for with `after` set to the last `seq` of this one.
    pub fn log(&mut self, filter: &LogFilter) -> Result<Vec<LogEntry>, StoreError> {
        self.index.log.read(filter, LOG_PAGE).map_err(|source| self.index.failed(source))
    }

    /// Writes what waits in the gossip log; called while nothing else is to do. Waits for no disk:
    /// sled syncs on a thread of its own.
    pub fn write_log(&mut self) -> Result<(), StoreError> {
        self.index.write_log()
    }

    /// Makes the gossip log durable; called before the node ends. Waits for the disk, which under
    /// load takes a second: never while others wait for this node's vote.
    pub fn flush(&mut self) -> Result<(), StoreError> {
        self.index.flush()
    }

    /// Whose store this is.
    pub fn home(&self) -> &Home {
        &self.home
    }
}

/// Entries in a page of the gossip log: half a megabyte of JSON.
pub const LOG_PAGE: usize = 1_000;

impl Drop for Store {
    fn drop(&mut self) {
        // Nothing that matters is lost if this fails, and nobody is left to tell.
        let _ = self.index.flush();
    }
}

#[cfg(test)]
mod crash;
#[cfg(test)]
mod tests;
