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
            Message::Evidence(_) => self.on_evidence(message),
            Message::Ballot(_) if at <= here => self.on_ballot(message),
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
        let Received { via, bytes, verified } = message;
        let gist = gist(&verified.message);
        let Verified { signer, message, signature } = verified;
        let (kind, round, now) = (message.kind(), message.round(), self.now);
        let filed = match message {
            Message::Update(update) if round < self.round.tip.round => {
                self.round.on_late_update(&mut self.outbox, signer, update, bytes.clone())
            }
            Message::Update(update) => {
                self.round.on_update(&mut self.outbox, signer, update, bytes.clone())
            }
            Message::Proposal(message) => {
                let proposed = Verified { signer, message, signature };
                match self.round.on_proposal(now, &self.outbox, proposed) {
                    Ok(true) => Admission::New,
                    Ok(false) => Admission::Known,
                    Err(reason) => Admission::Refused(reason),
                }
            }
            Message::Vote(message) => {
                let new =
                    self.round.consensus.on_vote(now, Verified { signer, message, signature });
                if new { Admission::New } else { Admission::Known }
            }
            Message::Polka(polka) => match ledger::check_polka(&self.outbox.roster, &polka) {
                Err(flaw) => Admission::Refused(flaw.to_string()),
                Ok(()) if self.round.consensus.on_polka(now, &polka) => Admission::New,
                Ok(()) => Admission::Known,
            },
            Message::Heartbeat(progress) => {
                self.round.on_heartbeat(&self.outbox, &signer, &progress, bytes.clone());
                Admission::New
            }
            Message::Objection(message) => {
                self.round.on_objection(&self.outbox, Verified { signer, message, signature });
                Admission::New
            }
            _ => Admission::New,
        };
        match filed {
            Admission::Known => {}
            Admission::Refused(reason) => self.refuse(via, &bytes, reason),
            Admission::New => self.outbox.notice(Notice::Accepted {
                kind,
                round,
                from: signer,
                via,
                digest: envelope::digest(&bytes),
                size_bytes: bytes.len() as u64,
                gist,
            }),
        }
    }

    fn on_holdings(&mut self, message: Received) {
        let from = message.verified.signer;
        self.accept(&message);
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
                self.accept(&message);
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

    fn on_ballot(&mut self, message: Received) {
        let Verified { signer, message: Message::Ballot(ballot), signature } =
            message.verified.clone()
        else {
            return;
        };
        let ballot = Verified { signer, message: ballot, signature };
        match self.round.on_ballot(&ballot) {
            Ok(true) => self.accept(&message),
            Ok(false) => {}
            Err(flaw) => self.refuse(message.via, &message.bytes, flaw.to_string()),
        }
    }

    /// Evidence from another member, checked in full.
    fn on_evidence(&mut self, message: Received) {
        let Message::Evidence(evidence) = &message.verified.message else {
            return;
        };
        match evidence.check(&self.outbox.roster) {
            Err(flaw) => self.refuse(message.via, &message.bytes, flaw.to_string()),
            Ok(what) => {
                if self.round.pending.accuse(&self.round.tip, evidence.clone()) {
                    self.accept(&message);
                    let (round, against) = (evidence.round, evidence.member);
                    let because = format!("it signed {what}");
                    self.outbox.notice(Notice::Objection { round, against, because });
                }
            }
        }
    }

    fn accept(&mut self, message: &Received) {
        let said = &message.verified.message;
        self.outbox.notice(Notice::Accepted {
            kind: said.kind(),
            round: said.round(),
            from: message.verified.signer,
            via: message.via,
            digest: envelope::digest(&message.bytes),
            size_bytes: message.bytes.len() as u64,
            gist: gist(said),
        });
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
