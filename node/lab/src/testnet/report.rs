//! `report.json`: what a run did, for programs; and the same as a table, for people.

use std::collections::BTreeMap;
use std::path::PathBuf;

use comfy_table::Table;
use serde::{Deserialize, Serialize};
use witan_data::metrics::Metrics;
use witan_home::settings::By;
use witan_protocol::ledger::Audited;
use witan_protocol::member::MemberId;
use witan_protocol::wire::envelope;

use super::fault::{Fault, Killed, MembersKilled};
use super::watch::Watch;
use crate::spec::{Cohort, Exchange, Spec};
use crate::tables::{self, Ceiling, DRAWINGS, VQA, percent, table};

/// A finished run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TestnetReport {
    /// Nodes.
    pub nodes: usize,
    /// The run's seed.
    pub seed: u64,
    /// Dirichlet concentration; `null` for identically distributed data.
    pub alpha: Option<f64>,
    /// The rule of sharing in place of it.
    pub by: Option<By>,
    /// The folder of VQA v2's files; `null` for the embedded scenes.
    pub vqa: Option<PathBuf>,
    /// The file of image and caption pairs.
    pub captions: Option<PathBuf>,
    /// The checkpoint that was trained; left out for the embedded model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<PathBuf>,
    /// How updates travelled and were combined.
    #[serde(flatten)]
    pub exchange: Exchange,
    /// The rounds, oldest first.
    pub rounds: Vec<RoundRow>,
    /// Nodes that did not end with every round: the run lost them.
    pub lost: Vec<String>,
    /// Whether every node that was not lost ended with the same ledger head.
    pub ledger_heads_agree: bool,
    /// How many homes `witan verify` passed.
    pub verified: usize,
    /// What it could not pass, in words.
    pub flaws: Vec<String>,
    /// The killed aggregator, if that was asked for.
    pub killed: Option<Killed>,
    /// The members killed for good, if that was asked for.
    pub losses: Option<MembersKilled>,
    /// The federation beside what it is compared with.
    pub comparison: ComparisonRows,
    /// What no drawing can be expected to exceed.
    #[serde(flatten)]
    pub ceiling: Ceiling,
    /// What it cost.
    #[serde(flatten)]
    pub cost: Cost,
}

/// What a run cost.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Cost {
    /// Bytes of one adapter as it travels.
    pub adapter_bytes: u64,
    /// Bytes of the whole model, in the same precision.
    pub full_model_bytes: u64,
    /// Seconds from the first process to the last committed round.
    pub federation_s: f64,
    /// The most memory any node's process has held, in bytes; `null` where the system does not say.
    pub peak_bytes_max: Option<u64>,
}

/// One committed round; of one in a single process, what votes and ledgers would say is empty.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct RoundRow {
    /// Its number.
    pub round: u64,
    /// The view that closed it.
    pub view: u32,
    /// Who led that view.
    pub aggregator: String,
    /// Views that closed nothing, and who led them.
    pub failed_views: Vec<String>,
    /// Updates in the aggregate.
    pub included: u64,
    /// Questions and captions their members drew, counted each time.
    pub examples: u64,
    /// The roster.
    pub expected: Vec<String>,
    /// Members that signed anything the record shows.
    pub present: Vec<String>,
    /// Members left out.
    pub absent: Vec<String>,
    /// Members whose precommits are the certificate.
    pub cosigned: Vec<String>,
    /// Digest of the record.
    pub record_digest: String,
    /// Digest of the aggregate.
    pub result_digest: String,
    /// Seconds from the round's beginning to the last update; `null` if an earlier run committed
    /// it.
    pub train_s: Option<f64>,
    /// Seconds from the last update to the first node's commit; `null` likewise.
    pub overhead_s: Option<f64>,
    /// The most any node received, in bytes.
    pub bytes_in_max: u64,
    /// The most any node sent, in bytes.
    pub bytes_out_max: u64,
    /// Mean training loss of the last steps seen.
    pub loss: Option<f32>,
    /// On held-out data.
    #[serde(flatten)]
    pub metrics: Option<Metrics>,
}

