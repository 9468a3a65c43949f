//! What a model and an adapter of it weigh, part by part, from names and shapes alone.

use crate::blip3o::{Blip3oConfig, Network};
use crate::checkpoint::Base;
use crate::config::LoraConfig;
use crate::delta::Codec;
use crate::memory::{Demand, Memory, Trainee};
use crate::umm::trunk::TrunkConfig;

/// The configurations this program knows by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preset {
    /// The embedded model.
    Tiny,
    /// BLIP3o-Model-4B.
    Blip3o4b,
    /// BLIP3o-Model-8B.
    Blip3o8b,
}

/// Equal layers, or tensors that belong together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The path they share.
    pub name: String,
    /// How many layers there are.
    pub layers: usize,
    /// Numbers of all layers.
    pub numbers: usize,
    /// Numbers of the adapters of all layers.
    pub adapter_numbers: usize,
}

/// Bytes of an adapter as it may travel, and of the whole model in the same format.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Traffic {
    /// How the numbers are written.
    pub codec: Codec,
    /// The adapter's.
    pub adapter_bytes: usize,
    /// The model's.
    pub model_bytes: usize,
}

impl Preset {
    /// All of them, smallest first.
    pub const ALL: [Preset; 3] = [Preset::Tiny, Preset::Blip3o4b, Preset::Blip3o8b];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Preset::Tiny => "tiny",
            Preset::Blip3o4b => "blip3o-4b",
            Preset::Blip3o8b => "blip3o-8b",
        }
    }

    /// The name and shape of every tensor.
    pub fn tensors(self) -> Vec<(String, Vec<usize>)> {
        match self.blip3o() {
            Some(blip3o) => Network::tensors(&blip3o),
            None => {
                let base = Base::embedded();
                let tensors = base.weights().iter();
                tensors.map(|(name, tensor)| (name.clone(), tensor.shape.clone())).collect()
            }
        }
    }

    /// The sizes of what reads and what draws.
    pub fn trunk(self) -> TrunkConfig {
        match self.blip3o() {
            Some(blip3o) => blip3o.trunk,
            None => Base::embedded().config().trunk(),
        }
    }

    /// The sizes of all of it, if it is a BLIP3o.
    pub fn blip3o(self) -> Option<Blip3oConfig> {
        match self {
            Preset::Tiny => None,
            Preset::Blip3o4b => Some(Blip3oConfig::released_4b()),
            Preset::Blip3o8b => Some(Blip3oConfig::released_8b()),
        }
    }

    /// Bytes of a number as it is stored: the released models' in bf16.
    pub fn number_bytes(self) -> usize {
        match self {
            Preset::Tiny => 4,
            Preset::Blip3o4b | Preset::Blip3o8b => 2,
        }
    }

    /// What one step of LoRA holds in memory.
    pub fn training(self, lora: &LoraConfig, demand: Demand) -> Memory {
        let (tensors, trunk) = (self.tensors(), self.trunk());
        let numbers: usize = tensors.iter().map(|(_, shape)| shape.iter().product::<usize>()).sum();
        let trainee = Trainee {
            tensors: &tensors,
            stored_bytes: (numbers * self.number_bytes()) as u64,
            language: &trunk.language,
            trunk: Some(&trunk),
        };
        trainee.training(lora, demand)
    }

    /// Adapters to compare, each with what it adapts: for `tiny` the default of a federation; for BLIP3o FedUMM's
    /// (queries, keys and values of the language model) and wider ones.
    pub fn adapters(self) -> Vec<(&'static str, LoraConfig)> {
        let wide = |targets: &[&str]| LoraConfig {
            rank: 16,
            alpha: 32.0,
            dropout: 0.0,
            targets: targets.iter().map(|target| target.to_string()).collect(),
        };
        match self {
            Preset::Tiny => vec![("every linear layer and the embeddings", LoraConfig::default())],
            Preset::Blip3o4b | Preset::Blip3o8b => vec![
                ("q, k, v of the language model", wide(&ATTENTION[..3])),
                ("its attention and diffusion's", wide(&ATTENTION)),
                ("those, and every gate, up, down", wide(&[&ATTENTION[..], &FEED].concat())),
            ],
        }
    }
}

