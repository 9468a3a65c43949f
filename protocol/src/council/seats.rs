//! Who leads: the aggregator of a view is a pure function of the ledger.
//!
//! Members sit in an order shuffled per epoch (as many rounds as there are members) by
//! H(FederationId, epoch, roster). A round starts at its own seat; view v takes the v-th seat after
//! it, skipping members whose view failed and who have not contributed since. So each member leads
//! one view 0 an epoch, and the last aggregator has no say in who is next.

use crate::digest::Digest;
use crate::federation::Federation;
use crate::member::{MemberId, Round, View};
use crate::message::Roll;
use crate::record::Proposal;

/// The elected aggregator of `view` of `round`, when `suspended` is what the ledger before that
/// round says. If everybody is suspended, nobody is.
pub fn aggregator(federation: &Federation, suspended: Roll, round: Round, view: View) -> MemberId {
    let turns = turns(federation, suspended, round);
    turns[view.0 as usize % turns.len()]
}

/// The members who lead views 0, 1, 2, … of `round`; after the last, the first again.
pub fn turns(federation: &Federation, suspended: Roll, round: Round) -> Vec<MemberId> {
    let size = federation.size() as u64;
    let index = round.0.saturating_sub(1);
    let mut seats = order(federation, index / size);
    seats.rotate_left((index % size) as usize);
    let in_standing = |member: &MemberId| {
        federation.seat_of(member).is_some_and(|place| !suspended.contains(place))
    };
    if seats.iter().any(in_standing) {
        seats.retain(in_standing);
    }
    seats
}

/// Who is suspended after `proposal` was committed: whoever failed a view, until it contributes to
/// a later round.
pub fn suspended_after(federation: &Federation, before: Roll, proposal: &Proposal) -> Roll {
    let place = |member: &MemberId| federation.seat_of(member);
    let back: Roll = proposal.included.iter().filter_map(|c| place(&c.member)).collect();
    let mut suspended = before.without(back);
    for failed in &proposal.failed_views {
        if let Some(place) = place(&failed.aggregator) {
            suspended.insert(place);
        }
    }
    suspended
}

/// The epoch's order: sorted by a hash nobody can steer, which is a uniform shuffle.
fn order(federation: &Federation, epoch: u64) -> Vec<MemberId> {
    let key = |member: &MemberId| {
        let mut bytes = federation.id().0.0.to_vec();
        bytes.extend_from_slice(&epoch.to_be_bytes());
        bytes.extend_from_slice(&member.0);
        Digest::of_kind("witan 1 seat", &bytes)
    };
    let mut seats: Vec<_> = federation.members().iter().map(|member| member.id()).collect();
    seats.sort_by_cached_key(key);
    seats
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::federation::tests::federation;

    #[test]
    fn each_member_leads_once_per_epoch_and_epochs_differ() {
        let federation = federation(16);
        let lead = |round| aggregator(&federation, Roll(0), Round(round), View(0));
        let first: Vec<_> = (1..=16).map(lead).collect();
        let second: Vec<_> = (17..=32).map(lead).collect();
        assert_eq!(first.iter().collect::<BTreeSet<_>>().len(), 16);
        assert_eq!(second.iter().collect::<BTreeSet<_>>().len(), 16);
        assert_ne!(first, second);
    }

    #[test]
    fn a_view_takes_the_next_seat_and_skips_the_suspended() {
        let federation = federation(4);
        let lead = |suspended, view| aggregator(&federation, suspended, Round(1), View(view));
        let next = lead(Roll(0), 1);
        assert_eq!(next, aggregator(&federation, Roll(0), Round(2), View(0)));
        let suspended: Roll = federation.seat_of(&next).into_iter().collect();
        assert_eq!(lead(suspended, 1), lead(Roll(0), 2));
        assert_eq!(lead(Roll(0b1111), 0), lead(Roll(0), 0), "all suspended means none is");
        assert_eq!(lead(Roll(0), 4), lead(Roll(0), 0));
    }
}
