//! Real checkpoints: looked over, tried with a step of training, asked for text.

use std::fmt::Display;
use std::path::Path;
use std::time::{Duration, Instant};

use witan_home::Failure;
use witan_model::families::language::causal::Tuning;
use witan_model::inspect::preset::ATTENTION;
use witan_model::precision::WeightFormat;
use witan_model::text::{TextError, TextTokenizer};
use witan_model::{Adapter, Causal, LoraConfig, peft};

use super::device::{self, Compute};
use super::unified;
pub use witan_model::families::blip3o::Blip3oConfig;
pub use witan_model::families::language::Activations;
pub use witan_model::families::language::config::LanguageConfig;
pub use witan_model::inspect::checkpoint::CheckpointInfo;
pub use witan_model::inspect::memory::{Memory, StepShape};
pub use witan_model::inspect::parts::{Part, Traffic, parts, traffic};
pub use witan_model::inspect::preset::Preset;

/// What one step of training took.
#[derive(Clone, Copy, Debug)]
pub struct Tried {
    /// Mean cross-entropy before the step.
    pub loss: f32,
    /// The second step; the first also warms caches up.
    pub step: Duration,
    /// The most memory this process has held.
    pub peak_bytes: Option<u64>,
}

/// Looks a folder over.
///
/// # Errors
/// If it is no checkpoint of the family.
pub fn survey(folder: &Path) -> Result<CheckpointInfo, Failure> {
    CheckpointInfo::read(folder).map_err(|error| {
        bad(folder, &error).hint(
            "give a folder with config.json and model.safetensors, or files with their index, of \
             a Llama, Qwen2, Qwen2.5, Qwen3 or BLIP3o model",
        )
    })
}

