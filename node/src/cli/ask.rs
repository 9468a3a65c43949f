//! `witan ask`.

use std::path::PathBuf;

use super::output;
use crate::error::Failure;
use crate::home::Home;
use crate::jobs::device::Compute;
use crate::jobs::speak::Speaker;

/// Ask the newest committed model of a home about a picture.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A node's home, running or not.
    #[arg(long)]
    home: PathBuf,
    /// Compute on cpu or cuda.
    #[arg(long, default_value_t)]
    device: Compute,
    /// A PNG or JPEG picture.
    image: PathBuf,
    /// The question, such as "what colour is the circle?".
    question: String,
}

/// Prints the answer.
pub fn run(args: &Args) -> Result<(), Failure> {
    let speaker = Speaker::of_home(&Home::existing(&args.home)?, args.device)?;
    let answer = speaker.answer(&args.image, &args.question)?;
    output::print(|out| writeln!(out, "{answer}"))
}
