//! BLIP3o as it is released: Qwen2.5-VL, which reads, image queries, and Lumina-Next, which draws
//! features of EVA-CLIP.
//!
//! Follows BLIP3o (arXiv 2505.09568) and the layout of BLIP3o-Model-4B and -8B. What paints pixels
//! from the features is an SDXL in files of its own, and no part of this program.

pub mod error;
pub mod eva;
pub mod pixels;
pub mod prompt;
pub mod shard;
pub mod targets;
pub mod tower;
pub mod training;
mod unified;
pub mod variant;
pub mod vision;

use burn::module::Module;
use serde_json::{Map, Value};
use witan_adapter::tensor_files::TensorFiles;
use witan_adapter::tensors::WeightError;

use crate::families::blip3o::vision::{QwenVision, QwenVisionConfig};
use crate::families::language::config::{
    ConfigProblem, Family, LanguageConfig, LanguageConfigError, number, part,
};
use crate::families::trunk::diffusion::DiffusionConfig;
use crate::families::trunk::{Trunk, TrunkConfig};
use crate::layers::loader::{Listed, Loader};
pub use shard::{Reader, Shard};
pub use targets::Targets;
pub use unified::{Blip3o, Seen};

/// Sizes of a BLIP3o model.
#[derive(Clone, Debug, PartialEq)]
pub struct Blip3oConfig {
    /// What reads pictures.
    pub vision: QwenVisionConfig,
    /// What answers and draws.
    pub trunk: TrunkConfig,
    /// The token that stands for each token of a picture.
    pub image_token: u32,
}

/// The weights of a BLIP3o model as Burn modules.
#[derive(Module, Debug)]
pub struct Network {
    /// Patches of pictures to tokens.
    pub vision: QwenVision,
    /// What answers and draws.
    pub trunk: Trunk,
}

impl Blip3oConfig {
    /// BLIP3o-Model-4B: Qwen2.5-VL-3B with three added tokens.
    pub fn released_4b() -> Blip3oConfig {
        let language = LanguageConfig {
            family: Family::Qwen2,
            vocab_size: 151_668,
            hidden_size: 2048,
            intermediate_size: 11008,
            num_hidden_layers: 36,
            num_attention_heads: 16,
            num_key_value_heads: 2,
            head_dim: 128,
            rope_theta: 1_000_000,
            mrope_section: Some([16, 24, 24]),
            rms_norm_eps: 1e-6,
            tie_word_embeddings: true,
        };
        Blip3oConfig::of(language)
    }

    /// BLIP3o-Model-8B: Qwen2.5-VL-7B with three added tokens.
    pub fn released_8b() -> Blip3oConfig {
        Blip3oConfig::of(LanguageConfig {
            hidden_size: 3584,
            intermediate_size: 18944,
            num_hidden_layers: 28,
            num_attention_heads: 28,
            num_key_value_heads: 4,
            tie_word_embeddings: false,
            ..Blip3oConfig::released_4b().trunk.language
        })
    }

    /// Reads `config.json`, and from the files' headers the sizes that it leaves out.
    pub fn read(config: &[u8], files: &TensorFiles) -> Result<Blip3oConfig, LanguageConfigError> {
        let own: Map<String, Value> =
            serde_json::from_slice(config).map_err(ConfigProblem::Json)?;
        let mut whole = Blip3oConfig::of(LanguageConfig::from_hugging_face(config)?);
        let LanguageConfig { hidden_size: width, vocab_size, .. } = whole.trunk.language;
        let unlike = |key, expected| move |found| ConfigProblem::Key { key, found, expected };
        let (key, expected) = ("n_query", "a square number from 1 to 4096");
        let queries = number(&own, key, whole.trunk.queries, &(1..=QUERIES_MAX))
            .and_then(|count| match count.isqrt().pow(2) == count {
                true => Ok(count),
                false => Err(count.into()),
            })
            .map_err(unlike(key, expected))?;
        whole.trunk.queries = queries;
        // A drawing has as many places as queries.
        if let Some(sizes) = DiffusionConfig::of(files) {
            if !sizes.shares_out() {
                let DiffusionConfig { hidden_size: width, heads, keys, .. } = sizes;
                return Err(ConfigProblem::Drawing { width, heads, keys }.into());
            }
            whole.trunk.diffusion = DiffusionConfig { places: queries, condition: width, ..sizes };
        }
        if let Some(vision) = part(&own, "vision_config")? {
            let vision = QwenVisionConfig::read(vision)?;
            whole.vision = QwenVisionConfig { out_hidden_size: width, ..vision };
        }
        let (key, expected) = ("image_token_id", "a token of the vocabulary, not its first");
        let image = number(&own, key, whole.image_token as usize, &(1..=vocab_size - 1));
        whole.image_token = image.map_err(unlike(key, expected))? as u32;
        Ok(whole)
    }

    fn of(language: LanguageConfig) -> Blip3oConfig {
        let width = language.hidden_size;
        let diffusion = DiffusionConfig::released(width);
        Blip3oConfig {
            vision: QwenVisionConfig::released(width),
            trunk: TrunkConfig { language, queries: 64, diffusion },
            image_token: 151_655,
        }
    }
}

impl Network {
    /// Builds the network out of a loader's tensors.
    pub fn load(loader: &mut Loader, config: &Blip3oConfig) -> Result<Network, WeightError> {
        let vision = QwenVision::load(loader, &config.vision)?;
        Ok(Network { vision, trunk: Trunk::load(loader, &config.trunk)? })
    }

    /// The name and shape of every tensor. The tower that makes training targets and the pixel
    /// decoder have files of their own.
    pub fn tensors(config: &Blip3oConfig) -> Vec<(String, Vec<usize>)> {
        Network::listed(config).tensors
    }

    pub(crate) fn listed(config: &Blip3oConfig) -> Listed {
        Loader::list(|loader| Network::load(loader, config).map(drop))
    }
}

/// Above any in use.
const QUERIES_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_models_have_the_size_they_are_named_for() {
        let millions = |tensors: Vec<(String, Vec<usize>)>, path: &str| {
            let below = tensors.iter().filter(|(name, _)| name.starts_with(path));
            below.map(|(_, shape)| shape.iter().product::<usize>()).sum::<usize>() / 1_000_000
        };
        let [small, large] = [Blip3oConfig::released_4b(), Blip3oConfig::released_8b()];
        // The paper trains 1.4 billion numbers of the 8B model: its diffusion transformer and
        // queries.
        assert_eq!(millions(Network::tensors(&large), "model.dit."), 1_365);
        assert_eq!(millions(Network::tensors(&small), ""), 5_116);
        assert_eq!(millions(Network::tensors(&large), ""), 9_654);
    }
}
