//! What members say to each other. Each message travels alone in one signed envelope.
//!
//! | message | who sends it, when | durable before it is sent |
//! |---|---|---|
//! | [`Progress`] | a training member, about once a second | nothing |
//! | [`Update`] | every member, once a round | the update itself |
//! | [`Motion`] | the elected aggregator, once a view | the motion itself |
//! | [`Vote`] | every member, two a view | the vote and all that led to it |
//! | [`Objection`] | a member that refused a motion | nothing |
//! | [`Holdings`] | every member to a few peers, about once a second | nothing |
//! | [`Certified`] | a member ahead, to one behind | the record |
//! | [`Polka`] | a member that saw one, to one that cannot | nothing |
//! | [`Evidence`] | who finds that another signed twice | nothing |
//! | [`Ballot`] | a member asked to by its people, once a petition | the ballot |

use serde::{Deserialize, Serialize};

use super::ballot::Ballot;
use super::evidence::Evidence;
use super::holdings::Holdings;
use super::objection::Objection;
use super::record::Proposal;
use super::update::Update;
use super::vote::{Polka, Step, Vote};
use crate::digest::Digest;
use crate::member::{Round, View};

/// Any message.
#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    /// A training heartbeat.
    Progress(Progress),
    /// "My delta for this round is this blob."
    Update(Update),
    /// A proposal put to the vote.
    Motion(Motion),
    /// A prevote or precommit.
    Vote(Vote),
    /// Why a motion got no vote.
    Objection(Objection),
    /// What the sender holds of its round.
    Holdings(Holdings),
    /// A certified record.
    Certified(Certified),
    /// A quorum of prevotes.
    Polka(Polka),
    /// Proof that a member signed two things where only one may be.
    Evidence(Evidence),
    /// A member's say on a change of the roster.
    Ballot(Ballot),
}

/// Slow is not dead: a member still at work says so, and one that cannot contribute says that.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Progress {
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

/// A proposal put to the vote in one view.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Motion {
    /// The view it is put in; the proposal names the view it was first made in.
    pub view: View,
    /// The earlier view in which the same proposal got a quorum of prevotes, if it did.
    pub valid_view: Option<View>,
    /// What is proposed.
    pub proposal: Proposal,
}

/// What is signed of a motion. The proposal travels beside it and is bound by its digest, so that
/// the head alone proves that it was put: evidence stays small.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MotionHead {
    /// The round.
    pub round: Round,
    /// The view it is put in.
    pub view: View,
    /// The earlier view in which the same proposal got a quorum of prevotes, if it did.
    pub valid_view: Option<View>,
    /// The digest of the proposal.
    pub value: Digest,
}

/// A certified record for a member that has fallen behind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certified {
    /// The record's round.
    pub round: Round,
    /// The first round the sender has no record of.
    pub until: Round,
    /// The canonical bytes of the record.
    #[serde(with = "serde_bytes")]
    pub record: Vec<u8>,
}

impl Motion {
    /// What is signed of it.
    pub fn head(&self) -> MotionHead {
        let (round, value) = (self.proposal.round, self.proposal.digest());
        MotionHead { round, view: self.view, valid_view: self.valid_view, value }
    }
}

/// The kinds of message; each is a domain of its own for signatures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A training heartbeat.
    Progress,
    /// A signed update header.
    Update,
    /// An aggregator's proposal.
    Proposal,
    /// A prevote or precommit.
    Vote,
    /// Why a proposal got no vote.
    Objection,
    /// What a member holds of a round: anti-entropy.
    Holdings,
    /// A certified round record.
    Record,
    /// A quorum of prevotes, as proof.
    Polka,
    /// Proof that a member signed two things where only one may be.
    Evidence,
    /// A member's say on a change of the roster.
    Ballot,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Progress,
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
            Self::Progress => "progress",
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
            Message::Progress(_) => Kind::Progress,
            Message::Update(_) => Kind::Update,
            Message::Motion(_) => Kind::Proposal,
            Message::Vote(_) => Kind::Vote,
            Message::Objection(_) => Kind::Objection,
            Message::Holdings(_) => Kind::Holdings,
            Message::Certified(_) => Kind::Record,
            Message::Polka(_) => Kind::Polka,
            Message::Evidence(_) => Kind::Evidence,
            Message::Ballot(_) => Kind::Ballot,
        }
    }

    /// The round it speaks of.
    pub fn round(&self) -> Round {
        match self {
            Message::Progress(progress) => progress.round,
            Message::Update(update) => update.round,
            Message::Motion(motion) => motion.proposal.round,
            Message::Vote(vote) => vote.round,
            Message::Objection(objection) => objection.round,
            Message::Holdings(holdings) => holdings.round,
            Message::Certified(certified) => certified.round,
            Message::Polka(polka) => polka.round,
            Message::Evidence(evidence) => evidence.round,
            Message::Ballot(ballot) => ballot.petition.opened,
        }
    }

    /// A few words for the gossip log.
    pub fn gist(&self) -> String {
        match self {
            Message::Progress(Progress { sits_out: Some(why), .. }) => format!("sits out: {why}"),
            Message::Progress(p) => format!("step {}/{} loss {:.2}", p.step, p.steps, p.loss),
            Message::Update(u) => format!(
                "delta {} of {} bytes, {} steps, loss {:.2}",
                u.delta.digest.short(),
                u.delta.size_bytes,
                u.steps,
                u.scores.loss
            ),
            Message::Motion(m) => format!(
                "view {}: {} included, {} absent, result {}",
                m.view,
                m.proposal.included.len(),
                m.proposal.absent.len(),
                m.proposal.result.digest.short()
            ),
            Message::Vote(v) => {
                let step = if v.step == Step::Prevote { "prevote" } else { "precommit" };
                let value = v.value.map_or_else(|| "nil".to_owned(), |value| value.short());
                format!("{step} view {} for {value}", v.view)
            }
            Message::Objection(o) => {
                format!("view {}: {} is {}, expected {}", o.view, o.field, o.found, o.expected)
            }
            Message::Holdings(h) => {
                format!("{} updates, {} blobs", h.updates.count(), h.blobs.count())
            }
            Message::Certified(c) => format!("{} bytes", c.record.len()),
            Message::Polka(p) => {
                let votes = p.signatures.len();
                format!("view {}: {votes} prevotes for {}", p.view, p.value.short())
            }
            Message::Evidence(e) => format!("{} signed twice", e.member.short()),
            Message::Ballot(b) => {
                let say = if b.approve { "yes" } else { "no" };
                format!("{say} to {}: {}", b.petition.id().short(), b.petition.change)
            }
        }
    }
}
