//! What `witan train` evaluated: for programs, and as tables for people.

use std::collections::BTreeMap;

use comfy_table::Table;
use serde::{Deserialize, Serialize};
use witan_data::metrics::Metrics;

use crate::candidate::TrainedRow;
use crate::spec::TrainSpec;
use crate::tables::{self, Ceiling, METRICS, Mean, percent, table, values};

/// A finished `witan train`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TrainReport {
    /// What was trained.
    #[serde(rename = "order")]
    pub spec: TrainSpec,
    /// The base before any training.
    pub base: Metrics,
    /// What no drawing can be expected to exceed.
    #[serde(flatten)]
    pub ceiling: Ceiling,
    /// What was trained, by roster number.
    pub trained: Vec<TrainedRow>,
}

impl TrainReport {
    /// The trained adapter with the most answers and drawings right, both tasks together.
    pub fn best(&self) -> Option<&TrainedRow> {
        self.trained.iter().reduce(|best, row| match row.metrics.total() > best.metrics.total() {
            true => row,
            false => best,
        })
    }

    /// The mean of a metric over all that was trained.
    pub fn mean(&self, metric: fn(&Metrics) -> Option<f64>) -> Option<f64> {
        Mean::over(self.trained.iter().filter_map(|row| metric(&row.metrics))).map(|it| it.value)
    }

    /// The tables.
    pub fn to_text(&self) -> String {
        let base = ("base".to_owned(), values(&self.base));
        let trained = self.trained.iter().map(|row| (row.title(), values(&row.metrics)));
        let mean = (self.trained.len() > 1)
            .then(|| ("mean".to_owned(), METRICS.map(|metric| self.mean(metric.of))));
        let rows: Vec<_> = std::iter::once(base).chain(trained).chain(mean).collect();
        let mut text = format!("{}\n", tables::of_metrics(&rows));
        if let [row] = &self.trained[..] {
            let (before, after) = (&self.base, &row.metrics);
            let answers = [&before.vqa_accuracy_by_answer_type, &after.vqa_accuracy_by_answer_type];
            let drawings = [
                &before.drawing_accuracy_by_task,
                &after.drawing_accuracy_by_task,
                &self.ceiling.by_task,
            ];
            let kinds = [kinds("answers", &answers), kinds("drawings", &drawings)];
            for table in kinds.into_iter().flatten() {
                text += &format!("\n{table}\n");
            }
            text += &format!("{} steps, {} questions and captions\n", row.steps, row.examples);
        }
        text + &self.ceiling.to_text()
    }
}

/// Shares by kind, if there are any: before, after and, of drawings, what the real pictures score.
fn kinds(title: &str, columns: &[&BTreeMap<String, f64>]) -> Option<Table> {
    let heads = ["base", "trained", "real pictures"];
    let mut table = table(&[&[title], &heads[..columns.len()]].concat());
    for kind in columns[1].keys() {
        let shares = columns.iter().map(|column| percent(column.get(kind).copied()));
        table.add_row(std::iter::once(kind.clone()).chain(shares));
    }
    (!columns[1].is_empty()).then_some(table)
}
