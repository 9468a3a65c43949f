//! VQA v2's own accuracy: an answer counts by how many of ten annotators gave it.
//!
//! Follows the official evaluation (Goyal et al., "Making the V in VQA Matter", CVPR 2017, and its
//! published code). For each annotator the answer wins min(1, matches among the other nine / 3);
//! the question's accuracy is the mean of the ten, which is always a whole number of tenths.
//! Answers are normalised only where the ten references differ; see [`normalise()`] for its quirks,
//! kept on purpose so that figures compare. `tests/vqa_official.rs` has the official verdicts.

mod normalise;

use std::collections::BTreeMap;

use crate::evaluate::Tally;
use crate::{AnswerType, VqaExample};
pub use normalise::normalise;

/// Accuracy over a set of questions, in all and by kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Every question.
    pub all: Tally,
    /// By VQA v2's three kinds of answer.
    pub by_answer_type: BTreeMap<AnswerType, Tally>,
    /// By the first words of the question.
    pub by_question_type: BTreeMap<String, Tally>,
    /// Questions and answers of words that the base was taught.
    pub old: Tally,
    /// Those with a word held out of pre-training.
    pub new: Tally,
}

impl Report {
    /// Adds one answered question.
    pub fn add(&mut self, question: &VqaExample, answer: &str) {
        let tally = Tally::of(tenths(answer, &question.answers));
        self.all += tally;
        *self.by_answer_type.entry(question.answer_type).or_default() += tally;
        *self.by_question_type.entry(question.question_type.clone()).or_default() += tally;
        *if question.is_new { &mut self.new } else { &mut self.old } += tally;
    }
}

/// Scores answers, the first for the first question and so on; the longer of the two is cut.
pub fn score(questions: &[VqaExample], answers: &[String]) -> Report {
    let mut report = Report::default();
    for (question, answer) in questions.iter().zip(answers) {
        report.add(question, answer);
    }
    report
}

/// The accuracy of one answer in tenths: 0, 3, 6, 9 or 10 for 0, 1, 2, 3 or more matches.
///
/// That closed form of the leave-one-out mean holds for ten references, which VQA v2 always has.
/// Where all ten are equal, the answer must be equal to the letter (newlines, tabs and outer spaces
/// apart), as in the official code.
pub fn tenths(answer: &str, references: &[String]) -> u64 {
    let references: Vec<String> = references.iter().map(|one| tidy(one)).collect();
    let are_agreed = references.windows(2).all(|pair| pair[0] == pair[1]);
    let matches = if are_agreed {
        let answer = tidy(answer);
        references.iter().filter(|reference| **reference == answer).count()
    } else {
        let answer = normalise(&tidy(answer));
        references.iter().filter(|reference| normalise(reference) == answer).count()
    };
    (matches as u64 * 3).min(10)
}

/// What is done to every text, agreed or not.
fn tidy(text: &str) -> String {
    text.replace(['\n', '\t'], " ").trim_matches(normalise::is_blank).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn references(answers: &[(&str, usize)]) -> Vec<String> {
        answers.iter().flat_map(|(answer, count)| vec![(*answer).to_owned(); *count]).collect()
    }

    /// The official formula, spelt out: for each annotator, matches among the other nine.
    fn leave_one_out(matches: usize) -> f64 {
        let each = (0..10).map(|annotator| {
            let others = if annotator < matches { matches - 1 } else { matches };
            (others as f64 / 3.0).min(1.0)
        });
        each.sum::<f64>() / 10.0
    }

    #[test]
    fn tenths_are_the_leave_one_out_mean() {
        for matches in 0..10 {
            let references = references(&[("red", matches), ("blue", 10 - matches)]);
            let expected = leave_one_out(matches);
            let found = tenths("red", &references) as f64 / 10.0;
            assert!((found - expected).abs() < 1e-9, "{matches}: {found} is not {expected}");
        }
    }

    #[test]
    fn agreed_references_want_the_very_letters() {
        assert_eq!(tenths("yes", &references(&[("yes", 10)])), 10);
        assert_eq!(tenths(" yes\n", &references(&[("yes", 10)])), 10);
        assert_eq!(tenths("Yes", &references(&[("yes", 10)])), 0);
        assert_eq!(tenths("two", &references(&[("2", 10)])), 0);
        assert_eq!(tenths("two", &references(&[("2", 9), ("3", 1)])), 10);
    }

    #[test]
    fn reports_keep_kinds_and_words_apart() {
        let example = |answer: &str, answer_type, is_new| VqaExample {
            question_id: 0,
            picture: 0,
            question: String::new(),
            answers: references(&[(answer, 10)]),
            answer: answer.to_owned(),
            answer_type,
            question_type: "what".to_owned(),
            is_new,
        };
        let questions = [
            example("yes", AnswerType::YesNo, false),
            example("crimson", AnswerType::Other, true),
            example("three", AnswerType::Number, false),
        ];
        let answers = ["yes", "red", "three"].map(str::to_owned);
        let report = score(&questions, &answers);
        assert_eq!(report.all, Tally { tenths: 20, asked: 3 });
        assert_eq!(report.new.fraction(), Some(0.0));
        assert_eq!(report.old.fraction(), Some(1.0));
        assert_eq!(report.by_answer_type[&AnswerType::Other].fraction(), Some(0.0));
        assert_eq!(report.by_question_type["what"].asked, 3);
    }
}
