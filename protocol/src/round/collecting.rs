//! Collecting: who is waited for, and when the waiting ends.
//!
//! It ends when every live member's update and delta are here and they are enough for a quorum, at
//! the round's deadline, or when the council is seen voting: an elected aggregator's motion, or the
//! votes of so many members that one of them is honest. One liar cannot cut it short.

use super::{Adoption, Filed, Held, Round, cut};
use crate::io::{AggregateInput, Time};
use crate::ledger::{self, input_of};
use crate::member::{MemberId, Round as RoundNumber};
use crate::outbox::Post;
use crate::peers::Peers;
use crate::wire::{Evidence, HEARD_BYTES_MAX, Progress, REASON_BYTES_MAX, Update};

impl Round {
    /// A verified update of this round.
    pub fn on_update(
        &mut self,
        post: &mut Post,
        member: MemberId,
        update: Update,
        envelope: Vec<u8>,
    ) -> Filed {
        if let Err(flaw) = ledger::check_update(&post.federation, &self.tip, &update) {
            return Filed::Refused(flaw.to_string());
        }
        let place = self.place_of(post, &member);
        if let Some(held) = self.updates.get(&place) {
            if held.update == update {
                return Filed::Known;
            }
            let one = held.envelope.clone();
            self.compare(post, member, update.round, (one, envelope));
            return Filed::Refused("a second, different update for the same round".to_owned());
        }
        self.shelf.want(update.delta, member);
        self.updates.insert(place, Held { update, envelope });
        Filed::New
    }

    /// Two updates of one member for one round: it is accused unless they are one and the same.
    pub(super) fn compare(
        &mut self,
        post: &mut Post,
        member: MemberId,
        round: RoundNumber,
        (one, other): (Vec<u8>, Vec<u8>),
    ) {
        if one != other {
            let (first, second) = if one < other { (one, other) } else { (other, one) };
            self.accuse(post, Evidence { member, round, first, second });
        }
    }

    /// A verified heartbeat of this round.
    pub fn on_peer_progress(
        &mut self,
        post: &Post,
        member: &MemberId,
        progress: &Progress,
        envelope: Vec<u8>,
    ) {
        let place = self.place_of(post, member);
        if progress.sits_out.is_some() {
            self.sits_out.insert(place);
        }
        if envelope.len() <= HEARD_BYTES_MAX {
            self.heard.insert(place, envelope);
        }
    }

    /// `member` told that it has the deltas of these members.
    pub fn on_holder(&mut self, holder: MemberId, places: impl Iterator<Item = usize>) {
        for place in places {
            if let Some(held) = self.updates.get(&place) {
                self.shelf.want(held.update.delta, holder);
            }
        }
    }

    /// Whether the delta of the member at `place` is here.
    pub fn has_delta(&self, place: usize) -> bool {
        self.updates.get(&place).is_some_and(|held| self.shelf.has(&held.update.delta))
    }

    /// Members whose update or delta is still waited for.
    pub fn waiting_for(&self, now: Time, post: &Post, peers: &Peers) -> Vec<MemberId> {
        let members = post.roster.members().iter().enumerate();
        let settled = |place| {
            self.has_delta(place)
                || self.refused.contains_key(&place)
                || (self.sits_out.contains(place) && !self.updates.contains_key(&place))
        };
        members
            .filter(|(place, member)| {
                let own = Some(*place) == post.place();
                let expected =
                    if own { self.will_contribute() } else { peers.is_live(&member.id(), now) };
                expected && !settled(*place)
            })
            .map(|(_, member)| member.id())
            .collect()
    }

    /// When the round stops waiting.
    pub fn deadline(&self, post: &Post) -> Option<Time> {
        let ms = post.federation.document().council.round_deadline_s.saturating_mul(1000);
        self.began.map(|began| Time(began.0.saturating_add(ms)))
    }

    /// Whether the deadline has passed.
    pub(super) fn is_late(&self, now: Time, post: &Post) -> bool {
        self.deadline(post).is_some_and(|deadline| now >= deadline)
    }

    /// How many members are accounted for: with a delta, refused, or sitting out.
    pub(super) fn settled_count(&self, post: &Post) -> usize {
        (0..post.roster.size())
            .filter(|place| {
                self.has_delta(*place)
                    || self.refused.contains_key(place)
                    || self.sits_out.contains(*place)
            })
            .count()
    }

    /// Ends the waiting when it is time; aggregates; then opens the vote.
    pub(super) fn collect(&mut self, now: Time, post: &mut Post, peers: &Peers) {
        if self.council.is_open() {
            return;
        }
        let pushed = self.council.tally().motions().next().is_some()
            || self.council.tally().all_voters().count() >= post.roster.honest();
        if pushed {
            self.council.open(now);
            return;
        }
        if !matches!(self.adoption, Adoption::Done) {
            return;
        }
        let enough = self.settled_count(post) >= post.roster.quorum();
        let complete = enough && self.waiting_for(now, post, peers).is_empty();
        self.collected |= complete || self.is_late(now, post);
        if !self.collected {
            return;
        }
        let inputs = self.inputs(post);
        if inputs.is_empty() || self.aggregates.is_done(&inputs) {
            self.council.open(now);
        } else {
            self.aggregates.ask(now, post, &self.tip, inputs);
        }
    }

    /// The usable deltas with their weights, in roster order; late ones stand in for members whose
    /// own of this round is not here. Nothing if there are late ones only.
    pub(super) fn inputs(&self, post: &Post) -> Vec<AggregateInput> {
        let places = (0..post.roster.size()).filter(|place| !self.refused.contains_key(place));
        let (mut inputs, mut fresh) = (Vec::new(), false);
        for place in places {
            let held = self.updates.get(&place).filter(|held| self.shelf.has(&held.update.delta));
            fresh |= held.is_some();
            let held = held.or_else(|| self.stand_in(place));
            inputs.extend(held.map(|held| self.input(post, place, &held.update)));
        }
        if fresh { inputs } else { Vec::new() }
    }

    /// An update of the member at `place` as an input of this round.
    pub(super) fn input(&self, post: &Post, place: usize, update: &Update) -> AggregateInput {
        let member = post.roster.members()[place].id();
        input_of(&post.federation, &post.roster, self.tip.round, member, update)
    }

    /// Leaves out deltas that turned out unusable: a late one, or else a member's own of this round.
    pub(super) fn refuse(
        &mut self,
        post: &Post,
        inputs: &[AggregateInput],
        unusable: &[(MemberId, String)],
    ) {
        for (member, reason) in unusable {
            let Some(place) = post.roster.place_of(member) else {
                continue;
            };
            let late = self.late.get(&place).map(|late| &late.held.update);
            if late.is_some_and(|late| inputs.contains(&self.input(post, place, late))) {
                self.late.entry(place).and_modify(|late| late.is_usable = false);
            } else {
                self.refused.insert(place, cut(reason, REASON_BYTES_MAX));
            }
        }
    }
}
