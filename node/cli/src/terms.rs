//! The flags by which `testnet` and `train` say whose data, and how many steps; and, for `grid` too, of which model, and
//! what a step is.

use std::path::{Path, PathBuf};

use witan_home::Failure;
use witan_home::settings::By;
use witan_lab::testnet::prepare::{Plan, Shape};
use witan_node::jobs::device::Compute;

/// Data, steps and batch of a federation.
#[derive(Debug, clap::Args)]
pub struct Terms {
    /// How many nodes, 2 to 64; from 4 on, one may die.
    #[arg(long, value_name = "COUNT", default_value_t = Plan::default().nodes)]
    nodes: usize,
    /// How many rounds, at least 1.
    #[arg(long, value_name = "COUNT", default_value_t = Plan::default().rounds)]
    rounds: u64,
    /// Dirichlet concentration of the data over the answers: 0.1 is very uneven, 100 hardly.
    #[arg(
        long,
        value_name = "NUMBER",
        default_value_t = Plan::default().alpha.unwrap_or(1.0),
        conflicts_with = "iid",
        allow_negative_numbers = true
    )]
    alpha: f64,
    /// Deal the data out evenly instead.
    #[arg(long)]
    iid: bool,
    /// Deal the data out by kind: answer-type gives each member questions of one type, modality gives one member
    /// questions and the next captions.
    #[arg(long, value_name = "KIND", conflicts_with_all = ["alpha", "iid"])]
    by: Option<By>,
    /// Train on a folder of VQA v2's own files instead of the embedded scenes.
    #[arg(long, value_name = "FOLDER")]
    vqa: Option<PathBuf>,
    /// Train on image and caption pairs, JSON lines such as {"image": "a.png", "caption": "a red circle"}; alone, or in
    /// place of the captions of --vqa.
    #[arg(long, value_name = "FILE")]
    captions: Option<PathBuf>,
    /// Embedded scenes for all nodes together; 300 for each if left out.
    #[arg(long, value_name = "COUNT", conflicts_with_all = ["vqa", "captions"])]
    scenes: Option<usize>,
    /// Seed of keys, data, partition and training.
    #[arg(long, value_name = "NUMBER", default_value_t = Plan::default().seed)]
    seed: u64,
    /// Optimiser steps each member takes in a round, at least 1.
    #[arg(long, value_name = "COUNT", default_value_t = Plan::default().local_steps)]
    local_steps: u32,
    #[command(flatten)]
    learning: Learning,
    /// Compute on cpu or cuda; docs/GPU.md says what cuda needs.
    #[arg(long, default_value_t)]
    device: Compute,
}

/// What is adapted, and one step of it.
#[derive(Debug, clap::Args)]
pub struct Learning {
    /// Adapt a BLIP3o checkpoint in this folder instead of the embedded model; whatever trains or scores loads it.
    #[arg(long, value_name = "FOLDER")]
    model: Option<PathBuf>,
    /// Questions of one step.
    #[arg(long, value_name = "COUNT", default_value_t = Plan::default().batch_questions)]
    batch_questions: u32,
    /// Captions of one step.
    #[arg(long, value_name = "COUNT", default_value_t = Plan::default().batch_captions)]
    batch_captions: u32,
    /// Batches whose gradients' mean makes one step; with two, a step learns from twice as many examples in the same
    /// memory.
    #[arg(long, value_name = "COUNT", default_value_t = Plan::default().accumulation)]
    accumulation: u32,
    /// Scale gradients down to this norm if theirs, over all layers, is above it; they stay as they are if left out.
    #[arg(long, value_name = "NORM", allow_negative_numbers = true)]
    clip: Option<f64>,
    /// AdamW's step size of one trainer at first, which falls along a cosine to a tenth; the members of a federation
    /// take √members times that. 0.0015, and 0.00002 for a checkpoint, if left out.
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    learning_rate: Option<f64>,
    #[command(flatten)]
    lora: Lora,
}

/// The adapter.
#[derive(Clone, Debug, clap::Args)]
pub struct Lora {
    /// Rank of the adapter; 8, and 16 of a checkpoint's, if left out.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(1..=1024))]
    lora_rank: Option<u16>,
    /// Its alpha; twice its rank if left out.
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    lora_alpha: Option<f64>,
    /// Share of its input that a training step drops; none if left out.
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true)]
    lora_dropout: Option<f64>,
    /// Ends of the names of the layers that carry it, such as q_proj,k_proj,v_proj; attention's if left out, and of the
    /// embedded model all.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    lora_targets: Option<Vec<String>>,
}

impl Lora {
    fn shape(&self) -> Result<Shape, Failure> {
        let Self { lora_rank: rank, lora_alpha: alpha, lora_dropout: dropout, lora_targets } = self;
        if let Some(alpha) = alpha.filter(|alpha| !(*alpha > 0.0 && alpha.is_finite())) {
            return Err(Failure::usage(format!(
                "--lora-alpha {alpha}: expected a positive number"
            ))
            .hint("twice the rank is usual"));
        }
        if let Some(dropout) = dropout.filter(|dropout| !(0.0..1.0).contains(dropout)) {
            return Err(Failure::usage(format!(
                "--lora-dropout {dropout}: expected at least 0, less than 1"
            ))
            .hint("0.05 and 0.1 are usual in the field; here none is"));
        }
        let targets = lora_targets.clone();
        Ok(Shape { rank: *rank, alpha: *alpha, dropout: *dropout, targets })
    }
}

