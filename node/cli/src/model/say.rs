//! `witan model say`.

use std::path::PathBuf;

use witan_home::Failure;
use witan_home::settings::Compute;
use witan_model::device;
use witan_model::inspect::probe;

use crate::output;

/// Go on with texts as a checkpoint's language model finds likeliest.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The checkpoint's folder, with its tokenizer.json.
    folder: PathBuf,
    /// The beginnings of the texts.
    #[arg(required = true)]
    prompts: Vec<String>,
    /// An adapter that Python's peft saved.
    #[arg(long, value_name = "FOLDER")]
    adapter: Option<PathBuf>,
    /// Tokens of each text.
    #[arg(
        long,
        value_name = "COUNT",
        default_value_t = 32,
        value_parser = clap::value_parser!(u16).range(1..=4096),
    )]
    tokens: u16,
    /// Compute on cpu or cuda.
    #[arg(long, value_name = "DEVICE", default_value_t)]
    device: Compute,
    /// One JSON string a text.
    #[arg(long)]
    json: bool,
}

/// Prints what follows each prompt.
pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let Args { folder, prompts, adapter, tokens, device, json } = args;
    let (device, texts) = (device::open(*device)?, (&prompts[..], usize::from(*tokens)));
    let said = probe::continue_texts(folder, adapter.as_deref(), texts, &device)?;
    output::print(|out| {
        said.iter().zip(prompts).try_for_each(|(text, prompt)| match json {
            true => output::json_line(out, text),
            false => writeln!(out, "{prompt}{text}"),
        })
    })
}
