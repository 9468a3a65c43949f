//! The weighted mean of adapter changes, equation (1) of McMahan et al. (arXiv 1602.05629).

use super::{AggregateError, shares};
use crate::adapter::Adapter;
use crate::tensors::{HostTensor, Weights};

/// start + Σ w·delta / Σ w, element by element.
///
/// `inputs` are (weight, delta) in an order all members agree on; the weight is the steps taken.
pub(super) fn fedavg(
    start: &Adapter,
    inputs: &[(u64, &Adapter)],
) -> Result<Adapter, AggregateError> {
    let tensors = mean_change(start, inputs)?.into_iter().map(|(name, change)| {
        let before = &start.tensors()[&name];
        let moved = before.values.iter().zip(&change);
        let values = moved.map(|(start, change)| (f64::from(*start) + change) as f32).collect();
        (name, HostTensor { shape: before.shape.clone(), values })
    });
    let adapter = Adapter::from_tensors(tensors.collect::<Weights>());
    adapter.check_finite().map_err(AggregateError::NotFinite)?;
    Ok(adapter)
}

/// Σ w·delta / Σ w of every tensor, not rounded.
pub(super) fn mean_change(
    start: &Adapter,
    inputs: &[(u64, &Adapter)],
) -> Result<Vec<(String, Vec<f64>)>, AggregateError> {
    shares(start, inputs)?;
    let total: u64 = inputs.iter().map(|(weight, _)| weight).sum();
    let changes = start.tensors().iter().map(|(name, before)| {
        let mut sums = vec![0.0_f64; before.values.len()];
        for (weight, delta) in inputs {
            for (sum, change) in sums.iter_mut().zip(&delta.tensors()[name].values) {
                *sum += *weight as f64 * f64::from(*change);
            }
        }
        sums.iter_mut().for_each(|sum| *sum /= total as f64);
        (name.clone(), sums)
    });
    Ok(changes.collect())
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