impl Terms {
    /// The plan, checked; strategy and compression are the usual ones.
    ///
    /// # Errors
    /// The first flag that makes no sense.
    pub fn plan(&self) -> Result<Plan, Failure> {
        if !(2..=64).contains(&self.nodes) {
            return Err(Failure::usage(format!("--nodes {}: expected 2 to 64", self.nodes))
                .hint("from 4 on, the federation decides with one node dead"));
        }
        if self.rounds == 0 || self.local_steps == 0 {
            let Plan { rounds, local_steps, .. } = Plan::default();
            return Err(Failure::usage("--rounds and --local-steps must be at least 1")
                .hint(format!("{rounds} rounds of {local_steps} steps are the default")));
        }
        check_alpha(self.alpha)?;
        if self.scenes == Some(0) {
            return Err(Failure::usage("--scenes 0: expected at least one for each node")
                .hint("leave it out for 300 each"));
        }
        self.learning.plan(Plan {
            nodes: self.nodes,
            rounds: self.rounds,
            alpha: (!self.iid && self.by.is_none()).then_some(self.alpha),
            by: self.by,
            seed: self.seed,
            local_steps: self.local_steps,
            device: self.device,
            vqa: self.vqa.as_deref().map(absolute).transpose()?,
            captions: self.captions.as_deref().map(absolute).transpose()?,
            scenes: self.scenes,
            ..Plan::default()
        })
    }
}

impl Learning {
    /// A plan of this model and these steps.
    ///
    /// # Errors
    /// An empty batch, one no memory holds, or a step size that is none.
    pub fn plan(&self, plan: Plan) -> Result<Plan, Failure> {
        let Self { batch_questions, batch_captions, accumulation, clip, .. } = *self;
        let usual = if self.model.is_some() { CHECKPOINT_RATE } else { plan.learning_rate };
        let learning_rate = self.learning_rate.unwrap_or(usual);
        if !(1..=BATCH_MAX).contains(&batch_questions.saturating_add(batch_captions)) {
            return Err(Failure::usage(format!(
                "--batch-questions {batch_questions} and --batch-captions {batch_captions}: \
                 expected 1 to {BATCH_MAX} together"
            ))
            .hint("a step learns from both: see `witan testnet --help` for the usual batch"));
        }
        if !(1..=ACCUMULATION_MAX).contains(&accumulation) {
            return Err(Failure::usage(format!(
                "--accumulation {accumulation}: expected 1 to {ACCUMULATION_MAX}"
            ))
            .hint("1 is the default: every batch makes a step"));
        }
        if clip.is_some_and(|norm| !(1e-30..=1e30).contains(&norm)) {
            let norm = clip.unwrap_or_default();
            return Err(Failure::usage(format!("--clip {norm}: expected 1e-30 to 1e30"))
                .hint("1.0 is usual; leave it out, and gradients stay as they are"));
        }
        if !(learning_rate > 0.0 && learning_rate <= 1.0) {
            return Err(Failure::usage(format!(
                "--learning-rate {learning_rate}: expected more than 0, at most 1"
            ))
            .hint(format!("{usual} is the default")));
        }
        Ok(Plan {
            model: self.model.as_deref().map(absolute).transpose()?,
            batch_questions,
            batch_captions,
            accumulation,
            gradient_norm_max: clip,
            learning_rate,
            lora: self.lora.shape()?,
            ..plan
        })
    }
}

/// Refuses an α that is none.
///
/// # Errors
/// Which it was.
pub fn check_alpha(alpha: f64) -> Result<(), Failure> {
    match alpha > 0.0 && alpha.is_finite() {
        true => Ok(()),
        false => Err(Failure::usage(format!("--alpha {alpha}: expected a positive number"))
            .hint("0.1 is very uneven, 100 hardly; --iid deals the data out evenly")),
    }
}

/// The folder or file of a flag, wherever the node is started from.
///
/// # Errors
/// If the working folder is gone.
pub fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    std::path::absolute(path)
        .map_err(|error| Failure::usage(format!("{}: {error}", path.display())))
}

/// What says of a new federation what it is to be; one that is resumed knows.
pub const SAID_ONCE: [&str; 21] = [
    "model",
    "nodes",
    "rounds",
    "alpha",
    "iid",
    "by",
    "vqa",
    "captions",
    "scenes",
    "seed",
    "local_steps",
    "batch_questions",
    "batch_captions",
    "accumulation",
    "clip",
    "learning_rate",
    "lora_rank",
    "lora_alpha",
    "lora_dropout",
    "lora_targets",
    "device",
];
/// AdamW's step size for a checkpoint at first, of one trainer: what FedUMM's members have, as its authors' README says.
const CHECKPOINT_RATE: f64 = 2e-5;
/// Examples of one step: 1024 times the usual.
const BATCH_MAX: u32 = 16_384;
/// Batches of one step.
const ACCUMULATION_MAX: u32 = 4096;
