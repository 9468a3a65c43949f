//! The metrics that reports show, one a line, and tables of them for people.

use std::collections::BTreeMap;

use comfy_table::{Table, presets};
use serde::{Deserialize, Serialize};
use witan_data::metrics::{Metrics, by_task};
use witan_model::trainable::EvaluationData;

/// One of the metrics that every report shows.
pub struct Metric {
    /// Its head in a table.
    pub name: &'static str,
    /// Its column in a grid's CSV file.
    pub column: &'static str,
    /// Its value.
    pub of: fn(&Metrics) -> Option<f64>,
}

/// The metrics, in order.
pub const METRICS: [Metric; 6] = [
    VQA,
    Metric { name: "old words", column: "vqa_old_words", of: |it| it.vqa_accuracy_old_words },
    Metric { name: "new words", column: "vqa_new_words", of: |it| it.vqa_accuracy_new_words },
    DRAWINGS,
    Metric {
        name: "old words",
        column: "drawings_old_words",
        of: |it| it.drawing_accuracy_old_words,
    },
    Metric {
        name: "new words",
        column: "drawings_new_words",
        of: |it| it.drawing_accuracy_new_words,
    },
];
/// Answers.
pub const VQA: Metric = Metric { name: "VQA", column: "vqa", of: |it| it.vqa_accuracy };
/// Drawings.
pub const DRAWINGS: Metric =
    Metric { name: "drawings", column: "drawings", of: |it| it.drawing_accuracy };

/// The values of [`METRICS`].
pub type Values = [Option<f64>; METRICS.len()];

/// The values of [`METRICS`] of a model.
pub fn values(metrics: &Metrics) -> Values {
    METRICS.map(|metric| (metric.of)(metrics))
}

/// A mean.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mean {
    /// The mean.
    pub value: f64,
    /// The sample standard deviation; none of one.
    pub deviation: Option<f64>,
    /// Of how many.
    pub of: usize,
}

impl Mean {
    /// The mean of what there is; none of nothing.
    pub fn over(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let values: Vec<f64> = values.into_iter().collect();
        let of = values.len();
        let value = values.iter().sum::<f64>() / of as f64;
        let squares: f64 = values.iter().map(|each| (each - value).powi(2)).sum();
        let deviation = (of > 1).then(|| (squares / (of - 1) as f64).sqrt());
        (of > 0).then_some(Self { value, deviation, of })
    }
}

/// How many of the evaluation set's own pictures the detector accepts: no drawing can be expected
/// to do better.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Ceiling {
    /// The mean over the tasks.
    #[serde(rename = "drawing_ceiling")]
    pub overall: Option<f64>,
    /// Each task's.
    #[serde(rename = "drawing_ceiling_by_task", default)]
    pub by_task: BTreeMap<String, f64>,
}

impl Ceiling {
    /// That of an evaluation set.
    pub fn of(data: &EvaluationData) -> Self {
        Self { overall: data.ceiling.all.overall(), by_task: by_task(&data.ceiling) }
    }

    /// A line below a table; none if nothing is drawn.
    pub fn to_text(&self) -> String {
        let Some(share) = self.overall else { return String::new() };
        let share = percent(Some(share));
        format!("drawings: the detector accepts {share} of the real pictures\n")
    }
}

/// An empty table.
pub fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY).set_header(header);
    table
}

/// A row for each name; a metric that nobody has gets no column.
pub fn of_metrics(rows: &[(String, Values)]) -> Table {
    let is_known = |metric: &usize| rows.iter().any(|(_, values)| values[*metric].is_some());
    let columns: Vec<usize> = (0..METRICS.len()).filter(is_known).collect();
    let names = columns.iter().map(|metric| METRICS[*metric].name);
    let mut table = table(&std::iter::once("held-out data").chain(names).collect::<Vec<_>>());
    for (name, values) in rows {
        let cells = columns.iter().map(|metric| percent(values[*metric]));
        table.add_row(std::iter::once(name.clone()).chain(cells));
    }
    table
}

/// Such as "12.5 %".
pub fn percent(fraction: Option<f64>) -> String {
    fraction.map_or_else(|| "-".to_owned(), |fraction| format!("{:.1} %", 100.0 * fraction))
}

/// "single_object 80.0 %, …"; none without any.
pub fn by_kind(shares: &BTreeMap<String, f64>) -> Option<String> {
    let shares = shares.iter().map(|(kind, share)| format!("{kind} {}", percent(Some(*share))));
    (shares.len() > 0).then(|| shares.collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_that_nobody_has_gets_no_column() {
        let asked = Metrics { vqa_accuracy: Some(0.5), ..Metrics::default() };
        let drew = Metrics { drawing_accuracy: Some(1.0), ..Metrics::default() };
        let of = |models: &[&Metrics]| {
            let rows: Vec<_> = models.iter().map(|it| ("it".to_owned(), values(it))).collect();
            of_metrics(&rows).to_string()
        };
        let one = of(&[&asked]);
        assert!(one.contains("50.0 %") && !one.contains("drawings"), "{one}");
        let both = of(&[&asked, &drew]);
        assert!(
            both.contains("100.0 %") && both.contains('-') && !both.contains("words"),
            "{both}"
        );
    }

    #[test]
    fn a_mean_has_a_deviation_from_two_on() {
        assert_eq!(Mean::over([]), None);
        assert_eq!(Mean::over([0.5]), Some(Mean { value: 0.5, deviation: None, of: 1 }));
        let three = Mean::over([1.0, 2.0, 3.0]).unwrap();
        assert_eq!(three, Mean { value: 2.0, deviation: Some(1.0), of: 3 });
    }
}
