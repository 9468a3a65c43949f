//! `witan status`: what a node is doing, with whom, what it waits for and until when; for a stopped
//! one, where it stands and how to start it.

use std::io::{self, Write};
use std::path::PathBuf;

use serde::Serialize;
use witan_protocol::Federation;
use witan_protocol::status::{PhaseName, Status};

use super::output;
use super::rounds::{self, RoundRow};
use crate::control::{Client, StatusReport};
use crate::error::Failure;
use crate::home::Home;
use crate::store::{self, StoreError};

/// Show what a node is doing, with whom, what it waits for and until when.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The node's home folder.
    #[arg(long, value_name = "FOLDER")]
    pub home: PathBuf,
    /// One JSON object.
    #[arg(long)]
    pub json: bool,
}

/// What `--json` prints.
#[derive(Clone, Debug, Serialize)]
struct Answer {
    running: bool,
    pid: Option<u32>,
    report: Option<StatusReport>,
    last_committed: Option<RoundRow>,
}

/// Prints the status.
pub fn run(args: &Args) -> Result<(), Failure> {
    let home = Home::existing(&args.home)?;
    let federation = home.read_federation()?;
    let report = Client::connect(&home).map(Client::status).transpose()?;
    let pid = match home.lock() {
        Err(StoreError::Busy { pid, .. }) => pid,
        _ => None,
    };
    let file = store::read_records(&home)?;
    let last = file.records.last().map(|record| rounds::row(&home, &federation, record));
    let last_committed = last.transpose()?;
    let running = report.is_some() || pid.is_some();
    let answer = Answer { running, pid, report, last_committed };
    output::print(|out| match args.json {
        true => output::json_line(out, &answer),
        false => for_people(out, &home, &federation, &answer),
    })?;
    file.damage.map_or(Ok(()), |damage| Err(damage.into()))
}

fn for_people(
    out: &mut dyn Write,
    home: &Home,
    federation: &Federation,
    answer: &Answer,
) -> io::Result<()> {
    let shown_home = home.root().display();
    match (&answer.report, answer.running) {
        (Some(report), _) => running(out, federation, report)?,
        (None, true) => writeln!(
            out,
            "the node is running{} but does not answer yet: it is starting or stopping",
            answer.pid.map(|pid| format!(" as process {pid}")).unwrap_or_default()
        )?,
        (None, false) => writeln!(out, "the node is not running")?,
    }
    match &answer.last_committed {
        Some(row) => writeln!(
            out,
            "ledger    round {} of {}, head {}, adapter {}",
            row.round,
            federation.document().training.rounds,
            row.record_digest.short(),
            row.result_digest.short()
        )?,
        None => writeln!(out, "ledger    no round is committed yet")?,
    }
    match answer.running {
        true => writeln!(out, "\nnext: witan log --home {shown_home} --follow"),
        false => writeln!(out, "\nnext: witan run --home {shown_home}   starts it"),
    }
}

fn running(out: &mut dyn Write, federation: &Federation, report: &StatusReport) -> io::Result<()> {
    let StatusReport { now, status } = report;
    let others = federation.size().saturating_sub(1);
    writeln!(out, "doing     {}", doing(federation, status))?;
    writeln!(
        out,
        "with      {} of {others} others: {}",
        status.connected.len(),
        output::names(federation, &status.connected, "nobody is connected")
    )?;
    writeln!(
        out,
        "updates   {} of {} are here, {} with their delta",
        status.updates_in,
        federation.size(),
        status.deltas_in
    )?;
    writeln!(
        out,
        "votes     {} prevotes, {} precommits; {} decide",
        status.prevotes, status.precommits, status.quorum
    )?;
    let until = status.waiting_until.map_or_else(String::new, |until| {
        format!(", at the latest in {}", output::span(until.0.saturating_sub(now.0)))
    });
    let waiting = output::names(federation, &status.waiting_for, "nobody in particular");
    writeln!(out, "waits for {waiting}{until}")?;
    match &status.stalled {
        Some(why) => writeln!(out, "stalled   {why}"),
        None => Ok(()),
    }
}

fn doing(federation: &Federation, status: &Status) -> String {
    let Status { round, rounds, view, .. } = status;
    let aggregator = federation.name_of(&status.aggregator);
    match status.phase {
        PhaseName::Training => format!("round {round} of {rounds}: training"),
        PhaseName::Collecting => {
            format!("round {round} of {rounds}: collecting updates, for {aggregator} to aggregate")
        }
        PhaseName::Deciding => {
            format!("round {round} of {rounds}: voting, view {view}, led by {aggregator}")
        }
        PhaseName::Adopting => format!("round {round} of {rounds}: loading the new adapter"),
        PhaseName::Finished => format!("all {rounds} rounds are done; it answers those behind"),
    }
}
