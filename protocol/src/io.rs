//! Every effect, documented here and only here: what goes into a participant and what comes out.
//!
//! Drain rule: after each `handle`, poll outputs to `None` before the next. Order rule: outputs run
//! in order, and [`Output::Persist`] is a barrier: it is durable before anything after it is done.
//! Time rule: `now` never decreases. Job rule: every output that asks for work carries a [`JobId`],
//! echoed by exactly one input.

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

/// Names one piece of work asked of the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(pub u64);

/// What happens to a participant.
#[derive(Clone, Debug)]
pub enum Input {
    /// Time has passed; sent when `next_timeout` is reached, harmless at any other moment.
    Tick,
    /// A member was connected and passed the handshake.
    PeerConnected(MemberId),
    /// The last connection to a member closed.
    PeerDisconnected(MemberId),
    /// Bytes from gossip or a direct message; `via` is the peer that handed them over.
    Message {
        /// The authenticated peer that handed the bytes over (not necessarily the signer).
        via: MemberId,
        /// One COSE_Sign1 envelope.
        bytes: Vec<u8>,
    },
    /// The same, for an envelope the caller has opened: signatures cost more than all the rest, and
    /// may be checked beside the loop that drives the participant.
    Opened {
        /// The authenticated peer that handed the envelope over.
        via: MemberId,
        /// The envelope; refused if it was opened for another federation.
        opened: Box<Opened>,
    },
    /// The training job is under way: sent on as a signed heartbeat (slow is not dead).
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
    /// The training job is done and its delta stored as a blob.
    Trained {
        /// The job of [`Output::Train`].
        job: JobId,
        /// The stored delta.
        delta: BlobRef,
        /// Samples seen.
        examples: u64,
        /// Optimiser steps taken.
        steps: u64,
        /// What was measured.
        scores: Scores,
    },
    /// The training job failed; the member sits this round out and says why.
    TrainFailed {
        /// The job of [`Output::Train`].
        job: JobId,
        /// In a few words.
        reason: String,
    },
    /// The aggregation job is done.
    Aggregated {
        /// The job of [`Output::Aggregate`].
        job: JobId,
        /// The aggregate, stored; or the members whose deltas are unusable, and why.
        result: Result<Aggregate, Vec<(MemberId, String)>>,
    },
    /// A blob asked for by [`Output::Fetch`] (or known already) is stored and matches its digest
    /// and its size.
    BlobStored(BlobRef),
    /// This member's people vote on a petition, or put one; refused, with a notice, unless
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
    /// Give these bytes to every member by gossip.
    Gossip(Vec<u8>),
    /// Give these bytes to one member directly; losing them is allowed.
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
    /// Fetch a blob from any of these members, verify it while writing, answer `BlobStored`.
    /// Bounded by the node; asked again by the participant when it still matters.
    Fetch {
        /// Which.
        blob: BlobRef,
        /// Who is known to have it, nearest guess first.
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
    /// The members from now on: keep connections with these and no others. Told first of all, and
    /// after each record that changes them.
    Roster(Arc<Roster>),
    /// Something worth telling: for the gossip log and for people.
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

/// What an aggregation comes to; every member computes the same.
#[derive(Clone, Debug, PartialEq)]
pub struct Aggregate {
    /// The stored aggregate.
    pub result: BlobRef,
    /// As in [`Proposal::naive_error`](crate::wire::Proposal::naive_error).
    pub naive_error: Vec<LayerError>,
}

impl From<BlobRef> for Aggregate {
    /// Of a model without layers.
    fn from(result: BlobRef) -> Self {
        Self { result, naive_error: Vec::new() }
    }
}

/// What must survive a crash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "entry", rename_all = "snake_case")]
pub enum Entry {
    /// One step of the vote or of this node's own promises, opaque to the node; replayed in order.
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

/// A thing that happened, for the gossip log and for people. Never steers anything.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "notice", rename_all = "snake_case")]
pub enum Notice {
    /// This node handed a message out.
    Sent {
        /// What it is.
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
        /// What it is.
        kind: Kind,
        /// Its round.
        round: Round,
        /// Who signed it.
        from: MemberId,
        /// Who handed it over.
        via: MemberId,
        /// Digest of the envelope.
        digest: Digest,
        /// Size of the envelope.
        size_bytes: u64,
        /// The gist, in a few words, such as "step 3/8 loss 1.20".
        gist: String,
    },
    /// A message was refused.
    Refused {
        /// Who handed it over.
        via: MemberId,
        /// What it claimed to be, if that much could be read.
        kind: Option<Kind>,
        /// Why, in a few words.
        reason: String,
        /// Digest of the bytes.
        digest: Digest,
        /// Their number.
        size_bytes: u64,
    },
    /// A round began.
    RoundStarted {
        /// Which.
        round: Round,
    },
    /// A view began: this member is the elected aggregator.
    ViewStarted {
        /// The round.
        round: Round,
        /// The view.
        view: View,
        /// Who leads it.
        aggregator: MemberId,
    },
    /// A view closed nothing.
    ViewFailed {
        /// The round.
        round: Round,
        /// The view.
        view: View,
        /// Who led it.
        aggregator: MemberId,
    },
    /// A proposal did not stand up to recomputation, or someone lied provably.
    Objection {
        /// The round.
        round: Round,
        /// Against whom.
        against: MemberId,
        /// Field, expected and found value, in words.
        because: String,
    },
    /// A record proves that a member signed two things where only one may be: it leads no view of a
    /// later round.
    Suspended {
        /// The round of the record.
        round: Round,
        /// Who.
        member: MemberId,
        /// What it signed twice, in words.
        because: String,
    },
    /// The roster changed.
    RosterChanged {
        /// The first round it is in force.
        round: Round,
        /// What was decided, in words.
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
    /// Nothing can be decided: too few members are reachable.
    Stalled {
        /// The round.
        round: Round,
        /// Who is missing.
        missing: Vec<MemberId>,
        /// Votes within reach.
        votes: u64,
        /// Votes needed.
        needed: u64,
    },
    /// All rounds of the federation are committed, but these members took no part in the last one
    /// and are not here: the run lost them.
    Missing {
        /// Who.
        members: Vec<MemberId>,
    },
    /// All rounds of the federation are committed.
    Finished,
    /// What this member had stored was not as it left it, and was mended when it was opened. Told
    /// by the node, never by the participant, so that it stands in the log with the rest.
    Mended {
        /// What, in words.
        what: String,
    },
}
