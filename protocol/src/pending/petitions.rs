//! Petitions under vote, and the ballots cast on them. Bounded: one open petition a member.

use std::collections::BTreeMap;

use crate::digest::Digest;
use crate::federation::Roster;
use crate::flaw::{Flaw, require};
use crate::ledger::Tip;
use crate::member::{MemberId, Round};
use crate::wire::{
    Ballot, BallotsHeld, CommitSignature, Decision, Message, Petition, Roll, Verified, envelope,
};

/// Every open petition.
#[derive(Clone, Debug, Default)]
pub struct Polls {
    polls: BTreeMap<(Round, Digest), Poll>,
}

/// One petition with its ballots.
#[derive(Clone, Debug)]
pub struct Poll {
    /// What is voted on.
    pub petition: Petition,
    ballots: BTreeMap<MemberId, Cast>,
}

#[derive(Clone, Copy, Debug)]
struct Cast {
    approve: bool,
    signature: [u8; 64],
}

impl Polls {
    /// A ballot whose signature was checked. True if it is new; a ballot on a petition that its
    /// author has not opened here yet is not, and comes again.
    pub fn on_ballot(&mut self, tip: &Tip, ballot: &Verified<Ballot>) -> Result<bool, Flaw> {
        let Ballot { petition, approve } = &ballot.message;
        petition.check(tip)?;
        let key = (petition.opened, petition.id());
        if !self.polls.contains_key(&key) {
            if ballot.signer != petition.by {
                return Ok(false);
            }
            let is_first = self.polls.values().all(|poll| poll.petition.by != petition.by);
            require(is_first, "petition", "one open petition a member", "a second one")?;
        }
        let new = || Poll { petition: petition.clone(), ballots: BTreeMap::new() };
        let ballots = &mut self.polls.entry(key).or_insert_with(new).ballots;
        if ballots.get(&ballot.signer).is_some_and(|cast| cast.approve || !approve) {
            return Ok(false);
        }
        let cast = Cast { approve: *approve, signature: ballot.signature };
        ballots.insert(ballot.signer, cast);
        Ok(true)
    }

    /// Every petition, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Poll> {
        self.polls.values()
    }

    /// The first petition that a quorum of `tip`'s members approves.
    pub fn decision(&self, tip: &Tip) -> Option<Decision> {
        let quorum = tip.roster.quorum();
        let poll = self.iter().find(|poll| {
            poll.cast(&tip.roster, true).count() >= quorum && poll.petition.check(tip).is_ok()
        })?;
        let signatures = poll.cast(&tip.roster, true).places().filter_map(|place| {
            let member = tip.roster.members()[place].id();
            let signature = poll.ballots.get(&member)?.signature;
            Some(CommitSignature { member, signature })
        });
        Some(Decision { petition: poll.petition.clone(), ballots: signatures.collect() })
    }

    /// Drops what is decided, has expired or cannot be done any more.
    pub fn settle(&mut self, tip: &Tip) {
        self.polls.retain(|_, poll| poll.petition.check(tip).is_ok());
    }

    /// The envelopes by which a member that voted finds its ballots again.
    pub fn kept_by(&self, member: &MemberId) -> Vec<Vec<u8>> {
        let voted = self.iter().filter(|poll| poll.ballots.contains_key(member));
        voted
            .flat_map(|poll| [poll.petition.by, *member].map(|who| poll.envelope_of(&who)))
            .flatten()
            .collect()
    }

    /// What is held, for [`Holdings`](crate::wire::Holdings).
    pub fn held(&self, roster: &Roster) -> Vec<BallotsHeld> {
        let held = |((_, petition), poll): (&(Round, Digest), &Poll)| BallotsHeld {
            petition: *petition,
            yes: poll.cast(roster, true),
            no: poll.cast(roster, false),
        };
        self.polls.iter().map(held).collect()
    }

    /// The envelopes of ballots that are not in `held`, those that open a petition first.
    pub fn missing(&self, roster: &Roster, held: &[BallotsHeld]) -> Vec<(Round, Vec<u8>)> {
        let mut missing = Vec::new();
        for ((opened, id), poll) in &self.polls {
            let theirs = held.iter().find(|held| held.petition == *id);
            let (yes, no) = theirs.map_or_else(Default::default, |held| (held.yes, held.no));
            let news = poll.cast(roster, true).without(yes).places();
            let news = news.chain(poll.cast(roster, false).without(no).without(yes).places());
            let members = news.map(|place| roster.members()[place].id());
            let first = theirs.is_none().then_some(poll.petition.by);
            let rest = members.filter(|member| Some(*member) != first);
            let envelopes = first.into_iter().chain(rest).filter_map(|m| poll.envelope_of(&m));
            missing.extend(envelopes.map(|envelope| (*opened, envelope)));
        }
        missing
    }
}

impl Poll {
    /// Whose ballots say yes, or no.
    pub fn cast(&self, roster: &Roster, approve: bool) -> Roll {
        let cast = self.ballots.iter().filter(|(_, cast)| cast.approve == approve);
        cast.filter_map(|(member, _)| roster.place_of(member)).collect()
    }

    fn envelope_of(&self, member: &MemberId) -> Option<Vec<u8>> {
        let Cast { approve, signature } = *self.ballots.get(member)?;
        let ballot = Ballot { petition: self.petition.clone(), approve };
        Some(envelope::reseal(*member, &Message::Ballot(ballot), &signature))
    }
}
