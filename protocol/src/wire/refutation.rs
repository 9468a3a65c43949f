//! Refutation: a wrong aggregate, told in the record that closes the round in its place.
//!
//! Whoever recomputes a proposal and comes to another aggregate signs an objection. One of them is
//! one member's word; when so many members sign the same that one of them must be honest, it is so,
//! and the next proposal shows what they signed, once, with their signatures. Only the aggregate can
//! be refuted: any other objection may depend on what had arrived where.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ledger::{Flaw, Tip, check_signatures, require, same};
use crate::member::View;
use crate::wire::message::{Message, Objection};
use crate::wire::record::CommitSignature;

/// A motion whose aggregate is wrong, by the word of members among whom one is honest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refutation {
    /// What each of them signed: against whom, the aggregate it computed and the one it found.
    pub objection: Objection,
    /// As many as make sure that one is honest, in roster order.
    pub signatures: Vec<CommitSignature>,
}

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
        let holding = told.filter(|refutation| check(tip, view, refutation).is_ok());
        holding.min_by_key(|refutation| refutation.objection.view)
    }

    fn told(&self, tip: &Tip, objection: &Objection) -> Refutation {
        let same = self.by_place.values().filter(|(other, _)| other == objection);
        let signatures = same.map(|(_, signed)| signed.clone()).take(tip.roster.honest());
        Refutation { objection: objection.clone(), signatures: signatures.collect() }
    }
}

/// Whether a proposal of `view` may show this.
pub(crate) fn check(tip: &Tip, view: View, refutation: &Refutation) -> Result<(), Flaw> {
    let Refutation { objection, signatures } = refutation;
    let roster = &tip.roster;
    same("refutation.round", tip.round, objection.round)?;
    let is_before = objection.view < view;
    require(is_before, "refutation.view", format!("before view {view}"), objection.view)?;
    let elected = tip.turns().leader(objection.view);
    let (elected, against) = (roster.name_of(&elected), roster.name_of(&objection.against));
    same("refutation.against", elected, against)?;
    same("refutation.field", AGGREGATE, &objection.field)?;
    let longest = objection.expected.len().max(objection.found.len());
    require(longest <= DIGEST_DIGITS, "refutation", "two digests", "longer words")?;
    let message = Message::Objection(objection.clone());
    check_signatures(roster, "refutation", &message, signatures)?;
    same("refutation.signatures", roster.honest(), signatures.len())
}

/// The field of a proposal that can be refuted.
pub const AGGREGATE: &str = "result";

/// Hexadecimal digits of a digest.
const DIGEST_DIGITS: usize = 64;
