//! Membership by vote: a petition to change the roster, the ballots on it, and the decision.
//!
//! A member opens a petition by casting the first ballot on it. Ballots are gossiped and kept until a
//! record shows the decision or the petition expires; a record may show one decision, with a quorum
//! of yes ballots signed by members of its round, and the new roster is in force from the next round.
//! Whoever has the founding document and the ledger can check all of it.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::signature::CommitSignature;
use crate::codec;
use crate::digest::Digest;
use crate::federation::Member;
use crate::member::{MemberId, Round};

/// A change of the roster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// A new member.
    Add(Member),
    /// A member leaves.
    Remove(MemberId),
    /// A member gets another key; name, weight and addresses stay, lost standing is forgiven.
    RotateKey {
        /// The key that ends.
        from: MemberId,
        /// The key that takes its place.
        to: MemberId,
    },
}

/// A change put to the members.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Petition {
    /// Who put it. A member has one open petition at a time.
    pub by: MemberId,
    /// The round it was put in: the same change put later is another petition.
    pub opened: Round,
    /// What it would change.
    pub change: Change,
}

/// One member's say on a petition. A yes is final; a no may become a yes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ballot {
    /// On what.
    pub petition: Petition,
    /// Yes or no.
    pub approve: bool,
}

/// A petition that a quorum approved, as a record shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// What is decided.
    pub petition: Petition,
    /// The signatures of yes ballots: at least a quorum of distinct members, in roster order.
    pub ballots: Vec<CommitSignature>,
}

impl Petition {
    /// Names the petition: what people vote on.
    pub fn id(&self) -> Digest {
        Digest::of_kind("witan 1 petition", &codec::encode(self))
    }

    /// The last round whose record may decide it.
    pub fn expires(&self) -> Round {
        Round(self.opened.0.saturating_add(OPEN_ROUNDS - 1))
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Change::Add(member) => write!(f, "add {} with key {}", member.name, member.key),
            Change::Remove(key) => write!(f, "remove {key}"),
            Change::RotateKey { from, to } => write!(f, "rotate key {from} to {to}"),
        }
    }
}

/// Rounds in which a petition may be decided, the one it was put in included.
pub const OPEN_ROUNDS: u64 = 16;

/// Bytes of a petition: a member with a few addresses.
pub const PETITION_BYTES_MAX: usize = 1024;
