//! The frozen vision encoder: pixels to tokens, and tokens to semantic cells.

use std::ops::Range;

use burn::module::{Module, Param};
use burn::tensor::activation::{gelu, sigmoid, softmax};
use burn::tensor::module::conv2d;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Tensor, TensorData};
use witan_adapter::fresh::Init;
use witan_adapter::tensors::WeightError;

use crate::families::tiny::cells::{self, GRID_CELLS, PICTURE_SIDE};
use crate::families::tiny::config::ModelConfig;
use crate::layers::frozen::Frozen;
use crate::layers::loader::Loader;
use crate::layers::transformer::{
    AttentionMask, Beside, EPSILON, Heads, Layer, LayerNames, LayerSizes, Norm,
};

/// Two convolutions, some transformer blocks, one head that reads cells.
#[derive(Module, Debug)]
pub struct Vision {
    stem: Param<Tensor<4>>,
    stem_bias: Param<Tensor<1>>,
    merge: Param<Tensor<4>>,
    merge_bias: Param<Tensor<1>>,
    position: Param<Tensor<2>>,
    blocks: Vec<Layer>,
    norm: Norm,
    head_inner: Frozen,
    head: Frozen,
    mean: Param<Tensor<1>>,
    deviation: Param<Tensor<1>>,
}

/// What the head says about every cell before it is made into features; training needs it raw.
pub struct CellReading {
    /// `[batch, cells, channels]`: logits for occupancy and shape, plain values for the rest.
    pub raw: Tensor<3>,
}

impl Vision {
    /// Loads the tensors below `visual.`.
    pub fn load(loader: &mut Loader, config: &ModelConfig) -> Result<Vision, WeightError> {
        let width = config.vision_hidden_size;
        let stem_width = width / 2;
        let sizes = LayerSizes {
            width,
            inner: config.vision_intermediate_size,
            heads: vision_heads(config),
            beside: Beside::Nothing,
            epsilon: EPSILON,
        };
        let mut blocks = Vec::new();
        for index in 0..config.vision_layers {
            let path = format!("visual.blocks.{index}");
            blocks.push(Layer::load(loader, &path, &NAMES, sizes.clone())?);
        }
        let stem_bound = Init::Uniform((1.0 / 48.0_f32).sqrt());
        let merge_bound = Init::Uniform((1.0 / (stem_width * 9) as f32).sqrt());
        Ok(Vision {
            stem: loader.tensor("visual.stem.0.weight", [stem_width, 3, 4, 4], stem_bound)?,
            stem_bias: loader.tensor("visual.stem.0.bias", [stem_width], Init::Zeros)?,
            merge: loader.tensor("visual.stem.1.weight", [width, stem_width, 3, 3], merge_bound)?,
            merge_bias: loader.tensor("visual.stem.1.bias", [width], Init::Zeros)?,
            position: loader.tensor(
                "visual.position.weight",
                [GRID_CELLS, width],
                Init::Normal(0.02),
            )?,
            blocks,
            norm: Norm::load(loader, "visual.norm", width, EPSILON)?,
            head_inner: loader.linear("visual.cells.0", [width, width], true)?,
            head: loader.linear("visual.cells.1", [width, config.gen_channels], true)?,
            mean: loader.tensor("visual.cells.mean", [config.gen_channels], Init::Zeros)?,
            deviation: loader.tensor(
                "visual.cells.deviation",
                [config.gen_channels],
                Init::Ones,
            )?,
        })
    }

    /// Reads pictures into tokens, one a cell.
    ///
    /// # Shapes
    /// - pixels: `[batch, 3, 64, 64]`
    /// - output: `[batch, 64, width]`
    pub fn forward(&self, pixels: Tensor<4>, config: &ModelConfig) -> Tensor<3> {
        let batch = pixels.dims()[0];
        let stem = ConvOptions::new([4, 4], [0, 0], [1, 1], 1);
        let merge = ConvOptions::new([2, 2], [1, 1], [1, 1], 1);
        let x = gelu(conv2d(pixels, self.stem.val(), Some(self.stem_bias.val()), stem));
        let x = conv2d(x, self.merge.val(), Some(self.merge_bias.val()), merge);
        let x = x.reshape([batch, config.vision_hidden_size, GRID_CELLS]).swap_dims(1, 2);
        let mut x = x.add(self.position.val().unsqueeze());
        for block in &self.blocks {
            x = block.forward(x, GRID_CELLS, vision_heads(config), (&AttentionMask::full(), None));
        }
        self.norm.forward(x)
    }

    /// Reads the cells off the tokens, raw.
    pub fn read(&self, tokens: Tensor<3>) -> CellReading {
        CellReading { raw: self.head.forward(gelu(self.head_inner.forward(tokens))) }
    }

    /// The cells as generated: every channel of about zero mean and unit variance.
    ///
    /// # Shapes
    /// - tokens: `[batch, 64, width]`
    /// - output: `[batch, 64, channels]`
    pub fn features(&self, tokens: Tensor<3>) -> Tensor<3> {
        let plain = self.read(tokens).plain();
        plain.sub(self.mean.val().unsqueeze()).div(self.deviation.val().unsqueeze())
    }
}

impl Vision {
    /// The inverse of the scaling in [`Vision::features`]: generated cells in their own units.
    ///
    /// # Shapes
    /// - features and output: `[batch, 64, channels]`
    pub fn plain(&self, features: Tensor<3>) -> Tensor<3> {
        features.mul(self.deviation.val().unsqueeze()).add(self.mean.val().unsqueeze())
    }
}

impl CellReading {
    /// The logits or values of some channels.
    pub fn channels(&self, channels: Range<usize>) -> Tensor<3> {
        self.raw.clone().narrow(2, channels.start, channels.len())
    }

    /// The cells in their own units, what is said of an object weighted by its occupancy.
    ///
    /// # Shapes
    /// - output: `[batch, 64, channels]`
    pub fn plain(&self) -> Tensor<3> {
        let occupancy = sigmoid(self.channels(cells::OCCUPANCY));
        let shape = softmax(self.channels(cells::SHAPE), 2).mul(occupancy.clone());
        let object = self.channels(cells::COLOUR.start..cells::SIZE.end).mul(occupancy.clone());
        Tensor::cat(vec![occupancy, shape, object, self.channels(cells::BACKGROUND)], 2)
    }
}

/// Pictures as the encoder reads them: channels first, values in -1..1.
///
/// # Shapes
/// - pictures: each `64 * 64 * 3` bytes, row-major, red, green, blue
/// - output: `[batch, 3, 64, 64]`
pub fn pixels<'a>(pictures: impl ExactSizeIterator<Item = &'a [u8]>, device: &Device) -> Tensor<4> {
    let batch = pictures.len();
    let area = PICTURE_SIDE * PICTURE_SIDE;
    let mut values = Vec::with_capacity(batch * 3 * area);
    for picture in pictures {
        for channel in 0..3 {
            values.extend((0..area).map(|i| f32::from(picture[i * 3 + channel]) / 127.5 - 1.0));
        }
    }
    Tensor::from_data(TensorData::new(values, [batch, 3, PICTURE_SIDE, PICTURE_SIDE]), device)
}

fn vision_heads(config: &ModelConfig) -> Heads {
    let count = config.vision_heads;
    Heads { count, shared: count, width: config.vision_hidden_size / count }
}

const NAMES: LayerNames = LayerNames {
    attention_norm: "norm1",
    attention: ["attn.query", "attn.key", "attn.value"],
    out: "attn.proj",
    feed_norm: "norm2",
    feed: ["mlp.gate", "mlp.up", "mlp.down"],
};
