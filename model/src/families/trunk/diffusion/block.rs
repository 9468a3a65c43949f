//! One block of the diffusion transformer.

use burn::module::{Module, Param};
use burn::tensor::Tensor;
use witan_adapter::tensors::WeightError;

use super::DiffusionConfig;
use super::rotary::rotate;
use crate::families::trunk::variant::Blocks;
use crate::kernels::attention;
use crate::layers::frozen::Frozen;
use crate::layers::loader::Loader;
use crate::layers::lora::LoraLinear;
use crate::layers::transformer::{AttentionMask, Beside, FeedForward, Heads, Norm, Projections};

#[derive(Module, Debug)]
pub(super) struct Block {
    modulation: Frozen,
    norm: Norm,
    self_attention: Projections,
    context_norm: Norm,
    cross_attention: Projections,
    gate: Param<Tensor<1>>,
    out: LoraLinear,
    feed_norm: Norm,
    feed_forward: FeedForward,
    /// Norms of what attention and the SwiGLU made.
    after: Option<[Norm; 2]>,
}

impl Block {
    pub(super) fn load(
        loader: &mut Loader,
        path: &str,
        config: &DiffusionConfig,
    ) -> Result<Block, WeightError> {
        let &DiffusionConfig { hidden_size: width, time, intermediate_size: inner, .. } = config;
        let at = |name: &str| format!("{path}.{name}");
        let &Blocks { has_all_norms, out, gate, epsilon, .. } = &config.variant.blocks;
        let projections = |loader: &mut Loader, name: &str| {
            let paths = ["to_q", "to_k", "to_v"].map(|map| at(&format!("{name}.{map}")));
            let norms = ["norm_q", "norm_k"].map(|norm| at(&format!("{name}.{norm}")));
            let beside = match has_all_norms {
                true => Beside::Norms(norms, epsilon),
                false => Beside::Nothing,
            };
            Projections::load(loader, paths, width, (config.attention(), beside))
        };
        let norm = |loader: &mut Loader, name: &str| Norm::load(loader, &at(name), width, epsilon);
        let feed = ["linear_1", "linear_3", "linear_2"];
        let feed = feed.map(|name| at(&format!("feed_forward.{name}")));
        Ok(Block {
            modulation: loader.zero_linear(&at("norm1.linear"), [time, 4 * width])?,
            norm: norm(loader, "norm1.norm")?,
            self_attention: projections(loader, "attn1")?,
            context_norm: norm(loader, "norm1_context")?,
            cross_attention: projections(loader, "attn2")?,
            gate: loader.tensor(&at("gate"), [config.heads], gate)?,
            out: loader.lora_linear(&at(out), [width, width])?,
            feed_norm: norm(loader, "ffn_norm1")?,
            feed_forward: FeedForward::load(loader, feed, [width, inner], false)?,
            after: match has_all_norms {
                true => Some([norm(loader, "norm2")?, norm(loader, "ffn_norm2")?]),
                false => None,
            },
        })
    }

    /// # Shapes
    /// - x and output: `[batch, places, width]`
    /// - context: `[batch, tokens, width]`
    /// - signal: `[batch, time]`
    pub(super) fn forward(
        &self,
        x: Tensor<3>,
        context: &Tensor<3>,
        signal: Tensor<2>,
        (angles, heads): (Option<&[Tensor<4>; 2]>, Heads),
    ) -> Tensor<3> {
        let [batch, places, width] = x.dims();
        let modulation = self.modulation.forward(signal).reshape([batch, 4, width]);
        let part = |index: usize| modulation.clone().narrow(1, index, 1);
        let rotated = |vectors: Tensor<3>| match angles {
            Some(angles) => rotate(vectors, angles, heads.width),
            None => vectors,
        };
        let after = |at: usize, x: Tensor<3>| match &self.after {
            Some(norms) => norms[at].forward(x),
            None => x,
        };
        let h = self.norm.forward(x.clone()).mul(part(0).add_scalar(1.0));
        let context = self.context_norm.forward(context.clone());
        let (mask, precision) = (AttentionMask::full(), self.self_attention.precision());
        let [query, key, value] = self.self_attention.project(h.clone(), h.clone(), heads);
        let own = attention([rotated(query), rotated(key), value], heads, &mask, precision);
        // The condition's tokens have no place.
        let [query, key, value] = self.cross_attention.project(h, context, heads);
        let cross = attention([rotated(query), key, value], heads, &mask, precision);
        let gate = self.gate.val().tanh().reshape([1, 1, heads.count, 1]);
        let cross = cross.reshape([batch, places, heads.count, heads.width]).mul(gate);
        let mixed = self.out.forward(own.add(cross.reshape([batch, places, width])));
        let x = x.add(after(0, mixed).mul(part(1).tanh()));
        let h = self.feed_norm.forward(x.clone()).mul(part(2).add_scalar(1.0));
        x.add(after(1, self.feed_forward.forward(h)).mul(part(3).tanh()))
    }
}
