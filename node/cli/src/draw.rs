//! `witan draw`.

use std::path::{Path, PathBuf};

use witan_data::evaluate::geneval::folder::Folder;
use witan_data::evaluation::PROMPTS_HINT;
use witan_data::prompts;
use witan_data::sheet::{Sheet, Tile};
use witan_home::Failure;
use witan_home::settings::Compute;
use witan_model::device;
use witan_model::trainable::{Drawing, DrawingKind, Progress, Trainable, unwritten};

use super::bar::Bar;
use super::eval::IMAGES_MAX;
use super::output;
use super::source::{ModelArgs, check_text};

/// Have a model draw a caption, or many: a home's, a checkpoint, or the one in this program.
///
/// The model in this program draws PNGs of 64×64 pixels. A checkpoint draws features, safetensors
/// files of a tensor `features`; BLIP3o's own decoder, an SDXL in `diffusion-decoder/` that is no
/// part of this program, makes pixels of them as its prompt's embeddings.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    model: ModelArgs,
    /// What to draw, such as "a red circle left of a blue square"; the model in this program knows
    /// the words that `witan ask --words` lists.
    #[arg(required_unless_present = "prompts", requires = "out", conflicts_with = "prompts")]
    caption: Option<String>,
    /// The file to write; with --prompts a new folder, laid out as GenEval's.
    #[arg(long, value_name = "FILE", conflicts_with = "sheet")]
    out: Option<PathBuf>,
    /// Draw many captions: with --sheet the lines of a text, with --out JSON lines in GenEval's
    /// schema, of any classes.
    #[arg(long, value_name = "FILE")]
    prompts: Option<PathBuf>,
    /// Write all drawings on one contact sheet, a PNG with what was asked below each.
    #[arg(long, value_name = "FILE", requires = "prompts")]
    sheet: Option<PathBuf>,
    /// Drawings of each prompt in the folder.
    #[arg(
        long,
        value_name = "COUNT",
        default_value_t = 4,
        conflicts_with_all = ["caption", "sheet"],
        value_parser = clap::value_parser!(u64).range(1..=IMAGES_MAX as u64)
    )]
    images: u64,
    /// Another seed, another drawing.
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    seed: u64,
    /// Compute on cpu or cuda.
    #[arg(long, value_name = "DEVICE", default_value_t)]
    device: Compute,
}

/// Writes the drawing, the sheet or the folder.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    match (&args.prompts, &args.sheet, &args.caption, &args.out) {
        (Some(prompts), Some(sheet), ..) => draw_sheet(args, prompts, sheet),
        (Some(prompts), _, _, Some(out)) => draw_folder(args, prompts, out),
        (_, _, Some(caption), Some(out)) => {
            check_text(caption)?;
            let drawn = load(args)?.draw(&[caption], 0..1, args.seed)?;
            write(out, "--out", &drawn[0].to_bytes())
        }
        _ => Err(Failure::usage("no file to draw into")
            .hint("name it with --out, or with --prompts and --sheet")),
    }
}

fn load(args: &Args) -> Result<Box<dyn Trainable>, Failure> {
    let device = device::open(args.device)?;
    args.model.open()?.load(&device)
}

fn draw_sheet(args: &Args, prompts: &Path, sheet: &Path) -> Result<(), Failure> {
    let lines = lines(prompts)?;
    let device = device::open(args.device)?;
    let model = args.model.open()?;
    if model.base.drawing() == DrawingKind::Features {
        return Err(Failure::usage("a checkpoint draws features, which no sheet can show")
            .hint("write them in GenEval's folders with --prompts FILE --out FOLDER"));
    }
    let captions: Vec<&str> = lines.iter().map(String::as_str).collect();
    let drawn = model.load(&device)?.draw(&captions, 0..captions.len(), args.seed)?;
    let tile =
        |(drawing, text): (Drawing, String)| Some(Tile { picture: drawing.picture()?, text });
    let tiles = drawn.into_iter().zip(lines).filter_map(tile).collect();
    let laid_out = Sheet { tiles, columns: COLUMNS, scale: SCALE, ..Sheet::default() };
    write(sheet, "--sheet", &laid_out.to_png().map_err(Failure::input)?)
}

/// Image `k` of prompt `i` starts from stream `i` of the noise of `seed + k`.
fn draw_folder(args: &Args, prompts: &Path, out: &Path) -> Result<(), Failure> {
    let model = load(args)?;
    let prompts =
        prompts::read_any(prompts).map_err(|error| Failure::input(error).hint(PROMPTS_HINT))?;
    let captions: Vec<&str> = prompts.iter().map(|prompt| &prompt.prompt[..]).collect();
    let folder = Folder::create(out).map_err(unwritten)?;
    let mut bar = Bar::new(false);
    let images = usize::try_from(args.images).map_err(Failure::usage)?;
    let total = prompts.len() * images;
    for image in 0..images {
        let seed = args.seed.wrapping_add(image as u64);
        for start in (0..prompts.len()).step_by(model.batch_max()) {
            let range = start..(start + model.batch_max()).min(prompts.len());
            let drawn = model.draw(&captions, range.clone(), seed)?;
            for (number, drawing) in range.clone().zip(drawn) {
                let file = (image, drawing.kind().ending());
                folder
                    .add_file((number, &prompts[number]), file, &drawing.to_bytes())
                    .map_err(unwritten)?;
            }
            let done = image * prompts.len() + range.end;
            bar.tell(Progress { stage: "drawing", done, total });
        }
    }
    bar.end();
    output::print(|print| writeln!(print, "{total} drawings in {}", out.display()))
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

fn write(path: &Path, flag: &str, bytes: &[u8]) -> Result<(), Failure> {
    std::fs::write(path, bytes).map_err(|error| {
        Failure::environment(format!("cannot write {}: {error}", path.display()))
            .hint(format!("name a file in a folder you can write to with {flag}"))
    })?;
    output::print(|out| writeln!(out, "{}", path.display()))
}

/// A sheet of more could not be looked at.
const LINES_MAX: usize = 1000;
const COLUMNS: usize = 6;
const SCALE: usize = 2;
