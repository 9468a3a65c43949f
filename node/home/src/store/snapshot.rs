//! The database of a home in which no node runs, to read from. Sled writes even where it only
//! reads, so a copy in the system's temporary folder is opened, and the home stays as it was.

use std::fs;
use std::path::Path;

use tempfile::TempDir;
use witan_protocol::member::Round;

use super::LOG_PAGE;
use super::gossip_log::{LogEntry, LogFilter};
use super::index::Index;
use super::journal::StoredRecord;
use crate::error::StoreError;
use crate::home::Home;

/// A copy of a database, gone when dropped.
#[derive(Debug)]
pub struct Snapshot {
    index: Index,
    _folder: TempDir,
}

impl Snapshot {
    /// Copies the database of a home; `None` if there is none yet.
    ///
    /// # Errors
    /// [`StoreError::Busy`] if a node runs there, [`StoreError::Index`] if the copy cannot be
    /// opened.
    pub fn take(home: &Home) -> Result<Option<Self>, StoreError> {
        let path = home.db();
        if !path.is_dir() {
            return Ok(None);
        }
        let _lock = match home.lock() {
            Err(busy @ StoreError::Busy { .. }) => return Err(busy),
            // Where not even the lock can be written, no node can run.
            lock => lock.ok(),
        };
        let folder = tempfile::tempdir().map_err(|source| {
            StoreError::io("cannot make a folder in", &std::env::temp_dir(), source)
        })?;
        copy(&path, folder.path())?;
        let index = Index::open_copy(folder.path(), &path)?;
        Ok(Some(Self { index, _folder: folder }))
    }

    /// What [`super::Store::log`] would give.
    pub fn log(&mut self, filter: &LogFilter) -> Result<Vec<LogEntry>, StoreError> {
        self.index.log.read(filter, LOG_PAGE).map_err(|source| self.index.failed(source))
    }

    /// Whether the index agrees with these records and the gossip log is whole; how many entries it
    /// has.
    pub fn check(&self, records: &[StoredRecord]) -> Result<u64, StoreError> {
        self.index.check(records)
    }

    /// The newest round the index knows of.
    pub fn newest_round(&self) -> Option<Round> {
        self.index.newest_round()
    }
}

/// Copies a folder and the folders in it.
fn copy(from: &Path, to: &Path) -> Result<(), StoreError> {
    let failed = |source| StoreError::io("cannot copy", from, source);
    for entry in fs::read_dir(from).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let target = to.join(entry.file_name());
        if entry.file_type().map_err(failed)?.is_dir() {
            fs::create_dir(&target).map_err(failed)?;
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target).map_err(failed)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use witan_protocol::io::{Entry, Notice};

    use super::*;
    use crate::store::{Store, read_records};

    #[test]
    fn reading_a_stopped_home_changes_no_byte_of_its_database() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path());
        let (mut store, _) = Store::open(&home).unwrap();
        store.append_log(7, &Notice::Finished).unwrap();
        assert!(matches!(Snapshot::take(&home), Err(StoreError::Busy { .. })));
        drop(store);
        let before = contents(&home.db());
        let mut snapshot = Snapshot::take(&home).unwrap().unwrap();
        assert_eq!(snapshot.log(&LogFilter::default()).unwrap()[0].notice, Notice::Finished);
        drop(snapshot);
        assert_eq!(contents(&home.db()), before);
    }

    /// What the check of a home says whose store once held records of two rounds and three entries
    /// of the log.
    fn check_after(alter: impl Fn(&sled::Db)) -> Result<u64, StoreError> {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path());
        let (mut store, _) = Store::open(&home).unwrap();
        for round in [1, 2].map(Round) {
            store.persist(&Entry::Record { round, bytes: vec![7; 50] }).unwrap();
        }
        (0..3).for_each(|at| drop(store.append_log(at, &Notice::Finished).unwrap()));
        drop(store);
        let db = sled::open(home.db()).unwrap();
        alter(&db);
        drop(db);
        let records = read_records(&home).unwrap().records;
        Snapshot::take(&home).unwrap().unwrap().check(&records)
    }

    #[test]
    fn a_row_of_another_record_and_a_missing_entry_of_the_log_are_named() {
        let key = |number: u64| number.to_be_bytes();
        assert_eq!(check_after(|_| ()).unwrap(), 3);
        let fault = check_after(|db| {
            db.open_tree("ledger").unwrap().insert(key(2), b"another").unwrap();
        });
        assert!(matches!(fault, Err(StoreError::IndexRow { round: Round(2), .. })), "{fault:?}");
        let fault = check_after(|db| {
            db.open_tree("gossip_log").unwrap().remove(key(1)).unwrap();
        });
        assert!(matches!(fault, Err(StoreError::LogGap { seq: 1, .. })), "{fault:?}");
    }

    fn contents(folder: &Path) -> Vec<(std::path::PathBuf, Vec<u8>)> {
        let mut found: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.is_file())
            .map(|path| (path.clone(), fs::read(&path).unwrap()))
            .collect();
        found.sort();
        found
    }
}
