//! Backward through a language model, with activations kept or recomputed.
//!
//! Follows gradient checkpointing (Chen et al., arXiv 1604.06174), a layer at a time: only what
//! goes into each layer is kept, for a third more of computation. Burn's own checkpointing
//! recomputes single operators that are bound by memory; what our fused ones keep would stay.

use burn::tensor::{Gradients, Tensor};

use super::{Language, Reading};
use crate::families::language::config::LanguageConfig;
use crate::families::language::rows::Rows;
use crate::host::floats;
use crate::precision::WeightFormat;

/// What backward finds of the layers' insides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Activations {
    /// All that it needs.
    #[default]
    Kept,
    /// Nothing: each layer is computed again when its turn comes.
    Recomputed,
}

impl Activations {
    /// How weights are best kept beside it: a cast for one layer is gone with it, or kept anyway.
    pub fn weight_format(self) -> WeightFormat {
        match self {
            Activations::Kept => WeightFormat::Float32,
            Activations::Recomputed => WeightFormat::AsStored,
        }
    }
}

/// What a language model is to read: see [`Language::read`].
pub struct Task<'a> {
    /// What slots above the vocabulary stand for.
    pub extra: Option<Tensor<2>>,
    /// The batch.
    pub rows: &'a Rows,
    /// How many last positions are wanted of each row.
    pub last: usize,
    /// The model's sizes.
    pub config: &'a LanguageConfig,
}

impl Language {
    /// The loss of the states that [`Language::read`] gives; gradients go to `accumulate` in parts.
    pub fn backward(
        &self,
        task: Task<'_>,
        activations: Activations,
        loss: impl FnOnce(Tensor<3>) -> Tensor<1>,
        mut accumulate: impl FnMut(Gradients),
    ) -> f32 {
        let Task { extra, rows, last, config } = task;
        if activations == Activations::Kept {
            let loss = loss(self.read(extra, rows, last, config));
            let value = floats(loss.clone())[0];
            accumulate(loss.backward());
            return value;
        }
        let reading = Reading::new(rows, 0, last, config);
        let embedded = self.embedded(extra, rows, config);
        let mut inputs = vec![embedded.clone().inner()];
        for index in 0..self.layers.len() {
            let input = inputs[index].clone().autodiff().require_grad();
            let output = self.layer(index, input.clone(), (&reading, None), config);
            inputs.push(output.inner());
            forget(input);
        }
        let mut next_input = || inputs.pop().map(|input| input.autodiff().require_grad());
        let input = next_input().expect("the embeddings at least are there");
        let loss = loss(self.norm.forward(input.clone()));
        let value = floats(loss.clone())[0];
        let mut gradients = loss.backward();
        let mut upstream = input.grad_remove(&mut gradients).expect(WANTED);
        accumulate(gradients);
        for index in (0..self.layers.len()).rev() {
            let input = next_input().expect("every layer has an input");
            let output = self.layer(index, input.clone(), (&reading, None), config);
            let mut gradients = output.mul(upstream.autodiff()).sum().backward();
            upstream = input.grad_remove(&mut gradients).expect(WANTED);
            accumulate(gradients);
        }
        if embedded.is_tracked() {
            accumulate(embedded.mul(upstream.autodiff()).sum().backward());
        }
        value
    }
}

/// Lets go of what was recorded of a tensor: Burn does so only when a backward pass through the
/// same graph ends, and this is a short one. Otherwise all layers' insides, and the casts of their
/// weights, would lie there until backward.
fn forget(recorded: Tensor<3>) {
    recorded.slice([0..1, 0..1, 0..1]).sum().backward();
}

const WANTED: &str = "the input wants its gradient";
