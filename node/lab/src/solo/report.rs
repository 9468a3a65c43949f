//! What `witan train` scored: for programs, and as tables for people.

use std::collections::BTreeMap;

use comfy_table::Table;
use serde::{Deserialize, Serialize};
use witan_node::jobs::score::Marks;

use super::Order;
use crate::tables::{self, percent, table};
use crate::training::Candidate;

/// One trained adapter.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SoloRow {
    /// Its name in the folder.
    pub name: String,
    /// The member whose part it is of, by roster number; `null`: all data.
    pub member: Option<usize>,
    /// Steps taken.
    pub steps: u64,
    /// Questions and captions drawn, counted each time.
    pub examples: u64,
    /// The mean of the losses of all steps.
    pub loss: f32,
    /// On held-out data.
    #[serde(flatten)]
    pub scores: Marks,
}

impl SoloRow {
    /// What it is, in words.
    pub fn title(&self) -> String {
        self.member.map_or(Candidate::Centralized, Candidate::Alone).to_string()
    }
}

/// A finished `witan train`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SoloReport {
    /// What was trained.
    pub order: Order,
    /// The base before any training.
    pub base: Marks,
    /// Share of the held-out pictures themselves that the detector finds right.
    pub drawing_ceiling: Option<f64>,
    /// The same by task.
    #[serde(default)]
    pub drawing_ceiling_by_task: BTreeMap<String, f64>,
    /// What was trained, by roster number.
    pub trained: Vec<SoloRow>,
}

impl SoloReport {
    pub(super) fn new(
        order: &Order,
        base: Marks,
        (drawing_ceiling, drawing_ceiling_by_task): (Option<f64>, BTreeMap<String, f64>),
        trained: Vec<SoloRow>,
    ) -> Self {
        Self { order: order.clone(), base, drawing_ceiling, drawing_ceiling_by_task, trained }
    }

    /// The trained adapter with the most answers and drawings right, both tasks together.
    pub fn best(&self) -> Option<&SoloRow> {
        self.trained.iter().reduce(|best, row| match row.scores.total() > best.scores.total() {
            true => row,
            false => best,
        })
    }

    /// The mean marks of all that was trained; none of nothing.
    pub fn mean(&self) -> Option<Marks> {
        let rows = || self.trained.iter().map(|row| &row.scores);
        let over = |value: fn(&Marks) -> Option<f64>| {
            let values: Vec<f64> = rows().filter_map(value).collect();
            (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
        };
        (!self.trained.is_empty()).then(|| Marks {
            vqa_accuracy: over(|marks| marks.vqa_accuracy),
            vqa_accuracy_old_words: over(|marks| marks.vqa_accuracy_old_words),
            vqa_accuracy_new_words: over(|marks| marks.vqa_accuracy_new_words),
            drawing_accuracy: over(|marks| marks.drawing_accuracy),
            drawing_accuracy_old_words: over(|marks| marks.drawing_accuracy_old_words),
            drawing_accuracy_new_words: over(|marks| marks.drawing_accuracy_new_words),
            ..Marks::default()
        })
    }

    /// The tables.
    pub fn to_text(&self) -> String {
        let mean = self.mean().filter(|_| self.trained.len() > 1);
        let trained = self.trained.iter().map(|row| (row.title(), &row.scores));
        let rows = std::iter::once(("base".to_owned(), &self.base)).chain(trained);
        let rows: Vec<_> = rows.chain(mean.iter().map(|mean| ("mean".to_owned(), mean))).collect();
        let marks = tables::of_marks(&rows);
        let mut text = format!("{marks}\n");
        if let [row] = &self.trained[..] {
            let (before, after, most) = (&self.base, &row.scores, &self.drawing_ceiling_by_task);
            let [answers, drawings] = [
                kinds(
                    "answers",
                    [&before.vqa_accuracy_by_answer_type, &after.vqa_accuracy_by_answer_type],
                ),
                kinds(
                    "drawings",
                    [&before.drawing_accuracy_by_task, &after.drawing_accuracy_by_task, most],
                ),
            ];
            for kinds in [answers, drawings].into_iter().flatten() {
                text += &format!("\n{kinds}\n");
            }
            text += &format!("{} steps, {} questions and captions\n", row.steps, row.examples);
        }
        if let Some(ceiling) = self.drawing_ceiling {
            let ceiling = percent(Some(ceiling));
            text += &format!("drawings: the detector finds {ceiling} of the real pictures right\n");
        }
        text
    }
}

/// Fractions by kind, if there are any: before, after and, of drawings, what the real pictures score.
fn kinds<const COLUMNS: usize>(
    title: &str,
    columns: [&BTreeMap<String, f64>; COLUMNS],
) -> Option<Table> {
    let mut table = table(&[&[title], &["base", "trained", "real pictures"][..COLUMNS]].concat());
    for kind in columns[1].keys() {
        let shares = columns.iter().map(|column| percent(column.get(kind).copied()));
        table.add_row(std::iter::once(kind.clone()).chain(shares));
    }
    (!columns[1].is_empty()).then_some(table)
}
