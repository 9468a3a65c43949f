//! AdamW with gradient accumulation and a bound on the gradients' norm.

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Bytes, Tensor};
use burn_optim::{AdamWConfig, GradientsAccumulator, GradientsParams, ModuleOptimizer};

use crate::host::floats;

/// The optimizer of a module's parameters that require gradients.
pub struct Optimizer<M> {
    optimizer: ModuleOptimizer,
    accumulated: GradientsAccumulator<M>,
    norm_max: Option<f32>,
    /// Steps taken by this one.
    steps: u64,
}

impl<M: Module> Optimizer<M> {
    /// AdamW with this decoupled weight decay, and gradients as they are.
    pub fn new(weight_decay: f64) -> Optimizer<M> {
        let optimizer = AdamWConfig::new().with_epsilon(1e-8);
        Optimizer {
            optimizer: optimizer.with_weight_decay(weight_decay as f32).init(),
            accumulated: GradientsAccumulator::new(),
            norm_max: None,
            steps: 0,
        }
    }

    /// The same, where gradients whose norm, over all tensors, is above `norm_max` are scaled down
    /// to it.
    pub fn clipped(self, norm_max: f32) -> Optimizer<M> {
        Optimizer { norm_max: Some(norm_max), ..self }
    }

    /// Adds gradients to those of the next step.
    pub fn accumulate(&mut self, module: &M, gradients: GradientsParams) {
        self.accumulated.accumulate(module, gradients);
    }

    /// AdamW's moments and counters, in Burn's own record, without accumulated gradients.
    pub fn moments(&self) -> Vec<u8> {
        self.optimizer.into_bytes().expect("moments in memory can be written").to_vec()
    }

    /// This optimizer with the moments of another, for the same parameters; none if they cannot
    /// be read.
    pub fn resume(self, moments: Vec<u8>) -> Option<Optimizer<M>> {
        let optimizer = self.optimizer.from_bytes(Bytes::from_bytes_vec(moments)).ok()?;
        Some(Optimizer { optimizer, ..self })
    }

    /// Takes the accumulated gradients, as their mean over `batches`.
    pub fn take_mean(&mut self, module: &M, batches: usize) -> GradientsParams {
        let gradients = self.accumulated.grads();
        match batches {
            0 | 1 => gradients,
            batches => scaled(module, gradients, 1.0 / batches as f64),
        }
    }

    /// Steps taken so far; those of another, whose moments it may have, are not counted.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// The module after a step of size `rate` along these gradients.
    pub fn step(&mut self, module: M, gradients: GradientsParams, rate: f64) -> M {
        let gradients = match self.norm_max {
            Some(norm_max) => bounded(&module, gradients, norm_max),
            None => gradients,
        };
        self.steps += 1;
        self.optimizer.step(rate, module, gradients)
    }
}

/// The gradients, scaled down to the norm `norm_max` if theirs, over all tensors, is above it.
fn bounded<M: Module>(module: &M, gradients: GradientsParams, norm_max: f32) -> GradientsParams {
    let factor = f64::from(norm_max) / norm(module, &gradients);
    if factor >= 1.0 {
        return gradients;
    }
    scaled(module, gradients, factor)
}

fn scaled<M: Module>(module: &M, gradients: GradientsParams, factor: f64) -> GradientsParams {
    let mut scaled = Scaled { gradients, factor };
    module.visit(&mut scaled);
    scaled.gradients
}

fn norm<M: Module>(module: &M, gradients: &GradientsParams) -> f64 {
    let mut square = Square { gradients, sum: 0.0 };
    module.visit(&mut square);
    square.sum.sqrt()
}

/// Adds up the squares of all gradients.
struct Square<'a> {
    gradients: &'a GradientsParams,
    sum: f64,
}

impl ModuleVisitor for Square<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let Some(gradient) = self.gradients.get::<D>(param.id) else { return };
        self.sum += floats(gradient).iter().map(|value| f64::from(*value).powi(2)).sum::<f64>();
    }
}

/// Multiplies all gradients.
struct Scaled {
    gradients: GradientsParams,
    factor: f64,
}

impl ModuleVisitor for Scaled {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let Some(gradient) = self.gradients.remove::<D>(param.id) else { return };
        self.gradients.register(param.id, gradient.mul_scalar(self.factor));
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{Device, TensorData};

    use super::*;

    #[derive(Module, Debug)]
    struct Linear {
        weight: Param<Tensor<2>>,
    }

    fn layer() -> Linear {
        let device = Device::flex().autodiff();
        let weight = Tensor::<2>::from_data(TensorData::new(vec![3.0_f32, 1.0], [2, 1]), &device);
        Linear { weight: Param::from_tensor(weight) }
    }

    fn gradients(layer: &Linear, inputs: [f32; 2]) -> GradientsParams {
        let device = Device::flex().autodiff();
        let input = Tensor::<2>::from_data(TensorData::new(inputs.to_vec(), [1, 2]), &device);
        GradientsParams::from_grads(input.matmul(layer.weight.val()).sum().backward(), layer)
    }

    #[test]
    fn two_halves_of_a_batch_step_where_the_whole_does() {
        let (layer, mut whole, mut halves) = (layer(), Optimizer::new(0.0), Optimizer::new(0.0));
        whole.accumulate(&layer, gradients(&layer, [4.0, -6.0]));
        halves.accumulate(&layer, gradients(&layer, [2.0, -12.0]));
        halves.accumulate(&layer, gradients(&layer, [6.0, 0.0]));
        let after = |optimizer: &mut Optimizer<Linear>, batches| {
            let gradients = optimizer.take_mean(&layer, batches);
            let bounded = bounded(&layer, gradients, 4.0);
            floats(optimizer.step(layer.clone(), bounded, 0.1).weight.val())
        };
        assert_eq!(after(&mut halves, 2), after(&mut whole, 1));
    }

    #[test]
    fn a_gradient_above_the_bound_is_scaled_to_it_and_another_is_not() {
        let layer = layer();
        let after = |inputs: [f32; 2]| {
            let bounded = bounded(&layer, gradients(&layer, inputs), 1.0);
            norm(&layer, &bounded)
        };
        assert!((after([3.0, 4.0]) - 1.0).abs() < 1e-6);
        assert!((after([0.3, 0.4]) - 0.5).abs() < 1e-6);
    }
}
