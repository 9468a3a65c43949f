//! The vision encoder of Qwen2.5-VL, which BLIP3o reads pictures with.
//!
//! Follows Qwen2.5-VL (arXiv 2502.13923): most blocks look at windows of the picture only, a few at
//! all of it; four neighbouring patches become one token of the language model. Patches come in the
//! order of its image processor, those of one token side by side.

use std::ops::RangeInclusive;

use burn::module::{Module, Param};
use burn::tensor::activation::gelu;
use burn::tensor::module::linear;
use burn::tensor::{Device, Int, Tensor, TensorData};
use serde_json::{Map, Value};
use witan_adapter::fresh::Init;
use witan_adapter::tensors::WeightError;

use crate::families::language::config::{ConfigProblem, LanguageConfigError, number};
use crate::kernels::{angle_tables, attention, frequency, rotate};
use crate::layers::frozen::Frozen;
use crate::layers::loader::Loader;
use crate::layers::transformer::{AttentionMask, EPSILON, FeedForward, Heads, Norm};

/// Sizes of the encoder: `vision_config` of a Qwen2.5-VL model, with transformers' defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QwenVisionConfig {
    /// Blocks.
    pub depth: usize,
    /// Width.
    pub hidden_size: usize,
    /// Inner width of the SwiGLU.
    pub intermediate_size: usize,
    /// Attention heads.
    pub num_heads: usize,
    /// Width of the language model.
    pub out_hidden_size: usize,
    /// Pixels along one side of a patch.
    pub patch_size: usize,
    /// Frames of one patch; a picture is doubled.
    pub temporal_patch_size: usize,
    /// Colours.
    pub in_channels: usize,
    /// Patches along one side of a token.
    pub spatial_merge_size: usize,
    /// Pixels along one side of a window.
    pub window_size: usize,
    /// The blocks that look at the whole picture.
    pub fullatt_block_indexes: Vec<usize>,
}

impl Default for QwenVisionConfig {
    fn default() -> QwenVisionConfig {
        QwenVisionConfig { hidden_size: 3584, ..QwenVisionConfig::released(3584) }
    }
}

impl QwenVisionConfig {
    /// Of the released models, in front of a language model of `width`.
    pub fn released(width: usize) -> QwenVisionConfig {
        QwenVisionConfig {
            depth: 32,
            hidden_size: 1280,
            intermediate_size: 3420,
            num_heads: 16,
            out_hidden_size: width,
            patch_size: 14,
            temporal_patch_size: 2,
            in_channels: 3,
            spatial_merge_size: 2,
            window_size: 112,
            fullatt_block_indexes: vec![7, 15, 23, 31],
        }
    }

    /// Reads `vision_config`.
    pub fn read(part: &Map<String, Value>) -> Result<QwenVisionConfig, LanguageConfigError> {
        let usual = QwenVisionConfig::default();
        let size = |key: &'static str, usual: usize, possible: RangeInclusive<usize>| {
            number(part, key, usual, &possible).map_err(|found| ConfigProblem::Vision {
                key,
                found,
                possible,
            })
        };
        let width = size("hidden_size", usual.hidden_size, 1..=1 << 16)?;
        let heads = size("num_heads", usual.num_heads, 1..=(width / 4).max(1))?;
        // Pairs of channels are rotated by row and by column.
        if !width.is_multiple_of(4 * heads) {
            return Err(ConfigProblem::VisionHeads { width, heads }.into());
        }
        let patch_size = size("patch_size", usual.patch_size, 1..=256)?;
        let merge = size("spatial_merge_size", usual.spatial_merge_size, 1..=16)?;
        if !part.get("hidden_act").is_none_or(|act| act.is_null() || act == "silu") {
            return Err(unlike(part, "hidden_act", "vision_config.hidden_act", "silu").into());
        }
        Ok(QwenVisionConfig {
            depth: size("depth", usual.depth, 1..=1024)?,
            hidden_size: width,
            intermediate_size: size("intermediate_size", usual.intermediate_size, 1..=1 << 20)?,
            num_heads: heads,
            out_hidden_size: size("out_hidden_size", usual.out_hidden_size, 1..=1 << 16)?,
            patch_size,
            temporal_patch_size: size("temporal_patch_size", usual.temporal_patch_size, 1..=16)?,
            in_channels: size("in_channels", usual.in_channels, 3..=3)?,
            spatial_merge_size: merge,
            window_size: size("window_size", usual.window_size, patch_size * merge..=1 << 16)?,
            fullatt_block_indexes: whole_blocks(part)?.unwrap_or(usual.fullatt_block_indexes),
        })
    }
}

