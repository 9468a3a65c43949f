//! `witan testnet`.

use std::io::{self, Write};
use std::path::PathBuf;

use witan_home::{Failure, FailureKind, Home, shell};
use witan_lab::spec::{FLAGS, Spec};
use witan_lab::testnet::fault::{AggregatorKill, Fault, MemberKills};
use witan_lab::testnet::in_process::{ADAPTER, Attack};
use witan_lab::testnet::report::TestnetReport;
use witan_lab::testnet::{self, Mode, Request};

use super::run::complete;
use super::{block_on, output, screen};

/// Run a whole federation on this machine: a bootstrap process and many nodes on loopback.
///
/// Shows its progress, checks every ledger at the end, and prints tables. Ctrl-C stops every
/// process and leaves a folder that --resume continues.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
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
    kill: Option<MemberKills>,
    /// Run all nodes in this process, without network, votes and ledgers: for trying settings.
    #[arg(long, conflicts_with_all = ["kill_aggregator", "kill", "resume"])]
    in_process: bool,
    /// What the last member sends instead of its delta: absent for nothing, scaled for ten times
    /// it, flipped for minus ten times it, or a factor.
    #[arg(long, value_name = "ATTACK", requires = "in_process", allow_negative_numbers = true)]
    attack: Option<Attack>,
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
pub(crate) fn run(args: Args) -> Result<(), Failure> {
    let fault = args.kill_aggregator.map(|round| Fault::Aggregator(AggregatorKill::new(round)));
    let fault = fault.or(args.kill.clone().map(Fault::Members));
    let request = Request {
        spec: (!args.resume).then(|| args.spec.clone().checked()).transpose()?,
        dir: args.dir.clone(),
        mode: match args.in_process {
            true => Mode::InProcess { attack: args.attack },
            false => Mode::Processes { fault },
        },
        compare: !args.no_compare,
    };
    let report = block_on(testnet::run(request, screen::listener(args.json)))?;
    if args.json {
        output::json_report(&report)?;
    } else {
        output::print(|out| {
            writeln!(out, "{}", report.to_text())?;
            what_next(out, &args, &report)
        })?;
    }
    conclude(&report, if args.allow_absent { &[] } else { &report.lost })
}

fn what_next(out: &mut dyn Write, args: &Args, report: &TestnetReport) -> io::Result<()> {
    let home = Home::at(args.dir.join("nodes").join("00"));
    let ours = |command: &str| match args.in_process {
        true => {
            let adapter = shell::word(&args.dir.join(ADAPTER));
            let model = report.model.as_deref().map(shell::word);
            let model = model.map_or(String::new(), |model| format!(" --model {model}"));
            format!("{} {command} --adapter {adapter}{model}", shell::witan())
        }
        false => home.command(command),
    };
    let (is_embedded, data) = (report.model.is_none(), (&report.vqa, &report.captions));
    let try_it = match data {
        (None, None) if is_embedded => {
            format!("{} \"a crimson disc\" --out disc.png", ours("draw"))
        }
        _ => format!("{} IMAGE \"what shape is in the image?\"", ours("ask")),
    };
    let first = if args.in_process { ours("eval") } else { ours("rounds") };
    writeln!(out, "next: {first}")?;
    writeln!(out, "      {try_it}")
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
