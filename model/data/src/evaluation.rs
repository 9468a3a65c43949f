//! The evaluation set: questions and prompts that no member trains on, what a detector makes of its
//! own pictures, and the results of a model on it.

use std::io::Write;
use std::path::Path;

use serde::Serialize;

use crate::evaluate::{geneval, vqa};
use crate::fault::Fault;
use crate::metrics::Metrics;
use crate::scenes::PromptCase;
use crate::tokenizer::{Tokenizer, WordError};
use crate::{CaptionExample, Dataset, Picture, VqaExample, prompts};

/// Questions to answer and prompts to draw.
#[derive(Clone, Debug, Default)]
pub struct EvaluationSet {
    /// The questions with their pictures, and the captions of real pictures.
    pub dataset: Dataset,
    /// The prompts; none where the source has no captions.
    pub prompts: Vec<PromptCase>,
}

/// Prompts that are not drawn, because the model does not know all their words.
#[derive(Clone, Debug, Default)]
pub struct Skipped {
    /// How many.
    pub count: usize,
    /// Of how many.
    pub of: usize,
    /// The first unknown word.
    pub first: Option<WordError>,
}

/// What a model answered and drew.
#[derive(Clone, Debug, Default)]
pub struct Evaluation {
    /// The answers, in the order of the questions.
    pub answers: Vec<String>,
    /// Answers by VQA v2's rule.
    pub answered: vqa::Report,
    /// Drawings by GenEval's rules.
    pub drawn: geneval::Report,
    /// Prompts of which at least one drawing is right.
    pub prompts_right: usize,
}

impl Evaluation {
    /// The metrics of it.
    pub fn metrics(&self) -> Metrics {
        Metrics::of(&self.answered, &self.drawn)
    }
}

impl EvaluationSet {
    /// A member's own small set: some of its held-out questions and captions.
    pub fn of_member(held_out: &Dataset) -> Self {
        let first = |count_max: usize, count: usize| (0..count.min(count_max)).collect::<Vec<_>>();
        let dataset = held_out.subset(
            &first(MEMBER_QUESTIONS_MAX, held_out.questions.len()),
            &first(MEMBER_DRAWINGS_MAX, held_out.captions.len()),
        );
        let prompts = dataset.captions.iter().filter_map(prompt_case).collect();
        Self { dataset, prompts }
    }

    /// Takes the prompts of a file in GenEval's form in place of its own, which all must be drawn.
    ///
    /// # Errors
    /// If the file is none, or a prompt holds a word that is none of `words`.
    pub fn replace_prompts(&mut self, path: &Path, words: Option<&Tokenizer>) -> Result<(), Fault> {
        let cases = prompts::read(path).map_err(|error| Fault::input(error).hint(PROMPTS_HINT))?;
        let known = |(line, case): (usize, PromptCase)| match unknown(words, &case) {
            None => Ok(case),
            Some(word) => Err(Fault::input(format!("{}, line {line}: {word}", path.display()))
                .hint("`witan ask --words` lists every word it knows")),
        };
        self.prompts = cases.into_iter().map(known).collect::<Result<_, _>>()?;
        Ok(())
    }

    /// Drops the prompts that hold a word that is none of `words`.
    pub fn skip_unknown(&mut self, words: Option<&Tokenizer>) -> Skipped {
        let mut skipped = Skipped { of: self.prompts.len(), ..Skipped::default() };
        self.prompts.retain(|case| match unknown(words, case) {
            None => true,
            Some(word) => {
                skipped.count += 1;
                skipped.first.get_or_insert(word);
                false
            }
        });
        skipped
    }

    /// What is drawn, in words.
    pub fn captions(&self) -> Vec<&str> {
        self.prompts.iter().map(|case| case.prompt.prompt.as_str()).collect()
    }

    /// The share of the set's own captioned pictures that the detector finds right: no drawing can
    /// be expected to do better. Empty without captions.
    pub fn ceiling(&self) -> geneval::Report {
        self.score_pictures(&self.dataset.pictures)
    }

    /// The score of these versions of the set's pictures.
    pub fn score_pictures(&self, pictures: &[Picture]) -> geneval::Report {
        let judged =
            self.dataset.captions.iter().filter_map(|caption| {
                Some((prompt_case(caption)?, pictures[caption.picture].clone()))
            });
        let (cases, shown): (Vec<_>, Vec<_>) = judged.unzip();
        geneval::score(&cases, &shown)
    }
}

/// A caption as a prompt to draw from; none if no rule says what a right drawing is.
pub fn prompt_case(caption: &CaptionExample) -> Option<PromptCase> {
    Some(PromptCase { prompt: caption.prompt.clone()?, is_new: caption.is_new })
}

/// Writes answers as VQA v2's official scorer reads them.
///
/// # Errors
/// If the disk refuses.
pub fn write_results(
    out: &mut impl Write,
    questions: &[VqaExample],
    answers: &[String],
) -> std::io::Result<()> {
    #[derive(Serialize)]
    struct Answer<'a> {
        question_id: u64,
        answer: &'a str,
    }
    let lines = questions.iter().zip(answers);
    let lines =
        lines.map(|(question, answer)| Answer { question_id: question.question_id, answer });
    let json = serde_json::to_vec(&lines.collect::<Vec<_>>()).expect("answers are plain JSON");
    out.write_all(&json)
}

fn unknown(words: Option<&Tokenizer>, case: &PromptCase) -> Option<WordError> {
    words?.encode(&case.prompt.prompt).err()
}

/// What a file of prompts holds.
pub const PROMPTS_HINT: &str = "prompts are lines as of GenEval's evaluation_metadata.jsonl";
/// Questions a member scores itself on each round: enough to see a trend, a fraction of a second.
const MEMBER_QUESTIONS_MAX: usize = 48;
/// Drawings it scores itself on.
const MEMBER_DRAWINGS_MAX: usize = 6;
