//! `witan draw`.

use std::path::{Path, PathBuf};

use witan_home::Failure;
use witan_node::jobs::device::Compute;
use witan_node::jobs::speak::Speaker;

use super::{output, source};

/// Have the newest committed model of a home, or an exported one, draw a picture, or a sheet of
/// many.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A node's home folder, running or not.
    #[arg(long, value_name = "FOLDER", required_unless_present = "adapter")]
    home: Option<PathBuf>,
    /// This round of the home, 0 for what all members started from; the newest if left out.
    #[arg(long, value_name = "NUMBER", requires = "home")]
    round: Option<u64>,
    /// Instead of a home: an adapter that Python's peft or `witan export` wrote.
    #[arg(long, value_name = "FOLDER", conflicts_with = "home")]
    adapter: Option<PathBuf>,
    /// Compute on cpu or cuda.
    #[arg(long, value_name = "DEVICE", default_value_t)]
    device: Compute,
    /// What to draw, such as "a red circle left of a blue square"; `witan ask --words` lists the
    /// words it knows.
    #[arg(required_unless_present = "prompts", requires = "out")]
    caption: Option<String>,
    /// The file to write: a PNG of 64×64 pixels.
    #[arg(long, value_name = "FILE", requires = "caption")]
    out: Option<PathBuf>,
    /// Draw every line of this file, to be written with --sheet.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["caption", "out"], requires = "sheet")]
    prompts: Option<PathBuf>,
    /// The contact sheet to write: a PNG of all drawings, with what was asked below each.
    #[arg(long, value_name = "FILE", requires = "prompts")]
    sheet: Option<PathBuf>,
    /// Another seed, another drawing.
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    seed: u64,
}

/// Writes the drawing or the sheet.
pub fn run(args: &Args) -> Result<(), Failure> {
    let (home, adapter) = (args.home.as_deref(), args.adapter.as_deref());
    let speaker =
        || source::read(home, args.round, adapter, |source| Speaker::new(source, args.device));
    match (&args.prompts, &args.sheet, &args.caption, &args.out) {
        (Some(prompts), Some(sheet), ..) => {
            let lines = lines(prompts)?;
            write(sheet, "--sheet", speaker()?.draw_sheet(&lines, args.seed)?)
        }
        (_, _, Some(caption), Some(out)) => {
            write(out, "--out", speaker()?.draw(caption, args.seed)?)
        }
        _ => {
            Err(Failure::usage("neither a caption with --out nor --prompts with --sheet is given"))
        }
    }
}

/// The lines that hold anything.
fn lines(path: &Path) -> Result<Vec<String>, Failure> {
    let bad = |why: &str| {
        Failure::input(format!("{}: {why}", path.display()))
            .hint("give a text file with a caption on each line")
    };
    let text = std::fs::read_to_string(path).map_err(|error| bad(&error.to_string()))?;
    let lines: Vec<_> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    match lines.len() {
        0 => Err(bad("there is no line in it")),
        1..=LINES_MAX => Ok(lines.into_iter().map(str::to_owned).collect()),
        more => Err(bad(&format!("{more} lines, at most {LINES_MAX} fit a sheet"))),
    }
}

fn write(path: &Path, flag: &str, png: Vec<u8>) -> Result<(), Failure> {
    std::fs::write(path, png).map_err(|error| {
        Failure::environment(format!("cannot write {}: {error}", path.display()))
            .hint(format!("name a file in a folder you can write to with {flag}"))
    })?;
    output::print(|out| writeln!(out, "{}", path.display()))
}

/// A sheet of more could not be looked at.
const LINES_MAX: usize = 1000;
