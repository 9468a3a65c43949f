//! The signed votes and proposals of a round, kept for members that miss them.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use super::context::CoreProposal;
use crate::digest::Digest;
use crate::member::{MemberId, Round, View};
use crate::wire::{
    MemberSet, Polka, ProposalHeld, ProposalMessage, Verified, Vote, VoteStep, VotesHeld,
};

/// The signed votes and proposals of the newest views.
#[derive(Clone, Debug)]
pub(crate) struct Tally {
    view: View,
    honest: usize,
    pub(super) votes: BTreeMap<(View, VoteStep), BTreeMap<usize, Verified<Vote>>>,
    pub(super) proposals: BTreeMap<View, HeldProposal>,
    polkas: BTreeMap<View, Polka>,
}

/// A proposal with its digest, which is too costly to compute each time.
#[derive(Clone, Debug)]
pub(crate) struct HeldProposal {
    /// The message with its signature.
    pub signed: Verified<ProposalMessage>,
    /// The proposal's digest.
    pub value: Digest,
}

impl Tally {
    /// Empty, at view 0. Of any `honest` members at least one is honest.
    pub(super) fn new(honest: usize) -> Self {
        let (votes, proposals, polkas) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { view: View(0), honest, votes, proposals, polkas }
    }

    /// Whose votes are held for a step of a view.
    pub(crate) fn voters(&self, view: View, step: VoteStep) -> MemberSet {
        self.votes.get(&(view, step)).map(|v| v.keys().copied().collect()).unwrap_or_default()
    }

    /// All members of whom a vote is held.
    pub(crate) fn all_voters(&self) -> MemberSet {
        self.votes.values().flat_map(|votes| votes.keys().copied()).collect()
    }

    /// The proposals held, newest view last.
    pub(crate) fn proposals(&self) -> impl Iterator<Item = &HeldProposal> {
        self.proposals.values()
    }

    /// The newest quorums of prevotes seen, newest last.
    pub(crate) fn polkas(&self) -> impl Iterator<Item = &Polka> {
        self.polkas.values()
    }

    /// Who prevoted for `value` in any view.
    pub(crate) fn backers(&self, value: Digest) -> impl Iterator<Item = MemberId> {
        let prevotes = self.votes.iter().filter(|((_, step), _)| *step == VoteStep::Prevote);
        let votes = prevotes.flat_map(|(_, votes)| votes.values());
        votes.filter(move |vote| vote.message.value == Some(value)).map(|vote| vote.signer)
    }

    /// Whether a held proposal or quorum of prevotes is about `value`.
    pub(crate) fn is_about(&self, value: &Digest) -> bool {
        self.proposals.values().any(|held| held.value == *value)
            || self.polkas.values().any(|polka| polka.value == *value)
    }

    /// How many votes are held.
    pub(crate) fn votes_count(&self) -> usize {
        self.votes.values().map(BTreeMap::len).sum()
    }

    /// Of how many views votes are held.
    pub(crate) fn views_count(&self) -> usize {
        let mut views: Vec<_> = self.votes.keys().map(|(view, _)| view).collect();
        views.dedup();
        views.len()
    }

    /// What is held of the recent views, for [`Holdings`](crate::wire::Holdings).
    pub(crate) fn held(&self) -> (Vec<ProposalHeld>, Vec<VotesHeld>, Vec<ProposalHeld>) {
        let recent = self.recent_views();
        let proposals = self.proposals.iter().filter(|(view, _)| recent.contains(view));
        let proposals =
            proposals.map(|(view, held)| ProposalHeld { view: *view, value: held.value });
        let votes = self.votes.iter().filter(|((view, _), _)| recent.contains(view));
        let votes = votes.flat_map(|((view, step), votes)| by_value(*view, *step, votes));
        let polkas =
            self.polkas.values().map(|polka| ProposalHeld { view: polka.view, value: polka.value });
        (proposals.collect(), votes.collect(), polkas.collect())
    }

