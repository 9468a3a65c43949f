//! The flow-matching diffusion transformer, over semantic cells or over image features.
//!
//! Follows Lumina-Next (Zhuo et al., arXiv 2406.18583) as diffusers has it, with BLIP3o's
//! projection of the condition in front: self- and cross-attention side by side, scale and gate of
//! every sub-layer modulated by time and the pooled condition. [`Form`] tells what the embedded
//! model leaves out, argued by its size.

mod block;
mod rotary;

use burn::module::{Module, Param};
use burn::tensor::activation::{gelu, gelu_approximate, silu};
use burn::tensor::{Device, Tensor, TensorData};
use witan_adapter::fresh::Init;
use witan_adapter::tensor_files::TensorFiles;
use witan_adapter::tensors::WeightError;

use crate::layers::frozen::Frozen;
use crate::layers::loader::Loader;
use crate::layers::transformer::{EPSILON, Heads, LayerNorm, centred, normalised};
use block::Block;
use rotary::Rotary2d;

/// Sizes of a [`Diffusion`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiffusionConfig {
    /// The path of its tensors.
    pub path: &'static str,
    /// Which of the two forms.
    pub form: Form,
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

/// The two forms of the transformer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// The embedded model's: learned positions, no norm of queries and keys or after a sub-layer,
    /// and the clean grid is predicted, from which the velocity follows.
    Plain,
    /// As released: 2-D rotary positions, norms of queries and keys and after each sub-layer; the
    /// velocity is predicted.
    Lumina,
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
    /// BLIP3o's, as released with the 4B and the 8B model, conditioned on a language model of width
    /// `condition`.
    pub fn released(condition: usize) -> DiffusionConfig {
        DiffusionConfig {
            path: "model.dit.model",
            form: Form::Lumina,
            places: 64,
            channels: 1792,
            condition,
            hidden_size: 1792,
            time: 1024,
            layers: 24,
            heads: 28,
            keys: 1792,
            intermediate_size: 4864,
        }
    }

    /// BLIP3o's with the sizes of a checkpoint's tensors, because files disagree with the formulas
    /// for them; none if a tensor that tells is missing.
    pub fn of(files: &TensorFiles) -> Option<DiffusionConfig> {
        let released = DiffusionConfig::released(0);
        let axis = |name: &str, axis: usize| {
            let place = files.tensors().get(&format!("{}.{name}", released.path))?;
            place.shape.get(axis).copied()
        };
        let layer = |at: usize| axis(&format!("layers.{at}.gate"), 0);
        Some(DiffusionConfig {
            channels: axis("norm_out.linear_2.weight", 0)?,
            condition: axis("caption_projection.linear_1.weight", 1)?,
            hidden_size: axis("patch_embedder.proj.weight", 0)?,
            time: axis("norm_out.linear_1.weight", 1)?,
            layers: (0..).take_while(|at| layer(*at).is_some()).count(),
            heads: layer(0).filter(|heads| *heads > 0)?,
            keys: axis("layers.0.attn1.to_k.weight", 0)?,
            intermediate_size: axis("layers.0.feed_forward.linear_1.weight", 0)?,
            ..released
        })
    }

    /// Whether heads are of one even width, and groups of them share a key head; nothing can be
    /// computed otherwise.
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

impl Form {
    /// Cosines and sines that describe the time.
    fn time_channels(self) -> usize {
        match self {
            Form::Plain => 64,
            Form::Lumina => 256,
        }
    }
}

impl Diffusion {
    /// Loads the tensors below the configuration's path.
    pub fn load(loader: &mut Loader, config: &DiffusionConfig) -> Result<Diffusion, WeightError> {
        let &DiffusionConfig { form, places, channels, condition, hidden_size: width, .. } = config;
        let time = config.time;
        let at = |name: &str| format!("{}.{name}", config.path);
        let is_plain = form == Form::Plain;
        let blocks = (0..config.layers)
            .map(|index| Block::load(loader, &at(&format!("layers.{index}")), config));
        let blocks = blocks.collect::<Result<_, _>>()?;
        let mut linear = |name: &str, sizes| loader.linear(&at(name), sizes, true);
        let patch = linear("patch_embedder.proj", [channels, width])?;
        let position = is_plain
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
                [form.time_channels(), time],
            )?,
            time: linear(&format!("{embed}.timestep_embedder.linear_2"), [time, time])?,
            pooled: linear(&format!("{embed}.caption_embedder.1"), [width, time])?,
            pooled_norm: (!is_plain)
                .then(|| {
                    let path = at(&format!("{embed}.caption_embedder.0"));
                    LayerNorm::load(loader, &path, width, block::EPSILON)
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

    /// Predicts the clean grid or the velocity, as the form does.
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
        let time = time_features(times, config.form.time_channels(), &device);
        let time = self.time.forward(silu(self.time_inner.forward(time)));
        let signal = silu(time.add(condition.pooled.clone()));
        let mut x = self.patch.forward(noised);
        let rotary = match &self.position {
            Some(position) => {
                x = x.add(position.val().unsqueeze());
                None
            }
            None => Some(Rotary2d::new(places.isqrt(), config.attention().width, &device)),
        };
        for block in &self.blocks {
            let heads = config.attention();
            x = block.forward(x, &condition.tokens, signal.clone(), (rotary.as_ref(), heads));
        }
        let scale = self.final_scale.forward(signal).add_scalar(1.0);
        let scale = scale.reshape([batch, 1, config.hidden_size]);
        let x = match config.form {
            Form::Plain => normalised(x),
            Form::Lumina => centred(x, EPSILON),
        };
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
