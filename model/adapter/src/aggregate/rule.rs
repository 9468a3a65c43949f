//! What a strategy decides. A new one is a file beside this one, and its name in [`Strategy`].

use super::AggregateError;
use super::matrix::Matrix;
use super::mean::fedavg;
use super::products::gram;
use super::split::split_again;
use crate::adapter::Adapter;
use crate::committed::Committed;
use crate::tensors::{HostTensor, Weights};

#[cfg(doc)]
use crate::strategy::Strategy;

/// One strategy with its numbers. The defaults are FedAvg's.
pub(super) trait Rule {
    /// Whether members train, and send, this adapter tensor in this round.
    fn trains(&self, _round: u64, _tensor: &str) -> bool {
        true
    }

    /// μ of the proximal term of a member's training; 0: there is none.
    fn proximal_mu(&self) -> f64 {
        0.0
    }

    /// Whether a number of the adapter means the same in every round. Strategies that split a
    /// product again rotate its factors.
    fn keeps_factors(&self) -> bool {
        true
    }

    /// Whether members may train lower ranks than the federation's.
    fn mixes_ranks(&self) -> bool {
        false
    }

    /// What is committed beside the adapter, all zero: moments of the changes, or what was added to
    /// the base.
    fn extras(&self, _adapter: &Adapter) -> Weights {
        Weights::new()
    }

    /// What a round commits. `shares` are the inputs' weights, divided by their sum.
    fn combine(
        &self,
        start: &Committed,
        inputs: &[(u64, &Adapter)],
        _shares: &[f64],
    ) -> Result<Committed, AggregateError> {
        Ok(Committed::plain(fedavg(&start.adapter, inputs)?))
    }
}

/// A strategy that weighs the members' products BA by their geometry.
pub(super) trait ProductRule {
    /// Each member's share, of the inner products of all members' changes of the product.
    fn shares(&self, gram: &Matrix) -> Vec<f64>;
}

impl<T: ProductRule> Rule for T {
    fn keeps_factors(&self) -> bool {
        false
    }

    fn combine(
        &self,
        start: &Committed,
        inputs: &[(u64, &Adapter)],
        _shares: &[f64],
    ) -> Result<Committed, AggregateError> {
        let shares = self.shares(&gram(&start.adapter, inputs));
        Ok(split_again(&start.adapter, inputs, &shares))
    }
}

/// Zeros in the shape of every tensor of the adapter, named with each of the prefixes.
pub(super) fn moments(adapter: &Adapter, prefixes: &[&str]) -> Weights {
    let named = adapter.tensors().iter().flat_map(|(name, tensor)| {
        let zero = move |prefix| (format!("{prefix}{name}"), zeros(tensor.shape.clone()));
        prefixes.iter().map(zero)
    });
    named.collect()
}

/// A tensor of zeros.
pub(super) fn zeros(shape: Vec<usize>) -> HostTensor {
    let values = vec![0.0; shape.iter().product()];
    HostTensor { shape, values }
}

/// First part of the name of a decaying sum or mean of changes.
pub(super) const FIRST_MOMENT: &str = "moment1.";
/// First part of the name of a server's mean of squares.
pub(super) const SECOND_MOMENT: &str = "moment2.";
