//! `witan testnet`.

use std::path::PathBuf;

use witan_home::{Failure, FailureKind, Home};
use witan_lab::spec::{FLAGS, Spec};
use witan_lab::testnet::fault::{FaultSpec, Kills};
use witan_lab::testnet::report::TestnetReport;
use witan_lab::testnet::{self, Request};

use super::run::complete;
use super::{block_on, output, screen};

/// Run a whole federation on this machine: a bootstrap process and many nodes on loopback.
///
/// Shows its progress, checks every ledger at the end, and prints tables. Ctrl-C stops every
/// process and leaves a folder that --resume continues.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    spec: Spec,
    /// The testnet's folder, to be made; 16 nodes write about 135 MB a round into it.
    #[arg(long, value_name = "FOLDER", default_value = "witan-testnet")]
    dir: PathBuf,
    /// Kill the elected aggregator of this round once the updates are out, and start it again after
    /// the round.
    #[arg(long, value_name = "ROUND")]
    kill_aggregator: Option<u64>,
    /// Kill so many members for good in this round, such as 5@2; if the rest are too few to decide,
    /// they stall and say so, and as many as they need return.
    #[arg(long, value_name = "COUNT@ROUND", conflicts_with = "kill_aggregator")]
    kill: Option<Kills>,
    /// Continue the testnet in --dir, which knows its settings.
    #[arg(long, conflicts_with_all = FLAGS)]
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
    let kill_aggregator = args.kill_aggregator.map(FaultSpec::Aggregator);
    let request = Request {
        spec: (!args.resume).then(|| args.spec.checked()).transpose()?,
        dir: args.dir.clone(),
        fault: kill_aggregator.or(args.kill.map(FaultSpec::Members)),
        compare: !args.no_compare,
    };
    let report = block_on(testnet::run(request, screen::listener(args.json)))?;
    if args.json {
        output::json_report(&report)?;
    } else {
        let home = Home::at(args.dir.join("nodes").join("00"));
        let try_it = match report.vqa.as_ref().or(report.captions.as_ref()) {
            None if report.model.is_none() => {
                format!("{} \"a crimson disc\" --out disc.png", home.command("draw"))
            }
            _ => format!("{} IMAGE \"what shape is in the image?\"", home.command("ask")),
        };
        output::print(|out| {
            writeln!(out, "{}", report.to_text())?;
            writeln!(out, "next: {}", home.command("rounds"))?;
            writeln!(out, "      {try_it}")
        })?;
    }
    conclude(&report, if args.allow_absent { &[] } else { &report.lost })
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
