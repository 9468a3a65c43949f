//! The log that keeps a member from signing twice: the inputs its votes follow from.
//!
//! Inputs are collected and handed out as one entry just before a message that depends on them is
//! sent. Nothing was sent that depends on inputs lost in a crash.

use arc_malachitebft_core_consensus::{Input, ProposedValue};
use arc_malachitebft_core_types::{
    PolkaCertificate, PolkaSignature, Round as ViewNumber, SignedMessage, Timeout, TimeoutKind,
    Validity, ValueOrigin,
};
use serde::{Deserialize, Serialize};

use super::context::{Context, CoreProposal, CoreVote, round_of, view_of};
use crate::digest::Digest;
use crate::member::{MemberId, Round, View};
use crate::wire::{MemberSignature, Polka, ProposalMessage, Vote, VoteStep};

/// One input, in the order taken. The names on disk are those of its first version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LoggedInput {
    /// The vote began.
    Opened,
    /// A vote, own or another's.
    Vote {
        /// Whose.
        member: MemberId,
        /// The vote.
        vote: Vote,
        /// Its signature.
        #[serde(with = "serde_bytes")]
        signature: [u8; 64],
    },
    /// A proposal, own or another's.
    #[serde(rename = "motion")]
    Proposal {
        /// Whose.
        member: MemberId,
        /// The message, with the whole proposal.
        #[serde(rename = "motion")]
        message: Box<ProposalMessage>,
        /// Its signature.
        #[serde(with = "serde_bytes")]
        signature: [u8; 64],
    },
    /// This member's verdict on a proposal.
    Verdict {
        /// The view it was reached in.
        view: View,
        /// Who proposed.
        member: MemberId,
        /// The digest of the proposal.
        value: Digest,
        /// Whether it is valid.
        valid: bool,
    },
    /// A quorum of prevotes another member proved.
    Polka(Polka),
    /// A timeout fired.
    Timeout {
        /// The view.
        view: View,
        /// The votes waited for; `None` for a proposal.
        step: Option<VoteStep>,
    },
}

impl LoggedInput {
    /// The library's input; `None` for [`LoggedInput::Opened`], which starts it.
    pub(crate) fn input(&self, round: Round) -> Option<Input<Context>> {
        Some(match self {
            Self::Opened => return None,
            Self::Vote { member, vote, signature } => {
                Input::Vote(SignedMessage::new(CoreVote::new(*vote, *member), *signature))
            }
            Self::Proposal { member, message, signature } => {
                let proposal = CoreProposal {
                    round,
                    view: message.view,
                    valid_view: message.valid_view,
                    value: message.proposal.digest(),
                    member: *member,
                };
                Input::Proposal(SignedMessage::new(proposal, *signature))
            }
            Self::Verdict { view, member, value, valid } => {
                let proposed = verdict(round, *view, *member, *value, *valid);
                Input::ProposedValue(proposed, ValueOrigin::Consensus)
            }
            Self::Polka(polka) => Input::PolkaCertificate(certificate(polka)),
            Self::Timeout { view, step } => {
                let kind = match step {
                    None => TimeoutKind::Propose,
                    Some(VoteStep::Prevote) => TimeoutKind::Prevote,
                    Some(VoteStep::Precommit) => TimeoutKind::Precommit,
                };
                Input::TimeoutElapsed(Timeout::new(round_of(*view), kind))
            }
        })
    }

    /// What to log of an input; `message` completes a proposal of the library.
    pub(crate) fn of(
        input: &Input<Context>,
        message: impl FnOnce(&CoreProposal) -> ProposalMessage,
    ) -> Option<Self> {
        match input {
            Input::Vote(signed) => Some(Self::Vote {
                member: signed.message.member,
                vote: signed.message.vote,
                signature: signed.signature,
            }),
            Input::Proposal(signed) => Some(Self::Proposal {
                member: signed.message.member,
                message: Box::new(message(&signed.message)),
                signature: signed.signature,
            }),
            Input::ProposedValue(proposed, _) => Some(Self::Verdict {
                view: view_of(proposed.round),
                member: proposed.proposer,
                value: proposed.value,
                valid: proposed.validity.is_valid(),
            }),
            Input::PolkaCertificate(seen) => Some(Self::Polka(Polka {
                round: seen.height,
                view: view_of(seen.round),
                value: seen.value_id,
                signatures: seen
                    .polka_signatures
                    .iter()
                    .map(|s| MemberSignature { member: s.address, signature: s.signature })
                    .collect(),
            })),
            Input::TimeoutElapsed(timeout) => {
                let step = match timeout.kind {
                    TimeoutKind::Propose => None,
                    TimeoutKind::Prevote => Some(VoteStep::Prevote),
                    TimeoutKind::Precommit => Some(VoteStep::Precommit),
                    TimeoutKind::Rebroadcast | TimeoutKind::FinalizeHeight(_) => return None,
                };
                Some(Self::Timeout { view: view_of(timeout.round), step })
            }
            _ => None,
        }
    }
}

/// A quorum of prevotes as the library has it.
pub(super) fn certificate(polka: &Polka) -> PolkaCertificate<Context> {
    let signature = |s: &MemberSignature| PolkaSignature::new(s.member, s.signature);
    PolkaCertificate {
        height: polka.round,
        round: round_of(polka.view),
        value_id: polka.value,
        polka_signatures: polka.signatures.iter().map(signature).collect(),
    }
}

/// A verdict as the library has it.
pub(super) fn verdict(
    round: Round,
    view: View,
    member: MemberId,
    value: Digest,
    valid: bool,
) -> ProposedValue<Context> {
    ProposedValue {
        height: round,
        round: round_of(view),
        valid_round: ViewNumber::Nil,
        proposer: member,
        value,
        validity: Validity::from_bool(valid),
    }
}