    /// Votes of the recent views that are not in `held`.
    pub(crate) fn votes_missing(&self, held: &[VotesHeld]) -> Vec<Verified<Vote>> {
        let recent = self.recent_views();
        let holds = |place: usize, vote: &Vote| {
            held.iter().any(|held| {
                (held.view, held.step, held.value) == (vote.view, vote.step, vote.value)
                    && held.members.contains(place)
            })
        };
        let votes = self.votes.iter().filter(|((view, _), _)| recent.contains(view));
        votes
            .flat_map(|(_, votes)| votes)
            .filter(|(place, vote)| !holds(**place, &vote.message))
            .map(|(_, vote)| vote.clone())
            .collect()
    }

    /// The newest view that an honest member has reached, the few before it, and the next one,
    /// which some may have reached. Votes of a few liars for distant views change nothing.
    fn recent_views(&self) -> RangeInclusive<View> {
        let mut voters = MemberSet::default();
        let reached = self.votes.iter().rev().find(|(_, votes)| {
            votes.keys().for_each(|place| voters.insert(*place));
            voters.count() >= self.honest
        });
        let View(newest) = reached.map_or(self.view, |((view, _), _)| self.view.max(*view));
        View(newest.saturating_sub(VIEWS_RECENT - 1))..=View(newest.saturating_add(1))
    }

    /// The views in which `value` was proposed, as the library has them.
    pub(super) fn core_proposals(&self, round: Round, value: Digest) -> Vec<CoreProposal> {
        self.proposals
            .values()
            .filter(|held| held.value == value)
            .map(|held| CoreProposal {
                round,
                view: held.signed.message.view,
                valid_view: held.signed.message.valid_view,
                value,
                member: held.signed.signer,
            })
            .collect()
    }

    /// Takes in a quorum of prevotes. False if one is known for its view.
    pub(super) fn take_polka(&mut self, polka: Polka) -> bool {
        if self.polkas.contains_key(&polka.view) {
            return false;
        }
        self.polkas.insert(polka.view, polka);
        if self.polkas.len() > POLKAS_KEPT_MAX {
            self.polkas.pop_first();
        }
        true
    }

    /// The prevotes held for `value` in `view`, as a quorum if they are one.
    pub(super) fn polka(
        &self,
        (round, view): (Round, View),
        value: Digest,
        quorum: usize,
    ) -> Option<Polka> {
        let votes = self.votes.get(&(view, VoteStep::Prevote))?.values();
        let signatures: Vec<_> = votes
            .filter(|vote| vote.message.value == Some(value))
            .map(|vote| vote.signed())
            .collect();
        (signatures.len() >= quorum).then_some(Polka { round, view, value, signatures })
    }

    /// `view` begins: the votes and proposals of old views are dropped.
    pub(super) fn prune(&mut self, view: View) {
        self.view = view;
        let oldest = View(view.0.saturating_sub(VIEWS_KEPT_MAX));
        self.votes.retain(|(view, _), _| *view >= oldest);
        self.proposals.retain(|view, _| *view >= oldest);
    }
}

/// The votes of one step, by value.
fn by_value(view: View, step: VoteStep, votes: &BTreeMap<usize, Verified<Vote>>) -> Vec<VotesHeld> {
    let mut values: BTreeMap<Option<Digest>, MemberSet> = BTreeMap::new();
    for (place, vote) in votes {
        values.entry(vote.message.value).or_default().insert(*place);
    }
    let held = values.into_iter();
    held.map(|(value, members)| VotesHeld { view, step, value, members }).collect()
}

/// How many views behind its own votes and proposals are kept for others.
pub(super) const VIEWS_KEPT_MAX: u32 = 32;

/// Quorums of prevotes kept for others: with at most a third lying, the newest is what counts.
const POLKAS_KEPT_MAX: usize = 8;

/// Views listed in holdings, beside the next one: those a member that lost a few messages may need.
const VIEWS_RECENT: u32 = 6;
