//! Votes, and a quorum of prevotes as proof.

use serde::{Deserialize, Serialize};

use super::signature::MemberSignature;
use crate::digest::Digest;
use crate::member::{Round, View};

/// The two steps of a view.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VoteStep {
    /// "I checked this and would commit it."
    Prevote,
    /// "I saw a quorum of prevotes for this."
    Precommit,
}

/// One member's vote. A quorum of precommits for one value is the certificate. A second, different
/// vote for the same step is an equivocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vote {
    /// The round.
    pub round: Round,
    /// The view; votes of distant views are ignored.
    pub view: View,
    /// The step.
    pub step: VoteStep,
    /// The proposal's digest, or `None` for a vote against all.
    pub value: Option<Digest>,
}

/// A quorum of prevotes for one proposal, as proof: a member that saw it may be bound to that
/// proposal, and others can follow only if they see the quorum too. Votes alone do not suffice: of
/// a member that cast two, everyone keeps the one that arrived first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Polka {
    /// The round.
    pub round: Round,
    /// The view.
    pub view: View,
    /// The digest of the proposal.
    pub value: Digest,
    /// The prevotes of distinct members, in roster order; receivers check each, and that they are a
    /// quorum.
    pub signatures: Vec<MemberSignature>,
}
