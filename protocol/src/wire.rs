//! What members send each other, and what a record holds: every type that travels is defined here,
//! once. Must never depend on the ledger or on a round: whether a message fits is theirs to say.

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
pub use holdings::{BallotsHeld, Holdings, MotionHeld, Roll, VotesHeld};
pub use message::{Certified, Kind, Message, Motion, MotionHead, Progress};
pub use objection::{AGGREGATE, Objection, Refutation};
pub use record::{
    Absence, Absent, Certificate, Contribution, FailedView, HEARD_BYTES_MAX, LayerError, Proposal,
    REASON_BYTES_MAX, RoundRecord,
};
pub use signature::{CommitSignature, Verified};
pub use update::{Scores, Update};
pub use vote::{Polka, Step, Vote};
