//! Equivocation: two different messages signed by one member where it may sign only one.
//!
//! A member signs one update a round, one proposal a view and one vote a step. Both envelopes
//! together prove an equivocation to anyone, so they go into a record, and the member may never
//! lead again. An honest member cannot be caught: what it signs is durable before it is sent
//! (Tendermint, arXiv 1807.04938; evidence as in CometBFT's `DuplicateVoteEvidence`).

use serde::{Deserialize, Serialize};

use crate::member::{MemberId, Round};

/// The proof against one member. Receivers and the ledger check that both envelopes open, are of
/// one slot and differ.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// Who signed both; must be the signer of both envelopes.
    pub member: MemberId,
    /// The round of both messages.
    pub round: Round,
    /// The smaller envelope of the two, compared by bytes; a proposal's without its content.
    #[serde(with = "serde_bytes")]
    pub first: Vec<u8>,
    /// The other.
    #[serde(with = "serde_bytes")]
    pub second: Vec<u8>,
}

/// Proofs in one record; more wait for the next.
pub const EVIDENCE_MAX: usize = 4;

/// Bytes of one envelope of a proof: an update's is the longest.
pub const EVIDENCE_BYTES_MAX: usize = 768;
