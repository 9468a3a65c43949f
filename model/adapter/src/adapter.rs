//! The adapter: the only weights that members train and exchange.
//!
//! Tensor names and shapes are PEFT's. Its bytes are canonical safetensors in f32: one adapter has
//! one encoding, so that a digest of the bytes names the adapter. Bytes from a peer are refused
//! unless they are that encoding.

use std::collections::BTreeMap;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use safetensors::tensor::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};

use crate::fresh::{Init, sample};
use crate::lora::LoraConfig;
use crate::tensors::{HostTensor, Weights, encode};

/// The layers of a base that an adapter can be put beside: path and `[outputs, inputs]` (of the
/// token embeddings `[tokens, width]`), in the order in which [`Adapter::init`] draws numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Adaptable(Vec<(String, [usize; 2])>);

impl FromIterator<(String, [usize; 2])> for Adaptable {
    fn from_iter<I: IntoIterator<Item = (String, [usize; 2])>>(layers: I) -> Adaptable {
        Adaptable(layers.into_iter().collect())
    }
}

/// The A and B matrices of every adapted layer, by PEFT name.
#[derive(Clone, Debug, PartialEq)]
pub struct Adapter {
    tensors: Weights,
}

/// Why bytes or tensors are not the adapter that was expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AdapterError {
    /// The bytes have another length than this adapter's encoding.
    #[error("adapter has {found} bytes, expected {expected}")]
    Length {
        /// Length of the canonical encoding.
        expected: usize,
        /// Length received.
        found: usize,
    },
    /// The bytes are no safetensors file.
    #[error("adapter is not readable as safetensors")]
    Unreadable,
    /// A tensor is absent.
    #[error("adapter lacks tensor {name}")]
    Missing {
        /// The absent tensor.
        name: String,
    },
    /// A tensor is not part of this adapter.
    #[error("adapter has an unknown tensor {name}")]
    Unknown {
        /// The extra tensor.
        name: String,
    },
    /// A tensor has other axes or is not f32.
    #[error("tensor {name} has shape {found:?}, expected {expected:?} in f32")]
    Shape {
        /// The tensor in question.
        name: String,
        /// The axes of this adapter.
        expected: Vec<usize>,
        /// The axes received.
        found: Vec<usize>,
    },
    /// A tensor holds a value that is not finite.
    #[error("tensor {name} holds a value that is not finite at index {index}")]
    NotFinite {
        /// The tensor in question.
        name: String,
        /// Where in its values.
        index: usize,
    },
    /// The bytes decode, but encoding them again gives other bytes.
    #[error("adapter bytes are not canonical")]
    NotCanonical,
}

impl Adapter {
    /// A fresh adapter, as PEFT starts it: A uniform in ±1/√inputs (Kaiming) from `seed`, B zero;
    /// for the token embeddings A zero and B standard normal.
    ///
    /// The same layers, configuration and seed give the same bytes everywhere.
    pub fn init(adaptable: &Adaptable, lora: &LoraConfig, seed: u64) -> Adapter {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut tensors = Weights::new();
        for (path, [outputs, inputs]) in &adaptable.0 {
            let [outputs, inputs] = [*outputs, *inputs];
            if !lora.adapts(path) {
                continue;
            }
            let mut insert = |half: &str, shape: [usize; 2], init: Init| {
                let name = format!("base_model.model.{path}.{half}");
                tensors.insert(name, sample(&shape, init, &mut rng));
            };
            if path.ends_with("embed_tokens") {
                let [tokens, width] = [outputs, inputs];
                insert("lora_embedding_A", [lora.rank, tokens], Init::Zeros);
                insert("lora_embedding_B", [width, lora.rank], Init::Normal(1.0));
            } else {
                let bound = Init::Uniform((1.0 / inputs as f32).sqrt());
                insert("lora_A.weight", [lora.rank, inputs], bound);
                insert("lora_B.weight", [outputs, lora.rank], Init::Zeros);
            }
        }
        Adapter { tensors }
    }

    /// An adapter of these tensors.
    pub fn from_tensors(tensors: Weights) -> Adapter {
        Adapter { tensors }
    }

    /// The tensors in name order.
    pub fn tensors(&self) -> &BTreeMap<String, HostTensor> {
        &self.tensors
    }

    /// The tensors, to be changed; their shapes must stay.
    pub(crate) fn tensors_mut(&mut self) -> &mut Weights {
        &mut self.tensors
    }

