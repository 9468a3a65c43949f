//! A training under way, which can be paused and gone on with to the same bits.
//!
//! What a pause keeps is the adapter, AdamW's moments, the steps done and the losses so far. The order of the
//! examples and the noise are not kept: the plan's seed decides them, so they are drawn again.

use std::ops::ControlFlow;

use burn::optim::GradientsParams;
use burn::tensor::Tensor;

use super::batch::Batches;
use super::descent::Descent;
use super::hold::held;
use super::{Step, TrainError, TrainPlan, Trained};
use crate::adapter::Adapter;
use crate::encoded::EncodedShard;
use crate::umm::weights::floats;
use crate::umm::{Network, Umm};

/// One adapter's way through its plan; the adapter itself is in the model that trains it.
pub struct Course {
    start: Adapter,
    plan: TrainPlan,
    batches: Batches,
    descent: Descent<Network>,
    done: usize,
    loss: f32,
}

/// Where a training stands, to be kept.
#[derive(Clone, Debug)]
pub struct Paused {
    /// The adapter as it is.
    pub adapter: Adapter,
    /// AdamW's moments and counters, in Burn's own record.
    pub moments: Vec<u8>,
    /// Steps done.
    pub done: usize,
    /// The sum of their losses.
    pub loss: f32,
}

impl Course {
    /// Puts `start` into the model; trains nothing yet.
    ///
    /// # Errors
    /// If the shard has nothing to train on, or `start` is no adapter of this model.
    pub fn begin(
        umm: &mut Umm,
        start: &Adapter,
        shard: &EncodedShard,
        plan: &TrainPlan,
    ) -> Result<Course, TrainError> {
        umm.set_adapter(start)?;
        Ok(Course {
            start: start.clone(),
            plan: plan.clone(),
            batches: Batches::new(shard, plan)?,
            descent: Descent::new(plan.weight_decay),
            done: 0,
            loss: 0.0,
        })
    }

    /// The training that `begin` with the same arguments began, from where it was paused.
    ///
    /// # Errors
    /// The same, or if what is kept does not fit.
    pub fn resume(
        self,
        umm: &mut Umm,
        shard: &EncodedShard,
        paused: Paused,
    ) -> Result<Course, TrainError> {
        let Course { start, plan, mut batches, descent, .. } = self;
        if paused.done > plan.local_steps {
            return Err(TrainError::Past { done: paused.done, steps: plan.local_steps });
        }
        umm.set_adapter(&paused.adapter)?;
        let descent = descent.resume(paused.moments).ok_or(TrainError::Moments)?;
        for _ in 0..paused.done {
            batches.next(umm, shard);
        }
        Ok(Course { start, plan, batches, descent, done: paused.done, loss: paused.loss })
    }

    /// Steps until the plan is done or `progress` stops it; it may be called again.
    ///
    /// # Errors
    /// If the loss leaves the finite numbers.
    pub fn run(
        &mut self,
        umm: &mut Umm,
        shard: &EncodedShard,
        progress: &mut (dyn FnMut(Step) -> ControlFlow<()> + Send),
    ) -> Result<(), TrainError> {
        let threads = self.plan.threads;
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        let pool = pool.map_err(|_| TrainError::Threads { threads })?;
        // Burn's kernels are slow to enter from outside a pool, hence the whole loop runs inside.
        pool.install(|| {
            while self.done < self.plan.local_steps {
                let step = self.step(umm, shard)?;
                if progress(step).is_break() {
                    break;
                }
            }
            Ok(())
        })
    }

    fn step(&mut self, umm: &mut Umm, shard: &EncodedShard) -> Result<Step, TrainError> {
        let step = self.done + 1;
        let device = umm.adapted.network.device();
        umm.adapted.dropout.decide(self.plan.seed ^ ((step as u64) << 32));
        let (asked, captioned) = self.batches.next(umm, shard);
        let answers = asked.map(|asked| asked.loss(umm, shard, &device));
        let drawings = captioned.map(|captioned| captioned.loss(umm, shard, &device));
        let value = |loss: &Option<Tensor<1>>| loss.clone().map(|loss| floats(loss)[0]);
        let report = Step {
            step,
            steps: self.plan.local_steps,
            answer_loss: value(&answers),
            flow_loss: value(&drawings),
        };
        let loss = [answers, drawings].into_iter().flatten().reduce(|sum, loss| sum.add(loss));
        let loss = loss.ok_or(TrainError::Empty)?;
        let sum = report.answer_loss.unwrap_or(0.0) + report.flow_loss.unwrap_or(0.0);
        if !sum.is_finite() {
            return Err(TrainError::Diverged { step });
        }
        let gradients = GradientsParams::from_grads(loss.backward(), &umm.adapted.network);
        let gradients = held(gradients, umm, &self.start, &self.plan);
        self.descent.gather(&umm.adapted.network, gradients);
        let network = umm.adapted.network.clone();
        umm.adapted.network = self.descent.step(network, self.plan.schedule.at(step));
        self.loss += sum;
        self.done = step;
        Ok(report)
    }

    /// Where it stands; `umm` is the model that trains it.
    pub fn pause(&self, umm: &Umm) -> Paused {
        let (done, loss) = (self.done, self.loss);
        Paused { adapter: umm.adapter(), moments: self.descent.moments(), done, loss }
    }

    /// What came of it; none before the plan is done.
    pub fn trained(&self, umm: &Umm) -> Option<Trained> {
        (self.done == self.plan.local_steps).then(|| Trained {
            adapter: umm.adapter(),
            loss: self.loss / self.plan.local_steps.max(1) as f32,
            examples: self.batches.taken,
            steps: self.plan.local_steps as u64,
        })
    }
}
