//! Evidence and petitions that wait for a record. They outlive the round they arrived in.

mod petitions;

use std::collections::BTreeMap;

use crate::ledger::Tip;
use crate::member::MemberId;
use crate::wire::{EVIDENCE_MAX, Evidence};
pub(crate) use petitions::{OpenPetition, Petitions};

/// Everything that waits for a record beside the aggregate.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pending {
    /// The open petitions.
    pub petitions: Petitions,
    evidence: BTreeMap<MemberId, Evidence>,
}

impl Pending {
    /// Adds checked evidence against a member. False if there is some already: one proof is enough.
    pub(crate) fn accuse(&mut self, tip: &Tip, evidence: Evidence) -> bool {
        let member = evidence.member;
        if self.evidence.contains_key(&member) || tip.standing.equivocators.contains(&member) {
            return false;
        }
        self.evidence.insert(member, evidence);
        true
    }

    /// How many proofs wait, one a member.
    pub(crate) fn evidence_count(&self) -> usize {
        self.evidence.len()
    }

    /// The evidence for the next proposal.
    pub(crate) fn evidence_due(&self, tip: &Tip) -> Vec<Evidence> {
        let members = tip.roster.members().iter();
        let due = members.filter_map(|member| self.evidence.get(&member.id()));
        due.filter(|evidence| evidence.round <= tip.round).take(EVIDENCE_MAX).cloned().collect()
    }

    /// Drops what the records before `tip` contain, and former members.
    pub(crate) fn prune(&mut self, tip: &Tip) {
        self.petitions.prune(tip);
        self.evidence.retain(|member, _| {
            tip.roster.contains(member) && !tip.standing.equivocators.contains(member)
        });
    }
}
