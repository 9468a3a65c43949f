//! The embedded model: one small network that answers questions about pictures and draws captions.
//!
//! Follows BLIP3o: vision encoder, projector, decoder-only language model, learnable image queries,
//! a flow-matching transformer over the vision encoder's own semantic features, and a painter for
//! the pixels. Everything but the adapter is frozen once a [`Base`] is loaded.

pub mod base;
pub mod cells;
pub mod config;
mod generate;
pub mod painter;
mod patches;
mod residual;
pub mod shard;
pub(crate) mod training;
pub mod variant;
pub mod vision;

use burn::module::Module;
use burn::tensor::activation::gelu;
use burn::tensor::{Device, Tensor};
use witan_adapter::tensors::{WeightError, Weights};
use witan_adapter::{Adapter, AdapterError, LoraConfig};
use witan_data::tokenizer::Tokenizer;

use crate::families::tiny::base::{Base, BaseError};
use crate::families::tiny::cells::MERGE;
use crate::families::tiny::config::ModelConfig;
use crate::families::trunk::Trunk;
use crate::layers::adapted::Adapted;
use crate::layers::frozen::Frozen;
use crate::layers::loader::Loader;
use crate::precision::WeightFormat;

/// All weights of the model as Burn modules.
#[derive(Module, Debug)]
pub struct Network {
    /// Pixels to tokens and cells; always frozen after pre-training.
    pub vision: vision::Vision,
    projector_inner: Frozen,
    projector: Frozen,
    /// What answers and draws.
    pub trunk: Trunk,
    /// Cells to pixels; always frozen after pre-training.
    pub painter: painter::Painter,
}

impl Network {
    /// Builds the network out of a loader's tensors.
    pub fn load(loader: &mut Loader, config: &ModelConfig) -> Result<Network, WeightError> {
        let width = config.hidden_size;
        let merged = config.vision_hidden_size * MERGE * MERGE;
        Ok(Network {
            vision: vision::Vision::load(loader, config)?,
            projector_inner: loader.linear("model.mm_projector.0", [merged, width], true)?,
            projector: loader.linear("model.mm_projector.2", [width, width], true)?,
            trunk: Trunk::load(loader, &config.trunk())?,
            painter: painter::Painter::load(loader, config)?,
        })
    }

    /// Where its weights lie; what is made there records gradients if they do.
    pub fn device(&self) -> Device {
        self.trunk.device()
    }

    /// Projects merged vision tokens into the language model's width.
    ///
    /// # Shapes
    /// - merged: `[batch, 16, 4 * vision]`
    /// - output: `[batch, 16, hidden]`
    pub fn project(&self, merged: Tensor<3>) -> Tensor<3> {
        self.projector.forward(gelu(self.projector_inner.forward(merged)))
    }
}

/// A loaded base with room for an adapter: what a member trains, asks and draws with.
#[derive(Debug)]
pub struct Umm {
    pub(crate) config: ModelConfig,
    pub(crate) tokenizer: Tokenizer,
    pub(crate) adapted: Adapted<Network>,
    scale: f64,
    /// Weights of the base that a strategy adds to, as they were loaded; none until it does.
    untouched: Weights,
}

impl Umm {
    /// Loads a base onto a device and adds adapters that change nothing until [`Umm::set_adapter`].
    pub fn new(base: &Base, lora: &LoraConfig, device: &Device) -> Result<Umm, BaseError> {
        Umm::keeping(base, lora, WeightFormat::Float32, device)
    }

    /// The same with the base's matrices kept so.
    pub fn keeping(
        base: &Base,
        lora: &LoraConfig,
        kept: WeightFormat,
        device: &Device,
    ) -> Result<Umm, BaseError> {
        let device = device.clone().autodiff();
        let loader = Loader::from_weights(base.weights().clone(), &device).keeping(kept);
        let load = |loader: &mut Loader| Network::load(loader, base.config());
        let adapted = Adapted::load(loader, Some(lora), load)?;
        let (config, scale) = (base.config().clone(), lora.scale());
        Ok(Umm { config, tokenizer: Tokenizer::new(), adapted, scale, untouched: Weights::new() })
    }

    /// Puts an adapter into the network; it must have the names and shapes of this model's adapter.
    pub fn set_adapter(&mut self, adapter: &Adapter) -> Result<(), AdapterError> {
        self.adapted.set(adapter)
    }

    /// The adapter now in the network.
    pub fn adapter(&self) -> Adapter {
        self.adapted.adapter()
    }

    /// The sizes of the model.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// The words the model knows.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// The network without gradients.
    pub(crate) fn frozen(&self) -> Network {
        self.adapted.network.valid()
    }
}

#[cfg(test)]
mod tests;
