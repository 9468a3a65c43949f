//! Whether a record may show a refutation.

use super::signatures::check_signatures;
use super::tip::Tip;
use crate::flaw::{Flaw, require, same};
use crate::member::View;
use crate::wire::{AGGREGATE, Message, Refutation};

/// Whether a proposal of `view` may show this.
pub(crate) fn check_refutation(tip: &Tip, view: View, refutation: &Refutation) -> Result<(), Flaw> {
    let Refutation { objection, signatures } = refutation;
    let roster = &tip.roster;
    same("refutation.round", tip.round, objection.round)?;
    let is_before = objection.view < view;
    require(is_before, "refutation.view", format!("before view {view}"), objection.view)?;
    let elected = tip.leaders().of(objection.view);
    let (elected, against) = (roster.name_of(&elected), roster.name_of(&objection.against));
    same("refutation.against", elected, against)?;
    same("refutation.field", AGGREGATE, &objection.field)?;
    let longest = objection.expected.len().max(objection.found.len());
    require(longest <= DIGEST_DIGITS, "refutation", "two digests", "longer words")?;
    let message = Message::Objection(objection.clone());
    check_signatures(roster, "refutation.signatures", &message, signatures)?;
    same("refutation.signatures", roster.honest(), signatures.len())
}

/// Hexadecimal digits of a digest.
const DIGEST_DIGITS: usize = 64;
