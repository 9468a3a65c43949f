//! A network with room for an adapter.

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::Tensor;
use witan_adapter::tensors::{WeightError, Weights};
use witan_adapter::{Adapter, AdapterError, LoraConfig};

use crate::host::tensor_of;
use crate::layers::loader::Loader;
use crate::layers::lora::Dropout;
use crate::layers::names::Names;

/// A loaded network, the names of its tensors, and the shapes of its adapter.
#[derive(Debug)]
pub struct Adapted<M> {
    /// Records gradients; [`Module::valid`] gives the one that does not.
    pub(crate) network: M,
    pub(crate) names: Names,
    pub(crate) dropout: Dropout,
    zero: Adapter,
}

impl<M: Module> Adapted<M> {
    /// Builds a network, with an adapter that changes nothing if `lora` names one.
    pub(crate) fn load(
        mut loader: Loader,
        lora: Option<&LoraConfig>,
        load: impl FnOnce(&mut Loader) -> Result<M, WeightError>,
    ) -> Result<Adapted<M>, WeightError> {
        if let Some(lora) = lora {
            loader = loader.with_lora(lora).training(&[ADAPTER]);
        }
        let network = load(&mut loader)?;
        let (dropout, names) = (loader.dropout(), loader.into_names());
        let zero = Adapter::from_tensors(names.collect(&network, is_adapter));
        Ok(Adapted { network, names, dropout, zero })
    }

    /// Puts an adapter in; it must have the names and shapes of this network's.
    pub(crate) fn set(&mut self, adapter: &Adapter) -> Result<(), AdapterError> {
        adapter.check_like(&self.zero)?;
        adapter.check_finite()?;
        self.put(adapter.tensors());
        Ok(())
    }

    /// Replaces the named tensors; the others stay.
    pub(crate) fn put(&mut self, weights: &Weights) {
        let mut setter = Setter { names: &self.names, weights };
        self.network = self.network.clone().map(&mut setter);
    }

    /// The adapter now in.
    pub(crate) fn adapter(&self) -> Adapter {
        Adapter::from_tensors(self.collect(is_adapter))
    }

    /// The tensors whose name `wanted` accepts.
    pub(crate) fn collect(&self, wanted: fn(&str) -> bool) -> Weights {
        self.names.collect(&self.network, wanted)
    }
}

struct Setter<'a> {
    names: &'a Names,
    weights: &'a Weights,
}

impl ModuleMapper for Setter<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some((name, transposed)) = self.names.of(param.id) else { return param };
        let Some(host) = self.weights.get(name) else { return param };
        let gradient = param.is_require_grad();
        param.map(|tensor| tensor_of(host, transposed, &tensor.device()).set_require_grad(gradient))
    }
}

fn is_adapter(name: &str) -> bool {
    name.starts_with(ADAPTER)
}

/// First part of every adapter tensor's name.
const ADAPTER: &str = "base_model.";
