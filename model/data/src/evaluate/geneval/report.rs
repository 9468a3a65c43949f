//! Scores of drawings: by tag, and apart for old and new words.

use std::collections::BTreeMap;

use super::{Prompt, Tag, detector};
use crate::Picture;
use crate::evaluate::Tally;
use crate::scenes::PromptCase;

/// The score of a suite of drawings. Print it beside
/// [`ceiling`](crate::evaluation::EvaluationSet::ceiling)'s.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// Every prompt.
    pub all: ByTag,
    /// Prompts of words that the base was taught.
    pub old: ByTag,
    /// Prompts with a word held out of pre-training.
    pub new: ByTag,
}

/// Right drawings by tag.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ByTag {
    /// Right and asked; tags that were not asked are absent.
    pub tags: BTreeMap<Tag, Tally>,
}

impl ByTag {
    /// GenEval's overall score: the plain mean over the tags asked, 0 to 1; none where none was.
    pub fn overall(&self) -> Option<f64> {
        let fractions: Vec<f64> = self.tags.values().filter_map(|tally| tally.fraction()).collect();
        (!fractions.is_empty()).then(|| fractions.iter().sum::<f64>() / fractions.len() as f64)
    }

    /// All tags together: right and asked.
    pub fn total(&self) -> Tally {
        let mut total = Tally::default();
        self.tags.values().for_each(|tally| total += *tally);
        total
    }
}

impl Report {
    /// Adds one judged drawing.
    pub fn add(&mut self, tag: Tag, is_new: bool, is_right: bool) {
        let tally = Tally::of(if is_right { 10 } else { 0 });
        let part = if is_new { &mut self.new } else { &mut self.old };
        for by_tag in [&mut self.all, part] {
            *by_tag.tags.entry(tag).or_default() += tally;
        }
    }
}

/// Judges one drawing by its pixels.
pub fn is_right(prompt: &Prompt, drawing: &Picture) -> bool {
    prompt.is_satisfied(&detector::detect(drawing))
}

/// Scores drawings, the first for the first case and so on; the longer of the two is cut.
pub fn score(cases: &[PromptCase], drawings: &[Picture]) -> Report {
    let mut report = Report::default();
    for (case, drawing) in cases.iter().zip(drawings) {
        report.add(case.prompt.tag, case.is_new, is_right(&case.prompt, drawing));
    }
    report
}
