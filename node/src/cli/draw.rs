//! `witan draw`.

use std::path::PathBuf;

use super::output;
use crate::error::Failure;
use crate::home::Home;
use crate::jobs::device::Compute;
use crate::jobs::speak::Speaker;

/// Have the newest committed model of a home draw a picture.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A node's home folder, running or not.
    #[arg(long, value_name = "FOLDER")]
    home: PathBuf,
    /// Compute on cpu or cuda.
    #[arg(long, default_value_t)]
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
    let speaker = Speaker::of_home(&Home::existing(&args.home)?, args.device)?;
    let png = speaker.draw(&args.caption, args.seed)?;
    std::fs::write(&args.out, png).map_err(|error| {
        Failure::environment(format!("cannot write {}: {error}", args.out.display()))
            .hint("name a file in a folder you can write to with --out")
    })?;
    output::print(|out| writeln!(out, "{}", args.out.display()))
}
