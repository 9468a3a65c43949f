//! Votes, and a quorum of them as proof.

use serde::{Deserialize, Serialize};

use super::signature::CommitSignature;
use crate::digest::Digest;
use crate::member::{Round, View};

/// The two steps of a view.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// "I checked this and would commit it."
    Prevote,
    /// "I saw a quorum of prevotes for this."
    Precommit,
}

/// One member's vote. A quorum of precommits for one value is the certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vote {
    /// The round.
    pub round: Round,
    /// The view.
    pub view: View,
    /// The step.
    pub step: Step,
    /// The proposal's digest, or none of them.
    pub value: Option<Digest>,
}

/// A quorum of prevotes for one proposal, as proof: whoever saw it may have to insist on that
/// proposal, and can be followed only by those who see it too. Votes alone do not carry that far:
/// of a member that cast two, everyone keeps the one that came first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Polka {
    /// The round.
    pub round: Round,
    /// The view.
    pub view: View,
    /// The digest of the proposal.
    pub value: Digest,
    /// The prevotes of distinct members, in roster order.
    pub signatures: Vec<CommitSignature>,
}
