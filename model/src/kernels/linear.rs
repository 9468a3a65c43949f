//! A frozen linear layer and its low-rank update in one product (LoRA, arXiv 2106.09685).
//!
//! The update's share is added to a tile of the output while it is still in registers.

use burn::backend::flex::FlexTensor;
use burn::tensor::Tensor;
use witan_adapter::tensors::transpose;

use super::outer::add_outer;
use super::product::{Panels, Rows, product};
use super::{Operator, axes, tensor, values};
use crate::precision::Precision;

/// See [`super::lora_linear`].
pub(super) fn plain<const D: usize>(
    input: Tensor<D>,
    weight: Tensor<2>,
    [a, b]: [Tensor<2>; 2],
    scale: f64,
    precision: Precision,
) -> Tensor<D> {
    let low = precision.trained(input.clone(), a).mul_scalar(scale);
    precision.frozen(input, weight).add(precision.trained(low, b))
}

#[derive(Debug)]
pub(super) struct LowRank {
    pub(super) scale: f32,
}

#[derive(Clone, Debug)]
pub(super) struct Saved {
    inputs: [FlexTensor; 4],
    /// scale · (input · a): `[rows, rank]`.
    low: Vec<f32>,
}

/// Rows of the input, widths of a row and of an output's row, rank of the update.
struct Sizes {
    rows: usize,
    inputs: usize,
    outputs: usize,
    rank: usize,
}

impl Sizes {
    fn of([input, weight, _, b]: &[FlexTensor; 4]) -> Sizes {
        let [inputs, outputs] = [axes(weight)[0], axes(weight)[1]];
        Sizes { rows: values(input).len() / inputs, inputs, outputs, rank: axes(b)[0] }
    }
}

impl Operator<4> for LowRank {
    type Saved = Saved;

    fn forward(&self, tensors: [FlexTensor; 4]) -> (FlexTensor, Saved) {
        let Sizes { rows, inputs, outputs, rank } = Sizes::of(&tensors);
        let [x, weight, a, b] = tensors.each_ref().map(values);
        let x = Rows::new(x, inputs);
        let a = Panels::of(Rows::new(a, rank), [inputs, rank]);
        let mut low = product((x, &a), None, rows);
        low.iter_mut().for_each(|value| *value *= self.scale);
        let weight = Panels::of(Rows::new(weight, outputs), [inputs, outputs]);
        let b = Panels::of(Rows::new(b, outputs), [rank, outputs]);
        let out = product((x, &weight), Some((Rows::new(&low, rank), &b)), rows);
        let mut shape = axes(&tensors[0]).to_vec();
        *shape.last_mut().expect("an input has an axis") = outputs;
        (tensor(out, &shape), Saved { inputs: tensors, low })
    }

    fn backward(
        &self,
        Saved { inputs: tensors, low }: Saved,
        gradient: FlexTensor,
        [wants_input, wants_weight, wants_a, wants_b]: [bool; 4],
    ) -> [Option<FlexTensor>; 4] {
        let Sizes { rows, inputs, outputs, rank } = Sizes::of(&tensors);
        let [x, weight, a, b] = tensors.each_ref().map(values);
        let (x, dy) = (Rows::new(x, inputs), Rows::new(values(&gradient), outputs));
        let b = Panels::of_transposed(Rows::new(b, outputs), [rank, outputs]);
        let mut low_gradient = product((dy, &b), None, rows);
        low_gradient.iter_mut().for_each(|value| *value *= self.scale);
        let dlow = Rows::new(&low_gradient, rank);
        let outer = |left: Rows, right: Rows, [lefts, rights]: [usize; 2]| {
            let mut out = vec![0.0; lefts * rights];
            add_outer(left, right, rows, &mut out, rights);
            out
        };
        let input_gradient = wants_input.then(|| {
            let weight = Panels::of_transposed(Rows::new(weight, outputs), [inputs, outputs]);
            let a = Panels::of_transposed(Rows::new(a, rank), [inputs, rank]);
            tensor(product((dy, &weight), Some((dlow, &a)), rows), axes(&tensors[0]))
        });
        let weight_gradient =
            wants_weight.then(|| tensor(outer(x, dy, [inputs, outputs]), &[inputs, outputs]));
        // A tile is eight rows of thirty-two columns, hence the rank goes down its side.
        let a_gradient = wants_a.then(|| {
            let turned = outer(dlow, x, [rank, inputs]);
            tensor(transpose(&turned, rank, inputs), &[inputs, rank])
        });
        let b_gradient = wants_b
            .then(|| tensor(outer(Rows::new(&low, rank), dy, [rank, outputs]), &[rank, outputs]));
        [input_gradient, weight_gradient, a_gradient, b_gradient]
    }
}

#[cfg(test)]
mod tests {
    use super::super::reference::{assert_equal, gradient, random, run};
    use super::*;
    use crate::kernels::lora_linear;

    #[test]
    fn the_low_rank_layer_and_its_twin_agree() {
        for [inputs, outputs, rank] in [[128, 72, 8], [12, 40, 3]] {
            let (x, weight) = (random([3, 7, inputs], 1), random([inputs, outputs], 2));
            let (a, b) = (random([inputs, rank], 3), random([rank, outputs], 4));
            let factors = || [a.clone(), b.clone()];
            let outcome = |output: Tensor<3>| {
                let (values, gradients) = run(output);
                let of = |factor| gradient(factor, &gradients);
                [values, gradient(&x, &gradients), of(&weight), of(&a), of(&b)]
            };
            let fused =
                outcome(lora_linear(x.clone(), weight.clone(), factors(), 2.0, Precision::Float32));
            let twin =
                outcome(plain(x.clone(), weight.clone(), factors(), 2.0, Precision::Float32));
            assert_equal(fused, twin);
        }
    }
}
