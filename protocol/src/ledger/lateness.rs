//! Late updates: an update that missed its round may count in a later one, in place of the update
//! the member does not have ready for that one, with less weight.
//!
//! Opt-in, by `council.late_rounds`; with 0 none is admitted. Whether an update may
//! count follows from its signature and the ledger alone: it was trained from the adapter committed
//! when its round began, under the roster in force now, and nothing as new of that member counted
//! before. So none counts twice, and once a fresh one has counted, no older one does.
//!
//! The weight of one τ rounds late is divided by 1 + τ: the polynomial discount of FedAsync (Xie et
//! al., arXiv 1903.03934) with a = 1, for changes added to a newer model as FedBuff does (Nguyen et
//! al., arXiv 2106.06639). FedBuff takes a = 1/2; with a = 1 whole numbers suffice: every weight of
//! such a federation is multiplied by a number that each 1 + τ divides.

use std::collections::BTreeMap;

use crate::digest::Digest;
use crate::federation::{Federation, Roster};
use crate::flaw::{Flaw, require, same};
use crate::io::AggregateInput;
use crate::member::{MemberId, Round};
use crate::wire::envelope::open_update;
use crate::wire::{Proposal, Update};

/// The closed rounds whose updates may still count, and what counted of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Lateness {
    rounds: u64,
    starts: BTreeMap<Round, Digest>,
    counted: BTreeMap<MemberId, Round>,
}

impl Lateness {
    /// Before the first round.
    pub fn genesis(federation: &Federation) -> Self {
        Self { rounds: federation.document().council.late_rounds, ..Self::default() }
    }

    /// After `proposal`, a sound one of a round of the roster `before`, was committed; then
    /// `roster` is in force.
    pub fn after(&self, proposal: &Proposal, before: &Roster, roster: &Roster) -> Self {
        let mut after = self.clone();
        if self.rounds == 0 {
            return after;
        }
        let round = proposal.round;
        after.starts.insert(round, proposal.start.digest);
        let fresh = proposal.included.iter().map(|part| (part.member, round));
        let late = proposal
            .late()
            .filter_map(|(member, envelope)| Some((*member, open_update(envelope, before)?.round)));
        after.counted.extend(fresh.chain(late));
        let oldest = Round((round.0 + 1).saturating_sub(self.rounds)).max(roster.since());
        after.starts.retain(|round, _| *round >= oldest);
        after.counted.retain(|_, round| *round >= oldest);
        after
    }

    /// Whether updates of this closed round may count.
    pub fn admits(&self, round: Round) -> bool {
        self.starts.contains_key(&round)
    }

    /// Whether an update of `member`, else plausible, may count in the next round.
    pub(super) fn check(&self, member: &MemberId, update: &Update) -> Result<(), Flaw> {
        let Some(start) = self.starts.get(&update.round) else {
            let oldest = self.starts.keys().next();
            let oldest = oldest.map_or_else(|| "none".to_owned(), Round::to_string);
            let expected = format!("one that closed lately, the oldest is {oldest}");
            return Err(Flaw::new("late.round", expected, update.round));
        };
        same("late.start", *start, update.start)?;
        let counted = self.counted.get(member).filter(|counted| **counted >= update.round);
        let found = counted.map_or_else(String::new, |round| format!("not newer than {round}"));
        require(counted.is_none(), "late.round", "newer than what counted of it", found)
    }
}

/// The inputs of a proposal that holds, in roster order.
pub fn inputs_of(
    federation: &Federation,
    roster: &Roster,
    proposal: &Proposal,
) -> Vec<AggregateInput> {
    let read = |(member, envelope): (&MemberId, &[u8])| {
        let update = open_update(envelope, roster)?;
        Some(input_of(federation, roster, proposal.round, *member, &update))
    };
    let mut inputs: Vec<_> = proposal.counted().filter_map(read).collect();
    inputs.sort_by_key(|input| roster.place_of(&input.member));
    inputs
}

/// An update as an input of round `round`: the weight is its steps times the member's weight in the
/// federation, and less if it comes late.
pub fn input_of(
    federation: &Federation,
    roster: &Roster,
    round: Round,
    member: MemberId,
    update: &Update,
) -> AggregateInput {
    let factor = roster.member(&member).map_or(0, |member| u64::from(member.weight));
    let late_by = round.0.saturating_sub(update.round.0);
    let share = full_share(federation.document().council.late_rounds) / (1 + late_by);
    let weight = update.steps.saturating_mul(factor).saturating_mul(share);
    AggregateInput { member, delta: update.delta, weight }
}

/// What the weight of a fresh update is multiplied by: the least number that 1, 2, … `late_rounds`
/// + 1 all divide.
fn full_share(late_rounds: u64) -> u64 {
    const fn gcd(a: u64, b: u64) -> u64 {
        if b == 0 { a } else { gcd(b, a % b) }
    }
    (2..=late_rounds + 1).fold(1, |whole, part| whole / gcd(whole, part) * part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_whole_numbers_and_fall_as_one_over_one_more_than_the_lateness() {
        let shares = |late_rounds| {
            let full = full_share(late_rounds);
            (0..=late_rounds).map(|late_by| full / (1 + late_by)).collect::<Vec<_>>()
        };
        assert_eq!(shares(0), [1], "as if there were no late updates");
        assert_eq!(shares(1), [2, 1]);
        assert_eq!(shares(4), [60, 30, 20, 15, 12]);
        for late_rounds in 0..=8 {
            let full = full_share(late_rounds);
            assert!((1..=late_rounds + 1).all(|part| full.is_multiple_of(part)), "{late_rounds}");
        }
    }
}
