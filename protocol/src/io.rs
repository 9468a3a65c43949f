//! The door between a participant and the node or simulator around it: every input and every
//! output.
//!
//! Drain rule: after each `handle`, poll outputs to `None` before the next. Order rule: outputs are
//! carried out in order, and [`Output::Persist`] is a barrier: it is durable before anything after
//! it is done. Time rule: `now` never decreases. Job rule: every output that asks for work carries
//! a [`JobId`], echoed by exactly one input.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::digest::{BlobRef, Digest};
use crate::federation::Roster;
use crate::member::{MemberId, Round, View};
use crate::wire::envelope::Opened;
use crate::wire::{Ballot, Kind, LayerError, Scores};

/// Milliseconds on the caller's clock; only differences matter.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Time(pub u64);

/// Names one job of the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(pub u64);

/// What happens to a participant.
#[derive(Clone, Debug)]
pub enum Input {
    /// Time has passed; due when `next_timeout` is reached, harmless at any other moment.
    Tick,
    /// A member connected and passed the handshake.
    PeerConnected(MemberId),
    /// The last connection to a member closed.
    PeerDisconnected(MemberId),
    /// An envelope from gossip or a direct message, opened beside the loop that calls `handle`:
    /// signatures cost more than everything else. Its signer must be a member of the current round.
    Message {
        /// The authenticated peer that handed it over (not necessarily its signer).
        via: MemberId,
        /// The envelope with its message, or with why it is refused.
        opened: Box<Opened>,
    },
    /// The training job is under way: published as a signed heartbeat.
    Progress {
        /// The job of [`Output::Train`].
        job: JobId,
        /// Steps done, of `steps`.
        step: u64,
        /// Steps in all.
        steps: u64,
        /// The newest training loss.
        loss: f32,
    },
    /// The training job is done and its delta is stored as a blob.
    Trained {
        /// The job of [`Output::Train`].
        job: JobId,
        /// The stored delta.
        delta: BlobRef,
        /// Samples seen.
        examples: u64,
        /// Optimizer steps taken.
        steps: u64,
        /// The member's measurements.
        scores: Scores,
    },
    /// The training job failed; the member sits this round out and publishes why.
    TrainFailed {
        /// The job of [`Output::Train`].
        job: JobId,
        /// Why, in a few words.
        reason: String,
    },
    /// The aggregation job is done.
    Aggregated {
        /// The job of [`Output::Aggregate`].
        job: JobId,
        /// The aggregate, stored; or the members whose deltas are unusable, and why.
        result: Result<Aggregate, Vec<(MemberId, String)>>,
    },
    /// A blob of [`Output::Fetch`] is stored and matches its digest and size.
    BlobStored(BlobRef),
    /// The operator votes on a petition, or opens one; refused, with a notice, unless
    /// [`Petition::check`](crate::wire::Petition::check) holds.
    Cast(Ballot),
    /// The adapter of [`Output::Adopt`] is loaded.
    Adopted {
        /// The job of [`Output::Adopt`].
        job: JobId,
    },
}

/// What a participant wants done.
#[derive(Clone, Debug)]
pub enum Output {
    /// Make this durable (fdatasync) before going on.
    Persist(Entry),
    /// Send these bytes to every member by gossip.
    Gossip(Vec<u8>),
    /// Send these bytes to one member directly; they may be lost.
    Send {
        /// To whom.
        to: MemberId,
        /// One COSE_Sign1 envelope.
        bytes: Vec<u8>,
    },
    /// Train from `start` for `round`; answer with `Progress`, then `Trained` or `TrainFailed`.
    Train {
        /// To be echoed.
        job: JobId,
        /// The round.
        round: Round,
        /// The committed adapter to start from; it is stored already.
        start: BlobRef,
    },
    /// Compute the aggregate of these stored deltas; answer with `Aggregated`.
    Aggregate {
        /// To be echoed.
        job: JobId,
        /// The round.
        round: Round,
        /// The adapter the round started from.
        start: BlobRef,
        /// Deltas with their integer weights, in roster order.
        inputs: Vec<AggregateInput>,
    },
    /// Fetch a blob from any of these members, verify it while writing, answer `BlobStored`. May
    /// fail silently: the participant asks again while it needs the blob.
    Fetch {
        /// The blob.
        blob: BlobRef,
        /// Members believed to have it, most likely first.
        holders: Vec<MemberId>,
    },
    /// The round is committed and durable: load this adapter; answer with `Adopted`.
    Adopt {
        /// To be echoed.
        job: JobId,
        /// The round that was committed.
        round: Round,
        /// The committed aggregate; stored already.
        adapter: BlobRef,
    },
    /// The members from now on: keep connections with these and no others. The first output, and
    /// one after each record that changes the roster.
    Roster(Arc<Roster>),
    /// An event, for the gossip log and for people.
    Notice(Notice),
}

