//! The flow-matching diffusion transformer over semantic cells.
//!
//! Follows Lumina-Next as BLIP3o uses it: self- and cross-attention side by side, modulation of scale and gate
//! by time and the pooled condition. Deviations, argued by the size: learned positions in place of 2-D rotary
//! ones, no norm of queries and keys, no norm after a sub-layer, and the clean grid is predicted (x0) instead of
//! the velocity, from which the velocity follows.

use burn::module::{Module, Param};
use burn::nn::Linear;
use burn::tensor::activation::{gelu, silu};
use burn::tensor::{Device, Tensor, TensorData};

use super::layers::{FeedForward, Heads, Norm, Projections, Sight, normalised};
use super::weights::{Init, Loader, WeightError};
use crate::config::{GRID_SIDE, MERGE, ModelConfig, PICTURE_TOKENS};
use crate::lora::LoraLinear;

/// Denoises a grid of cells under a condition read from the language model.
#[derive(Module, Debug)]
pub struct Diffusion {
    patch: Linear,
    position: Param<Tensor<2>>,
    caption_inner: Linear,
    caption: Linear,
    time_inner: Linear,
    time: Linear,
    pooled: Linear,
    blocks: Vec<Block>,
    final_scale: Linear,
    head: Linear,
}

#[derive(Module, Debug)]
struct Block {
    modulation: Linear,
    norm: Norm,
    self_attention: Projections,
    context_norm: Norm,
    cross_attention: Projections,
    gate: Param<Tensor<1>>,
    out: LoraLinear,
    feed_norm: Norm,
    feed_forward: FeedForward,
}

/// A condition made ready: the projected tokens and their pooled vector.
#[derive(Clone)]
pub struct Condition {
    tokens: Tensor<3>,
    pooled: Tensor<2>,
}

impl Condition {
    /// Every row `times` times in a row.
    pub fn repeat(&self, times: usize) -> Condition {
        let [batch, tokens, width] = self.tokens.dims();
        let spread = self.tokens.clone().unsqueeze_dim::<4>(1).repeat_dim(1, times);
        let pooled = self.pooled.clone().unsqueeze_dim::<3>(1).repeat_dim(1, times);
        Condition {
            tokens: spread.reshape([batch * times, tokens, width]),
            pooled: pooled.reshape([batch * times, width]),
        }
    }
}

impl Diffusion {
    /// Loads the tensors below `model.dit.`.
    pub fn load(loader: &mut Loader, config: &ModelConfig) -> Result<Diffusion, WeightError> {
        let width = config.dit_hidden_size;
        let patch = config.gen_channels * MERGE * MERGE;
        let mut blocks = Vec::new();
        for index in 0..config.dit_layers {
            blocks.push(Block::load(loader, &format!("model.dit.layers.{index}"), config)?);
        }
        let position = "model.dit.position.weight";
        let caption = "model.dit.caption_projection";
        let embed = "model.dit.time_caption_embed";
        Ok(Diffusion {
            patch: loader.linear("model.dit.patch_embedder.proj", [patch, width], true)?,
            position: loader.tensor(position, [PICTURE_TOKENS, width], Init::Normal(0.02))?,
            caption_inner: loader.linear(
                &format!("{caption}.linear_1"),
                [config.hidden_size, width],
                true,
            )?,
            caption: loader.linear(&format!("{caption}.linear_2"), [width, width], true)?,
            time_inner: loader.linear(
                &format!("{embed}.timestep_embedder.linear_1"),
                [TIME_CHANNELS, width],
                true,
            )?,
            time: loader.linear(
                &format!("{embed}.timestep_embedder.linear_2"),
                [width, width],
                true,
            )?,
            pooled: loader.linear(&format!("{embed}.caption_embedder.1"), [width, width], true)?,
            blocks,
            final_scale: loader.zero_linear("model.dit.norm_out.linear_1", [width, width])?,
            head: loader.zero_linear("model.dit.norm_out.linear_2", [width, patch])?,
        })
    }

    /// Makes a condition of the language model's hidden states at the image queries.
    ///
    /// # Shapes
    /// - hidden: `[batch, queries, hidden]`; zero for a row without condition
    pub fn condition(&self, hidden: Tensor<3>) -> Condition {
        let [batch, _, _] = hidden.dims();
        let tokens = self.caption.forward(gelu(self.caption_inner.forward(hidden)));
        let [_, _, width] = tokens.dims();
        let mean = normalised(tokens.clone().mean_dim(1)).reshape([batch, width]);
        Condition { pooled: self.pooled.forward(mean), tokens }
    }

    /// Predicts the clean grid.
    ///
    /// # Shapes
    /// - noised: `[batch, patches, patch]`, at noise level `levels[i]` in row i (0 clean, 1 pure noise)
    /// - output: `[batch, patches, patch]`
    pub fn forward(
        &self,
        noised: Tensor<3>,
        levels: &[f32],
        condition: &Condition,
        config: &ModelConfig,
    ) -> Tensor<3> {
        let heads = dit_heads(config);
        let [batch, _, _] = noised.dims();
        let width = config.dit_hidden_size;
        let time = time_features(levels, &noised.device());
        let time = self.time.forward(silu(self.time_inner.forward(time)));
        let signal = silu(time.add(condition.pooled.clone()));
        let mut x = self.patch.forward(noised).add(self.position.val().unsqueeze());
        for block in &self.blocks {
            x = block.forward(x, &condition.tokens, signal.clone(), heads);
        }
        let scale = self.final_scale.forward(signal).add_scalar(1.0).reshape([batch, 1, width]);
        self.head.forward(normalised(x).mul(scale))
    }
}

