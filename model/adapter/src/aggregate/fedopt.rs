//! FedAdam and FedYogi, algorithm 2 of Reddi et al. (arXiv 2003.00295): the members' mean change Δ
//! is the gradient of a server's optimizer.
//!
//! m ← β₁m + (1−β₁)Δ; Adam: v ← β₂v + (1−β₂)Δ²; Yogi: v ← v − (1−β₂)Δ²·sign(v − Δ²); x ← x +
//! η·m/(√v + τ). There is no server here: m and v are committed with the adapter, so that each
//! round follows from the ledger alone.

use super::AggregateError;
use super::mean::mean_change;
use super::rule::{FIRST_MOMENT, Rule, SECOND_MOMENT, moments};
use crate::adapter::Adapter;
use crate::committed::Committed;
use crate::strategy::Server;
use crate::tensors::Weights;

/// See the module.
pub(super) struct FedOpt {
    /// Which second moment.
    pub server: Server,
    /// The server's step size.
    pub rate: f64,
}

impl Rule for FedOpt {
    fn extras(&self, adapter: &Adapter) -> Weights {
        moments(adapter, &[FIRST_MOMENT, SECOND_MOMENT])
    }

    /// One step of the server's optimizer.
    fn combine(
        &self,
        start: &Committed,
        inputs: &[(u64, &Adapter)],
        _shares: &[f64],
    ) -> Result<Committed, AggregateError> {
        let mut extras = start.extras_or(|adapter| self.extras(adapter));
        let mut tensors = start.adapter.tensors().clone();
        for (name, change) in mean_change(&start.adapter, inputs)? {
            let mut first = extras[&format!("{FIRST_MOMENT}{name}")].clone();
            let mut second = extras[&format!("{SECOND_MOMENT}{name}")].clone();
            let values =
                &mut tensors.get_mut(&name).expect("changes are named as the adapter").values;
            for (at, change) in change.into_iter().enumerate() {
                let square = change * change;
                let (m, v) = (f64::from(first.values[at]), f64::from(second.values[at]));
                let m = BETA_1 * m + (1.0 - BETA_1) * change;
                let v = match self.server {
                    Server::Adam => BETA_2 * v + (1.0 - BETA_2) * square,
                    Server::Yogi => v - (1.0 - BETA_2) * square * sign(v - square),
                };
                // Rounded first: the next round starts from the rounded ones, and so does every
                // member.
                (first.values[at], second.values[at]) = (m as f32, v as f32);
                let (m, v) = (f64::from(first.values[at]), f64::from(second.values[at]));
                values[at] = (f64::from(values[at]) + self.rate * m / (v.sqrt() + TAU)) as f32;
            }
            extras.insert(format!("{FIRST_MOMENT}{name}"), first);
            extras.insert(format!("{SECOND_MOMENT}{name}"), second);
        }
        Ok(Committed { adapter: Adapter::from_tensors(tensors), extras })
    }
}

fn sign(value: f64) -> f64 {
    if value == 0.0 { 0.0 } else { value.signum() }
}

/// Decay of the mean of changes, as in the paper.
const BETA_1: f64 = 0.9;
/// Decay of the mean of squares, as in the paper.
const BETA_2: f64 = 0.99;
/// Adaptivity: what is added to √v, as in the paper's experiments.
const TAU: f64 = 1e-3;
