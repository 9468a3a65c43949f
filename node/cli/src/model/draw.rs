//! `witan model draw`.

use std::path::{Path, PathBuf};

use witan_home::Failure;
use witan_node::jobs::device::Compute;
use witan_node::jobs::unified::{Drawings, Unified};

use crate::bar::Bar;
use crate::eval::IMAGES_MAX;
use crate::output;

/// Have a BLIP3o checkpoint draw the features of a picture, or of all prompts of a file.
///
/// The pixels are made from them by BLIP3o's own decoder, an SDXL in `diffusion-decoder/`, which is
/// no part of this program: give it the tensor `features` of a file as its prompt's embeddings.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The checkpoint's folder, with its tokenizer.json.
    folder: PathBuf,
    /// What to draw.
    #[arg(required_unless_present = "prompts", conflicts_with = "prompts")]
    caption: Option<String>,
    /// Draw every prompt of this file: JSON lines in GenEval's schema, of any classes.
    #[arg(long, value_name = "FILE")]
    prompts: Option<PathBuf>,
    /// The safetensors file to write; with --prompts a new folder, laid out as GenEval's.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Drawings of each prompt.
    #[arg(long, value_name = "COUNT", default_value_t = 4, conflicts_with = "caption", value_parser = clap::value_parser!(u64).range(1..=IMAGES_MAX as u64))]
    images: u64,
    /// An adapter that Python's peft saved.
    #[arg(long, value_name = "FOLDER")]
    adapter: Option<PathBuf>,
    /// Another seed, another drawing.
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    seed: u64,
    /// Compute on cpu or cuda.
    #[arg(long, value_name = "DEVICE", default_value_t)]
    device: Compute,
}

/// Writes the features.
pub fn run(args: &Args) -> Result<(), Failure> {
    let unified = Unified::load(&args.folder, args.adapter.as_deref(), args.device)?;
    match (&args.caption, &args.prompts) {
        (_, Some(prompts)) => all(args, &unified, prompts),
        (caption, None) => one(args, &unified, caption.as_deref().unwrap_or_default()),
    }
}

fn one(args: &Args, unified: &Unified, caption: &str) -> Result<(), Failure> {
    std::fs::write(&args.out, unified.draw(caption, (args.seed, 0))?).map_err(|error| {
        Failure::environment(format!("cannot write {}: {error}", args.out.display()))
            .hint("name a file in a folder you can write to with --out")
    })?;
    output::print(|out| writeln!(out, "{}", args.out.display()))
}

fn all(args: &Args, unified: &Unified, prompts: &Path) -> Result<(), Failure> {
    let images = usize::try_from(args.images).map_err(Failure::usage)?;
    let mut bar = Bar::new(false);
    let drawings = Drawings { prompts, images, seed: args.seed };
    let count = unified.draw_all(drawings, &args.out, &mut |progress| bar.tell(progress))?;
    bar.end();
    output::print(|out| writeln!(out, "{count} drawings in {}", args.out.display()))
}
