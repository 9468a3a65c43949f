//! The layers that the vision encoder, the language model and the diffusion transformer share.

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use witan_adapter::fresh::Init;
use witan_adapter::tensors::WeightError;

use crate::kernels;
pub use crate::kernels::{AttentionMask, Heads};
use crate::layers::loader::Loader;
use crate::layers::lora::LoraLinear;
use crate::precision::Precision;

/// Root-mean-square normalisation with a learned gain.
#[derive(Module, Debug)]
pub struct Norm {
    weight: Param<Tensor<1>>,
    epsilon: f64,
}

impl Norm {
    /// Loads `{path}.weight` of `[width]`; `epsilon` keeps the division away from zero.
    pub fn load(
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
        kernels::rms_norm(input, self.weight.val(), self.epsilon as f32)
    }
}

/// The input divided by the root of its mean square over the last axis.
///
/// # Shapes
/// - input and output: `[batch, tokens, width]`
pub fn normalised(input: Tensor<3>) -> Tensor<3> {
    let [_, _, width] = input.dims();
    let gain = Tensor::ones([width], &input.device());
    kernels::rms_norm(input, gain, EPSILON as f32)
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
    /// Loads the three maps at the three `paths`, gate, up and down, with a bias each if asked.
    pub fn load(
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
        let inner = kernels::swiglu(self.gate.forward(input.clone()), self.up.forward(input));
        self.down.forward(inner)
    }
}

/// The three input projections of an attention layer.
#[derive(Module, Debug)]
pub struct Projections {
    query: LoraLinear,
    key: LoraLinear,
    value: LoraLinear,
    norms: Option<VectorNorms>,
}

/// Norms of queries and keys.
#[derive(Module, Debug)]
enum VectorNorms {
    /// Of one head.
    Head([Norm; 2]),
    /// Of all heads at once.
    All([LayerNorm; 2]),
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
    /// Norms of the queries and of the keys of all heads at once, at these two paths.
    Norms([String; 2], f64),
}

impl Projections {
    /// Loads the three maps at the three `paths`, query, key and value, with what lies beside them.
    pub fn load(
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
        let norms = match beside {
            Beside::Nothing | Beside::Bias => None,
            Beside::HeadNorms([query, key], epsilon) => Some(VectorNorms::Head([
                Norm::load(loader, &query, head, epsilon)?,
                Norm::load(loader, &key, head, epsilon)?,
            ])),
            Beside::Norms([query, key], epsilon) => Some(VectorNorms::All([
                LayerNorm::load(loader, &query, count * head, epsilon)?,
                LayerNorm::load(loader, &key, shared * head, epsilon)?,
            ])),
        };
        Ok(Projections { query, key, value, norms })
    }

    /// What the products of queries, keys and values are computed in.
    pub fn precision(&self) -> Precision {
        self.query.base.precision
    }

    /// The queries, keys and values.
    ///
    /// # Shapes
    /// - queried: `[batch, rows, width]`, attended: `[batch, columns, width]`
    /// - output: `[batch, rows or columns, heads * head width]`
    pub fn project(&self, queried: Tensor<3>, attended: Tensor<3>, heads: Heads) -> [Tensor<3>; 3] {
        let query = self.query.forward(queried);
        let key = self.key.forward(attended.clone());
        let value = self.value.forward(attended);
        match &self.norms {
            None => [query, key, value],
            Some(VectorNorms::Head([queries, keys])) => {
                [by_head(queries, query, heads.width), by_head(keys, key, heads.width), value]
            }
            Some(VectorNorms::All([queries, keys])) => {
                [queries.forward(query), keys.forward(key), value]
            }
        }
    }

    /// Projects, and attends under the mask to these and to cached positions.
    ///
    /// # Shapes
    /// - queried: `[batch, rows, width]`, the last `rows` of the sequence
    /// - attended: `[batch, columns, width]`, the last `columns` of it, of which the others are
    ///   remembered
    /// - output: `[batch, rows, heads * head width]`
    pub fn attend(
        &self,
        queried: Tensor<3>,
        attended: Tensor<3>,
        heads: Heads,
        (mask, cache): (&AttentionMask, Option<&mut LayerCache>),
    ) -> Tensor<3> {
        let [query, key, value] = self.project(queried, attended, heads);
        let [key, value] = match cache {
            Some(cache) => cache.extended([key, value]),
            None => [key, value],
        };
        kernels::attention([query, key, value], heads, mask, self.precision())
    }
}

