//! The signed votes and motions of a round, kept for those who miss them.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use super::context::Tabled;
use crate::digest::Digest;
use crate::member::{MemberId, Round, View};
use crate::wire::{CommitSignature, Motion, MotionHeld, Polka, Roll, Step, Vote, VotesHeld};

/// The signed votes and motions of the newest views.
#[derive(Clone, Debug)]
pub struct Tally {
    view: View,
    honest: usize,
    pub(super) votes: BTreeMap<(View, Step), BTreeMap<usize, Verified<Vote>>>,
    pub(super) motions: BTreeMap<View, Put>,
    polkas: BTreeMap<View, Polka>,
}

/// A motion with the digest of its proposal, which costs too much to compute at every look.
#[derive(Clone, Debug)]
pub struct Put {
    /// The motion.
    pub motion: Verified<Motion>,
    /// The digest of its proposal.
    pub value: Digest,
}

impl Tally {
    /// Empty, at view 0. Of `honest` members one at least tells the truth.
    pub(super) fn new(honest: usize) -> Self {
        let (votes, motions, polkas) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { view: View(0), honest, votes, motions, polkas }
    }

    /// Whose votes are held for a step of a view.
    pub fn voters(&self, view: View, step: Step) -> Roll {
        self.votes.get(&(view, step)).map(|v| v.keys().copied().collect()).unwrap_or_default()
    }

    /// Everyone of whom any vote is held.
    pub fn all_voters(&self) -> Roll {
        self.votes.values().flat_map(|votes| votes.keys().copied()).collect()
    }

    /// The motions held, newest view last.
    pub fn motions(&self) -> impl Iterator<Item = &Put> {
        self.motions.values()
    }

    /// The newest quorums of prevotes seen, newest last.
    pub fn polkas(&self) -> impl Iterator<Item = &Polka> {
        self.polkas.values()
    }

    /// Who prevoted for `value` in any view.
    pub fn backers(&self, value: Digest) -> impl Iterator<Item = MemberId> {
        let prevotes = self.votes.iter().filter(|((_, step), _)| *step == Step::Prevote);
        let votes = prevotes.flat_map(|(_, votes)| votes.values());
        votes.filter(move |vote| vote.message.value == Some(value)).map(|vote| vote.signer)
    }

    /// Whether a motion or a quorum of prevotes held is about `value`.
    pub fn is_about(&self, value: &Digest) -> bool {
        self.motions.values().any(|put| put.value == *value)
            || self.polkas.values().any(|polka| polka.value == *value)
    }

    /// How many votes are held.
    pub fn votes_count(&self) -> usize {
        self.votes.values().map(BTreeMap::len).sum()
    }

    /// Of how many views votes are held.
    pub fn views_count(&self) -> usize {
        let mut views: Vec<_> = self.votes.keys().map(|(view, _)| view).collect();
        views.dedup();
        views.len()
    }

    /// What is held of the views that matter, for [`Holdings`](crate::wire::Holdings).
    pub fn held(&self) -> (Vec<MotionHeld>, Vec<VotesHeld>, Vec<MotionHeld>) {
        let told = self.told();
        let motions = self.motions.iter().filter(|(view, _)| told.contains(view));
        let motions = motions.map(|(view, put)| MotionHeld { view: *view, value: put.value });
        let votes = self.votes.iter().filter(|((view, _), _)| told.contains(view));
        let votes = votes.flat_map(|((view, step), votes)| by_value(*view, *step, votes));
        let polkas =
            self.polkas.values().map(|polka| MotionHeld { view: polka.view, value: polka.value });
        (motions.collect(), votes.collect(), polkas.collect())
    }

    /// Votes of the views that matter that are not in `held`.
    pub fn votes_missing(&self, held: &[VotesHeld]) -> Vec<Verified<Vote>> {
        let told = self.told();
        let holds = |place: usize, vote: &Vote| {
            held.iter().any(|held| {
                (held.view, held.step, held.value) == (vote.view, vote.step, vote.value)
                    && held.members.contains(place)
            })
        };
        let votes = self.votes.iter().filter(|((view, _), _)| told.contains(view));
        votes
            .flat_map(|(_, votes)| votes)
            .filter(|(place, vote)| !holds(**place, &vote.message))
            .map(|(_, vote)| vote.clone())
            .collect()
    }

    /// The views that matter: the newest that an honest member has reached, the few before it, and
    /// the next one, in which some may be already. A few liars' votes for distant views move nothing.
    fn told(&self) -> RangeInclusive<View> {
        let mut voters = Roll::default();
        let reached = self.votes.iter().rev().find(|(_, votes)| {
            votes.keys().for_each(|place| voters.insert(*place));
            voters.count() >= self.honest
        });
        let View(newest) = reached.map_or(self.view, |((view, _), _)| self.view.max(*view));
        View(newest.saturating_sub(VIEWS_TOLD_MAX - 1))..=View(newest.saturating_add(1))
    }

    /// The motions that put the proposal `value`, in the library's words.
    pub(super) fn tabled(&self, round: Round, value: Digest) -> Vec<Tabled> {
        self.motions
            .values()
            .filter(|put| put.value == value)
            .map(|put| Tabled {
                round,
                view: put.motion.message.view,
                valid_view: put.motion.message.valid_view,
                value,
                member: put.motion.signer,
            })
            .collect()
    }

    /// Files a quorum of prevotes. False if one is known for its view.
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
        let votes = self.votes.get(&(view, Step::Prevote))?.values();
        let signatures: Vec<_> = votes
            .filter(|vote| vote.message.value == Some(value))
            .map(|vote| vote.signed())
            .collect();
        (signatures.len() >= quorum).then_some(Polka { round, view, value, signatures })
    }

    /// `view` begins: the votes and motions of views long past are forgotten.
    pub(super) fn prune(&mut self, view: View) {
        self.view = view;
        let oldest = View(view.0.saturating_sub(VIEWS_KEPT_MAX));
        self.votes.retain(|(view, _), _| *view >= oldest);
        self.motions.retain(|view, _| *view >= oldest);
    }
}

/// The votes of one step, by what they are for.
fn by_value(view: View, step: Step, votes: &BTreeMap<usize, Verified<Vote>>) -> Vec<VotesHeld> {
    let mut values: BTreeMap<Option<Digest>, Roll> = BTreeMap::new();
    for (place, vote) in votes {
        values.entry(vote.message.value).or_default().insert(*place);
    }
    let held = values.into_iter();
    held.map(|(value, members)| VotesHeld { view, step, value, members }).collect()
}

/// Views behind its own of which votes and motions are kept for others.
pub(super) const VIEWS_KEPT_MAX: u32 = 32;

/// Quorums of prevotes kept for others: with at most a third lying, the newest is what counts.
const POLKAS_KEPT_MAX: usize = 8;

/// Views told of in one message, beside the next one: those a member that lost a few messages may
/// still need.
const VIEWS_TOLD_MAX: u32 = 6;
