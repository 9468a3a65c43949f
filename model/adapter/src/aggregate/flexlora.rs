//! FlexLoRA (Bai et al., arXiv 2402.11505): the members' products are averaged, and the mean is
//! split into factors of the federation's rank again by a singular value decomposition. Members may
//! have lower ranks.
//!
//! [`super::split`] has how.

use super::AggregateError;
use super::rule::Rule;
use super::split::split_again;
use crate::adapter::Adapter;
use crate::committed::Committed;

/// See the module.
pub(super) struct FlexLora;

impl Rule for FlexLora {
    fn keeps_factors(&self) -> bool {
        false
    }

    fn mixes_ranks(&self) -> bool {
        true
    }

    fn combine(
        &self,
        start: &Committed,
        inputs: &[(u64, &Adapter)],
        shares: &[f64],
    ) -> Result<Committed, AggregateError> {
        Ok(split_again(&start.adapter, inputs, shares))
    }
}