/// The parts of a model, in order of their first tensor, with the adapters that `lora` gives them.
pub fn parts(tensors: &[(String, Vec<usize>)], lora: &LoraConfig) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    let mut seen: Vec<(String, String)> = Vec::new();
    for (name, shape) in tensors {
        let (part, layer) = part_of(name);
        let at = parts.iter().position(|it| it.name == part).unwrap_or_else(|| {
            parts.push(Part { name: part.clone(), layers: 0, numbers: 0, adapter_numbers: 0 });
            parts.len() - 1
        });
        if !seen.iter().any(|it| it.0 == part && it.1 == layer) {
            parts[at].layers += 1;
            seen.push((part, layer));
        }
        parts[at].numbers += shape.iter().product::<usize>();
        parts[at].adapter_numbers += adapter_numbers(name, shape, lora);
    }
    parts
}

/// What the adapter of one tensor holds: `rank` rows of its inputs and columns of its outputs.
pub fn adapter_numbers(name: &str, shape: &[usize], lora: &LoraConfig) -> usize {
    match (name.strip_suffix(".weight"), shape) {
        (Some(path), [outputs, inputs]) if lora.adapts(path) => lora.rank * (inputs + outputs),
        _ => 0,
    }
}

/// The bytes of an adapter in each format it can travel in.
pub fn traffic(parts: &[Part]) -> [Traffic; 3] {
    let adapter: usize = parts.iter().map(|part| part.adapter_numbers).sum();
    let model: usize = parts.iter().map(|part| part.numbers).sum();
    [Codec::Float32, Codec::Bf16, Codec::Int8].map(|codec| Traffic {
        codec,
        adapter_bytes: codec.bytes(adapter),
        model_bytes: codec.bytes(model),
    })
}

/// The part a tensor belongs to, and its layer there.
fn part_of(name: &str) -> (String, String) {
    for layers in [".layers.", ".blocks."] {
        if let Some((head, rest)) = name.split_once(layers) {
            let layer = rest.split('.').next().unwrap_or_default();
            return (format!("{head}{layers}*"), layer.to_owned());
        }
    }
    let mut steps = name.split('.');
    let first = steps.next().unwrap_or_default();
    match (first, steps.next()) {
        ("model", Some(second)) => (format!("model.{second}"), String::new()),
        _ => (first.to_owned(), String::new()),
    }
}

/// Every linear layer of the attention of BLIP3o's language model and diffusion transformer.
pub const ATTENTION: [&str; 8] =
    ["q_proj", "k_proj", "v_proj", "o_proj", "to_q", "to_k", "to_v", "to_out.0"];
const FEED: [&str; 3] = ["gate_proj", "up_proj", "down_proj"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapter::Adapter;

    #[test]
    fn the_parts_of_a_model_are_all_of_it() {
        let (base, lora) = (Base::embedded(), LoraConfig::default());
        let parts = parts(&Preset::Tiny.tensors(), &lora);
        let sum = |number: fn(&Part) -> usize| parts.iter().map(number).sum::<usize>();
        assert_eq!(sum(|part| part.numbers), base.parameter_count());
        let adapter = Adapter::init(&base.adaptable(), &lora, 1);
        assert_eq!(sum(|part| part.adapter_numbers), adapter.parameter_count());
        let layers = parts.iter().find(|part| part.name == "model.layers.*").unwrap();
        assert_eq!(layers.layers, base.config().num_hidden_layers);
    }

    #[test]
    fn fedumms_adapter_of_blip3o_is_a_thousandth_of_the_model() {
        let (preset, wanted) = (Preset::Blip3o4b, 36 * 16 * (2048 * 3 + 2048 + 256 + 256));
        let (_, lora) = &preset.adapters()[0];
        let [plain, half, byte] = traffic(&parts(&preset.tensors(), lora));
        assert_eq!(plain.adapter_bytes, 4 * wanted);
        assert_eq!(half.adapter_bytes, 2 * wanted);
        assert!(byte.adapter_bytes > wanted && byte.adapter_bytes < wanted * 102 / 100);
        assert_eq!(plain.model_bytes / plain.adapter_bytes, 1_020);
    }

    #[test]
    fn every_preset_sends_less_than_a_tenth_of_its_model() {
        for preset in Preset::ALL {
            for (what, lora) in preset.adapters() {
                for traffic in traffic(&parts(&preset.tensors(), &lora)) {
                    let ratio = traffic.model_bytes / traffic.adapter_bytes;
                    assert!(ratio >= 10, "{} {what}: {ratio}", preset.name());
                }
            }
        }
    }
}
