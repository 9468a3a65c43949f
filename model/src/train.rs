//! One member's local training: a few visible steps of AdamW on the adapter.
//!
//! Follows FedUMM: the base stays frozen, the optimiser is made anew each round, and what leaves is the adapter
//! with the number of examples it saw. The same start, shard, plan and thread count give the same bytes.

mod batch;
pub mod descent;
mod hold;
pub mod schedule;

use std::ops::ControlFlow;

use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::adapter::{Adapter, AdapterError};
use crate::encoded::EncodedShard;
use crate::strategy::Strategy;
use crate::umm::Umm;
use crate::umm::weights::floats;
use batch::Batches;
pub(crate) use batch::Deck;
pub use batch::record;
use descent::Descent;
use hold::held;
pub use schedule::Schedule;

/// How a member trains in one round.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainPlan {
    /// Optimiser steps of the round.
    pub local_steps: usize,
    /// Questions a step.
    pub batch_questions: usize,
    /// Captions a step.
    pub batch_captions: usize,
    /// Step size of AdamW.
    pub schedule: Schedule,
    /// Decoupled weight decay of AdamW.
    pub weight_decay: f64,
    /// Decides the order of examples and the noise.
    pub seed: u64,
    /// Threads the round may use.
    pub threads: usize,
    /// The federation's strategy: it may hold training near its start, or one factor still.
    #[serde(skip)]
    pub strategy: Strategy,
    /// The round, which may say which factor.
    #[serde(skip)]
    pub round: u64,
}

impl Default for TrainPlan {
    fn default() -> TrainPlan {
        TrainPlan {
            local_steps: 10,
            batch_questions: 16,
            batch_captions: 16,
            schedule: Schedule::constant(3e-3),
            weight_decay: 0.0,
            seed: 0,
            threads: 1,
            strategy: Strategy::FedAvg,
            round: 1,
        }
    }
}

/// What one step reports.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// Steps done, this one included.
    pub step: usize,
    /// Steps of the round.
    pub steps: usize,
    /// Mean cross-entropy of the answers, if there were questions.
    pub answer_loss: Option<f32>,
    /// Flow-matching loss of the drawings, if there were captions.
    pub flow_loss: Option<f32>,
}

/// A finished round.
#[derive(Clone, Debug)]
pub struct Trained {
    /// The adapter after the last step.
    pub adapter: Adapter,
    /// Mean over the steps of the sum of both losses.
    pub loss: f32,
    /// Questions and captions seen, counted each time.
    pub examples: u64,
    /// Steps done.
    pub steps: u64,
}

/// Why a round could not be trained.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// The member has nothing to train on.
    #[error("the shard has neither a question with a one-word answer nor a caption")]
    Empty,
    /// The start is no adapter of this model.
    #[error(transparent)]
    Start(#[from] AdapterError),
    /// The loss left the finite numbers.
    #[error("the loss is not finite at step {step}")]
    Diverged {
        /// The step, from one.
        step: usize,
    },
    /// The threads could not be started.
    #[error("cannot start {threads} training threads")]
    Threads {
        /// How many were asked for.
        threads: usize,
    },
}

/// Trains `start` on a shard; `None` if `progress` stopped it.
///
/// The model holds the last adapter trained when this returns.
pub fn train(
    umm: &mut Umm,
    start: &Adapter,
    shard: &EncodedShard,
    plan: &TrainPlan,
    progress: &mut (dyn FnMut(Step) -> ControlFlow<()> + Send),
) -> Result<Option<Trained>, TrainError> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(plan.threads).build();
    let pool = pool.map_err(|_| TrainError::Threads { threads: plan.threads })?;
    // Burn's kernels are slow to enter from outside a pool, hence the whole loop runs inside.
    pool.install(|| train_here(umm, start, shard, plan, progress))
}

fn train_here(
    umm: &mut Umm,
    start: &Adapter,
    shard: &EncodedShard,
    plan: &TrainPlan,
    progress: &mut (dyn FnMut(Step) -> ControlFlow<()> + Send),
) -> Result<Option<Trained>, TrainError> {
    umm.set_adapter(start)?;
    let mut batches = Batches::new(shard, plan)?;
    let mut descent = Descent::new(plan.weight_decay);
    let device = umm.adapted.network.device();
    let mut total = 0.0;
    for step in 1..=plan.local_steps {
        umm.adapted.dropout.decide(plan.seed ^ ((step as u64) << 32));
        let (asked, captioned) = batches.next(umm, shard);
        let answers = asked.map(|asked| asked.loss(umm, shard, &device));
        let drawings = captioned.map(|captioned| captioned.loss(umm, shard, &device));
        let value = |loss: &Option<Tensor<1>>| loss.clone().map(|loss| floats(loss)[0]);
        let report = Step {
            step,
            steps: plan.local_steps,
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
        let gradients = held(gradients, umm, start, plan);
        descent.gather(&umm.adapted.network, gradients);
        let network = umm.adapted.network.clone();
        umm.adapted.network = descent.step(network, plan.schedule.at(step));
        total += sum;
        if progress(report).is_break() {
            return Ok(None);
        }
    }
    Ok(Some(Trained {
        adapter: umm.adapter(),
        loss: total / plan.local_steps.max(1) as f32,
        examples: batches.taken,
        steps: plan.local_steps as u64,
    }))
}
