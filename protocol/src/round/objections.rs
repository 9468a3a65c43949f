//! The objections received in a round, and the refutation they add up to.

use std::collections::BTreeMap;

use crate::ledger::{Tip, check_refutation};
use crate::member::View;
use crate::wire::{AGGREGATE, MemberSignature, Objection, Refutation};

/// The first objection of each member that is about an aggregate.
#[derive(Debug, Default)]
pub(super) struct Objections {
    by_place: BTreeMap<usize, (Objection, MemberSignature)>,
}

impl Objections {
    /// Takes an objection in.
    pub(super) fn add(&mut self, place: usize, objection: Objection, signed: MemberSignature) {
        if objection.field == AGGREGATE {
            self.by_place.entry(place).or_insert((objection, signed));
        }
    }

    /// The refutation that a proposal of `view` can show: of the earliest wrong aggregate.
    pub(super) fn refutation(&self, tip: &Tip, view: View) -> Option<Refutation> {
        let all = self.by_place.values().map(|(objection, _)| self.refutation_of(tip, objection));
        let sound = all.filter(|refutation| check_refutation(tip, view, refutation).is_ok());
        sound.min_by_key(|refutation| refutation.objection.view)
    }

    fn refutation_of(&self, tip: &Tip, objection: &Objection) -> Refutation {
        let same = self.by_place.values().filter(|(other, _)| other == objection);
        let signatures = same.map(|(_, signed)| signed.clone()).take(tip.roster.honest());
        Refutation { objection: objection.clone(), signatures: signatures.collect() }
    }
}