/// The four adapters, on the same held-out data.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ComparisonRows {
    /// Before any training.
    pub base: Option<Metrics>,
    /// The best member alone.
    pub local_only_best: Option<Metrics>,
    /// All data in one place.
    pub centralized: Option<Metrics>,
    /// The committed adapter.
    pub federated: Option<Metrics>,
}

/// What the homes said when they were checked.
#[derive(Clone, Debug, Default)]
pub struct Checked {
    /// The rounds, oldest first; their metrics are still to be known.
    pub rounds: Vec<RoundRow>,
    /// The head of the longest ledger.
    pub head: Option<String>,
    /// That of each home that passed, by the number of its node.
    pub heads: BTreeMap<usize, String>,
    /// What did not pass.
    pub flaws: Vec<String>,
}

impl TestnetReport {
    /// Puts together what was asked for, seen and checked.
    pub fn new(
        spec: &Spec,
        watch: &Watch,
        fault: Option<&Fault>,
        checked: Checked,
        cost: Cost,
    ) -> Self {
        let mut rounds = checked.rounds;
        for row in &mut rounds {
            row.metrics = watch.metrics.get(&row.round).cloned();
        }
        let lost = watch.lost();
        let kept = (0..spec.cohort.nodes).filter(|index| !lost.contains(index));
        let all_agree =
            kept.map(|index| checked.heads.get(&index)).all(|its| its == checked.head.as_ref());
        let compared = watch.comparison.as_ref();
        let comparison = ComparisonRows {
            base: watch.metrics.get(&0).cloned(),
            local_only_best: compared.map(|it| it.local_only_best.clone()),
            centralized: compared.map(|it| it.centralized.clone()),
            federated: rounds.last().and_then(|row: &RoundRow| row.metrics.clone()),
        };
        let (killed, losses) = match fault {
            Some(Fault::Aggregator(kill)) => (kill.report(watch), None),
            Some(Fault::Members(kills)) => (None, kills.report(watch)),
            None => (None, None),
        };
        let Cohort { nodes, seed, alpha, by, .. } = spec.cohort;
        Self {
            nodes,
            seed,
            alpha,
            by,
            model: spec.learning.model.clone(),
            vqa: spec.learning.vqa.clone(),
            captions: spec.learning.captions.clone(),
            exchange: spec.exchange,
            killed,
            losses,
            rounds,
            lost: lost.iter().map(|index| format!("node-{index:02}")).collect(),
            ledger_heads_agree: all_agree,
            verified: checked.heads.len(),
            flaws: checked.flaws,
            comparison,
            ceiling: watch.ceiling.clone(),
            cost,
        }
    }

    fn rounds_table(&self) -> Table {
        let heads = ["round", "view", "aggregator", "here", "in", "last update", "commit"];
        let mut rounds = table(&[&heads[..], &[VQA.name, DRAWINGS.name]].concat());
        for row in &self.rounds {
            rounds.add_row([
                row.round.to_string(),
                row.view.to_string(),
                row.aggregator.clone(),
                format!("{}/{}", row.present.len(), row.expected.len()),
                format!("{}/{}", row.included, row.expected.len()),
                row.train_s.map_or("-".to_owned(), |train_s| format!("{train_s:.1} s")),
                row.overhead_s.map_or("-".to_owned(), |overhead_s| format!("{overhead_s:.2} s")),
                percent(row.metrics.as_ref().and_then(VQA.of)),
                percent(row.metrics.as_ref().and_then(DRAWINGS.of)),
            ]);
        }
        rounds
    }

