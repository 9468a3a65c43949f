//! The loader: the one path by which modules get their weights.
//!
//! Every tensor has a Hugging Face name and a PyTorch shape (`[out, in]` for a linear layer).
//! [`Loader`] hands tensors to modules by name: from a file's weights, or freshly sampled from a
//! seeded generator. Burn's own generator is global to the process and lazy, hence never used.

use burn::module::Param;
use burn::tensor::{DType, Device, Tensor, TensorData};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use safetensors::tensor::Dtype;
use witan_adapter::LoraConfig;
use witan_adapter::fresh::{Init, sample};
use witan_adapter::tensor_files::TensorFiles;
use witan_adapter::tensors::{HostTensor, WeightError, Weights};

use crate::host::tensor_of;
use crate::layers::frozen::Frozen;
use crate::layers::lora::{Dropout, LoraEmbedding, LoraLinear};
use crate::layers::names::Names;
use crate::precision::{Precision, WeightFormat};

/// Names and shapes of a network's tensors, in the order in which they are asked for.
#[derive(Clone, Debug, Default)]
pub struct Listed {
    /// All of them.
    pub tensors: Vec<(String, Vec<usize>)>,
    /// Those that an adapter can be put beside.
    pub adaptable: Vec<(String, [usize; 2])>,
}

/// Hands named tensors to modules while they are built, and remembers the names of parameters.
pub struct Loader {
    weights: Weights,
    files: Option<TensorFiles>,
    kept: WeightFormat,
    fresh: Option<ChaCha8Rng>,
    /// What was asked for, if nothing is to be loaded.
    listed: Option<Listed>,
    lora: Option<LoraConfig>,
    dropout: Dropout,
    /// Linear layers with an adapter so far.
    adapted: u64,
    device: Device,
    trainable: Vec<String>,
    names: Names,
}

impl Loader {
    /// Loads existing weights, to be kept in f32; a tensor that is absent is an error.
    pub fn from_weights(weights: Weights, device: &Device) -> Loader {
        Loader {
            weights,
            files: None,
            kept: WeightFormat::Float32,
            fresh: None,
            listed: None,
            lora: None,
            dropout: Dropout::default(),
            adapted: 0,
            device: device.clone(),
            trainable: Vec::new(),
            names: Names::default(),
        }
    }

    /// What `load` asks for; nothing of its size is made.
    pub fn list(load: impl FnOnce(&mut Loader) -> Result<(), WeightError>) -> Listed {
        let mut loader = Loader::from_weights(Weights::new(), &Device::flex());
        loader.listed = Some(Listed::default());
        load(&mut loader).expect("a listed tensor is never missing");
        loader.listed.unwrap_or_default()
    }

    /// Loads a checkpoint's tensors onto a device where gradients are recorded.
    pub fn from_checkpoint(files: &TensorFiles, kept: WeightFormat, device: &Device) -> Loader {
        Loader::from_files(files.clone(), &device.clone().autodiff()).keeping(kept)
    }

    /// Loads tensors from a checkpoint's files, one at a time.
    pub fn from_files(files: TensorFiles, device: &Device) -> Loader {
        Loader { files: Some(files), ..Loader::from_weights(Weights::new(), device) }
    }

    /// Samples every tensor that `weights` lacks from `seed`.
    pub fn sampling(weights: Weights, seed: u64, device: &Device) -> Loader {
        let fresh = Some(ChaCha8Rng::seed_from_u64(seed));
        Loader { fresh, ..Loader::from_weights(weights, device) }
    }

    /// Keeps the matrices that are not trained so, if the device is a processor.
    pub fn keeping(self, kept: WeightFormat) -> Loader {
        Loader { kept: kept.on(&self.device), ..self }
    }

    /// What the products with its matrices are computed in.
    pub(crate) fn precision(&self) -> Precision {
        self.kept.precision()
    }

    /// Adds adapters to the linear layers that `lora` names; their tensors start at zero until set.
    pub fn with_lora(mut self, lora: &LoraConfig) -> Loader {
        self.lora = Some(lora.clone());
        self
    }

    /// Lets gradients flow to tensors whose name starts with one of `prefixes`.
    pub fn training(mut self, prefixes: &[&str]) -> Loader {
        self.trainable = prefixes.iter().map(|prefix| prefix.to_string()).collect();
        self
    }

    /// The tensor `name` as a parameter of `D` axes.
    pub fn tensor<const D: usize>(
        &mut self,
        name: &str,
        shape: [usize; D],
        init: Init,
    ) -> Result<Param<Tensor<D>>, WeightError> {
        let host = self.host(name, &shape, init)?;
        let data = TensorData::new(host.values, host.shape);
        Ok(self.parameter(name, Tensor::from_data(data, &self.device), false))
    }

    /// The linear layer at `path`: `weight` of `[outputs, inputs]` and, if asked, `bias`.
    pub fn linear(
        &mut self,
        path: &str,
        [inputs, outputs]: [usize; 2],
        bias: bool,
    ) -> Result<Frozen, WeightError> {
        let init = Init::Uniform((1.0 / inputs as f32).sqrt());
        let weight = self.matrix(path, [outputs, inputs], init, true)?;
        let bias = match bias {
            true => Some(self.tensor(&format!("{path}.bias"), [outputs], Init::Zeros)?),
            false => None,
        };
        Ok(Frozen { weight, bias, precision: self.precision() })
    }

    /// A linear layer that starts as the zero map, for gates and last layers.
    pub fn zero_linear(
        &mut self,
        path: &str,
        [inputs, outputs]: [usize; 2],
    ) -> Result<Frozen, WeightError> {
        let weight = self.matrix(path, [outputs, inputs], Init::Zeros, true)?;
        let bias = self.tensor(&format!("{path}.bias"), [outputs], Init::Zeros)?;
        Ok(Frozen { weight, bias: Some(bias), precision: self.precision() })
    }

