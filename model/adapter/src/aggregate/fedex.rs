//! FedEx-LoRA (Singhal et al., arXiv 2410.09432): the factors are averaged, and what that misses of
//! the mean product is added to the frozen base: W ← W + scale·(mean(BA) − mean(B)·mean(A)), so
//! that the round is exact.
//!
//! Here the base stays as its digest says; what is added to it lies in the committed blob, one
//! dense matrix a layer, the sum of all rounds so far. It could be kept as factors, but their rank
//! grows by members × rank a round and soon passes the layer's width. Every member computes it;
//! only who comes late fetches it.

use super::AggregateError;
use super::mean::fedavg;
use super::products::Changes;
use super::rule::{Rule, zeros};
use crate::adapter::Adapter;
use crate::committed::{Committed, RESIDUAL};
use crate::strategy::{LayerNames, layers};
use crate::tensors::Weights;

/// See the module.
pub(super) struct FedEx;

impl Rule for FedEx {
    fn extras(&self, adapter: &Adapter) -> Weights {
        let residual = |layer: LayerNames| {
            let outputs = adapter.tensors()[&layer.b].shape[0];
            let inputs = adapter.tensors()[&layer.a].shape[1];
            (format!("{RESIDUAL}{}", layer.path), zeros(vec![outputs, inputs]))
        };
        layers(adapter).map(residual).collect()
    }

    /// The averages, and the base's changes with this round's added.
    fn combine(
        &self,
        start: &Committed,
        inputs: &[(u64, &Adapter)],
        shares: &[f64],
    ) -> Result<Committed, AggregateError> {
        let mut extras = start.extras_or(|adapter| self.extras(adapter));
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
}
