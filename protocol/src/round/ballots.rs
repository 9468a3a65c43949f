//! Ballots during a round: cast, taken in, logged.

use super::{Round, WalEntry};
use crate::flaw::Flaw;
use crate::outbox::Outbox;
use crate::wire::{Ballot, Kind, Message, Verified, envelope};

impl Round {
    /// This member's own ballot: made durable, then published.
    pub(crate) fn cast(&mut self, outbox: &mut Outbox, ballot: Ballot) -> Result<(), Flaw> {
        let opened = ballot.petition.opened;
        let message = Message::Ballot(ballot.clone());
        let signature = outbox.sign(&message);
        let signer = outbox.member();
        let ballot = Verified { signer, message: ballot, signature };
        if self.pending.petitions.on_ballot(&self.tip, &ballot)? {
            self.log_ballots(outbox);
            let envelope = envelope::reseal(signer, &message, &signature);
            outbox.gossip_sealed(Kind::Ballot, opened, envelope);
        }
        Ok(())
    }

    /// A verified ballot. Returns whether it was new.
    pub(crate) fn on_ballot(&mut self, ballot: &Verified<Ballot>) -> Result<bool, Flaw> {
        self.pending.petitions.on_ballot(&self.tip, ballot)
    }

    /// Logs this member's ballots on petitions that are open in this round.
    pub(crate) fn log_ballots(&self, outbox: &mut Outbox) {
        for envelope in self.pending.petitions.envelopes_of(&outbox.member()) {
            self.log(outbox, &WalEntry::Ballot(envelope));
        }
    }

    pub(super) fn restore_ballot(&mut self, envelope: &[u8]) {
        let Ok(Verified { signer, message: Message::Ballot(message), signature }) =
            envelope::open(envelope, &self.tip.roster)
        else {
            return;
        };
        // A petition that can no longer be decided is dropped.
        let _ = self.on_ballot(&Verified { signer, message, signature });
    }
}
