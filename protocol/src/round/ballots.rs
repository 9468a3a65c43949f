//! Votes on membership during a round: cast, taken in, remembered.

use super::{Memory, Round};
use crate::flaw::Flaw;
use crate::outbox::Post;
use crate::wire::envelope::{self, Verified};
use crate::wire::{Ballot, Kind, Message, Verified};

impl Round {
    /// This member's own ballot: durable, then everybody's.
    pub fn cast(&mut self, post: &mut Post, ballot: Ballot) -> Result<(), Flaw> {
        let opened = ballot.petition.opened;
        let message = Message::Ballot(ballot.clone());
        let signature = post.sign(&message);
        let signer = post.member();
        let ballot = Verified { signer, message: ballot, signature };
        if self.agenda.polls.on_ballot(&self.tip, &ballot)? {
            self.remember_ballots(post);
            let envelope = envelope::reseal(signer, &message, &signature);
            post.gossip_sealed(Kind::Ballot, opened, envelope);
        }
        Ok(())
    }

    /// A verified ballot. Returns whether it was new.
    pub fn on_ballot(&mut self, ballot: &Verified<Ballot>) -> Result<bool, Flaw> {
        self.agenda.polls.on_ballot(&self.tip, ballot)
    }

    /// Remembers the own ballots that are open in this round.
    pub fn remember_ballots(&self, post: &mut Post) {
        for envelope in self.agenda.polls.kept_by(&post.member()) {
            self.remember(post, &Memory::Ballot(envelope));
        }
    }

    pub(super) fn recall_ballot(&mut self, envelope: &[u8]) {
        let Ok(Verified { signer, message: Message::Ballot(message), signature }) =
            envelope::open(envelope, &self.tip.roster)
        else {
            return;
        };
        // One that no longer fits has lost its purpose.
        let _ = self.on_ballot(&Verified { signer, message, signature });
    }
}
