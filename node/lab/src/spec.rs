//! What an experiment is asked to be: read from flags by clap and from its folder by serde, checked
//! here alone. A training setting is one field of [`Learning`] with its flag, its default and its
//! limits, and one line of [`Spec::training`].

mod flags;
mod train;

use std::fmt::Display;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use witan_adapter::LoraConfig;
use witan_data::source::SCENES_PER_MEMBER;
use witan_home::Failure;
use witan_home::settings::{By, Compute, DataSource, Share};
use witan_protocol::federation::{Compression, Strategy, Training};

pub use flags::flags;
pub use train::TrainSpec;

/// What a federation is asked to be; a training without one takes its data and its steps from it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, clap::Args)]
pub struct Spec {
    /// Members, rounds, split of the data.
    #[serde(flatten)]
    #[command(flatten)]
    pub cohort: Cohort,
    /// What travels.
    #[serde(flatten)]
    #[command(flatten)]
    pub exchange: Exchange,
    /// Model, data and training step.
    #[serde(flatten)]
    #[command(flatten)]
    pub learning: Learning,
}

/// Who takes part, for how long, and how the data are split among them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, clap::Args)]
pub struct Cohort {
    /// Number of nodes, 2 to 64; from 4 on, one may fail.
    #[arg(long, value_name = "COUNT", default_value_t = Self::default().nodes)]
    pub nodes: usize,
    /// Number of rounds, at least 1.
    #[arg(long, value_name = "COUNT", default_value_t = Self::default().rounds)]
    pub rounds: u64,
    /// Dirichlet concentration of the data over the answers: 0.1 is very uneven, 100 almost even.
    #[arg(
        long,
        value_name = "NUMBER",
        default_value = "0.5",
        conflicts_with = "iid",
        allow_negative_numbers = true
    )]
    pub alpha: Option<f64>,
    /// Split the data evenly instead.
    #[arg(long)]
    #[serde(skip)]
    pub iid: bool,
    /// Split the data by kind: answer-type gives each member questions of one type, modality gives
    /// one member questions and the next captions.
    #[arg(long, value_name = "KIND", conflicts_with_all = ["alpha", "iid"])]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<By>,
    /// Seed of keys, data, partition and training.
    #[arg(long, value_name = "NUMBER", default_value_t = Self::default().seed)]
    pub seed: u64,
    /// Optimizer steps each member takes in a round, at least 1.
    #[arg(long, value_name = "COUNT", default_value_t = Self::default().local_steps)]
    pub local_steps: u32,
}

/// How updates travel and are combined.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, clap::Args)]
pub struct Exchange {
    /// How updates are combined: fedavg, fedprox, fedavgm, fedadam, fedyogi, ffa, rolora, fedex,
    /// flexlora, norm-clip, trimmed-mean, geometric-median or multi-krum, with numbers such as
    /// multi-krum:f=2.
    #[arg(long, value_name = "NAME", default_value_t = Self::default().strategy)]
    pub strategy: Strategy,
    /// How deltas are encoded: none, bf16, int8 or top-k, with a number such as top-k:keep=0.05.
    #[arg(long, value_name = "NAME", default_value_t)]
    pub compression: Compression,
}

