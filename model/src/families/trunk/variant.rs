//! What differs between the models built on a trunk; a family gives one of these.

use burn::tensor::Tensor;
use witan_adapter::fresh::Init;

/// One family's trunk: its diffusion transformer, its flow matching, what it is trained with.
#[derive(Debug)]
pub struct Variant {
    /// Its name; variants of one name are equal.
    pub name: &'static str,
    /// Standard deviation of fresh image queries.
    pub query_deviation: f32,
    /// Whether the files have an axis of one in front of the image queries.
    pub has_query_batch: bool,
    /// What is left out of the transformer, or not.
    pub blocks: Blocks,
    /// What the transformer predicts, and the steps of a drawing.
    pub flow: FlowRule,
    /// What one example of training takes.
    pub training: TrainingFacts,
}

/// The diffusion transformer's form.
#[derive(Debug)]
pub struct Blocks {
    /// Cosines and sines that describe the time.
    pub time_channels: usize,
    /// Whether places have a learned embedding; otherwise a 2-D rotary one.
    pub learns_positions: bool,
    /// Whether queries, keys and the pooled condition have norms, and each sub-layer one after it.
    pub has_all_norms: bool,
    /// The path of the map after both attentions.
    pub out: &'static str,
    /// How a fresh gate of cross-attention starts.
    pub gate: Init,
    /// Keeps the division of a block's norms away from zero.
    pub epsilon: f64,
    /// The norm before the last layer.
    pub last_norm: fn(Tensor<3>) -> Tensor<3>,
}

/// Flow matching along the straight path (1 - level) clean + level noise.
#[derive(Debug)]
pub struct FlowRule {
    /// The noise level of a number drawn evenly from 0..1.
    pub level: fn(f32) -> f32,
    /// What is to be predicted of a clean grid and its noise.
    pub target: fn(Tensor<3>, Tensor<3>) -> Tensor<3>,
    /// The grid at the second level, of that at the first and what was predicted there.
    pub step: fn(Tensor<3>, Tensor<3>, [f32; 2]) -> Tensor<3>,
    /// Steps from noise to drawing.
    pub steps: usize,
    /// The time of a level while drawing.
    pub time: fn(f32) -> f32,
}

/// What one example of training takes.
#[derive(Debug)]
pub struct TrainingFacts {
    /// Tokens of a question's picture; where pictures differ, of one of 448 by 448 pixels.
    pub picture_tokens: usize,
    /// Tokens of an answer at most.
    pub answer_tokens_max: usize,
    /// Noise levels for each caption of a batch: the language model reads once for all of them.
    pub noises: usize,
    /// Whether answers and drawings have one backward pass.
    pub has_joint_backward: bool,
    /// Numbers of encoded pictures that a member keeps at most.
    pub encoded_numbers_max: usize,
}

impl PartialEq for Variant {
    fn eq(&self, other: &Variant) -> bool {
        self.name == other.name
    }
}

impl Eq for Variant {}
