//! `witan export`.

use std::path::PathBuf;

use witan_home::Failure;
use witan_node::jobs::chosen::Chosen;

use super::{output, source};

/// Write a committed adapter as a folder that Python's peft loads.
///
/// `PeftModel.from_pretrained(base, DIR)` reads it; `witan ask` and `witan draw` do with --adapter
/// DIR, of a checkpoint `witan model ask` and `witan model draw`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The folder to write adapter_config.json and adapter_model.safetensors into.
    #[arg(long, value_name = "DIR")]
    peft: PathBuf,
    /// A node's home folder, running or not.
    #[arg(long, value_name = "FOLDER", required_unless_present = "adapter")]
    home: Option<PathBuf>,
    /// This round of the home, 0 for what all members started from; the newest if left out.
    #[arg(long, value_name = "NUMBER", conflicts_with = "adapter")]
    round: Option<u64>,
    /// Instead of a home: an adapter that Python's peft or `witan export` wrote.
    #[arg(long, value_name = "FOLDER", conflicts_with = "home")]
    adapter: Option<PathBuf>,
}

/// Writes the folder.
pub fn run(args: &Args) -> Result<(), Failure> {
    let (home, adapter) = (args.home.as_deref(), args.adapter.as_deref());
    let chosen = source::read(home, args.round, adapter, Chosen::read)?;
    chosen.export(&args.peft)?;
    let (count, rank) = (chosen.committed.adapter.parameter_count(), chosen.lora.rank);
    output::print(|out| {
        writeln!(out, "{}: rank {rank}, {count} numbers", args.peft.display())?;
        writeln!(out, "next: {}", chosen.foundation.ask_command(&args.peft))
    })
}
