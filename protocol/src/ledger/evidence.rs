//! Whether evidence proves an equivocation, and whether a record may show it.

use super::signatures::check_order;
use super::tip::Tip;
use crate::federation::Roster;
use crate::flaw::{Flaw, require, same};
use crate::member::{MemberId, Round, View};
use crate::wire::envelope::{self, Claim};
use crate::wire::{EVIDENCE_BYTES_MAX, EVIDENCE_MAX, Evidence, Message, VoteStep};

/// What a member may sign only once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slot {
    Update(Round),
    Proposal(Round, View),
    Vote(Round, View, VoteStep),
}

impl Evidence {
    /// The evidence of two conflicting messages, with their signatures.
    pub(crate) fn of(
        member: MemberId,
        one: (&Message, &[u8; 64]),
        other: (&Message, &[u8; 64]),
    ) -> Self {
        let claim = |(message, signature)| envelope::reseal_claim(member, message, signature);
        let (first, second) = (claim(one), claim(other));
        let round = one.0.round();
        let (first, second) = if first < second { (first, second) } else { (second, first) };
        Self { member, round, first, second }
    }

    /// Whether the proof holds against a member of `roster`; returns what was signed twice, for
    /// people.
    pub fn check(&self, roster: &Roster) -> Result<String, Flaw> {
        let open = |name: &str, bytes: &[u8]| {
            let (length, max) = (bytes.len(), EVIDENCE_BYTES_MAX);
            require(length <= max, name, format!("at most {max} bytes"), length)?;
            let claim = envelope::open_claim(bytes, roster);
            let claim = claim.map_err(|refusal| Flaw::new(name, "a signed envelope", refusal))?;
            same(name, roster.name_of(&self.member), roster.name_of(&claim.signer))?;
            Ok(claim)
        };
        let (first, second) = (open("first", &self.first)?, open("second", &self.second)?);
        require(self.first < self.second, "first, second", "in order", "not")?;
        let slot = slot_of(&first.message);
        let conflict = slot == slot_of(&second.message);
        require(conflict, "first, second", "two of which one may be", "two that go together")?;
        let different = first.message != second.message;
        require(different, "first, second", "two different messages", "one, twice")?;
        same("round", slot.round(), self.round)?;
        Ok(slot.to_string())
    }
}

impl Slot {
    fn round(self) -> Round {
        match self {
            Slot::Update(round) | Slot::Proposal(round, _) | Slot::Vote(round, ..) => round,
        }
    }
}

impl std::fmt::Display for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Slot::Update(round) => write!(f, "two updates for round {round}"),
            Slot::Proposal(round, view) => {
                write!(f, "two proposals in view {view} of round {round}")
            }
            Slot::Vote(round, view, VoteStep::Prevote) => {
                write!(f, "two prevotes in view {view} of round {round}")
            }
            Slot::Vote(round, view, VoteStep::Precommit) => {
                write!(f, "two precommits in view {view} of round {round}")
            }
        }
    }
}

/// Checks the evidence of a proposal: few proofs, in roster order, new, and sound.
pub(super) fn check(tip: &Tip, evidence: &[Evidence]) -> Result<(), Flaw> {
    let count = evidence.len();
    require(count <= EVIDENCE_MAX, "evidence", format!("at most {EVIDENCE_MAX}"), count)?;
    check_order(&tip.roster, "evidence", evidence.iter().map(|proof| proof.member))?;
    for (index, proof) in evidence.iter().enumerate() {
        let field = format!("evidence[{index}]");
        let known = tip.standing.equivocators.contains(&proof.member);
        require(!known, &field, "something new", "proven before")?;
        require(proof.round <= tip.round, &field, "of a round begun", proof.round)?;
        proof.check(&tip.roster).map_err(|flaw| flaw.within(&field))?;
    }
    Ok(())
}

fn slot_of(claim: &Claim) -> Slot {
    match claim {
        Claim::Update(update) => Slot::Update(update.round),
        Claim::Proposal(head) => Slot::Proposal(head.round, head.view),
        Claim::Vote(vote) => Slot::Vote(vote.round, vote.view, vote.step),
    }
}
