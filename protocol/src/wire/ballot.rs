//! Membership by vote: a petition to change the roster, the ballots on it, and the decision.
//!
//! A member opens a petition by casting the first ballot on it. Ballots are gossiped and kept until a
//! record shows the decision or the petition expires; a record may show one decision, with a quorum
//! of yes ballots signed by members of its round, and the new roster is in force from the next round.
//! Whoever has the founding document and the ledger can check all of it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::codec;
use crate::digest::Digest;
use crate::federation::Member;
use crate::federation::roster::Roster;
use crate::ledger::{Flaw, Tip, require};
use crate::member::{MemberId, Round};
use crate::wire::envelope;
use crate::wire::message::Message;
use crate::wire::record::CommitSignature;

/// A change of the roster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// A new member.
    Add(Member),
    /// A member leaves.
    Remove(MemberId),
    /// A member gets another key; name, weight and addresses stay, lost standing is forgiven.
    RotateKey {
        /// The key that ends.
        from: MemberId,
        /// The key that takes its place.
        to: MemberId,
    },
}

/// A change put to the members.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Petition {
    /// Who put it. A member has one open petition at a time.
    pub by: MemberId,
    /// The round it was put in: the same change put later is another petition.
    pub opened: Round,
    /// What it would change.
    pub change: Change,
}

/// One member's say on a petition. A yes is final; a no may become a yes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ballot {
    /// On what.
    pub petition: Petition,
    /// Yes or no.
    pub approve: bool,
}

/// A petition that a quorum approved, as a record shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// What is decided.
    pub petition: Petition,
    /// The signatures of yes ballots: at least a quorum of distinct members, in roster order.
    pub ballots: Vec<CommitSignature>,
}

impl Petition {
    /// Names the petition: what people vote on.
    pub fn id(&self) -> Digest {
        Digest::of_kind("witan 1 petition", &codec::encode(self))
    }

    /// The last round whose record may decide it.
    pub fn expires(&self) -> Round {
        Round(self.opened.0.saturating_add(OPEN_ROUNDS - 1))
    }

    /// Whether the record of the next round may decide it: it is open, new, and can be done.
    pub fn check(&self, tip: &Tip) -> Result<Roster, Flaw> {
        let (opened, last, id) = (self.opened, self.expires(), self.id());
        let is_open = (opened..=last).contains(&tip.round);
        let expected = format!("one open in round {}", tip.round);
        require(is_open, "petition", expected, format!("open in rounds {opened} to {last}"))?;
        require(!tip.decided.contains_key(&id), "petition", "undecided", "decided before")?;
        let (size, max) = (codec::encode(self).len(), PETITION_BYTES_MAX);
        require(size <= max, "petition", format!("at most {max} bytes"), size)?;
        tip.roster.changed(&self.change, Round(tip.round.0 + 1))
    }

    /// The message that a yes signs.
    pub(crate) fn yes(&self) -> Message {
        Message::Ballot(Ballot { petition: self.clone(), approve: true })
    }
}

impl Decision {
    /// Whether a record of the next round may show this.
    pub(crate) fn check(&self, tip: &Tip) -> Result<(), Flaw> {
        let named = |flaw: Flaw| Flaw { field: format!("decision.{}", flaw.field), ..flaw };
        self.petition.check(tip).map_err(named)?;
        let (roster, yes) = (&tip.roster, self.petition.yes());
        let mut last = None;
        for (index, ballot) in self.ballots.iter().enumerate() {
            let field = format!("decision.ballots[{index}]");
            let place = roster.place_of(&ballot.member);
            let ordered = place.is_some() && place > last;
            require(ordered, &field, "members in roster order", ballot.member.short())?;
            last = place;
            let (member, domain) = (&ballot.member, roster.federation());
            let valid = envelope::is_signed(member, domain, &yes, &ballot.signature);
            require(valid, &field, format!("a yes of {}", roster.name_of(member)), "not")?;
        }
        let (found, quorum) = (self.ballots.len(), roster.quorum());
        require(found >= quorum, "decision", format!("{quorum} ballots"), found)
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Change::Add(member) => write!(f, "add {} with key {}", member.name, member.key),
            Change::Remove(key) => write!(f, "remove {key}"),
            Change::RotateKey { from, to } => write!(f, "rotate key {from} to {to}"),
        }
    }
}

/// Rounds in which a petition may be decided, the one it was put in included.
pub const OPEN_ROUNDS: u64 = 16;

/// Bytes of a petition: a member with a few addresses.
pub const PETITION_BYTES_MAX: usize = 1024;
