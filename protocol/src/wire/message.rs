//! The messages members send each other. Each travels alone in one signed envelope.
//!
//! | kind | sent by | when | durable before it is sent |
//! |---|---|---|---|
//! | [`Heartbeat`] | a member that trains or sits out | about once a second | nothing |
//! | [`Update`] | every member | once a round | the update |
//! | [`ProposalMessage`] | the elected aggregator | once a view | the proposal |
//! | [`Vote`] | every member | twice a view | the vote and all inputs it follows from |
//! | [`Objection`] | a member that refused a proposal | at once | nothing |
//! | [`Holdings`] | every member, to a few peers | about once a second | nothing |
//! | [`RecordCopy`] | a member ahead, to one behind | on its holdings | the record |
//! | [`Polka`] | a member that saw one, to one that cannot | on its holdings | nothing |
//! | [`Evidence`] | whoever finds an equivocation | at once | nothing |
//! | [`Ballot`] | a member whose operator votes | once a petition | the ballot |

use serde::{Deserialize, Serialize};

use super::ballot::Ballot;
use super::evidence::Evidence;
use super::holdings::Holdings;
use super::objection::Objection;
use super::record::Proposal;
use super::update::Update;
use super::vote::{Polka, Vote, VoteStep};
use crate::digest::Digest;
use crate::member::{Round, View};

/// Any message.
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    /// A training heartbeat.
    Heartbeat(Heartbeat),
    /// "My delta for this round is this blob."
    Update(Update),
    /// A proposal put to the vote.
    Proposal(ProposalMessage),
    /// A prevote or precommit.
    Vote(Vote),
    /// Why a proposal got no vote.
    Objection(Objection),
    /// What the sender has of its round.
    Holdings(Holdings),
    /// A certified record.
    Record(RecordCopy),
    /// A quorum of prevotes.
    Polka(Polka),
    /// Proof of an equivocation.
    Evidence(Evidence),
    /// A member's vote on a change of the roster.
    Ballot(Ballot),
}

/// The kinds of message; each is a domain of its own for signatures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// [`Message::Heartbeat`].
    #[serde(rename = "progress")]
    Heartbeat,
    /// [`Message::Update`].
    Update,
    /// [`Message::Proposal`].
    Proposal,
    /// [`Message::Vote`].
    Vote,
    /// [`Message::Objection`].
    Objection,
    /// [`Message::Holdings`].
    Holdings,
    /// [`Message::Record`].
    Record,
    /// [`Message::Polka`].
    Polka,
    /// [`Message::Evidence`].
    Evidence,
    /// [`Message::Ballot`].
    Ballot,
}

/// "I am still training", or "I will not contribute to this round". Resets how long the sender is
/// waited for; a record may show one as proof of presence. The numbers are for people only.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// The round trained for.
    pub round: Round,
    /// Steps done.
    pub step: u64,
    /// Steps in all.
    pub steps: u64,
    /// The newest training loss.
    pub loss: f32,
    /// Set by a member that sits the round out: why, in a few words.
    pub sits_out: Option<String>,
}

/// A proposal as its aggregator puts it to the vote in one view. Receivers check that the elected
/// aggregator of the view signed it, and recompute the proposal before they vote.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProposalMessage {
    /// The view it is put in; the proposal names the view it was first made in.
    pub view: View,
    /// The earlier view in which the same proposal got a quorum of prevotes, if it did.
    pub valid_view: Option<View>,
    /// What is proposed.
    pub proposal: Proposal,
}

/// What is signed of a [`ProposalMessage`]. The proposal travels beside it and is bound by its
/// digest, so that the head alone proves what was proposed: evidence stays small.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProposalHead {
    /// The round.
    pub round: Round,
    /// The view it is put in.
    pub view: View,
    /// The earlier view in which the same proposal got a quorum of prevotes, if it did.
    pub valid_view: Option<View>,
    /// The digest of the proposal.
    pub value: Digest,
}

/// A certified record for a member that has fallen behind, which checks it like an auditor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordCopy {
    /// The record's round.
    pub round: Round,
    /// The first round the sender has no record of.
    pub until: Round,
    /// The canonical bytes of the record.
    #[serde(with = "serde_bytes")]
    pub record: Vec<u8>,
}

