//! What a strategy added to the frozen base (FedEx-LoRA): put in when a committed adapter is.
//!
//! The base as it was loaded is kept beside the network once something is added, so that the
//! weights after any round are the base plus that round's sum, whatever was loaded before. A
//! network nothing was added to pays nothing.

use witan_adapter::tensors::{HostTensor, Weights};
use witan_adapter::{AdapterError, Committed};

use crate::families::tiny::Umm;
use crate::host::tensor_of;

impl Umm {
    /// Puts what a round committed into the network: its adapter, and what its strategy added to
    /// the base.
    pub fn set_committed(&mut self, committed: &Committed) -> Result<(), AdapterError> {
        self.set_adapter(&committed.adapter)?;
        let residuals = committed.residuals();
        if residuals.is_empty() && self.untouched.is_empty() {
            return Ok(());
        }
        if self.untouched.is_empty() {
            let base = self.adapted.collect(|name| name.ends_with(".weight"));
            let path = |name: &String| name.strip_suffix(".weight").map(str::to_string);
            let touched = base
                .into_iter()
                .filter(|(name, _)| path(name).is_some_and(|path| residuals.contains_key(&path)));
            self.untouched = touched.collect();
        }
        self.set_base(&residuals);
        Ok(())
    }

    /// Every touched layer's weight becomes base + scale·residual; of the token embeddings only the
    /// rows that are read, not the tied output head, as their adapter does.
    fn set_base(&mut self, residuals: &Weights) {
        let mut weights = Weights::new();
        let device = self.adapted.network.device();
        for (name, base) in &self.untouched {
            let path = name.strip_suffix(".weight").expect("only weights are touched");
            let residual = residuals.get(path).map(|residual| scaled(residual, self.scale));
            if path.ends_with("embed_tokens") {
                let rows = residual.map(|residual| tensor_of(&residual, true, &device));
                self.adapted.network.trunk.language.shift_tokens(rows);
                continue;
            }
            let mut tensor = base.clone();
            for (value, added) in
                tensor.values.iter_mut().zip(residual.iter().flat_map(|residual| &residual.values))
            {
                *value += added;
            }
            weights.insert(name.clone(), tensor);
        }
        self.adapted.put(&weights);
    }
}

fn scaled(tensor: &HostTensor, scale: f64) -> HostTensor {
    let values = tensor.values.iter().map(|value| (f64::from(*value) * scale) as f32).collect();
    HostTensor { shape: tensor.shape.clone(), values }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Device;
    use crate::families::tiny::base::Base;
    use crate::host::floats;
    use witan_adapter::Adapter;
    use witan_adapter::LoraConfig;
    use witan_adapter::Strategy;
    use witan_adapter::strategy::layers;
    use witan_adapter::tensors::encode;

    #[test]
    fn what_was_added_is_read_and_taken_away_again() {
        let (base, lora) = (Base::embedded(), LoraConfig::default());
        let mut umm = Umm::new(&base, &lora, &Device::flex()).unwrap();
        let weight = "model.layers.0.self_attn.q_proj.weight";
        let rows = |umm: &Umm| floats(umm.adapted.network.trunk.language.table());
        let whole = |umm: &Umm| umm.adapted.collect(|name| name.ends_with(".weight"));
        let adapter = Adapter::init(&base.adaptable(), &lora, 1);
        let plain = Committed::plain(adapter.clone());
        umm.set_committed(&plain).unwrap();
        let (rows_before, before) = (rows(&umm), whole(&umm));
        let mut whole_blob = adapter.tensors().clone();
        for layer in layers(&adapter) {
            let outputs = adapter.tensors()[&layer.b].shape[0];
            let shape = vec![outputs, adapter.tensors()[&layer.a].shape[1]];
            let mut values = vec![0.0; shape.iter().product()];
            if ["model.layers.0.self_attn.q_proj", "model.embed_tokens"].contains(&&layer.path[..])
            {
                values[1] = 0.25;
            }
            whole_blob.insert(format!("residual.{}", layer.path), HostTensor { shape, values });
        }
        let committed = Committed::from_bytes(&encode(&whole_blob), &adapter, &Strategy::FedEx);
        umm.set_committed(&committed.unwrap()).unwrap();
        let mut expected = before.clone();
        expected.get_mut(weight).unwrap().values[1] += 0.5;
        assert_eq!(whole(&umm), expected, "and the tied output head as it was");
        // [width, tokens] is added to rows of [tokens, width]: number 1 is token 1, first column.
        let mut expected = rows_before.clone();
        expected[umm.config.hidden_size] += 0.5;
        assert_eq!(rows(&umm), expected);
        umm.set_committed(&plain).unwrap();
        assert_eq!((rows(&umm), whole(&umm)), (rows_before, before));
    }
}