/// Which model learns from which data, and what one step is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, clap::Args)]
#[group(args = LEARNING)]
pub struct Learning {
    /// Adapt the BLIP3o checkpoint in this folder instead of the embedded model.
    #[arg(long, value_name = "FOLDER")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<PathBuf>,
    /// Compute on cpu or cuda; docs/GPU.md says what cuda needs.
    #[arg(long, default_value_t)]
    pub device: Compute,
    /// Train on a folder of VQA v2's own files instead of the embedded scenes.
    #[arg(long, value_name = "FOLDER")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vqa: Option<PathBuf>,
    /// Train on image and caption pairs, JSON lines such as {"image": "a.png", "caption": "a red
    /// circle"}; alone, or in place of the captions of --vqa.
    #[arg(long, value_name = "FILE")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub captions: Option<PathBuf>,
    /// Embedded scenes for all members together [default: 300 a member, 4800 in every cell of a
    /// grid].
    #[arg(long, value_name = "COUNT", conflicts_with_all = ["vqa", "captions"])]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scenes: Option<usize>,
    /// Questions in one step.
    #[arg(long, value_name = "COUNT", default_value_t = Self::default().batch_questions)]
    pub batch_questions: u32,
    /// Captions in one step.
    #[arg(long, value_name = "COUNT", default_value_t = Self::default().batch_captions)]
    pub batch_captions: u32,
    /// Batches whose mean gradient makes one step; with two, a step learns from twice as many
    /// examples in the same memory.
    #[arg(long, value_name = "COUNT", default_value_t = Self::default().accumulation)]
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub accumulation: u32,
    /// Scale gradients down to this norm, over all layers, if theirs is larger [default: never].
    #[arg(long, value_name = "NORM", allow_negative_numbers = true)]
    #[serde(default, rename = "gradient_norm_max", skip_serializing_if = "Option::is_none")]
    pub clip: Option<f64>,
    /// AdamW's first learning rate for one trainer, which falls along a cosine to a tenth; the
    /// members of a federation take √members times that [default: 0.0015, for a checkpoint
    /// 0.00002].
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    pub learning_rate: Option<f64>,
    /// The adapter, where it differs from the model's usual one.
    #[command(flatten)]
    #[serde(default, skip_serializing_if = "Lora::is_usual")]
    pub lora: Lora,
}

/// An adapter's settings, as PEFT's `LoraConfig` has them; `None`: the model's usual ones.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, clap::Args)]
pub struct Lora {
    /// Rank of the adapter [default: 8, for a checkpoint 16].
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(1..=1024))]
    #[serde(rename = "rank")]
    pub lora_rank: Option<u16>,
    /// Alpha of the adapter [default: twice its rank].
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    #[serde(rename = "alpha")]
    pub lora_alpha: Option<f64>,
    /// Share of the adapter's input that a training step drops [default: 0].
    #[arg(long, value_name = "SHARE", allow_negative_numbers = true)]
    #[serde(rename = "dropout")]
    pub lora_dropout: Option<f64>,
    /// Suffixes of the names of the layers that carry the adapter, such as q_proj,k_proj,v_proj
    /// [default: those of attention, in the embedded model all].
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    #[serde(rename = "targets")]
    pub lora_targets: Option<Vec<String>>,
}

/// The flags of [`Learning`]: clap leaves a group empty whose struct has another in it.
const LEARNING: [&str; 10] = [
    "model",
    "device",
    "vqa",
    "captions",
    "scenes",
    "batch_questions",
    "batch_captions",
    "accumulation",
    "clip",
    "learning_rate",
];

/// The groups of flags that say what a new experiment is; one that is resumed knows.
pub const FLAGS: [&str; 4] = ["Cohort", "Exchange", "Learning", "Lora"];

impl Spec {
    /// The same with absolute paths and every default filled in.
    ///
    /// # Errors
    /// The first setting that is out of range.
    pub fn checked(self) -> Result<Self, Failure> {
        let Self { cohort, exchange, learning } = self;
        Ok(Self { cohort: cohort.checked()?, exchange, learning: learning.checked()? })
    }

    /// What a member does in a round.
    pub fn training(&self) -> Training {
        let (cohort, learning) = (&self.cohort, &self.learning);
        let learning_rate = learning.rate() * rate_factor(cohort.nodes);
        Training {
            rounds: cohort.rounds,
            local_steps: cohort.local_steps,
            batch_questions: learning.batch_questions,
            batch_captions: learning.batch_captions,
            accumulation: learning.accumulation,
            gradient_norm_max: learning.clip,
            learning_rate,
            // So that the members end where they agree.
            learning_rate_final: learning_rate / 10.0,
            weight_decay: 0.0,
            strategy: self.exchange.strategy,
            compression: self.exchange.compression,
        }
    }

