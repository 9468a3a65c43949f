//! EVA-CLIP's vision tower (arXiv 2303.15389), which makes the features that BLIP3o learns to draw.
//!
//! A plain transformer over patches and one class token: learned positions, norms after each
//! sub-layer. The features are those of the patches alone, averaged over squares. Sizes are read
//! off the tensors; heads alone leave no trace there.

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use burn::tensor::activation::gelu;
use burn::tensor::module::conv2d;
use burn::tensor::ops::ConvOptions;
use witan_adapter::fresh::Init;
use witan_adapter::tensor_files::TensorFiles;
use witan_adapter::tensors::WeightError;

use crate::kernels::attention;
use crate::layers::frozen::Frozen;
use crate::layers::loader::Loader;
use crate::layers::transformer::{AttentionMask, EPSILON, Heads, LayerNorm};

/// Pictures to features.
#[derive(Module, Debug)]
pub struct Eva {
    patch: Param<Tensor<4>>,
    patch_bias: Param<Tensor<1>>,
    class: Param<Tensor<3>>,
    position: Param<Tensor<3>>,
    blocks: Vec<Block>,
}

/// Sizes of an [`Eva`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EvaConfig {
    /// Width.
    pub hidden_size: usize,
    /// Pixels along one side of a patch.
    pub patch: usize,
    /// Patches of a picture.
    pub patches: usize,
    /// Blocks.
    pub layers: usize,
    /// Attention heads.
    pub heads: usize,
    /// Inner width of the feed-forward.
    pub intermediate_size: usize,
}

#[derive(Module, Debug)]
struct Block {
    projections: Frozen,
    out: Frozen,
    after_attention: LayerNorm,
    feed_inner: Frozen,
    feed: Frozen,
    after_feed: LayerNorm,
}

impl EvaConfig {
    /// Reads the sizes off a checkpoint's tensors; none if one of those is missing.
    pub fn of(files: &TensorFiles, heads: usize) -> Option<EvaConfig> {
        let axis = |name: &str, axis: usize| files.tensors().get(name)?.shape.get(axis).copied();
        let layer = |at: usize| axis(&format!("blocks.{at}.norm1.weight"), 0);
        Some(EvaConfig {
            hidden_size: axis("patch_embed.proj.weight", 0)?,
            patch: axis("patch_embed.proj.weight", 2)?,
            patches: axis("pos_embed", 1)?.checked_sub(1)?,
            layers: (0..).take_while(|at| layer(*at).is_some()).count(),
            heads,
            intermediate_size: axis("blocks.0.mlp.fc1.weight", 0)?,
        })
    }
}

impl Eva {
    /// Loads the tensors of the tower's own file.
    pub fn load(loader: &mut Loader, config: EvaConfig) -> Result<Eva, WeightError> {
        let EvaConfig { hidden_size: width, patch, patches, layers, .. } = config;
        let shape = [width, 3, patch, patch];
        let small = Init::Normal(0.02);
        let blocks = (0..layers).map(|at| Block::load(loader, at, config));
        Ok(Eva {
            blocks: blocks.collect::<Result<_, _>>()?,
            patch: loader.tensor("patch_embed.proj.weight", shape, small)?,
            patch_bias: loader.tensor("patch_embed.proj.bias", [width], Init::Zeros)?,
            class: loader.tensor("cls_token", [1, 1, width], small)?,
            position: loader.tensor("pos_embed", [1, 1 + patches, width], small)?,
        })
    }

    /// The features of every patch after the last block.
    ///
    /// # Shapes
    /// - pixels: `[batch, 3, side, side]`, normalised as CLIP's
    /// - output: `[batch, patches, width]`, row-major
    pub fn forward(&self, pixels: Tensor<4>, config: EvaConfig) -> Tensor<3> {
        let EvaConfig { hidden_size: width, patch, patches, heads, .. } = config;
        let batch = pixels.dims()[0];
        let stride = ConvOptions::new([patch, patch], [0, 0], [1, 1], 1);
        let x = conv2d(pixels, self.patch.val(), Some(self.patch_bias.val()), stride);
        let x = x.reshape([batch, width, patches]).swap_dims(1, 2);
        let class = self.class.val().repeat_dim(0, batch);
        let mut x = Tensor::cat(vec![class, x], 1).add(self.position.val());
        let heads = Heads { count: heads, shared: heads, width: width / heads };
        for block in &self.blocks {
            x = block.forward(x, heads);
        }
        x.narrow(1, 1, patches)
    }
}

/// Averages over squares of `square` patches a side: what BLIP3o's diffusion transformer makes.
///
/// # Shapes
/// - features: `[batch, side * side, width]`
/// - output: `[batch, (side / square)², width]`
pub fn pooled(features: Tensor<3>, square: usize) -> Tensor<3> {
    let [batch, patches, width] = features.dims();
    let side = patches.isqrt() / square;
    let squares = features.reshape([batch, side, square, side, square * width]).mean_dim(2);
    let squares = squares.reshape([batch, side * side, square, width]).mean_dim(2);
    squares.reshape([batch, side * side, width])
}

impl Block {
    fn load(loader: &mut Loader, at: usize, config: EvaConfig) -> Result<Block, WeightError> {
        let EvaConfig { hidden_size: width, intermediate_size: inner, .. } = config;
        let path = |name: &str| format!("blocks.{at}.{name}");
        Ok(Block {
            projections: loader.linear(&path("attn.qkv"), [width, 3 * width], true)?,
            out: loader.linear(&path("attn.proj"), [width, width], true)?,
            after_attention: LayerNorm::load(loader, &path("norm1"), width, EPSILON)?,
            feed_inner: loader.linear(&path("mlp.fc1"), [width, inner], true)?,
            feed: loader.linear(&path("mlp.fc2"), [inner, width], true)?,
            after_feed: LayerNorm::load(loader, &path("norm2"), width, EPSILON)?,
        })
    }

    fn forward(&self, x: Tensor<3>, heads: Heads) -> Tensor<3> {
        let all = heads.count * heads.width;
        let projected = self.projections.forward(x.clone());
        let vectors = [0, 1, 2].map(|index| projected.clone().narrow(2, index * all, all));
        let attended =
            attention(vectors, heads, &AttentionMask::full(), self.projections.precision);
        let attended = self.out.forward(attended);
        let x = x.add(self.after_attention.forward(attended));
        let fed = self.feed.forward(gelu(self.feed_inner.forward(x.clone())));
        x.add(self.after_feed.forward(fed))
    }
}
