//! Updates that missed their round: kept while they may still count in place of a newer one, and
//! published again. With `council.late_rounds = 0` there are none: see [`crate::ledger::Lateness`].

use std::collections::btree_map::Entry;

use super::{Admission, HeldUpdate, Round};
use crate::ledger;
use crate::member::MemberId;
use crate::outbox::Outbox;
use crate::wire::{Kind, Update};

/// The newest late update of a member.
#[derive(Debug)]
pub(super) struct Late {
    pub(super) held: HeldUpdate,
    /// False once an aggregation found its delta unusable; the member then has no late update.
    pub(super) is_usable: bool,
}

impl Round {
    /// A verified update of a round that is closed.
    pub(crate) fn on_late_update(
        &mut self,
        outbox: &mut Outbox,
        member: MemberId,
        update: Update,
        envelope: Vec<u8>,
    ) -> Admission {
        if !self.tip.lateness.admits(update.round) {
            return Admission::Refused(format!("round {} is closed", update.round));
        }
        if let Err(flaw) = ledger::check_late(&outbox.federation, &self.tip, &member, &update) {
            return flaw.into();
        }
        self.keep_late(outbox, member, HeldUpdate { update, envelope })
    }

    /// Keeps a checked late update unless there is one as new.
    pub(super) fn keep_late(
        &mut self,
        outbox: &mut Outbox,
        member: MemberId,
        held: HeldUpdate,
    ) -> Admission {
        let place = self.place_of(outbox, &member);
        let (round, delta) = (held.update.round, held.update.delta);
        match self.late.entry(place) {
            Entry::Vacant(vacant) => {
                vacant.insert(Late { held, is_usable: true });
            }
            Entry::Occupied(mut known) if known.get().held.update.round < round => {
                // After an unusable one, the member's next does not count until the round is over.
                let is_usable = known.get().is_usable;
                known.insert(Late { held, is_usable });
            }
            Entry::Occupied(known) if known.get().held.update.round > round => {
                return Admission::Known;
            }
            Entry::Occupied(known) if known.get().held.update == held.update => {
                return Admission::Known;
            }
            Entry::Occupied(known) => {
                let one = known.get().held.envelope.clone();
                self.compare(outbox, member, round, (one, held.envelope));
                return Admission::Refused(
                    "a second, different update for the same round".to_owned(),
                );
            }
        }
        self.blobs.want(delta, member);
        Admission::New
    }

    /// The late update that may count for the member at `place`: its delta is stored, and the
    /// member does not sit out, which its heartbeat in the record would have to show.
    pub(super) fn late_update_of(&self, place: usize) -> Option<&HeldUpdate> {
        let late = self.late.get(&place).filter(|late| late.is_usable)?;
        let fits = self.blobs.has(&late.held.update.delta) && !self.sits_out.contains(place);
        fits.then_some(&late.held)
    }

    /// Takes over from the round before what may still count, and this member's running training,
    /// and publishes its update again: few may have received it.
    pub(crate) fn inherit(&mut self, outbox: &mut Outbox, before: Round) {
        let Round { own, updates, late, blobs, tip, .. } = before;
        self.carry_over(own, &tip);
        let older = late.into_iter().map(|(place, late)| (place, late.held));
        for (place, held) in older.chain(updates) {
            let member = tip.roster.members()[place].id();
            let counts = ledger::check_late(&outbox.federation, &self.tip, &member, &held.update);
            if counts.is_ok() {
                let delta = held.update.delta;
                self.keep_late(outbox, member, held);
                if blobs.has(&delta) {
                    self.blobs.put(delta);
                }
            }
        }
        let own = outbox.place().and_then(|place| self.late.get(&place));
        if let Some((round, envelope)) =
            own.map(|late| (late.held.update.round, late.held.envelope.clone()))
        {
            outbox.gossip_sealed(Kind::Update, round, envelope);
        }
    }
}
