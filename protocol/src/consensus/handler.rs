//! Carries out the library's effects, and keeps the votes and proposals they need.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use arc_malachitebft_core_consensus::{Effect, Input, Resumable, Resume, SignedConsensusMsg};
use arc_malachitebft_core_types::{CommitCertificate, SignedMessage};

use super::Action;
use super::context::{Context, CoreProposal, view_of};
use super::log::LoggedInput;
use super::tally::{HeldProposal, Tally, VIEWS_KEPT_MAX};
use super::timers::Timers;
use crate::digest::Digest;
use crate::federation::{Federation, FederationId, Roster};
use crate::identity::Identity;
use crate::io::Time;
use crate::ledger::Tip;
use crate::member::{Round, View};
use crate::wire::{
    Certificate, Evidence, MemberSignature, Message, Polka, Proposal, ProposalMessage, Verified,
    Vote, VoteStep, envelope,
};

/// Everything around the library's state that its effects touch.
#[derive(Debug)]
pub(super) struct EffectHandler {
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
    pub(super) log: Vec<LoggedInput>,
    pub(super) actions: VecDeque<Action>,
    federation: FederationId,
    identity: Identity,
    roster: Arc<Roster>,
}

impl EffectHandler {
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
            log: Vec::new(),
            actions: VecDeque::new(),
            federation: federation.id(),
            identity: identity.clone(),
            roster: Arc::clone(&tip.roster),
        }
    }

    /// Takes a vote in. False if it is known, conflicts with a known one, or is of a distant view.
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
                self.actions.push_back(Action::Equivocated(Evidence::of(vote.signer, one, other)));
            }
            return false;
        }
        votes.insert(place, vote.clone());
        if let (VoteStep::Prevote, Some(value)) = (step, vote.message.value)
            && let Some(polka) = self.tally.polka((self.round, view), value, self.roster.quorum())
        {
            self.tally.take_polka(polka);
        }
        true
    }

    /// Takes in a quorum of prevotes that another member proved. False if one is known for its
    /// view, or the view is distant.
    pub(super) fn take_polka(&mut self, polka: &Polka) -> bool {
        self.is_near(polka.view) && self.tally.take_polka(polka.clone())
    }

    /// Takes a proposal in. False if one is known for its view, or the view is distant.
    pub(super) fn take_proposal(&mut self, proposed: Verified<ProposalMessage>) -> bool {
        let view = proposed.message.view;
        if !self.is_near(view) {
            return false;
        }
        if let Some(HeldProposal { signed: known, .. }) = self.tally.proposals.get(&view) {
            if known.message != proposed.message {
                let Verified { signer, message, signature } = proposed;
                let (one, other) =
                    (Message::Proposal(known.message.clone()), Message::Proposal(message));
                let (one, other) = ((&one, &known.signature), (&other, &signature));
                self.actions.push_back(Action::Equivocated(Evidence::of(signer, one, other)));
            }
            return false;
        }
        let proposal = &proposed.message.proposal;
        let value = proposal.digest();
        self.proposals.insert(value, proposal.clone());
        self.tally.proposals.insert(view, HeldProposal { signed: proposed, value });
        true
    }

    /// Takes a logged input in, so that the library's effects find it.
    pub(super) fn restore(&mut self, logged: &LoggedInput) {
        match logged {
            LoggedInput::Vote { member, vote, signature } => {
                let (signer, message, signature) = (*member, *vote, *signature);
                self.take_vote(&Verified { signer, message, signature });
            }
            LoggedInput::Proposal { member, message, signature } => {
                let (signer, message, signature) = (*member, (**message).clone(), *signature);
                self.take_proposal(Verified { signer, message, signature });
            }
            LoggedInput::Verdict { value, valid, .. } => {
                self.verdicts.insert(*value, *valid);
            }
            LoggedInput::Polka(polka) => {
                self.take_polka(polka);
            }
            LoggedInput::Opened | LoggedInput::Timeout { .. } => {}
        }
    }

    /// Carries out an effect of the library, and answers it.
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
                self.broadcast(message);
                resume.resume_with(())
            }
            Effect::WalAppend(_, input, resume) => {
                self.log(&input);
                resume.resume_with(())
            }
            Effect::Decide(certificate, _, resume) => {
                self.decide(&certificate);
                resume.resume_with(())
            }
            sign_or_verify => self.on_signing_effect(sign_or_verify),
        }
    }

    /// The effects about signatures, and those that are not needed here.
    fn on_signing_effect(&mut self, effect: Effect<Context>) -> Resume<Context> {
        match effect {
            Effect::SignVote(vote, resume) => {
                let message = Message::Vote(vote.vote);
                let signature = envelope::sign(&self.identity, self.federation, &message);
                resume.resume_with(SignedMessage::new(vote, signature))
            }
            Effect::SignProposal(proposal, resume) => {
                let message = Message::Proposal(self.message(&proposal));
                let signature = envelope::sign(&self.identity, self.federation, &message);
                resume.resume_with(SignedMessage::new(proposal, signature))
            }
            // Nothing reaches the library that was not opened and checked before.
            Effect::VerifySignature(_, _, resume) => resume.resume_with(true),
            Effect::VerifyCommitCertificate(_, _, _, resume)
            | Effect::VerifyPolkaCertificate(_, _, _, resume)
            | Effect::VerifyRoundCertificate(_, _, _, resume)
            | Effect::VerifyExtendedCommitCertificate(_, _, _, _, resume) => {
                resume.resume_with(Ok(()))
            }
            // Proposals travel whole, and `sync` sends what a peer lacks.
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
            self.actions.push_back(Action::ViewStarted(view));
        }
    }

    /// Drops proposals that no held view and no held quorum is about. The one this member is bound
    /// to had a quorum, and newer ones are few.
    fn prune(&mut self) {
        let tally = &self.tally;
        self.proposals.retain(|value, _| tally.is_about(value));
        self.verdicts.retain(|value, _| tally.is_about(value));
    }

    /// Broadcasts what the library publishes: this member's vote or proposal, or after many views
    /// the proposal of another member that this one is now bound to.
    fn broadcast(&mut self, message: SignedConsensusMsg<Context>) {
        let signed = match message {
            SignedConsensusMsg::Vote(SignedMessage { message: vote, signature }) => {
                let (signer, message) = (vote.member, vote.vote);
                self.take_vote(&Verified { signer, message, signature });
                Verified { signer, message: Message::Vote(message), signature }
            }
            SignedConsensusMsg::Proposal(SignedMessage { message: proposal, signature }) => {
                let (signer, message) = (proposal.member, self.message(&proposal));
                self.take_proposal(Verified { signer, message: message.clone(), signature });
                Verified { signer, message: Message::Proposal(message), signature }
            }
        };
        if self.replaying {
            return;
        }
        self.actions.push_back(Action::Persist(std::mem::take(&mut self.log)));
        self.actions.push_back(Action::Broadcast(Box::new(signed)));
    }

    fn log(&mut self, input: &Input<Context>) {
        if !self.replaying {
            let logged = LoggedInput::of(input, |proposal| self.message(proposal));
            self.log.extend(logged);
        }
    }

    fn decide(&mut self, certificate: &CommitCertificate<Context>) {
        let mut signatures: Vec<_> = certificate
            .commit_signatures
            .iter()
            .map(|commit| MemberSignature { member: commit.address, signature: commit.signature })
            .collect();
        signatures.sort_by_key(|commit| self.roster.place_of(&commit.member));
        let proof = Certificate { view: view_of(certificate.round), signatures };
        self.actions.push_back(Action::Decided { value: certificate.value_id, certificate: proof });
    }

    /// A proposal of the library, completed.
    fn message(&self, core: &CoreProposal) -> ProposalMessage {
        let proposal = self.proposals.get(&core.value).cloned();
        ProposalMessage {
            view: core.view,
            valid_view: core.valid_view,
            proposal: proposal.expect("every value the library knows came with its proposal"),
        }
    }

    fn is_near(&self, view: View) -> bool {
        view.0 <= self.view.0.saturating_add(VIEWS_AHEAD_MAX)
            && view.0.saturating_add(VIEWS_KEPT_MAX) >= self.view.0
    }
}

/// How many views ahead of its own the library takes votes of.
const VIEWS_AHEAD_MAX: u32 = arc_malachitebft_core_consensus::MAX_FUTURE_ROUND_LOOKAHEAD;
