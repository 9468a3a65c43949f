//! The flow-matching diffusion transformer, over semantic cells or over image features.
//!
//! Follows Lumina-Next (Zhuo et al., arXiv 2406.18583) as diffusers has it, with BLIP3o's
//! projection of the condition in front: self- and cross-attention side by side, scale and gate of
//! every sub-layer modulated by time and the pooled condition. Families differ in `Blocks`.

mod block;
mod rotary;

use burn::module::{Module, Param};
use burn::tensor::activation::{gelu, gelu_approximate, silu};
use burn::tensor::{Device, Tensor, TensorData};
use witan_adapter::fresh::Init;
use witan_adapter::tensors::WeightError;

use crate::families::trunk::variant::Variant;
use crate::layers::frozen::Frozen;
use crate::layers::loader::Loader;
use crate::layers::transformer::{Heads, LayerNorm, normalised};
use block::Block;
use rotary::grid_angles;

/// Sizes of a [`Diffusion`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiffusionConfig {
    /// The path of its tensors.
    pub path: &'static str,
    /// Which family's it is.
    pub variant: &'static Variant,
    /// Places of the grid.
    pub places: usize,
    /// Channels of one place, read and predicted.
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

/// Denoises a grid under a condition read from the language model.
#[derive(Module, Debug)]
pub struct Diffusion {
    patch: Frozen,
    position: Option<Param<Tensor<2>>>,
    caption_inner: Frozen,
    caption: Frozen,
    time_inner: Frozen,
    time: Frozen,
    pooled_norm: Option<LayerNorm>,
    pooled: Frozen,
    blocks: Vec<Block>,
    final_scale: Frozen,
    head: Frozen,
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
        let [_, time] = self.pooled.dims();
        let pooled = self.pooled.clone().unsqueeze_dim::<3>(1).repeat_dim(1, times);
        Condition {
            tokens: spread.reshape([batch * times, tokens, width]),
            pooled: pooled.reshape([batch * times, time]),
        }
    }
}

impl DiffusionConfig {
    /// Whether heads are of one even width and groups of them share a key head, as they must.
    pub fn shares_out(&self) -> bool {
        let Heads { count, shared, width } = self.attention();
        width.is_multiple_of(2)
            && self.hidden_size == count * width
            && self.keys == shared * width
            && shared > 0
            && count.is_multiple_of(shared)
    }

    fn attention(&self) -> Heads {
        let width = (self.hidden_size / self.heads).max(1);
        Heads { count: self.heads, shared: self.keys / width, width }
    }
}

impl Diffusion {
    /// Loads the tensors below the configuration's path.
    pub fn load(loader: &mut Loader, config: &DiffusionConfig) -> Result<Diffusion, WeightError> {
        let &DiffusionConfig { variant, places, channels, condition, hidden_size: width, .. } =
            config;
        let time = config.time;
        let at = |name: &str| format!("{}.{name}", config.path);
        let blocks_form = &variant.blocks;
        let blocks = (0..config.layers)
            .map(|index| Block::load(loader, &at(&format!("layers.{index}")), config));
        let blocks = blocks.collect::<Result<_, _>>()?;
        let mut linear = |name: &str, sizes| loader.linear(&at(name), sizes, true);
        let patch = linear("patch_embedder.proj", [channels, width])?;
        let position = blocks_form
            .learns_positions
            .then(|| loader.tensor(&at("position.weight"), [places, width], Init::Normal(0.02)));
        let mut linear = |name: &str, sizes| loader.linear(&at(name), sizes, true);
        let embed = "time_caption_embed";
        Ok(Diffusion {
            blocks,
            patch,
            position: position.transpose()?,
            caption_inner: linear("caption_projection.linear_1", [condition, width])?,
            caption: linear("caption_projection.linear_2", [width, width])?,
            time_inner: linear(
                &format!("{embed}.timestep_embedder.linear_1"),
                [blocks_form.time_channels, time],
            )?,
            time: linear(&format!("{embed}.timestep_embedder.linear_2"), [time, time])?,
            pooled: linear(&format!("{embed}.caption_embedder.1"), [width, time])?,
            pooled_norm: blocks_form
                .has_all_norms
                .then(|| {
                    let path = at(&format!("{embed}.caption_embedder.0"));
                    LayerNorm::load(loader, &path, width, blocks_form.epsilon)
                })
                .transpose()?,
            final_scale: loader.zero_linear(&at("norm_out.linear_1"), [time, width])?,
            head: loader.zero_linear(&at("norm_out.linear_2"), [width, channels])?,
        })
    }

    /// Makes a condition of the language model's hidden states at the image queries.
    ///
    /// # Shapes
    /// - hidden: `[batch, queries, condition]`; zero for a row without condition
    pub fn condition(&self, hidden: Tensor<3>) -> Condition {
        let inner = self.caption_inner.forward(hidden);
        let inner = match &self.pooled_norm {
            None => gelu(inner),
            Some(_) => gelu_approximate(inner),
        };
        let tokens = self.caption.forward(inner);
        let [batch, _, width] = tokens.dims();
        let mean = tokens.clone().mean_dim(1);
        let mean = match &self.pooled_norm {
            None => normalised(mean),
            Some(norm) => norm.forward(mean),
        };
        Condition { pooled: self.pooled.forward(mean.reshape([batch, width])), tokens }
    }

    /// Predicts what the variant's flow asks for: the clean grid or the velocity.
    ///
    /// # Shapes
    /// - noised and output: `[batch, places, channels]`, row-major places of a square grid
    /// - times: one a row, 0 clean to 1000 pure noise
    pub fn forward(
        &self,
        noised: Tensor<3>,
        times: &[f32],
        condition: &Condition,
        config: &DiffusionConfig,
    ) -> Tensor<3> {
        let [batch, places, _] = noised.dims();
        let device = noised.device();
        let time = time_features(times, config.variant.blocks.time_channels, &device);
        let time = self.time.forward(silu(self.time_inner.forward(time)));
        let signal = silu(time.add(condition.pooled.clone()));
        let mut x = self.patch.forward(noised);
        let angles = match &self.position {
            Some(position) => {
                x = x.add(position.val().unsqueeze());
                None
            }
            None => Some(grid_angles(places.isqrt(), config.attention().width, &device)),
        };
        for block in &self.blocks {
            let heads = config.attention();
            x = block.forward(x, &condition.tokens, signal.clone(), (angles.as_ref(), heads));
        }
        let scale = self.final_scale.forward(signal).add_scalar(1.0);
        let scale = scale.reshape([batch, 1, config.hidden_size]);
        let x = (config.variant.blocks.last_norm)(x);
        self.head.forward(x.mul(scale))
    }
}

/// Cosines, then sines, of the time.
fn time_features(times: &[f32], channels: usize, device: &Device) -> Tensor<2> {
    let half = channels / 2;
    let mut values = Vec::with_capacity(times.len() * channels);
    for &time in times {
        let angle = |i: usize| time * 10_000_f32.powf(-(i as f32) / half as f32);
        values.extend((0..half).map(|i| angle(i).cos()));
        values.extend((0..half).map(|i| angle(i).sin()));
    }
    Tensor::from_data(TensorData::new(values, [times.len(), channels]), device)
}
