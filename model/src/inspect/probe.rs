//! Probes a checkpoint: is it whole, can this device train it, how does it continue a text.

use std::fmt::Display;
use std::path::Path;

use witan_adapter::{Adapter, LoraConfig, peft};
use witan_data::fault::Fault;
use witan_data::tokenizer::{TextError, TextTokenizer};

use crate::device::Device;
use crate::families::blip3o::pixels::Patches;
use crate::families::blip3o::training::{Captions, Question};
use crate::families::blip3o::{Blip3o, Blip3oConfig};
use crate::families::language::causal::Causal;
use crate::families::trunk::flow::{Noise, start_noise};
use crate::inspect::checkpoint::CheckpointInfo;
use crate::inspect::memory::{PICTURE_SIDE, StepShape};
use crate::inspect::preset::{ATTENTION, Preset, adapting};
use crate::optimizer::Optimizer;
use crate::precision::WeightFormat;

/// Reads the headers of a checkpoint's folder.
///
/// # Errors
/// If it is no checkpoint of a family that is read here.
pub fn info(folder: &Path) -> Result<CheckpointInfo, Fault> {
    CheckpointInfo::read(folder).map_err(|error| {
        bad(folder, &error).hint(
            "give a folder with config.json and model.safetensors, or files with their index, of \
             a Llama, Qwen2, Qwen2.5, Qwen3 or BLIP3o model",
        )
    })
}

/// Refuses a checkpoint that lacks a tensor, or has one of another shape.
///
/// # Errors
/// The first of them.
pub fn require_whole(folder: &Path, info: &CheckpointInfo) -> Result<(), Fault> {
    let folder = folder.display();
    if let Some(shape) = info.misshapen().first() {
        return Err(Fault::input(format!(
            "{folder}: tensor {} has shape {:?}, config.json says {:?}",
            shape.name, shape.found, shape.expected
        ))
        .hint("config.json and the weights must come from the same model"));
    }
    match info.missing()[..] {
        [] => Ok(()),
        [first, ..] => Err(Fault::input(format!(
            "{folder}: {} tensors are missing, the first is {first}",
            info.missing().len()
        ))
        .hint("copy every file that the index names, and the index of the same model")),
    }
}

/// Reads every number of a checkpoint.
///
/// # Errors
/// If one is not finite, or a file cannot be read.
pub fn read_all(folder: &Path, info: &CheckpointInfo) -> Result<(), Fault> {
    info.read_all()
        .map_err(|error| bad(folder, &error).hint("copy the files again from where they came from"))
}

