//! Objections to a proposal, and the refutation that enough equal ones add up to.
//!
//! A member that recomputes a proposal and gets another aggregate signs an objection. One objection
//! is one member's word; when so many members sign the same that one of them must be honest, it is
//! proof, and the next proposal shows it, with their signatures. Only the aggregate can be refuted:
//! any other objection may depend on which messages had arrived where.

use serde::{Deserialize, Serialize};

use super::signature::MemberSignature;
use crate::digest::Digest;
use crate::member::{MemberId, Round, View};

/// What is wrong with a proposal. Receivers take the sender's word for what it is: one opinion.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Objection {
    /// The round.
    pub round: Round,
    /// The view the proposal was made in.
    pub view: View,
    /// Who signed the proposal.
    pub against: MemberId,
    /// The digest of the proposal.
    pub value: Digest,
    /// The field that is wrong.
    pub field: String,
    /// What it should be.
    pub expected: String,
    /// What it is.
    pub found: String,
}

/// A proposal whose aggregate is wrong, attested by members of whom at least one is honest. The
/// ledger checks round, an earlier view, its aggregator and each signature.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refutation {
    /// What each of them signed: against whom, the aggregate they computed and the one they found.
    pub objection: Objection,
    /// As many as make sure that one is honest, in roster order.
    pub signatures: Vec<MemberSignature>,
}

/// The field of a proposal that can be refuted.
pub const AGGREGATE: &str = "result";
