//! Incoming bytes: opened, checked, told, and routed by kind. Bad input is refused, never a panic.

use super::Participant;
use crate::io::{Notice, Time};
use crate::ledger;
use crate::member::{MemberId, Round as RoundNumber};
use crate::round::Filed;
use crate::sync::RECORDS_GIVEN_MAX;
use crate::wire::envelope::{self, Opened, Refusal, Verified};
use crate::wire::{Certified, Message, Verified};

/// A verified message of the round after the one at hand, kept until that one is committed.
#[derive(Clone, Debug)]
pub(super) struct Early {
    via: MemberId,
    bytes: Vec<u8>,
    verified: Verified<Message>,
}

impl Participant {
    /// Bytes from a peer.
    pub(super) fn on_bytes(&mut self, via: MemberId, bytes: Vec<u8>) {
        match envelope::open(&bytes, &self.post.roster) {
            Err(refusal) => self.refuse(via, &bytes, refusal.to_string()),
            Ok(verified) => self.on_verified(Early { via, bytes, verified }),
        }
    }

    /// An envelope from a peer, opened by the caller.
    pub(super) fn on_opened(&mut self, via: MemberId, opened: Opened) {
        let ours = opened.federation() == self.post.federation.id();
        let (bytes, verified) = opened.into_parts();
        let signer = verified.signer;
        if !ours {
            self.refuse(via, &bytes, "opened for another federation".to_owned());
        } else if !self.post.roster.contains(&signer) {
            self.refuse(via, &bytes, Refusal::Stranger(signer).to_string());
        } else {
            self.on_verified(Early { via, bytes, verified });
        }
    }

    fn on_verified(&mut self, message: Early) {
        let (via, verified) = (message.via, &message.verified);
        if verified.signer == self.post.member() && !is_ballot(verified) {
            return;
        }
        if via == verified.signer || matches!(verified.message, Message::Progress(_)) {
            self.peers.on_heard(verified.signer, self.now);
        }
        self.on_message(message);
    }

    /// Messages that came a round too soon.
    pub(super) fn replay_early(&mut self) {
        for early in std::mem::take(&mut self.early) {
            if self.post.roster.contains(&early.verified.signer) {
                self.on_message(early);
            }
        }
    }

    fn on_message(&mut self, message: Early) {
        let (at, here) = (message.verified.message.round(), self.round.tip.round);
        match &message.verified.message {
            Message::Holdings(_) => self.on_holdings(message),
            Message::Certified(_) => self.on_certified(message),
            Message::Evidence(_) => self.on_evidence(message),
            Message::Ballot(_) if at <= here => self.on_ballot(message),
            _ if self.post.place().is_none() => {}
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

    fn on_round_message(&mut self, message: Early) {
        let Early { via, bytes, verified } = message;
        let gist = gist(&verified.message);
        let Verified { signer, message, signature } = verified;
        let (kind, round, now) = (message.kind(), message.round(), self.now);
        let filed = match message {
            Message::Update(update) if round < self.round.tip.round => {
                self.round.on_late_update(&mut self.post, signer, update, bytes.clone())
            }
            Message::Update(update) => {
                self.round.on_update(&mut self.post, signer, update, bytes.clone())
            }
            Message::Motion(message) => {
                let motion = Verified { signer, message, signature };
                match self.round.on_motion(now, &self.post, motion) {
                    Ok(true) => Filed::New,
                    Ok(false) => Filed::Known,
                    Err(reason) => Filed::Refused(reason),
                }
            }
            Message::Vote(message) => {
                let new = self.round.council.on_vote(now, Verified { signer, message, signature });
                if new { Filed::New } else { Filed::Known }
            }
            Message::Polka(polka) => match ledger::check_polka(&self.post.roster, &polka) {
                Err(flaw) => Filed::Refused(flaw.to_string()),
                Ok(()) if self.round.council.on_polka(now, &polka) => Filed::New,
                Ok(()) => Filed::Known,
            },
            Message::Progress(progress) => {
                self.round.on_peer_progress(&self.post, &signer, &progress, bytes.clone());
                Filed::New
            }
            Message::Objection(message) => {
                self.round.on_objection(&self.post, Verified { signer, message, signature });
                Filed::New
            }
            _ => Filed::New,
        };
        match filed {
            Filed::Known => {}
            Filed::Refused(reason) => self.refuse(via, &bytes, reason),
            Filed::New => self.post.notice(Notice::Accepted {
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

    fn on_holdings(&mut self, message: Early) {
        let from = message.verified.signer;
        self.accept(&message);
        let Message::Holdings(holdings) = message.verified.message else {
            return;
        };
        let at_hand = (&self.ledger, &mut self.round);
        self.sync.on_holdings(self.now, &mut self.post, at_hand, (from, &holdings));
    }

    /// A record from a member ahead: worth nothing unless every signature in it holds.
    fn on_certified(&mut self, message: Early) {
        let Message::Certified(Certified { round, until, record }) = &message.verified.message
        else {
            return;
        };
        let here = self.round.tip.round;
        if *round != here || self.round.is_last() {
            if (here.0..here.0 + RECORDS_GIVEN_MAX).contains(&round.0) {
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
                self.sync.on_given(&mut self.post, &self.round, from, *until);
            }
        }
    }

    /// Takes the records in that came before their turn.
    pub(super) fn replay_ahead(&mut self) {
        let here = self.round.tip.round;
        self.ahead = self.ahead.split_off(&here);
        if let Some(message) = self.ahead.remove(&here) {
            self.on_certified(message);
        }
    }

    fn on_ballot(&mut self, message: Early) {
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

    /// Somebody found that a member signed twice; believed only if both signatures hold.
    fn on_evidence(&mut self, message: Early) {
        let Message::Evidence(evidence) = &message.verified.message else {
            return;
        };
        match evidence.check(&self.post.roster) {
            Err(flaw) => self.refuse(message.via, &message.bytes, flaw.to_string()),
            Ok(what) => {
                if self.round.agenda.accuse(&self.round.tip, evidence.clone()) {
                    self.accept(&message);
                    let (round, against) = (evidence.round, evidence.member);
                    let because = format!("it signed {what}");
                    self.post.notice(Notice::Objection { round, against, because });
                }
            }
        }
    }

    fn accept(&mut self, message: &Early) {
        let said = &message.verified.message;
        self.post.notice(Notice::Accepted {
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
        self.post.notice(Notice::Refused {
            via,
            kind: envelope::claimed_kind(bytes),
            reason,
            digest: envelope::digest(bytes),
            size_bytes: bytes.len() as u64,
        });
    }
}

/// The one kind that may come back to its author, who may have lost it with its disk.
fn is_ballot(verified: &Verified<Message>) -> bool {
    matches!(verified.message, Message::Ballot(_))
}

/// A peer's words, made safe to print on one line.
fn gist(message: &Message) -> String {
    message.gist().chars().filter(|c| !c.is_control()).take(GIST_CHARS_MAX).collect()
}

/// Early messages kept: updates, votes and heartbeats of 64 members.
const EARLY_MAX: usize = 512;

/// Characters of a message told of in a notice.
const GIST_CHARS_MAX: usize = 200;

/// More records may follow at once; only the newest adapter is worth fetching.
const CATCHING_UP_MS: u64 = 300;
