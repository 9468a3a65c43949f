//! `witan train`.

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use witan_home::{Failure, shell};
use witan_lab::solo::{self, Order, Request, SoloReport};
use witan_lab::testnet::prepare::Plan;

use super::progress::Progress;
use super::terms::{SAID_ONCE, Terms};
use super::{block_on, output, stop_requested};

/// Train without a federation, on what one would train on: all data in one place.
///
/// One trainer takes as many steps of the same batch as all nodes of `witan testnet` with the same flags together,
/// so that both see the same number of questions and captions. The same flags give the same bytes on one machine.
/// Ctrl-C keeps what is trained; --resume goes on from it to the same bytes.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    terms: Terms,
    /// Train each node's part alone, for as many steps as that node takes, instead of all data in one place.
    #[arg(long)]
    local_only: bool,
    /// Threads of one training; another number may give other bytes.
    #[arg(long, value_name = "COUNT", default_value_t = 1)]
    threads: usize,
    /// The folder to be made, for adapters and scores.
    #[arg(long, value_name = "FOLDER", default_value = "witan-train")]
    dir: PathBuf,
    /// Continue the training in --dir, which knows what it was made for.
    #[arg(long, conflicts_with_all = SAID_ONCE, conflicts_with_all = ["local_only", "threads"])]
    resume: bool,
    /// Print report.json on standard output, and neither progress nor tables.
    #[arg(long)]
    json: bool,
}

/// Trains and prints the scores.
pub fn run(args: Args) -> Result<(), Failure> {
    let request = Request {
        order: (!args.resume).then(|| order(&args)).transpose()?,
        dir: args.dir.clone(),
        targets: None,
    };
    let stopping = Arc::new(AtomicBool::new(false));
    let (flag, is_silent) = (Arc::clone(&stopping), args.json);
    let report = block_on(async {
        let mut work = tokio::task::spawn_blocking(move || {
            let progress = Progress::new(is_silent);
            solo::run(&request, &flag, &|told| progress.tell(&told))
        });
        tokio::select! {
            outcome = &mut work => return outcome.map_err(Failure::environment)?,
            () = stop_requested(false) => stopping.store(true, Ordering::Relaxed),
        }
        work.await.map_err(Failure::environment)?
    })?;
    if args.json {
        let json = serde_json::to_string_pretty(&report).expect("a report is plain JSON");
        return output::print(|out| writeln!(out, "{json}"));
    }
    output::print(|out| {
        writeln!(out, "{}", report.to_text())?;
        what_next(out, &args, &report)
    })
}

fn what_next(out: &mut dyn Write, args: &Args, report: &SoloReport) -> io::Result<()> {
    let Some(best) = report.best() else { return Ok(()) };
    let witan = shell::witan();
    let adapter = shell::word(&args.dir.join(&best.name));
    let Plan { vqa, captions, model, .. } = &report.order.plan;
    if let Some(model) = model {
        let model = shell::word(model);
        let (command, rest) = match vqa {
            None if captions.is_some() => ("draw", "\"a red star\" --out star.safetensors"),
            _ => ("ask", "IMAGE \"what is in the image?\""),
        };
        return writeln!(out, "next: {witan} model {command} {model} {rest} --adapter {adapter}");
    }
    if vqa.is_none() && captions.is_none() {
        let caption = "\"a crimson disc\" --out disc.png";
        writeln!(out, "next: {witan} draw --adapter {adapter} {caption}")?;
    }
    writeln!(out, "next: {witan} ask --adapter {adapter} IMAGE \"what shape is in the image?\"")
}

fn order(args: &Args) -> Result<Order, Failure> {
    if !(1..=256).contains(&args.threads) {
        return Err(Failure::usage(format!("--threads {}: expected 1 to 256", args.threads))
            .hint("1 is the default, and what a testnet's comparison takes"));
    }
    let plan = args.terms.plan()?;
    Ok(Order { plan, is_local_only: args.local_only, threads: args.threads })
}
