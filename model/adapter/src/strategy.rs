//! How a federation combines what its members trained, and what that asks of their training.
//!
//! `docs/STRATEGIES.md` has each one's formula, paper and use. The arithmetic is in
//! [`crate::aggregate`].

use crate::adapter::Adapter;
use crate::tensors::{HostTensor, Weights};

/// A strategy with its numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Strategy {
    /// The mean of both factors, weighted by steps (McMahan et al., arXiv 1602.05629).
    #[default]
    FedAvg,
    /// FedAvg of trainings with a proximal term (Li et al., arXiv 1812.06127).
    FedProx {
        /// Strength of the proximal term.
        mu: f64,
    },
    /// FedAvg that goes on in the direction of earlier rounds (FedAvgM, Hsu et al., arXiv
    /// 1909.06335).
    FedAvgM {
        /// How much of the last round's step is taken again.
        momentum: f64,
    },
    /// The mean change as the gradient of a server's optimiser (Reddi et al., arXiv 2003.00295).
    FedOpt {
        /// Which second moment.
        server: Server,
        /// The server's step size.
        rate: f64,
    },
    /// One factor frozen at its first values (FFA-LoRA, Sun et al., arXiv 2403.12313).
    Ffa,
    /// The factors in turns (RoLoRA, Chen et al., arXiv 2409.02346).
    RoLora,
    /// The means, and what they miss added to the base (FedEx-LoRA, Singhal et al., arXiv
    /// 2410.09432).
    FedEx,
    /// The mean product, split again (FlexLoRA, Bai et al., arXiv 2402.11505).
    FlexLora,
    /// Products scaled down to the norm of most (Sun et al., arXiv 1911.07963).
    NormClip {
        /// Times the median norm: what no change exceeds.
        factor: f64,
    },
    /// Each number's mean without its extremes (Yin et al., arXiv 1803.01498).
    TrimmedMean {
        /// How many are left out at each end.
        trim: usize,
    },
    /// The product nearest to all (RFA, Pillutla et al., arXiv 1912.13445).
    GeometricMedian,
    /// The mean of the products with the nearest neighbours (Blanchard et al., NeurIPS 2017).
    MultiKrum {
        /// How many members may be hostile.
        f: usize,
    },
}

/// The second moment of the server's optimiser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Server {
    /// A decaying mean of squares.
    Adam,
    /// Moves toward the square by no more than the square.
    Yogi,
}

impl Strategy {
    /// Whether members train, and send, this adapter tensor in this round.
    ///
    /// The half that stays is the one that starts random: with the other at zero no step could move
    /// it.
    pub fn trains(&self, round: u64, tensor: &str) -> bool {
        match self {
            Strategy::Ffa => starts_at_zero(tensor),
            Strategy::RoLora => starts_at_zero(tensor) != round.is_multiple_of(2),
            _ => true,
        }
    }

    /// μ of the proximal term of a member's training; 0: there is none.
    pub fn proximal_mu(&self) -> f64 {
        match self {
            Strategy::FedProx { mu } => *mu,
            _ => 0.0,
        }
    }

    /// Whether a number of the adapter means the same in every round, so that what compression lost
    /// of it can be sent later. Strategies that split a product again turn its factors.
    pub fn keeps_factors(&self) -> bool {
        !matches!(
            self,
            Strategy::FlexLora
                | Strategy::NormClip { .. }
                | Strategy::TrimmedMean { .. }
                | Strategy::GeometricMedian
                | Strategy::MultiKrum { .. }
        )
    }

    /// Whether members may train lower ranks than the federation's.
    pub fn mixes_ranks(&self) -> bool {
        matches!(self, Strategy::FlexLora)
    }

    /// What is committed beside the adapter, all zero: moments of the changes, or what was added to
    /// the base.
    pub(crate) fn extras(&self, adapter: &Adapter) -> Weights {
        let zeros = |shape: Vec<usize>| {
            let values = vec![0.0; shape.iter().product()];
            HostTensor { shape, values }
        };
        let moments = |prefixes: &[&str]| {
            let named = adapter.tensors().iter().flat_map(|(name, tensor)| {
                let name = move |prefix| (format!("{prefix}{name}"), zeros(tensor.shape.clone()));
                prefixes.iter().map(name)
            });
            named.collect()
        };
        match self {
            Strategy::FedAvgM { .. } => moments(&[FIRST_MOMENT]),
            Strategy::FedOpt { .. } => moments(&[FIRST_MOMENT, SECOND_MOMENT]),
            Strategy::FedEx => layers(adapter)
                .map(|layer| {
                    let outputs = adapter.tensors()[&layer.b].shape[0];
                    let inputs = adapter.tensors()[&layer.a].shape[1];
                    (format!("{RESIDUAL}{}", layer.path), zeros(vec![outputs, inputs]))
                })
                .collect(),
            _ => Weights::new(),
        }
    }
}

/// The two factors of one adapted layer, by the names of their tensors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerNames {
    /// The layer's path in the base.
    pub path: String,
    /// A: `[rank, inputs]`.
    pub a: String,
    /// B: `[outputs, rank]`.
    pub b: String,
}

/// The adapted layers in name order.
pub fn layers(adapter: &Adapter) -> impl Iterator<Item = LayerNames> {
    adapter.tensors().keys().filter_map(|name| {
        let path = name.strip_prefix(ADAPTER)?;
        let (path, b) = match path.strip_suffix(".lora_A.weight") {
            Some(path) => (path, "lora_B.weight"),
            None => (path.strip_suffix(".lora_embedding_A")?, "lora_embedding_B"),
        };
        let b = format!("{ADAPTER}{path}.{b}");
        Some(LayerNames { path: path.to_string(), a: name.clone(), b })
    })
}

/// Whether a fresh adapter has zeros there: B of a linear layer, A of an embedding.
fn starts_at_zero(tensor: &str) -> bool {
    tensor.ends_with(".lora_B.weight") || tensor.ends_with(".lora_embedding_A")
}

/// First part of every adapter tensor's name.
const ADAPTER: &str = "base_model.model.";
/// First part of the name of a decaying sum or mean of changes.
pub(crate) const FIRST_MOMENT: &str = "moment1.";
/// First part of the name of a server's mean of squares.
pub(crate) const SECOND_MOMENT: &str = "moment2.";
/// First part of the name of what was added to a layer of the base, before its scale.
pub(crate) const RESIDUAL: &str = "residual.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frozen_halves_are_those_that_start_random() {
        let (a, b) = ("base_model.model.x.lora_A.weight", "base_model.model.x.lora_B.weight");
        let embedding = "base_model.model.embed_tokens.lora_embedding_A";
        for round in 1..5 {
            assert!(Strategy::Ffa.trains(round, b) && !Strategy::Ffa.trains(round, a));
            assert!(Strategy::Ffa.trains(round, embedding));
        }
        let trained = [1, 2, 3].map(|round| Strategy::RoLora.trains(round, b));
        assert_eq!(trained, [true, false, true]);
        let trained = [1, 2, 3].map(|round| Strategy::RoLora.trains(round, a));
        assert_eq!(trained, [false, true, false]);
    }
}
