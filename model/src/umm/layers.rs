//! The layers that the vision encoder, the language model and the diffusion transformer share.

use burn::module::{Module, Param};
use burn::tensor::activation::{silu, softmax};
use burn::tensor::{Device, Tensor, TensorData};

use super::weights::{Init, Loader, WeightError};
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
        normalised(input).mul(self.weight.val().unsqueeze())
    }
}

/// The input divided by the root of its mean square over the last axis.
///
/// # Shapes
/// - input and output: `[batch, tokens, width]`
pub fn normalised(input: Tensor<3>) -> Tensor<3> {
    let mean_square = input.clone().square().mean_dim(2);
    input.mul(mean_square.add_scalar(NORM_EPSILON).sqrt().recip())
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
        let gate = silu(self.gate.forward(input.clone()));
        self.down.forward(gate.mul(self.up.forward(input)))
    }
}

/// The three input projections of an attention layer.
#[derive(Module, Debug)]
pub struct Projections {
    query: LoraLinear,
    key: LoraLinear,
    value: LoraLinear,
}

/// How an attention layer cuts its width into heads.
#[derive(Clone, Copy, Debug)]
pub struct Heads {
    /// Query heads.
    pub count: usize,
    /// Key and value heads; each serves `count / shared` query heads.
    pub shared: usize,
    /// Width of one head.
    pub width: usize,
}

/// Queries `[batch, shared, group * rows, width]`, keys and values `[batch, shared, columns, width]`.
pub struct Projected {
    query: Tensor<4>,
    key: Tensor<4>,
    value: Tensor<4>,
    rows: usize,
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

    /// Projects and splits into heads; `angles` turns queries and keys by their position.
    ///
    /// # Shapes
    /// - queried: `[batch, rows, width]`, the last `rows` of the sequence
    /// - attended: `[batch, columns, width]`
    pub fn forward(
        &self,
        queried: Tensor<3>,
        attended: Tensor<3>,
        heads: Heads,
        angles: Option<&Angles>,
    ) -> Projected {
        let [batch, rows, _] = queried.dims();
        let [_, columns, _] = attended.dims();
        let group = heads.count / heads.shared;
        let query = self.query.forward(queried).reshape([batch, rows, heads.count, heads.width]);
        let key = self.key.forward(attended.clone()).reshape([batch, columns, heads.shared, heads.width]);
        let value = self.value.forward(attended).reshape([batch, columns, heads.shared, heads.width]);
        let (query, key) = match angles {
            Some(angles) => (angles.turn(query), angles.turn(key)),
            None => (query, key),
        };
        let query = query
            .reshape([batch, rows, heads.shared, group, heads.width])
            .permute([0, 2, 3, 1, 4])
            .reshape([batch, heads.shared, group * rows, heads.width]);
        Projected { query, key: key.swap_dims(1, 2), value: value.swap_dims(1, 2), rows }
    }
}

impl Projected {
    /// Scaled dot-product attention.
    ///
    /// # Shapes
    /// - mask: `[batch or 1, 1, group * rows, columns]`, added to the scores
    /// - output: `[batch, rows, heads * width]`
    pub fn attend(self, mask: Option<Tensor<4>>) -> Tensor<3> {
        let [batch, shared, grouped, width] = self.query.dims();
        let query = self.query.mul_scalar(1.0 / (width as f64).sqrt());
        let scores = query.matmul(self.key.swap_dims(2, 3));
        let scores = match mask {
            Some(mask) => scores.add(mask),
            None => scores,
        };
        let group = grouped / self.rows;
        softmax(scores, 3)
            .matmul(self.value)
            .reshape([batch, shared, group, self.rows, width])
            .permute([0, 3, 1, 2, 4])
            .reshape([batch, self.rows, shared * group * width])
    }
}

/// The cosines and sines of rotary positions, half-split as Llama and Qwen keep them.
pub struct Angles {
    cosine: Tensor<4>,
    sine: Tensor<4>,
}

impl Angles {
    /// The angles of positions `0..length` for heads of `width`.
    pub fn new(length: usize, width: usize, theta: u32, device: &Device) -> Angles {
        let half = width / 2;
        let angle = |index: usize| {
            let frequency = f64::from(theta).powf(-((index % half) as f64) / half as f64);
            (index / half) as f64 * frequency
        };
        let table = |turn: fn(f64) -> f64| {
            let values: Vec<f32> = (0..length * half).map(|index| turn(angle(index)) as f32).collect();
            Tensor::from_data(TensorData::new(values, [1, length, 1, half]), device)
        };
        Angles { cosine: table(f64::cos), sine: table(f64::sin) }
    }

    /// Turns the vectors of the last `rows` positions.
    ///
    /// # Shapes
    /// - input and output: `[batch, rows, heads, width]`
    fn turn(&self, input: Tensor<4>) -> Tensor<4> {
        let [_, rows, _, width] = input.dims();
        let [_, length, _, half] = self.cosine.dims();
        let cosine = self.cosine.clone().narrow(1, length - rows, rows);
        let sine = self.sine.clone().narrow(1, length - rows, rows);
        let first = input.clone().narrow(3, 0, half);
        let second = input.narrow(3, half, width - half);
        let turned_first = first.clone().mul(cosine.clone()).sub(second.clone().mul(sine.clone()));
        let turned_second = second.mul(cosine).add(first.mul(sine));
        Tensor::cat(vec![turned_first, turned_second], 3)
    }
}

/// Keeps the division of [`normalised`] away from zero.
const NORM_EPSILON: f64 = 1e-6;
