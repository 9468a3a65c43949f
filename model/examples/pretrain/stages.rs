//! How the base gets its weights: three stages from nothing, centralised, once.
//!
//! [`vision`] teaches the encoder every cell's shape, colour, offset and size; no word is involved,
//! hence every shape and colour is seen. [`painting`] teaches the painter to undo the encoder.
//! [`joint`] teaches the language model to answer and the diffusion transformer to draw, on the
//! base vocabulary alone: words held out keep the embedding they started with, and are left to the
//! federation.

pub(crate) mod joint;
pub(crate) mod painting;
pub(crate) mod vision;

use std::ops::ControlFlow;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use burn_optim::{AdamWConfig, GradientsParams, ModuleOptimizer};
use serde::{Deserialize, Serialize};
use witan_adapter::tensors::{WeightError, Weights};
use witan_data::tokenizer::{Tokenizer, WordError};
use witan_model::families::tiny::Network;
use witan_model::families::tiny::base::{Base, BaseError, fresh, saved};
use witan_model::families::tiny::config::ModelConfig;
use witan_model::layers::loader::Loader;
use witan_model::layers::names::Names;

/// Sizes and lengths of the three stages.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PretrainPlan {
    /// Decides weights, scenes, order and noise.
    pub seed: u64,
    /// Threads to compute with.
    pub threads: usize,
    /// The vision encoder's stage.
    pub vision: StagePlan,
    /// The painter's stage.
    pub painting: StagePlan,
    /// The joint stage of answers and drawings.
    pub joint: StagePlan,
    /// Scenes of the joint stage, each with a caption and some questions.
    pub scenes: usize,
    /// Questions a step of the joint stage.
    pub batch_questions: usize,
    /// Noise levels drawn for each caption of a step.
    pub noises: usize,
    /// Steps of the joint stage between two checkpoints.
    pub checkpoint_steps: usize,
}

/// Length and pace of one stage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StagePlan {
    /// Optimiser steps; zero leaves the stage out.
    pub steps: usize,
    /// Pictures, or captions, a step.
    pub batch: usize,
    /// Step size at its highest; it rises over the first steps and falls along a cosine.
    pub learning_rate: f64,
}

impl Default for PretrainPlan {
    fn default() -> PretrainPlan {
        PretrainPlan {
            seed: 7,
            threads: 1,
            vision: StagePlan { steps: 5000, batch: 48, learning_rate: 2e-3 },
            painting: StagePlan { steps: 4000, batch: 12, learning_rate: 6e-3 },
            joint: StagePlan { steps: 6000, batch: 64, learning_rate: 1.5e-3 },
            scenes: 40_000,
            batch_questions: 48,
            noises: 2,
            checkpoint_steps: 500,
        }
    }
}

/// What pre-training reports.
#[derive(Debug)]
pub(crate) enum Event {
    /// A step was done.
    Step(StageStep),
    /// A base that can be used, if not yet a good one.
    Checkpoint(Box<Base>),
}

/// One step of one stage.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct StageStep {
    /// Name of the stage.
    pub stage: &'static str,
    /// Steps done, this one included.
    pub step: usize,
    /// Steps of the stage.
    pub steps: usize,
    /// Examples of this step.
    pub examples: usize,
    /// The losses by name.
    pub losses: Vec<(&'static str, f32)>,
}

