//! Carries out the library's effects, and files what is signed.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use arc_malachitebft_core_consensus::{Effect, Input, Resumable, Resume, SignedConsensusMsg};
use arc_malachitebft_core_types::{CommitCertificate, SignedMessage};

use super::Act;
use super::context::{Context, Tabled, view_of};
use super::tally::{Put, Tally, VIEWS_KEPT_MAX};
use super::timers::Timers;
use super::wal::Remembered;
use crate::digest::Digest;
use crate::federation::{Federation, FederationId, Roster};
use crate::identity::Identity;
use crate::io::Time;
use crate::ledger::Tip;
use crate::member::{Round, View};
use crate::wire::{
    Certificate, CommitSignature, Evidence, Message, Motion, Polka, Proposal, Step, Vote, envelope,
};

/// Everything around the library's state that its effects touch.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) now: Time,
    pub(super) round: Round,
    pub(super) context: Context,
    pub(super) open: bool,
    pub(super) replaying: bool,
    pub(super) view: View,
    pub(super) wanted: Option<View>,
    pub(super) tally: Tally,
    pub(super) proposals: BTreeMap<Digest, Proposal>,
    pub(super) verdicts: BTreeMap<Digest, bool>,
    pub(super) timers: Timers,
    pub(super) remembered: Vec<Remembered>,
    pub(super) acts: super::Acts,
    federation: FederationId,
    identity: Identity,
    roster: Arc<Roster>,
}

impl Desk {
    pub(super) fn new(
        federation: &Federation,
        identity: &Identity,
        tip: &Tip,
        context: Context,
    ) -> Self {
        Self {
            now: Time(0),
            round: tip.round,
            context,
            open: false,
            replaying: false,
            view: View(0),
            wanted: None,
            tally: Tally::new(tip.roster.honest()),
            proposals: BTreeMap::new(),
            verdicts: BTreeMap::new(),
            timers: Timers::new(federation.document().council.view_timeout_ms),
            remembered: Vec::new(),
            acts: VecDeque::new(),
            federation: federation.id(),
            identity: identity.clone(),
            roster: Arc::clone(&tip.roster),
        }
    }

    /// Files a vote. False if it is known, conflicts with a known one, or is of a distant view.
    pub(super) fn take_vote(&mut self, vote: &Verified<Vote>) -> bool {
        let Some(place) = self.roster.place_of(&vote.signer) else {
            return false;
        };
        let Vote { view, step, .. } = vote.message;
        if !self.is_near(view) {
            return false;
        }
        let votes = self.tally.votes.entry((view, step)).or_default();
        if let Some(known) = votes.get(&place) {
            if known.message != vote.message {
                let (one, other) = (Message::Vote(known.message), Message::Vote(vote.message));
                let (one, other) = ((&one, &known.signature), (&other, &vote.signature));
                self.acts.push_back(Act::Equivocated(Evidence::of(vote.signer, one, other)));
            }
            return false;
        }
        votes.insert(place, vote.clone());
        if let (Step::Prevote, Some(value)) = (step, vote.message.value)
            && let Some(polka) = self.tally.polka((self.round, view), value, self.roster.quorum())
        {
            self.tally.take_polka(polka);
        }
        true
    }

    /// Files a quorum of prevotes another member proved. False if one is known for its view, or the
    /// view is distant.
    pub(super) fn take_polka(&mut self, polka: &Polka) -> bool {
        self.is_near(polka.view) && self.tally.take_polka(polka.clone())
    }

