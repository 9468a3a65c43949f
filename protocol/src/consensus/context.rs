//! Our types as the library's: who votes, on what, signed how.
//!
//! Its height is our [`Round`], its round our [`View`], its value the [`Digest`] of a proposal. It
//! verifies nothing here: every vote and proposal it is handed was opened and checked before.

use std::sync::Arc;
use std::time::Duration;

use arc_malachitebft_core_types as core;
use core::NilOrVal;

use crate::digest::Digest;
use crate::ledger::Leaders;
use crate::member::{MemberId, Round, View};
use crate::wire::{Vote, VoteStep};

/// Who leads which view of one round.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    leaders: Arc<Leaders>,
}

/// A member as the library's validator. Every member has one vote.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Voter(pub MemberId);

/// All voters, in roster order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Voters(pub Arc<Vec<Voter>>);

/// A vote as the library has it: with its voter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CoreVote {
    /// The vote as it is signed.
    pub vote: Vote,
    /// Who cast it.
    pub member: MemberId,
    value: NilOrVal<Digest>,
}

/// A proposal as the library has it: its digest, and who proposed it in which view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CoreProposal {
    /// The round.
    pub round: Round,
    /// The view it is proposed in.
    pub view: View,
    /// The earlier view that gave it a quorum of prevotes.
    pub valid_view: Option<View>,
    /// The digest of the proposal.
    pub value: Digest,
    /// Who leads that view.
    pub member: MemberId,
}

/// Signatures as envelopes hold them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Signing;

/// Proposals are not streamed in parts: the library's parameter for it has no values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NoProposalPart {}

/// The library may carry a table of timeouts; ours are in `timers`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Unused;

/// A signature that is not 64 bytes, or a key that is not 32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("wrong length")]
pub(crate) struct WrongLength;

impl Context {
    /// A round whose views these members lead.
    pub(crate) fn new(leaders: Leaders) -> Self {
        Self { leaders: Arc::new(leaders) }
    }

    /// Who leads `view`.
    pub(crate) fn aggregator(&self, view: View) -> MemberId {
        self.leaders.of(view)
    }
}

impl CoreVote {
    /// `member`'s vote.
    pub(crate) fn new(vote: Vote, member: MemberId) -> Self {
        Self { vote, member, value: vote.value.map_or(NilOrVal::Nil, NilOrVal::Val) }
    }
}

/// The library's round as our view; its `Nil` (before the first view) is view 0.
pub(super) fn view_of(round: core::Round) -> View {
    View(round.as_u32().unwrap_or(0))
}

/// Our view as the library's round.
pub(super) fn round_of(view: View) -> core::Round {
    core::Round::new(view.0)
}

impl core::Context for Context {
    type Address = MemberId;
    type Height = Round;
    type ProposalPart = NoProposalPart;
    type Proposal = CoreProposal;
    type Validator = Voter;
    type ValidatorSet = Voters;
    type Timeouts = Unused;
    type Value = Digest;
    type Vote = CoreVote;
    type Extension = ();
    type SigningScheme = Signing;

    fn select_proposer<'a>(&self, voters: &'a Voters, _: Round, round: core::Round) -> &'a Voter {
        let member = self.aggregator(view_of(round));
        core::ValidatorSet::get_by_address(voters, &member)
            .expect("leaders are members of the roster")
    }

    fn new_proposal(
        &self,
        height: Round,
        round: core::Round,
        value: Digest,
        valid_round: core::Round,
        member: MemberId,
    ) -> CoreProposal {
        let valid_view = valid_round.as_u32().map(View);
        CoreProposal { round: height, view: view_of(round), valid_view, value, member }
    }

    fn new_prevote(
        &self,
        height: Round,
        round: core::Round,
        value: NilOrVal<Digest>,
        member: MemberId,
    ) -> CoreVote {
        core_vote(height, round, VoteStep::Prevote, value, member)
    }

    fn new_precommit(
        &self,
        height: Round,
        round: core::Round,
        value: NilOrVal<Digest>,
        member: MemberId,
    ) -> CoreVote {
        core_vote(height, round, VoteStep::Precommit, value, member)
    }
}

