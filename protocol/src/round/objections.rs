//! The objections heard in a round, and the refutation they add up to.

use std::collections::BTreeMap;

use crate::ledger::{Tip, check_refutation};
use crate::member::View;
use crate::wire::{AGGREGATE, CommitSignature, Objection, Refutation};

/// The objections heard in a round, the first of each member that is about an aggregate.
#[derive(Debug, Default)]
pub struct Objections {
    by_place: BTreeMap<usize, (Objection, CommitSignature)>,
}

impl Objections {
    /// Takes a verified objection in.
    pub fn hear(&mut self, place: usize, objection: Objection, signed: CommitSignature) {
        if objection.field == AGGREGATE {
            self.by_place.entry(place).or_insert((objection, signed));
        }
    }

    /// What a proposal of `view` can tell: the first wrong aggregate of an earlier view.
    pub fn refutation(&self, tip: &Tip, view: View) -> Option<Refutation> {
        let told = self.by_place.values().map(|(objection, _)| self.told(tip, objection));
        let holding = told.filter(|refutation| check_refutation(tip, view, refutation).is_ok());
        holding.min_by_key(|refutation| refutation.objection.view)
    }

    fn told(&self, tip: &Tip, objection: &Objection) -> Refutation {
        let same = self.by_place.values().filter(|(other, _)| other == objection);
        let signatures = same.map(|(_, signed)| signed.clone()).take(tip.roster.honest());
        Refutation { objection: objection.clone(), signatures: signatures.collect() }
    }
}
