//! `witan ask`.

use std::path::PathBuf;

use witan_home::Failure;
use witan_node::jobs::device::Compute;
use witan_node::jobs::speak::{self, Speaker};

use super::{output, source};

/// Ask the newest committed model of a home, or an exported one, about a picture.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A node's home folder, running or not.
    #[arg(long, value_name = "FOLDER", required_unless_present_any = ["words", "adapter"])]
    home: Option<PathBuf>,
    /// Instead of a home: an adapter that Python's peft or `witan export` wrote.
    #[arg(long, value_name = "FOLDER", conflicts_with = "home")]
    adapter: Option<PathBuf>,
    /// A PNG or JPEG file of at most 4096 pixels a side.
    #[arg(required_unless_present = "words")]
    image: Option<PathBuf>,
    /// Compute on cpu or cuda.
    #[arg(long, value_name = "DEVICE", default_value_t)]
    device: Compute,
    /// The question, such as "what colour is the circle?".
    #[arg(required_unless_present = "words")]
    question: Option<String>,
    /// List the words that a question to `ask` or a caption to `draw` may hold, and do nothing
    /// else.
    #[arg(long, exclusive = true)]
    words: bool,
}

/// Prints the answer.
pub fn run(args: &Args) -> Result<(), Failure> {
    let (Some(image), Some(question)) = (&args.image, &args.question) else {
        return output::print(|out| speak::words().iter().try_for_each(|it| writeln!(out, "{it}")));
    };
    let (home, adapter) = (args.home.as_deref(), args.adapter.as_deref());
    let speaker = source::read(home, None, adapter, |it| Speaker::new(it, args.device))?;
    let answer = speaker.answer(image, question)?;
    output::print(|out| writeln!(out, "{answer}"))
}
