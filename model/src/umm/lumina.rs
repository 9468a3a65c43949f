//! BLIP3o's diffusion transformer as it is released: Lumina-Next over a grid of image features.
//!
//! Follows Lumina-Next (Zhuo et al., arXiv 2406.18583) as diffusers has it, with BLIP3o's projection of the condition
//! in front. The embedded model's [`super::diffusion`] is its small relative; what that leaves out is here: 2-D rotary
//! positions, norms of queries and keys, norms after each sub-layer. Sizes are read off the tensors, because files
//! disagree with the formulas for them.

use burn::module::{Module, Param};
use burn::nn::Linear;
use burn::tensor::activation::{gelu_approximate, silu};
use burn::tensor::{Device, Tensor, TensorData};

use super::layers::{FeedForward, Heads, LayerNorm, Norm, Sight, centred};
use super::weights::{Init, Loader, WeightError};
use crate::fused::attention;
use crate::lora::LoraLinear;
use crate::tensor_files::TensorFiles;

/// Denoises a grid of features under a condition.
#[derive(Module, Debug)]
pub struct Lumina {
    patch: Linear,
    caption_inner: Linear,
    caption: Linear,
    time_inner: Linear,
    time: Linear,
    pooled_norm: LayerNorm,
    pooled: Linear,
    blocks: Vec<Block>,
    final_scale: Linear,
    head: Linear,
}

/// Sizes of a [`Lumina`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LuminaConfig {
    /// Channels of one feature, read and predicted.
    pub channels: usize,
    /// Width of the condition's tokens.
    pub condition: usize,
    /// Width of the transformer.
    pub hidden_size: usize,
    /// Width of the time embedding.
    pub time: usize,
    /// Blocks.
    pub layers: usize,
    /// Query heads.
    pub heads: usize,
    /// Width of keys and values.
    pub keys: usize,
    /// Inner width of the SwiGLU.
    pub intermediate_size: usize,
}

#[derive(Module, Debug)]
struct Block {
    modulation: Linear,
    norm: Norm,
    self_attention: Attention,
    context_norm: Norm,
    cross_attention: Attention,
    gate: Param<Tensor<1>>,
    out: LoraLinear,
    after_attention: Norm,
    feed_norm: Norm,
    feed_forward: FeedForward,
    after_feed: Norm,
}

#[derive(Module, Debug)]
struct Attention {
    query: LoraLinear,
    key: LoraLinear,
    value: LoraLinear,
    query_norm: LayerNorm,
    key_norm: LayerNorm,
}

/// How far each pair of channels of each place of a grid is turned: `[1, places, 1, head width / 2]`.
struct Turns {
    cosine: Tensor<4>,
    sine: Tensor<4>,
}

impl LuminaConfig {
    /// Reads the sizes off a checkpoint's tensors below `path`; none if one that tells is missing.
    pub fn of(files: &TensorFiles, path: &str) -> Option<LuminaConfig> {
        let axis = |name: &str, axis: usize| {
            let place = files.tensors().get(&format!("{path}.{name}"))?;
            place.shape.get(axis).copied()
        };
        let layer = |at: usize| axis(&format!("layers.{at}.gate"), 0);
        Some(LuminaConfig {
            channels: axis("norm_out.linear_2.weight", 0)?,
            condition: axis("caption_projection.linear_1.weight", 1)?,
            hidden_size: axis("patch_embedder.proj.weight", 0)?,
            time: axis("norm_out.linear_1.weight", 1)?,
            layers: (0..).take_while(|at| layer(*at).is_some()).count(),
            heads: layer(0)?,
            keys: axis("layers.0.attn1.to_k.weight", 0)?,
            intermediate_size: axis("layers.0.feed_forward.linear_1.weight", 0)?,
        })
    }

    fn heads(self) -> Heads {
        let width = self.hidden_size / self.heads;
        Heads { count: self.heads, shared: self.keys / width, width }
    }
}

