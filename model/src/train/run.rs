//! A training run, which can be saved and resumed to the same bits.
//!
//! Its state is the adapter, AdamW's moments, the steps done and the losses so far. The
//! order of the examples and the noise are no part of it: the plan's seed decides them, so they are
//! drawn again.

use std::ops::ControlFlow;

use witan_adapter::Adapter;

use super::constraint::constrained;
use super::sampler::Batches;
use super::{Step, TrainError, TrainPlan, Trained};
use crate::families::lora_model::{LoraModel, Losses};
use crate::optimizer::Optimizer;

/// One adapter trained by a plan; the adapter itself is in the model that trains it.
pub struct TrainingRun<M: LoraModel> {
    start: Adapter,
    plan: TrainPlan,
    batches: Batches,
    optimizer: Optimizer<M::Network>,
    done: usize,
    loss: f32,
}

/// The state of a run, to be saved.
#[derive(Clone, Debug)]
pub struct TrainingState {
    /// The adapter as it is.
    pub adapter: Adapter,
    /// AdamW's moments and counters, in Burn's own record.
    pub moments: Vec<u8>,
    /// Steps done.
    pub done: usize,
    /// The sum of their losses.
    pub loss: f32,
}

impl<M: LoraModel> TrainingRun<M> {
    /// Puts `start` into the model; trains nothing yet.
    ///
    /// # Errors
    /// If the shard has nothing to train on, or `start` is no adapter of this model.
    pub fn begin(
        model: &mut M,
        start: &Adapter,
        shard: &M::Shard,
        plan: &TrainPlan,
    ) -> Result<TrainingRun<M>, TrainError> {
        model.adapted_mut().set(start)?;
        let optimizer = Optimizer::new(plan.weight_decay);
        Ok(TrainingRun {
            start: start.clone(),
            plan: plan.clone(),
            batches: Batches::new(model.examples(shard), plan)?,
            optimizer: match plan.gradient_norm_max {
                Some(norm_max) => optimizer.clipped(norm_max),
                None => optimizer,
            },
            done: 0,
            loss: 0.0,
        })
    }

    /// The training that `begin` with the same arguments began, from a state of it.
    ///
    /// # Errors
    /// The same, or if the state is not of it.
    pub fn resume(self, model: &mut M, state: TrainingState) -> Result<TrainingRun<M>, TrainError> {
        let TrainingRun { start, plan, mut batches, optimizer, .. } = self;
        if state.done > plan.local_steps {
            return Err(TrainError::BeyondPlan { done: state.done, steps: plan.local_steps });
        }
        model.adapted_mut().set(&state.adapter)?;
        let optimizer = optimizer.resume(state.moments).ok_or(TrainError::Moments)?;
        for _ in 0..state.done * plan.accumulation {
            batches.next();
        }
        Ok(TrainingRun { start, plan, batches, optimizer, done: state.done, loss: state.loss })
    }

    /// Takes steps until the plan is done or `progress` stops it; may be called again.
    ///
    /// # Errors
    /// If the loss leaves the finite numbers.
    pub fn run(
        &mut self,
        model: &mut M,
        shard: &M::Shard,
        progress: &mut (dyn FnMut(Step) -> ControlFlow<()> + Send),
    ) -> Result<(), TrainError> {
        let threads = self.plan.threads;
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        let pool = pool.map_err(|_| TrainError::Threads { threads })?;
        // Burn's kernels are slow to enter from outside a pool, hence the whole loop runs inside.
        pool.install(|| {
            while self.done < self.plan.local_steps {
                let step = self.step(model, shard)?;
                if progress(step).is_break() {
                    break;
                }
            }
            Ok(())
        })
    }

    fn step(&mut self, model: &mut M, shard: &M::Shard) -> Result<Step, TrainError> {
        let step = self.done + 1;
        let taken = self.batches.taken;
        let losses = self.accumulate(model, shard)?;
        let sum = losses.sum();
        if !sum.is_finite() {
            return Err(TrainError::Diverged { step });
        }
        let adapted = model.adapted_mut();
        let gradients = self.optimizer.take_mean(&adapted.network, self.plan.accumulation);
        let gradients = constrained(gradients, adapted, &self.start, &self.plan);
        let rate = self.plan.schedule.at(step);
        adapted.network = self.optimizer.step(adapted.network.clone(), gradients, rate);
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

    /// Accumulates the gradients of a step's batches; their mean losses.
    fn accumulate(&mut self, model: &mut M, shard: &M::Shard) -> Result<Losses, TrainError> {
        let batches = self.plan.accumulation;
        let mut mean = Losses::default();
        for batch in self.done * batches..(self.done + 1) * batches {
            model.adapted_mut().dropout.decide(self.plan.seed ^ ((batch as u64 + 1) << 32));
            let (optimizer, network) = (&mut self.optimizer, &model.adapted().network);
            let losses = model.backward(shard, self.batches.next(), &mut |gradients| {
                optimizer.accumulate(network, gradients);
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

    /// The state to resume from; `model` is the model that trains it.
    pub fn state(&self, model: &M) -> TrainingState {
        let (done, loss) = (self.done, self.loss);
        TrainingState {
            adapter: model.adapted().adapter(),
            moments: self.optimizer.moments(),
            done,
            loss,
        }
    }

    /// What came of it; none before the plan is done.
    pub fn trained(&self, model: &M) -> Option<Trained> {
        (self.done == self.plan.local_steps).then(|| Trained {
            adapter: model.adapted().adapter(),
            loss: self.loss / self.plan.local_steps.max(1) as f32,
            examples: self.batches.taken,
            steps: self.plan.local_steps as u64,
        })
    }
}