    /// How many numbers the adapter holds.
    pub fn parameter_count(&self) -> usize {
        self.tensors.values().map(|tensor| tensor.values.len()).sum()
    }

    /// The canonical encoding: safetensors, f32 little-endian, tensors in name order, no metadata.
    pub fn to_bytes(&self) -> Vec<u8> {
        encode(&self.tensors)
    }

    /// Decodes a peer's bytes, which must be the canonical encoding of an adapter with the names
    /// and shapes of `like`, all values finite.
    ///
    /// The length is compared before anything is allocated.
    pub fn from_bytes(bytes: &[u8], like: &Adapter) -> Result<Adapter, AdapterError> {
        let expected = like.to_bytes().len();
        if bytes.len() != expected {
            return Err(AdapterError::Length { expected, found: bytes.len() });
        }
        let file = SafeTensors::deserialize(bytes).map_err(|_| AdapterError::Unreadable)?;
        let unknown = file.names().into_iter().find(|name| !like.tensors.contains_key(*name));
        if let Some(name) = unknown {
            return Err(AdapterError::Unknown { name: name.to_string() });
        }
        let mut tensors = Weights::new();
        for (name, wanted) in &like.tensors {
            let view =
                file.tensor(name).map_err(|_| AdapterError::Missing { name: name.clone() })?;
            if view.shape() != wanted.shape || view.dtype() != Dtype::F32 {
                return Err(AdapterError::Shape {
                    name: name.clone(),
                    expected: wanted.shape.clone(),
                    found: view.shape().to_vec(),
                });
            }
            let values: Vec<f32> = view.data().chunks_exact(4).map(f32_from).collect();
            tensors.insert(name.clone(), HostTensor { shape: wanted.shape.clone(), values });
        }
        let adapter = Adapter { tensors };
        adapter.check_finite()?;
        match adapter.to_bytes() == bytes {
            true => Ok(adapter),
            false => Err(AdapterError::NotCanonical),
        }
    }

    /// What has to be added to `start` to become this adapter; both must have the same names and
    /// shapes.
    pub fn delta(&self, start: &Adapter) -> Adapter {
        let tensors = self.tensors.iter().map(|(name, tensor)| {
            let before = &start.tensors[name].values;
            let values =
                tensor.values.iter().zip(before).map(|(after, before)| after - before).collect();
            (name.clone(), HostTensor { shape: tensor.shape.clone(), values })
        });
        Adapter { tensors: tensors.collect() }
    }

    /// The sum of two adapters with the same names and shapes.
    pub fn plus(&self, other: &Adapter) -> Adapter {
        let tensors = self.tensors.iter().map(|(name, tensor)| {
            let added = tensor.values.iter().zip(&other.tensors[name].values);
            let values = added.map(|(a, b)| a + b).collect();
            (name.clone(), HostTensor { shape: tensor.shape.clone(), values })
        });
        Adapter { tensors: tensors.collect() }
    }

    /// Every number times `factor`.
    pub fn times(&self, factor: f32) -> Adapter {
        let tensors = self.tensors.iter().map(|(name, tensor)| {
            let values = tensor.values.iter().map(|value| value * factor).collect();
            (name.clone(), HostTensor { shape: tensor.shape.clone(), values })
        });
        Adapter { tensors: tensors.collect() }
    }

    /// The rank of its factors: rows of A, columns of B.
    pub fn rank(&self) -> usize {
        let a = self.tensors.iter().find(|(name, _)| is_a(name));
        a.map_or(0, |(_, tensor)| tensor.shape[0])
    }

    /// The adapter of the first `rank` rows of A and columns of B.
    pub fn cut(&self, rank: usize) -> Adapter {
        let tensors = self.tensors.iter().map(|(name, tensor)| {
            let [rows, columns] = tensor.shape[..] else { return (name.clone(), tensor.clone()) };
            let [height, width] = if is_a(name) { [rank, columns] } else { [rows, rank] };
            let rows = tensor.values.chunks_exact(columns).take(height);
            let values = rows.flat_map(|row| &row[..width.min(columns)]).copied().collect();
            (name.clone(), HostTensor { shape: vec![height, width], values })
        });
        Adapter { tensors: tensors.collect() }
    }

