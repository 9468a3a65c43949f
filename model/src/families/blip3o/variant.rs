//! BLIP3o's trunk, and the sizes of its diffusion transformer: Lumina-Next as it is released.

use witan_adapter::fresh::Init;
use witan_adapter::tensor_files::TensorFiles;

use crate::families::trunk::diffusion::DiffusionConfig;
use crate::families::trunk::variant::{Blocks, FlowRule, TrainingFacts, Variant};
use crate::layers::transformer::{EPSILON, centred};

/// 2-D rotary positions, norms of queries and keys and after each sub-layer; the velocity is
/// predicted.
pub static LUMINA: Variant = Variant {
    name: "lumina",
    query_deviation: 1.0,
    has_query_batch: true,
    blocks: Blocks {
        time_channels: 256,
        learns_positions: false,
        has_all_norms: true,
        out: "attn2.to_out.0",
        gate: Init::Zeros,
        epsilon: 1e-5,
        last_norm: |x| centred(x, EPSILON),
    },
    flow: FlowRule {
        // One of a thousand levels.
        level: |even| (1000.0 - (1000.0 * even).floor()) / 1000.0,
        target: |clean, noise| noise.sub(clean),
        step: |x, predicted, [level, next]| x.add(predicted.mul_scalar(next - level)),
        steps: 30,
        time: |level| (level * 1000.0).floor(),
    },
    training: TrainingFacts {
        picture_tokens: 16 * 16,
        answer_tokens_max: 16,
        noises: 1,
        has_joint_backward: false,
        // A gigabyte: of BLIP3o-Model-4B, whose tokens have 2048 numbers, 64 to 512 pictures of
        // 2048 to 256 tokens, as its bounds for VQA allow.
        encoded_numbers_max: 1 << 28,
    },
};

impl DiffusionConfig {
    /// BLIP3o's, as released with the 4B and the 8B model, conditioned on a language model of width
    /// `condition`.
    pub fn released(condition: usize) -> DiffusionConfig {
        DiffusionConfig {
            path: "model.dit.model",
            variant: &LUMINA,
            places: 64,
            channels: 1792,
            condition,
            hidden_size: 1792,
            time: 1024,
            layers: 24,
            heads: 28,
            keys: 1792,
            intermediate_size: 4864,
        }
    }

    /// BLIP3o's with the sizes of a checkpoint's tensors, because files disagree with the formulas
    /// for them; none if one of those tensors is missing.
    pub fn of(files: &TensorFiles) -> Option<DiffusionConfig> {
        let released = DiffusionConfig::released(0);
        let axis = |name: &str, axis: usize| {
            let place = files.tensors().get(&format!("{}.{name}", released.path))?;
            place.shape.get(axis).copied()
        };
        let layer = |at: usize| axis(&format!("layers.{at}.gate"), 0);
        Some(DiffusionConfig {
            channels: axis("norm_out.linear_2.weight", 0)?,
            condition: axis("caption_projection.linear_1.weight", 1)?,
            hidden_size: axis("patch_embedder.proj.weight", 0)?,
            time: axis("norm_out.linear_1.weight", 1)?,
            layers: (0..).take_while(|at| layer(*at).is_some()).count(),
            heads: layer(0).filter(|heads| *heads > 0)?,
            keys: axis("layers.0.attn1.to_k.weight", 0)?,
            intermediate_size: axis("layers.0.feed_forward.linear_1.weight", 0)?,
            ..released
        })
    }
}
