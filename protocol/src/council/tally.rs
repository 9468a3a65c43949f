//! The signed votes and motions of a round, kept for those who miss them.

use std::collections::BTreeMap;

use super::context::Tabled;
use crate::digest::Digest;
use crate::member::{MemberId, Round, View};
use crate::message::{Motion, MotionHeld, Roll, Step, Vote, VotesHeld};

/// A message with who signed it.
#[derive(Clone, Debug, PartialEq)]
pub struct Signed<T> {
    /// Who signed.
    pub member: MemberId,
    /// What.
    pub message: T,
    /// The signature of its envelope.
    pub signature: [u8; 64],
}

/// The signed votes and motions of the newest views.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    pub(super) votes: BTreeMap<(View, Step), BTreeMap<usize, Signed<Vote>>>,
    pub(super) motions: BTreeMap<View, Put>,
}

/// A motion with the digest of its proposal, which costs too much to compute at every look.
#[derive(Clone, Debug)]
pub struct Put {
    /// The motion.
    pub motion: Signed<Motion>,
    /// The digest of its proposal.
    pub value: Digest,
}

impl Tally {
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

    /// What is held, for [`Holdings`](crate::message::Holdings).
    pub fn held(&self) -> (Vec<MotionHeld>, Vec<VotesHeld>) {
        let motions = self
            .motions
            .iter()
            .rev()
            .take(VIEWS_TOLD_MAX)
            .map(|(view, put)| MotionHeld { view: *view, value: put.value });
        let mut views: Vec<_> = self.votes.keys().map(|(view, _)| *view).collect();
        views.dedup();
        let told = views.iter().rev().take(VIEWS_TOLD_MAX).next_back().copied();
        let told = |view: &View| told.is_some_and(|oldest| *view >= oldest);
        let votes = self.votes.iter().filter(|((view, _), _)| told(view));
        (
            motions.collect(),
            votes.flat_map(|((view, step), votes)| by_value(*view, *step, votes)).collect(),
        )
    }

    /// Votes held that are not in `held`, of the views a peer still cares about.
    pub fn votes_missing(&self, held: &[VotesHeld]) -> Vec<Signed<Vote>> {
        let newest = self.votes.keys().next_back().map_or(0, |(view, _)| view.0);
        let recent = |view: &View| view.0 + (VIEWS_TOLD_MAX as u32) > newest;
        let holds = |place: usize, vote: &Vote| {
            held.iter().any(|held| {
                (held.view, held.step, held.value) == (vote.view, vote.step, vote.value)
                    && held.members.contains(place)
            })
        };
        let votes = self.votes.iter().filter(|((view, _), _)| recent(view));
        votes
            .flat_map(|(_, votes)| votes)
            .filter(|(place, vote)| !holds(**place, &vote.message))
            .map(|(_, vote)| vote.clone())
            .collect()
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
                member: put.motion.member,
            })
            .collect()
    }

    /// Forgets the votes and motions of views long past.
    pub(super) fn prune(&mut self, view: View) {
        let oldest = View(view.0.saturating_sub(VIEWS_KEPT_MAX));
        self.votes.retain(|(view, _), _| *view >= oldest);
        self.motions.retain(|view, _| *view >= oldest);
    }
}

/// The votes of one step, by what they are for.
fn by_value(view: View, step: Step, votes: &BTreeMap<usize, Signed<Vote>>) -> Vec<VotesHeld> {
    let mut values: BTreeMap<Option<Digest>, Roll> = BTreeMap::new();
    for (place, vote) in votes {
        values.entry(vote.message.value).or_default().insert(*place);
    }
    let held = values.into_iter();
    held.map(|(value, members)| VotesHeld { view, step, value, members }).collect()
}

/// Views behind its own of which votes and motions are kept for others.
pub(super) const VIEWS_KEPT_MAX: u32 = 32;

/// Views told of in one message: those a member that lost a few messages may still need.
const VIEWS_TOLD_MAX: usize = 6;
