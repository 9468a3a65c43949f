//! The embedded model's trunk: what its size leaves out of BLIP3o's.
//!
//! Positions are learned, queries, keys and sub-layers have no norms, and the clean grid is
//! predicted, from which the velocity follows.

use witan_adapter::fresh::Init;

use super::cells::PICTURE_TOKENS;
use crate::families::trunk::variant::{Blocks, FlowRule, TrainingFacts, Variant};
use crate::layers::transformer::{EPSILON, normalised};

/// See the module.
pub static PLAIN: Variant = Variant {
    name: "plain",
    query_deviation: 0.1,
    has_query_batch: false,
    blocks: Blocks {
        time_channels: 64,
        learns_positions: true,
        has_all_norms: false,
        out: "attn2.to_out",
        gate: Init::Ones,
        epsilon: EPSILON,
        last_norm: normalised,
    },
    flow: FlowRule {
        // u^0.7: more weight where the caption has to decide what is drawn.
        level: |even| even.powf(0.7).clamp(0.001, 1.0),
        target: |clean, _| clean,
        step: |x, predicted, [level, next]| {
            let kept = next / level;
            x.mul_scalar(kept).add(predicted.mul_scalar(1.0 - kept))
        },
        // On a grid of 64 cells more change little.
        steps: 16,
        time: |level| level * 1000.0,
    },
    training: TrainingFacts {
        picture_tokens: PICTURE_TOKENS,
        answer_tokens_max: 1,
        noises: 2,
        has_joint_backward: true,
        encoded_numbers_max: 0,
    },
};
