//! `witan rounds`: the ledger, for people and machines. Works whether or not the node runs; shows
//! what is stored and checks nothing: that is `witan verify`.

mod rows;

use std::io::{self, Write};
use std::path::PathBuf;

use witan_home::store::{self, StoredRecord};
use witan_home::{Failure, Home};
use witan_lab::tables::percent;
use witan_node::jobs::FederatedModel;
use witan_protocol::Federation;
use witan_protocol::member::Round;

use super::output;
use rows::{DecisionRow, EvidenceRow, FailedRow, LayerRow, RefutedRow};
pub(crate) use rows::{RoundRow, row};

/// Show the ledger: every committed round, who led it, who is in it, and who is not and why.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The node's home folder.
    #[arg(long, value_name = "FOLDER")]
    pub home: PathBuf,
    /// Show only this round, and its layers.
    #[arg(long, value_name = "NUMBER")]
    pub round: Option<u64>,
    /// Print one JSON object per round.
    #[arg(long)]
    pub json: bool,
    /// Print the record of --round as it is stored and signed: canonical CBOR.
    #[arg(long, requires = "round", conflicts_with = "json")]
    pub raw: bool,
}

/// Prints the ledger.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let home = Home::existing(&args.home)?;
    let federation = home.read_federation()?;
    let file = store::read_records(&home)?;
    let rosters = output::rosters(&federation, &file.records);
    let model = FederatedModel::of_home(&home, &federation);
    let layers = model.map_or_else(|_| Vec::new(), |model| model.layers());
    let rows: Vec<_> = file
        .records
        .iter()
        .zip(&rosters)
        .filter(|(record, _)| args.round.is_none_or(|round| record.round.0 == round))
        .map(|(record, roster)| row(&home, roster, record, &layers))
        .collect::<Result<_, _>>()?;
    if let (Some(round), true) = (args.round, rows.is_empty() && file.damage.is_none()) {
        let hint = match file.records.len() {
            0 => "no round is committed here yet".to_owned(),
            known => format!("the rounds committed here are 1 to {known}"),
        };
        return Err(Failure::input(format!("round {round} is not committed here")).hint(hint));
    }
    let wanted = |record: &&StoredRecord| Some(record.round.0) == args.round;
    output::print(|out| match args.json {
        _ if args.raw => {
            file.records.iter().filter(wanted).try_for_each(|record| out.write_all(&record.bytes))
        }
        true => rows.iter().try_for_each(|row| output::json_line(out, row)),
        false => {
            if args.round.is_some() {
                rows.iter().try_for_each(|row| layers_for_people(out, row))?;
            }
            for_people(out, &federation, &rows)?;
            next(out, &home, rows.last().map(|row| row.round))
        }
    })?;
    file.damage.map_or(Ok(()), |damage| Err(damage.into()))
}

fn for_people(out: &mut dyn Write, federation: &Federation, rows: &[RoundRow]) -> io::Result<()> {
    let document = federation.document();
    let Some(last) = rows.last() else {
        return writeln!(out, "{}: no round is committed yet", document.name);
    };
    writeln!(out, "{}: round {} of {}\n", document.name, last.round, document.training.rounds)?;
    let header = COLUMNS.map(|(header, _)| header);
    let cells = rows.iter().map(|row| COLUMNS.iter().map(|(_, cell)| cell(row)).collect());
    writeln!(out, "{}", output::table(&header, cells))?;
    for row in rows {
        for FailedRow { view, aggregator, refuted } in &row.failed_views {
            let round = row.round;
            writeln!(out, "round {round}: view {view}, led by {aggregator}, closed nothing")?;
            if let Some(RefutedRow { proposed, computed, by }) = refuted {
                writeln!(out, "  its aggregate was WRONG: it proposed {proposed},")?;
                writeln!(out, "  and {} computed  {computed}", by.join(", "))?;
            }
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
    writeln!(out, "naive: what averaging A and B apart misses of mean(BA); combined by {strategy}.")
}

/// What to type after a look at the ledger.
fn next(out: &mut dyn Write, home: &Home, last: Option<Round>) -> io::Result<()> {
    let Some(round) = last else { return writeln!(out, "\nnext: {}", home.command("status")) };
    let (verify, log) = (home.command("verify"), home.command("log"));
    writeln!(out, "\nnext: {verify}      checks every line of this")?;
    writeln!(out, "      {log} --round {round}   shows how it came about")?;
    let eval = home.command("eval");
    writeln!(
        out,
        "      {eval} --round {round}   scores it on held-out data, by kind of question and drawing"
    )
}

fn layers_for_people(out: &mut dyn Write, row: &RoundRow) -> io::Result<()> {
    let cells = row.layers.iter().map(|LayerRow { layer, error, norm }| {
        let share = if *norm > 0.0 { error / norm * 100.0 } else { 0.0 };
        vec![layer.clone(), format!("{error:.5}"), format!("{norm:.5}"), format!("{share:.1} %")]
    });
    let header = ["layer", "|mean(BA) - mean(B)mean(A)|", "|mean(BA)|", "naive"];
    writeln!(out, "{}\n", output::table(&header, cells))
}

fn of_roster(row: &RoundRow, members: usize) -> String {
    format!("{members}/{}", row.expected.len())
}

/// A column: its header, and what it says of a round.
type Column = (&'static str, fn(&RoundRow) -> String);

/// What the table says of a round.
const COLUMNS: [Column; 12] = [
    ("round", |row| row.round.to_string()),
    ("view", |row| row.view.to_string()),
    ("aggregator", |row| row.aggregator.clone()),
    ("present", |row| of_roster(row, row.present.len())),
    ("updates", |row| of_roster(row, row.included.len())),
    ("votes", |row| of_roster(row, row.votes.len())),
    ("loss", |row| format!("{:.3}", row.mean_scores.loss)),
    ("VQA", |row| percent(row.mean_scores.vqa_accuracy.map(f64::from))),
    ("drawn", |row| percent(row.mean_scores.drawing_accuracy.map(f64::from))),
    ("naive", |row| format!("{:.1} %", row.naive_error * 100.0)),
    ("record", |row| row.record_digest.short()),
    ("result", |row| row.result_digest.short()),
];

#[cfg(test)]
mod tests {
    use super::*;
    use witan_protocol::wire::LayerError;

    use crate::filled::{Filled, filled_with};

    /// A home whose aggregates miss a quarter of the only layer's product.
    fn filled() -> Filled {
        filled_with(|aggregate, _| {
            aggregate.naive_error = vec![LayerError { error: 0.5, norm: 2.0 }];
        })
    }

    #[test]
    fn people_see_who_was_in_each_round_who_was_not_and_what_to_type_next() {
        let filled = filled();
        let stored = store::read_records(&filled.home).unwrap().records;
        let rows: Vec<_> = stored
            .iter()
            .map(|record| row(&filled.home, filled.federation.founders(), record, &[]).unwrap())
            .collect();
        let mut text = Vec::new();
        for_people(&mut text, &filled.federation, &rows).unwrap();
        next(&mut text, &filled.home, Some(Round(3))).unwrap();
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
            "--round 3   scores it on held-out data",
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
        let layers = ["model.layers.0.q_proj".to_owned()];
        let row = row(&filled.home, filled.federation.founders(), &stored[0], &layers).unwrap();
        let mut text = Vec::new();
        layers_for_people(&mut text, &row).unwrap();
        let text = String::from_utf8(text).unwrap();
        for expected in ["model.layers.0.q_proj", "0.50000", "2.00000", "25.0 %"] {
            assert!(text.contains(expected), "{expected} in\n{text}");
        }
    }
}
