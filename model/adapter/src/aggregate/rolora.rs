//! RoLoRA (Chen et al., arXiv 2409.02346): the factors are trained in alternate rounds, first the
//! half that starts at zero. The mean of one is then exactly the mean of the products.

use super::rule::Rule;
use crate::strategy::starts_at_zero;

/// See the module.
pub(super) struct RoLora;

impl Rule for RoLora {
    fn trains(&self, round: u64, tensor: &str) -> bool {
        starts_at_zero(tensor) != round.is_multiple_of(2)
    }
}