    /// The linear layer at `path` without bias, with an adapter if the configuration names it.
    pub fn lora_linear(
        &mut self,
        path: &str,
        sizes: [usize; 2],
    ) -> Result<LoraLinear, WeightError> {
        self.biased_lora_linear(path, sizes, false)
    }

    /// The same, with a frozen bias if asked.
    pub fn biased_lora_linear(
        &mut self,
        path: &str,
        sizes: [usize; 2],
        bias: bool,
    ) -> Result<LoraLinear, WeightError> {
        let base = self.linear(path, sizes, bias)?;
        self.list_adaptable(path, [sizes[1], sizes[0]]);
        let Some(lora) = self.lora.clone().filter(|lora| lora.adapts(path)) else {
            return Ok(LoraLinear { base, lora_a: None, lora_b: None, scale: 0.0, drops: None });
        };
        let [inputs, outputs] = sizes;
        let mut half = |name: &str, sizes: [usize; 2]| {
            let name = format!("base_model.model.{path}.{name}.weight");
            let zeros = Tensor::zeros(sizes, &self.device);
            self.parameter(&name, zeros, true)
        };
        let lora_a = Some(half("lora_A", [inputs, lora.rank]));
        let lora_b = Some(half("lora_B", [lora.rank, outputs]));
        self.adapted += 1;
        let drops = self.dropout.of(lora.dropout, self.adapted);
        Ok(LoraLinear { base, lora_a, lora_b, scale: lora.scale(), drops })
    }

    /// The token embeddings at `path`, with an adapter beside them if the configuration names them.
    pub fn lora_embedding(
        &mut self,
        path: &str,
        [tokens, width]: [usize; 2],
        init: Init,
    ) -> Result<LoraEmbedding, WeightError> {
        let base = self.matrix(path, [tokens, width], init, false)?;
        self.list_adaptable(path, [tokens, width]);
        let Some(lora) = self.lora.clone().filter(|lora| lora.adapts(path)) else {
            return Ok(LoraEmbedding { base, shift: None, lora_a: None, lora_b: None, scale: 0.0 });
        };
        let mut half = |name: &str, sizes: [usize; 2]| {
            let zeros = Tensor::zeros(sizes, &self.device);
            self.parameter(&format!("base_model.model.{path}.{name}"), zeros, false)
        };
        let lora_a = Some(half("lora_embedding_A", [lora.rank, tokens]));
        let lora_b = Some(half("lora_embedding_B", [width, lora.rank]));
        Ok(LoraEmbedding { base, shift: None, lora_a, lora_b, scale: lora.scale() })
    }

    fn list_adaptable(&mut self, path: &str, shape: [usize; 2]) {
        if let Some(listed) = &mut self.listed {
            listed.adaptable.push((path.to_string(), shape));
        }
    }

    /// The weights, with those that were sampled.
    pub fn into_weights(self) -> Weights {
        self.weights
    }

    /// What decides which inputs of the adapters are dropped.
    pub fn dropout(&self) -> Dropout {
        self.dropout.clone()
    }

    /// The names of everything loaded.
    pub fn into_names(self) -> Names {
        self.names
    }

    /// The matrix of the layer at `path`, as its file has it or transposed.
    fn matrix(
        &mut self,
        path: &str,
        shape: [usize; 2],
        init: Init,
        transposed: bool,
    ) -> Result<Param<Tensor<2>>, WeightError> {
        let name = &format!("{path}.weight");
        let host = self.host(name, &shape, init)?;
        let tensor = self.kept(name, tensor_of(&host, transposed, &self.device));
        Ok(self.parameter(name, tensor, transposed))
    }

    /// The matrix in the number format it is kept in.
    fn kept(&self, name: &str, matrix: Tensor<2>) -> Tensor<2> {
        let place = self.files.as_ref().and_then(|files| files.tensors().get(name));
        let is_bf16 = match self.kept {
            WeightFormat::AsStored => place.is_some_and(|place| place.dtype == Dtype::BF16),
            WeightFormat::Float32 => false,
            WeightFormat::Bfloat16 => !self.trains(name),
        };
        if is_bf16 { matrix.cast(DType::BF16) } else { matrix }
    }

    fn parameter<const D: usize>(
        &mut self,
        name: &str,
        tensor: Tensor<D>,
        transposed: bool,
    ) -> Param<Tensor<D>> {
        let id = Names::id(name);
        self.names.insert(id, name, transposed);
        Param::initialized(id, tensor).set_require_grad(self.trains(name))
    }

    fn trains(&self, name: &str) -> bool {
        self.trainable.iter().any(|prefix| name.starts_with(prefix))
    }

    fn host(&mut self, name: &str, shape: &[usize], init: Init) -> Result<HostTensor, WeightError> {
        if let Some(listed) = &mut self.listed {
            listed.tensors.push((name.to_string(), shape.to_vec()));
            return Ok(HostTensor { shape: vec![1; shape.len()], values: vec![0.0] });
        }
        let found = match &self.files {
            Some(files) => files.read(name)?,
            None => self.weights.get(name).cloned(),
        };
        match (found, &mut self.fresh) {
            (Some(host), _) if host.shape == shape => Ok(host),
            (Some(host), _) => Err(WeightError::Shape {
                name: name.to_string(),
                expected: shape.to_vec(),
                found: host.shape,
            }),
            (None, Some(rng)) => {
                let host = sample(shape, init, rng);
                self.weights.insert(name.to_string(), host.clone());
                Ok(host)
            }
            (None, None) => Err(WeightError::Missing { name: name.to_string() }),
        }
    }
}
