//! `witan testnet`.

use std::path::PathBuf;

use witan_protocol::federation::{Compression, Strategy};

use super::run::complete;
use super::screen::Screen;
use super::{block_on, output};
use crate::error::{Failure, FailureKind};
use crate::home::Home;
use crate::jobs::device::Compute;
use crate::settings::By;
use crate::testnet::losses::Toll;
use crate::testnet::prepare::Plan;
use crate::testnet::report::TestnetReport;
use crate::testnet::{self, Request};

/// Run a whole federation on this machine: a bootstrap process and many nodes on loopback.
///
/// Shows its progress, checks every ledger at the end, and prints tables. Ctrl-C stops every process and leaves
/// a folder that --resume continues.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How many nodes, 2 to 64; from 4 on, one may die.
    #[arg(long, value_name = "COUNT", default_value_t = 16)]
    nodes: usize,
    /// How many rounds, at least 1.
    #[arg(long, value_name = "COUNT", default_value_t = 5)]
    rounds: u64,
    /// Dirichlet concentration of the data over the answers: 0.1 is very uneven, 100 hardly.
    #[arg(
        long,
        value_name = "NUMBER",
        default_value_t = 0.5,
        conflicts_with = "iid",
        allow_negative_numbers = true
    )]
    alpha: f64,
    /// Deal the data out evenly instead.
    #[arg(long)]
    iid: bool,
    /// Deal the data out by kind: answer-type gives each member questions of one type, modality gives one member
    /// questions and the next captions.
    #[arg(long, value_name = "KIND", conflicts_with_all = ["alpha", "iid"])]
    by: Option<By>,
    /// Train on a folder of VQA v2's own files instead of the embedded scenes.
    #[arg(long, value_name = "FOLDER", conflicts_with = "resume")]
    vqa: Option<PathBuf>,
    /// Train on image and caption pairs, JSON lines such as {"image": "a.png", "caption": "a red circle"}; alone, or in
    /// place of the captions of --vqa.
    #[arg(long, value_name = "FILE", conflicts_with = "resume")]
    captions: Option<PathBuf>,
    /// How updates are combined: fedavg, fedprox, fedadam, fedyogi, ffa, rolora, fedex, flexlora, norm-clip,
    /// trimmed-mean, geometric-median or multi-krum, with numbers such as multi-krum:f=2.
    #[arg(long, value_name = "NAME", default_value_t)]
    strategy: Strategy,
    /// How deltas are written: none, bf16, int8 or top-k, with a number such as top-k:keep=0.05.
    #[arg(long, value_name = "NAME", default_value_t)]
    compression: Compression,
    /// Seed of keys, data, partition and training.
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,
    /// The testnet's folder, to be made; 16 nodes write about 135 MB a round into it.
    #[arg(long, value_name = "FOLDER", default_value = "witan-testnet")]
    dir: PathBuf,
    /// Optimiser steps each member takes in a round, at least 1.
    #[arg(long, value_name = "COUNT", default_value_t = 30)]
    local_steps: u32,
    /// Compute on cpu or cuda; docs/GPU.md says what cuda needs.
    #[arg(long, default_value_t)]
    device: Compute,
    /// SIGKILL the elected aggregator of this round once the updates are out; start it again after.
    #[arg(long, value_name = "ROUND")]
    kill_aggregator: Option<u64>,
    /// SIGKILL so many members for good in this round, such as 5@2; if the rest are too few to decide, they
    /// stall and say so, and as many as they need return.
    #[arg(long, value_name = "COUNT@ROUND", conflicts_with = "kill_aggregator")]
    kill: Option<Toll>,
    /// Continue the testnet in --dir, which knows what it was made for.
    #[arg(
        long,
        conflicts_with_all = [
            "nodes",
            "rounds",
            "alpha",
            "iid",
            "by",
            "seed",
            "local_steps",
            "strategy",
            "compression",
            "device",
        ]
    )]
    resume: bool,
    /// Do not train what the federation is compared with: members alone, and all data in one place.
    #[arg(long)]
    no_compare: bool,
    /// Exit with 0 even if the run lost members on the way.
    #[arg(long)]
    allow_absent: bool,
    /// Print report.json on standard output, and neither progress nor tables.
    #[arg(long)]
    json: bool,
}

/// Runs the testnet and prints its report.
pub fn run(args: Args) -> Result<(), Failure> {
    let mut screen = if args.json { Screen::silent() } else { Screen::for_people() };
    let request = Request {
        plan: (!args.resume).then(|| plan(&args)).transpose()?,
        dir: args.dir.clone(),
        kill_aggregator: args.kill_aggregator,
        kill: args.kill,
        compare: !args.no_compare,
    };
    let report = block_on(testnet::run(request, &mut screen))?;
    if args.json {
        let json = serde_json::to_string_pretty(&report).expect("a report is plain JSON");
        output::print(|out| writeln!(out, "{json}"))?;
    } else {
        let home = Home::at(args.dir.join("nodes").join("00"));
        let try_it = match report.vqa.as_ref().or(report.captions.as_ref()) {
            None => format!("{} \"a crimson disc\" --out disc.png", home.command("draw")),
            Some(_) => format!("{} IMAGE \"what shape is in the image?\"", home.command("ask")),
        };
        output::print(|out| {
            writeln!(out, "{}", report.to_text())?;
            writeln!(out, "next: {}", home.command("rounds"))?;
            writeln!(out, "      {try_it}")
        })?;
    }
    conclude(&report, if args.allow_absent { &[] } else { &report.lost })
}

fn plan(args: &Args) -> Result<Plan, Failure> {
    if !(2..=64).contains(&args.nodes) {
        return Err(Failure::usage(format!("--nodes {}: expected 2 to 64", args.nodes))
            .hint("from 4 on, the federation decides with one node dead"));
    }
    if args.rounds == 0 || args.local_steps == 0 {
        return Err(Failure::usage("--rounds and --local-steps must be at least 1")
            .hint("5 rounds of 20 steps are the default"));
    }
    if !(args.alpha > 0.0 && args.alpha.is_finite()) {
        return Err(Failure::usage(format!("--alpha {}: expected a positive number", args.alpha))
            .hint("0.1 is very uneven, 100 hardly; --iid deals the data out evenly"));
    }
    let absolute = |path: &PathBuf| {
        std::path::absolute(path)
            .map_err(|error| Failure::usage(format!("{}: {error}", path.display())))
    };
    Ok(Plan {
        nodes: args.nodes,
        rounds: args.rounds,
        alpha: (!args.iid && args.by.is_none()).then_some(args.alpha),
        by: args.by,
        seed: args.seed,
        local_steps: args.local_steps,
        strategy: args.strategy,
        compression: args.compression,
        device: args.device,
        vqa: args.vqa.as_ref().map(absolute).transpose()?,
        captions: args.captions.as_ref().map(absolute).transpose()?,
    })
}

/// A run whose history does not check out, or that lost members which matter, is no success.
fn conclude(report: &TestnetReport, lost: &[String]) -> Result<(), Failure> {
    if let Some(flaw) = report.flaws.first() {
        return Err(Failure::new(FailureKind::Tampered, flaw));
    }
    if !report.ledger_heads_agree {
        return Err(Failure::new(FailureKind::Incomplete, "the ledger heads do not agree")
            .hint("continue with --resume: members that are behind catch up"));
    }
    complete(lost)
}