impl Lumina {
    /// Loads the tensors below `path`.
    pub fn load(
        loader: &mut Loader,
        path: &str,
        config: LuminaConfig,
    ) -> Result<Lumina, WeightError> {
        let LuminaConfig { channels, condition, hidden_size: width, time, layers, .. } = config;
        let at = |name: &str| format!("{path}.{name}");
        let embed = at("time_caption_embed");
        let blocks =
            (0..layers).map(|layer| Block::load(loader, &at(&format!("layers.{layer}")), config));
        let blocks = blocks.collect::<Result<_, _>>()?;
        let mut linear = |name: String, sizes| loader.linear(&name, sizes, true);
        Ok(Lumina {
            patch: linear(at("patch_embedder.proj"), [channels, width])?,
            caption_inner: linear(at("caption_projection.linear_1"), [condition, width])?,
            caption: linear(at("caption_projection.linear_2"), [width, width])?,
            time_inner: linear(
                format!("{embed}.timestep_embedder.linear_1"),
                [TIME_CHANNELS, time],
            )?,
            time: linear(format!("{embed}.timestep_embedder.linear_2"), [time, time])?,
            pooled: linear(format!("{embed}.caption_embedder.1"), [width, time])?,
            final_scale: linear(at("norm_out.linear_1"), [time, width])?,
            head: linear(at("norm_out.linear_2"), [width, channels])?,
            pooled_norm: LayerNorm::load(
                loader,
                &format!("{embed}.caption_embedder.0"),
                width,
                EPSILON,
            )?,
            blocks,
        })
    }

    /// Predicts the velocity.
    ///
    /// # Shapes
    /// - noised and output: `[batch, side * side, channels]`, row-major places of a square grid
    /// - times: one a row, 0 to 1000
    /// - condition: `[batch, tokens, condition]`; zero for a row without one
    pub fn forward(
        &self,
        noised: Tensor<3>,
        times: &[f32],
        condition: Tensor<3>,
        config: LuminaConfig,
    ) -> Tensor<3> {
        let [batch, places, _] = noised.dims();
        let device = noised.device();
        let turns = Turns::new(places.isqrt(), config.heads().width, &device);
        let context = self.caption.forward(gelu_approximate(self.caption_inner.forward(condition)));
        let time = self.time_inner.forward(time_features(times, &device));
        let time = self.time.forward(silu(time));
        let mean = self.pooled_norm.forward(context.clone().mean_dim(1));
        let pooled = self.pooled.forward(mean).reshape([batch, config.time]);
        let signal = silu(time.add(pooled));
        let mut x = self.patch.forward(noised);
        for block in &self.blocks {
            x = block.forward(x, &context, signal.clone(), (&turns, config.heads()));
        }
        let scale = self.final_scale.forward(signal).add_scalar(1.0);
        self.head.forward(centred(x, 1e-6).mul(scale.unsqueeze_dim(1)))
    }
}

impl Block {
    fn load(loader: &mut Loader, path: &str, config: LuminaConfig) -> Result<Block, WeightError> {
        let LuminaConfig { hidden_size: width, intermediate_size: inner, .. } = config;
        let feed =
            ["linear_1", "linear_3", "linear_2"].map(|name| format!("{path}.feed_forward.{name}"));
        let mut norm =
            |name: &str| Norm::with_epsilon(loader, &format!("{path}.{name}"), width, EPSILON);
        let (before, context_norm) = (norm("norm1.norm")?, norm("norm1_context")?);
        let (after_attention, feed_norm) = (norm("norm2")?, norm("ffn_norm1")?);
        let after_feed = norm("ffn_norm2")?;
        let modulation =
            loader.linear(&format!("{path}.norm1.linear"), [config.time, 4 * width], true)?;
        Ok(Block {
            modulation,
            norm: before,
            self_attention: Attention::load(loader, &format!("{path}.attn1"), config)?,
            context_norm,
            cross_attention: Attention::load(loader, &format!("{path}.attn2"), config)?,
            gate: loader.tensor(&format!("{path}.gate"), [config.heads], Init::Zeros)?,
            out: loader.lora_linear(&format!("{path}.attn2.to_out.0"), [width, width])?,
            after_attention,
            feed_norm,
            feed_forward: FeedForward::load(loader, feed, [width, inner])?,
            after_feed,
        })
    }

    fn forward(
        &self,
        x: Tensor<3>,
        context: &Tensor<3>,
        signal: Tensor<2>,
        (turns, heads): (&Turns, Heads),
    ) -> Tensor<3> {
        let [batch, places, width] = x.dims();
        let modulation = self.modulation.forward(signal).reshape([batch, 4, width]);
        let part = |index: usize| modulation.clone().narrow(1, index, 1);
        let h = self.norm.forward(x.clone()).mul(part(0).add_scalar(1.0));
        let context = self.context_norm.forward(context.clone());
        let own =
            self.self_attention.attend([h.clone(), h.clone()], [turns, turns].map(Some), heads);
        let cross = self.cross_attention.attend([h, context], [Some(turns), None], heads);
        let gate = self.gate.val().tanh().reshape([1, 1, heads.count, 1]);
        let cross = cross.reshape([batch, places, heads.count, heads.width]).mul(gate);
        let mixed = self.out.forward(own.add(cross.reshape([batch, places, width])));
        let x = x.add(self.after_attention.forward(mixed).mul(part(1).tanh()));
        let h = self.feed_norm.forward(x.clone()).mul(part(2).add_scalar(1.0));
        let fed = self.after_feed.forward(self.feed_forward.forward(h));
        x.add(fed.mul(part(3).tanh()))
    }
}

