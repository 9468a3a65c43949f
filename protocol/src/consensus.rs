//! The vote of one round: Tendermint, by `arc-malachitebft-core-consensus`.
//!
//! This file feeds the library and carries out its effects; it decides nothing. What is signed here
//! is logged first: an [`Action::Persist`] always comes before the [`Action::Broadcast`] that
//! depends on it. A [`Consensus`] exists from the moment its round is the next one and takes votes
//! at once; its own vote opens later.

mod context;
mod handler;
mod log;
mod tally;
mod timers;

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;

use arc_malachitebft_core_consensus as consensus;
use arc_malachitebft_core_types as core;
use consensus::{Input, LocallyProposedValue, Params, State};
use core::{SignedMessage, ThresholdParam, ThresholdParams, ValueOrigin, ValuePayload};

use crate::digest::Digest;
use crate::federation::{FaultModel, Federation};
use crate::identity::Identity;
use crate::io::Time;
use crate::ledger::Tip;
use crate::member::{MemberId, View};
use crate::status::Load;
use crate::wire::{
    Certificate, Evidence, Message, Polka, Proposal, ProposalMessage, Verified, Vote,
};
use context::{Context, CoreProposal, CoreVote, Voter, Voters, round_of};
use handler::EffectHandler;
pub(crate) use log::LoggedInput;
pub(crate) use tally::Tally;

/// What the round must do for the vote, in order.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Action {
    /// Make this durable first.
    Persist(Vec<LoggedInput>),
    /// Send this message to every member.
    Broadcast(Box<Verified<Message>>),
    /// A view began.
    ViewStarted(View),
    /// A member signed two different votes for one step, or two proposals for one view.
    Equivocated(Evidence),
    /// A quorum precommitted this proposal.
    Decided {
        /// What was decided.
        value: Digest,
        /// The proof.
        certificate: Certificate,
    },
}

/// The vote of one round.
pub(crate) struct Consensus {
    state: State<Context>,
    handler: EffectHandler,
}

/// Replaying the log led to another vote than the one in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("replaying the vote gave another vote than the one cast")]
pub(crate) struct Diverged;

impl Consensus {
    /// The vote of the round after `tip`; not open yet.
    pub(crate) fn new(federation: &Federation, identity: &Identity, tip: &Tip) -> Self {
        let context = Context::new(tip.leaders());
        let members = tip.roster.members().iter().map(|member| Voter(member.id())).collect();
        let voters = Voters(Arc::new(members));
        let params = Params {
            address: identity.member(),
            threshold_params: thresholds(federation.document().council.fault_model),
            value_payload: ValuePayload::ProposalAndParts,
            enabled: true,
        };
        let handler = EffectHandler::new(federation, identity, tip, context.clone());
        let state =
            State::new(context, tip.round, voters, params, HEIGHTS_QUEUED_MAX, INPUTS_QUEUED_MAX);
        Self { state, handler }
    }

    /// Whether this member has begun to vote.
    pub(crate) fn is_open(&self) -> bool {
        self.handler.open
    }

    /// The view under way; 0 before the vote.
    pub(crate) fn view(&self) -> View {
        self.handler.view
    }

    /// Who leads `view`.
    pub(crate) fn aggregator(&self, view: View) -> MemberId {
        self.handler.context.aggregator(view)
    }

    /// The view this member is to propose in, until it has.
    pub(crate) fn wants_proposal(&self) -> Option<View> {
        self.handler.wanted
    }

    /// The votes and proposals held.
    pub(crate) fn tally(&self) -> &Tally {
        &self.handler.tally
    }

    /// A proposal by its digest.
    pub(crate) fn proposal(&self, value: &Digest) -> Option<&Proposal> {
        self.handler.proposals.get(value)
    }

    /// Begins to vote, with view 0. Later calls change nothing.
    pub(crate) fn open(&mut self, now: Time) {
        if self.handler.open {
            return;
        }
        self.handler.open = true;
        self.handler.log.push(LoggedInput::Opened);
        let input = self.start(false);
        self.process(now, input);
    }

    /// Replays the log of an earlier run. Broadcasts nothing; peers ask for what they lack.
    pub(crate) fn replay(&mut self, now: Time, log: &[LoggedInput]) -> Result<(), Diverged> {
        if log.is_empty() {
            return Ok(());
        }
        self.handler.open = true;
        self.handler.replaying = true;
        let inputs: Vec<_> =
            log.iter().filter_map(|logged| logged.input(self.handler.round)).collect();
        self.state.index_wal_entries(&inputs);
        let start = self.start(true);
        let mut sound = self.process(now, start);
        for logged in log {
            self.handler.restore(logged);
            if let Some(input) = logged.input(self.handler.round) {
                sound &= self.process(now, input);
            }
        }
        self.state.reset_entries_index();
        self.handler.replaying = false;
        if sound { Ok(()) } else { Err(Diverged) }
    }

    /// A checked vote. Returns whether it was new.
    pub(crate) fn on_vote(&mut self, now: Time, vote: Verified<Vote>) -> bool {
        if !self.handler.take_vote(&vote) {
            return false;
        }
        let core_vote = CoreVote::new(vote.message, vote.signer);
        self.process(now, Input::Vote(SignedMessage::new(core_vote, vote.signature)));
        true
    }

