//! The agenda: what a record should say beside the aggregate. It outlives the round it was begun in,
//! until a record has said it.

pub mod petitions;

use std::collections::BTreeMap;

use crate::ledger::Tip;
use crate::member::MemberId;
use crate::wire::{EVIDENCE_MAX, Evidence};
use petitions::Polls;

/// What waits for a record.
#[derive(Clone, Debug, Default)]
pub struct Agenda {
    /// Petitions under vote.
    pub polls: Polls,
    evidence: BTreeMap<MemberId, Evidence>,
}

impl Agenda {
    /// Adds checked evidence against a member. False if there is some already; one is enough.
    pub fn accuse(&mut self, tip: &Tip, evidence: Evidence) -> bool {
        let member = evidence.member;
        if self.evidence.contains_key(&member) || tip.standing.equivocators.contains(&member) {
            return false;
        }
        self.evidence.insert(member, evidence);
        true
    }

    /// The evidence that waits, one proof a member.
    pub fn evidence(&self) -> impl Iterator<Item = &Evidence> {
        self.evidence.values()
    }

    /// The evidence for the next proposal.
    pub fn charges(&self, tip: &Tip) -> Vec<Evidence> {
        let members = tip.roster.members().iter();
        let due = members.filter_map(|member| self.evidence.get(&member.id()));
        due.filter(|evidence| evidence.round <= tip.round).take(EVIDENCE_MAX).cloned().collect()
    }

    /// Forgets what the records before `tip` have said, and strangers.
    pub fn settle(&mut self, tip: &Tip) {
        self.polls.settle(tip);
        self.evidence.retain(|member, _| {
            tip.roster.contains(member) && !tip.standing.equivocators.contains(member)
        });
    }
}
