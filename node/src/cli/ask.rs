//! `witan ask`.

use std::path::PathBuf;

use super::output;
use crate::error::Failure;
use crate::home::Home;
use crate::jobs::device::Compute;
use crate::jobs::speak::{self, Speaker};

/// Ask the newest committed model of a home about a picture.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A node's home folder, running or not.
    #[arg(long, value_name = "FOLDER", required_unless_present = "words")]
    home: Option<PathBuf>,
    /// Compute on cpu or cuda.
    #[arg(long, default_value_t)]
    device: Compute,
    /// A PNG or JPEG file of at most 4096 pixels a side.
    #[arg(required_unless_present = "words")]
    image: Option<PathBuf>,
    /// The question, such as "what colour is the circle?".
    #[arg(required_unless_present = "words")]
    question: Option<String>,
    /// List the words that a question to `ask` or a caption to `draw` may hold, and do nothing else.
    #[arg(long, exclusive = true)]
    words: bool,
}

/// Prints the answer.
pub fn run(args: &Args) -> Result<(), Failure> {
    let (Some(home), Some(image), Some(question)) = (&args.home, &args.image, &args.question)
    else {
        return output::print(|out| speak::words().iter().try_for_each(|it| writeln!(out, "{it}")));
    };
    let speaker = Speaker::of_home(&Home::existing(home)?, args.device)?;
    let answer = speaker.answer(image, question)?;
    output::print(|out| writeln!(out, "{answer}"))
}