/// The blocks that look at the whole picture, if the file says which.
fn whole_blocks(part: &Map<String, Value>) -> Result<Option<Vec<usize>>, ConfigProblem> {
    let key = "fullatt_block_indexes";
    let Some(found) = part.get(key).filter(|found| !found.is_null()) else { return Ok(None) };
    let blocks = serde_json::from_value(found.clone());
    let named = "vision_config.fullatt_block_indexes";
    blocks.map(Some).map_err(|_| unlike(part, key, named, "a list of the numbers of blocks"))
}

fn unlike(
    part: &Map<String, Value>,
    key: &str,
    named: &'static str,
    expected: &'static str,
) -> ConfigProblem {
    let found = part.get(key).cloned().unwrap_or_default();
    ConfigProblem::Key { key: named, found, expected }
}

/// Patches to tokens.
#[derive(Module, Debug)]
pub struct QwenVision {
    patch: Param<Tensor<5>>,
    blocks: Vec<Block>,
    merged_norm: Norm,
    merger_inner: Frozen,
    merger: Frozen,
}

#[derive(Module, Debug)]
struct Block {
    attention_norm: Norm,
    projections: Frozen,
    out: Frozen,
    feed_norm: Norm,
    feed_forward: FeedForward,
}

/// The order of a picture's tokens, window by window, and how its patches are rotated.
struct Places {
    /// The tokens' own numbers, in window order.
    order: Vec<usize>,
    /// Patches of each window.
    windows: Vec<usize>,
    /// `[1, patches, 1, head width / 2]`, in window order.
    angles: [Tensor<4>; 2],
}

impl QwenVision {
    /// Loads the tensors below `visual.`.
    pub fn load(loader: &mut Loader, config: &QwenVisionConfig) -> Result<QwenVision, WeightError> {
        let width = config.hidden_size;
        let side = config.patch_size;
        let patch = [width, config.in_channels, config.temporal_patch_size, side, side];
        let merged = width * config.spatial_merge_size.pow(2);
        let blocks = (0..config.depth).map(|at| Block::load(loader, at, config));
        Ok(QwenVision {
            blocks: blocks.collect::<Result<_, _>>()?,
            patch: loader.tensor("visual.patch_embed.proj.weight", patch, Init::Normal(0.02))?,
            merged_norm: Norm::load(loader, "visual.merger.ln_q", width, EPSILON)?,
            merger_inner: loader.linear("visual.merger.mlp.0", [merged, merged], true)?,
            merger: loader.linear("visual.merger.mlp.2", [merged, config.out_hidden_size], true)?,
        })
    }

    /// Reads one picture.
    ///
    /// # Shapes
    /// - patches: `[rows * columns, channels * frames * patch * patch]`, those of one token side by
    ///   side
    /// - output: `[tokens, language width]`, row-major
    pub fn forward(
        &self,
        patches: Tensor<2>,
        [rows, columns]: [usize; 2],
        config: &QwenVisionConfig,
    ) -> Tensor<2> {
        let device = patches.device();
        let width = config.hidden_size;
        let unit = config.spatial_merge_size.pow(2);
        let tokens = rows * columns / unit;
        let places = Places::new([rows, columns], config, &device);
        let [_, inputs] = patches.dims();
        let patch = self.patch.val().reshape([width, inputs]).transpose();
        let x = linear(patches, patch, None).reshape([tokens, unit * width]);
        let x = x.select(0, indices(&places.order, &device));
        let mut x = x.reshape([1, tokens * unit, width]);
        for (at, block) in self.blocks.iter().enumerate() {
            let whole = [rows * columns];
            let windows: &[usize] = match config.fullatt_block_indexes.contains(&at) {
                true => &whole,
                false => &places.windows,
            };
            x = block.forward(x, windows, &places.angles, config);
        }
        let merged = self.merged_norm.forward(x).reshape([tokens, unit * width]);
        let said = self.merger.forward(gelu(self.merger_inner.forward(merged)));
        let mut back = vec![0; tokens];
        places.order.iter().enumerate().for_each(|(at, token)| back[*token] = at);
        said.select(0, indices(&back, &device))
    }
}

