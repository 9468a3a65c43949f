//! `witan status`: what a node is doing, with whom, what it waits for and until when; for a stopped
//! one, where it stands and how to start it.

use std::io::{self, Write};
use std::path::PathBuf;

use serde::Serialize;
use witan_home::StoreError;
use witan_home::store;
use witan_home::{Failure, Home};
use witan_node::control::{Client, StatusReport};
use witan_protocol::Roster;
use witan_protocol::status::{PhaseName, Status};

use super::output;
use super::rounds::{self, RoundRow};

/// Show what a node is doing, with whom, what it waits for and until when.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The node's home folder.
    #[arg(long, value_name = "FOLDER")]
    pub home: PathBuf,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// What `--json` prints.
#[derive(Clone, Debug, Serialize)]
struct Answer {
    running: bool,
    pid: Option<u32>,
    rounds: u64,
    report: Option<StatusReport>,
    last_committed: Option<RoundRow>,
}

/// Prints the status.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let home = Home::existing(&args.home)?;
    let federation = home.read_federation()?;
    let report = Client::connect(&home).map(Client::status).transpose()?;
    let (is_locked, pid) = match home.lock() {
        Err(StoreError::Busy { pid, .. }) => (true, pid),
        _ => (false, None),
    };
    let file = store::read_records(&home)?;
    let rosters = output::rosters(&federation, &file.records);
    let last = file.records.last().zip(rosters.iter().rev().nth(1));
    let last = last.map(|(record, roster)| rounds::row(&home, roster, record, &[]));
    let last_committed = last.transpose()?;
    let running = report.is_some() || is_locked;
    let rounds = federation.document().training.rounds;
    let answer = Answer { running, pid, rounds, report, last_committed };
    output::print(|out| match args.json {
        true => output::json_line(out, &answer),
        false => for_people(out, &home, &rosters[file.records.len()], &answer),
    })?;
    file.damage.map_or(Ok(()), |damage| Err(damage.into()))
}

fn for_people(
    out: &mut dyn Write,
    home: &Home,
    roster: &Roster,
    answer: &Answer,
) -> io::Result<()> {
    match (&answer.report, answer.running) {
        (Some(report), _) => running(out, roster, report)?,
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
            answer.rounds,
            row.record_digest.short(),
            row.result_digest.short()
        )?,
        None => writeln!(out, "ledger    no round is committed yet")?,
    }
    match answer.running {
        true => writeln!(out, "\nnext: {} --follow", home.command("log")),
        false => writeln!(out, "\nnext: {}   starts it", home.command("run")),
    }
}

fn running(out: &mut dyn Write, roster: &Roster, report: &StatusReport) -> io::Result<()> {
    let StatusReport { now, status } = report;
    let others = roster.size().saturating_sub(1);
    writeln!(out, "doing     {}", doing(roster, status))?;
    writeln!(
        out,
        "with      {} of {others} others: {}",
        status.connected.len(),
        output::names(roster, &status.connected, "nobody is connected")
    )?;
    writeln!(
        out,
        "updates   {} of {} are here, {} with their delta",
        status.updates_in,
        roster.size(),
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
    let waiting = output::names(roster, &status.waiting_for, "nobody in particular");
    writeln!(out, "waits for {waiting}{until}")?;
    if !status.missing.is_empty() {
        writeln!(out, "lost      {}", output::names(roster, &status.missing, "nobody"))?;
    }
    match &status.stalled {
        Some(why) => writeln!(out, "stalled   {why}"),
        None => Ok(()),
    }
}

fn doing(roster: &Roster, status: &Status) -> String {
    let Status { round, rounds, view, .. } = status;
    let aggregator = roster.name_of(&status.aggregator);
    match status.phase {
        PhaseName::Training => format!("round {round} of {rounds}: training"),
        PhaseName::Collecting => {
            format!("round {round} of {rounds}: collecting updates, for {aggregator} to aggregate")
        }
        PhaseName::Deciding => {
            format!("round {round} of {rounds}: voting, view {view}, led by {aggregator}")
        }
        PhaseName::Adopting => format!("round {round} of {rounds}: loading the new adapter"),
        PhaseName::Watching => "watching: this key is not a member's, or not yet".to_owned(),
        PhaseName::Finished => format!("all {rounds} rounds are done; it answers those behind"),
    }
}

#[cfg(test)]
mod tests {
    use witan_protocol::io::Time;
    use witan_protocol::member::{Round, View};

    use super::*;
    use crate::filled::filled;

    fn shown(answer: &Answer) -> String {
        let filled = filled();
        let mut text = Vec::new();
        for_people(&mut text, &filled.home, filled.federation.founders(), answer).unwrap();
        let text = String::from_utf8(text).unwrap();
        println!("{text}");
        text
    }

    #[test]
    fn a_stopped_node_tells_where_it_stands_and_how_to_start_it() {
        let filled = filled();
        let record = store::read_records(&filled.home).unwrap().records.pop().unwrap();
        let row = rounds::row(&filled.home, filled.federation.founders(), &record, &[]).unwrap();
        let answer = Answer {
            running: false,
            pid: None,
            rounds: 3,
            report: None,
            last_committed: Some(row),
        };
        let text = shown(&answer);
        assert!(text.contains("not running"), "{text}");
        assert!(text.contains("round 3 of 3, head "), "{text}");
        assert!(text.contains("next: witan run --home "), "{text}");
    }

    #[test]
    fn a_running_node_tells_what_it_waits_for_and_until_when() {
        let members: Vec<_> =
            filled().federation.founders().members().iter().map(|member| member.id()).collect();
        let status = Status {
            round: Round(2),
            rounds: 3,
            phase: PhaseName::Collecting,
            view: View(0),
            aggregator: members[1],
            waiting_for: vec![members[3]],
            waiting_until: Some(Time(31_500)),
            updates_in: 3,
            deltas_in: 2,
            prevotes: 0,
            precommits: 0,
            quorum: 3,
            head: record_digest(),
            adapter: witan_protocol::digest::BlobRef::of(b"adapter"),
            connected: members[1..].to_vec(),
            missing: Vec::new(),
            stalled: None,
        };
        let report = Some(StatusReport { now: Time(1_500), status });
        let text =
            shown(&Answer { running: true, pid: Some(7), rounds: 3, report, last_committed: None });
        for expected in [
            "round 2 of 3: collecting updates, for member-2 to aggregate",
            "3 of 3 others: member-2, member-3, member-4",
            "3 of 4 are here, 2 with their delta",
            "waits for member-4, at the latest in 30s",
            "--follow",
        ] {
            assert!(text.contains(expected), "{expected} in\n{text}");
        }
    }

    fn record_digest() -> witan_protocol::digest::Digest {
        witan_protocol::digest::Digest([1; 32])
    }
}
