//! Who leads: the aggregator of a view is a pure function of the ledger.
//!
//! Members sit in an order shuffled per epoch (as many rounds as there are members, counted from
//! the round the roster came into force) by H(FederationId, first round, epoch, key). A round starts
//! at its own seat; view v takes the v-th seat after it, skipping members without standing: those
//! whose view failed and who have not contributed since. So each member leads one view 0 an epoch,
//! and the last aggregator has no say in who is next.

use std::collections::BTreeSet;

use crate::digest::Digest;
use crate::federation::Roster;
use crate::member::{MemberId, Round, View};
use crate::wire::Proposal;

/// Who has lost the seat, as the ledger tells. Kept by key: places shift when the roster changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Members whose view failed and who have not contributed to a later round.
    pub failed: BTreeSet<MemberId>,
    /// Keys proven to have signed two things where only one may be: for good. Only the council's
    /// vote for a new key gives such a member its seat back.
    pub equivocators: BTreeSet<MemberId>,
}

impl Standing {
    /// After `proposal` was committed.
    pub fn after(&self, proposal: &Proposal) -> Self {
        let mut failed = self.failed.clone();
        for contribution in &proposal.included {
            failed.remove(&contribution.member);
        }
        failed.extend(proposal.failed_views.iter().map(|failed| failed.aggregator));
        let mut equivocators = self.equivocators.clone();
        equivocators.extend(proposal.evidence.iter().map(|evidence| evidence.member));
        Self { failed, equivocators }
    }

    fn is_honest(&self, member: &MemberId) -> bool {
        !self.equivocators.contains(member)
    }

    fn is_good(&self, member: &MemberId) -> bool {
        self.is_honest(member) && !self.failed.contains(member)
    }
}

/// The members who lead the views of a round, in turn; after the last, the first again.
#[derive(Clone, Debug)]
pub struct Turns(Vec<MemberId>);

impl Turns {
    /// Who leads `view`.
    pub fn leader(&self, view: View) -> MemberId {
        self.0[view.0 as usize % self.0.len()]
    }
}

/// Whose turn it is in the views of `round`. If nobody has standing, those whose view failed have; if
/// no one is left even so, everybody has.
pub fn turns(roster: &Roster, standing: &Standing, round: Round) -> Turns {
    let size = roster.size() as u64;
    let index = round.0.saturating_sub(roster.since().0);
    let mut seats = order(roster, index / size);
    seats.rotate_left((index % size) as usize);
    if seats.iter().any(|member| standing.is_good(member)) {
        seats.retain(|member| standing.is_good(member));
    } else if seats.iter().any(|member| standing.is_honest(member)) {
        seats.retain(|member| standing.is_honest(member));
    }
    Turns(seats)
}

/// The epoch's order: sorted by a hash nobody can steer, which is a uniform shuffle.
fn order(roster: &Roster, epoch: u64) -> Vec<MemberId> {
    let key = |member: &MemberId| {
        let mut bytes = roster.federation().0.0.to_vec();
        bytes.extend_from_slice(&roster.since().0.to_be_bytes());
        bytes.extend_from_slice(&epoch.to_be_bytes());
        bytes.extend_from_slice(&member.0);
        Digest::of_kind("witan 1 seat", &bytes)
    };
    let mut seats: Vec<_> = roster.members().iter().map(|member| member.id()).collect();
    seats.sort_by_cached_key(key);
    seats
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::federation::tests::federation;

    fn lead(size: usize, failed: &[MemberId], round: u64, view: u32) -> MemberId {
        let failed = failed.iter().copied().collect();
        let standing = Standing { failed, ..Standing::default() };
        turns(federation(size).founders(), &standing, Round(round)).leader(View(view))
    }

    #[test]
    fn each_member_leads_once_per_epoch_and_epochs_differ() {
        let first: Vec<_> = (1..=16).map(|round| lead(16, &[], round, 0)).collect();
        let second: Vec<_> = (17..=32).map(|round| lead(16, &[], round, 0)).collect();
        assert_eq!(first.iter().collect::<BTreeSet<_>>().len(), 16);
        assert_eq!(second.iter().collect::<BTreeSet<_>>().len(), 16);
        assert_ne!(first, second);
    }

    #[test]
    fn a_view_takes_the_next_seat_and_skips_those_without_standing() {
        let next = lead(4, &[], 1, 1);
        assert_eq!(next, lead(4, &[], 2, 0));
        assert_eq!(lead(4, &[next], 1, 1), lead(4, &[], 1, 2));
        let all: Vec<_> = federation(4).founders().members().iter().map(|m| m.id()).collect();
        assert_eq!(lead(4, &all, 1, 0), lead(4, &[], 1, 0), "nobody has standing: all have");
        assert_eq!(lead(4, &[], 1, 4), lead(4, &[], 1, 0));
    }

    #[test]
    fn who_signed_twice_leads_only_if_all_did() {
        let federation = federation(4);
        let all: BTreeSet<_> = federation.founders().members().iter().map(|m| m.id()).collect();
        let liar = *all.first().unwrap();
        let mut standing = Standing { failed: all.clone(), equivocators: [liar].into() };
        let Turns(seats) = turns(federation.founders(), &standing, Round(1));
        assert_eq!((seats.len(), seats.contains(&liar)), (3, false), "failed ones rather than it");
        standing.equivocators = all;
        assert_eq!(turns(federation.founders(), &standing, Round(1)).0.len(), 4);
    }
}
