//! The roster in force: who takes part in a round, in which order, and how many votes decide.
//!
//! The founding document names the first one; every later one follows from the ledger. A place in
//! it means nothing in another roster: what outlives a round is kept by key, never by place.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::federation::{self, FaultModel, FederationError, FederationId, Member};
use crate::ledger::{Flaw, flaw};
use crate::member::{MemberId, Round};
use crate::wire::ballot::Change;
use crate::wire::record::Proposal;

/// The members of a round, in name order, which is the order of every list of members.
#[derive(Clone, Debug, PartialEq)]
pub struct Roster {
    federation: FederationId,
    fault_model: FaultModel,
    since: Round,
    members: Vec<Member>,
    by_key: BTreeMap<MemberId, usize>,
}

impl Roster {
    /// The roster of these members, in force from round `since` on; names and keys are unique.
    pub(crate) fn new(
        federation: FederationId,
        fault_model: FaultModel,
        since: Round,
        mut members: Vec<Member>,
    ) -> Self {
        members.sort_by(|a, b| a.name.cmp(&b.name));
        let by_key = members.iter().enumerate().map(|(place, m)| (m.id(), place)).collect();
        Self { federation, fault_model, since, members, by_key }
    }

    /// The roster of the round after the one `proposal` closes.
    pub fn after(self: &Arc<Self>, proposal: &Proposal) -> Arc<Self> {
        let since = Round(proposal.round.0 + 1);
        let changed = proposal.decision.as_ref().map(|d| self.changed(&d.petition.change, since));
        match changed {
            Some(Ok(roster)) => Arc::new(roster),
            // A change that cannot be made is in no record that holds.
            Some(Err(_)) | None => Arc::clone(self),
        }
    }

    /// The roster after a change, in force from round `since` on; it must be as good as a founding one.
    pub fn changed(&self, change: &Change, since: Round) -> Result<Self, Flaw> {
        let mut members = self.members.clone();
        let find = |field: &str, key: &MemberId| {
            self.place_of(key).ok_or_else(|| flaw(field, "a member's key", key))
        };
        match change {
            Change::Add(member) => members.push(member.clone()),
            Change::Remove(key) => drop(members.remove(find("remove", key)?)),
            Change::RotateKey { from, to } => members[find("rotate_key.from", from)?].key = *to,
        }
        let roster = Self::new(self.federation, self.fault_model, since, members);
        federation::check_members(&roster.members).map_err(|error| match error {
            FederationError::Field { field, found, expected } => flaw(&field, expected, found),
            FederationError::Syntax { what, .. } => flaw("members", "a roster", what),
        })?;
        Ok(roster)
    }

    /// The federation whose roster it is: the domain of every signature.
    pub fn federation(&self) -> FederationId {
        self.federation
    }

    /// The first round it is in force.
    pub fn since(&self) -> Round {
        self.since
    }

    /// The members, in roster order.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// How many members there are.
    pub fn size(&self) -> usize {
        self.members.len()
    }

    /// A member's place, from 0.
    pub fn place_of(&self, member: &MemberId) -> Option<usize> {
        self.by_key.get(member).copied()
    }

    /// Whether this key is a member's.
    pub fn contains(&self, member: &MemberId) -> bool {
        self.by_key.contains_key(member)
    }

    /// A member by its key.
    pub fn member(&self, member: &MemberId) -> Option<&Member> {
        self.place_of(member).map(|place| &self.members[place])
    }

    /// A member's name, or the head of its key if it is a stranger.
    pub fn name_of(&self, member: &MemberId) -> String {
        self.member(member).map_or_else(|| member.short(), |m| m.name.clone())
    }

    /// Votes that decide: more than 2/3, or more than 1/2 when nobody lies.
    pub fn quorum(&self) -> usize {
        match self.fault_model {
            FaultModel::Byzantine => self.size() * 2 / 3 + 1,
            FaultModel::Crash => self.size() / 2 + 1,
        }
    }

    /// Members among whom at least one tells the truth.
    pub fn honest(&self) -> usize {
        match self.fault_model {
            FaultModel::Byzantine => self.size() / 3 + 1,
            FaultModel::Crash => 1,
        }
    }
}
