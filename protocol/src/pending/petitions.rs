//! Open petitions, and the ballots cast on them. Bounded: one open petition a member.

use std::collections::BTreeMap;

use crate::digest::Digest;
use crate::federation::Roster;
use crate::flaw::{Flaw, require};
use crate::ledger::Tip;
use crate::member::{MemberId, Round};
use crate::wire::{
    Ballot, BallotsHeld, Decision, MemberSet, MemberSignature, Message, Petition, Verified,
    envelope,
};

/// Every open petition.
#[derive(Clone, Debug, Default)]
pub(crate) struct Petitions {
    by_id: BTreeMap<(Round, Digest), OpenPetition>,
}

/// One petition with its ballots.
#[derive(Clone, Debug)]
pub struct OpenPetition {
    /// The petition.
    pub petition: Petition,
    ballots: BTreeMap<MemberId, Cast>,
}

#[derive(Clone, Copy, Debug)]
struct Cast {
    approve: bool,
    signature: [u8; 64],
}

impl Petitions {
    /// Takes a ballot in; true if it is new. A ballot on a petition whose author's own has not
    /// arrived is not taken; it is sent again.
    pub(crate) fn on_ballot(&mut self, tip: &Tip, ballot: &Verified<Ballot>) -> Result<bool, Flaw> {
        let Ballot { petition, approve } = &ballot.message;
        petition.check(tip)?;
        let key = (petition.opened, petition.id());
        if !self.by_id.contains_key(&key) {
            if ballot.signer != petition.by {
                return Ok(false);
            }
            let is_first = self.by_id.values().all(|open| open.petition.by != petition.by);
            require(is_first, "petition", "one open petition a member", "a second one")?;
        }
        let new = || OpenPetition { petition: petition.clone(), ballots: BTreeMap::new() };
        let ballots = &mut self.by_id.entry(key).or_insert_with(new).ballots;
        if ballots.get(&ballot.signer).is_some_and(|cast| cast.approve || !approve) {
            return Ok(false);
        }
        let cast = Cast { approve: *approve, signature: ballot.signature };
        ballots.insert(ballot.signer, cast);
        Ok(true)
    }

    /// Every petition, oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &OpenPetition> {
        self.by_id.values()
    }

    /// The first petition that a quorum of `tip`'s members approves.
    pub(crate) fn decision(&self, tip: &Tip) -> Option<Decision> {
        let quorum = tip.roster.quorum();
        let open = self.iter().find(|open| {
            open.cast(&tip.roster, true).count() >= quorum && open.petition.check(tip).is_ok()
        })?;
        let signatures = open.cast(&tip.roster, true).places().filter_map(|place| {
            let member = tip.roster.members()[place].id();
            let signature = open.ballots.get(&member)?.signature;
            Some(MemberSignature { member, signature })
        });
        Some(Decision { petition: open.petition.clone(), ballots: signatures.collect() })
    }

    /// Drops petitions that are decided, have expired or are no longer possible.
    pub(crate) fn prune(&mut self, tip: &Tip) {
        self.by_id.retain(|_, open| open.petition.check(tip).is_ok());
    }

    /// The envelopes from which a member that voted can restore its ballots.
    pub(crate) fn envelopes_of(&self, member: &MemberId) -> Vec<Vec<u8>> {
        let voted = self.iter().filter(|open| open.ballots.contains_key(member));
        voted
            .flat_map(|open| [open.petition.by, *member].map(|who| open.envelope_of(&who)))
            .flatten()
            .collect()
    }

    /// What is held, for [`Holdings`](crate::wire::Holdings).
    pub(crate) fn held(&self, roster: &Roster) -> Vec<BallotsHeld> {
        let held = |((_, petition), open): (&(Round, Digest), &OpenPetition)| BallotsHeld {
            petition: *petition,
            yes: open.cast(roster, true),
            no: open.cast(roster, false),
        };
        self.by_id.iter().map(held).collect()
    }

    /// The envelopes of ballots that are not in `held`, those that open a petition first.
    pub(crate) fn missing(&self, roster: &Roster, held: &[BallotsHeld]) -> Vec<(Round, Vec<u8>)> {
        let mut missing = Vec::new();
        for ((opened, id), open) in &self.by_id {
            let theirs = held.iter().find(|held| held.petition == *id);
            let (yes, no) = theirs.map_or_else(Default::default, |held| (held.yes, held.no));
            let news = open.cast(roster, true).without(yes).places();
            let news = news.chain(open.cast(roster, false).without(no).without(yes).places());
            let members = news.map(|place| roster.members()[place].id());
            let first = theirs.is_none().then_some(open.petition.by);
            let rest = members.filter(|member| Some(*member) != first);
            let envelopes = first.into_iter().chain(rest).filter_map(|m| open.envelope_of(&m));
            missing.extend(envelopes.map(|envelope| (*opened, envelope)));
        }
        missing
    }
}

impl OpenPetition {
    /// Who voted yes, or no.
    pub fn cast(&self, roster: &Roster, approve: bool) -> MemberSet {
        let cast = self.ballots.iter().filter(|(_, cast)| cast.approve == approve);
        cast.filter_map(|(member, _)| roster.place_of(member)).collect()
    }

    fn envelope_of(&self, member: &MemberId) -> Option<Vec<u8>> {
        let Cast { approve, signature } = *self.ballots.get(member)?;
        let ballot = Ballot { petition: self.petition.clone(), approve };
        Some(envelope::reseal(*member, &Message::Ballot(ballot), &signature))
    }
}
