//! The vote of one round: Tendermint, as `arc-malachitebft-core-consensus` has it, in our words.
//!
//! This file feeds the library and carries out its effects; it decides nothing. What is signed here
//! is remembered first: [`Act::Remember`] always comes before the [`Act::Say`] that depends on it.
//! A council is made when its round becomes the next one, takes in votes at once and opens later.

pub mod context;
mod handler;
mod tally;
pub mod timers;
pub mod wal;

use std::collections::VecDeque;
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
use crate::wire::{Certificate, Evidence, Message, Motion, Polka, Proposal, Vote};
use context::{Ballot, Context, Seat, Seats, Tabled, round_of};
use handler::Desk;
pub use tally::{Put, Tally};
use wal::Remembered;

/// What a council wants done, in order.
#[derive(Clone, Debug, PartialEq)]
pub enum Act {
    /// Make this durable first.
    Remember(Vec<Remembered>),
    /// Give this message to every member.
    Say(Box<Verified<Message>>),
    /// A view began.
    ViewStarted(View),
    /// Somebody signed two different votes for one step, or two motions for one view.
    Equivocated(Evidence),
    /// A quorum precommitted this proposal.
    Decided {
        /// What was decided.
        value: Digest,
        /// The proof.
        certificate: Certificate,
    },
}

/// The council of one round.
pub struct Council {
    state: State<Context>,
    desk: Desk,
}

/// Replaying what was remembered led to other votes than those remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("replaying the vote gave another vote than the one cast")]
pub struct Diverged;

impl Council {
    /// The council of the round after `tip`; not open yet.
    pub fn new(federation: &Federation, identity: &Identity, tip: &Tip) -> Self {
        let context = Context::new(tip.turns());
        let members = tip.roster.members().iter().map(|member| Seat(member.id())).collect();
        let seats = Seats(Arc::new(members));
        let params = Params {
            address: identity.member(),
            threshold_params: thresholds(federation.document().council.fault_model),
            value_payload: ValuePayload::ProposalAndParts,
            enabled: true,
        };
        let desk = Desk::new(federation, identity, tip, context.clone());
        let state =
            State::new(context, tip.round, seats, params, HEIGHTS_QUEUED_MAX, INPUTS_QUEUED_MAX);
        Self { state, desk }
    }

    /// Whether the vote has begun here.
    pub fn is_open(&self) -> bool {
        self.desk.open
    }

    /// The view under way; 0 before the vote.
    pub fn view(&self) -> View {
        self.desk.view
    }

    /// Who leads `view`.
    pub fn aggregator(&self, view: View) -> MemberId {
        self.desk.context.aggregator(view)
    }

    /// The view this member is to propose in, until it has.
    pub fn wants_proposal(&self) -> Option<View> {
        self.desk.wanted
    }

    /// The votes and motions at hand.
    pub fn tally(&self) -> &Tally {
        &self.desk.tally
    }

    /// A proposal of a motion at hand.
    pub fn proposal(&self, value: &Digest) -> Option<&Proposal> {
        self.desk.proposals.get(value)
    }

    /// Begins the vote with view 0. Later calls change nothing.
    pub fn open(&mut self, now: Time) {
        if self.desk.open {
            return;
        }
        self.desk.open = true;
        self.desk.remembered.push(Remembered::Opened);
        let input = self.start(false);
        self.process(now, input);
    }

    /// Lives through a remembered past. Says nothing of it; what it said may be said again.
    pub fn replay(&mut self, now: Time, past: &[Remembered]) -> Result<(), Diverged> {
        if past.is_empty() {
            return Ok(());
        }
        self.desk.open = true;
        self.desk.replaying = true;
        let inputs: Vec<_> = past.iter().filter_map(|r| r.input(self.desk.round)).collect();
        self.state.index_wal_entries(&inputs);
        let start = self.start(true);
        let mut sound = self.process(now, start);
        for remembered in past {
            self.desk.recall(remembered);
            if let Some(input) = remembered.input(self.desk.round) {
                sound &= self.process(now, input);
            }
        }
        self.state.reset_entries_index();
        self.desk.replaying = false;
        if sound { Ok(()) } else { Err(Diverged) }
    }

    /// A checked vote. Returns whether it was new.
    pub fn on_vote(&mut self, now: Time, vote: Verified<Vote>) -> bool {
        if !self.desk.take_vote(&vote) {
            return false;
        }
        let ballot = Ballot::new(vote.message, vote.signer);
        self.process(now, Input::Vote(SignedMessage::new(ballot, vote.signature)));
        true
    }