/// The LoRA of this rank on every linear layer of a language model; of a BLIP3o, on its attention and diffusion's.
pub fn lora(survey: &CheckpointInfo, rank: usize) -> LoraConfig {
    let targets: &[&str] = match survey.blip3o {
        None => &["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
        Some(_) => &ATTENTION,
    };
    adapting(targets, rank)
}

/// The same for a model known by name; of the embedded one, on all that its federations adapt.
pub fn preset_lora(preset: Preset, rank: usize) -> LoraConfig {
    match preset {
        Preset::Tiny => LoraConfig { rank, ..LoraConfig::default() },
        Preset::Blip3o4b | Preset::Blip3o8b => adapting(&ATTENTION, rank),
    }
}

fn adapting(targets: &[&str], rank: usize) -> LoraConfig {
    let targets = targets.iter().map(|target| target.to_string()).collect();
    LoraConfig { rank, alpha: 2.0 * rank as f64, dropout: 0.0, targets }
}

/// Refuses a checkpoint that lacks a tensor, or has one of another shape.
///
/// # Errors
/// The first of them.
pub fn is_whole(folder: &Path, survey: &CheckpointInfo) -> Result<(), Failure> {
    let folder = folder.display();
    if let Some(shape) = survey.misshapen().first() {
        return Err(Failure::input(format!(
            "{folder}: tensor {} has shape {:?}, config.json says {:?}",
            shape.name, shape.found, shape.expected
        ))
        .hint("config.json and the weights must come from the same model"));
    }
    match survey.missing()[..] {
        [] => Ok(()),
        [first, ..] => Err(Failure::input(format!(
            "{folder}: {} tensors are missing, the first is {first}",
            survey.missing().len()
        ))
        .hint("copy every file that the index names, and the index of the same model")),
    }
}

/// Reads every number of the checkpoint.
///
/// # Errors
/// If one is not finite, or a file cannot be read.
pub fn read_all(folder: &Path, survey: &CheckpointInfo) -> Result<(), Failure> {
    survey
        .read_all()
        .map_err(|error| bad(folder, &error).hint("copy the files again from where they came from"))
}

/// A step of training to try.
#[derive(Clone, Debug)]
pub struct Trial {
    /// What is trained.
    pub lora: LoraConfig,
    /// What a step is about, and where.
    pub demand: StepShape,
}

/// Trains a fresh adapter for two steps on made-up rows; of a BLIP3o, on both tasks.
///
/// # Errors
/// If there is no such device, or the checkpoint cannot be loaded.
pub fn try_step(folder: &Path, survey: &CheckpointInfo, trial: &Trial) -> Result<Tried, Failure> {
    if let Some(config) = &survey.blip3o {
        return unified::try_step(folder, survey, config, trial);
    }
    let Trial { lora, demand } = trial;
    let StepShape { questions, tokens, activations, compute, .. } = demand;
    let device = device::open_model(*compute)?;
    let config = &survey.language;
    let mut causal =
        Causal::load(&survey.files, config, Some(lora), activations.weight_format(), &device)
            .map_err(|error| bad(folder, &error))?;
    let fresh = Adapter::init(&Causal::adaptable(config), lora, 0);
    causal.set_adapter(&fresh).map_err(|error| bad(folder, &error))?;
    let mut tuning = Tuning::new(causal, *activations);
    // Any tokens will do: every step costs the same.
    let row: Vec<u32> = (0..=*tokens).map(|at| (at * 7919 % config.vocab_size) as u32).collect();
    let rows = vec![row; *questions];
    let loss = tuning.step(&rows, RATE);
    let started = Instant::now();
    tuning.step(&rows, RATE);
    Ok(Tried::now(loss, started.elapsed()))
}

impl Tried {
    /// With the memory that this process has held until now.
    pub(super) fn now(loss: f32, step: Duration) -> Self {
        Self { loss, step, peak_bytes: status_bytes("VmHWM:") }
    }
}

/// Each prompt's likeliest text of `count` tokens, with a PEFT adapter if one is given.
///
/// # Errors
/// If there is no such device, or the checkpoint, its tokenizer or the adapter cannot be read.
pub fn say(
    folder: &Path,
    adapter: Option<&Path>,
    prompts: &[String],
    count: usize,
    compute: Compute,
) -> Result<Vec<String>, Failure> {
    let device = device::open(compute)?;
    let survey = survey(folder)?;
    let unspoken = |error: TextError| unspoken(folder, &error);
    let tokenizer = TextTokenizer::open(folder).map_err(unspoken)?;
    let tokens = prompts.iter().map(|prompt| tokenizer.encode(prompt)).collect::<Result<_, _>>();
    let tokens: Vec<Vec<u32>> = tokens.map_err(unspoken)?;
    let config = &survey.language;
    known(&tokens.concat(), config.vocab_size)?;
    let adapter = adapter.map(|adapter| {
        peft::import(adapter, &Causal::adaptable(config)).map_err(|error| {
            let failure = bad(adapter, &error);
            match survey.blip3o {
                None => failure,
                Some(_) => failure.hint(
                    "only its language model says texts; an adapter of all of it is for `witan model \
                     ask` and `witan model draw`",
                ),
            }
        })
    });
    let adapter = adapter.transpose()?;
    let lora = adapter.as_ref().map(|(_, lora)| lora);
    let mut causal = Causal::load(&survey.files, config, lora, WeightFormat::AsStored, &device)
        .map_err(|error| bad(folder, &error))?;
    if let Some((adapter, _)) = &adapter {
        causal.set_adapter(adapter).map_err(|error| bad(folder, &error))?;
    }
    let said = causal.greedy(&tokens, count);
    said.iter().map(|tokens| tokenizer.decode(tokens).map_err(unspoken)).collect()
}

/// Refuses tokens that a model of `rows` token embeddings does not know.
pub(super) fn known(tokens: &[u32], rows: usize) -> Result<(), Failure> {
    match tokens.iter().all(|token| (*token as usize) < rows) {
        true => Ok(()),
        false => Err(Failure::input(format!("tokenizer.json has more tokens than {rows}"))
            .hint("the folder needs the tokenizer.json that belongs to the weights")),
    }
}

/// What to do about a tokenizer that fails.
pub(super) fn unspoken(folder: &Path, error: &TextError) -> Failure {
    bad(folder, error).hint("the folder needs the tokenizer.json that belongs to the weights")
}

/// The memory that this machine could give now.
pub fn available_bytes() -> Option<u64> {
    kibibytes("/proc/meminfo", "MemAvailable:")
}

fn status_bytes(key: &str) -> Option<u64> {
    kibibytes("/proc/self/status", key)
}

/// The value of a line such as `MemAvailable:  123 kB`, in bytes.
fn kibibytes(file: &str, key: &str) -> Option<u64> {
    let text = std::fs::read_to_string(file).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

pub(super) fn bad(path: &Path, error: &dyn Display) -> Failure {
    Failure::input(format!("{}: {error}", path.display()))
}

/// The step size of a step nobody keeps.
pub(super) const RATE: f64 = 1e-4;
