//! The unified multimodal model: one network that answers questions about pictures and draws captions.
//!
//! Follows BLIP3o: vision encoder, projector, decoder-only language model, learnable image queries, a
//! flow-matching transformer over the vision encoder's own semantic features, and a painter for the pixels.
//! Everything but the adapter is frozen once a [`Base`] is loaded.

pub mod cells;
pub mod diffusion;
pub mod eva;
pub mod language;
pub mod layers;
pub mod lumina;
pub mod objective;
pub mod painter;
pub mod qwen_vision;
mod residual;
pub mod vision;
pub mod weights;

use burn::module::{Module, ModuleMapper, Param};
use burn::nn::Linear;
use burn::tensor::activation::gelu;
use burn::tensor::{Device, Tensor};

use crate::adapter::{Adapter, AdapterError};
use crate::checkpoint::{Base, BaseError};
use crate::config::{LoraConfig, MERGE, ModelConfig};
use crate::data::tokenizer::Tokenizer;
use weights::{Init, Loader, Names, WeightError, Weights, tensor_of};

/// All weights of the model as Burn modules.
#[derive(Module, Debug)]
pub struct Network {
    /// Pixels to tokens and cells; always frozen after pre-training.
    pub vision: vision::Vision,
    projector_inner: Linear,
    projector: Linear,
    /// The language model.
    pub language: language::Language,
    /// The learnable image queries: `[queries, hidden]`.
    pub latent_queries: Param<Tensor<2>>,
    /// The flow-matching transformer.
    pub diffusion: diffusion::Diffusion,
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
            language: language::Language::load(loader, &config.language())?,
            latent_queries: loader.tensor(
                "model.latent_queries",
                [config.n_query, width],
                Init::Normal(0.1),
            )?,
            diffusion: diffusion::Diffusion::load(loader, config)?,
            painter: painter::Painter::load(loader, config)?,
        })
    }

    /// Where its weights lie; what is made there records gradients if they do.
    pub(crate) fn device(&self) -> Device {
        self.latent_queries.val().device()
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
    /// Records gradients; [`Module::valid`] gives the one that does not.
    pub(crate) network: Network,
    pub(crate) names: Names,
    zero: Adapter,
    scale: f64,
    /// Weights of the base that a strategy adds to, as they were loaded; none until it does.
    untouched: Weights,
}

impl Umm {
    /// Loads a base onto a device and adds adapters that change nothing until [`Umm::set_adapter`].
    pub fn new(base: &Base, lora: &LoraConfig, device: &Device) -> Result<Umm, BaseError> {
        let device = device.clone().autodiff();
        let mut loader = Loader::from_weights(base.weights().clone(), &device)
            .with_lora(lora)
            .training(&[ADAPTER]);
        let network = Network::load(&mut loader, base.config())?;
        let names = loader.into_names();
        let zero = Adapter::from_tensors(names.collect(&network, is_adapter));
        let tokenizer = Tokenizer::new();
        let (config, scale) = (base.config().clone(), lora.scale());
        Ok(Umm { config, tokenizer, network, names, zero, scale, untouched: Weights::new() })
    }

    /// Puts an adapter into the network; it must have the names and shapes of this model's adapter.
    pub fn set_adapter(&mut self, adapter: &Adapter) -> Result<(), AdapterError> {
        adapter.check_like(&self.zero)?;
        adapter.check_finite()?;
        let mut setter = Setter { names: &self.names, weights: adapter.tensors() };
        self.network = self.network.clone().map(&mut setter);
        Ok(())
    }

    /// The adapter now in the network.
    pub fn adapter(&self) -> Adapter {
        Adapter::from_tensors(self.names.collect(&self.network, is_adapter))
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
        self.network.valid()
    }
}

/// Puts named tensors into a module; whoever is not named stays.
pub(crate) struct Setter<'a> {
    pub(crate) names: &'a Names,
    pub(crate) weights: &'a Weights,
}

impl ModuleMapper for Setter<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some((name, transposed)) = self.names.of(param.id) else { return param };
        let Some(host) = self.weights.get(name) else { return param };
        let gradient = param.is_require_grad();
        param.map(|tensor| tensor_of(host, transposed, &tensor.device()).set_require_grad(gradient))
    }
}

pub(crate) fn is_adapter(name: &str) -> bool {
    name.starts_with(ADAPTER)
}

/// First part of every adapter tensor's name.
pub(crate) const ADAPTER: &str = "base_model.";
