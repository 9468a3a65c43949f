//! Who leads: the aggregator of a view is a pure function of the ledger.
//!
//! The order of members is shuffled per epoch (as many rounds as there are members, counted from
//! the round the roster came into force) by H(FederationId, first round, epoch, key). A round
//! starts at its own place in that order; view v takes the v-th place after it, skipping members
//! that may not lead: those whose view failed and who have not contributed since. So each member
//! leads one view 0 an epoch, and the last aggregator cannot influence who is next.

use std::collections::BTreeSet;

use crate::digest::Digest;
use crate::federation::Roster;
use crate::member::{MemberId, Round, View};
use crate::wire::Proposal;

/// Who may not lead, by the ledger. Kept by key: places shift when the roster changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Members whose view failed and who have not contributed to a later round.
    pub failed: BTreeSet<MemberId>,
    /// Keys proven to have equivocated: they never lead again. Only a new key, voted for by the
    /// members, lets such a member lead.
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

/// The members who lead the views of a round, in order; after the last, the first again.
#[derive(Clone, Debug)]
pub struct Leaders(Vec<MemberId>);

impl Leaders {
    /// Who leads the views of `round`: members in good standing; if there are none, those whose
    /// view failed; if there are none of those either, everybody.
    pub fn new(roster: &Roster, standing: &Standing, round: Round) -> Self {
        let size = roster.size() as u64;
        let index = round.0.saturating_sub(roster.since().0);
        let mut order = epoch_order(roster, index / size);
        order.rotate_left((index % size) as usize);
        if order.iter().any(|member| standing.is_good(member)) {
            order.retain(|member| standing.is_good(member));
        } else if order.iter().any(|member| standing.is_honest(member)) {
            order.retain(|member| standing.is_honest(member));
        }
        Self(order)
    }

    /// Who leads `view`.
    pub fn of(&self, view: View) -> MemberId {
        self.0[view.0 as usize % self.0.len()]
    }
}

/// The epoch's order: sorted by a hash nobody can steer, which is a uniform shuffle.
fn epoch_order(roster: &Roster, epoch: u64) -> Vec<MemberId> {
    let key = |member: &MemberId| {
        let mut bytes = roster.federation().0.0.to_vec();
        bytes.extend_from_slice(&roster.since().0.to_be_bytes());
        bytes.extend_from_slice(&epoch.to_be_bytes());
        bytes.extend_from_slice(&member.0);
        Digest::of_kind("witan 1 seat", &bytes)
    };
    let mut order: Vec<_> = roster.members().iter().map(|member| member.id()).collect();
    order.sort_by_cached_key(key);
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::federation::tests::federation;

    fn lead(size: usize, failed: &[MemberId], round: u64, view: u32) -> MemberId {
        let failed = failed.iter().copied().collect();
        let standing = Standing { failed, ..Standing::default() };
        Leaders::new(federation(size).founders(), &standing, Round(round)).of(View(view))
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
    fn a_view_takes_the_next_place_and_skips_those_without_standing() {
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
        let Leaders(order) = Leaders::new(federation.founders(), &standing, Round(1));
        assert_eq!((order.len(), order.contains(&liar)), (3, false), "failed ones rather than it");
        standing.equivocators = all;
        assert_eq!(Leaders::new(federation.founders(), &standing, Round(1)).0.len(), 4);
    }
}
