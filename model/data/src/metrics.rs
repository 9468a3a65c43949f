//! The metrics of a model: answers by VQA v2's rule, drawings by GenEval's rules on pixels.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::evaluate::{Tally, geneval, vqa};

/// A model's metrics on held-out data; fractions of 1. A split with nothing in it is absent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// VQA accuracy.
    pub vqa_accuracy: Option<f64>,
    /// The same over questions of old words only.
    pub vqa_accuracy_old_words: Option<f64>,
    /// The same over questions with a new word.
    pub vqa_accuracy_new_words: Option<f64>,
    /// The same by VQA v2's kinds of answer.
    #[serde(default)]
    pub vqa_accuracy_by_answer_type: BTreeMap<String, f64>,
    /// The same by the first words of the question.
    #[serde(default)]
    pub vqa_accuracy_by_question_type: BTreeMap<String, f64>,
    /// Share of correct drawings: the mean over GenEval's six tasks.
    pub drawing_accuracy: Option<f64>,
    /// The same over captions of old words only.
    pub drawing_accuracy_old_words: Option<f64>,
    /// The same over captions with a new word.
    pub drawing_accuracy_new_words: Option<f64>,
    /// The same by task.
    #[serde(default)]
    pub drawing_accuracy_by_task: BTreeMap<String, f64>,
}

impl Metrics {
    /// Both tasks together, to find the best by.
    pub fn total(&self) -> f64 {
        self.vqa_accuracy.unwrap_or(0.0) + self.drawing_accuracy.unwrap_or(0.0)
    }

    /// The metrics of scored answers and drawings.
    pub fn of(answered: &vqa::Report, drawn: &geneval::Report) -> Self {
        let answer_types = answered.by_answer_type.iter().map(|(kind, it)| (kind.name(), it));
        let question_types = answered.by_question_type.iter().map(|(name, it)| (&name[..], it));
        Self {
            vqa_accuracy: answered.all.fraction(),
            vqa_accuracy_old_words: answered.old.fraction(),
            vqa_accuracy_new_words: answered.new.fraction(),
            vqa_accuracy_by_answer_type: fractions(answer_types),
            vqa_accuracy_by_question_type: fractions(question_types),
            drawing_accuracy: drawn.all.overall(),
            drawing_accuracy_old_words: drawn.old.overall(),
            drawing_accuracy_new_words: drawn.new.overall(),
            drawing_accuracy_by_task: by_task(drawn),
        }
    }
}

/// The share of right drawings of each task asked.
pub fn by_task(drawn: &geneval::Report) -> BTreeMap<String, f64> {
    fractions(drawn.all.tags.iter().map(|(tag, tally)| (tag.name(), tally)))
}

fn fractions<'a>(tallies: impl Iterator<Item = (&'a str, &'a Tally)>) -> BTreeMap<String, f64> {
    tallies.filter_map(|(name, tally)| Some((name.to_owned(), tally.fraction()?))).collect()
}
