//! The roster that follows from a decided change.

use std::sync::Arc;

use crate::federation::Roster;
use crate::flaw::Flaw;
use crate::member::{MemberId, Round};
use crate::wire::{Change, Proposal};

/// The roster after a change, in force from round `since` on; it must be as sound as a founding
/// one.
pub(super) fn changed(roster: &Roster, change: &Change, since: Round) -> Result<Roster, Flaw> {
    let mut members = roster.members().to_vec();
    let find = |field: &str, key: &MemberId| {
        roster.place_of(key).ok_or_else(|| Flaw::new(field, "a member's key", key))
    };
    match change {
        Change::Add(member) => members.push(member.clone()),
        Change::Remove(key) => drop(members.remove(find("remove", key)?)),
        Change::RotateKey { from, to } => members[find("rotate_key.from", from)?].key = *to,
    }
    roster.with_members(since, members)
}

/// The roster of the round after the one `proposal` closes.
pub fn roster_after(roster: &Arc<Roster>, proposal: &Proposal) -> Arc<Roster> {
    let since = Round(proposal.round.0 + 1);
    let decision = proposal.decision.as_ref();
    match decision.map(|decision| changed(roster, &decision.petition.change, since)) {
        Some(Ok(roster)) => Arc::new(roster),
        // A change that cannot be made is in no record that holds.
        Some(Err(_)) | None => Arc::clone(roster),
    }
}
