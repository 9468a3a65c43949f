//! `witan model ask`.

use std::path::PathBuf;

use witan_home::Failure;
use witan_node::jobs::device::Compute;
use witan_node::jobs::unified::Unified;

use crate::output;

/// Ask a BLIP3o checkpoint about a picture.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The checkpoint's folder, with its tokenizer.json.
    folder: PathBuf,
    /// A PNG or JPEG file of at most 4096 pixels a side.
    image: PathBuf,
    /// The question.
    question: String,
    /// An adapter that Python's peft saved.
    #[arg(long, value_name = "FOLDER")]
    adapter: Option<PathBuf>,
    /// Tokens of the answer at most.
    #[arg(long, value_name = "COUNT", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=4096))]
    tokens: u16,
    /// Compute on cpu or cuda.
    #[arg(long, value_name = "DEVICE", default_value_t)]
    device: Compute,
}

/// Prints the answer.
pub fn run(args: &Args) -> Result<(), Failure> {
    let unified = Unified::load(&args.folder, args.adapter.as_deref(), args.device)?;
    let answer = unified.answer(&args.image, &args.question, args.tokens.into())?;
    output::print(|out| writeln!(out, "{answer}"))
}