/// One layer's part of a KV cache; keys are not rotated yet.
///
/// # Shapes
/// - each: `[batch, positions, heads * head width]`
#[derive(Clone, Debug, Default)]
pub struct LayerCache(Option<[Tensor<3>; 2]>);

impl LayerCache {
    /// Appends the keys and values of new positions; all of them.
    fn extended(&mut self, now: [Tensor<3>; 2]) -> [Tensor<3>; 2] {
        let [key, value] = now;
        let all = match self.0.take() {
            Some([keys, values]) => {
                [Tensor::cat(vec![keys, key], 1), Tensor::cat(vec![values, value], 1)]
            }
            None => [key, value],
        };
        self.0.insert(all).clone()
    }
}

/// Normalises each head of `width` for itself.
fn by_head(norm: &Norm, vectors: Tensor<3>, width: usize) -> Tensor<3> {
    let [batch, rows, all] = vectors.dims();
    norm.forward(vectors.reshape([batch, rows * all / width, width])).reshape([batch, rows, all])
}

/// One layer of a transformer: attention, then SwiGLU, each of the normed input and added to it.
#[derive(Module, Debug)]
pub struct Layer {
    attention_norm: Norm,
    projections: Projections,
    out: LoraLinear,
    feed_norm: Norm,
    feed_forward: FeedForward,
}

/// What the parts of a [`Layer`] are called, below its path.
#[derive(Clone, Copy, Debug)]
pub struct LayerNames {
    /// The norm before attention.
    pub attention_norm: &'static str,
    /// Query, key, value.
    pub attention: [&'static str; 3],
    /// The map after attention.
    pub out: &'static str,
    /// The norm before the SwiGLU.
    pub feed_norm: &'static str,
    /// Gate, up, down.
    pub feed: [&'static str; 3],
}

/// Sizes of a [`Layer`].
#[derive(Clone, Debug)]
pub struct LayerSizes {
    /// Width.
    pub width: usize,
    /// Inner width of the SwiGLU.
    pub inner: usize,
    /// How attention cuts its width.
    pub heads: Heads,
    /// What lies beside its projections.
    pub beside: Beside,
    /// Keeps the norms' division away from zero.
    pub epsilon: f64,
}

impl Layer {
    /// Loads the tensors below `path`.
    pub fn load(
        loader: &mut Loader,
        path: &str,
        names: &LayerNames,
        sizes: LayerSizes,
    ) -> Result<Layer, WeightError> {
        let LayerSizes { width, inner, heads, beside, epsilon } = sizes;
        let at = |name: &str| format!("{path}.{name}");
        let attended = heads.count * heads.width;
        Ok(Layer {
            attention_norm: Norm::load(loader, &at(names.attention_norm), width, epsilon)?,
            projections: Projections::load(
                loader,
                names.attention.map(at),
                width,
                (heads, beside),
            )?,
            out: loader.lora_linear(&at(names.out), [attended, width])?,
            feed_norm: Norm::load(loader, &at(names.feed_norm), width, epsilon)?,
            feed_forward: FeedForward::load(loader, names.feed.map(at), [width, inner], false)?,
        })
    }

    /// The last `rows` positions after the layer, which reads on from what is remembered.
    ///
    /// # Shapes
    /// - x: `[batch, positions, width]`
    /// - output: `[batch, rows, width]`
    pub fn forward(
        &self,
        x: Tensor<3>,
        rows: usize,
        heads: Heads,
        seen: (&AttentionMask, Option<&mut LayerCache>),
    ) -> Tensor<3> {
        let length = x.dims()[1];
        let h = self.attention_norm.forward(x.clone());
        let queried = h.clone().narrow(1, length - rows, rows);
        let attended = self.out.forward(self.projections.attend(queried, h, heads, seen));
        let x = x.narrow(1, length - rows, rows).add(attended);
        let h = self.feed_norm.forward(x.clone());
        x.add(self.feed_forward.forward(h))
    }
}

/// Keeps the division of a norm away from zero where no configuration says how.
pub const EPSILON: f64 = 1e-6;
