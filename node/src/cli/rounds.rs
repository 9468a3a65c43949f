//! `witan rounds`: the ledger, for people and machines. Works whether or not the node runs; shows
//! what is stored and checks nothing: that is `witan verify`.

use std::io::{self, Write};
use std::path::PathBuf;

use serde::Serialize;
use witan_protocol::codec;
use witan_protocol::digest::Digest;
use witan_protocol::envelope::{self, RECORD_BYTES_MAX};
use witan_protocol::member::{MemberId, Round, View};
use witan_protocol::message::{Message, Progress};
use witan_protocol::record::{Absence, Absent, LayerError, RoundRecord, Scores, Update};
use witan_protocol::{Federation, Roster};

use super::output;
use crate::error::{Failure, FailureKind};
use crate::home::Home;
use crate::jobs::{self, Ground};
use crate::store::{self, StoredRecord};

/// Show the ledger: every committed round, who led it, who is in it, and who is not and why.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The node's home folder.
    #[arg(long, value_name = "FOLDER")]
    pub home: PathBuf,
    /// Only this round.
    #[arg(long, value_name = "NUMBER")]
    pub round: Option<u64>,
    /// One JSON object a round.
    #[arg(long)]
    pub json: bool,
}

/// A round as it is shown.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RoundRow {
    /// Which.
    pub round: Round,
    /// The view that closed it.
    pub view: View,
    /// Who led that view.
    pub aggregator: String,
    /// Views that closed nothing, and who led them.
    pub failed_views: Vec<FailedRow>,
    /// The roster.
    pub expected: Vec<String>,
    /// Who of them signed anything that the record shows.
    pub present: Vec<String>,
    /// Whose updates are in it, in roster order.
    pub included: Vec<UpdateRow>,
    /// Who is not, and why.
    pub absent: Vec<AbsentRow>,
    /// Who co-signed it.
    pub votes: Vec<String>,
    /// Who is proven to have signed two things where only one may be, and what.
    pub evidence: Vec<EvidenceRow>,
    /// The change of the roster it decides, in words.
    pub decision: Option<DecisionRow>,
    /// The aggregation strategy with its numbers.
    pub strategy: String,
    /// What averaging the factors apart would miss of the mean product, relative to it, over all layers.
    pub naive_error: f32,
    /// The same by layer.
    pub layers: Vec<LayerRow>,
    /// The record: the ledger's head after the round.
    pub record_digest: Digest,
    /// The record before it.
    pub previous_digest: Digest,
    /// The adapter the round started from.
    pub start_digest: Digest,
    /// The adapter it committed.
    pub result_digest: Digest,
    /// What the members measured, on average; accuracy is that of the adapter it started from.
    pub mean_scores: Scores,
}

/// One adapted layer: ‖mean(BA) − mean(B)·mean(A)‖ and ‖mean(BA)‖.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LayerRow {
    /// Its path in the base; its number if this program has another base.
    pub layer: String,
    /// What averaging the factors apart would miss.
    pub error: f32,
    /// The norm of the mean product.
    pub norm: f32,
}

/// A view that closed nothing.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FailedRow {
    /// Which.
    pub view: View,
    /// Who led it.
    pub aggregator: String,
}

/// A member that signed twice.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EvidenceRow {
    /// Who.
    pub member: String,
    /// What it signed; empty if the proof does not hold.
    pub signed: String,
}

/// A change of the roster, in force from the next round on.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DecisionRow {
    /// What.
    pub change: String,
    /// Who put it.
    pub by: String,
    /// Whose yes the record shows.
    pub yes: Vec<String>,
}

/// One member's update.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct UpdateRow {
    /// Who.
    pub member: String,
    /// The signed claim; absent if the envelope in the record cannot be opened.
    pub update: Option<Update>,
}

/// One member that is not in the round.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AbsentRow {
    /// Who.
    pub member: String,
    /// Why.
    pub why: String,
    /// Whether it signed anything that the record shows.
    pub is_present: bool,
}