fn core_vote(
    round: Round,
    view: core::Round,
    step: VoteStep,
    value: NilOrVal<Digest>,
    member: MemberId,
) -> CoreVote {
    let chosen = match value {
        NilOrVal::Nil => None,
        NilOrVal::Val(digest) => Some(digest),
    };
    let vote = Vote { round, view: view_of(view), step, value: chosen };
    CoreVote { vote, member, value }
}

impl core::Height for Round {
    const ZERO: Self = Round(0);
    const INITIAL: Self = Round(1);

    fn increment_by(&self, n: u64) -> Self {
        Round(self.0.saturating_add(n))
    }

    fn decrement_by(&self, n: u64) -> Option<Self> {
        self.0.checked_sub(n).map(Round)
    }

    fn as_u64(&self) -> u64 {
        self.0
    }
}

impl core::Address for MemberId {}

impl core::Value for Digest {
    type Id = Digest;

    fn id(&self) -> Digest {
        *self
    }
}

impl core::Validator<Context> for Voter {
    fn address(&self) -> &MemberId {
        &self.0
    }

    fn public_key(&self) -> &MemberId {
        &self.0
    }

    fn voting_power(&self) -> core::VotingPower {
        1
    }
}

impl core::ValidatorSet<Context> for Voters {
    fn count(&self) -> usize {
        self.0.len()
    }

    fn total_voting_power(&self) -> core::VotingPower {
        self.0.len() as u64
    }

    fn get_by_address(&self, member: &MemberId) -> Option<&Voter> {
        self.0.iter().find(|voter| voter.0 == *member)
    }

    fn get_by_index(&self, index: usize) -> Option<&Voter> {
        self.0.get(index)
    }
}

impl core::Vote<Context> for CoreVote {
    fn height(&self) -> Round {
        self.vote.round
    }

    fn round(&self) -> core::Round {
        round_of(self.vote.view)
    }

    fn value(&self) -> &NilOrVal<Digest> {
        &self.value
    }

    fn take_value(self) -> NilOrVal<Digest> {
        self.value
    }

    fn vote_type(&self) -> core::VoteType {
        match self.vote.step {
            VoteStep::Prevote => core::VoteType::Prevote,
            VoteStep::Precommit => core::VoteType::Precommit,
        }
    }

    fn validator_address(&self) -> &MemberId {
        &self.member
    }

    fn extension(&self) -> Option<&core::SignedExtension<Context>> {
        None
    }

    fn take_extension(&mut self) -> Option<core::SignedExtension<Context>> {
        None
    }

    fn extend(self, _: core::SignedExtension<Context>) -> Self {
        self
    }
}

impl core::Proposal<Context> for CoreProposal {
    fn height(&self) -> Round {
        self.round
    }

    fn round(&self) -> core::Round {
        round_of(self.view)
    }

    fn value(&self) -> &Digest {
        &self.value
    }

    fn take_value(self) -> Digest {
        self.value
    }

    fn pol_round(&self) -> core::Round {
        self.valid_view.map_or(core::Round::Nil, round_of)
    }

    fn validator_address(&self) -> &MemberId {
        &self.member
    }
}

impl core::ProposalPart<Context> for NoProposalPart {
    fn is_first(&self) -> bool {
        match *self {}
    }

    fn is_last(&self) -> bool {
        match *self {}
    }
}

impl core::SigningScheme for Signing {
    type DecodingError = WrongLength;
    type Signature = [u8; 64];
    type PublicKey = MemberId;
    type PrivateKey = ();

    fn decode_signature(bytes: &[u8]) -> Result<[u8; 64], WrongLength> {
        bytes.try_into().map_err(|_| WrongLength)
    }

    fn encode_signature(signature: &[u8; 64]) -> Vec<u8> {
        signature.to_vec()
    }

    fn decode_public_key(bytes: &[u8]) -> Result<MemberId, WrongLength> {
        bytes.try_into().map(MemberId).map_err(|_| WrongLength)
    }

    fn encode_public_key(key: &MemberId) -> Vec<u8> {
        key.0.to_vec()
    }
}

impl core::Timeouts<Context> for Unused {
    fn duration_for(&self, _: core::Timeout) -> Duration {
        Duration::ZERO
    }
}