    /// Where the data of node `index` come from.
    pub fn data(&self, index: usize) -> DataSource {
        let Cohort { nodes: of, alpha, by, seed, .. } = self.cohort;
        let share = Share { index, of, alpha, by, seed };
        let Learning { vqa, captions, scenes, .. } = &self.learning;
        DataSource::of(vqa.clone(), captions.clone(), seed, share).with_scenes(*scenes)
    }
}

impl Cohort {
    fn checked(self) -> Result<Self, Failure> {
        let Self { nodes, rounds, alpha, local_steps, .. } = self;
        let (of, usual) = ("nodes", Self::default());
        let hint = "from 4 on, the federation decides with one node down";
        expect((2..=64).contains(&nodes), (of, nodes), "2 to 64", hint)?;
        let hint =
            format!("{} rounds of {} steps are the default", usual.rounds, usual.local_steps);
        expect(rounds > 0, ("rounds", rounds), "at least 1", &hint)?;
        expect(local_steps > 0, ("local-steps", local_steps), "at least 1", &hint)?;
        let alpha = alpha.filter(|_| !self.iid && self.by.is_none());
        alpha.map_or(Ok(()), check_alpha)?;
        Ok(Self { alpha, iid: false, ..self })
    }
}

impl Learning {
    /// The same with absolute paths and every default filled in.
    ///
    /// # Errors
    /// The first setting that is out of range.
    pub fn checked(mut self) -> Result<Self, Failure> {
        let Self { batch_questions, batch_captions, accumulation, clip, .. } = self;
        let scenes = self.scenes.unwrap_or(1);
        let hint = format!("leave it out for {SCENES_PER_MEMBER} each");
        expect(scenes > 0, ("scenes", scenes), "at least one for each member", &hint)?;
        let batch = batch_questions.saturating_add(batch_captions);
        let flags = format!("{batch_questions} and --batch-captions {batch_captions}");
        let expected = format!("1 to {BATCH_MAX} together");
        let hint = "a step learns from both: see `witan testnet --help` for the usual batch";
        expect((1..=BATCH_MAX).contains(&batch), ("batch-questions", flags), &expected, hint)?;
        let expected = format!("1 to {ACCUMULATION_MAX}");
        let hint = "1 is the default: every batch makes a step";
        let is_right = (1..=ACCUMULATION_MAX).contains(&accumulation);
        expect(is_right, ("accumulation", accumulation), &expected, hint)?;
        let norm = clip.unwrap_or(1.0);
        let hint = "1.0 is usual; leave it out, and gradients stay as they are";
        expect((1e-30..=1e30).contains(&norm), ("clip", norm), "1e-30 to 1e30", hint)?;
        let (rate, usual) = (self.rate(), Self { learning_rate: None, ..self.clone() }.rate());
        let hint = format!("{usual} is the default");
        let is_right = rate > 0.0 && rate <= 1.0;
        expect(is_right, ("learning-rate", rate), "more than 0, at most 1", &hint)?;
        self.learning_rate = Some(rate);
        self.lora.check()?;
        for path in [&mut self.model, &mut self.vqa, &mut self.captions].into_iter().flatten() {
            *path = std::path::absolute(&*path)
                .map_err(|error| Failure::usage(format!("{}: {error}", path.display())))?;
        }
        Ok(self)
    }

    /// Questions and captions of one step.
    pub fn examples_of_a_step(&self) -> u32 {
        self.batch_questions.saturating_add(self.batch_captions).saturating_mul(self.accumulation)
    }

    /// AdamW's first learning rate of one trainer.
    pub fn rate(&self) -> f64 {
        let usual = if self.model.is_some() { CHECKPOINT_RATE } else { EMBEDDED_RATE };
        self.learning_rate.unwrap_or(usual)
    }
}

