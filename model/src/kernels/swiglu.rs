//! The gated half of a SwiGLU feed-forward: silu(gate) · up (Shazeer, arXiv 2002.05202).

use burn::backend::flex::FlexTensor;
use burn::tensor::Tensor;
use burn::tensor::activation::silu;
use rayon::prelude::*;
use witan_adapter::vector::{sigmoid, vectorised};

use super::parts::assembled;
use super::{Operator, axes, tensor, values, values_mut};

/// See [`super::swiglu`].
pub(super) fn plain<const D: usize>(gate: Tensor<D>, up: Tensor<D>) -> Tensor<D> {
    silu(gate).mul(up)
}

#[derive(Debug)]
pub(super) struct SwiGlu;

impl Operator<2> for SwiGlu {
    type Saved = [FlexTensor; 2];

    fn forward(&self, [gate, up]: [FlexTensor; 2]) -> (FlexTensor, [FlexTensor; 2]) {
        let (g, u) = (values(&gate), values(&up));
        let out = assembled(g.len(), PART, |index, out| {
            let [g, u] = [g, u].map(|all| &all[index * PART..][..out.len()]);
            pass(g, u, out);
        });
        (tensor(out, axes(&gate)), [gate, up])
    }

    fn backward(
        &self,
        [mut gate, mut up]: [FlexTensor; 2],
        gradient: FlexTensor,
        _wanted: [bool; 2],
    ) -> [Option<FlexTensor>; 2] {
        let inputs = values_mut(&mut gate)
            .par_chunks_mut(PART)
            .zip(values_mut(&mut up).par_chunks_mut(PART));
        let parts = inputs.zip(values(&gradient).par_chunks(PART));
        parts.for_each(|((gate, up), dy)| gradients(gate, up, dy));
        [Some(gate), Some(up)]
    }
}

vectorised! {
    fn pass(gate: &[f32], up: &[f32], out: &mut [f32]) {
        for ((out, gate), up) in out.iter_mut().zip(gate).zip(up) {
            *out = gate * sigmoid(*gate) * up;
        }
    }
}

vectorised! {
    /// With s = sigmoid(gate): dup = dy gate s, dgate = dy up s (1 + gate (1 - s)); in the place of
    /// gate and up, which nobody reads any more.
    fn gradients(gate: &mut [f32], up: &mut [f32], gradient: &[f32]) {
        for ((gate, up), dy) in gate.iter_mut().zip(up).zip(gradient) {
            let open = sigmoid(*gate);
            let gate_gradient = dy * *up * open * (1.0 + *gate * (1.0 - open));
            *up = dy * *gate * open;
            *gate = gate_gradient;
        }
    }
}

/// Values computed together.
const PART: usize = 1 << 12;

#[cfg(test)]
mod tests {
    use super::super::reference::{assert_equal, gradient, random, run};
    use super::*;
    use crate::kernels::swiglu;

    #[test]
    fn the_gate_and_its_twin_agree() {
        let (gate, up) = (random([2, 3, 41], 1), random([2, 3, 41], 2));
        let wide = || gate.clone().mul_scalar(20.0);
        let outcome = |output: Tensor<3>| {
            let (values, gradients) = run(output);
            [values, gradient(&gate, &gradients), gradient(&up, &gradients)]
        };
        let fused = outcome(swiglu(wide(), up.clone()));
        assert_equal(fused, outcome(plain(wide(), up.clone())));
    }
}
