//! Objections to a proposal, and the refutation that enough equal ones are.
//!
//! Whoever recomputes a proposal and gets another aggregate signs an objection. One of them is one
//! member's word; when so many members sign the same that one of them must be honest, it is proof, and
//! the next proposal shows it once, with their signatures. Only the aggregate can be refuted: any
//! other objection may depend on which messages had arrived where.

use serde::{Deserialize, Serialize};

use super::signature::CommitSignature;
use crate::digest::Digest;
use crate::member::{MemberId, Round, View};

/// What did not stand up to recomputation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Objection {
    /// The round.
    pub round: Round,
    /// The view of the motion.
    pub view: View,
    /// Who signed the motion.
    pub against: MemberId,
    /// The digest of the proposal.
    pub value: Digest,
    /// The field that is wrong.
    pub field: String,
    /// What it should say.
    pub expected: String,
    /// What it says.
    pub found: String,
}

/// A motion whose aggregate is wrong, by the word of members among whom one is honest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refutation {
    /// What each of them signed: against whom, the aggregate it computed and the one it found.
    pub objection: Objection,
    /// As many as make sure that one is honest, in roster order.
    pub signatures: Vec<CommitSignature>,
}

/// The field of a proposal that can be refuted.
pub const AGGREGATE: &str = "result";
