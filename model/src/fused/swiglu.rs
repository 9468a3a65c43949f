//! The gated half of a SwiGLU feed-forward: silu(gate) · up (Shazeer, arXiv 2002.05202).

use burn::backend::flex::FlexTensor;
use burn::tensor::Tensor;
use burn::tensor::activation::silu;

use super::vector::{sigmoid, vectorised};
use super::{Operator, axes, tensor, values};

/// See [`super::swiglu`].
pub(super) fn plain<const D: usize>(gate: Tensor<D>, up: Tensor<D>) -> Tensor<D> {
    silu(gate).mul(up)
}

#[derive(Debug)]
pub(super) struct SwiGlu;

impl Operator<2> for SwiGlu {
    type Saved = [FlexTensor; 2];

    fn forward(&self, [gate, up]: [FlexTensor; 2]) -> (FlexTensor, [FlexTensor; 2]) {
        let mut out = vec![0.0; values(&gate).len()];
        pass(values(&gate), values(&up), &mut out);
        (tensor(out, axes(&gate)), [gate, up])
    }

    fn backward(
        &self,
        [gate, up]: [FlexTensor; 2],
        gradient: FlexTensor,
        _wanted: [bool; 2],
    ) -> [Option<FlexTensor>; 2] {
        let mut out = [vec![0.0; values(&gate).len()], vec![0.0; values(&gate).len()]];
        let [gate_gradient, up_gradient] = &mut out;
        pull(values(&gate), values(&up), values(&gradient), gate_gradient, up_gradient);
        out.map(|values| Some(tensor(values, axes(&gate))))
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
    /// With s = sigmoid(gate): dup = dy gate s, dgate = dy up s (1 + gate (1 - s)).
    fn pull(
        gate: &[f32],
        up: &[f32],
        gradient: &[f32],
        gate_gradient: &mut [f32],
        up_gradient: &mut [f32],
    ) {
        let inputs = gate.iter().zip(up).zip(gradient);
        let outputs = gate_gradient.iter_mut().zip(up_gradient);
        for (((gate, up), dy), (dgate, dup)) in inputs.zip(outputs) {
            let open = sigmoid(*gate);
            *dup = dy * gate * open;
            *dgate = dy * up * open * (1.0 + gate * (1.0 - open));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::twins::{assert_equal, gradient, random, run};
    use super::*;
    use crate::fused::swiglu;

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
