//! The mean cross-entropy of a frozen output head, without a gradient as large as its logits.
//!
//! Logits are made a block of classes at a time, turned into their own gradients where they stand,
//! and multiplied by the head at once: backward only scales. A vocabulary's logits are
//! most of what a language model makes.

use burn::backend::flex::FlexTensor;
use burn::tensor::Tensor;
use rayon::prelude::*;
use witan_adapter::vector::{exp, max, sum, vectorised};

use super::cross_entropy::{self, Targets};
use super::product::{Panels, Rows, product_into};
use super::{Operator, axes, tensor, values};
use crate::precision::Precision;

/// How the head's matrix lies.
#[derive(Clone, Copy, Debug)]
pub(crate) enum HeadLayout {
    /// One row a class: a table of token embeddings.
    Rows,
    /// One column a class: a linear layer's.
    Columns,
}

/// See [`super::head_loss`].
pub(super) fn plain(
    hidden: Tensor<2>,
    head: Tensor<2>,
    layout: HeadLayout,
    targets: &[u32],
    precision: Precision,
) -> Tensor<1> {
    let head = match layout {
        HeadLayout::Rows => head.transpose(),
        HeadLayout::Columns => head,
    };
    cross_entropy::plain(precision.frozen(hidden, head), targets)
}

#[derive(Debug)]
pub(super) struct HeadLoss {
    pub(super) layout: HeadLayout,
    pub(super) targets: Targets,
}

impl Operator<2> for HeadLoss {
    /// The gradient of the hidden states.
    type Saved = FlexTensor;

    fn forward(&self, [hidden, head]: [FlexTensor; 2]) -> (FlexTensor, FlexTensor) {
        let [rows, width] = [axes(&hidden)[0], axes(&hidden)[1]];
        let classes = values(&head).len() / width;
        let head = Head { values: values(&head), layout: self.layout, width, classes };
        let blocks = (0..classes).step_by(BLOCK).map(|start| (start, BLOCK.min(classes - start)));
        let mut logits = vec![0.0; rows * classes];
        for (start, count) in blocks.clone() {
            let panels = head.forward(start, count);
            logits.par_chunks_mut(PART_ROWS * classes).enumerate().for_each(|(part, logits)| {
                let hidden = Rows::new(values(&hidden), width).from(part * PART_ROWS);
                let rows = logits.len() / classes;
                product_into((hidden, &panels), rows, &mut logits[start..], classes);
            });
        }
        let share = 1.0 / rows as f32;
        let to_gradient = |(logits, target): (&mut [f32], &u32)| {
            let mut loss = 0.0;
            pull_row(logits, *target as usize, share, &mut loss);
            f64::from(loss)
        };
        let losses = logits.par_chunks_mut(classes).zip(&self.targets[..]).map(to_gradient);
        let losses: Vec<f64> = losses.collect();
        let loss = losses.iter().sum::<f64>() / rows as f64;
        let mut gradient = vec![0.0; rows * width];
        for (start, count) in blocks {
            let panels = head.backward(start, count);
            gradient.par_chunks_mut(PART_ROWS * width).enumerate().for_each(|(part, gradient)| {
                let logits = Rows::new(&logits[start..], classes).from(part * PART_ROWS);
                let mut added = vec![0.0; gradient.len()];
                product_into((logits, &panels), gradient.len() / width, &mut added, width);
                gradient.iter_mut().zip(&added).for_each(|(sum, added)| *sum += added);
            });
        }
        (tensor(vec![loss as f32], &[1]), tensor(gradient, &[rows, width]))
    }

    fn backward(
        &self,
        saved: FlexTensor,
        gradient: FlexTensor,
        _wanted: [bool; 2],
    ) -> [Option<FlexTensor>; 2] {
        let factor = values(&gradient)[0];
        let gradients = values(&saved).iter().map(|value| value * factor).collect();
        [Some(tensor(gradients, axes(&saved))), None]
    }
}

struct Head<'a> {
    values: &'a [f32],
    layout: HeadLayout,
    width: usize,
    classes: usize,
}

impl Head<'_> {
    /// Some classes as the right-hand matrix of logits: `[width, count]`.
    fn forward(&self, start: usize, count: usize) -> Panels {
        match self.layout {
            HeadLayout::Rows => Panels::of_transposed(self.rows(start), [count, self.width]),
            HeadLayout::Columns => Panels::of(self.columns(start), [self.width, count]),
        }
    }

    /// The same as the right-hand matrix of gradients: `[count, width]`.
    fn backward(&self, start: usize, count: usize) -> Panels {
        match self.layout {
            HeadLayout::Rows => Panels::of(self.rows(start), [count, self.width]),
            HeadLayout::Columns => Panels::of_transposed(self.columns(start), [self.width, count]),
        }
    }

    fn rows(&self, start: usize) -> Rows<'_> {
        Rows::new(self.values, self.width).from(start)
    }

    fn columns(&self, start: usize) -> Rows<'_> {
        Rows::new(self.values, self.classes).columns_from(start)
    }
}

vectorised! {
    /// Turns a row of logits into `share` of its loss's gradient; the loss.
    fn pull_row(logits: &mut [f32], target: usize, share: f32, loss: &mut f32) {
        let largest = max(logits);
        let right = logits[target] - largest;
        logits.iter_mut().for_each(|value| *value = exp(*value - largest));
        let mass = sum(logits.len(), |at| logits[at]);
        *loss = mass.ln() - right;
        let factor = share / mass;
        logits.iter_mut().for_each(|value| *value *= factor);
        logits[target] -= share;
    }
}

/// Classes at a time: few enough that their part of the head stays in a near cache.
const BLOCK: usize = 1024;
/// Rows one thread takes at a time.
const PART_ROWS: usize = 64;

#[cfg(test)]
mod tests {
    use super::super::reference::{assert_equal, gradient, random, run};
    use super::*;
    use crate::kernels::head_loss;

    #[test]
    fn the_loss_of_a_frozen_head_and_its_twin_agree() {
        let (rows, width, classes) = (PART_ROWS + 5, 24, BLOCK + 77);
        let hidden = random([rows, width], 1);
        let targets: Vec<u32> = (0..rows).map(|row| (row * 37 % classes) as u32).collect();
        for (layout, shape) in
            [(HeadLayout::Rows, [classes, width]), (HeadLayout::Columns, [width, classes])]
        {
            let head = random(shape, 2).detach();
            let wide = || hidden.clone().mul_scalar(3.0);
            let outcome = |output: Tensor<1>| {
                let (values, gradients) = run(output);
                [values, gradient(&hidden, &gradients)]
            };
            let fused =
                outcome(head_loss(wide(), head.clone(), layout, &targets, Precision::Float32));
            assert_equal(
                fused,
                outcome(plain(wide(), head.clone(), layout, &targets, Precision::Float32)),
            );
        }
    }
}
