//! FFA-LoRA (Sun et al., arXiv 2403.12313): one factor is frozen at its first values. With one
//! factor the same for all, the mean of the other is exactly the mean of the products.
//!
//! The frozen half is the one that starts random: with the other at zero no step could move it.

use super::rule::Rule;
use crate::strategy::starts_at_zero;

/// See the module.
pub(super) struct Ffa;

impl Rule for Ffa {
    fn trains(&self, _round: u64, tensor: &str) -> bool {
        starts_at_zero(tensor)
    }
}
