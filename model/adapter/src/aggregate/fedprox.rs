//! FedProx (Li et al., arXiv 1812.06127): members train with a proximal term; the aggregation is
//! FedAvg's.

use super::rule::Rule;

/// See the module.
pub(super) struct FedProx {
    /// Strength of the proximal term.
    pub mu: f64,
}

impl Rule for FedProx {
    fn proximal_mu(&self) -> f64 {
        self.mu
    }
}
