//! Re-checks everything a home holds, believing nothing in it but the federation file: the
//! journal's frames, every signature, certificate and link, every blob, every aggregate. Stops at
//! the first thing that is not as it was written, and names it. Must never write.

use std::path::PathBuf;

use witan_files::{BlobError, Blobs};
use witan_protocol::digest::{BlobRef, Digest};
use witan_protocol::io::Aggregate;
use witan_protocol::ledger::{self, Audited, BadRecord};
use witan_protocol::member::Round;
use witan_protocol::wire::RoundRecord;
use witan_protocol::{Federation, Roster};

use crate::aggregation::{AggregateCheck, Aggregation};
use crate::error::StoreError;
use crate::failure::{Failure, FailureKind};
use crate::home::Home;
use crate::store::{self, Snapshot, StoredRecord};

/// What was checked and found as it was written.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Report {
    /// Records, each with its signatures, its certificate and its link.
    pub rounds: u64,
    /// Update signatures among them.
    pub updates: u64,
    /// Votes in their certificates.
    pub votes: u64,
    /// Blobs whose bytes have the digest of their name.
    pub blobs: u64,
    /// Rounds whose aggregate was computed again and is the committed one.
    pub recomputed: Vec<Round>,
    /// Rounds whose deltas are not all here (this node was away), so that others must do it.
    pub not_held: Vec<Round>,
    /// Entries of the gossip log, none missing; `None` where a node runs, which has it to itself.
    pub log_entries: Option<u64>,
    /// Where an entry was being written while this was read; harmless.
    pub unfinished_at: Option<u64>,
    /// The ledger's head.
    pub head: Digest,
}

/// The first thing that is not as it was written.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The home cannot be read, or its journal was altered.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A record does not hold.
    #[error("{}, at byte {offset}: {source}", path.display())]
    Record {
        /// The ledger file.
        path: PathBuf,
        /// Where the record's entry begins.
        offset: u64,
        /// What is wrong with it.
        source: BadRecord,
    },
    /// The ledger was longer once.
    #[error("{} ends with round {found}, but the index knows round {expected}", path.display())]
    Shortened {
        /// The ledger file.
        path: PathBuf,
        /// The newest round the index knows.
        expected: Round,
        /// The newest round in the file.
        found: Round,
    },
    /// A blob was altered.
    #[error(transparent)]
    Blob(#[from] BlobError),
    /// A committed aggregate is not the aggregate of its inputs.
    #[error("round {round}: the aggregate of its updates is {found}, the record says {expected}")]
    Aggregate {
        /// The round.
        round: Round,
        /// What the record says.
        expected: Digest,
        /// What came out.
        found: Digest,
    },
    /// A record's naive error is not that of its inputs.
    #[error("round {round}: the naive error of its updates is not what the record says")]
    NaiveError {
        /// The round.
        round: Round,
    },
    /// The arithmetic could not compute an aggregate of intact blobs.
    #[error("round {round}: its aggregate cannot be computed again: {}", source.message)]
    Incomputable {
        /// The round.
        round: Round,
        /// What the model says.
        source: Failure,
    },
}

/// Every record of `home`, checked against its federation: what its readers may rely on.
///
/// # Errors
/// If the ledger cannot be read or does not hold.
pub fn committed(
    home: &Home,
    federation: &Federation,
    start: BlobRef,
) -> Result<Vec<Audited>, Failure> {
    let file = store::read_records(home)?;
    if let Some(damage) = file.damage {
        return Err(damage.into());
    }
    let bytes = file.records.iter().map(|record| record.bytes.as_slice());
    ledger::audit(federation, start, bytes)
        .map_err(|error| Failure::new(FailureKind::Tampered, error).hint(verify_hint(home)))
}

/// What to do about a history that does not fit its federation.
pub fn verify_hint(home: &Home) -> String {
    format!("if federation.toml was changed, put it back; else see: {}", home.command("verify"))
}

