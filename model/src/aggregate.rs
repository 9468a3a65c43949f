//! Federated averaging, equation (1) of McMahan et al. (arXiv 1602.05629), over adapter changes.
//!
//! Every member recomputes the aggregate and compares bytes, hence the order of every operation is fixed: sums in
//! f64, in the order given, one rounding to f32 at the end.

use crate::adapter::{Adapter, AdapterError};
use crate::umm::weights::{HostTensor, Weights};

/// Why no average was formed.
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

/// start + Σ w·delta / Σ w, element by element.
///
/// `inputs` are (weight, delta) in an order all members agree on; the weight is the number of examples trained.
pub fn fedavg(start: &Adapter, inputs: &[(u64, &Adapter)]) -> Result<Adapter, AggregateError> {
    if inputs.is_empty() {
        return Err(AggregateError::Empty);
    }
    let weight_error = AggregateError::Weight { updates: inputs.len() };
    let total = inputs.iter().try_fold(0_u64, |sum, (weight, _)| sum.checked_add(*weight));
    let total = total.filter(|total| *total > 0).ok_or(weight_error)?;
    if let Some(index) = inputs.iter().position(|(_, delta)| !delta.is_like(start)) {
        return Err(AggregateError::Tensors { index });
    }
    let mut tensors = Weights::new();
    for (name, before) in start.tensors() {
        let mut sums = vec![0.0_f64; before.values.len()];
        for (weight, delta) in inputs {
            for (sum, change) in sums.iter_mut().zip(&delta.tensors()[name].values) {
                *sum += *weight as f64 * f64::from(*change);
            }
        }
        let moved = before.values.iter().zip(&sums);
        let values =
            moved.map(|(start, sum)| (f64::from(*start) + sum / total as f64) as f32).collect();
        tensors.insert(name.clone(), HostTensor { shape: before.shape.clone(), values });
    }
    let adapter = Adapter::from_tensors(tensors);
    adapter.check_finite().map_err(AggregateError::NotFinite)?;
    Ok(adapter)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn adapter(values: [f32; 2]) -> Adapter {
        let tensor = HostTensor { shape: vec![1, 2], values: values.to_vec() };
        Adapter::from_tensors(Weights::from([("a".to_string(), tensor)]))
    }

    #[test]
    fn the_average_is_weighted_by_examples() {
        let start = adapter([1.0, -2.0]);
        let (first, second) = (adapter([0.4, 1.0]), adapter([-0.8, 3.0]));
        let average = fedavg(&start, &[(3, &first), (1, &second)]).unwrap();
        assert_eq!(average.tensors()["a"].values, [1.1_f32, -0.5]);
    }

    #[test]
    fn golden_bits() {
        let start = adapter([0.1, 0.7]);
        let (first, second) = (adapter([0.3, 1e-9]), adapter([1e7, -0.3]));
        let average = fedavg(&start, &[(7, &first), (11, &second)]).unwrap();
        let bits: Vec<u32> =
            average.tensors()["a"].values.iter().map(|value| value.to_bits()).collect();
        assert_eq!(bits, [0x4aba_7f0f, 0x3f04_4444]);
    }

    #[test]
    fn nothing_zero_weight_and_overflow_are_refused() {
        let start = adapter([0.0, 0.0]);
        assert_eq!(fedavg(&start, &[]), Err(AggregateError::Empty));
        assert_eq!(fedavg(&start, &[(0, &start)]), Err(AggregateError::Weight { updates: 1 }));
        let huge = adapter([f32::MAX, 0.0]);
        let error = fedavg(&huge, &[(1, &huge)]).unwrap_err();
        assert!(matches!(error, AggregateError::NotFinite(_)));
    }
}