    /// Whether the other adapter has the same names and shapes.
    pub fn is_like(&self, other: &Adapter) -> bool {
        let shapes = |adapter: &'_ Adapter| -> Vec<(String, Vec<usize>)> {
            adapter
                .tensors
                .iter()
                .map(|(name, tensor)| (name.clone(), tensor.shape.clone()))
                .collect()
        };
        shapes(self) == shapes(other)
    }

    /// Refuses a tensor that `like` lacks, has with other axes, or has alone.
    pub fn check_like(&self, like: &Adapter) -> Result<(), AdapterError> {
        for (name, wanted) in &like.tensors {
            let found = self
                .tensors
                .get(name)
                .ok_or_else(|| AdapterError::Missing { name: name.clone() })?;
            if found.shape != wanted.shape {
                return Err(AdapterError::Shape {
                    name: name.clone(),
                    expected: wanted.shape.clone(),
                    found: found.shape.clone(),
                });
            }
        }
        match self.tensors.keys().find(|name| !like.tensors.contains_key(*name)) {
            Some(name) => Err(AdapterError::Unknown { name: name.clone() }),
            None => Ok(()),
        }
    }

    /// Refuses a value that is not finite.
    pub fn check_finite(&self) -> Result<(), AdapterError> {
        for (name, tensor) in &self.tensors {
            if let Some(index) = tensor.values.iter().position(|value| !value.is_finite()) {
                return Err(AdapterError::NotFinite { name: name.clone(), index });
            }
        }
        Ok(())
    }
}

/// Whether a tensor is a layer's A, by PEFT's names.
fn is_a(name: &str) -> bool {
    name.ends_with(".lora_A.weight") || name.ends_with(".lora_embedding_A")
}

/// The f32 of four little-endian bytes.
fn f32_from(bytes: &[u8]) -> f32 {
    f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn adapter(values: &[f32]) -> Adapter {
        let tensor = HostTensor { shape: vec![2, values.len() / 2], values: values.to_vec() };
        Adapter::from_tensors(Weights::from([(
            "base_model.model.x.lora_A.weight".to_string(),
            tensor,
        )]))
    }

    #[test]
    fn bytes_round_trip_and_are_canonical() {
        let original = adapter(&[1.0, -0.0, 3.5, f32::MIN_POSITIVE]);
        let bytes = original.to_bytes();
        let back = Adapter::from_bytes(&bytes, &adapter(&[0.0; 4])).unwrap();
        assert_eq!(back.to_bytes(), bytes);
    }

    #[test]
    fn a_nan_is_refused_by_name() {
        let bytes = adapter(&[1.0, f32::NAN, 0.0, 0.0]).to_bytes();
        let error = Adapter::from_bytes(&bytes, &adapter(&[0.0; 4])).unwrap_err();
        let name = "base_model.model.x.lora_A.weight".to_string();
        assert_eq!(error, AdapterError::NotFinite { name, index: 1 });
    }

    #[test]
    fn other_shapes_cut_bytes_and_foreign_names_are_refused() {
        let like = adapter(&[0.0; 4]);
        let mut turned = like.clone();
        turned.tensors.values_mut().for_each(|tensor| tensor.shape = vec![4, 1]);
        let error = Adapter::from_bytes(&turned.to_bytes(), &like).unwrap_err();
        assert!(matches!(error, AdapterError::Shape { .. }), "{error}");
        let bytes = like.to_bytes();
        let error = Adapter::from_bytes(&bytes[..bytes.len() - 1], &like).unwrap_err();
        assert!(matches!(error, AdapterError::Length { .. }), "{error}");
        let tensors =
            like.tensors.iter().map(|(name, tensor)| (name.replace('x', "y"), tensor.clone()));
        let foreign = Adapter::from_tensors(tensors.collect());
        let error = Adapter::from_bytes(&foreign.to_bytes(), &like).unwrap_err();
        assert!(matches!(error, AdapterError::Unknown { .. }), "{error}");
    }

    #[test]
    fn bytes_with_a_respelled_header_are_not_canonical() {
        let like = adapter(&[0.0; 4]);
        let text = String::from_utf8(like.to_bytes()).unwrap();
        let respelled = text.replacen(
            "\"dtype\":\"F32\",\"shape\":[2,2]",
            "\"shape\":[2,2],\"dtype\":\"F32\"",
            1,
        );
        assert_ne!(respelled, text);
        let error = Adapter::from_bytes(respelled.as_bytes(), &like).unwrap_err();
        assert_eq!(error, AdapterError::NotCanonical);
    }
}
