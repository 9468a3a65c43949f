//! Frozen linear layers.

use burn::module::{Module, Param};
use burn::tensor::Tensor;

use crate::precision::Precision;

/// A linear layer of the frozen network: y = W x + b.
#[derive(Module, Debug)]
pub struct Frozen {
    /// W, in f32 or bf16: `[inputs, outputs]`.
    pub weight: Param<Tensor<2>>,
    /// b, if there is one: `[outputs]`.
    pub bias: Option<Param<Tensor<1>>>,
    /// What products beside this layer are computed in.
    #[module(skip)]
    pub precision: Precision,
}

impl Frozen {
    /// Applies the layer.
    ///
    /// # Shapes
    /// - input: `[..., inputs]`
    /// - output: `[..., outputs]`
    pub fn forward<const D: usize>(&self, input: Tensor<D>) -> Tensor<D> {
        self.with_bias(self.precision.frozen(input, self.weight.val()))
    }

    /// Adds the bias.
    pub(crate) fn with_bias<const D: usize>(&self, output: Tensor<D>) -> Tensor<D> {
        match &self.bias {
            Some(bias) => output.add(bias.val().unsqueeze()),
            None => output,
        }
    }
}
