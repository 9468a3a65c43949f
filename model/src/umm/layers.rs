//! The layers that the vision encoder, the language model and the diffusion transformer share.

use burn::module::{Module, Param};
use burn::tensor::Tensor;

use super::weights::{Init, Loader, WeightError};
use crate::fused;
pub use crate::fused::{Heads, Sight};
use crate::lora::LoraLinear;

/// Root-mean-square normalisation with a learned gain.
#[derive(Module, Debug)]
pub struct Norm {
    weight: Param<Tensor<1>>,
}

impl Norm {
    /// Loads `{path}.weight` of `[width]`.
    pub fn load(loader: &mut Loader, path: &str, width: usize) -> Result<Norm, WeightError> {
        Ok(Norm { weight: loader.tensor(&format!("{path}.weight"), [width], Init::Ones)? })
    }

    /// Normalises the last axis.
    ///
    /// # Shapes
    /// - input and output: `[batch, tokens, width]`
    pub fn forward(&self, input: Tensor<3>) -> Tensor<3> {
        fused::rms_norm(input, self.weight.val())
    }
}

/// The input divided by the root of its mean square over the last axis.
///
/// # Shapes
/// - input and output: `[batch, tokens, width]`
pub fn normalised(input: Tensor<3>) -> Tensor<3> {
    let [_, _, width] = input.dims();
    let gain = Tensor::ones([width], &input.device());
    fused::rms_norm(input, gain)
}

/// SwiGLU: down(silu(gate x) * up x).
#[derive(Module, Debug)]
pub struct FeedForward {
    gate: LoraLinear,
    up: LoraLinear,
    down: LoraLinear,
}

impl FeedForward {
    /// Loads the three maps at the three `paths`: gate, up, down.
    pub fn load(
        loader: &mut Loader,
        paths: [String; 3],
        [width, inner]: [usize; 2],
    ) -> Result<FeedForward, WeightError> {
        let [gate, up, down] = paths;
        Ok(FeedForward {
            gate: loader.lora_linear(&gate, [width, inner])?,
            up: loader.lora_linear(&up, [width, inner])?,
            down: loader.lora_linear(&down, [inner, width])?,
        })
    }

    /// Applies the layer to every token.
    ///
    /// # Shapes
    /// - input and output: `[batch, tokens, width]`
    pub fn forward(&self, input: Tensor<3>) -> Tensor<3> {
        let inner = fused::swiglu(self.gate.forward(input.clone()), self.up.forward(input));
        self.down.forward(inner)
    }
}

/// The three input projections of an attention layer.
#[derive(Module, Debug)]
pub struct Projections {
    query: LoraLinear,
    key: LoraLinear,
    value: LoraLinear,
}

impl Projections {
    /// Loads the three maps at the three `paths`: query, key, value.
    pub fn load(
        loader: &mut Loader,
        paths: [String; 3],
        width: usize,
        heads: Heads,
    ) -> Result<Projections, WeightError> {
        let [query, key, value] = paths;
        Ok(Projections {
            query: loader.lora_linear(&query, [width, heads.count * heads.width])?,
            key: loader.lora_linear(&key, [width, heads.shared * heads.width])?,
            value: loader.lora_linear(&value, [width, heads.shared * heads.width])?,
        })
    }

    /// Projects, and lets every query look at what it sees.
    ///
    /// # Shapes
    /// - queried: `[batch, rows, width]`, the last `rows` of the sequence
    /// - attended: `[batch, columns, width]`
    /// - output: `[batch, rows, heads * head width]`
    pub fn attend(
        &self,
        queried: Tensor<3>,
        attended: Tensor<3>,
        heads: Heads,
        sight: &Sight,
    ) -> Tensor<3> {
        let query = self.query.forward(queried);
        let key = self.key.forward(attended.clone());
        let value = self.value.forward(attended);
        fused::attention([query, key, value], heads, sight)
    }
}