/// Prints the ledger.
pub fn run(args: &Args) -> Result<(), Failure> {
    let home = Home::existing(&args.home)?;
    let federation = home.read_federation()?;
    let file = store::read_records(&home)?;
    let rosters = output::rosters(&federation, &file.records);
    let mut rows: Vec<_> = file
        .records
        .iter()
        .zip(&rosters)
        .filter(|(record, _)| args.round.is_none_or(|round| record.round.0 == round))
        .map(|(record, roster)| row(&home, roster, record))
        .collect::<Result<_, _>>()?;
    let names = jobs::embedded_base().and_then(|base| Ground::new(base, &federation));
    let names = names.map_or_else(|_| Vec::new(), |ground| ground.layers());
    rows.iter_mut().for_each(|row| row.name_layers(&names));
    if let (Some(round), true) = (args.round, rows.is_empty() && file.damage.is_none()) {
        let hint = match file.records.len() {
            0 => "no round is committed here yet".to_owned(),
            known => format!("the rounds committed here are 1 to {known}"),
        };
        return Err(Failure::input(format!("round {round} is not committed here")).hint(hint));
    }
    output::print(|out| match args.json {
        true => rows.iter().try_for_each(|row| output::json_line(out, row)),
        false => {
            let alone = rows.iter().filter(|_| args.round.is_some());
            alone.into_iter().try_for_each(|row| layers_for_people(out, row))?;
            for_people(out, &home, &federation, &rows)
        }
    })?;
    file.damage.map_or(Ok(()), |damage| Err(damage.into()))
}

impl RoundRow {
    fn name_layers(&mut self, names: &[String]) {
        if names.len() == self.layers.len() {
            let layers = self.layers.iter_mut().zip(names);
            layers.for_each(|(layer, name)| layer.layer.clone_from(name));
        }
    }
}

/// Reads a stored record into what is shown, by the roster of its round.
pub fn row(home: &Home, roster: &Roster, stored: &StoredRecord) -> Result<RoundRow, Failure> {
    let record: RoundRecord = codec::decode(&stored.bytes, RECORD_BYTES_MAX).map_err(|error| {
        let path = home.records_log();
        let (path, at, round) = (path.display(), stored.offset, stored.round);
        Failure::new(FailureKind::Tampered, format!("{path}, at byte {at}, round {round}: {error}"))
            .hint(format!("this says more: {}", home.command("verify")))
    })?;
    let name = |member: &MemberId| roster.name_of(member);
    let record_digest = record.digest();
    let attendance = record.attendance(roster);
    let proposal = record.proposal;
    let included: Vec<_> = proposal
        .included
        .iter()
        .map(|part| UpdateRow {
            member: name(&part.member),
            update: update_in(&part.envelope, roster),
        })
        .collect();
    let failed = proposal.failed_views.iter();
    let absent = proposal.absent.iter();
    Ok(RoundRow {
        round: proposal.round,
        view: proposal.view,
        aggregator: name(&proposal.aggregator),
        failed_views: failed
            .map(|failed| FailedRow { view: failed.view, aggregator: name(&failed.aggregator) })
            .collect(),
        mean_scores: mean(included.iter().filter_map(|part| part.update.as_ref())),
        included,
        absent: absent
            .map(|absent| AbsentRow {
                member: name(&absent.member),
                why: reason(absent, roster),
                is_present: attendance.present.contains(&absent.member),
            })
            .collect(),
        votes: attendance.cosigned.iter().map(name).collect(),
        expected: attendance.expected.iter().map(name).collect(),
        present: attendance.present.iter().map(name).collect(),
        evidence: proposal
            .evidence
            .iter()
            .map(|proof| EvidenceRow {
                member: name(&proof.member),
                signed: proof.check(roster).unwrap_or_default(),
            })
            .collect(),
        decision: proposal.decision.map(|decision| DecisionRow {
            change: output::change(roster, &decision.petition.change),
            by: name(&decision.petition.by),
            yes: decision.ballots.iter().map(|ballot| name(&ballot.member)).collect(),
        }),
        strategy: proposal.strategy,
        naive_error: total(&proposal.naive_error),
        layers: layers(&proposal.naive_error),
        record_digest,
        previous_digest: proposal.previous,
        start_digest: proposal.start.digest,
        result_digest: proposal.result.digest,
    })
}

