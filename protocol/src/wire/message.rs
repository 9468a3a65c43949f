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

use crate::digest::Digest;
use crate::io::Kind;
use crate::member::{MemberId, Round, View};
use crate::wire::ballot::Ballot;
use crate::wire::evidence::Evidence;
use crate::wire::record::{CommitSignature, Proposal, Update};

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

/// The two steps of a view.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// "I checked this and would commit it."
    Prevote,
    /// "I saw a quorum of prevotes for this."
    Precommit,
}

/// One member's vote. A quorum of precommits for one value is the certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vote {
    /// The round.
    pub round: Round,
    /// The view.
    pub view: View,
    /// The step.
    pub step: Step,
    /// The proposal's digest, or none of them.
    pub value: Option<Digest>,
}

/// What did not stand up to recomputation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Objection {
    /// The round.
    pub round: Round,
    /// The view of the motion.
    pub view: View,
    /// Who signed the motion.
    pub against: MemberId,
    /// The digest of the proposal.
    pub value: Digest,
    /// The field that is wrong.
    pub field: String,
    /// What it should say.
    pub expected: String,
    /// What it says.
    pub found: String,
}

/// What the sender holds of its undecided round, so that a peer can send what is missing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holdings {
    /// The first round the sender has no record of; all before it, it has.
    pub round: Round,
    /// The digest of its newest record.
    pub head: Digest,
    /// Members whose updates it holds.
    pub updates: Roll,
    /// Members whose delta blobs it holds.
    pub blobs: Roll,
    /// Motions it holds, of the views that matter: those about the newest that an honest member is known
    /// to have reached.
    pub motions: Vec<MotionHeld>,
    /// Votes it holds, of the same views.
    pub votes: Vec<VotesHeld>,
    /// Quorums of prevotes it saw, the newest few.
    pub polkas: Vec<MotionHeld>,
    /// Ballots it holds.
    pub ballots: Vec<BallotsHeld>,
}

/// A motion the sender of [`Holdings`] has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MotionHeld {
    /// The view it was put in.
    pub view: View,
    /// The digest of the proposal.
    pub value: Digest,
}

/// The ballots on one petition the sender of [`Holdings`] has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BallotsHeld {
    /// The petition.
    pub petition: Digest,
    /// Whose yes.
    pub yes: Roll,
    /// Whose no.
    pub no: Roll,
}

/// The votes for one value the sender of [`Holdings`] has. By value, so that a member whose votes
/// differ from peer to peer is found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VotesHeld {
    /// The view.
    pub view: View,
    /// The step.
    pub step: Step,
    /// The value.
    pub value: Option<Digest>,
    /// Whose votes.
    pub members: Roll,
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

/// A quorum of prevotes for one proposal, as proof: whoever saw it may have to insist on that
/// proposal, and can be followed only by those who see it too. Votes alone do not carry that far:
/// of a member that cast two, everyone keeps the one that came first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Polka {
    /// The round.
    pub round: Round,
    /// The view.
    pub view: View,
    /// The digest of the proposal.
    pub value: Digest,
    /// The prevotes of distinct members, in roster order.
    pub signatures: Vec<CommitSignature>,
}

/// A set of members of one round, by their place in its roster (at most 64).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Roll(pub u64);

impl Roll {
    /// Whether the member at `place` is in the set.
    pub fn contains(self, place: usize) -> bool {
        place < 64 && self.0 >> place & 1 == 1
    }

    /// Adds the member at `place`.
    pub fn insert(&mut self, place: usize) {
        debug_assert!(place < 64, "rosters have at most 64 members");
        self.0 |= 1 << (place & 63);
    }

    /// Those here that are not in `other`.
    pub fn without(self, other: Roll) -> Roll {
        Roll(self.0 & !other.0)
    }

    /// How many.
    pub fn count(self) -> usize {
        self.0.count_ones() as usize
    }

    /// Their places, in roster order.
    pub fn places(self) -> impl Iterator<Item = usize> {
        (0..64).filter(move |&place| self.contains(place))
    }
}

impl Motion {
    /// What is signed of it.
    pub fn head(&self) -> MotionHead {
        let (round, value) = (self.proposal.round, self.proposal.digest());
        MotionHead { round, view: self.view, valid_view: self.valid_view, value }
    }
}

impl Extend<usize> for Roll {
    fn extend<I: IntoIterator<Item = usize>>(&mut self, places: I) {
        places.into_iter().for_each(|place| self.insert(place));
    }
}

impl FromIterator<usize> for Roll {
    fn from_iter<I: IntoIterator<Item = usize>>(places: I) -> Self {
        let mut roll = Roll::default();
        roll.extend(places);
        roll
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