/// Why pre-training ended without a base.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PretrainError {
    /// The start lacks a tensor.
    #[error(transparent)]
    Weight(#[from] WeightError),
    /// The result is no base.
    #[error(transparent)]
    Base(#[from] BaseError),
    /// The scenes speak a word that the tokenizer lacks.
    #[error(transparent)]
    Word(#[from] WordError),
    /// A loss left the finite numbers.
    #[error("the loss of stage {stage} is not finite at step {step}")]
    Diverged {
        /// Name of the stage.
        stage: &'static str,
        /// The step, from one.
        step: usize,
    },
    /// The threads could not be started.
    #[error("cannot start {threads} training threads")]
    Threads {
        /// How many were asked for.
        threads: usize,
    },
    /// The callback asked to stop.
    #[error("stopped in stage {stage} at step {step}")]
    Stopped {
        /// Name of the stage.
        stage: &'static str,
        /// The step, from one.
        step: usize,
    },
}

/// The callback that hears of every step and may stop the run.
pub(crate) type Progress<'a> = &'a mut (dyn FnMut(Event) -> ControlFlow<()> + Send);

/// Runs the stages of a plan, from fresh weights or from those of an earlier run.
pub(crate) fn run(
    plan: &PretrainPlan,
    start: Option<&Weights>,
    device: &Device,
    progress: Progress<'_>,
) -> Result<Base, PretrainError> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(plan.threads).build();
    let pool = pool.map_err(|_| PretrainError::Threads { threads: plan.threads })?;
    pool.install(|| run_here(plan, start, device, progress))
}

fn run_here(
    plan: &PretrainPlan,
    start: Option<&Weights>,
    device: &Device,
    progress: Progress<'_>,
) -> Result<Base, PretrainError> {
    let config = ModelConfig::tiny(Tokenizer::new().len());
    let start = start.cloned().unwrap_or_default();
    let mut weights = fresh(&config, start, plan.seed)?;
    let setup = Setup { plan, config: &config, device };
    let stages: [(usize, StageRun); 3] = [
        (plan.vision.steps, vision::train),
        (plan.painting.steps, painting::train),
        (plan.joint.steps, joint::train),
    ];
    for (_, train) in stages.into_iter().filter(|(steps, _)| *steps > 0) {
        // Weights are handed on as they would be saved: stages run one by one give the same bytes.
        weights = saved(train(&setup, weights, progress)?);
    }
    Ok(Base::new(config, weights)?)
}

/// What all stages are told.
pub(crate) struct Setup<'a> {
    /// Sizes and lengths.
    pub plan: &'a PretrainPlan,
    /// Sizes of the model.
    pub config: &'a ModelConfig,
    /// Where they compute.
    pub device: &'a Device,
}

type StageRun = fn(&Setup<'_>, Weights, Progress<'_>) -> Result<Weights, PretrainError>;

/// One stage at work: the network, its optimiser, and where it stands.
struct Stage {
    name: &'static str,
    plan: StagePlan,
    network: Network,
    names: Names,
    optimizer: ModuleOptimizer,
    step: usize,
}

impl Stage {
    fn new(
        name: &'static str,
        plan: &StagePlan,
        setup: &Setup<'_>,
        weights: Weights,
        trained: &[&str],
    ) -> Result<Stage, WeightError> {
        let device = setup.device.clone().autodiff();
        let mut loader = Loader::from_weights(weights, &device).training(trained);
        let network = Network::load(&mut loader, setup.config)?;
        let optimizer =
            AdamWConfig::new().with_beta_2(0.99).with_epsilon(1e-8).with_weight_decay(0.0).init();
        Ok(Stage {
            name,
            plan: plan.clone(),
            network,
            names: loader.into_names(),
            optimizer,
            step: 0,
        })
    }

    /// Rises over the first steps, then falls along a cosine to a fiftieth.
    fn learning_rate(&self) -> f64 {
        let done = self.step as f64 / self.plan.steps as f64;
        let rise = ((self.step + 1) as f64 / WARM_UP_STEPS).min(1.0);
        let fall = LEARNING_RATE_END
            + (1.0 - LEARNING_RATE_END) * 0.5 * (1.0 + (done * std::f64::consts::PI).cos());
        self.plan.learning_rate * rise * fall
    }

    /// One optimiser step on the sum of the losses, reported by name.
    fn descend(
        &mut self,
        losses: Vec<(&'static str, Tensor<1>)>,
        examples: usize,
        progress: Progress<'_>,
    ) -> Result<(), PretrainError> {
        let learning_rate = self.learning_rate();
        self.step += 1;
        let values: Vec<(&'static str, f32)> =
            losses.iter().map(|(name, loss)| (*name, loss.clone().into_scalar())).collect();
        if values.iter().any(|(_, value)| !value.is_finite()) {
            return Err(PretrainError::Diverged { stage: self.name, step: self.step });
        }
        let sum = losses.into_iter().map(|(_, loss)| loss).reduce(|sum, loss| sum.add(loss));
        if let Some(sum) = sum {
            let gradients = GradientsParams::from_grads(sum.backward(), &self.network);
            self.network = self.optimizer.step(learning_rate, self.network.clone(), gradients);
        }
        let report = StageStep {
            stage: self.name,
            step: self.step,
            steps: self.plan.steps,
            examples,
            losses: values,
        };
        match progress(Event::Step(report)) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => {
                Err(PretrainError::Stopped { stage: self.name, step: self.step })
            }
        }
    }

    fn weights(&self) -> Weights {
        self.names.collect(&self.network.valid(), |_| true)
    }
}

const WARM_UP_STEPS: f64 = 60.0;
const LEARNING_RATE_END: f64 = 0.02;
