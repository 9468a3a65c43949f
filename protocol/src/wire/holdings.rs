//! What a member has of its round, told so that others can send the rest.

use serde::{Deserialize, Serialize};

use super::vote::Step;
use crate::digest::Digest;
use crate::member::{Round, View};

/// What the sender holds of its undecided round, so that a peer can send what is missing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holdings {
    /// The first round the sender has no record of; all before it, it has.
    pub round: Round,
    /// The digest of its newest record.
    pub head: Digest,
    /// Members whose updates it holds.
    pub updates: Roll,
    /// Members whose delta blobs it holds.
    pub blobs: Roll,
    /// Motions it holds, of the views that matter: those about the newest that an honest member is known
    /// to have reached.
    pub motions: Vec<MotionHeld>,
    /// Votes it holds, of the same views.
    pub votes: Vec<VotesHeld>,
    /// Quorums of prevotes it saw, the newest few.
    pub polkas: Vec<MotionHeld>,
    /// Ballots it holds.
    pub ballots: Vec<BallotsHeld>,
}

/// A motion the sender of [`Holdings`] has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MotionHeld {
    /// The view it was put in.
    pub view: View,
    /// The digest of the proposal.
    pub value: Digest,
}

/// The ballots on one petition the sender of [`Holdings`] has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BallotsHeld {
    /// The petition.
    pub petition: Digest,
    /// Whose yes.
    pub yes: Roll,
    /// Whose no.
    pub no: Roll,
}

/// The votes for one value the sender of [`Holdings`] has. By value, so that a member whose votes
/// differ from peer to peer is found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VotesHeld {
    /// The view.
    pub view: View,
    /// The step.
    pub step: Step,
    /// The value.
    pub value: Option<Digest>,
    /// Whose votes.
    pub members: Roll,
}

/// A set of members of one round, by their place in its roster (at most 64).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Roll(pub u64);

impl Roll {
    /// Whether the member at `place` is in the set.
    pub fn contains(self, place: usize) -> bool {
        place < 64 && self.0 >> place & 1 == 1
    }

    /// Adds the member at `place`.
    pub fn insert(&mut self, place: usize) {
        debug_assert!(place < 64, "rosters have at most 64 members");
        self.0 |= 1 << (place & 63);
    }

    /// Those here that are not in `other`.
    pub fn without(self, other: Roll) -> Roll {
        Roll(self.0 & !other.0)
    }

    /// How many.
    pub fn count(self) -> usize {
        self.0.count_ones() as usize
    }

    /// Their places, in roster order.
    pub fn places(self) -> impl Iterator<Item = usize> {
        (0..64).filter(move |&place| self.contains(place))
    }
}

impl Extend<usize> for Roll {
    fn extend<I: IntoIterator<Item = usize>>(&mut self, places: I) {
        places.into_iter().for_each(|place| self.insert(place));
    }
}

impl FromIterator<usize> for Roll {
    fn from_iter<I: IntoIterator<Item = usize>>(places: I) -> Self {
        let mut roll = Roll::default();
        roll.extend(places);
        roll
    }
}
