//! Known models by name, whose sizes are enough to say what adapters and training take.

use witan_adapter::LoraConfig;

use crate::families::blip3o::{Blip3oConfig, Network};
use crate::families::tiny::base::Base;
use crate::families::trunk::TrunkConfig;
use crate::inspect::memory::{Memory, ModelShape, StepShape};

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

    /// An estimate of the memory of one step of LoRA training.
    pub fn training(self, lora: &LoraConfig, step: StepShape) -> Memory {
        let (tensors, trunk) = (self.tensors(), self.trunk());
        let numbers: usize = tensors.iter().map(|(_, shape)| shape.iter().product::<usize>()).sum();
        let model = ModelShape {
            tensors: &tensors,
            stored_bytes: (numbers * self.number_bytes()) as u64,
            language: &trunk.language,
            trunk: Some(&trunk),
        };
        model.training(lora, step)
    }

    /// Adapters to compare, each with what it adapts: for `tiny` the default of a federation; for
    /// BLIP3o FedUMM's (queries, keys and values of the language model) and wider ones.
    pub fn adapters(self) -> Vec<(&'static str, LoraConfig)> {
        let wide = |targets: &[&str]| adapting(targets, 16);
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

/// The LoRA of this rank on these layers, without dropout.
pub(super) fn adapting(targets: &[&str], rank: usize) -> LoraConfig {
    let targets = targets.iter().map(|target| target.to_string()).collect();
    LoraConfig { rank, alpha: 2.0 * rank as f64, dropout: 0.0, targets }
}

/// Every linear layer of the attention of BLIP3o's language model and diffusion transformer.
pub const ATTENTION: [&str; 8] =
    ["q_proj", "k_proj", "v_proj", "o_proj", "to_q", "to_k", "to_v", "to_out.0"];
const FEED: [&str; 3] = ["gate_proj", "up_proj", "down_proj"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::parts::{Part, parts, traffic};
    use witan_adapter::Adapter;

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
