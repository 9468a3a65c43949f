//! Scoring an adapter: answers by VQA v2's rule, drawings by GenEval's rules on the decoded pixels.

use serde::{Deserialize, Serialize};
use witan_model::data::scenes::PromptCase;
use witan_model::data::tokenizer::WordError;
use witan_model::data::{Dataset, Picture};
use witan_model::evaluate::{geneval, vqa};
use witan_model::{EncodedShard, Umm};
use witan_protocol::record::Scores;

use super::shard::{ExamPaper, prompt_case};

/// An adapter's marks on held-out data; fractions of 1. A split with nothing in it is absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Marks {
    /// VQA accuracy.
    pub vqa_accuracy: f64,
    /// The same over questions of old words only.
    pub vqa_accuracy_old_words: Option<f64>,
    /// The same over questions with a new word.
    pub vqa_accuracy_new_words: Option<f64>,
    /// Share of correct drawings: the mean over GenEval's six tasks.
    pub drawing_accuracy: Option<f64>,
    /// The same over captions of old words only.
    pub drawing_accuracy_old_words: Option<f64>,
    /// The same over captions with a new word.
    pub drawing_accuracy_new_words: Option<f64>,
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

    /// The prompts that are not drawn.
    pub fn undrawn(&self) -> &Undrawn {
        &self.undrawn
    }

    /// A member's own small exam: its held-out questions and the captions of its held-out pictures.
    pub fn of_member(umm: &Umm, held_out: &Dataset) -> Self {
        let first = |count_max: usize, count: usize| (0..count.min(count_max)).collect::<Vec<_>>();
        let dataset = held_out.subset(
            &first(MEMBER_QUESTIONS_MAX, held_out.questions.len()),
            &first(MEMBER_DRAWINGS_MAX, held_out.captions.len()),
        );
        let prompts = dataset.captions.iter().map(prompt_case).collect();
        Self::new(umm, ExamPaper { dataset, prompts })
    }

    /// The marks of the adapter that `umm` holds.
    pub fn marks(&self, umm: &Umm, seed: u64) -> Marks {
        let answers = umm.answer_batch(&self.encoded, 0..self.dataset.questions.len());
        let answered = vqa::score(&self.dataset.questions, &answers);
        let drawn = self.drawn(umm, seed);
        let tags = |by: &geneval::ByTag| by.overall();
        Marks {
            vqa_accuracy: answered.all.fraction().unwrap_or(0.0),
            vqa_accuracy_old_words: answered.old.fraction(),
            vqa_accuracy_new_words: answered.new.fraction(),
            drawing_accuracy: drawn.as_ref().and_then(|drawn| tags(&drawn.all)),
            drawing_accuracy_old_words: drawn.as_ref().and_then(|drawn| tags(&drawn.old)),
            drawing_accuracy_new_words: drawn.as_ref().and_then(|drawn| tags(&drawn.new)),
        }
    }

    /// The marks as a member's update carries them.
    pub fn scores(&self, umm: &Umm, seed: u64) -> Scores {
        let marks = self.marks(umm, seed);
        Scores {
            loss: 0.0,
            vqa_accuracy: marks.vqa_accuracy as f32,
            drawing_accuracy: marks.drawing_accuracy.unwrap_or(0.0) as f32,
        }
    }

    /// The share of the exam's own captioned pictures that the detector finds right; none without
    /// captions.
    pub fn ceiling(&self) -> Option<f64> {
        self.passing(&self.dataset.pictures)
    }

    /// The same once encoder and painter have passed the pictures on.
    pub fn rebuilt_ceiling(&self, umm: &Umm) -> Option<f64> {
        self.passing(&umm.reconstruct(&self.dataset.pictures))
    }

    /// The mean over the tasks for these versions of the exam's pictures.
    fn passing(&self, pictures: &[Picture]) -> Option<f64> {
        let captions = &self.dataset.captions;
        let cases: Vec<PromptCase> = captions.iter().map(prompt_case).collect();
        let shown = captions.iter().map(|caption| pictures[caption.picture].clone());
        geneval::score(&cases, &shown.collect::<Vec<_>>()).all.overall()
    }

    fn drawn(&self, umm: &Umm, seed: u64) -> Option<geneval::Report> {
        let captions: Vec<&str> =
            self.prompts.iter().map(|case| case.prompt.prompt.as_str()).collect();
        let drawings = umm.draw(&captions, seed).expect("prompts of unknown words are left out");
        (!drawings.is_empty()).then(|| geneval::score(&self.prompts, &drawings))
    }
}

/// Questions a member scores itself on each round: enough to see a trend, a fraction of a second.
const MEMBER_QUESTIONS_MAX: usize = 48;
/// Drawings it scores itself on.
const MEMBER_DRAWINGS_MAX: usize = 6;
