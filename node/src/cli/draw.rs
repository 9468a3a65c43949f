//! `witan draw`.

use std::path::PathBuf;

use super::{output, source};
use crate::error::Failure;
use crate::jobs::device::Compute;
use crate::jobs::speak::Speaker;

/// Have the newest committed model of a home, or an exported one, draw a picture.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A node's home folder, running or not.
    #[arg(long, value_name = "FOLDER", required_unless_present = "adapter")]
    home: Option<PathBuf>,
    /// Instead of a home: an adapter that Python's peft or `witan export` wrote.
    #[arg(long, value_name = "FOLDER", conflicts_with = "home")]
    adapter: Option<PathBuf>,
    /// Compute on cpu or cuda.
    #[arg(long, value_name = "DEVICE", default_value_t)]
    device: Compute,
    /// What to draw, such as "a red circle left of a blue square"; `witan ask --words` lists the
    /// words it knows.
    caption: String,
    /// The file to write: a PNG of 64×64 pixels.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Another seed, another drawing.
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    seed: u64,
}

/// Writes the drawing.
pub fn run(args: &Args) -> Result<(), Failure> {
    let (home, adapter) = (args.home.as_deref(), args.adapter.as_deref());
    let speaker = source::read(home, None, adapter, |it| Speaker::new(it, args.device))?;
    let png = speaker.draw(&args.caption, args.seed)?;
    std::fs::write(&args.out, png).map_err(|error| {
        Failure::environment(format!("cannot write {}: {error}", args.out.display()))
            .hint("name a file in a folder you can write to with --out")
    })?;
    output::print(|out| writeln!(out, "{}", args.out.display()))
}