impl Block {
    fn load(
        loader: &mut Loader,
        at: usize,
        config: &QwenVisionConfig,
    ) -> Result<Block, WeightError> {
        let (path, width) = (format!("visual.blocks.{at}"), config.hidden_size);
        let feed = ["gate_proj", "up_proj", "down_proj"].map(|name| format!("{path}.mlp.{name}"));
        let sizes = [width, config.intermediate_size];
        Ok(Block {
            attention_norm: Norm::load(loader, &format!("{path}.norm1"), width, EPSILON)?,
            projections: loader.linear(&format!("{path}.attn.qkv"), [width, 3 * width], true)?,
            out: loader.linear(&format!("{path}.attn.proj"), [width, width], true)?,
            feed_norm: Norm::load(loader, &format!("{path}.norm2"), width, EPSILON)?,
            feed_forward: FeedForward::load(loader, feed, sizes, true)?,
        })
    }

    fn forward(
        &self,
        x: Tensor<3>,
        windows: &[usize],
        angles: &[Tensor<4>; 2],
        config: &QwenVisionConfig,
    ) -> Tensor<3> {
        let (count, all) = (config.num_heads, config.hidden_size);
        let heads = Heads { count, shared: count, width: all / count };
        let projected = self.projections.forward(self.attention_norm.forward(x.clone()));
        let part = |index: usize| projected.clone().narrow(2, index * all, all);
        let vectors = [rotated(part(0), angles, heads), rotated(part(1), angles, heads), part(2)];
        let mut start = 0;
        let attended = windows.iter().map(|patches| {
            let window = vectors.each_ref().map(|all| all.clone().narrow(1, start, *patches));
            start += patches;
            attention(window, heads, &AttentionMask::full(), self.projections.precision)
        });
        let x = x.add(self.out.forward(Tensor::cat(attended.collect(), 1)));
        let h = self.feed_norm.forward(x.clone());
        x.add(self.feed_forward.forward(h))
    }
}

impl Places {
    fn new([rows, columns]: [usize; 2], config: &QwenVisionConfig, device: &Device) -> Places {
        let merge = config.spatial_merge_size;
        let side = config.window_size / merge / config.patch_size;
        let (rows, columns) = (rows / merge, columns / merge);
        let (mut order, mut windows) = (Vec::new(), Vec::new());
        for top in (0..rows).step_by(side) {
            for left in (0..columns).step_by(side) {
                let (bottom, right) = ((top + side).min(rows), (left + side).min(columns));
                windows.push((bottom - top) * (right - left) * merge * merge);
                order.extend(
                    (top..bottom)
                        .flat_map(|row| (left..right).map(move |column| row * columns + column)),
                );
            }
        }
        let half = config.hidden_size / config.num_heads / 2;
        let mut angles = Vec::with_capacity(order.len() * merge * merge * half);
        for token in &order {
            for patch in 0..merge * merge {
                let row = token / columns * merge + patch / merge;
                let column = token % columns * merge + patch % merge;
                let angle =
                    |position: usize, at: usize| position as f64 * frequency(THETA, 2 * at, half);
                angles.extend((0..half / 2).map(|at| angle(row, at)));
                angles.extend((0..half / 2).map(|at| angle(column, at)));
            }
        }
        Places { angles: angle_tables(&angles, half, device), order, windows }
    }
}

/// Rotates each head by its place.
fn rotated(vectors: Tensor<3>, angles: &[Tensor<4>; 2], heads: Heads) -> Tensor<3> {
    let [batch, places, all] = vectors.dims();
    let vectors = vectors.reshape([batch, places, heads.count, heads.width]);
    rotate(vectors, angles).reshape([batch, places, all])
}

fn indices(values: &[usize], device: &Device) -> Tensor<1, Int> {
    let count = values.len();
    let values: Vec<i32> = values.iter().map(|value| *value as i32).collect();
    Tensor::from_data(TensorData::new(values, [count]), device)
}

/// Base of the angles.
const THETA: f64 = 10_000.0;
