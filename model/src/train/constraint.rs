//! What a strategy asks of every training step: a frozen factor, or a proximal term.
//!
//! FFA-LoRA (arXiv 2403.12313) and RoLoRA (arXiv 2409.02346) freeze one factor: it gets no
//! gradient. FedProx (arXiv 1812.06127, equation 2) adds the proximal term μ/2·‖w − start‖² to the
//! loss, whose gradient is μ·(w − start).

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::Tensor;
use burn_optim::GradientsParams;
use witan_adapter::Adapter;

use super::TrainPlan;
use crate::host::tensor_of;
use crate::layers::adapted::Adapted;
use crate::layers::names::Names;

/// The gradients with the frozen factor's removed and the proximal term's added.
pub(crate) fn constrained<M: Module>(
    gradients: GradientsParams,
    adapted: &Adapted<M>,
    start: &Adapter,
    plan: &TrainPlan,
) -> GradientsParams {
    let mut constraint = Constraint { gradients, names: &adapted.names, start, plan };
    adapted.network.visit(&mut constraint);
    constraint.gradients
}

struct Constraint<'a> {
    gradients: GradientsParams,
    names: &'a Names,
    start: &'a Adapter,
    plan: &'a TrainPlan,
}

impl ModuleVisitor for Constraint<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let Some((name, transposed)) = self.names.of(param.id) else { return };
        let Some(start) = self.start.tensors().get(name) else { return };
        let Some(gradient) = self.gradients.remove::<D>(param.id) else { return };
        if !self.plan.strategy.trains(self.plan.round, name) {
            return;
        }
        let gradient = match self.plan.strategy.proximal_mu() {
            0.0 => gradient,
            mu => {
                let now = param.val().inner();
                let start = tensor_of(start, transposed, &now.device());
                gradient.add(now.sub(start).mul_scalar(mu))
            }
        };
        self.gradients.register(param.id, gradient);
    }
}
