//! One member's local training: a few visible steps of AdamW on the adapter.
//!
//! Follows FedUMM: the base stays frozen, the optimizer is made anew each round, and what leaves is
//! the adapter with the number of examples it saw. The same start, shard, plan and thread count
//! give the same bytes.

mod constraint;
mod record;
mod run;
mod sampler;
pub mod schedule;

use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};
use witan_adapter::{Adapter, AdapterError, Strategy};

use crate::families::lora_model::{LoraModel, Unreadable};
pub use record::record;
pub use run::{TrainingRun, TrainingState};
pub use sampler::ShuffledSampler;
pub use schedule::Schedule;

/// How a member trains in one round.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainPlan {
    /// Optimizer steps of the round.
    pub local_steps: usize,
    /// Questions a batch.
    pub batch_questions: usize,
    /// Captions a batch.
    pub batch_captions: usize,
    /// Batches whose gradients' mean makes one step; at least one.
    pub accumulation: usize,
    /// The norm, over all tensors, that gradients are scaled down to if theirs is above it.
    pub gradient_norm_max: Option<f32>,
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
            accumulation: 1,
            gradient_norm_max: None,
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
    /// Questions and captions drawn for this step; of what the shard has none, none are.
    pub examples: u64,
    /// Mean cross-entropy of the answers, if there were questions.
    pub answer_loss: Option<f32>,
    /// Flow-matching loss of the drawings, if there were captions.
    pub flow_loss: Option<f32>,
}

impl Step {
    /// Both losses together.
    pub fn loss(&self) -> f32 {
        self.answer_loss.unwrap_or(0.0) + self.flow_loss.unwrap_or(0.0)
    }
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
    #[error(
        "there is nothing to train on: of what a batch takes the data have none that can be taught"
    )]
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
    /// The state is past the end of the plan.
    #[error("{done} steps are done of a plan of {steps}")]
    BeyondPlan {
        /// Steps done.
        done: usize,
        /// Steps of the plan.
        steps: usize,
    },
    /// The state has no readable moments.
    #[error("the optimizer's moments cannot be read")]
    Moments,
    /// What an example is about cannot be read any more.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
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
pub fn train<P: LoraModel>(
    model: &mut P,
    start: &Adapter,
    shard: &P::Shard,
    plan: &TrainPlan,
    progress: &mut (dyn FnMut(Step) -> ControlFlow<()> + Send),
) -> Result<Option<Trained>, TrainError> {
    let mut run = TrainingRun::begin(model, start, shard, plan)?;
    run.run(model, shard, progress)?;
    Ok(run.trained(model))
}