    /// A proposal signed by the elected aggregator of its view. Returns whether it was new.
    pub(crate) fn on_proposal(&mut self, now: Time, proposed: Verified<ProposalMessage>) -> bool {
        let core_proposal = CoreProposal {
            round: self.handler.round,
            view: proposed.message.view,
            valid_view: proposed.message.valid_view,
            value: proposed.message.proposal.digest(),
            member: proposed.signer,
        };
        let signature = proposed.signature;
        if !self.handler.take_proposal(proposed) {
            return false;
        }
        let known = self.handler.verdicts.get(&core_proposal.value).copied();
        self.process(now, Input::Proposal(SignedMessage::new(core_proposal.clone(), signature)));
        if let Some(valid) = known {
            self.give_verdict(now, &core_proposal, valid);
        }
        true
    }

    /// A checked quorum of prevotes that another member saw. Returns whether it was new.
    pub(crate) fn on_polka(&mut self, now: Time, polka: &Polka) -> bool {
        if !self.handler.open || !self.handler.take_polka(polka) {
            return false;
        }
        self.process(now, Input::PolkaCertificate(log::certificate(polka)));
        true
    }

    /// This member's verdict on a proposal held. A verdict may change to valid, never back.
    pub(crate) fn on_verdict(&mut self, now: Time, value: Digest, valid: bool) {
        let known = self.handler.verdicts.insert(value, valid);
        if known == Some(valid) {
            return;
        }
        for core_proposal in self.handler.tally.core_proposals(self.handler.round, value) {
            self.give_verdict(now, &core_proposal, valid);
        }
    }

    /// Whether there is a verdict on this proposal.
    pub(crate) fn has_verdict(&self, value: &Digest) -> bool {
        self.handler.verdicts.contains_key(value)
    }

    /// Puts this member's own proposal to the vote in `view`.
    pub(crate) fn propose(&mut self, now: Time, view: View, proposal: Proposal) {
        let value = proposal.digest();
        self.handler.wanted = None;
        self.handler.proposals.insert(value, proposal);
        self.handler.verdicts.insert(value, true);
        let value = LocallyProposedValue::new(self.handler.round, round_of(view), value);
        self.process(now, Input::Propose(value));
    }

    /// How long this member's own aggregation took; later timeouts allow for it.
    pub(crate) fn allow_for_work(&mut self, work_ms: u64) {
        self.handler.timers.allow_for_work(work_ms);
    }

    /// Fires the timeouts that are due.
    pub(crate) fn on_tick(&mut self, now: Time) {
        while let Some(timeout) = self.handler.timers.pop(now) {
            self.process(now, Input::TimeoutElapsed(timeout));
        }
    }

    /// When the next timeout is due.
    pub(crate) fn next_timeout(&self) -> Option<Time> {
        self.handler.timers.next()
    }

    /// The next action.
    pub(crate) fn next_action(&mut self) -> Option<Action> {
        self.handler.actions.pop_front()
    }

    /// How much it holds.
    pub(crate) fn load(&self) -> Load {
        let handler = &self.handler;
        Load {
            views_proposed: handler.tally.proposals().count(),
            votes: handler.tally.votes_count(),
            views: handler.tally.views_count(),
            proposals: handler.proposals.len(),
            verdicts: handler.verdicts.len(),
            timers: handler.timers.len(),
            ..Load::default()
        }
    }

    fn give_verdict(&mut self, now: Time, core_proposal: &CoreProposal, valid: bool) {
        let (round, view) = (self.handler.round, core_proposal.view);
        let proposed = log::verdict(round, view, core_proposal.member, core_proposal.value, valid);
        self.process(now, Input::ProposedValue(proposed, ValueOrigin::Consensus));
    }

    fn start(&self, again: bool) -> Input<Context> {
        let voters = self.state.validator_set().clone();
        Input::StartHeight(
            self.handler.round,
            voters,
            again,
            None,
            core::VoteExtensionPolicy::Disabled,
        )
    }

    /// Feeds the library. False if it found a contradiction, which only a replay can: after any
    /// other error its state is unchanged, and the view times out.
    fn process(&mut self, now: Time, input: Input<Context>) -> bool {
        self.handler.now = now;
        let handler = &mut self.handler;
        let metrics = ();
        let result: Result<(), consensus::Error<Context>> = consensus::process!(
            input: input,
            state: &mut self.state,
            metrics: &metrics,
            with: effect => Ok::<_, Infallible>(handler.on_effect(effect))
        );
        !matches!(result, Err(consensus::Error::ReplayDivergence(..)))
    }
}

impl fmt::Debug for Consensus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consensus").field("handler", &self.handler).finish_non_exhaustive()
    }
}

fn thresholds(fault_model: FaultModel) -> ThresholdParams {
    match fault_model {
        FaultModel::Byzantine => ThresholdParams::default(),
        FaultModel::Crash => {
            let (quorum, honest) = (ThresholdParam::new(1, 2), ThresholdParam::new(0, 1));
            ThresholdParams { quorum, honest }
        }
    }
}

/// Rounds whose early votes the library queues: only this one's ever reach it.
const HEIGHTS_QUEUED_MAX: usize = 1;

/// Votes and proposals queued before the vote opens: 64 members, two steps, ten views and to spare.
const INPUTS_QUEUED_MAX: usize = 2048;
