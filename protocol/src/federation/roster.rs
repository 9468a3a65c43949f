//! The roster in force: who takes part in a round, in which order, and how many votes decide.
//!
//! The founding document names the first one; every later one follows from the ledger. A place in
//! it means nothing in another: what outlives a round is kept by key, never by place.

use std::collections::BTreeMap;

use super::{FaultModel, FederationId, Member};
use crate::flaw::Flaw;
use crate::member::{MemberId, Round};

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

    /// The roster of these members from round `since` on; they must be as sound as founders.
    pub(crate) fn with_members(&self, since: Round, members: Vec<Member>) -> Result<Self, Flaw> {
        let roster = Self::new(self.federation, self.fault_model, since, members);
        super::check_members(&roster.members)?;
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

    /// Votes that decide: more than 2/3, or more than 1/2 in a federation without liars.
    pub fn quorum(&self) -> usize {
        match self.fault_model {
            FaultModel::Byzantine => self.size() * 2 / 3 + 1,
            FaultModel::Crash => self.size() / 2 + 1,
        }
    }

    /// So many members that at least one of them is honest.
    pub fn honest(&self) -> usize {
        match self.fault_model {
            FaultModel::Byzantine => self.size() / 3 + 1,
            FaultModel::Crash => 1,
        }
    }
}
