//! `witan ask`.

use std::path::PathBuf;

use witan_data::tokenizer::Tokenizer;
use witan_home::Failure;
use witan_home::settings::Compute;
use witan_model::device;

use super::output;
use super::source::{ModelArgs, check_text};

/// Ask a model about a picture: a home's, a checkpoint, or the one in this program.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// A PNG or JPEG file of at most 4096 pixels a side.
    #[arg(required_unless_present = "words")]
    image: Option<PathBuf>,
    /// The question, such as "what colour is the circle?".
    #[arg(required_unless_present = "words")]
    question: Option<String>,
    /// Tokens of a checkpoint's answer at most; the model in this program says one word.
    #[arg(
        long,
        value_name = "COUNT",
        default_value_t = 16,
        value_parser = clap::value_parser!(u16).range(1..=4096)
    )]
    tokens: u16,
    /// Compute on cpu or cuda.
    #[arg(long, value_name = "DEVICE", default_value_t)]
    device: Compute,
    /// List the words that the model in this program knows, and do nothing else.
    #[arg(long, exclusive = true)]
    words: bool,
}

/// Prints the answer.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let (Some(image), Some(question)) = (&args.image, &args.question) else {
        let words = Tokenizer::new();
        return output::print(|out| words.words().iter().try_for_each(|it| writeln!(out, "{it}")));
    };
    check_text(question)?;
    let device = device::open(args.device)?;
    let model = args.model.open()?.load(&device)?;
    let answer = model.answer(image, question, args.tokens.into())?;
    output::print(|out| writeln!(out, "{answer}"))
}
