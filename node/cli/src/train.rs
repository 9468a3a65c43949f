//! `witan train`.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use witan_home::{Failure, shell};
use witan_lab::spec::TrainSpec;
use witan_lab::spec::{Cohort, Exchange, Learning, Spec};
use witan_lab::train::{self, Request, TrainReport};
use witan_model::trainable;
use witan_node::interrupt::Interrupt;
use witan_node::jobs::selected;

use super::{block_on, output, screen};

/// Train without a federation, on what one would train on: all data in one place.
///
/// One trainer takes as many steps of the same batch as all nodes of `witan testnet` with the same
/// flags together, so that both see the same number of questions and captions. The same flags give
/// the same bytes on one machine. Ctrl-C keeps what is trained; --resume continues it to the same
/// bytes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    cohort: Cohort,
    #[command(flatten)]
    learning: Learning,
    #[command(flatten)]
    how: How,
    /// The folder to be made, for adapters and metrics.
    #[arg(long, value_name = "FOLDER", default_value = "witan-train")]
    dir: PathBuf,
    /// Continue the training in --dir, which knows its settings.
    #[arg(long, conflicts_with_all = ["Cohort", "Learning", "Lora", "How"])]
    resume: bool,
    /// Print report.json on standard output, and neither progress nor tables.
    #[arg(long)]
    json: bool,
}

/// What a federation's settings do not say.
#[derive(Debug, clap::Args)]
struct How {
    /// Train each node's part alone, for as many steps as that node takes, instead of all data in
    /// one place.
    #[arg(long)]
    local_only: bool,
    /// Threads of one training; another number may give other bytes.
    #[arg(long, value_name = "COUNT", default_value_t = 1)]
    threads: usize,
}

/// Trains and prints the metrics.
pub(crate) fn run(args: Args) -> Result<(), Failure> {
    let Args { cohort, learning, how, dir, .. } = args;
    let spec = TrainSpec {
        spec: Spec { cohort, exchange: Exchange::default(), learning },
        is_local_only: how.local_only,
        threads: how.threads,
    };
    let spec = (!args.resume).then(|| spec.checked()).transpose()?;
    let request = Request { spec, dir: dir.clone(), targets: None };
    let listener = screen::listener(args.json);
    let report = block_on(async { train::run(request, listener, &mut Interrupt::listen()).await })?;
    if args.json {
        return output::json_report(&report);
    }
    output::print(|out| {
        writeln!(out, "{}", report.to_text())?;
        what_next(out, &dir, &report)
    })
}

fn what_next(out: &mut dyn Write, dir: &Path, report: &TrainReport) -> io::Result<()> {
    let Some(best) = report.best() else { return Ok(()) };
    let witan = shell::witan();
    let Learning { vqa, captions, model, .. } = &report.spec.spec.learning;
    let flags = selected::flags(model.as_deref(), &dir.join(&best.name));
    let drawing = trainable::open(model.as_deref()).map(|base| base.drawing().ending());
    if let (None, Ok(ending)) = (vqa, drawing)
        && (captions.is_some() || model.is_none())
    {
        writeln!(out, "next: {witan} draw {flags} \"a red star\" --out star.{ending}")?;
    }
    writeln!(out, "next: {witan} ask {flags} IMAGE \"what shape is in the image?\"")
}
