//! What a member publishes of its training: the update, which names a delta.

use serde::{Deserialize, Serialize};

use crate::digest::{BlobRef, Digest};
use crate::federation::Compression;
use crate::member::Round;

/// What a member says of its own training; measured by it, signed in its update.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// Mean training loss of the round.
    pub loss: f32,
    /// VQA accuracy of the adapter the round started from, on the member's own held-out data, 0..1;
    /// none of a member without questions.
    pub vqa_accuracy: Option<f32>,
    /// Share of correct drawings of that adapter, on the member's own held-out prompts, 0..1; none
    /// of a member without captions.
    pub drawing_accuracy: Option<f32>,
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
    /// How they are written.
    pub codec: Compression,
    /// Training samples seen.
    pub examples: u64,
    /// Optimiser steps taken; the aggregation weight of FedUMM's FedAvg.
    pub steps: u64,
    /// The member's own measurements.
    pub scores: Scores,
}
