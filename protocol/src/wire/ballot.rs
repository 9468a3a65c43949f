//! Membership by vote: a petition to change the roster, the ballots on it, and the decision.
//!
//! A member opens a petition by casting the first ballot on it. Ballots are gossiped and kept until
//! a record holds the decision or the petition expires. A record may hold one decision, with a
//! quorum of yes ballots signed by members of its round; the new roster is in force from the next
//! round. Anyone who has the founding document and the ledger can check all of it.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::signature::MemberSignature;
use crate::codec;
use crate::digest::Digest;
use crate::federation::Member;
use crate::member::{MemberId, Round};

/// A change of the roster. The ledger checks that it leads to a sound roster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// A new member.
    Add(Member),
    /// A member leaves.
    Remove(MemberId),
    /// A member gets another key; name, weight and addresses stay, and its standing is restored.
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
    /// Who opened it; a petition exists once its ballot has arrived. A member has one open
    /// petition.
    pub by: MemberId,
    /// The round it was opened in: the same change opened later is another petition. The ledger
    /// checks that it has not expired.
    pub opened: Round,
    /// What it would change.
    pub change: Change,
}

/// One member's vote on a petition. A yes is final; a no may become a yes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ballot {
    /// What the vote is about.
    pub petition: Petition,
    /// Yes or no.
    pub approve: bool,
}

/// A petition that a quorum approved, as a record holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// What is decided; the ledger checks that it is open and was not decided before.
    pub petition: Petition,
    /// The signatures of yes ballots: at least a quorum of distinct members, in roster order.
    pub ballots: Vec<MemberSignature>,
}

impl Petition {
    /// Names the petition: what ballots are about.
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

/// Rounds in which a petition may be decided, including the one it was opened in.
pub const OPEN_ROUNDS: u64 = 16;

/// Bytes of a petition: a member with a few addresses.
pub const PETITION_BYTES_MAX: usize = 1024;
