//! What a member has of its round, sent so that others can send it the rest (anti-entropy).
//!
//! Nothing in it is checked beyond its signature: a false list costs the sender what it is not
//! sent, and the receiver a bounded answer.

use serde::{Deserialize, Serialize};

use super::vote::VoteStep;
use crate::digest::Digest;
use crate::member::{Round, View};

/// What the sender has of its undecided round.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holdings {
    /// The first round the sender has no record of; it has all records before.
    pub round: Round,
    /// The digest of its newest record. One that differs from the receiver's in the same round is
    /// reported: two ledgers.
    pub head: Digest,
    /// Members whose updates it has.
    pub updates: MemberSet,
    /// Members whose delta blobs it has.
    pub blobs: MemberSet,
    /// Proposals it has, of the newest views that an honest member is known to have reached.
    #[serde(rename = "motions")]
    pub proposals: Vec<ProposalHeld>,
    /// Votes it has, of the same views.
    pub votes: Vec<VotesHeld>,
    /// Quorums of prevotes it saw, the newest few.
    pub polkas: Vec<ProposalHeld>,
    /// Ballots it has.
    pub ballots: Vec<BallotsHeld>,
}

/// A proposal the sender of [`Holdings`] has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProposalHeld {
    /// The view it was proposed in.
    pub view: View,
    /// Its digest.
    pub value: Digest,
}

/// The ballots on one petition the sender of [`Holdings`] has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BallotsHeld {
    /// The petition.
    pub petition: Digest,
    /// Who voted yes.
    pub yes: MemberSet,
    /// Who voted no.
    pub no: MemberSet,
}

/// The votes for one value the sender of [`Holdings`] has. By value, so that a member that votes
/// differently towards different peers is found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VotesHeld {
    /// The view.
    pub view: View,
    /// The step.
    pub step: VoteStep,
    /// The value.
    pub value: Option<Digest>,
    /// Who voted for it.
    pub members: MemberSet,
}

/// A set of members of one round: a bitset by their place in its roster (at most 64).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MemberSet(pub u64);

impl MemberSet {
    /// Whether the member at `place` is in the set.
    pub fn contains(self, place: usize) -> bool {
        place < 64 && self.0 >> place & 1 == 1
    }

    /// Adds the member at `place`.
    pub fn insert(&mut self, place: usize) {
        debug_assert!(place < 64, "rosters have at most 64 members");
        self.0 |= 1 << (place & 63);
    }

    /// The members of this set that are not in `other`.
    pub fn without(self, other: MemberSet) -> MemberSet {
        MemberSet(self.0 & !other.0)
    }

    /// How many members are in the set.
    pub fn count(self) -> usize {
        self.0.count_ones() as usize
    }

    /// Their places, in roster order.
    pub fn places(self) -> impl Iterator<Item = usize> {
        (0..64).filter(move |&place| self.contains(place))
    }
}

impl Extend<usize> for MemberSet {
    fn extend<I: IntoIterator<Item = usize>>(&mut self, places: I) {
        places.into_iter().for_each(|place| self.insert(place));
    }
}

impl FromIterator<usize> for MemberSet {
    fn from_iter<I: IntoIterator<Item = usize>>(places: I) -> Self {
        let mut set = MemberSet::default();
        set.extend(places);
        set
    }
}
