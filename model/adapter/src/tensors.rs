//! Named tensors in memory, and their bytes: safetensors read (f32, f16, bf16) and written (f32).
//!
//! Every tensor has a Hugging Face name and a PyTorch shape (`[out, in]` for a linear layer). What
//! is written is canonical: equal tensors give equal bytes.

use std::collections::{BTreeMap, HashMap};
use std::io::ErrorKind;

use half::f16;
use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize};

/// A tensor in memory, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct HostTensor {
    /// Lengths of the axes, outermost first.
    pub shape: Vec<usize>,
    /// The values, `shape` multiplied out of them.
    pub values: Vec<f32>,
}

/// Named tensors in name order.
pub type Weights = BTreeMap<String, HostTensor>;

/// A tensor a module asked for and could not have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WeightError {
    /// The weights hold no tensor of that name.
    #[error("tensor {name} is missing")]
    Missing {
        /// The tensor asked for.
        name: String,
    },
    /// The file that holds it could not be read there.
    #[error("tensor {name} cannot be read: {reason}")]
    Unreadable {
        /// The tensor asked for.
        name: String,
        /// What the system said.
        reason: ErrorKind,
    },
    /// The tensor holds a value that is not finite.
    #[error("tensor {name} holds a value that is not finite")]
    NotFinite {
        /// The tensor asked for.
        name: String,
    },
    /// The tensor is there with other axes.
    #[error("tensor {name} has shape {found:?}, expected {expected:?}")]
    Shape {
        /// The tensor asked for.
        name: String,
        /// The axes its module needs.
        expected: Vec<usize>,
        /// The axes it came with.
        found: Vec<usize>,
    },
}

/// Why bytes are no tensors.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TensorsError {
    /// The bytes are cut or not safetensors at all.
    #[error("cut or malformed ({bytes} bytes)")]
    Malformed {
        /// How many there are.
        bytes: usize,
    },
    /// A tensor is kept in a number format this program does not read.
    #[error("tensor {name} is neither f32, f16 nor bf16")]
    Format {
        /// The tensor in question.
        name: String,
    },
}

/// The canonical encoding: safetensors, f32 little-endian, tensors in name order, no metadata.
pub fn encode(weights: &Weights) -> Vec<u8> {
    encode_with(weights, None)
}

/// The same with metadata in the header.
pub fn encode_with(weights: &Weights, metadata: Option<HashMap<String, String>>) -> Vec<u8> {
    let bytes: Vec<(&String, &Vec<usize>, Vec<u8>)> = weights
        .iter()
        .map(|(name, tensor)| {
            let bytes = tensor.values.iter().flat_map(|value| value.to_le_bytes()).collect();
            (name, &tensor.shape, bytes)
        })
        .collect();
    let views = bytes.iter().map(|(name, shape, bytes)| {
        let view = TensorView::new(Dtype::F32, shape.to_vec(), bytes)
            .expect("a tensor's values fill its shape");
        (name.as_str(), view)
    });
    serialize(views, metadata).expect("names are unique")
}

/// The tensors of a safetensors file (f32, f16 or bf16), as f32.
pub fn read_weights(bytes: &[u8]) -> Result<Weights, TensorsError> {
    let malformed = |_| TensorsError::Malformed { bytes: bytes.len() };
    let file = SafeTensors::deserialize(bytes).map_err(malformed)?;
    let mut weights = Weights::new();
    for (name, view) in file.iter() {
        let values = numbers(view.dtype(), view.data());
        let values = values.ok_or_else(|| TensorsError::Format { name: name.to_string() })?;
        weights.insert(name.to_string(), HostTensor { shape: view.shape().to_vec(), values });
    }
    Ok(weights)
}

/// Little-endian numbers as f32; none if the format is neither f32, f16 nor bf16.
pub(crate) fn numbers(dtype: Dtype, bytes: &[u8]) -> Option<Vec<f32>> {
    let halves = || bytes.chunks_exact(2).map(|pair| [pair[0], pair[1]]);
    match dtype {
        Dtype::F32 => {
            let quads = bytes.chunks_exact(4);
            Some(quads.map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
        }
        Dtype::F16 => Some(halves().map(|pair| f16::from_le_bytes(pair).to_f32()).collect()),
        Dtype::BF16 => {
            let upper = |pair| f32::from_bits(u32::from(u16::from_le_bytes(pair)) << 16);
            Some(halves().map(upper).collect())
        }
        _ => None,
    }
}

/// The `[columns, rows]` transpose of a row-major `[rows, columns]` matrix.
pub fn transpose(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    let mut out = Vec::with_capacity(values.len());
    for column in 0..columns {
        out.extend((0..rows).map(|row| values[row * columns + column]));
    }
    out
}