    /// Files a motion. False if one is known for its view, or the view is distant.
    pub(super) fn take_motion(&mut self, motion: Verified<Motion>) -> bool {
        let view = motion.message.view;
        if !self.is_near(view) {
            return false;
        }
        if let Some(Put { motion: known, .. }) = self.tally.motions.get(&view) {
            if known.message != motion.message {
                let Verified { signer, message, signature } = motion;
                let (one, other) =
                    (Message::Motion(known.message.clone()), Message::Motion(message));
                let (one, other) = ((&one, &known.signature), (&other, &signature));
                self.acts.push_back(Act::Equivocated(Evidence::of(signer, one, other)));
            }
            return false;
        }
        let proposal = &motion.message.proposal;
        let value = proposal.digest();
        self.proposals.insert(value, proposal.clone());
        self.tally.motions.insert(view, Put { motion, value });
        true
    }

    /// Files what was remembered, so that the library's effects find it.
    pub(super) fn recall(&mut self, remembered: &Remembered) {
        match remembered {
            Remembered::Vote { member, vote, signature } => {
                let (signer, message, signature) = (*member, *vote, *signature);
                self.take_vote(&Verified { signer, message, signature });
            }
            Remembered::Motion { member, motion, signature } => {
                let (signer, message, signature) = (*member, (**motion).clone(), *signature);
                self.take_motion(Verified { signer, message, signature });
            }
            Remembered::Verdict { value, valid, .. } => {
                self.verdicts.insert(*value, *valid);
            }
            Remembered::Polka(polka) => {
                self.take_polka(polka);
            }
            Remembered::Opened | Remembered::Timeout { .. } => {}
        }
    }

    /// Does what the library asks, and answers it.
    pub(super) fn on_effect(&mut self, effect: Effect<Context>) -> Resume<Context> {
        match effect {
            Effect::CancelAllTimeouts(resume) => {
                self.timers.clear();
                resume.resume_with(())
            }
            Effect::CancelTimeout(timeout, resume) => {
                self.timers.cancel(timeout);
                resume.resume_with(())
            }
            Effect::ScheduleTimeout(timeout, resume) => {
                self.timers.start(self.now, timeout);
                resume.resume_with(())
            }
            Effect::StartRound(_, round, _, _, resume) => {
                self.on_view_started(view_of(round));
                resume.resume_with(())
            }
            Effect::GetValue(_, round, _, resume) => {
                self.wanted = Some(view_of(round));
                resume.resume_with(())
            }
            Effect::PublishConsensusMsg(message, resume) => {
                self.say(message);
                resume.resume_with(())
            }
            Effect::WalAppend(_, input, resume) => {
                self.remember(&input);
                resume.resume_with(())
            }
            Effect::Decide(certificate, _, resume) => {
                self.decide(&certificate);
                resume.resume_with(())
            }
            sign_or_verify => self.on_signing_effect(sign_or_verify),
        }
    }

    /// The effects about signatures, and those this council has other means for.
    fn on_signing_effect(&mut self, effect: Effect<Context>) -> Resume<Context> {
        match effect {
            Effect::SignVote(ballot, resume) => {
                let message = Message::Vote(ballot.vote);
                let signature = envelope::sign(&self.identity, self.federation, &message);
                resume.resume_with(SignedMessage::new(ballot, signature))
            }
            Effect::SignProposal(tabled, resume) => {
                let message = Message::Motion(self.motion(&tabled));
                let signature = envelope::sign(&self.identity, self.federation, &message);
                resume.resume_with(SignedMessage::new(tabled, signature))
            }
            // Nothing reaches the library that was not opened and checked before.
            Effect::VerifySignature(_, _, resume) => resume.resume_with(true),
            Effect::VerifyCommitCertificate(_, _, _, resume)
            | Effect::VerifyPolkaCertificate(_, _, _, resume)
            | Effect::VerifyRoundCertificate(_, _, _, resume)
            | Effect::VerifyExtendedCommitCertificate(_, _, _, _, resume) => {
                resume.resume_with(Ok(()))
            }
            // Motions carry the whole proposal, and `sync` brings what is missing.
            Effect::PublishLivenessMsg(_, resume)
            | Effect::RepublishVote(_, resume)
            | Effect::RepublishRoundCertificate(_, resume)
            | Effect::RestreamProposal(_, _, _, _, _, resume)
            | Effect::CertVerifiedSyncValue(_, _, resume)
            | Effect::CertRejectedSyncValue(_, _, _, resume)
            | Effect::Finalize(_, _, _, resume)
            | Effect::CancelAllTimeouts(resume)
            | Effect::CancelTimeout(_, resume)
            | Effect::ScheduleTimeout(_, resume)
            | Effect::StartRound(_, _, _, _, resume)
            | Effect::GetValue(_, _, _, resume)
            | Effect::PublishConsensusMsg(_, resume)
            | Effect::WalAppend(_, _, resume)
            | Effect::Decide(_, _, resume) => resume.resume_with(()),
            Effect::ExtendVote(_, _, _, _, resume) => resume.resume_with(None),
            Effect::VerifyVoteExtension(_, _, _, _, _, _, resume) => resume.resume_with(Ok(())),
        }
    }

