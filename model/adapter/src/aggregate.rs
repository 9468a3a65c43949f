//! Aggregation of a round's updates.
//!
//! Every member recomputes the aggregate and compares bytes, hence the order of every operation is
//! fixed: f64, in the order given, one rounding to f32 at the end, no threads. Must never fail on
//! what a peer sent, however many rounds it does so: deltas come decoded, finite and bounded (see
//! [`crate::delta`]), and what is committed is bounded too.

mod fedavg;
mod fedavgm;
mod fedex;
mod fedopt;
mod fedprox;
mod ffa;
mod flexlora;
mod geometric_median;
pub mod matrix;
mod mean;
mod multi_krum;
mod norm_clip;
mod products;
mod rolora;
mod rule;
mod split;
mod trimmed_mean;

use crate::adapter::{Adapter, AdapterError};
use crate::committed::Committed;
use crate::strategy::{Strategy, layers};
use crate::tensors::Weights;
use matrix::Matrix;
use products::Changes;
use rule::Rule;

/// The outcome of a round's updates.
#[derive(Clone, Debug, PartialEq)]
pub struct Aggregate {
    /// What is committed.
    pub committed: Committed,
    /// What averaging the factors apart misses, by layer in name order.
    pub naive_error: Vec<LayerError>,
}

/// How far the product of the mean factors is from the mean of the products.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LayerError {
    /// The Frobenius norm of mean(BA) − mean(B)·mean(A).
    pub error: f32,
    /// That of mean(BA).
    pub norm: f32,
}

/// Why no aggregate was formed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AggregateError {
    /// There is nothing to average.
    #[error("no update to aggregate")]
    Empty,
    /// All weights are zero, or their sum leaves 64 bits.
    #[error("the weights of {updates} updates add up to nothing usable")]
    Weight {
        /// How many updates were given.
        updates: usize,
    },
    /// An update has other tensors than the start.
    #[error("update {index} has other tensors than the adapter it changes")]
    Tensors {
        /// Position among the inputs.
        index: usize,
    },
    /// The average overflowed.
    #[error("the aggregate is not finite")]
    NotFinite(#[source] AdapterError),
}

impl Strategy {
    fn rule(&self) -> Box<dyn Rule> {
        match *self {
            Strategy::FedAvg => Box::new(fedavg::FedAvg),
            Strategy::FedProx { mu } => Box::new(fedprox::FedProx { mu }),
            Strategy::FedAvgM { momentum } => Box::new(fedavgm::FedAvgM { momentum }),
            Strategy::FedOpt { server, rate } => Box::new(fedopt::FedOpt { server, rate }),
            Strategy::Ffa => Box::new(ffa::Ffa),
            Strategy::RoLora => Box::new(rolora::RoLora),
            Strategy::FedEx => Box::new(fedex::FedEx),
            Strategy::FlexLora => Box::new(flexlora::FlexLora),
            Strategy::NormClip { factor } => Box::new(norm_clip::NormClip { factor }),
            Strategy::TrimmedMean { trim } => Box::new(trimmed_mean::TrimmedMean { trim }),
            Strategy::GeometricMedian => Box::new(geometric_median::GeometricMedian),
            Strategy::MultiKrum { f } => Box::new(multi_krum::MultiKrum { f }),
        }
    }

    /// Whether members train, and send, this adapter tensor in this round.
    pub fn trains(&self, round: u64, tensor: &str) -> bool {
        self.rule().trains(round, tensor)
    }

    /// μ of the proximal term of a member's training; 0: there is none.
    pub fn proximal_mu(&self) -> f64 {
        self.rule().proximal_mu()
    }

    /// Whether a number of the adapter means the same in every round, so that what compression lost
    /// of it can be sent later.
    pub fn keeps_factors(&self) -> bool {
        self.rule().keeps_factors()
    }

    /// Whether members may train lower ranks than the federation's.
    pub fn mixes_ranks(&self) -> bool {
        self.rule().mixes_ranks()
    }

    /// What is committed beside the adapter before the first round: all zero.
    pub(crate) fn extras(&self, adapter: &Adapter) -> Weights {
        self.rule().extras(adapter)
    }
}

/// The aggregate of `inputs`: weights and deltas from `start`, in an order all members agree on.
///
/// A member states its own weight, hence the robust rules ignore it.
pub fn aggregate(
    strategy: &Strategy,
    start: &Committed,
    inputs: &[(u64, &Adapter)],
) -> Result<Aggregate, AggregateError> {
    let shares = shares(&start.adapter, inputs)?;
    let committed = strategy.rule().combine(start, inputs, &shares)?;
    let committed = committed.bounded(LARGEST);
    committed.adapter.check_finite().map_err(AggregateError::NotFinite)?;
    Ok(Aggregate { committed, naive_error: naive_error(&start.adapter, inputs, &shares) })
}

/// Each input's part of the whole, if the inputs can be used at all.
fn shares(start: &Adapter, inputs: &[(u64, &Adapter)]) -> Result<Vec<f64>, AggregateError> {
    if inputs.is_empty() {
        return Err(AggregateError::Empty);
    }
    let total = inputs.iter().try_fold(0_u64, |sum, (weight, _)| sum.checked_add(*weight));
    let total = total.filter(|total| *total > 0);
    let total = total.ok_or(AggregateError::Weight { updates: inputs.len() })?;
    if let Some(index) = inputs.iter().position(|(_, delta)| !delta.is_like(start)) {
        return Err(AggregateError::Tensors { index });
    }
    Ok(inputs.iter().map(|(weight, _)| *weight as f64 / total as f64).collect())
}

fn naive_error(start: &Adapter, inputs: &[(u64, &Adapter)], shares: &[f64]) -> Vec<LayerError> {
    layers(start).map(|layer| Changes::of(start, inputs, &layer).naive_error(shares)).collect()
}

/// No useful adapter has a number nearly so large. Only a hostile member reaches it; the model is
/// lost then, and the federation continues.
const LARGEST: f32 = 1e9;

#[cfg(test)]
pub(crate) mod tests;
