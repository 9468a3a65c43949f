//! Collecting: who is waited for, and when the waiting ends.
//!
//! It ends when the delta of every reachable member is stored and they are enough for a quorum, at
//! the round's deadline, or when others are seen voting: by an elected aggregator's proposal, or by
//! the votes of so many members that one of them is honest. One liar cannot cut it short.

use super::{Admission, Adoption, HeldUpdate, Round, shortened};
use crate::io::{AggregateInput, Time};
use crate::ledger::{self, input_of};
use crate::member::{MemberId, Round as RoundNumber};
use crate::outbox::Outbox;
use crate::peers::Peers;
use crate::wire::{Evidence, HEARD_BYTES_MAX, Heartbeat, REASON_BYTES_MAX, Update};

impl Round {
    /// A verified update of this round.
    pub(crate) fn on_update(
        &mut self,
        outbox: &mut Outbox,
        member: MemberId,
        update: Update,
        envelope: Vec<u8>,
    ) -> Admission {
        if let Err(flaw) = ledger::check_update(&outbox.federation, &self.tip, &update) {
            return flaw.into();
        }
        let place = self.place_of(outbox, &member);
        if let Some(held) = self.updates.get(&place) {
            if held.update == update {
                return Admission::Known;
            }
            let one = held.envelope.clone();
            self.compare(outbox, member, update.round, (one, envelope));
            return Admission::Refused("a second, different update for the same round".to_owned());
        }
        self.blobs.want(update.delta, member);
        self.updates.insert(place, HeldUpdate { update, envelope });
        Admission::New
    }

    /// Two updates of one member for one round: evidence, unless they are the same.
    pub(super) fn compare(
        &mut self,
        outbox: &mut Outbox,
        member: MemberId,
        round: RoundNumber,
        (one, other): (Vec<u8>, Vec<u8>),
    ) {
        if one != other {
            let (first, second) = if one < other { (one, other) } else { (other, one) };
            self.accuse(outbox, Evidence { member, round, first, second });
        }
    }

    /// A verified heartbeat of this round.
    pub(crate) fn on_heartbeat(
        &mut self,
        outbox: &Outbox,
        member: &MemberId,
        progress: &Heartbeat,
        envelope: Vec<u8>,
    ) {
        let place = self.place_of(outbox, member);
        if progress.sits_out.is_some() {
            self.sits_out.insert(place);
        }
        if envelope.len() <= HEARD_BYTES_MAX {
            self.heard.insert(place, envelope);
        }
    }

    /// `holder` reports that it has the deltas of these members.
    pub(crate) fn on_holder(&mut self, holder: MemberId, places: impl Iterator<Item = usize>) {
        for place in places {
            if let Some(held) = self.updates.get(&place) {
                self.blobs.want(held.update.delta, holder);
            }
        }
    }

    /// Whether the delta of the member at `place` is stored.
    pub(crate) fn has_delta(&self, place: usize) -> bool {
        self.updates.get(&place).is_some_and(|held| self.blobs.has(&held.update.delta))
    }

    /// Members whose update or delta is still waited for.
    pub(crate) fn waiting_for(&self, now: Time, outbox: &Outbox, peers: &Peers) -> Vec<MemberId> {
        let members = outbox.roster.members().iter().enumerate();
        let settled = |place| {
            self.has_delta(place)
                || self.refused.contains_key(&place)
                || (self.sits_out.contains(place) && !self.updates.contains_key(&place))
        };
        members
            .filter(|(place, member)| {
                let own = Some(*place) == outbox.place();
                let expected =
                    if own { self.will_contribute() } else { peers.is_live(&member.id(), now) };
                expected && !settled(*place)
            })
            .map(|(_, member)| member.id())
            .collect()
    }

    /// When the round stops waiting.
    pub(crate) fn deadline(&self, outbox: &Outbox) -> Option<Time> {
        let ms = outbox.federation.document().council.round_deadline_s.saturating_mul(1000);
        self.began.map(|began| Time(began.0.saturating_add(ms)))
    }

    /// Whether the deadline has passed.
    pub(super) fn is_late(&self, now: Time, outbox: &Outbox) -> bool {
        self.deadline(outbox).is_some_and(|deadline| now >= deadline)
    }

    /// How many members are accounted for: with a delta, refused, or sitting out.
    pub(super) fn settled_count(&self, outbox: &Outbox) -> usize {
        (0..outbox.roster.size())
            .filter(|place| {
                self.has_delta(*place)
                    || self.refused.contains_key(place)
                    || self.sits_out.contains(*place)
            })
            .count()
    }

    /// Stops waiting when it is time; aggregates; then opens the vote.
    pub(super) fn collect(&mut self, now: Time, outbox: &mut Outbox, peers: &Peers) {
        if self.consensus.is_open() {
            return;
        }
        let has_begun = self.consensus.tally().proposals().next().is_some()
            || self.consensus.tally().all_voters().count() >= outbox.roster.honest();
        if has_begun {
            self.consensus.open(now);
            return;
        }
        if !matches!(self.adoption, Adoption::Done) {
            return;
        }
        let enough = self.settled_count(outbox) >= outbox.roster.quorum();
        let complete = enough && self.waiting_for(now, outbox, peers).is_empty();
        self.collected |= complete || self.is_late(now, outbox);
        if !self.collected {
            return;
        }
        let inputs = self.inputs(outbox);
        if inputs.is_empty() || self.aggregates.is_done(&inputs) {
            self.consensus.open(now);
        } else {
            self.aggregates.ask(now, outbox, &self.tip, inputs);
        }
    }

    /// The usable deltas with their weights, in roster order; late ones for members whose delta of
    /// this round is not stored. Empty if all are late.
    pub(super) fn inputs(&self, outbox: &Outbox) -> Vec<AggregateInput> {
        let places = (0..outbox.roster.size()).filter(|place| !self.refused.contains_key(place));
        let (mut inputs, mut fresh) = (Vec::new(), false);
        for place in places {
            let held = self.updates.get(&place).filter(|held| self.blobs.has(&held.update.delta));
            fresh |= held.is_some();
            let held = held.or_else(|| self.late_update_of(place));
            inputs.extend(held.map(|held| self.input(outbox, place, &held.update)));
        }
        if fresh { inputs } else { Vec::new() }
    }

    /// An update of the member at `place` as an input of this round.
    pub(super) fn input(&self, outbox: &Outbox, place: usize, update: &Update) -> AggregateInput {
        let member = outbox.roster.members()[place].id();
        input_of(&outbox.federation, &outbox.roster, self.tip.round, member, update)
    }

    /// Drops deltas that turned out unusable: a late one, or else a member's delta of this round.
    pub(super) fn refuse(
        &mut self,
        outbox: &Outbox,
        inputs: &[AggregateInput],
        unusable: &[(MemberId, String)],
    ) {
        for (member, reason) in unusable {
            let Some(place) = outbox.roster.place_of(member) else {
                continue;
            };
            let late = self.late.get(&place).map(|late| &late.held.update);
            if late.is_some_and(|late| inputs.contains(&self.input(outbox, place, late))) {
                self.late.entry(place).and_modify(|late| late.is_usable = false);
            } else {
                self.refused.insert(place, shortened(reason, REASON_BYTES_MAX));
            }
        }
    }
}