/// Checks a home, running or not.
pub fn audit(
    home: &Home,
    federation: &Federation,
    aggregation: &Aggregation,
) -> Result<Report, Fault> {
    let (start, file) = (aggregation.start(), store::read_records(home)?);
    let bytes = file.records.iter().map(|record| record.bytes.as_slice());
    let records = ledger::audit(federation, start, bytes).map_err(|source| {
        let bad = file.records.iter().find(|record| record.round == source.round);
        let offset = bad.or(file.records.first()).map_or(0, |record| record.offset);
        Fault::Record { path: home.records_log(), offset, source }
    })?;
    if let Some(damage) = file.damage {
        return Err(damage.into());
    }
    let log_entries = check_stopped(home, &file.records)?;
    let blobs = Blobs::open(home.blobs())?;
    let intact = blobs.list()?;
    for blob in &intact {
        blobs.read(blob)?;
    }
    let mut report = Report {
        rounds: records.len() as u64,
        updates: records
            .iter()
            .map(|Audited { record, .. }| &record.proposal)
            .map(|proposal| (proposal.included.len() + proposal.late().count()) as u64)
            .sum(),
        votes: records
            .iter()
            .map(|Audited { record, .. }| record.certificate.signatures.len() as u64)
            .sum(),
        blobs: intact.len() as u64,
        recomputed: Vec::new(),
        not_held: Vec::new(),
        log_entries,
        unfinished_at: file.torn_at,
        head: ledger::Tip::genesis(federation, start).head,
    };
    for Audited { record, roster } in &records {
        report.head = record.digest();
        let check = aggregate_of(federation, record, roster);
        let round = check.round;
        let needed = check.inputs.iter().map(|input| input.delta).chain([check.start]);
        match needed.into_iter().all(|blob| blobs.has(&blob)) {
            false => report.not_held.push(round),
            true => {
                recompute(record, &check, aggregation.recompute(&blobs, &check))?;
                report.recomputed.push(round);
            }
        }
    }
    Ok(report)
}

/// The aggregation a record claims to be the result of.
pub fn aggregate_of(
    federation: &Federation,
    record: &RoundRecord,
    roster: &Roster,
) -> AggregateCheck {
    let proposal = &record.proposal;
    let inputs = ledger::inputs_of(federation, roster, proposal);
    AggregateCheck { round: proposal.round, start: proposal.start, inputs }
}

fn recompute(
    record: &RoundRecord,
    check: &AggregateCheck,
    computed: Result<Aggregate, Failure>,
) -> Result<(), Fault> {
    let (round, expected) = (check.round, record.proposal.result);
    match computed {
        Ok(Aggregate { result: found, .. }) if found != expected => {
            Err(Fault::Aggregate { round, expected: expected.digest, found: found.digest })
        }
        Ok(found) if found.naive_error != record.proposal.naive_error => {
            Err(Fault::NaiveError { round })
        }
        Ok(_) => Ok(()),
        Err(source) => Err(Fault::Incomputable { round, source }),
    }
}

/// What only a home in which no node runs can be asked: a ledger cut between two records is a whole
/// ledger, and only the index remembers that there was more; the write-ahead log and the gossip log
/// never rest in a running one.
fn check_stopped(home: &Home, records: &[StoredRecord]) -> Result<Option<u64>, Fault> {
    let snapshot = match Snapshot::take(home) {
        Err(StoreError::Busy { .. }) => return Ok(None),
        snapshot => snapshot?,
    };
    let found = records.last().map_or(Round(0), |last| last.round);
    store::check_wal(home, found)?;
    let Some(snapshot) = snapshot else { return Ok(None) };
    match snapshot.newest_round() {
        Some(expected) if expected > found => {
            Err(Fault::Shortened { path: home.records_log(), expected, found })
        }
        _ => Ok(Some(snapshot.check(records)?)),
    }
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        let message = fault.to_string();
        let hint = match fault {
            Fault::Store(error) => return error.into(),
            Fault::Blob(error) => return error.into(),
            Fault::Record { .. } | Fault::Shortened { .. } => {
                "stop the node and move its journal and db folders aside: it fetches the ledger \
                 again from the other members"
            }
            Fault::Aggregate { .. } | Fault::NaiveError { .. } | Fault::Incomputable { .. } => {
                "run `witan verify` at another member: if it fails there too, ask who voted"
            }
        };
        Self::new(FailureKind::Tampered, message).hint(hint)
    }
}