    /// The tables.
    pub fn to_text(&self) -> String {
        let rows = [
            ("base", &self.comparison.base),
            ("best member alone", &self.comparison.local_only_best),
            ("federated", &self.comparison.federated),
            ("all data in one place", &self.comparison.centralized),
        ];
        let known = |(name, metrics): (&str, &Option<Metrics>)| {
            Some((name.to_owned(), tables::values(metrics.as_ref()?)))
        };
        let compared = tables::of_metrics(&rows.into_iter().filter_map(known).collect::<Vec<_>>());
        let mut text = format!("{}\n\n{compared}\n", self.rounds_table());
        text += &self.ceiling.to_text();
        if let Some(federated) = &self.comparison.federated {
            let kinds = [
                ("VQA", &federated.vqa_accuracy_by_answer_type),
                ("drawings", &federated.drawing_accuracy_by_task),
            ];
            for (what, shares) in kinds {
                let shares = tables::by_kind(shares);
                text += &shares.map_or(String::new(), |it| format!("federated {what}: {it}\n"));
            }
        }
        if let Some(killed) = &self.killed {
            text += &format!(
                "\n{} was killed as aggregator of round {}; view {} closed it {:.1} s later\n",
                killed.node, killed.round, killed.view, killed.closed_after_s
            );
        }
        if let Some(losses) = &self.losses {
            text += &format!("\n{}", losses.to_text());
        }
        for row in self.rounds.iter().filter(|row| !row.absent.is_empty()) {
            text += &format!("round {} closed without {}\n", row.round, row.absent.join(", "));
        }
        if !self.lost.is_empty() {
            text += &format!("\nLOST: {} did not end with every round\n", self.lost.join(", "));
        }
        if self.verified > 0 || !self.flaws.is_empty() {
            let heads = if self.ledger_heads_agree { "agree" } else { "DISAGREE" };
            let (verified, nodes) = (self.verified, self.nodes);
            text += &format!("\n{verified} of {nodes} ledgers verified, heads {heads}\n");
        }
        text
    }
}

impl RoundRow {
    /// A round of a ledger that was checked, as far as this run has seen it.
    pub fn of(watch: &Watch, audited: &Audited) -> Option<Self> {
        let number = audited.record.proposal.round.0;
        let round = watch.rounds.get(&number)?;
        let attendance = audited.record.attendance(&audited.roster);
        let names =
            |members: &[MemberId]| members.iter().map(|member| watch.name(member)).collect();
        let contributed = &attendance.contributed;
        let absent: Vec<_> = attendance
            .expected
            .iter()
            .copied()
            .filter(|member| !contributed.contains(member))
            .collect();
        let (outcome, (view, aggregator)) = (round.outcome?, round.view?);
        let committed = round.committed_ms.map(|(first, _)| first).filter(|_| !round.is_recalled);
        Some(Self {
            round: number,
            view: view.0,
            aggregator: watch.name(&aggregator),
            failed_views: round.failed.values().map(|(member, _)| watch.name(member)).collect(),
            included: outcome.included,
            examples: examples(audited),
            expected: names(&attendance.expected),
            present: names(&attendance.present),
            absent: names(&absent),
            cosigned: names(&attendance.cosigned),
            record_digest: outcome.record.to_string(),
            result_digest: outcome.result.digest.to_string(),
            train_s: committed.map(|_| seconds(round.began_ms, round.trained_ms)),
            overhead_s: committed.map(|committed| seconds(round.trained_ms, committed)),
            bytes_in_max: round.bytes_max.0,
            bytes_out_max: round.bytes_max.1,
            loss: round.loss(),
            metrics: None,
        })
    }
}

/// What the updates in the aggregate say that they have seen.
fn examples(audited: &Audited) -> u64 {
    let parts = audited.record.proposal.included.iter();
    let updates = parts.filter_map(|part| envelope::open_update(&part.envelope, &audited.roster));
    updates.map(|update| update.examples).sum()
}

fn seconds(from_ms: u64, to_ms: u64) -> f64 {
    to_ms.saturating_sub(from_ms) as f64 / 1000.0
}
