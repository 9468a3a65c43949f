//! Incoming messages: checked, recorded as events, and routed by kind. Bad input is refused, never
//! a panic.

use super::Participant;
use crate::io::{Notice, Time};
use crate::ledger;
use crate::member::{MemberId, Round as RoundNumber};
use crate::round::Admission;
use crate::sync::RECORDS_SENT_MAX;
use crate::wire::envelope::{self, Opened, Refusal};
use crate::wire::{Message, RecordCopy, Verified};

/// A verified message of the round after the one at hand, kept until that one is committed.
#[derive(Clone, Debug)]
pub(super) struct Received {
    via: MemberId,
    bytes: Vec<u8>,
    verified: Verified<Message>,
}

impl Received {
    /// The event that it was accepted.
    fn accepted(&self) -> Notice {
        let Verified { signer, message, .. } = &self.verified;
        Notice::Accepted {
            kind: message.kind(),
            round: message.round(),
            from: *signer,
            via: self.via,
            digest: envelope::digest(&self.bytes),
            size_bytes: self.bytes.len() as u64,
            gist: gist(message),
        }
    }
}

impl Participant {
    /// An envelope from a peer.
    ///
    /// # Panics
    /// If it was opened for another federation: the caller's fault, not a peer's.
    pub(super) fn on_opened(&mut self, via: MemberId, opened: Opened) {
        assert_eq!(opened.federation(), self.outbox.federation.id(), "opened for this federation");
        let (bytes, message) = opened.into_parts();
        let verified = message.and_then(|verified| match verified.signer {
            signer if self.outbox.roster.contains(&signer) => Ok(verified),
            signer => Err(Refusal::Stranger(signer)),
        });
        match verified {
            Err(refusal) => self.refuse(via, &bytes, refusal.to_string()),
            Ok(verified) => self.on_verified(Received { via, bytes, verified }),
        }
    }

    fn on_verified(&mut self, message: Received) {
        let (via, verified) = (message.via, &message.verified);
        if verified.signer == self.outbox.member() && !is_ballot(verified) {
            return;
        }
        if via == verified.signer || matches!(verified.message, Message::Heartbeat(_)) {
            self.peers.on_heard(verified.signer, self.now);
        }
        self.on_message(message);
    }

    /// Handles the messages that arrived a round early.
    pub(super) fn replay_early(&mut self) {
        for early in std::mem::take(&mut self.early) {
            if self.outbox.roster.contains(&early.verified.signer) {
                self.on_message(early);
            }
        }
    }

    fn on_message(&mut self, message: Received) {
        let (at, here) = (message.verified.message.round(), self.round.tip.round);
        match &message.verified.message {
            Message::Holdings(_) => self.on_holdings(message),
            Message::Record(_) => self.on_record(message),
            Message::Evidence(_) => self.on_round_message(message),
            Message::Ballot(_) if at <= here => self.on_round_message(message),
            _ if self.outbox.place().is_none() => {}
            _ if at == here => self.on_round_message(message),
            _ if at == RoundNumber(here.0 + 1) && !self.round.is_last() => {
                if self.early.len() >= EARLY_MAX {
                    self.early.pop_front();
                }
                self.early.push_back(message);
            }
            Message::Update(_) if at < here => self.on_round_message(message),
            _ => {}
        }
    }

    fn on_round_message(&mut self, message: Received) {
        let accepted = message.accepted();
        let Received { via, bytes, verified } = message;
        match self.admit(verified, &bytes) {
            Admission::Known => {}
            Admission::Refused(reason) => self.refuse(via, &bytes, reason),
            Admission::New => self.outbox.notice(accepted),
        }
    }

