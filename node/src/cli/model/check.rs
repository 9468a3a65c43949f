//! `witan model check`.

use std::io::{self, Write};
use std::path::PathBuf;

use super::{bytes, count};
use crate::cli::output;
use crate::error::Failure;
use crate::jobs::checkpoint::{self, Activations, Blip3oConfig, Memory, Survey, Trial, Tried};
use crate::jobs::device::{self, Compute};
use crate::jobs::foundation::Foundation;

/// Look a checkpoint over: what is in it, what is missing, and whether this device can train it.
///
/// Every number is read once. Exit code 3 if a tensor is missing, has another shape, or holds a number that is not
/// finite.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The checkpoint's folder: config.json beside model.safetensors, or files with their index.
    folder: PathBuf,
    /// Rank of the adapter whose training is reckoned with.
    #[arg(long, value_name = "NUMBER", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=1024))]
    rank: u16,
    /// Tokens of a training step.
    #[arg(long, value_name = "COUNT", default_value_t = 512, value_parser = clap::value_parser!(u16).range(2..=32768))]
    tokens: u16,
    /// Look at the names and shapes only.
    #[arg(long)]
    headers: bool,
    /// Reckon with, and train with, layers that are computed again for backward, and weights kept as they are stored.
    #[arg(long)]
    recompute: bool,
    /// Train for two steps on made-up text, and say what one took.
    #[arg(long, conflicts_with = "headers")]
    step: bool,
    /// Train on cpu or cuda.
    #[arg(long, value_name = "DEVICE", default_value_t)]
    device: Compute,
}

/// Prints what was found.
pub fn run(args: &Args) -> Result<(), Failure> {
    device::open(args.device)?;
    let survey = checkpoint::survey(&args.folder)?;
    let trial = Trial {
        lora: checkpoint::lora(&survey, args.rank.into()),
        tokens: args.tokens.into(),
        compute: args.device,
        activations: if args.recompute { Activations::Recomputed } else { Activations::Kept },
    };
    let memory = survey.training(&trial.lora, trial.tokens, trial.activations);
    output::print(|out| {
        found(out, &survey)?;
        needed(out, memory, args)
    })?;
    checkpoint::is_whole(&args.folder, &survey)?;
    if !args.headers {
        checkpoint::read_all(&args.folder, &survey)?;
        output::print(|out| writeln!(out, "numbers    all finite"))?;
    }
    if survey.blip3o.is_some() && !args.headers {
        let foundation = Foundation::open(Some(&args.folder))?;
        let (base, tower) = (foundation.digest()?, foundation.tower()?);
        let tower = match tower {
            Some(tower) => format!("{}, likewise", tower.digest),
            None => "none: captions cannot be learnt".to_owned(),
        };
        output::print(|out| {
            writeln!(out, "base       {base}, as federation.toml names it")?;
            writeln!(out, "tower      {tower}")
        })?;
    }
    if args.step {
        let tried = checkpoint::try_step(&args.folder, &survey, &trial)?;
        output::print(|out| took(out, tried, args.tokens.into()))?;
    }
    Ok(())
}

fn found(out: &mut dyn Write, survey: &Survey) -> io::Result<()> {
    let config = &survey.language;
    let formats = survey.bytes();
    let formats = formats.iter().map(|(format, size)| format!("{} of {format}", bytes(*size)));
    writeln!(
        out,
        "model      {}: width {}, {} layers, {} heads of {} on {} of keys, SwiGLU {}, {} tokens{}",
        survey.kind,
        config.hidden_size,
        config.num_hidden_layers,
        config.num_attention_heads,
        config.head_dim,
        config.num_key_value_heads,
        config.intermediate_size,
        config.vocab_size,
        if config.tie_word_embeddings { ", tied head" } else { "" },
    )?;
    if let Some(blip3o) = &survey.blip3o {
        both_ends(out, blip3o)?;
    }
    writeln!(
        out,
        "files      {}: {} tensors, {} numbers, {}",
        survey.files.paths().len(),
        survey.files.tensors().len(),
        count(survey.parameter_count()),
        formats.collect::<Vec<_>>().join(", "),
    )?;
    list(out, "missing", &survey.missing())?;
    list(out, "not used", &survey.extra())
}

/// What a BLIP3o sees with and draws with.
fn both_ends(out: &mut dyn Write, blip3o: &Blip3oConfig) -> io::Result<()> {
    let (vision, drawing) = (&blip3o.vision, &blip3o.trunk.diffusion);
    writeln!(
        out,
        "sees       patches of {} pixels, {} of them a token: width {}, {} blocks, {} heads",
        vision.patch_size,
        vision.spatial_merge_size.pow(2),
        vision.hidden_size,
        vision.depth,
        vision.num_heads,
    )?;
    writeln!(
        out,
        "draws      {} features of {} numbers from {} queries: width {}, {} blocks, {} heads; pixels \
         are made by a decoder of its own, which is not read",
        drawing.places,
        drawing.channels,
        blip3o.trunk.queries,
        drawing.hidden_size,
        drawing.layers,
        drawing.heads,
    )
}

fn list(out: &mut dyn Write, what: &str, names: &[&str]) -> io::Result<()> {
    match names {
        [] => writeln!(out, "{what:10} none"),
        names => {
            let shown = names[..names.len().min(LISTED_MAX)].join(", ");
            let more = names.len().saturating_sub(LISTED_MAX);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            writeln!(out, "{what:10} {}: {shown}{more}", names.len())
        }
    }
}

fn needed(out: &mut dyn Write, memory: Memory, args: &Args) -> io::Result<()> {
    writeln!(
        out,
        "training   rank {}, {} tokens a step: {} (weights {}, adapter with its optimiser {}, activations {})",
        args.rank,
        args.tokens,
        bytes(memory.total()),
        bytes(memory.weights),
        bytes(memory.adapter),
        bytes(memory.activations),
    )?;
    match (args.device, checkpoint::available_bytes()) {
        (Compute::Cpu, Some(free)) => {
            let can = if free >= memory.total() { "can" } else { "cannot" };
            writeln!(out, "device     cpu with {} available: {can}", bytes(free))
        }
        (device, _) => writeln!(out, "device     {device}: its memory is not known; try --step"),
    }
}

fn took(out: &mut dyn Write, tried: Tried, tokens: usize) -> io::Result<()> {
    let seconds = tried.step.as_secs_f64();
    let rate = tokens as f64 / seconds;
    write!(out, "step       {seconds:.2} s, {rate:.0} tokens/s, loss before {:.4}", tried.loss)?;
    match tried.peak_bytes {
        Some(peak) => writeln!(out, ", peak {}", bytes(peak)),
        None => writeln!(out),
    }
}

/// Names listed of each kind.
const LISTED_MAX: usize = 8;
