//! The strategies by name: how a federation aggregates, and what that asks of training.
//!
//! `docs/STRATEGIES.md` has each one's formula, paper and use. Each is one file of
//! [`crate::aggregate`], which says all that it decides.

use crate::adapter::Adapter;

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
    /// FedAvg with momentum over rounds (FedAvgM, Hsu et al., arXiv
    /// 1909.06335).
    FedAvgM {
        /// How much of the last round's step is taken again.
        momentum: f64,
    },
    /// The mean change as the gradient of a server's optimizer (Reddi et al., arXiv 2003.00295).
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

/// The second moment of the server's optimizer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Server {
    /// A decaying mean of squares.
    Adam,
    /// Moves toward the square by no more than the square.
    Yogi,
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
pub(crate) fn starts_at_zero(tensor: &str) -> bool {
    tensor.ends_with(".lora_B.weight") || tensor.ends_with(".lora_embedding_A")
}

/// First part of every adapter tensor's name.
const ADAPTER: &str = "base_model.model.";
