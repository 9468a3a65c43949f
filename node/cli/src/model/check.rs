//! `witan model check`.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use witan_home::settings::Compute;
use witan_home::{Failure, kibibytes};
use witan_model::device;
use witan_model::families::blip3o::Blip3oConfig;
use witan_model::families::language::Activations;
use witan_model::families::language::config::LanguageConfig;
use witan_model::inspect::checkpoint::CheckpointInfo;
use witan_model::inspect::memory::{Memory, StepShape};
use witan_model::inspect::preset::Preset;
use witan_model::inspect::probe;
use witan_model::trainable::{self, tower_bytes};
use witan_protocol::digest::Digest;

use super::{bytes, count};
use crate::output;

/// Check a checkpoint: what is in it, what is missing, and whether this device can train it.
///
/// Every number is read once. Exit code 3 if a tensor is missing, has another shape, or holds a
/// number that is not finite. With --preset the sizes and the memory of a model known by name are
/// estimated, without any file.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The checkpoint's folder: config.json beside model.safetensors, or files with their index.
    #[arg(required_unless_present = "preset", conflicts_with = "preset")]
    folder: Option<PathBuf>,
    /// Estimate for tiny, blip3o-4b or blip3o-8b instead of a folder.
    #[arg(long, value_name = "NAME", value_parser = preset)]
    preset: Option<Preset>,
    /// Rank of the adapter whose training is estimated.
    #[arg(
        long,
        value_name = "NUMBER",
        default_value_t = 16,
        value_parser = clap::value_parser!(u16).range(1..=1024),
    )]
    rank: u16,
    /// Tokens of the text of each row of a training step; a question's picture has 256 beside them.
    #[arg(
        long,
        value_name = "COUNT",
        default_value_t = 512,
        value_parser = clap::value_parser!(u16).range(2..=32768),
    )]
    tokens: u16,
    /// Questions in a training step's batch; of a language model, rows of text.
    #[arg(
        long,
        value_name = "COUNT",
        default_value_t = 1,
        value_parser = clap::value_parser!(u16).range(1..=4096),
    )]
    batch_questions: u16,
    /// Captions in a training step's batch; a language model has none.
    #[arg(
        long,
        value_name = "COUNT",
        default_value_t = 1,
        value_parser = clap::value_parser!(u16).range(1..=4096),
    )]
    batch_captions: u16,
    /// Look at the names and shapes only.
    #[arg(long, conflicts_with = "preset")]
    headers: bool,
    /// Estimate for, and train with, layers that are computed again for backward, and weights kept
    /// as they are stored: as members of a federation do.
    #[arg(long)]
    recompute: bool,
    /// Train for two steps on made-up examples, and say what one took.
    #[arg(long, conflicts_with_all = ["headers", "preset"])]
    step: bool,
    /// Train on cpu or cuda.
    #[arg(long, value_name = "DEVICE", default_value_t)]
    device: Compute,
}

/// Prints what was found.
pub(super) fn run(args: &Args) -> Result<(), Failure> {
    match (&args.folder, args.preset) {
        (Some(folder), _) => check(folder, args),
        (None, Some(preset)) => estimate(preset, args),
        (None, None) => Err(Failure::usage("neither a folder nor --preset")),
    }
}

fn preset(name: &str) -> Result<Preset, String> {
    let found = Preset::ALL.into_iter().find(|preset| preset.name() == name);
    found.ok_or_else(|| format!("expected one of {}", Preset::ALL.map(Preset::name).join(", ")))
}

/// What the configuration of a model known by name tells.
fn estimate(preset: Preset, args: &Args) -> Result<(), Failure> {
    let (tensors, trunk) = (preset.tensors(), preset.trunk());
    let numbers = tensors.iter().map(|(_, shape)| shape.iter().product::<usize>() as u64);
    let numbers: u64 = numbers.sum();
    let lora = probe::preset_lora(preset, args.rank.into());
    let memory = preset.training(&lora, args.shape());
    output::print(|out| {
        sizes(out, preset.name(), &trunk.language)?;
        if let Some(blip3o) = preset.blip3o() {
            both_ends(out, &blip3o)?;
        }
        let (count, stored) = (count(numbers), bytes(numbers * preset.number_bytes() as u64));
        writeln!(out, "numbers    {count}, {stored} as they are stored")?;
        needed(out, (memory, None), Kind::Unified, args)
    })
}

/// What lies in a folder.
fn check(folder: &Path, args: &Args) -> Result<(), Failure> {
    let device = device::open(args.device)?;
    let info = probe::info(folder)?;
    let kind = if info.blip3o.is_some() { Kind::Unified } else { Kind::Language };
    let (lora, shape) = (probe::lora(&info, args.rank.into()), args.shape());
    let memory = info.training(&lora, shape);
    let tower = match kind {
        Kind::Language => None,
        Kind::Unified => tower_bytes(folder)?,
    };
    output::print(|out| {
        found(out, &info)?;
        needed(out, (memory, tower), kind, args)
    })?;
    probe::require_whole(folder, &info)?;
    if !args.headers {
        probe::read_all(folder, &info)?;
        output::print(|out| writeln!(out, "numbers    all finite"))?;
    }
    if kind == Kind::Unified && !args.headers {
        named(folder)?;
    }
    if args.step {
        let mut step = probe::trial(folder, &info, (&lora, &shape), &device)?;
        let loss = step();
        // The first step also warms caches up.
        let started = Instant::now();
        step();
        let seconds = started.elapsed().as_secs_f64();
        let tokens = args.rows(kind) * u64::from(args.tokens);
        output::print(|out| took(out, (seconds, loss), tokens))?;
    }
    Ok(())
}