    fn admit(&mut self, verified: Verified<Message>, bytes: &[u8]) -> Admission {
        let (now, outbox, round) = (self.now, &mut self.outbox, &mut self.round);
        let Verified { signer, message, signature } = verified;
        match message {
            Message::Update(update) if update.round < round.tip.round => {
                round.on_late_update(outbox, signer, update, bytes.to_vec())
            }
            Message::Update(update) => round.on_update(outbox, signer, update, bytes.to_vec()),
            Message::Proposal(message) => {
                round.on_proposal(now, outbox, Verified { signer, message, signature })
            }
            Message::Vote(message) => {
                round.consensus.on_vote(now, Verified { signer, message, signature }).into()
            }
            Message::Polka(polka) => match ledger::check_polka(&outbox.roster, &polka) {
                Err(flaw) => flaw.into(),
                Ok(()) => round.consensus.on_polka(now, &polka).into(),
            },
            Message::Heartbeat(heartbeat) => {
                round.on_heartbeat(outbox, &signer, &heartbeat, bytes.to_vec());
                Admission::New
            }
            Message::Objection(message) => {
                round.on_objection(outbox, Verified { signer, message, signature });
                Admission::New
            }
            Message::Ballot(message) => {
                let ballot = Verified { signer, message, signature };
                round.on_ballot(&ballot).map_or_else(Admission::from, Admission::from)
            }
            Message::Evidence(evidence) => {
                round.on_evidence(outbox, &evidence).map_or_else(Admission::from, Admission::from)
            }
            Message::Holdings(_) | Message::Record(_) => Admission::Known,
        }
    }

    fn on_holdings(&mut self, message: Received) {
        let from = message.verified.signer;
        self.outbox.notice(message.accepted());
        let Message::Holdings(holdings) = message.verified.message else {
            return;
        };
        let at_hand = (&self.ledger, &mut self.round);
        self.sync.on_holdings(self.now, &mut self.outbox, at_hand, (from, &holdings));
    }

    /// A record from a member ahead, checked in full.
    fn on_record(&mut self, message: Received) {
        let Message::Record(RecordCopy { round, until, record }) = &message.verified.message else {
            return;
        };
        let here = self.round.tip.round;
        if *round != here || self.round.is_last() {
            if (here.0..here.0 + RECORDS_SENT_MAX).contains(&round.0) {
                self.ahead.insert(*round, message);
            }
            return;
        }
        match self.ledger.check(record) {
            Err(bad) => self.refuse(message.via, &message.bytes, bad.to_string()),
            Ok(record) => {
                self.outbox.notice(message.accepted());
                self.commit(&record, Time(self.now.0 + CATCHING_UP_MS));
                let from = message.verified.signer;
                self.sync.on_records_used(&mut self.outbox, &self.round, from, *until);
            }
        }
    }

    /// Handles the record that arrived before the one just committed.
    pub(super) fn replay_ahead(&mut self) {
        let here = self.round.tip.round;
        self.ahead = self.ahead.split_off(&here);
        if let Some(message) = self.ahead.remove(&here) {
            self.on_record(message);
        }
    }

    fn refuse(&mut self, via: MemberId, bytes: &[u8], reason: String) {
        self.outbox.notice(Notice::Refused {
            via,
            kind: envelope::claimed_kind(bytes),
            reason,
            digest: envelope::digest(bytes),
            size_bytes: bytes.len() as u64,
        });
    }
}

/// The one kind that is accepted from peers when this member signed it: it may have lost its disk.
fn is_ballot(verified: &Verified<Message>) -> bool {
    matches!(verified.message, Message::Ballot(_))
}

/// A summary, made safe to print on one line.
fn gist(message: &Message) -> String {
    message.gist().chars().filter(|c| !c.is_control()).take(GIST_CHARS_MAX).collect()
}

/// Received messages kept: updates, votes and heartbeats of 64 members.
const EARLY_MAX: usize = 512;

/// Characters of a summary.
const GIST_CHARS_MAX: usize = 200;

/// How long to wait for more records before fetching an adapter: only the newest is needed.
const CATCHING_UP_MS: u64 = 300;
