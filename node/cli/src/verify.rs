//! `witan verify`: the audit, reported to a person.

use std::io::{self, Write};
use std::path::PathBuf;

use witan_home::audit::Report;
use witan_home::{Failure, Home};
use witan_node::jobs::check;

use super::output;

/// Check everything a node has stored, offline: every signature, certificate, chain link, blob and
/// aggregate.
///
/// Exits with 6 and names the first bad record or blob if anything was altered.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The node's home folder.
    #[arg(long, value_name = "FOLDER")]
    pub home: PathBuf,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// Audits the home and prints what was checked.
///
/// # Errors
/// The first thing that is not as it was written.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let home = Home::existing(&args.home)?;
    let report = check::home(&home)?;
    output::print(|out| match args.json {
        true => output::json_line(out, &report),
        false => for_people(out, &home, &report),
    })
}

fn for_people(out: &mut dyn Write, home: &Home, report: &Report) -> io::Result<()> {
    let Report { rounds, updates, votes, blobs, head, .. } = report;
    writeln!(out, "everything stored here is as it was written\n")?;
    writeln!(out, "{rounds:>6} records, each linked to the one before it; head {}", head.short())?;
    writeln!(out, "{updates:>6} update signatures and {votes} votes in certificates")?;
    writeln!(out, "{blobs:>6} blobs whose bytes match their digest")?;
    match report.log_entries {
        Some(entries) => writeln!(out, "{entries:>6} entries of the gossip log, none missing")?,
        None => writeln!(out, "       the gossip log is in use and was not looked at")?,
    }
    writeln!(out, "{:>6} aggregates computed again, bit for bit", report.recomputed.len())?;
    if !report.not_held.is_empty() {
        let rounds: Vec<_> = report.not_held.iter().map(ToString::to_string).collect();
        let rounds = rounds.join(", ");
        writeln!(out, "       the updates of round {rounds} are not all here: it was away then")?;
    }
    if let Some(offset) = report.unfinished_at {
        let path = home.records_log();
        writeln!(out, "       {} ends, at byte {offset}, in an unfinished entry", path.display())?;
    }
    writeln!(out, "\nnext: {}", home.command("rounds"))
}
