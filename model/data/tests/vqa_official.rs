//! Our VQA v2 accuracy against the official scorer's verdicts on 4,000 answers
//! (`scripts/vqa_official.py`): marks, spaces, capitals, articles, number words, contractions with
//! and without apostrophes, rows of periods.

use serde_json::Value;
use witan_data::evaluate::Tally;
use witan_data::evaluate::vqa::{Report, tenths};
use witan_data::{AnswerType, VqaExample};

/// An answer, its ten references, and what the official scorer gives for it, in percent.
struct Case {
    answer: String,
    references: Vec<String>,
    percent: u64,
}

#[test]
fn every_answer_counts_as_the_official_scorer_counts_it() {
    let (_, cases) = pinned();
    assert_eq!(cases.len(), 4000);
    for Case { answer, references, percent } in &cases {
        let found = 10 * tenths(answer, references);
        assert_eq!(found, *percent, "{answer:?} for {references:?}");
    }
}

#[test]
fn accuracies_are_the_official_ones_overall_by_answer_type_and_by_question_type() {
    let (accuracies, cases) = pinned();
    let mut report = Report::default();
    for (number, case) in cases.into_iter().enumerate() {
        let answer_type = ANSWER_TYPES[number % ANSWER_TYPES.len()];
        let question = VqaExample {
            question_id: number as u64,
            picture: 0,
            question: String::new(),
            answer: case.references[0].clone(),
            answers: case.references,
            answer_type: AnswerType::from_name(answer_type).unwrap(),
            question_type: QUESTION_TYPES[number % QUESTION_TYPES.len()].to_owned(),
            is_new: false,
        };
        report.add(&question, &case.answer);
    }
    let by_answer_type = report.by_answer_type.iter().map(|(kind, tally)| (kind.name(), tally));
    let by_question_type = report.by_question_type.iter().map(|(name, tally)| (&name[..], tally));
    same(&report.all, &accuracies["overall"]);
    all_same(by_answer_type, &accuracies["perAnswerType"]);
    all_same(by_question_type, &accuracies["perQuestionType"]);
}

fn all_same<'a>(tallies: impl Iterator<Item = (&'a str, &'a Tally)>, official: &Value) {
    let mut count = 0;
    for (name, tally) in tallies {
        same(tally, &official[name]);
        count += 1;
    }
    assert_eq!(official.as_object().unwrap().len(), count);
}

/// The official report has two decimals of a percentage, of a sum of floats.
fn same(tally: &Tally, official: &Value) {
    let (ours, official) = (100.0 * tally.fraction().unwrap(), official.as_f64().unwrap());
    assert!((ours - official).abs() < 0.005_001, "{ours} is not {official}");
}

fn pinned() -> (Value, Vec<Case>) {
    let mut lines = include_str!("vqa/official.jsonl").lines();
    let accuracies = serde_json::from_str(lines.next().unwrap()).unwrap();
    (accuracies, lines.map(case).collect())
}

fn case(line: &str) -> Case {
    let (answer, counted, percent): (String, Vec<(String, usize)>, u64) =
        serde_json::from_str(line).unwrap();
    let references = counted.into_iter().flat_map(|(text, count)| vec![text; count]).collect();
    Case { answer, references, percent }
}

const ANSWER_TYPES: [&str; 3] = ["yes/no", "number", "other"];
const QUESTION_TYPES: [&str; 5] =
    ["is there a", "how many", "what color is the", "what", "none of the above"];
