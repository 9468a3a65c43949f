//! Compares an operator with its reference implementation, forward and in every gradient.

use burn::tensor::{Device, Gradients, Tensor, TensorData};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::host::floats;

/// A tensor of numbers in -1..1 that wants its gradient.
pub(crate) fn random<const D: usize>(shape: [usize; D], seed: u64) -> Tensor<D> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let count: usize = shape.iter().product();
    let values: Vec<f32> = (0..count).map(|_| rng.random::<f32>() * 2.0 - 1.0).collect();
    Tensor::from_data(TensorData::new(values, shape), &Device::flex().autodiff()).require_grad()
}

/// The output's values, and the gradients of its sum weighted unevenly.
pub(crate) fn run<const D: usize>(output: Tensor<D>) -> (Vec<f32>, Gradients) {
    let values = floats(output.clone());
    let weights = random(output.dims(), 99).detach();
    (values, output.mul(weights).sum().backward())
}

pub(crate) fn gradient<const D: usize>(input: &Tensor<D>, gradients: &Gradients) -> Vec<f32> {
    floats(input.grad(gradients).expect("the input wants its gradient"))
}

pub(crate) fn assert_equal<const N: usize>(fused: [Vec<f32>; N], plain: [Vec<f32>; N]) {
    for (part, (fused, plain)) in fused.iter().zip(&plain).enumerate() {
        assert_eq!(fused.len(), plain.len());
        for (fused, plain) in fused.iter().zip(plain) {
            let error = (fused - plain).abs();
            assert!(error <= 1e-5 * plain.abs().max(1.0), "part {part}: {fused} for {plain}");
        }
    }
}