impl Block {
    fn load(loader: &mut Loader, path: &str, config: &ModelConfig) -> Result<Block, WeightError> {
        let width = config.dit_hidden_size;
        let heads = dit_heads(config);
        let own = ["to_q", "to_k", "to_v"].map(|name| format!("{path}.attn1.{name}"));
        let cross = ["to_q", "to_k", "to_v"].map(|name| format!("{path}.attn2.{name}"));
        let feed =
            ["linear_1", "linear_3", "linear_2"].map(|name| format!("{path}.feed_forward.{name}"));
        Ok(Block {
            modulation: loader.zero_linear(&format!("{path}.norm1.linear"), [width, 4 * width])?,
            norm: Norm::load(loader, &format!("{path}.norm1.norm"), width)?,
            self_attention: Projections::load(loader, own, width, heads)?,
            context_norm: Norm::load(loader, &format!("{path}.norm1_context"), width)?,
            cross_attention: Projections::load(loader, cross, width, heads)?,
            gate: loader.tensor(&format!("{path}.gate"), [config.dit_heads], Init::Ones)?,
            out: loader.lora_linear(&format!("{path}.attn2.to_out"), [width, width])?,
            feed_norm: Norm::load(loader, &format!("{path}.ffn_norm1"), width)?,
            feed_forward: FeedForward::load(loader, feed, [width, config.dit_intermediate_size])?,
        })
    }

    fn forward(
        &self,
        x: Tensor<3>,
        context: &Tensor<3>,
        signal: Tensor<2>,
        heads: Heads,
    ) -> Tensor<3> {
        let [batch, patches, width] = x.dims();
        let modulation = self.modulation.forward(signal).reshape([batch, 4, width]);
        let part = |index: usize| modulation.clone().narrow(1, index, 1);
        let h = self.norm.forward(x.clone()).mul(part(0).add_scalar(1.0));
        let context = self.context_norm.forward(context.clone());
        let sight = Sight::everywhere();
        let own = self.self_attention.attend(h.clone(), h.clone(), heads, &sight);
        let cross = self.cross_attention.attend(h, context, heads, &sight);
        let gate = self.gate.val().tanh().reshape([1, 1, heads.count, 1]);
        let cross = cross.reshape([batch, patches, heads.count, heads.width]).mul(gate);
        let mixed = self.out.forward(own.add(cross.reshape([batch, patches, width])));
        let x = x.add(mixed.mul(part(1).tanh()));
        let h = self.feed_norm.forward(x.clone()).mul(part(2).add_scalar(1.0));
        x.add(self.feed_forward.forward(h).mul(part(3).tanh()))
    }
}

/// Cells gathered into the patches the transformer denoises.
///
/// # Shapes
/// - cells: `[batch, 64, channels]`
/// - output: `[batch, 16, 4 * channels]`
pub fn to_patches(cells: Tensor<3>) -> Tensor<3> {
    let [batch, _, channels] = cells.dims();
    let side = GRID_SIDE / MERGE;
    cells.reshape([batch, side, MERGE, side, MERGE * channels]).permute([0, 1, 3, 2, 4]).reshape([
        batch,
        side * side,
        MERGE * MERGE * channels,
    ])
}

/// The inverse of [`to_patches`].
pub fn to_cells(patches: Tensor<3>) -> Tensor<3> {
    let [batch, _, patch] = patches.dims();
    let channels = patch / (MERGE * MERGE);
    let side = GRID_SIDE / MERGE;
    patches
        .reshape([batch, side, side, MERGE, MERGE * channels])
        .permute([0, 1, 3, 2, 4])
        .reshape([batch, GRID_SIDE * GRID_SIDE, channels])
}

/// Sines and cosines of the noise level, which counts as 0..1000.
fn time_features(levels: &[f32], device: &Device) -> Tensor<2> {
    let half = TIME_CHANNELS / 2;
    let mut values = Vec::with_capacity(levels.len() * TIME_CHANNELS);
    for &level in levels {
        let angle = |i: usize| level * 1000.0 * 10_000_f32.powf(-(i as f32) / half as f32);
        values.extend((0..half).map(|i| angle(i).cos()));
        values.extend((0..half).map(|i| angle(i).sin()));
    }
    Tensor::from_data(TensorData::new(values, [levels.len(), TIME_CHANNELS]), device)
}

fn dit_heads(config: &ModelConfig) -> Heads {
    let count = config.dit_heads;
    Heads { count, shared: count, width: config.dit_hidden_size / count }
}

/// Sines and cosines that describe the noise level.
const TIME_CHANNELS: usize = 64;