impl ProposalMessage {
    /// What is signed of it.
    pub fn head(&self) -> ProposalHead {
        let (round, value) = (self.proposal.round, self.proposal.digest());
        ProposalHead { round, view: self.view, valid_view: self.valid_view, value }
    }
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Heartbeat,
        Self::Update,
        Self::Proposal,
        Self::Vote,
        Self::Objection,
        Self::Holdings,
        Self::Record,
        Self::Polka,
        Self::Evidence,
        Self::Ballot,
    ];

    /// Its name in headers and domains.
    pub fn name(self) -> &'static str {
        match self {
            Self::Heartbeat => "progress",
            Self::Update => "update",
            Self::Proposal => "proposal",
            Self::Vote => "vote",
            Self::Objection => "objection",
            Self::Holdings => "holdings",
            Self::Record => "record",
            Self::Polka => "polka",
            Self::Evidence => "evidence",
            Self::Ballot => "ballot",
        }
    }
}

impl Message {
    /// Its kind: the domain its signature belongs to.
    pub fn kind(&self) -> Kind {
        match self {
            Message::Heartbeat(_) => Kind::Heartbeat,
            Message::Update(_) => Kind::Update,
            Message::Proposal(_) => Kind::Proposal,
            Message::Vote(_) => Kind::Vote,
            Message::Objection(_) => Kind::Objection,
            Message::Holdings(_) => Kind::Holdings,
            Message::Record(_) => Kind::Record,
            Message::Polka(_) => Kind::Polka,
            Message::Evidence(_) => Kind::Evidence,
            Message::Ballot(_) => Kind::Ballot,
        }
    }

    /// The round it is about.
    pub fn round(&self) -> Round {
        match self {
            Message::Heartbeat(heartbeat) => heartbeat.round,
            Message::Update(update) => update.round,
            Message::Proposal(message) => message.proposal.round,
            Message::Vote(vote) => vote.round,
            Message::Objection(objection) => objection.round,
            Message::Holdings(holdings) => holdings.round,
            Message::Record(copy) => copy.round,
            Message::Polka(polka) => polka.round,
            Message::Evidence(evidence) => evidence.round,
            Message::Ballot(ballot) => ballot.petition.opened,
        }
    }

    /// A summary in a few words, for the gossip log.
    pub fn gist(&self) -> String {
        match self {
            Message::Heartbeat(Heartbeat { sits_out: Some(why), .. }) => format!("sits out: {why}"),
            Message::Heartbeat(p) => format!("step {}/{} loss {:.2}", p.step, p.steps, p.loss),
            Message::Update(u) => format!(
                "delta {} of {} bytes, {} steps, loss {:.2}",
                u.delta.digest.short(),
                u.delta.size_bytes,
                u.steps,
                u.scores.loss
            ),
            Message::Proposal(m) => format!(
                "view {}: {} included, {} absent, result {}",
                m.view,
                m.proposal.included.len(),
                m.proposal.absent.len(),
                m.proposal.result.digest.short()
            ),
            Message::Vote(v) => {
                let step = if v.step == VoteStep::Prevote { "prevote" } else { "precommit" };
                let value = v.value.map_or_else(|| "nil".to_owned(), |value| value.short());
                format!("{step} view {} for {value}", v.view)
            }
            Message::Objection(o) => {
                format!("view {}: {} is {}, expected {}", o.view, o.field, o.found, o.expected)
            }
            Message::Holdings(h) => {
                format!("{} updates, {} blobs", h.updates.count(), h.blobs.count())
            }
            Message::Record(c) => format!("{} bytes", c.record.len()),
            Message::Polka(p) => {
                let votes = p.signatures.len();
                format!("view {}: {votes} prevotes for {}", p.view, p.value.short())
            }
            Message::Evidence(e) => format!("{} signed twice", e.member.short()),
            Message::Ballot(b) => {
                let vote = if b.approve { "yes" } else { "no" };
                format!("{vote} to {}: {}", b.petition.id().short(), b.petition.change)
            }
        }
    }
}