/// One input of an aggregation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AggregateInput {
    /// Whose.
    pub member: MemberId,
    /// The delta.
    pub delta: BlobRef,
    /// Its weight, a positive integer.
    pub weight: u64,
}

/// The result of an aggregation; every member computes the same.
#[derive(Clone, Debug, PartialEq)]
pub struct Aggregate {
    /// The stored aggregate.
    pub result: BlobRef,
    /// As in [`Proposal::naive_error`](crate::wire::Proposal::naive_error).
    pub naive_error: Vec<LayerError>,
}

/// What must survive a crash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "entry", rename_all = "snake_case")]
pub enum Entry {
    /// An entry of the write-ahead log, opaque to the node; replayed in order on restart.
    Wal {
        /// The round it belongs to; entries of committed rounds may be dropped.
        round: Round,
        /// Opaque.
        #[serde(with = "serde_bytes")]
        bytes: Vec<u8>,
    },
    /// A committed round record: the ledger.
    Record {
        /// The round.
        round: Round,
        /// The canonical bytes of the certified record.
        #[serde(with = "serde_bytes")]
        bytes: Vec<u8>,
    },
}

/// An event, for the gossip log and for people. Nothing is decided by it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "notice", rename_all = "snake_case")]
pub enum Notice {
    /// This node sent a message.
    Sent {
        /// Its kind.
        kind: Kind,
        /// Its round.
        round: Round,
        /// To one member, or to all.
        to: Option<MemberId>,
        /// Digest of the envelope.
        digest: Digest,
        /// Size of the envelope.
        size_bytes: u64,
    },
    /// A message was verified and accepted.
    Accepted {
        /// Its kind.
        kind: Kind,
        /// Its round.
        round: Round,
        /// Who signed it.
        from: MemberId,
        /// The peer that handed it over.
        via: MemberId,
        /// Digest of the envelope.
        digest: Digest,
        /// Size of the envelope.
        size_bytes: u64,
        /// A summary, such as "step 3/8 loss 1.20".
        gist: String,
    },
    /// A message was refused.
    Refused {
        /// The peer that handed it over.
        via: MemberId,
        /// The kind it claimed to be, if that could be read.
        kind: Option<Kind>,
        /// Why.
        reason: String,
        /// Digest of the bytes.
        digest: Digest,
        /// How many.
        size_bytes: u64,
    },
    /// A round began.
    RoundStarted {
        /// The round.
        round: Round,
    },
    /// A view began.
    ViewStarted {
        /// The round.
        round: Round,
        /// The view.
        view: View,
        /// Who leads it.
        aggregator: MemberId,
    },
    /// A view ended without a decision.
    ViewFailed {
        /// The round.
        round: Round,
        /// The view.
        view: View,
        /// Who led it.
        aggregator: MemberId,
    },
    /// A proposal is wrong, or a member provably broke the protocol.
    Objection {
        /// The round.
        round: Round,
        /// Against whom.
        against: MemberId,
        /// What is wrong.
        because: String,
    },
    /// A record proves that a member equivocated: it leads no view of a later round.
    Suspended {
        /// The round of the record.
        round: Round,
        /// The member.
        member: MemberId,
        /// What it signed twice.
        because: String,
    },
    /// The roster changed.
    RosterChanged {
        /// The first round it is in force.
        round: Round,
        /// The change.
        what: String,
    },
    /// A round was committed.
    Committed {
        /// The round.
        round: Round,
        /// The view that closed it.
        view: View,
        /// Who led that view.
        aggregator: MemberId,
        /// How many updates it includes.
        included: u64,
        /// How many members co-signed.
        votes: u64,
        /// Digest of the record: the ledger head.
        record: Digest,
        /// The aggregate.
        result: BlobRef,
    },
    /// Too few members are reachable for a decision.
    Stalled {
        /// The round.
        round: Round,
        /// Who is missing.
        missing: Vec<MemberId>,
        /// Members reachable, this one included.
        votes: u64,
        /// Votes needed.
        needed: u64,
    },
    /// All rounds of the federation are committed, but these members took no part in the last one
    /// and are not reachable.
    Missing {
        /// The member.
        members: Vec<MemberId>,
    },
    /// All rounds of the federation are committed.
    Finished,
    /// The store was damaged and was repaired on opening. Recorded by the node, never by the
    /// participant.
    #[serde(rename = "mended")]
    Repaired {
        /// What was repaired.
        what: String,
    },
}
