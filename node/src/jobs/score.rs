//! Scoring an adapter: answers by VQA v2's rule, drawings by GenEval's rules on the decoded pixels.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use witan_model::data::scenes::PromptCase;
use witan_model::data::tokenizer::WordError;
use witan_model::data::{Dataset, Picture};
use witan_model::evaluate::{Tally, geneval, vqa};
use witan_model::{EncodedShard, Umm};
use witan_protocol::wire::Scores;

use super::shard::{ExamPaper, prompt_case};

/// An adapter's marks on held-out data; fractions of 1. A split with nothing in it is absent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Marks {
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

impl Marks {
    /// Both tasks together, to find the best by.
    pub fn total(&self) -> f64 {
        self.vqa_accuracy.unwrap_or(0.0) + self.drawing_accuracy.unwrap_or(0.0)
    }

    /// As a member's update carries them, with the loss of its training.
    pub fn scores(&self, loss: f32) -> Scores {
        Scores {
            loss,
            vqa_accuracy: self.vqa_accuracy.map(|share| share as f32),
            drawing_accuracy: self.drawing_accuracy.map(|share| share as f32),
        }
    }

    /// The marks of scored answers and drawings.
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

/// Held-out data, encoded once.
pub struct Exam {
    dataset: Dataset,
    encoded: EncodedShard,
    prompts: Vec<PromptCase>,
    undrawn: Undrawn,
}

/// Prompts of an exam that are not drawn, because the model does not know all their words.
#[derive(Clone, Debug, Default)]
pub struct Undrawn {
    /// How many.
    pub count: usize,
    /// Of how many.
    pub of: usize,
    /// The first unknown word.
    pub first: Option<WordError>,
}

impl Exam {
    /// An exam of these questions, and of those prompts whose words the model knows.
    pub fn new(umm: &Umm, paper: ExamPaper) -> Self {
        let ExamPaper { dataset, mut prompts } = paper;
        let encoded = EncodedShard::encode(umm, &dataset);
        let mut undrawn = Undrawn { of: prompts.len(), ..Undrawn::default() };
        prompts.retain(|case| match umm.tokenizer().encode(&case.prompt.prompt) {
            Ok(_) => true,
            Err(word) => {
                undrawn.count += 1;
                undrawn.first.get_or_insert(word);
                false
            }
        });
        Self { dataset, encoded, prompts, undrawn }
    }

    /// The questions with their pictures, and the captions of real pictures.
    pub fn dataset(&self) -> &Dataset {
        &self.dataset
    }

    /// The same as the model reads it.
    pub fn encoded(&self) -> &EncodedShard {
        &self.encoded
    }

    /// The prompts that are drawn.
    pub fn prompts(&self) -> &[PromptCase] {
        &self.prompts
    }

    /// The prompts that are not drawn.
    pub fn undrawn(&self) -> &Undrawn {
        &self.undrawn
    }

    /// The marks of the adapter that `umm` holds.
    pub fn marks(&self, umm: &Umm, seed: u64) -> Marks {
        let answers = umm.answer_batch(&self.encoded, 0..self.dataset.questions.len());
        let drawings = umm.draw(&self.captions(), seed);
        let drawings = drawings.expect("prompts of unknown words are left out");
        Marks::of(
            &vqa::score(&self.dataset.questions, &answers),
            &geneval::score(&self.prompts, &drawings),
        )
    }

    /// What is drawn, in words.
    pub fn captions(&self) -> Vec<&str> {
        self.prompts.iter().map(|case| case.prompt.prompt.as_str()).collect()
    }

    /// The share of the exam's own captioned pictures that the detector finds right: no drawing can
    /// be expected to do better. Empty without captions.
    pub fn ceiling(&self) -> geneval::Report {
        self.passing(&self.dataset.pictures)
    }

    /// The same once encoder and painter have passed the pictures on.
    pub fn rebuilt_ceiling(&self, umm: &Umm) -> geneval::Report {
        self.passing(&umm.reconstruct(&self.dataset.pictures))
    }

    /// The score of these versions of the exam's pictures.
    fn passing(&self, pictures: &[Picture]) -> geneval::Report {
        let judged =
            self.dataset.captions.iter().filter_map(|caption| {
                Some((prompt_case(caption)?, pictures[caption.picture].clone()))
            });
        let (cases, shown): (Vec<_>, Vec<_>) = judged.unzip();
        geneval::score(&cases, &shown)
    }
}

/// A member's own small exam: some of its held-out questions, and of the captions of its held-out pictures.
pub fn small(held_out: &Dataset) -> ExamPaper {
    let first = |count_max: usize, count: usize| (0..count.min(count_max)).collect::<Vec<_>>();
    let dataset = held_out.subset(
        &first(MEMBER_QUESTIONS_MAX, held_out.questions.len()),
        &first(MEMBER_DRAWINGS_MAX, held_out.captions.len()),
    );
    let prompts = dataset.captions.iter().filter_map(prompt_case).collect();
    ExamPaper { dataset, prompts }
}

/// Questions a member scores itself on each round: enough to see a trend, a fraction of a second.
const MEMBER_QUESTIONS_MAX: usize = 48;
/// Drawings it scores itself on.
const MEMBER_DRAWINGS_MAX: usize = 6;
