//! What a member publishes of its training: the update, which names a delta.

use serde::{Deserialize, Serialize};

use crate::digest::{BlobRef, Digest};
use crate::federation::Compression;
use crate::member::Round;

/// A member's claim "my adapter delta for this round is this blob". Set by the member when its
/// training ends; checked by every receiver and, for those a record counts, by the ledger.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Update {
    /// The round it was trained for; the one at hand, or one that may still count late.
    pub round: Round,
    /// The committed adapter it was trained from; checked against the ledger.
    pub start: Digest,
    /// The delta's bytes; checked while they are fetched. At most 1 GiB.
    pub delta: BlobRef,
    /// How they are written; must be `training.compression`.
    pub codec: Compression,
    /// Training samples seen; for people only.
    pub examples: u64,
    /// Optimizer steps taken, the aggregation weight; at most `training.local_steps`.
    pub steps: u64,
    /// The member's own measurements; finite, otherwise taken on its word.
    pub scores: Scores,
}

/// What a member reports of its own training. Nothing is decided by it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// Mean training loss of the round.
    pub loss: f32,
    /// VQA accuracy of the adapter the round started from, on the member's own held-out data, 0..1;
    /// `None` for a member without questions.
    pub vqa_accuracy: Option<f32>,
    /// Share of correct drawings of that adapter, on the member's own held-out prompts, 0..1;
    /// `None` for a member without captions.
    pub drawing_accuracy: Option<f32>,
}