    fn on_view_started(&mut self, view: View) {
        self.view = view;
        self.wanted = None;
        self.tally.prune(view);
        self.prune();
        if view > View(0) && !self.replaying {
            self.acts.push_back(Act::ViewStarted(view));
        }
    }

    /// Forgets proposals that no motion and no quorum at hand is about. What this member insists on
    /// had a quorum, and newer ones are few.
    fn prune(&mut self) {
        let tally = &self.tally;
        self.proposals.retain(|value, _| tally.is_about(value));
        self.verdicts.retain(|value, _| tally.is_about(value));
    }

    /// Says what the library wants said: this member's vote or motion, or after many views the motion
    /// of another that this member is now bound to.
    fn say(&mut self, message: SignedConsensusMsg<Context>) {
        let said = match message {
            SignedConsensusMsg::Vote(SignedMessage { message: ballot, signature }) => {
                let (signer, message) = (ballot.member, ballot.vote);
                self.take_vote(&Verified { signer, message, signature });
                Verified { signer, message: Message::Vote(message), signature }
            }
            SignedConsensusMsg::Proposal(SignedMessage { message: tabled, signature }) => {
                let (signer, message) = (tabled.member, self.motion(&tabled));
                self.take_motion(Verified { signer, message: message.clone(), signature });
                Verified { signer, message: Message::Motion(message), signature }
            }
        };
        if self.replaying {
            return;
        }
        self.acts.push_back(Act::Remember(std::mem::take(&mut self.remembered)));
        self.acts.push_back(Act::Say(Box::new(said)));
    }

    fn remember(&mut self, input: &Input<Context>) {
        if !self.replaying {
            let remembered = Remembered::of(input, |tabled| Some(self.motion(tabled)));
            self.remembered.extend(remembered);
        }
    }

    fn decide(&mut self, certificate: &CommitCertificate<Context>) {
        let mut signatures: Vec<_> = certificate
            .commit_signatures
            .iter()
            .map(|commit| CommitSignature { member: commit.address, signature: commit.signature })
            .collect();
        signatures.sort_by_key(|commit| self.roster.place_of(&commit.member));
        let proof = Certificate { view: view_of(certificate.round), signatures };
        self.acts.push_back(Act::Decided { value: certificate.value_id, certificate: proof });
    }

    fn motion(&self, tabled: &Tabled) -> Motion {
        let proposal = self.proposals.get(&tabled.value).cloned();
        Motion {
            view: tabled.view,
            valid_view: tabled.valid_view,
            proposal: proposal.expect("every value the library knows came with its proposal"),
        }
    }

    fn is_near(&self, view: View) -> bool {
        view.0 <= self.view.0.saturating_add(VIEWS_AHEAD_MAX)
            && view.0.saturating_add(VIEWS_KEPT_MAX) >= self.view.0
    }
}

/// Views ahead of its own of which the library takes votes.
const VIEWS_AHEAD_MAX: u32 = arc_malachitebft_core_consensus::MAX_FUTURE_ROUND_LOOKAHEAD;
