//! A checkpoint's configuration and headers, without its weights: what is there, what is missing,
//! and what training would need.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;
use witan_adapter::LoraConfig;
use witan_adapter::tensor_files::{FilesError, TensorFiles};
use witan_adapter::tensors::WeightError;

use crate::families::blip3o::{Blip3oConfig, Network};
use crate::families::language::Language;
use crate::families::language::config::{ConfigProblem, LanguageConfig, LanguageConfigError};
use crate::inspect::memory::{Memory, ModelShape, StepShape};

/// What a checkpoint's configuration and headers say.
#[derive(Debug)]
pub struct CheckpointInfo {
    /// What the configuration calls it: `llama`, `blip3o_qwen`, …
    pub kind: String,
    /// The language model's sizes.
    pub language: LanguageConfig,
    /// The sizes of all of it, if it is a BLIP3o.
    pub blip3o: Option<Blip3oConfig>,
    /// Its files.
    pub files: TensorFiles,
    /// What must be there: name and shape.
    expected: Vec<(String, Vec<usize>)>,
}

/// A tensor of another shape than the configuration's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misshapen {
    /// Its name.
    pub name: String,
    /// The configuration's axes.
    pub expected: Vec<usize>,
    /// The file's.
    pub found: Vec<usize>,
}

/// Why a folder is no checkpoint.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The configuration could not be read.
    #[error("cannot access {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The configuration is of no model of the family.
    #[error(transparent)]
    Config(#[from] LanguageConfigError),
    /// The weights' files are damaged.
    #[error(transparent)]
    TensorFiles(#[from] FilesError),
}

impl CheckpointInfo {
    /// Reads the configuration and the files' headers.
    pub fn read(folder: &Path) -> Result<CheckpointInfo, CheckpointError> {
        let json = |error| LanguageConfigError::from(ConfigProblem::Json(error));
        let path = folder.join("config.json");
        let bytes =
            std::fs::read(&path).map_err(|source| CheckpointError::File { path, source })?;
        let language = LanguageConfig::from_hugging_face(&bytes)?;
        let kind: Value = serde_json::from_slice(&bytes).map_err(json)?;
        let kind = kind["model_type"].as_str().unwrap_or_default().to_owned();
        let files = TensorFiles::open(folder)?;
        let blip3o = match kind.as_str() {
            "blip3o_qwen" => Some(Blip3oConfig::read(&bytes, &files)?),
            _ => None,
        };
        let expected = match &blip3o {
            Some(config) => Network::tensors(config),
            None => Language::tensors(&language),
        };
        Ok(CheckpointInfo { kind, language, blip3o, files, expected })
    }

    /// Numbers in the files.
    pub fn parameter_count(&self) -> u64 {
        let tensors = self.files.tensors().values();
        tensors.map(|place| place.shape.iter().product::<usize>() as u64).sum()
    }

    /// Bytes of tensors by number format.
    pub fn bytes(&self) -> BTreeMap<String, u64> {
        let mut bytes = BTreeMap::new();
        for place in self.files.tensors().values() {
            *bytes.entry(format!("{:?}", place.dtype).to_lowercase()).or_default() +=
                place.bytes as u64;
        }
        bytes
    }

    /// The tensors that must be there and are not.
    pub fn missing(&self) -> Vec<&str> {
        let tensors = self.files.tensors();
        let missing = self.expected.iter().filter(|(name, _)| !tensors.contains_key(name));
        missing.map(|(name, _)| &name[..]).collect()
    }

    /// The tensors that no module reads.
    pub fn extra(&self) -> Vec<&str> {
        let known = |name: &&String| self.expected.iter().any(|it| it.0 == **name);
        let tied = |name: &&String| self.language.tie_word_embeddings && *name == "lm_head.weight";
        let names = self.files.tensors().keys();
        names.filter(|name| !known(name) && !tied(name)).map(|name| &name[..]).collect()
    }

    /// The tensors whose shapes are not the configuration's.
    pub fn misshapen(&self) -> Vec<Misshapen> {
        let found = self.expected.iter().filter_map(|(name, expected)| {
            let found = &self.files.tensors().get(name)?.shape;
            (found != expected).then(|| Misshapen {
                name: name.clone(),
                expected: expected.clone(),
                found: found.clone(),
            })
        });
        found.collect()
    }

    /// Reads every tensor that must be there, and names the first that is not finite.
    pub fn read_all(&self) -> Result<(), WeightError> {
        for (name, _) in &self.expected {
            self.files.read(name)?;
        }
        Ok(())
    }

    /// An estimate of the memory of one step of LoRA training.
    pub fn training(&self, lora: &LoraConfig, step: StepShape) -> Memory {
        let model = ModelShape {
            tensors: &self.expected,
            stored_bytes: self.stored() as u64,
            language: &self.language,
            trunk: self.blip3o.as_ref().map(|blip3o| &blip3o.trunk),
        };
        model.training(lora, step)
    }

    /// Bytes of what must be there, as the files have it.
    fn stored(&self) -> usize {
        let places = self.expected.iter().filter_map(|(name, _)| self.files.tensors().get(name));
        places.map(|place| place.bytes).sum()
    }
}
