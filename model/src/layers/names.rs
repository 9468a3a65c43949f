//! The names of a module's parameters.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::tensor::Tensor;
use witan_adapter::tensors::{HostTensor, Weights, transpose};

use crate::host::floats;

/// The parameter-to-name table a [`Loader`](super::loader::Loader) leaves behind.
#[derive(Clone, Debug, Default)]
pub struct Names(BTreeMap<ParamId, Slot>);

#[derive(Clone, Debug)]
struct Slot {
    name: String,
    transposed: bool,
}

impl Names {
    /// The id of a parameter's name, the same in every process, for an optimizer's moments. FNV-1a.
    pub(super) fn id(name: &str) -> ParamId {
        let mix = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        ParamId::from(name.bytes().fold(0xcbf2_9ce4_8422_2325, mix))
    }

    /// Enters a parameter, and whether the module keeps its tensor transposed.
    pub(super) fn insert(&mut self, id: ParamId, name: &str, transposed: bool) {
        self.0.insert(id, Slot { name: name.to_string(), transposed });
    }

    /// The values of the module's parameters whose name `wanted` accepts.
    pub fn collect(&self, module: &impl Module, wanted: fn(&str) -> bool) -> Weights {
        let mut collector = Collector { names: self, wanted, weights: Weights::new() };
        module.visit(&mut collector);
        collector.weights
    }

    /// The name of a parameter and whether it is kept transposed, if this table knows it.
    pub fn of(&self, id: ParamId) -> Option<(&str, bool)> {
        self.0.get(&id).map(|slot| (slot.name.as_str(), slot.transposed))
    }

    /// All names.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.values().map(|slot| slot.name.as_str())
    }
}

struct Collector<'a> {
    names: &'a Names,
    wanted: fn(&str) -> bool,
    weights: Weights,
}

impl ModuleVisitor for Collector<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let Some((name, transposed)) = self.names.of(param.id) else { return };
        if !(self.wanted)(name) {
            return;
        }
        let mut shape: Vec<usize> = param.val().dims().to_vec();
        let mut values = floats(param.val());
        if transposed {
            values = transpose(&values, shape[0], shape[1]);
            shape.reverse();
        }
        self.weights.insert(name.to_string(), HostTensor { shape, values });
    }
}