fn update_in(envelope: &[u8], roster: &Roster) -> Option<Update> {
    match envelope::open(envelope, roster).ok()?.message {
        Message::Update(update) => Some(update),
        _ => None,
    }
}

fn reason(absent: &Absent, roster: &Roster) -> String {
    match (&absent.why, absent.heartbeat(roster)) {
        (Absence::Refused { because }, _) => format!("refused: {because}"),
        (Absence::NoUpdate, Some(Progress { sits_out: Some(why), .. })) => {
            format!("sat out: {why}")
        }
        (Absence::NoUpdate, Some(Progress { step, steps, .. })) => {
            format!("no update had arrived; it was heard at step {step} of {steps}")
        }
        (Absence::NoUpdate, None) => "no update had arrived".into(),
    }
}

fn layers(errors: &[LayerError]) -> Vec<LayerRow> {
    let numbered = errors.iter().enumerate();
    numbered
        .map(|(number, LayerError { error, norm })| LayerRow {
            layer: format!("layer {number}"),
            error: *error,
            norm: *norm,
        })
        .collect()
}

/// The error of all layers together, relative to their norm.
fn total(errors: &[LayerError]) -> f32 {
    let square = |of: fn(&LayerError) -> f32| -> f32 {
        errors.iter().map(|layer| of(layer) * of(layer)).sum()
    };
    let norm = square(|layer| layer.norm);
    if norm > 0.0 { (square(|layer| layer.error) / norm).sqrt() } else { 0.0 }
}

fn mean<'a>(updates: impl Iterator<Item = &'a Update>) -> Scores {
    let (mut sum, mut count) = (Scores::default(), 0.0_f32);
    for Update { scores, .. } in updates {
        sum.loss += scores.loss;
        sum.vqa_accuracy += scores.vqa_accuracy;
        sum.drawing_accuracy += scores.drawing_accuracy;
        count += 1.0;
    }
    let count = count.max(1.0);
    Scores {
        loss: sum.loss / count,
        vqa_accuracy: sum.vqa_accuracy / count,
        drawing_accuracy: sum.drawing_accuracy / count,
    }
}

fn for_people(
    out: &mut dyn Write,
    home: &Home,
    federation: &Federation,
    rows: &[RoundRow],
) -> io::Result<()> {
    let document = federation.document();
    let Some(last) = rows.last() else {
        writeln!(out, "{}: no round is committed yet", document.name)?;
        return writeln!(out, "\nnext: {}", home.command("status"));
    };
    writeln!(out, "{}: round {} of {}\n", document.name, last.round, document.training.rounds)?;
    let header = [
        "round",
        "view",
        "aggregator",
        "present",
        "updates",
        "votes",
        "loss",
        "VQA",
        "drawn",
        "naive",
        "record",
        "result",
    ];
    let cells = rows.iter().map(cells);
    writeln!(out, "{}", output::trimmed(&output::table(&header, cells)))?;
    for row in rows {
        for failed in &row.failed_views {
            writeln!(
                out,
                "round {}: view {}, led by {}, closed nothing",
                row.round, failed.view, failed.aggregator
            )?;
        }
        for absent in &row.absent {
            writeln!(out, "round {}: {} is absent: {}", row.round, absent.member, absent.why)?;
        }
        for EvidenceRow { member, signed } in &row.evidence {
            writeln!(out, "round {}: {member} leads no more: it signed {signed}", row.round)?;
        }
        if let Some(DecisionRow { change, by, yes }) = &row.decision {
            let (round, yes) = (row.round, yes.join(", "));
            writeln!(out, "round {round}: decided: {change}; put by {by}, yes of {yes}")?;
        }
    }
    writeln!(out, "VQA and drawn: members' own tests of the adapter the round started from.")?;
    let strategy = document.training.strategy;
    writeln!(
        out,
        "naive: what averaging A and B apart misses of mean(BA); combined by {strategy}."
    )?;
    let (verify, log) = (home.command("verify"), home.command("log"));
    writeln!(out, "\nnext: {verify}      checks every line of this")?;
    writeln!(out, "      {log} --round {}   shows how it came about", last.round)
}