impl Attention {
    fn load(
        loader: &mut Loader,
        path: &str,
        config: LuminaConfig,
    ) -> Result<Attention, WeightError> {
        let LuminaConfig { hidden_size: width, keys, .. } = config;
        let mut map = |name: &str, outputs: usize| {
            loader.lora_linear(&format!("{path}.{name}"), [width, outputs])
        };
        let (query, key, value) = (map("to_q", width)?, map("to_k", keys)?, map("to_v", keys)?);
        Ok(Attention {
            query,
            key,
            value,
            query_norm: LayerNorm::load(loader, &format!("{path}.norm_q"), width, EPSILON)?,
            key_norm: LayerNorm::load(loader, &format!("{path}.norm_k"), keys, EPSILON)?,
        })
    }

    /// Queries and keys are normalised over all heads at once, then turned if they have a place.
    ///
    /// # Shapes
    /// - queried: `[batch, rows, width]`, attended: `[batch, columns, width]`
    /// - output: `[batch, rows, width]`
    fn attend(
        &self,
        [queried, attended]: [Tensor<3>; 2],
        [query_turns, key_turns]: [Option<&Turns>; 2],
        heads: Heads,
    ) -> Tensor<3> {
        let query = self.query_norm.forward(self.query.forward(queried));
        let key = self.key_norm.forward(self.key.forward(attended.clone()));
        let value = self.value.forward(attended);
        let turned = |vectors: Tensor<3>, turns: Option<&Turns>| match turns {
            Some(turns) => turns.turn(vectors, heads.width),
            None => vectors,
        };
        let vectors = [turned(query, query_turns), turned(key, key_turns), value];
        attention(vectors, heads, &Sight::everywhere())
    }
}

impl Turns {
    /// Pairs of channels alternate between being turned by a place's row and by its column.
    fn new(side: usize, width: usize, device: &Device) -> Turns {
        let pairs = width / 2;
        let angle = |index: usize| {
            let (place, pair) = (index / pairs, index % pairs);
            let position = if pair.is_multiple_of(2) { place / side } else { place % side };
            position as f64 * THETA.powf(-((pair / 2 * 2) as f64) / pairs as f64)
        };
        let table = |turn: fn(f64) -> f64| {
            let values: Vec<f32> =
                (0..side * side * pairs).map(|index| turn(angle(index)) as f32).collect();
            Tensor::from_data(TensorData::new(values, [1, side * side, 1, pairs]), device)
        };
        Turns { cosine: table(f64::cos), sine: table(f64::sin) }
    }

    /// Turns neighbouring channels of each head of `width`.
    ///
    /// # Shapes
    /// - vectors and output: `[batch, places, heads * width]`
    fn turn(&self, vectors: Tensor<3>, width: usize) -> Tensor<3> {
        let [batch, places, all] = vectors.dims();
        let heads = all / width;
        let pairs = vectors.reshape([batch, places, heads, width / 2, 2]);
        let half = |index: usize| {
            pairs.clone().narrow(4, index, 1).reshape([batch, places, heads, width / 2])
        };
        let (first, second) = (half(0), half(1));
        let [cosine, sine] = [&self.cosine, &self.sine].map(Tensor::clone);
        let turned = [
            first.clone().mul(cosine.clone()).sub(second.clone().mul(sine.clone())),
            second.mul(cosine).add(first.mul(sine)),
        ];
        Tensor::stack::<5>(turned.to_vec(), 4).reshape([batch, places, all])
    }
}

/// Cosines, then sines, of the time.
fn time_features(times: &[f32], device: &Device) -> Tensor<2> {
    let half = TIME_CHANNELS / 2;
    let mut values = Vec::with_capacity(times.len() * TIME_CHANNELS);
    for &time in times {
        let angle = |i: usize| f64::from(time) * THETA.powf(-(i as f64) / half as f64);
        values.extend((0..half).map(|i| angle(i).cos() as f32));
        values.extend((0..half).map(|i| angle(i).sin() as f32));
    }
    Tensor::from_data(TensorData::new(values, [times.len(), TIME_CHANNELS]), device)
}

/// Cosines and sines that describe the time.
const TIME_CHANNELS: usize = 256;
/// Base of all angles, of time and of place.
const THETA: f64 = 10_000.0;
/// Keeps the norms' division away from zero.
const EPSILON: f64 = 1e-5;
