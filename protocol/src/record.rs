//! The round record: what the council agreed on, with everything an auditor needs to check it.

use serde::{Deserialize, Serialize};

use crate::digest::{BlobRef, Digest};
use crate::member::{MemberId, Round, View};

/// What a member says of its own training; measured by it, signed in its update.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// Mean training loss of the round.
    pub loss: f32,
    /// VQA accuracy of the adapter the round started from, on the member's own held-out data, 0..1.
    pub vqa_accuracy: f32,
    /// Share of correct drawings of that adapter, on the member's own held-out prompts, 0..1.
    pub drawing_accuracy: f32,
}

/// A member's claim "my adapter delta for this round is this blob"; travels as COSE_Sign1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Update {
    /// The round it was trained for.
    pub round: Round,
    /// The committed adapter it was trained from.
    pub start: Digest,
    /// The delta's bytes.
    pub delta: BlobRef,
    /// Training samples seen.
    pub examples: u64,
    /// Optimiser steps taken; the aggregation weight of FedUMM's FedAvg.
    pub steps: u64,
    /// The member's own measurements.
    pub scores: Scores,
}

/// One member's part in a record: its update, exactly as it signed it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Contribution {
    /// Who signed.
    pub member: MemberId,
    /// The received COSE_Sign1 bytes, kept so that anyone can check them again.
    #[serde(with = "serde_bytes")]
    pub envelope: Vec<u8>,
}

/// Why a member of the roster is not among the contributors.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum Absence {
    /// No update had arrived when the round closed.
    NoUpdate,
    /// The update was refused; the words say which field was wrong.
    Refused {
        /// What was wrong, in a few words.
        because: String,
    },
}

/// What the elected aggregator proposes, and what the votes are about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Proposal {
    /// The round it closes.
    pub round: Round,
    /// The digest of the record before it: the chain.
    pub previous: Digest,
    /// The adapter the round started from.
    pub start: BlobRef,
    /// The updates used, in roster order.
    pub included: Vec<Contribution>,
    /// Everyone else, in roster order, with the reason.
    pub absent: Vec<(MemberId, Absence)>,
    /// The name of the aggregation strategy.
    pub strategy: String,
    /// The aggregate: the adapter everyone adopts.
    pub result: BlobRef,
}

/// A view that closed nothing, and who led it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedView {
    /// Which view.
    pub view: View,
    /// Its aggregator, who loses the seat until it has contributed again.
    pub aggregator: MemberId,
}