/// Prints what a federation names.
fn named(folder: &Path) -> Result<(), Failure> {
    let model = trainable::open(Some(folder))?;
    let (base, tower) = (Digest(model.digest()?), model.tower_digest()?);
    let tower = match tower {
        Some(tower) => format!("{}, likewise", Digest(tower)),
        None => "none: captions cannot be learnt".to_owned(),
    };
    output::print(|out| {
        writeln!(out, "base       {base}, as federation.toml names it")?;
        writeln!(out, "tower      {tower}")
    })
}

/// What a checkpoint can be trained for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Text alone.
    Language,
    /// Questions about pictures, and captions to draw.
    Unified,
}

impl Args {
    fn shape(&self) -> StepShape {
        StepShape {
            questions: self.batch_questions.into(),
            captions: self.batch_captions.into(),
            tokens: self.tokens.into(),
            activations: match self.recompute {
                true => Activations::Recomputed,
                false => Activations::Kept,
            },
            compute: self.device,
        }
    }

    /// Rows of text in a step.
    fn rows(&self, kind: Kind) -> u64 {
        let captions = if kind == Kind::Unified { self.batch_captions } else { 0 };
        u64::from(self.batch_questions) + u64::from(captions)
    }
}

/// The language model's sizes.
fn sizes(out: &mut dyn Write, kind: &str, config: &LanguageConfig) -> io::Result<()> {
    writeln!(
        out,
        "model      {kind}: width {}, {} layers, {} heads of {} on {} of keys, SwiGLU {}, {} \
         tokens{}",
        config.hidden_size,
        config.num_hidden_layers,
        config.num_attention_heads,
        config.head_dim,
        config.num_key_value_heads,
        config.intermediate_size,
        config.vocab_size,
        if config.tie_word_embeddings { ", tied head" } else { "" },
    )
}

fn found(out: &mut dyn Write, info: &CheckpointInfo) -> io::Result<()> {
    let formats = info.bytes();
    let formats = formats.iter().map(|(format, size)| format!("{} of {format}", bytes(*size)));
    sizes(out, &info.kind, &info.language)?;
    if let Some(blip3o) = &info.blip3o {
        both_ends(out, blip3o)?;
    }
    writeln!(
        out,
        "files      {}: {} tensors, {} numbers, {}",
        info.files.paths().len(),
        info.files.tensors().len(),
        count(info.parameter_count()),
        formats.collect::<Vec<_>>().join(", "),
    )?;
    // All of them: somebody must find each.
    list(out, "missing", &info.missing(), usize::MAX)?;
    list(out, "not used", &info.extra(), UNUSED_LISTED_MAX)
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
        "draws      {} features of {} numbers from {} queries: width {}, {} blocks, {} heads; \
         pixels are made by a decoder of its own, which is not read",
        drawing.places,
        drawing.channels,
        blip3o.trunk.queries,
        drawing.hidden_size,
        drawing.layers,
        drawing.heads,
    )
}

fn list(out: &mut dyn Write, what: &str, names: &[&str], listed_max: usize) -> io::Result<()> {
    match names {
        [] => writeln!(out, "{what:10} none"),
        names => {
            let shown = names[..names.len().min(listed_max)].join(", ");
            let more = names.len().saturating_sub(listed_max);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            writeln!(out, "{what:10} {}: {shown}{more}", names.len())
        }
    }
}

/// What training needs, with what the tower that makes targets does, and whether it is there.
fn needed(
    out: &mut dyn Write,
    (memory, tower): (Memory, Option<u64>),
    kind: Kind,
    args: &Args,
) -> io::Result<()> {
    let Args { rank, tokens, batch_questions: questions, batch_captions: captions, .. } = args;
    let rows = match kind {
        Kind::Language => counted(*questions, "row"),
        Kind::Unified => {
            format!("{} and {}", counted(*questions, "question"), counted(*captions, "caption"))
        }
    };
    let seen = match memory.seen {
        0 => String::new(),
        seen => format!(", what the encoder saw {} at most", bytes(seen)),
    };
    writeln!(
        out,
        "training   rank {rank}, {rows} of {tokens} tokens a step: {} (weights {}, adapter \
         with its optimizer {}, activations {}, the rest {}{seen})",
        bytes(memory.total()),
        bytes(memory.weights),
        bytes(memory.adapter),
        bytes(memory.activations),
        bytes(memory.rest),
    )?;
    if let Some(tower) = tower {
        writeln!(out, "targets    {} for the tower, before the model is loaded", bytes(tower))?;
    }
    let most = memory.total().max(tower.unwrap_or(0));
    match (args.device, kibibytes("/proc/meminfo", "MemAvailable:")) {
        (Compute::Cpu, Some(free)) => {
            let can = if free >= most { "can" } else { "cannot" };
            writeln!(out, "device     cpu with {} available: {can}", bytes(free))
        }
        (device, _) if args.folder.is_some() => {
            writeln!(out, "device     {device}: its memory is not known; try --step")
        }
        (device, _) => writeln!(out, "device     {device}: its memory is not known"),
    }
}

fn counted(count: u16, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

fn took(out: &mut dyn Write, (seconds, loss): (f64, f32), tokens: u64) -> io::Result<()> {
    let rate = tokens as f64 / seconds;
    write!(out, "step       {seconds:.2} s, {rate:.0} tokens/s, loss before {loss:.4}")?;
    match kibibytes("/proc/self/status", "VmHWM:") {
        Some(peak) => writeln!(out, ", peak {}", bytes(peak)),
        None => writeln!(out),
    }
}

/// Names listed of tensors that nobody asks for.
const UNUSED_LISTED_MAX: usize = 8;
