//! What a council must remember to sign nothing twice: the inputs its votes follow from.
//!
//! Inputs are collected and handed out as one entry just before something that depends on them is
//! sent. What a crash takes with it was never acted upon.

use arc_malachitebft_core_consensus::{Input, ProposedValue};
use arc_malachitebft_core_types::{
    PolkaCertificate, PolkaSignature, Round as ViewNumber, SignedMessage, Timeout, TimeoutKind,
    Validity, ValueOrigin,
};
use serde::{Deserialize, Serialize};

use super::context::{Ballot, Context, Tabled, round_of, view_of};
use crate::digest::Digest;
use crate::member::{MemberId, Round, View};
use crate::wire::{CommitSignature, Motion, Polka, Step, Vote};

/// One remembered input, in the order it was taken.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Remembered {
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
    /// A motion, own or another's.
    Motion {
        /// Whose.
        member: MemberId,
        /// The motion, with the whole proposal.
        motion: Box<Motion>,
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
        /// Whether it stood up.
        valid: bool,
    },
    /// A quorum of prevotes another member proved.
    Polka(Polka),
    /// A wait ended.
    Timeout {
        /// In which view.
        view: View,
        /// For a proposal, if for no votes.
        step: Option<Step>,
    },
}

impl Remembered {
    /// The library's input; `None` for what it is not told this way.
    pub fn input(&self, round: Round) -> Option<Input<Context>> {
        Some(match self {
            Self::Opened => return None,
            Self::Vote { member, vote, signature } => {
                Input::Vote(SignedMessage::new(Ballot::new(*vote, *member), *signature))
            }
            Self::Motion { member, motion, signature } => {
                let tabled = Tabled {
                    round,
                    view: motion.view,
                    valid_view: motion.valid_view,
                    value: motion.proposal.digest(),
                    member: *member,
                };
                Input::Proposal(SignedMessage::new(tabled, *signature))
            }
            Self::Verdict { view, member, value, valid } => {
                let proposed = verdict(round, *view, *member, *value, *valid);
                Input::ProposedValue(proposed, ValueOrigin::Consensus)
            }
            Self::Polka(polka) => Input::PolkaCertificate(certificate(polka)),
            Self::Timeout { view, step } => {
                let kind = match step {
                    None => TimeoutKind::Propose,
                    Some(Step::Prevote) => TimeoutKind::Prevote,
                    Some(Step::Precommit) => TimeoutKind::Precommit,
                };
                Input::TimeoutElapsed(Timeout::new(round_of(*view), kind))
            }
        })
    }

    /// What to remember of an input; `motion` finds a motion's proposal.
    pub fn of(
        input: &Input<Context>,
        motion: impl FnOnce(&Tabled) -> Option<Motion>,
    ) -> Option<Self> {
        match input {
            Input::Vote(signed) => Some(Self::Vote {
                member: signed.message.member,
                vote: signed.message.vote,
                signature: signed.signature,
            }),
            Input::Proposal(signed) => Some(Self::Motion {
                member: signed.message.member,
                motion: Box::new(motion(&signed.message)?),
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
                    .map(|s| CommitSignature { member: s.address, signature: s.signature })
                    .collect(),
            })),
            Input::TimeoutElapsed(timeout) => {
                let step = match timeout.kind {
                    TimeoutKind::Propose => None,
                    TimeoutKind::Prevote => Some(Step::Prevote),
                    TimeoutKind::Precommit => Some(Step::Precommit),
                    TimeoutKind::Rebroadcast | TimeoutKind::FinalizeHeight(_) => return None,
                };
                Some(Self::Timeout { view: view_of(timeout.round), step })
            }
            _ => None,
        }
    }
}

/// A quorum of prevotes in the library's words.
pub fn certificate(polka: &Polka) -> PolkaCertificate<Context> {
    let signature = |s: &CommitSignature| PolkaSignature::new(s.member, s.signature);
    PolkaCertificate {
        height: polka.round,
        round: round_of(polka.view),
        value_id: polka.value,
        polka_signatures: polka.signatures.iter().map(signature).collect(),
    }
}

/// A verdict in the library's words.
pub fn verdict(
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
