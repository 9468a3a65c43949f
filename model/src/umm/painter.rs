//! The painter: semantic cells to pixels.
//!
//! Every cell sees its eight neighbours and says which of its pixels belong to the object, which colour the
//! object has, and which the background. Flat colours and crisp edges follow from that form.

use burn::module::{Module, Param};
use burn::nn::Linear;
use burn::tensor::Tensor;
use burn::tensor::activation::{gelu, sigmoid};
use burn::tensor::module::conv2d;
use burn::tensor::ops::ConvOptions;

use super::weights::{Init, Loader, WeightError};
use crate::config::{CELL_PIXELS, GRID_CELLS, GRID_SIDE, ModelConfig};

/// One 3x3 convolution and two linear layers over each cell.
#[derive(Module, Debug)]
pub struct Painter {
    neighbours: Param<Tensor<4>>,
    neighbours_bias: Param<Tensor<1>>,
    inner: Linear,
    out: Linear,
}

/// What the painter says of every pixel of every cell.
pub struct Painting {
    /// Logit that the pixel belongs to the object: `[batch, 64, cell pixels, 1]`.
    pub mask: Tensor<4>,
    /// Red, green and blue in 0..1: `[batch, 64, cell pixels, 3]`.
    pub colours: Tensor<4>,
}

impl Painter {
    /// Loads the tensors below `painter.`.
    pub fn load(loader: &mut Loader, config: &ModelConfig) -> Result<Painter, WeightError> {
        let [channels, inner] = [config.gen_channels, config.painter_hidden_size];
        let bound = Init::Uniform((1.0 / (channels * 9) as f32).sqrt());
        let outputs = CELL_PIXELS * CELL_PIXELS + 6;
        Ok(Painter {
            neighbours: loader.tensor("painter.0.weight", [inner, channels, 3, 3], bound)?,
            neighbours_bias: loader.tensor("painter.0.bias", [inner], Init::Zeros)?,
            inner: loader.linear("painter.1", [inner, inner], true)?,
            out: loader.linear("painter.2", [inner, outputs], true)?,
        })
    }

    /// Paints every cell.
    ///
    /// # Shapes
    /// - features: `[batch, 64, channels]`
    pub fn forward(&self, features: Tensor<3>) -> Painting {
        let [batch, _, channels] = features.dims();
        let pixels = CELL_PIXELS * CELL_PIXELS;
        let grid = features.swap_dims(1, 2).reshape([batch, channels, GRID_SIDE, GRID_SIDE]);
        let options = ConvOptions::new([1, 1], [1, 1], [1, 1], 1);
        let x = conv2d(grid, self.neighbours.val(), Some(self.neighbours_bias.val()), options);
        let inner = x.dims()[1];
        let x = gelu(x.reshape([batch, inner, GRID_CELLS]).swap_dims(1, 2));
        let x = self.out.forward(gelu(self.inner.forward(x)));
        let mask = x.clone().narrow(2, 0, pixels).reshape([batch, GRID_CELLS, pixels, 1]);
        let object = x.clone().narrow(2, pixels, 3).reshape([batch, GRID_CELLS, 1, 3]);
        let ground = x.narrow(2, pixels + 3, 3).reshape([batch, GRID_CELLS, 1, 3]);
        let colours = ground.clone().add(sigmoid(mask.clone()).mul(object.sub(ground)));
        Painting { mask, colours }
    }
}

/// The index in a row-major picture of 64 by 64 pixels of pixel `pixel` of cell `cell`.
pub fn pixel_index(cell: usize, pixel: usize) -> usize {
    let row = cell / GRID_SIDE * CELL_PIXELS + pixel / CELL_PIXELS;
    let column = cell % GRID_SIDE * CELL_PIXELS + pixel % CELL_PIXELS;
    row * GRID_SIDE * CELL_PIXELS + column
}
