//! Root-mean-square normalisation with a gain (Zhang and Sennrich, arXiv 1910.07467).

use burn::backend::flex::FlexTensor;
use burn::tensor::Tensor;
use witan_adapter::vector::{sum, vectorised};

use super::parts::assembled;
use super::{Operator, axes, tensor, values};

/// See [`super::rms_norm`].
pub(super) fn plain<const D: usize>(input: Tensor<D>, gain: Tensor<1>, epsilon: f32) -> Tensor<D> {
    let mean_square = input.clone().square().mean_dim(D - 1);
    input.mul(mean_square.add_scalar(epsilon).sqrt().recip()).mul(gain.unsqueeze())
}

#[derive(Debug)]
pub(super) struct Norm {
    /// Keeps the division away from zero.
    pub(super) epsilon: f32,
}

impl Operator<2> for Norm {
    type Saved = [FlexTensor; 2];

    fn forward(&self, [input, gain]: [FlexTensor; 2]) -> (FlexTensor, [FlexTensor; 2]) {
        let (x, g) = (values(&input), values(&gain));
        let part = PART_ROWS * g.len();
        let out = assembled(x.len(), part, |index, out| {
            normalise(&x[index * part..][..out.len()], g, self.epsilon, out);
        });
        (tensor(out, axes(&input)), [input, gain])
    }

    fn backward(
        &self,
        [input, gain]: [FlexTensor; 2],
        gradient: FlexTensor,
        [wants_input, wants_gain]: [bool; 2],
    ) -> [Option<FlexTensor>; 2] {
        let (x, g, dy) = (values(&input), values(&gain), values(&gradient));
        let input_gradient = wants_input.then(|| {
            let part = PART_ROWS * g.len();
            let out = assembled(x.len(), part, |index, out| {
                let [x, dy] = [x, dy].map(|all| &all[index * part..][..out.len()]);
                pull_input(x, g, self.epsilon, dy, out);
            });
            tensor(out, axes(&input))
        });
        let gain_gradient = wants_gain.then(|| {
            let mut out = vec![0.0; g.len()];
            pull_gain(x, dy, self.epsilon, &mut out);
            tensor(out, axes(&gain))
        });
        [input_gradient, gain_gradient]
    }
}

vectorised! {
    fn normalise(input: &[f32], gain: &[f32], epsilon: f32, out: &mut [f32]) {
        let width = gain.len();
        for (x, y) in input.chunks_exact(width).zip(out.chunks_exact_mut(width)) {
            let scale = scale(x, epsilon);
            for ((y, x), gain) in y.iter_mut().zip(x).zip(gain) {
                *y = x * scale * gain;
            }
        }
    }
}

vectorised! {
    /// dx = s g dy - x s³ mean(x g dy), where s is the row's scale.
    fn pull_input(input: &[f32], gain: &[f32], epsilon: f32, gradient: &[f32], out: &mut [f32]) {
        let width = gain.len();
        let rows = input.chunks_exact(width).zip(gradient.chunks_exact(width));
        for ((x, dy), dx) in rows.zip(out.chunks_exact_mut(width)) {
            let scale = scale(x, epsilon);
            let along = sum(width, |at| x[at] * gain[at] * dy[at]) / width as f32;
            let back = along * scale * scale * scale;
            for (((dx, x), dy), gain) in dx.iter_mut().zip(x).zip(dy).zip(gain) {
                *dx = scale * gain * dy - x * back;
            }
        }
    }
}

vectorised! {
    fn pull_gain(input: &[f32], gradient: &[f32], epsilon: f32, out: &mut [f32]) {
        let width = out.len();
        for (x, dy) in input.chunks_exact(width).zip(gradient.chunks_exact(width)) {
            let scale = scale(x, epsilon);
            for ((out, x), dy) in out.iter_mut().zip(x).zip(dy) {
                *out += x * scale * dy;
            }
        }
    }
}

/// One over the root of the mean square.
#[inline(always)]
fn scale(row: &[f32], epsilon: f32) -> f32 {
    let mean_square = sum(row.len(), |at| row[at] * row[at]) / row.len() as f32;
    1.0 / (mean_square + epsilon).sqrt()
}

/// Rows computed together.
const PART_ROWS: usize = 32;

#[cfg(test)]
mod tests {
    use super::super::reference::{assert_equal, gradient, random, run};
    use super::*;
    use crate::kernels::rms_norm;

    #[test]
    fn the_norm_and_its_twin_agree() {
        for (width, epsilon) in [(128, 1e-6), (37, 1e-2)] {
            let (input, gain) = (random([3, 5, width], 1), random([width], 2));
            let outcome = |output: Tensor<3>| {
                let (values, gradients) = run(output);
                [values, gradient(&input, &gradients), gradient(&gain, &gradients)]
            };
            let fused = outcome(rms_norm(input.clone(), gain.clone(), epsilon));
            assert_equal(fused, outcome(plain(input.clone(), gain.clone(), epsilon)));
        }
    }
}
