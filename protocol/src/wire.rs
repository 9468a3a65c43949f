//! Everything members send each other, and everything a record holds: each type that travels is
//! defined here, once.
//!
//! A field's doc says who sets it and who checks it against what; "the ledger" is
//! [`crate::ledger`], which checks whatever a record must hold, before the vote and in every audit.
//! Field names and their order are the wire format: changing one changes digests. This module must
//! never depend on the ledger or on a round.

mod ballot;
pub mod envelope;
mod evidence;
mod holdings;
mod message;
mod objection;
mod record;
mod signature;
mod update;
mod vote;

pub use ballot::{Ballot, Change, Decision, OPEN_ROUNDS, PETITION_BYTES_MAX, Petition};
pub use evidence::{EVIDENCE_BYTES_MAX, EVIDENCE_MAX, Evidence};
pub use holdings::{BallotsHeld, Holdings, MemberSet, ProposalHeld, VotesHeld};
pub use message::{Heartbeat, Kind, Message, ProposalHead, ProposalMessage, RecordCopy};
pub use objection::{AGGREGATE, Objection, Refutation};
pub use record::{
    Absence, Absent, Certificate, Contribution, FailedView, HEARD_BYTES_MAX, LayerError, Proposal,
    REASON_BYTES_MAX, RoundRecord,
};
pub use signature::{MemberSignature, Verified};
pub use update::{Scores, Update};
pub use vote::{Polka, Vote, VoteStep};
