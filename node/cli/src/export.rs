//! `witan export`.

use std::path::PathBuf;

use witan_home::{Failure, shell};
use witan_node::jobs::selected;

use super::output;
use super::source::ModelArgs;

/// Write a committed adapter as a folder that Python's peft loads.
///
/// `PeftModel.from_pretrained(base, DIR)` reads it; `witan ask`, `draw` and `eval` do with
/// --adapter DIR, of a checkpoint beside --model.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The folder to write adapter_config.json and adapter_model.safetensors into.
    #[arg(long, value_name = "DIR")]
    peft: PathBuf,
    #[command(flatten)]
    model: ModelArgs,
}

/// Writes the folder.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    if args.model.home.is_none() && args.model.adapter.is_none() {
        return Err(Failure::usage("no adapter to export").hint("name it with --home or --adapter"));
    }
    let model = args.model.open()?;
    model.export(&args.peft)?;
    let (count, rank) = (model.committed.adapter.parameter_count(), model.lora.rank);
    let flags = selected::flags(model.base.folder(), &args.peft);
    output::print(|out| {
        writeln!(out, "{}: rank {rank}, {count} numbers", args.peft.display())?;
        writeln!(out, "next: {} ask {flags} PICTURE QUESTION", shell::witan())
    })
}
