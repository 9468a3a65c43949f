//! The frozen base on disk: sizes and weights, embedded in the program or read from a folder.
//!
//! Weights are kept as f16 in one safetensors file under Hugging Face names, and computed with as
//! f32.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::tensor::{Device, f16};
use safetensors::tensor::{Dtype, TensorView, serialize};
use witan_adapter::Adaptable;
use witan_adapter::tensors::{HostTensor, TensorsError, WeightError, Weights, read_weights};
use witan_data::tokenizer::{ExportError, Tokenizer};

use crate::families::tiny::Network;
use crate::families::tiny::config::ModelConfig;
use crate::layers::loader::Loader;

/// A pre-trained model, frozen; cheap to clone.
#[derive(Clone, Debug)]
pub struct Base {
    config: ModelConfig,
    weights: Arc<Weights>,
}

/// Why a base could not be loaded or saved.
#[derive(Debug, thiserror::Error)]
pub enum BaseError {
    /// A file of the folder could not be read or written.
    #[error("cannot access {path}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// `config.json` is not what it should be.
    #[error("config.json is not a model configuration")]
    Config(#[source] serde_json::Error),
    /// The base was made for another word list.
    #[error("base has {found} embedding rows, the tokenizer has {expected} words")]
    Vocabulary {
        /// Words of the tokenizer.
        expected: usize,
        /// Rows of the base.
        found: usize,
    },
    /// `tokenizer.json` could not be written.
    #[error(transparent)]
    Tokenizer(#[from] ExportError),
    /// The weights cannot be read.
    #[error("{WEIGHTS}: {0}")]
    Tensors(#[from] TensorsError),
    /// A tensor holds a value that is not finite.
    #[error("tensor {name} holds a value that is not finite")]
    NotFinite {
        /// The tensor in question.
        name: String,
    },
    /// A tensor is missing or has other axes.
    #[error(transparent)]
    Weight(#[from] WeightError),
}

impl Base {
    /// The base that ships inside the program.
    pub fn embedded() -> Base {
        Base::from_parts(EMBEDDED_CONFIG, EMBEDDED_WEIGHTS)
            .expect("the embedded base is checked by the tests")
    }

    /// Reads `config.json` and `model.safetensors` of a folder.
    pub fn from_dir(folder: &Path) -> Result<Base, BaseError> {
        let read = |name: &str| {
            let path = folder.join(name);
            std::fs::read(&path).map_err(|source| BaseError::File { path, source })
        };
        Base::from_parts(&read(CONFIG)?, &read(WEIGHTS)?)
    }

    /// Writes the two files, and `tokenizer.json` for other programs, into a folder.
    pub fn save(&self, folder: &Path) -> Result<(), BaseError> {
        let write = |name: &str, bytes: &[u8]| {
            let path = folder.join(name);
            std::fs::write(&path, bytes).map_err(|source| BaseError::File { path, source })
        };
        let config = serde_json::to_vec_pretty(&self.config).map_err(BaseError::Config)?;
        write(CONFIG, &config)?;
        Tokenizer::new().export(&folder.join(TOKENIZER))?;
        write(WEIGHTS, &self.weight_bytes())
    }

    /// A base of finished weights; every tensor of the network must be there.
    pub fn new(config: ModelConfig, weights: Weights) -> Result<Base, BaseError> {
        let expected = Tokenizer::new().len();
        if config.vocab_size != expected {
            return Err(BaseError::Vocabulary { expected, found: config.vocab_size });
        }
        if let Some((name, _)) =
            weights.iter().find(|(_, t)| t.values.iter().any(|v| !v.is_finite()))
        {
            return Err(BaseError::NotFinite { name: name.clone() });
        }
        // Only to see that every tensor fits; it is loaded anew for computing.
        let mut loader = Loader::from_weights(weights, &Device::flex());
        Network::load(&mut loader, &config)?;
        Ok(Base { config, weights: Arc::new(loader.into_weights()) })
    }

    /// The sizes of the model.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Every tensor by name.
    pub fn weights(&self) -> &Weights {
        &self.weights
    }

    /// The layers that an adapter can be put beside, in the order of their names.
    pub fn adaptable(&self) -> Adaptable {
        let listed = Loader::list(|loader| Network::load(loader, &self.config).map(drop));
        listed.adaptable.into_iter().collect::<BTreeMap<_, _>>().into_iter().collect()
    }

    /// How many numbers the base holds.
    pub fn parameter_count(&self) -> usize {
        self.weights.values().map(|tensor| tensor.values.len()).sum()
    }

    /// The bytes of `model.safetensors`; equal weights give equal bytes.
    pub fn weight_bytes(&self) -> Vec<u8> {
        let half = |value: &f32| f16::from_f32(*value).to_le_bytes();
        let tensors: Vec<(&String, &HostTensor, Vec<u8>)> = self
            .weights
            .iter()
            .map(|(name, tensor)| (name, tensor, tensor.values.iter().flat_map(half).collect()))
            .collect();
        let views = tensors.iter().map(|(name, tensor, bytes)| {
            let view = TensorView::new(Dtype::F16, tensor.shape.clone(), bytes)
                .expect("a tensor's values fill its shape");
            (name.as_str(), view)
        });
        serialize(views, None).expect("tensor names are unique")
    }

    fn from_parts(config: &[u8], weights: &[u8]) -> Result<Base, BaseError> {
        let config = serde_json::from_slice(config).map_err(BaseError::Config)?;
        Base::new(config, read_weights(weights)?)
    }
}

/// The weights of a whole network: those of `start`, and freshly sampled ones in place of what it
/// lacks.
pub fn fresh(config: &ModelConfig, start: Weights, seed: u64) -> Result<Weights, WeightError> {
    let mut loader = Loader::sampling(start, seed, &Device::flex());
    Network::load(&mut loader, config)?;
    Ok(loader.into_weights())
}

/// The weights as they are after being saved and read again: rounded to f16.
pub fn saved(mut weights: Weights) -> Weights {
    for value in weights.values_mut().flat_map(|tensor| &mut tensor.values) {
        *value = f16::from_f32(*value).to_f32();
    }
    weights
}

const CONFIG: &str = "config.json";
const WEIGHTS: &str = "model.safetensors";
const TOKENIZER: &str = "tokenizer.json";
const EMBEDDED_CONFIG: &[u8] = include_bytes!("../../../base/tiny/config.json");
const EMBEDDED_WEIGHTS: &[u8] = include_bytes!("../../../base/tiny/model.safetensors");