/// The LoRA of this rank on every linear layer of a language model; of a BLIP3o, on all attention.
pub fn lora(info: &CheckpointInfo, rank: usize) -> LoraConfig {
    let targets: &[&str] = match info.blip3o {
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

/// A training step of a fresh adapter on made-up examples, of a BLIP3o on both tasks: every call
/// takes one, and returns the loss before it.
pub type Trial = Box<dyn FnMut() -> f32>;

/// Loads a checkpoint for a [`Trial`].
///
/// # Errors
/// If it cannot be loaded.
pub fn trial(
    folder: &Path,
    info: &CheckpointInfo,
    (lora, step): (&LoraConfig, &StepShape),
    device: &Device,
) -> Result<Trial, Fault> {
    let named = |error: &dyn Display| bad(folder, error);
    let StepShape { questions, tokens, activations, .. } = *step;
    if let Some(config) = &info.blip3o {
        let mut blip3o = Blip3o::load(&info.files, config, Some(lora), activations, device)
            .map_err(|error| named(&error))?;
        let fresh = Adapter::init(&Blip3o::adaptable(config), lora, 0);
        blip3o.set_adapter(&fresh).map_err(|error| named(&error))?;
        return Ok(both_tasks(blip3o, config.clone(), *step));
    }
    let config = &info.language;
    let mut model =
        Causal::load(&info.files, config, Some(lora), activations.weight_format(), device)
            .map_err(|error| named(&error))?;
    let fresh = Adapter::init(&Causal::adaptable(config), lora, 0);
    model.set_adapter(&fresh).map_err(|error| named(&error))?;
    let mut optimizer = Optimizer::new(0.0);
    // Any tokens will do: every step costs the same.
    let row: Vec<u32> = (0..=tokens).map(|at| (at * 7919 % config.vocab_size) as u32).collect();
    let rows = vec![row; questions];
    Ok(Box::new(move || model.train_step(&mut optimizer, (&rows, activations), RATE)))
}

fn both_tasks(mut blip3o: Blip3o, config: Blip3oConfig, step: StepShape) -> Trial {
    let patches = Patches::plain(&config.vision, PICTURE_SIDE);
    let seen = blip3o.look(&patches);
    let words = move |count: usize| {
        (0..count).map(move |at| (at * 7919 % config.image_token as usize) as u32)
    };
    let pads = std::iter::repeat_n(config.image_token, patches.token_count(&config.vision));
    let text: Vec<u32> = words(step.tokens).chain(pads).collect();
    let size = config.trunk.diffusion.places * config.trunk.diffusion.channels;
    let count = step.captions;
    let mut optimizer = Optimizer::new(0.0);
    Box::new(move || {
        let question = Question { seen: &seen, text: text.clone(), answer: vec![1, 2] };
        let captions = Captions {
            texts: vec![words(step.tokens).collect(); count],
            targets: vec![0.5; count * size],
            noise: Noise {
                levels: vec![0.5; count],
                values: start_noise(0, 0, count * size),
                kept: vec![1.0; count],
            },
        };
        let questions = vec![question; step.questions];
        blip3o.train_step(&mut optimizer, (&questions, captions), RATE).sum()
    })
}

/// Each prompt's likeliest text of `count` tokens, with a PEFT adapter if one is given.
///
/// # Errors
/// If the checkpoint, its tokenizer or the adapter cannot be read.
pub fn continue_texts(
    folder: &Path,
    adapter: Option<&Path>,
    (prompts, count): (&[String], usize),
    device: &Device,
) -> Result<Vec<String>, Fault> {
    let info = info(folder)?;
    let unreadable = |error: TextError| bad(folder, &error).hint(TOKENIZER_HINT);
    let tokenizer = TextTokenizer::open(folder).map_err(unreadable)?;
    let tokens = prompts.iter().map(|prompt| tokenizer.encode(prompt)).collect::<Result<_, _>>();
    let tokens: Vec<Vec<u32>> = tokens.map_err(unreadable)?;
    let config = &info.language;
    let rows = config.vocab_size;
    if !tokens.iter().flatten().all(|token| (*token as usize) < rows) {
        return Err(Fault::input(format!("tokenizer.json has more tokens than {rows}"))
            .hint(TOKENIZER_HINT));
    }
    let adapter = adapter.map(|adapter| {
        peft::import(adapter, &Causal::adaptable(config)).map_err(|error| {
            let fault = bad(adapter, &error);
            match info.blip3o {
                None => fault,
                Some(_) => fault.hint(
                    "only its language model says texts; an adapter of all of it is for `witan \
                     ask` and `witan draw` with --model",
                ),
            }
        })
    });
    let adapter = adapter.transpose()?;
    let lora = adapter.as_ref().map(|(_, lora)| lora);
    let mut model = Causal::load(&info.files, config, lora, WeightFormat::AsStored, device)
        .map_err(|error| bad(folder, &error))?;
    if let Some((adapter, _)) = &adapter {
        model.set_adapter(adapter).map_err(|error| bad(folder, &error))?;
    }
    let said = model.greedy(&tokens, count);
    said.iter().map(|tokens| tokenizer.decode(tokens).map_err(unreadable)).collect()
}

fn bad(path: &Path, error: &dyn Display) -> Fault {
    Fault::input(format!("{}: {error}", path.display()))
}

const TOKENIZER_HINT: &str = "the folder needs the tokenizer.json that belongs to the weights";
/// The step size of a step nobody keeps.
const RATE: f64 = 1e-4;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Compute;
    use crate::families::language::Activations;

    #[test]
    fn a_step_of_both_tasks_is_tried_whether_layers_are_computed_once_or_twice() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/parity/blip3o");
        let info = info(&folder).unwrap();
        let losses = [Activations::Kept, Activations::Recomputed].map(|activations| {
            let (lora, compute) = (lora(&info, 2), Compute::Cpu);
            let step = StepShape { questions: 2, captions: 2, tokens: 8, activations, compute };
            trial(&folder, &info, (&lora, &step), &Device::flex()).unwrap()()
        });
        assert!(losses[0].is_finite() && losses[0] == losses[1], "{losses:?}");
    }
}
