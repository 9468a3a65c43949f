//! A training under way, which can be paused and gone on with to the same bits.
//!
//! What a pause keeps is the adapter, AdamW's moments, the steps done and the losses so far. The
//! order of the examples and the noise are not kept: the plan's seed decides them, so they are
//! drawn again.

use std::ops::ControlFlow;

use witan_adapter::Adapter;

use super::batch::Batches;
use super::hold::held;
use super::{Step, TrainError, TrainPlan, Trained};
use crate::families::lora_model::{Losses, Pupil};
use crate::optimizer::Descent;

/// One adapter's way through its plan; the adapter itself is in the model that trains it.
pub struct Course<P: Pupil> {
    start: Adapter,
    plan: TrainPlan,
    batches: Batches,
    descent: Descent<P::Network>,
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

impl<P: Pupil> Course<P> {
    /// Puts `start` into the model; trains nothing yet.
    ///
    /// # Errors
    /// If the shard has nothing to train on, or `start` is no adapter of this model.
    pub fn begin(
        pupil: &mut P,
        start: &Adapter,
        shard: &P::Shard,
        plan: &TrainPlan,
    ) -> Result<Course<P>, TrainError> {
        pupil.adapted_mut().set(start)?;
        let descent = Descent::new(plan.weight_decay);
        Ok(Course {
            start: start.clone(),
            plan: plan.clone(),
            batches: Batches::new(pupil.syllabus(shard), plan)?,
            descent: match plan.gradient_norm_max {
                Some(norm_max) => descent.clipped(norm_max),
                None => descent,
            },
            done: 0,
            loss: 0.0,
        })
    }

    /// The training that `begin` with the same arguments began, from where it was paused.
    ///
    /// # Errors
    /// The same, or if what is kept does not fit.
    pub fn resume(self, pupil: &mut P, paused: Paused) -> Result<Course<P>, TrainError> {
        let Course { start, plan, mut batches, descent, .. } = self;
        if paused.done > plan.local_steps {
            return Err(TrainError::Past { done: paused.done, steps: plan.local_steps });
        }
        pupil.adapted_mut().set(&paused.adapter)?;
        let descent = descent.resume(paused.moments).ok_or(TrainError::Moments)?;
        for _ in 0..paused.done * plan.accumulation {
            batches.next();
        }
        Ok(Course { start, plan, batches, descent, done: paused.done, loss: paused.loss })
    }

    /// Steps until the plan is done or `progress` stops it; it may be called again.
    ///
    /// # Errors
    /// If the loss leaves the finite numbers.
    pub fn run(
        &mut self,
        pupil: &mut P,
        shard: &P::Shard,
        progress: &mut (dyn FnMut(Step) -> ControlFlow<()> + Send),
    ) -> Result<(), TrainError> {
        let threads = self.plan.threads;
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        let pool = pool.map_err(|_| TrainError::Threads { threads })?;
        // Burn's kernels are slow to enter from outside a pool, hence the whole loop runs inside.
        pool.install(|| {
            while self.done < self.plan.local_steps {
                let step = self.step(pupil, shard)?;
                if progress(step).is_break() {
                    break;
                }
            }
            Ok(())
        })
    }

    fn step(&mut self, pupil: &mut P, shard: &P::Shard) -> Result<Step, TrainError> {
        let step = self.done + 1;
        let taken = self.batches.taken;
        let losses = self.gather(pupil, shard)?;
        let sum = losses.sum();
        if !sum.is_finite() {
            return Err(TrainError::Diverged { step });
        }
        let adapted = pupil.adapted_mut();
        let gradients = self.descent.gathered(&adapted.network, self.plan.accumulation);
        let gradients = held(gradients, adapted, &self.start, &self.plan);
        let rate = self.plan.schedule.at(step);
        adapted.network = self.descent.step(adapted.network.clone(), gradients, rate);
        self.loss += sum;
        self.done = step;
        Ok(Step {
            step,
            steps: self.plan.local_steps,
            examples: self.batches.taken - taken,
            answer_loss: losses.answer,
            flow_loss: losses.flow,
        })
    }

    /// Gathers the gradients of a step's batches; their mean losses.
    fn gather(&mut self, pupil: &mut P, shard: &P::Shard) -> Result<Losses, TrainError> {
        let batches = self.plan.accumulation;
        let mut mean = Losses::default();
        for batch in self.done * batches..(self.done + 1) * batches {
            pupil.adapted_mut().dropout.decide(self.plan.seed ^ ((batch as u64 + 1) << 32));
            let (descent, network) = (&mut self.descent, &pupil.adapted().network);
            let losses = pupil.pull(shard, self.batches.next(), &mut |gradients| {
                descent.gather(network, gradients);
            })?;
            let add = |mean: &mut Option<f32>, loss: Option<f32>| {
                if let Some(loss) = loss {
                    *mean.get_or_insert(0.0) += loss / batches as f32;
                }
            };
            add(&mut mean.answer, losses.answer);
            add(&mut mean.flow, losses.flow);
        }
        Ok(mean)
    }

    /// Where it stands; `pupil` is the model that trains it.
    pub fn pause(&self, pupil: &P) -> Paused {
        let (done, loss) = (self.done, self.loss);
        Paused { adapter: pupil.adapted().adapter(), moments: self.descent.moments(), done, loss }
    }

    /// What came of it; none before the plan is done.
    pub fn trained(&self, pupil: &P) -> Option<Trained> {
        (self.done == self.plan.local_steps).then(|| Trained {
            adapter: pupil.adapted().adapter(),
            loss: self.loss / self.plan.local_steps.max(1) as f32,
            examples: self.batches.taken,
            steps: self.plan.local_steps as u64,
        })
    }
}
