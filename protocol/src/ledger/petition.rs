//! Whether a petition may be decided, and whether a record may show its decision.

use super::membership::changed;
use super::signatures::check_signatures;
use super::tip::Tip;
use crate::codec;
use crate::federation::Roster;
use crate::flaw::{Flaw, require};
use crate::member::Round;
use crate::wire::{Ballot, Decision, Message, PETITION_BYTES_MAX, Petition};

impl Petition {
    /// Whether the record of the next round may decide it: it is open, new, and can be done.
    /// Returns the roster it leads to.
    pub fn check(&self, tip: &Tip) -> Result<Roster, Flaw> {
        let (opened, last, id) = (self.opened, self.expires(), self.id());
        let is_open = (opened..=last).contains(&tip.round);
        let expected = format!("one open in round {}", tip.round);
        require(is_open, "petition", expected, format!("open in rounds {opened} to {last}"))?;
        require(!tip.decided.contains_key(&id), "petition", "undecided", "decided before")?;
        let (size, max) = (codec::encode(self).len(), PETITION_BYTES_MAX);
        require(size <= max, "petition", format!("at most {max} bytes"), size)?;
        changed(&tip.roster, &self.change, Round(tip.round.0 + 1))
    }
}

impl Decision {
    /// Whether a record of the next round may show this.
    pub(super) fn check(&self, tip: &Tip) -> Result<(), Flaw> {
        self.petition.check(tip).map_err(|flaw| flaw.within("decision"))?;
        let yes = Message::Ballot(Ballot { petition: self.petition.clone(), approve: true });
        check_signatures(&tip.roster, "decision.ballots", &yes, &self.ballots)?;
        let (found, quorum) = (self.ballots.len(), tip.roster.quorum());
        require(found >= quorum, "decision", format!("{quorum} ballots"), found)
    }
}
