//! A delta as bytes: which tensors travel, how their numbers are written, and what is refused on
//! arrival.
//!
//! All sizes follow from what the federation agreed on, hence the length is compared before
//! anything is allocated, and the bytes hold no names. A decoded delta always has the adapter's
//! whole shape: factors that stay at home are zero, and what a lower rank lacks is taken off the
//! start. Peers' bytes are refused, never trusted.
//!
//! `int8` and `top-k` lose something: the member keeps it and adds it to its next delta (error
//! feedback, Seide et al. 2014; Karimireddy et al., arXiv 1901.09847).

mod codec;

use crate::adapter::{Adapter, AdapterError};
use crate::strategy::Strategy;
use crate::tensors::{HostTensor, Weights};
pub use codec::Codec;

/// What both ends know of a delta.
#[derive(Clone, Copy, Debug)]
pub struct Form<'a> {
    /// The adapter it changes.
    pub start: &'a Adapter,
    /// The federation's strategy.
    pub strategy: Strategy,
    /// The round: some strategies send one factor a round.
    pub round: u64,
    /// How numbers are written.
    pub codec: Codec,
}

/// Why bytes are no delta.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeltaError {
    /// The bytes have another length than such a delta.
    #[error("delta has {found} bytes, expected {expected}")]
    Length {
        /// Length of such a delta.
        expected: usize,
        /// Length received.
        found: usize,
    },
    /// The delta's rank is none the federation allows.
    #[error("delta has rank {found}, expected 1 to {max}")]
    Rank {
        /// What it says.
        found: u32,
        /// The federation's.
        max: usize,
    },
    /// The bytes are no canonical adapter.
    #[error(transparent)]
    Adapter(#[from] AdapterError),
    /// The scale of a block is no positive number, or a byte of it is out of range.
    #[error("block {block} of the delta cannot be scaled")]
    Block {
        /// Which, from 0.
        block: usize,
    },
    /// Places are not ascending or outside the adapter.
    #[error("entry {entry} of the delta is out of place")]
    Place {
        /// Which, from 0.
        entry: usize,
    },
    /// A number no training arrives at, and which an average could not bear.
    #[error("tensor {name} changes by more than {MAX} at index {index}")]
    TooLarge {
        /// The tensor.
        name: String,
        /// Where in its values.
        index: usize,
    },
}

impl Form<'_> {
    /// The bytes of a delta of `rank`, with the names and shapes of the start cut to it.
    pub fn encode(&self, delta: &Adapter, rank: usize) -> Vec<u8> {
        let head = match self.strategy.mixes_ranks() {
            true => (rank as u32).to_le_bytes().to_vec(),
            false => Vec::new(),
        };
        let travelling = self.travelling(delta);
        let body = match self.codec {
            Codec::Float32 => travelling.to_bytes(),
            codec => {
                let tensors = travelling.tensors().values();
                codec
                    .encode(&tensors.flat_map(|tensor| &tensor.values).copied().collect::<Vec<_>>())
            }
        };
        [head, body].concat()
    }

    /// The delta of a peer's bytes, in the whole shape of the start.
    pub fn decode(&self, bytes: &[u8]) -> Result<Adapter, DeltaError> {
        let (rank, body) = self.head(bytes)?;
        let layout = self.travelling(&self.start.cut(rank));
        let tensors = match self.codec {
            Codec::Float32 => Adapter::from_bytes(body, &layout)?.tensors().clone(),
            codec => {
                let values = codec.decode(body, layout.parameter_count())?;
                dealt(&layout, &values)
            }
        };
        for (name, tensor) in &tensors {
            let bad = |value: &f32| value.is_nan() || value.abs() > MAX;
            let bad = tensor.values.iter().position(bad);
            if let Some(index) = bad {
                return Err(DeltaError::TooLarge { name: name.clone(), index });
            }
        }
        Ok(self.whole(&tensors, rank))
    }

    /// The rank in front, where members' ranks may differ, and the rest.
    fn head<'b>(&self, bytes: &'b [u8]) -> Result<(usize, &'b [u8]), DeltaError> {
        let max = self.start.rank();
        if !self.strategy.mixes_ranks() {
            return Ok((max, bytes));
        }
        let Some((head, body)) = bytes.split_first_chunk() else {
            return Err(DeltaError::Length { expected: 4, found: bytes.len() });
        };
        let found = u32::from_le_bytes(*head);
        match usize::try_from(found) {
            Ok(rank) if (1..=max).contains(&rank) => Ok((rank, body)),
            _ => Err(DeltaError::Rank { found, max }),
        }
    }

    /// The tensors members send this round.
    fn travelling(&self, adapter: &Adapter) -> Adapter {
        let tensors = adapter.tensors().iter();
        let chosen = tensors.filter(|(name, _)| self.strategy.trains(self.round, name));
        Adapter::from_tensors(chosen.map(|(name, tensor)| (name.clone(), tensor.clone())).collect())
    }

    /// What did not travel is zero; what a lower rank lacks makes the start zero there.
    fn whole(&self, tensors: &Weights, rank: usize) -> Adapter {
        let missing = |name: &str| self.strategy.trains(self.round, name);
        let whole = self.start.tensors().iter().map(|(name, start)| {
            let mut tensor = HostTensor {
                shape: start.shape.clone(),
                values: match missing(name) {
                    true => start.values.iter().map(|value| -value).collect(),
                    false => vec![0.0; start.values.len()],
                },
            };
            if let Some(sent) = tensors.get(name) {
                let (wide, narrow) = (start.shape[1], sent.shape[1]);
                let rows = tensor.values.chunks_exact_mut(wide);
                for (row, sent) in rows.zip(sent.values.chunks_exact(narrow)) {
                    row[..narrow].copy_from_slice(sent);
                }
            }
            (name.clone(), tensor)
        });
        let whole = Adapter::from_tensors(whole.collect());
        debug_assert!(rank == self.start.rank() || self.strategy.mixes_ranks());
        whole
    }
}

/// What `change` loses on the way: what the member adds to its next delta.
pub fn lost(change: &Adapter, arrived: &Adapter) -> Adapter {
    change.delta(arrived)
}

/// The values, as many as the layout holds, in its shapes.
fn dealt(layout: &Adapter, values: &[f32]) -> Weights {
    let mut rest = values;
    let tensors = layout.tensors().iter().map(|(name, tensor)| {
        let (values, others) = rest.split_at(tensor.values.len());
        rest = others;
        (name.clone(), HostTensor { shape: tensor.shape.clone(), values: values.to_vec() })
    });
    tensors.collect()
}

/// The most one number of an adapter may change in a round: a thousand times what the worst
/// training does, and far from where sums and products of deltas leave f32.
const MAX: f32 = 1e6;

#[cfg(test)]
mod tests;
