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
    epsilon: f64,
}

impl Norm {
    /// Loads `{path}.weight` of `[width]`.
    pub fn load(loader: &mut Loader, path: &str, width: usize) -> Result<Norm, WeightError> {
        Norm::with_epsilon(loader, path, width, EPSILON)
    }

    /// The same with what keeps the division away from zero.
    pub fn with_epsilon(
        loader: &mut Loader,
        path: &str,
        width: usize,
        epsilon: f64,
    ) -> Result<Norm, WeightError> {
        let weight = loader.tensor(&format!("{path}.weight"), [width], Init::Ones)?;
        Ok(Norm { weight, epsilon })
    }

    /// Normalises the last axis.
    ///
    /// # Shapes
    /// - input and output: `[batch, tokens, width]`
    pub fn forward(&self, input: Tensor<3>) -> Tensor<3> {
        fused::rms_norm(input, self.weight.val(), self.epsilon as f32)
    }
}

/// The input divided by the root of its mean square over the last axis.
///
/// # Shapes
/// - input and output: `[batch, tokens, width]`
pub fn normalised(input: Tensor<3>) -> Tensor<3> {
    let [_, _, width] = input.dims();
    let gain = Tensor::ones([width], &input.device());
    fused::rms_norm(input, gain, EPSILON as f32)
}

/// Normalisation to mean zero and variance one, with a learned gain and shift.
#[derive(Module, Debug)]
pub struct LayerNorm {
    weight: Param<Tensor<1>>,
    bias: Param<Tensor<1>>,
    epsilon: f64,
}

impl LayerNorm {
    /// Loads `{path}.weight` and `{path}.bias` of `[width]`.
    pub fn load(
        loader: &mut Loader,
        path: &str,
        width: usize,
        epsilon: f64,
    ) -> Result<LayerNorm, WeightError> {
        Ok(LayerNorm {
            weight: loader.tensor(&format!("{path}.weight"), [width], Init::Ones)?,
            bias: loader.tensor(&format!("{path}.bias"), [width], Init::Zeros)?,
            epsilon,
        })
    }

    /// Normalises the last axis.
    ///
    /// # Shapes
    /// - input and output: `[batch, tokens, width]`
    pub fn forward(&self, input: Tensor<3>) -> Tensor<3> {
        centred(input, self.epsilon)
            .mul(self.weight.val().unsqueeze())
            .add(self.bias.val().unsqueeze())
    }
}

/// The input less its mean, divided by its deviation, over the last axis.
///
/// # Shapes
/// - input and output: `[batch, tokens, width]`
pub fn centred(input: Tensor<3>, epsilon: f64) -> Tensor<3> {
    let centred = input.clone().sub(input.mean_dim(2));
    let variance = centred.clone().square().mean_dim(2);
    centred.div(variance.add_scalar(epsilon).sqrt())
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
        FeedForward::biased(loader, paths, [width, inner], false)
    }

    /// The same, with a bias each if asked.
    pub fn biased(
        loader: &mut Loader,
        [gate, up, down]: [String; 3],
        [width, inner]: [usize; 2],
        bias: bool,
    ) -> Result<FeedForward, WeightError> {
        Ok(FeedForward {
            gate: loader.biased_lora_linear(&gate, [width, inner], bias)?,
            up: loader.biased_lora_linear(&up, [width, inner], bias)?,
            down: loader.biased_lora_linear(&down, [inner, width], bias)?,
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
    /// Norms of one head's query and key.
    head_norms: Option<[Norm; 2]>,
}

/// What an attention layer's projections have beside their matrices.
#[derive(Clone, Debug)]
pub enum Beside {
    /// Nothing.
    Nothing,
    /// A bias each.
    Bias,
    /// Norms of every query and every key head, at these two paths.
    HeadNorms([String; 2], f64),
}

impl Projections {
    /// Loads the three maps at the three `paths`: query, key, value.
    pub fn load(
        loader: &mut Loader,
        paths: [String; 3],
        width: usize,
        heads: Heads,
    ) -> Result<Projections, WeightError> {
        Projections::beside(loader, paths, width, (heads, Beside::Nothing))
    }

    /// The same with what lies beside the maps.
    pub fn beside(
        loader: &mut Loader,
        paths: [String; 3],
        width: usize,
        (heads, beside): (Heads, Beside),
    ) -> Result<Projections, WeightError> {
        let [query, key, value] = paths;
        let Heads { count, shared, width: head } = heads;
        let bias = matches!(beside, Beside::Bias);
        let mut map =
            |path: &str, heads: usize| loader.biased_lora_linear(path, [width, heads * head], bias);
        let (query, key, value) = (map(&query, count)?, map(&key, shared)?, map(&value, shared)?);
        let head_norms = match beside {
            Beside::HeadNorms([query, key], epsilon) => Some([
                Norm::with_epsilon(loader, &query, head, epsilon)?,
                Norm::with_epsilon(loader, &key, head, epsilon)?,
            ]),
            Beside::Nothing | Beside::Bias => None,
        };
        Ok(Projections { query, key, value, head_norms })
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
        let [query, key] = match &self.head_norms {
            Some([queries, keys]) => {
                [by_head(queries, query, heads.width), by_head(keys, key, heads.width)]
            }
            None => [query, key],
        };
        fused::attention([query, key, value], heads, sight)
    }
}

/// Normalises each head of `width` for itself.
fn by_head(norm: &Norm, vectors: Tensor<3>, width: usize) -> Tensor<3> {
    let [batch, rows, all] = vectors.dims();
    norm.forward(vectors.reshape([batch, rows * all / width, width])).reshape([batch, rows, all])
}

/// Keeps the division of a norm away from zero where no configuration says how.
const EPSILON: f64 = 1e-6;