impl Lora {
    /// An adapter like the usual one but for what is given here.
    pub fn of(&self, usual: LoraConfig) -> LoraConfig {
        let rank = self.lora_rank.map(usize::from);
        let doubled = rank.map(|rank| 2.0 * rank as f64);
        LoraConfig {
            rank: rank.unwrap_or(usual.rank),
            alpha: self.lora_alpha.or(doubled).unwrap_or(usual.alpha),
            dropout: self.lora_dropout.unwrap_or(usual.dropout),
            targets: self.lora_targets.clone().unwrap_or(usual.targets),
        }
    }

    fn check(&self) -> Result<(), Failure> {
        let (alpha, dropout) = (self.lora_alpha.unwrap_or(1.0), self.lora_dropout.unwrap_or(0.0));
        let is_right = alpha > 0.0 && alpha.is_finite();
        expect(is_right, ("lora-alpha", alpha), "a positive number", "twice the rank is usual")?;
        let expected = "at least 0, less than 1";
        let hint = "0.05 and 0.1 are usual elsewhere; the default is 0";
        expect((0.0..1.0).contains(&dropout), ("lora-dropout", dropout), expected, hint)
    }

    fn is_usual(&self) -> bool {
        *self == Self::default()
    }
}

impl Default for Cohort {
    fn default() -> Self {
        let (alpha, iid, by) = (Some(0.5), false, None);
        Self { nodes: 16, rounds: 10, alpha, iid, by, seed: 1, local_steps: 60 }
    }
}

/// `docs/LOG.md` has what other strategies gave on the embedded base.
impl Default for Exchange {
    fn default() -> Self {
        let strategy = Strategy::FedAvgM { momentum: 0.5 };
        Self { strategy, compression: Compression::default() }
    }
}

/// `docs/LOG.md` has what other batches and learning rates gave on the embedded base.
impl Default for Learning {
    fn default() -> Self {
        Self {
            model: None,
            device: Compute::default(),
            vqa: None,
            captions: None,
            scenes: None,
            batch_questions: 12,
            batch_captions: 4,
            accumulation: 1,
            clip: None,
            learning_rate: None,
            lora: Lora::default(),
        }
    }
}

/// Refuses an α that is none.
///
/// # Errors
/// Which it was.
pub fn check_alpha(alpha: f64) -> Result<(), Failure> {
    let hint = "0.1 is very uneven, 100 almost even; --iid splits the data evenly";
    expect(alpha > 0.0 && alpha.is_finite(), ("alpha", alpha), "a positive number", hint)
}

/// Refuses a flag's value unless it is right.
///
/// # Errors
/// The flag with its value, what was expected, and the hint.
pub fn expect(
    is_right: bool,
    (flag, value): (&str, impl Display),
    expected: &str,
    hint: &str,
) -> Result<(), Failure> {
    let message = || format!("--{flag} {value}: expected {expected}");
    if is_right { Ok(()) } else { Err(Failure::usage(message()).hint(hint)) }
}

/// How many times one trainer's learning rate the members of a federation take: √members. Their
/// mean damps the noise of a step as a batch √members times as large does, for which Adam's
/// learning rate grows so (Malladi et al., arXiv 2205.10287). With one rate for all, either two
/// members diverge or sixteen crawl (`docs/LOG.md`).
pub fn rate_factor(members: usize) -> f64 {
    (members as f64).sqrt()
}

fn one() -> u32 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_one(number: &u32) -> bool {
    *number == 1
}

/// AdamW's first learning rate for the embedded model.
const EMBEDDED_RATE: f64 = 1.5e-3;
/// For a checkpoint: what FedUMM's members take, by its authors' README.
const CHECKPOINT_RATE: f64 = 2e-5;
/// Examples in one batch: 1024 times the usual.
const BATCH_MAX: u32 = 16_384;
/// Batches in one step.
const ACCUMULATION_MAX: u32 = 4096;

#[cfg(test)]
mod tests;
