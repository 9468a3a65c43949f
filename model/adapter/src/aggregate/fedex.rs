//! FedEx-LoRA (Singhal et al., arXiv 2410.09432): the factors are averaged, and what that misses of
//! the mean product is added to the frozen base: W ← W + scale·(mean(BA) − mean(B)·mean(A)), so
//! that the round is exact.
//!
//! Here the base stays as its digest says; what is added to it lies in the committed blob, one
//! dense matrix a layer, the sum of all rounds so far. It could be kept as factors, but their rank
//! grows by members × rank a round and soon passes the layer's width. Every member computes it;
//! only who comes late fetches it.

use super::products::Changes;
use super::{AggregateError, fedavg};
use crate::adapter::Adapter;
use crate::committed::Committed;
use crate::strategy::{RESIDUAL, Strategy, layers};

/// The averages, and the base's changes with this round's added.
pub fn fold(
    start: &Committed,
    inputs: &[(u64, &Adapter)],
    shares: &[f64],
) -> Result<Committed, AggregateError> {
    let mut extras = start.extras(&Strategy::FedEx);
    for layer in layers(&start.adapter) {
        let (left, right) = Changes::of(&start.adapter, inputs, &layer).deviations(shares);
        let missed = left.times(&right);
        let residual = extras
            .get_mut(&format!("{RESIDUAL}{}", layer.path))
            .expect("every layer has its residual");
        for (value, missed) in residual.values.iter_mut().zip(&missed.values) {
            *value = (f64::from(*value) + missed) as f32;
        }
    }
    Ok(Committed { adapter: fedavg(&start.adapter, inputs)?, extras })
}
