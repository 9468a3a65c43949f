//! `witan testnet`.

use std::path::PathBuf;

use witan_home::{Failure, FailureKind, Home};
use witan_lab::testnet::losses::Toll;
use witan_lab::testnet::prepare::Plan;
use witan_lab::testnet::report::TestnetReport;
use witan_lab::testnet::{self, Request};
use witan_protocol::federation::{Compression, Strategy};

use super::run::complete;
use super::screen::Screen;
use super::terms::{SAID_ONCE, Terms};
use super::{block_on, output};

/// Run a whole federation on this machine: a bootstrap process and many nodes on loopback.
///
/// Shows its progress, checks every ledger at the end, and prints tables. Ctrl-C stops every process and leaves
/// a folder that --resume continues.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    terms: Terms,
    /// How updates are combined: fedavg, fedprox, fedavgm, fedadam, fedyogi, ffa, rolora, fedex, flexlora, norm-clip,
    /// trimmed-mean, geometric-median or multi-krum, with numbers such as multi-krum:f=2.
    #[arg(long, value_name = "NAME", default_value_t = Plan::default().strategy)]
    strategy: Strategy,
    /// How deltas are written: none, bf16, int8 or top-k, with a number such as top-k:keep=0.05.
    #[arg(long, value_name = "NAME", default_value_t)]
    compression: Compression,
    /// The testnet's folder, to be made; 16 nodes write about 135 MB a round into it.
    #[arg(long, value_name = "FOLDER", default_value = "witan-testnet")]
    dir: PathBuf,
    /// SIGKILL the elected aggregator of this round once the updates are out; start it again after.
    #[arg(long, value_name = "ROUND")]
    kill_aggregator: Option<u64>,
    /// SIGKILL so many members for good in this round, such as 5@2; if the rest are too few to decide, they
    /// stall and say so, and as many as they need return.
    #[arg(long, value_name = "COUNT@ROUND", conflicts_with = "kill_aggregator")]
    kill: Option<Toll>,
    /// Continue the testnet in --dir, which knows what it was made for.
    #[arg(long, conflicts_with_all = SAID_ONCE, conflicts_with_all = ["strategy", "compression"])]
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
            _ if report.model.is_some() => format!("{} --peft DIR", home.command("export")),
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
    let plan = args.terms.plan()?;
    Ok(Plan { strategy: args.strategy, compression: args.compression, ..plan })
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
