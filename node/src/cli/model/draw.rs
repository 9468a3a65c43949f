//! `witan model draw`.

use std::path::PathBuf;

use crate::cli::output;
use crate::error::Failure;
use crate::jobs::device::Compute;
use crate::jobs::unified::Unified;

/// Have a BLIP3o checkpoint draw the features of a picture.
///
/// The pixels are made from them by BLIP3o's own decoder, an SDXL in `diffusion-decoder/`, which is no part of this
/// program: give it the tensor `features` of the file as its prompt's embeddings.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The checkpoint's folder, with its tokenizer.json.
    folder: PathBuf,
    /// What to draw.
    caption: String,
    /// The safetensors file to write.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
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
    std::fs::write(&args.out, unified.draw(&args.caption, args.seed)?).map_err(|error| {
        Failure::environment(format!("cannot write {}: {error}", args.out.display()))
            .hint("name a file in a folder you can write to with --out")
    })?;
    output::print(|out| writeln!(out, "{}", args.out.display()))
}
