//! FedAvgM, section 3 of Hsu et al. (arXiv 1909.06335), with the momentum of Nesterov that DiLoCo
//! (Douillard et al., arXiv 2311.08105) found best between rounds of AdamW: v ← βv + Δ; x ← x + Δ +
//! βv.
//!
//! Members that average sixteen short trainings move less far together than each would alone; what
//! they agree on in one round mostly holds in the next, hence is worth going on with. There is no
//! server: v is committed with the adapter.

use super::AggregateError;
use super::mean::mean_change;
use super::rule::{FIRST_MOMENT, Rule, moments};
use crate::adapter::Adapter;
use crate::committed::Committed;
use crate::tensors::Weights;

/// See the module.
pub(super) struct FedAvgM {
    /// How much of the last round's step is taken again.
    pub momentum: f64,
}

impl Rule for FedAvgM {
    fn extras(&self, adapter: &Adapter) -> Weights {
        moments(adapter, &[FIRST_MOMENT])
    }

    /// One step of the mean change with momentum.
    fn combine(
        &self,
        start: &Committed,
        inputs: &[(u64, &Adapter)],
        _shares: &[f64],
    ) -> Result<Committed, AggregateError> {
        let mut extras = start.extras_or(|adapter| self.extras(adapter));
        let mut tensors = start.adapter.tensors().clone();
        for (name, change) in mean_change(&start.adapter, inputs)? {
            let values =
                &mut tensors.get_mut(&name).expect("changes are named as the adapter").values;
            let velocity = extras.get_mut(&format!("{FIRST_MOMENT}{name}")).expect("one for each");
            for (at, change) in change.into_iter().enumerate() {
                // Rounded first: the next round starts from the rounded one, and so does every
                // member.
                let speed = (self.momentum * f64::from(velocity.values[at]) + change) as f32;
                velocity.values[at] = speed;
                let step = change + self.momentum * f64::from(speed);
                values[at] = (f64::from(values[at]) + step) as f32;
            }
        }
        Ok(Committed { adapter: Adapter::from_tensors(tensors), extras })
    }
}
