//! The mean cross-entropy of one right class a row.

use std::sync::Arc;

use burn::backend::flex::FlexTensor;
use burn::tensor::activation::log_softmax;
use burn::tensor::{Int, Tensor, TensorData};
use witan_adapter::vector::{exp, max, sum, vectorised};

use super::{Operator, axes, tensor, values};

/// The right class of every row.
pub(super) type Targets = Arc<[u32]>;

/// See [`super::cross_entropy`].
pub(super) fn plain(logits: Tensor<2>, targets: &[u32]) -> Tensor<1> {
    let targets: Vec<i32> = targets.iter().map(|target| *target as i32).collect();
    let data = TensorData::new(targets.clone(), [targets.len(), 1]);
    let indices = Tensor::<2, Int>::from_data(data, &logits.device());
    log_softmax(logits, 1).gather(1, indices).mean().neg()
}

#[derive(Debug)]
pub(super) struct CrossEntropy {
    pub(super) targets: Targets,
}

/// The probabilities of a forward pass and their axes.
#[derive(Clone, Debug)]
pub(super) struct Saved {
    probabilities: Vec<f32>,
    axes: [usize; 2],
}

impl Operator<1> for CrossEntropy {
    type Saved = Saved;

    fn forward(&self, [logits]: [FlexTensor; 1]) -> (FlexTensor, Saved) {
        let axes = [axes(&logits)[0], axes(&logits)[1]];
        let mut probabilities = values(&logits).to_vec();
        let mut loss = 0.0;
        pass(&mut probabilities, &self.targets, axes[1], &mut loss);
        (tensor(vec![loss], &[1]), Saved { probabilities, axes })
    }

    fn backward(
        &self,
        Saved { mut probabilities, axes: [rows, classes] }: Saved,
        gradient: FlexTensor,
        _wanted: [bool; 1],
    ) -> [Option<FlexTensor>; 1] {
        for (row, target) in probabilities.chunks_exact_mut(classes).zip(&self.targets[..]) {
            row[*target as usize] -= 1.0;
        }
        let share = values(&gradient)[0] / rows as f32;
        probabilities.iter_mut().for_each(|value| *value *= share);
        [Some(tensor(probabilities, &[rows, classes]))]
    }
}

vectorised! {
    /// Turns logits into probabilities and adds up the mean loss.
    fn pass(logits: &mut [f32], targets: &[u32], classes: usize, loss: &mut f32) {
        let mut total = 0.0;
        for (row, target) in logits.chunks_exact_mut(classes).zip(targets) {
            let largest = max(row);
            let right = row[*target as usize] - largest;
            row.iter_mut().for_each(|value| *value = exp(*value - largest));
            let mass = sum(classes, |at| row[at]);
            total += f64::from(mass.ln() - right);
            let share = 1.0 / mass;
            row.iter_mut().for_each(|value| *value *= share);
        }
        *loss = (total / targets.len() as f64) as f32;
    }
}

#[cfg(test)]
mod tests {
    use super::super::reference::{assert_equal, gradient, random, run};
    use super::*;
    use crate::kernels::cross_entropy;

    #[test]
    fn the_cross_entropy_and_its_twin_agree() {
        let logits = random([5, 83], 1);
        let wide = || logits.clone().mul_scalar(9.0);
        let outcome = |output: Tensor<1>| {
            let (values, gradients) = run(output);
            [values, gradient(&logits, &gradients)]
        };
        let targets = [0, 82, 7, 7, 40];
        let fused = outcome(cross_entropy(wide(), &targets));
        assert_equal(fused, outcome(plain(wide(), &targets)));
    }
}