fn layers_for_people(out: &mut dyn Write, row: &RoundRow) -> io::Result<()> {
    let cells = row.layers.iter().map(|LayerRow { layer, error, norm }| {
        let share = if *norm > 0.0 { error / norm * 100.0 } else { 0.0 };
        vec![layer.clone(), format!("{error:.5}"), format!("{norm:.5}"), format!("{share:.1} %")]
    });
    let header = ["layer", "|mean(BA) - mean(B)mean(A)|", "|mean(BA)|", "naive"];
    writeln!(out, "{}\n", output::trimmed(&output::table(&header, cells)))
}

fn cells(row: &RoundRow) -> Vec<String> {
    let size = row.expected.len();
    vec![
        row.round.to_string(),
        row.view.to_string(),
        row.aggregator.clone(),
        format!("{}/{size}", row.present.len()),
        format!("{}/{size}", row.included.len()),
        format!("{}/{size}", row.votes.len()),
        format!("{:.3}", row.mean_scores.loss),
        format!("{:.1} %", row.mean_scores.vqa_accuracy * 100.0),
        format!("{:.1} %", row.mean_scores.drawing_accuracy * 100.0),
        format!("{:.1} %", row.naive_error * 100.0),
        row.record_digest.short(),
        row.result_digest.short(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::tests::filled;

    #[test]
    fn people_see_who_was_in_each_round_who_was_not_and_what_to_type_next() {
        let filled = filled();
        let stored = store::read_records(&filled.home).unwrap().records;
        let rows: Vec<_> = stored
            .iter()
            .map(|record| row(&filled.home, filled.federation.founders(), record).unwrap())
            .collect();
        let mut text = Vec::new();
        for_people(&mut text, &filled.home, &filled.federation, &rows).unwrap();
        let text = String::from_utf8(text).unwrap();
        println!("{text}");
        for expected in [
            "test: round 3 of 3",
            "3/4",
            "50.0 %",
            "25.0 %",
            "combined by fedavg",
            "round 2: member-4 is absent: no update had arrived",
            &rows[2].record_digest.short(),
            "next: witan verify --home ",
        ] {
            assert!(text.contains(expected), "{expected} in\n{text}");
        }
        assert!(text.lines().all(|line| line == line.trim_end()), "no blanks at line ends");
        let json = serde_json::to_value(&rows[1]).unwrap();
        assert_eq!(json["round"], 2);
        assert_eq!(json["record_digest"], rows[1].record_digest.to_string());
        assert_eq!(json["included"][2]["member"], "member-3");
        assert_eq!(json["naive_error"], 0.25);
        assert_eq!(json["layers"][0]["norm"], 2.0);
    }

    #[test]
    fn a_round_alone_is_shown_layer_by_layer() {
        let filled = filled();
        let stored = store::read_records(&filled.home).unwrap().records;
        let mut row = row(&filled.home, filled.federation.founders(), &stored[0]).unwrap();
        row.name_layers(&["model.layers.0.q_proj".to_owned()]);
        let mut text = Vec::new();
        layers_for_people(&mut text, &row).unwrap();
        let text = String::from_utf8(text).unwrap();
        for expected in ["model.layers.0.q_proj", "0.50000", "2.00000", "25.0 %"] {
            assert!(text.contains(expected), "{expected} in\n{text}");
        }
    }
}
