//! The ledger: a hash chain of certified round records.
//!
//! A record names the digest of the one before it; the first names the genesis digest, which covers
//! the federation and the adapter training began from. Must never append what it has not checked:
//! every signature, the leader, the roster, the link and the quorum. What it cannot check is that a
//! result digest is the aggregate of its inputs: that takes the deltas, and the node does it.

mod attendance;
mod evidence;
mod lateness;
mod leaders;
mod membership;
mod petition;
mod proposal;
mod refutation;
mod signatures;
mod tip;

use std::sync::Arc;

use crate::codec;
use crate::digest::BlobRef;
use crate::federation::{Federation, Roster};
use crate::flaw::Flaw;
use crate::member::Round;
use crate::wire::RoundRecord;
use crate::wire::envelope::RECORD_BYTES_MAX;
pub use attendance::Attendance;
pub use lateness::{Lateness, input_of, inputs_of};
pub use leaders::{Leaders, Standing};
pub use membership::roster_after;
pub use proposal::{Counted, check_late, check_proposal, check_update};
pub(crate) use refutation::check_refutation;
pub use signatures::check_certificate;
pub(crate) use signatures::check_polka;
pub use tip::Tip;

/// The chain as one member has it.
#[derive(Clone, Debug)]
pub struct Ledger {
    federation: Arc<Federation>,
    records: Vec<Vec<u8>>,
    tip: Tip,
}

/// The first record of a chain that does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("record of round {round}: {what}")]
pub struct BadRecord {
    /// The round the record should be of, by its place in the chain.
    pub round: Round,
    /// What is wrong.
    pub what: Flaw,
}

impl Ledger {
    /// An empty ledger.
    pub fn new(federation: Arc<Federation>, start: BlobRef) -> Self {
        let tip = Tip::genesis(&federation, start);
        Self { federation, records: Vec::new(), tip }
    }

    /// The state after the newest record.
    pub fn tip(&self) -> &Tip {
        &self.tip
    }

    /// The canonical bytes of a round's record.
    pub fn record(&self, round: Round) -> Option<&[u8]> {
        let index = usize::try_from(round.0.checked_sub(1)?).ok()?;
        self.records.get(index).map(Vec::as_slice)
    }

    /// Checks that `bytes` are the next record, in full.
    pub fn check(&self, bytes: &[u8]) -> Result<RoundRecord, BadRecord> {
        check_record(&self.federation, &self.tip, bytes)
            .map_err(|what| BadRecord { round: self.tip.round, what })
    }

    /// Appends a record that [`Ledger::check`] returned, or that this member's own consensus
    /// decided.
    pub fn append(&mut self, record: &RoundRecord) {
        debug_assert_eq!(record.proposal.round, self.tip.round, "records follow each other");
        self.tip = self.tip.after(&record.proposal);
        self.records.push(record.encode());
    }
}

/// A record that holds, with the roster that was in force in its round.
#[derive(Clone, Debug, PartialEq)]
pub struct Audited {
    /// The record.
    pub record: RoundRecord,
    /// The members of its round.
    pub roster: Arc<Roster>,
}

/// Checks a whole chain for an auditor: every update and precommit signature, every quorum of
/// distinct members, every link, roster and leader. Returns the records, or the first bad one.
pub fn audit<'a>(
    federation: &Federation,
    start: BlobRef,
    records: impl Iterator<Item = &'a [u8]>,
) -> Result<Vec<Audited>, BadRecord> {
    let mut tip = Tip::genesis(federation, start);
    let mut checked = Vec::new();
    for bytes in records {
        let record = check_record(federation, &tip, bytes)
            .map_err(|what| BadRecord { round: tip.round, what })?;
        let next = tip.after(&record.proposal);
        checked.push(Audited { record, roster: std::mem::replace(&mut tip, next).roster });
    }
    Ok(checked)
}

fn check_record(federation: &Federation, tip: &Tip, bytes: &[u8]) -> Result<RoundRecord, Flaw> {
    let record: RoundRecord = codec::decode(bytes, RECORD_BYTES_MAX)
        .map_err(|error| Flaw::new("record", "canonical CBOR", error))?;
    check_proposal(federation, tip, &record.proposal, &|_, _| None)?;
    check_certificate(&tip.roster, &record.proposal, &record.certificate)?;
    Ok(record)
}