    /// A motion signed by the elected aggregator of its view. Returns whether it was new.
    pub fn on_motion(&mut self, now: Time, motion: Verified<Motion>) -> bool {
        let tabled = Tabled {
            round: self.desk.round,
            view: motion.message.view,
            valid_view: motion.message.valid_view,
            value: motion.message.proposal.digest(),
            member: motion.signer,
        };
        let signature = motion.signature;
        if !self.desk.take_motion(motion) {
            return false;
        }
        let known = self.desk.verdicts.get(&tabled.value).copied();
        self.process(now, Input::Proposal(SignedMessage::new(tabled.clone(), signature)));
        if let Some(valid) = known {
            self.judge(now, &tabled, valid);
        }
        true
    }

    /// A checked quorum of prevotes that another member saw. Returns whether it was new.
    pub fn on_polka(&mut self, now: Time, polka: &Polka) -> bool {
        if !self.desk.open || !self.desk.take_polka(polka) {
            return false;
        }
        self.process(now, Input::PolkaCertificate(wal::certificate(polka)));
        true
    }

    /// This member's verdict on a proposal at hand. A verdict may improve, never worsen.
    pub fn on_verdict(&mut self, now: Time, value: Digest, valid: bool) {
        let known = self.desk.verdicts.insert(value, valid);
        if known == Some(valid) {
            return;
        }
        for tabled in self.desk.tally.tabled(self.desk.round, value) {
            self.judge(now, &tabled, valid);
        }
    }

    /// Whether there is a verdict on this proposal.
    pub fn has_verdict(&self, value: &Digest) -> bool {
        self.desk.verdicts.contains_key(value)
    }

    /// Puts this member's own proposal to the vote in `view`.
    pub fn propose(&mut self, now: Time, view: View, proposal: Proposal) {
        let value = proposal.digest();
        self.desk.wanted = None;
        self.desk.proposals.insert(value, proposal);
        self.desk.verdicts.insert(value, true);
        let value = LocallyProposedValue::new(self.desk.round, round_of(view), value);
        self.process(now, Input::Propose(value));
    }

    /// What this member's own aggregation took; later waits allow for it.
    pub fn allow_for_work(&mut self, work_ms: u64) {
        self.desk.timers.allow_for_work(work_ms);
    }

    /// Ends the waits that are over.
    pub fn on_tick(&mut self, now: Time) {
        while let Some(timeout) = self.desk.timers.pop(now) {
            self.process(now, Input::TimeoutElapsed(timeout));
        }
    }

    /// When the next wait ends.
    pub fn next_timeout(&self) -> Option<Time> {
        self.desk.timers.next()
    }

    /// The next thing to do.
    pub fn pop(&mut self) -> Option<Act> {
        self.desk.acts.pop_front()
    }

    /// What it holds.
    pub fn load(&self) -> Load {
        let desk = &self.desk;
        Load {
            motions: desk.tally.motions().count(),
            votes: desk.tally.votes_count(),
            views: desk.tally.views_count(),
            proposals: desk.proposals.len(),
            verdicts: desk.verdicts.len(),
            timers: desk.timers.len(),
            ..Load::default()
        }
    }

    fn judge(&mut self, now: Time, tabled: &Tabled, valid: bool) {
        let (round, view) = (self.desk.round, tabled.view);
        let proposed = wal::verdict(round, view, tabled.member, tabled.value, valid);
        self.process(now, Input::ProposedValue(proposed, ValueOrigin::Consensus));
    }

    fn start(&self, again: bool) -> Input<Context> {
        let seats = self.state.validator_set().clone();
        Input::StartHeight(self.desk.round, seats, again, None, core::VoteExtensionPolicy::Disabled)
    }

    /// Feeds the library. False if it found a contradiction, which only a replay can meet: in all
    /// other cases it leaves its state as it was, and the view times out.
    fn process(&mut self, now: Time, input: Input<Context>) -> bool {
        self.desk.now = now;
        let desk = &mut self.desk;
        let metrics = ();
        let result: Result<(), consensus::Error<Context>> = consensus::process!(
            input: input,
            state: &mut self.state,
            metrics: &metrics,
            with: effect => Ok::<_, Infallible>(desk.on_effect(effect))
        );
        !matches!(result, Err(consensus::Error::ReplayDivergence(..)))
    }
}

impl fmt::Debug for Council {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Council").field("desk", &self.desk).finish_non_exhaustive()
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

/// Acts not yet taken; the caller drains them after every call.
type Acts = VecDeque<Act>;

/// Rounds whose early votes the library queues: only this one's ever reach it.
const HEIGHTS_QUEUED_MAX: usize = 1;

/// Votes and motions queued before the vote opens: 64 members, two steps, ten views and to spare.
const INPUTS_QUEUED_MAX: usize = 2048;
