//! `witan data`.

use std::io::{self, Write};
use std::path::PathBuf;

use witan_data::summary::{Label, Summary};
use witan_home::settings::{By, DataSource, Settings, Share};
use witan_home::{Failure, Home};
use witan_model::trainable;

use super::output;

/// Look at what members train on.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Show(Show),
}

/// Show one member's share: how many of what, and with --out a contact sheet of it.
///
/// Of a home by its node.toml, or of a node that `witan testnet` would make with the same flags.
#[derive(Debug, clap::Args)]
struct Show {
    /// A node's home folder.
    #[arg(
        long,
        value_name = "FOLDER",
        conflicts_with_all = [
            "model", "vqa", "captions", "scenes", "node", "nodes", "alpha", "iid", "by", "seed",
        ]
    )]
    home: Option<PathBuf>,
    /// The BLIP3o checkpoint in this folder is to learn them [default: the model in this program].
    #[arg(long, value_name = "FOLDER")]
    model: Option<PathBuf>,
    /// A folder of VQA v2's own files instead of the embedded scenes.
    #[arg(long, value_name = "FOLDER")]
    vqa: Option<PathBuf>,
    /// A file of image and caption pairs; alone, or in place of the captions of --vqa.
    #[arg(long, value_name = "FILE")]
    captions: Option<PathBuf>,
    /// Embedded scenes for all nodes together [default: 300 for each].
    #[arg(long, value_name = "COUNT", conflicts_with_all = ["vqa", "captions"])]
    scenes: Option<usize>,
    /// Which node, from 0.
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    node: usize,
    /// Of how many.
    #[arg(long, value_name = "COUNT", default_value_t = 16)]
    nodes: usize,
    /// Dirichlet concentration of the data over the answers.
    #[arg(long, value_name = "NUMBER", default_value_t = 0.5, conflicts_with = "iid")]
    alpha: f64,
    /// Deal the data out evenly instead.
    #[arg(long)]
    iid: bool,
    /// Deal the data out by kind: answer-type or modality.
    #[arg(long, value_name = "KIND", conflicts_with_all = ["alpha", "iid"])]
    by: Option<By>,
    /// Seed of scenes and partition.
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,
    /// Write a contact sheet as PNG.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Pictures on the sheet at most, the member's first.
    #[arg(long, value_name = "COUNT", default_value_t = 48)]
    pictures: usize,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Shows it.
pub(crate) fn run(args: Args) -> Result<(), Failure> {
    let Command::Show(show) = args.command;
    let (source, model) = source(&show)?;
    let shown = Summary::read(&source, trainable::open(model.as_deref())?.words())?;
    let title = title(&source);
    if let Some(path) = &show.out {
        std::fs::write(path, shown.sheet(&title, show.pictures)?).map_err(|error| {
            Failure::environment(format!("cannot write {}: {error}", path.display()))
                .hint("name a file in a folder you can write to with --out")
        })?;
    }
    output::print(|out| match show.json {
        true => output::json_line(out, &shown),
        false => for_people(out, &title, &shown, &show),
    })
}

/// The data, and the folder of the checkpoint that learns them, if it is one.
fn source(show: &Show) -> Result<(DataSource, Option<PathBuf>), Failure> {
    if let Some(home) = &show.home {
        let Settings { data, model, .. } = Settings::read(&Home::existing(home)?.settings_file())?;
        return Ok((data, model));
    }
    let Show { node: index, nodes: of, alpha, iid, by, seed, scenes: count, .. } = *show;
    if index >= of {
        return Err(Failure::usage(format!("--node {index}: expected less than --nodes {of}"))
            .hint("nodes are numbered from 0"));
    }
    let alpha = (!iid && by.is_none()).then_some(alpha);
    let share = Share { index, of, alpha, by, seed };
    let source = DataSource::of(show.vqa.clone(), show.captions.clone(), seed, share);
    Ok((source.with_scenes(count), show.model.clone()))
}

/// Such as "node 3 of 16, alpha 0.5, seed 1: embedded scenes".
fn title(source: &DataSource) -> String {
    let Share { index, of, alpha, by, seed } = *source.share();
    let how = match (by, alpha) {
        (Some(by), _) => format!("by {by}"),
        (None, Some(alpha)) => format!("alpha {alpha}"),
        (None, None) => "iid".to_owned(),
    };
    format!("node {index} of {of}, {how}, seed {seed}: {source}")
}

fn for_people(out: &mut dyn Write, title: &str, shown: &Summary, show: &Show) -> io::Result<()> {
    writeln!(out, "{title}")?;
    let counts = [
        ("pictures", shown.pictures),
        ("questions", shown.questions),
        ("captions", shown.captions),
    ];
    for (what, sides) in counts {
        let (total, held_out) = (sides.training + sides.held_out, sides.held_out);
        writeln!(out, "{total:>7} {what}, {held_out} kept aside for its own scores")?;
    }
    let all = shown.questions.training + shown.captions.training;
    if shown.taught < all {
        let taught = shown.taught;
        writeln!(
            out,
            "{taught:>7} of the {all} it trains on can be taught to the embedded model: it knows \
             few words"
        )?;
    }
    for (title, labels) in shown.charts() {
        writeln!(out, "\n{title}")?;
        let most = labels.iter().map(|label| label.count).max().unwrap_or(1).max(1);
        let wide = labels.iter().map(|label| label.name.chars().count()).max().unwrap_or(0);
        for Label { name, count } in labels {
            let bar = "█".repeat((count * BAR_WIDTH).div_ceil(most));
            writeln!(out, "  {name:<wide$} {bar} {count}")?;
        }
    }
    match &show.out {
        Some(path) => writeln!(out, "\n{}", path.display()),
        None => writeln!(out, "\nnext: --out sheet.png draws it with its pictures"),
    }
}

const BAR_WIDTH: usize = 40;
