//! Updates of rounds that closed without them: kept while they may still count, stood in with, told
//! again. With `council.late_rounds` at 0 there are none: see [`crate::ledger::Lateness`].

use std::collections::btree_map::Entry;

use super::{Filed, Held, Round};
use crate::digest::Digest;
use crate::io::JobId;
use crate::ledger;
use crate::member::{MemberId, Round as RoundNumber};
use crate::outbox::Post;
use crate::wire::{Kind, Update};

/// A late update at hand: the newest of its member.
#[derive(Debug)]
pub(super) struct Late {
    pub(super) held: Held,
    /// Until an aggregation finds its delta unusable; then nothing stands in for the member.
    pub(super) is_usable: bool,
}

impl Round {
    /// A verified update of a round that is closed.
    pub fn on_late_update(
        &mut self,
        post: &mut Post,
        member: MemberId,
        update: Update,
        envelope: Vec<u8>,
    ) -> Filed {
        if !self.tip.lateness.admits(update.round) {
            return Filed::Refused(format!("round {} is closed", update.round));
        }
        if let Err(flaw) = ledger::check_late(&post.federation, &self.tip, &member, &update) {
            return Filed::Refused(flaw.to_string());
        }
        self.keep_late(post, member, Held { update, envelope })
    }

    /// Keeps a checked late update unless there is one as new.
    pub(super) fn keep_late(&mut self, post: &mut Post, member: MemberId, held: Held) -> Filed {
        let place = self.place_of(post, &member);
        let (round, delta) = (held.update.round, held.update.delta);
        match self.late.entry(place) {
            Entry::Vacant(vacant) => {
                vacant.insert(Late { held, is_usable: true });
            }
            Entry::Occupied(mut known) if known.get().held.update.round < round => {
                // One that proved useless speaks against the next until the round is over.
                let is_usable = known.get().is_usable;
                known.insert(Late { held, is_usable });
            }
            Entry::Occupied(known) if known.get().held.update.round > round => {
                return Filed::Known;
            }
            Entry::Occupied(known) if known.get().held.update == held.update => {
                return Filed::Known;
            }
            Entry::Occupied(known) => {
                let one = known.get().held.envelope.clone();
                self.compare(post, member, round, (one, held.envelope));
                return Filed::Refused("a second, different update for the same round".to_owned());
            }
        }
        self.shelf.want(delta, member);
        Filed::New
    }

    /// The late update that may stand in for the member at `place`: its delta is here, and the member
    /// did not say that it sits out, which its heartbeat must then show.
    pub(super) fn stand_in(&self, place: usize) -> Option<&Held> {
        let late = self.late.get(&place).filter(|late| late.is_usable)?;
        let fits = self.shelf.has(&late.held.update.delta) && !self.sits_out.contains(place);
        fits.then_some(&late.held)
    }

    /// Takes over from the round before what may still count, the own training under way with it, and
    /// tells the own update again: few may have heard it.
    pub fn inherit(&mut self, post: &mut Post, before: Round) {
        let Round { own, updates, late, shelf, tip, .. } = before;
        self.outlast(own, &tip);
        let older = late.into_iter().map(|(place, late)| (place, late.held));
        for (place, held) in older.chain(updates) {
            let member = tip.roster.members()[place].id();
            let counts = ledger::check_late(&post.federation, &self.tip, &member, &held.update);
            if counts.is_ok() {
                let delta = held.update.delta;
                self.keep_late(post, member, held);
                if shelf.has(&delta) {
                    self.shelf.put(delta);
                }
            }
        }
        let own = post.place().and_then(|place| self.late.get(&place));
        if let Some((round, envelope)) =
            own.map(|late| (late.held.update.round, late.held.envelope.clone()))
        {
            post.gossip_sealed(Kind::Update, round, envelope);
        }
    }
}
