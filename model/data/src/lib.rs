//! Data and evaluation: pictures, questions with ten answers, captions, and the metrics on them.
//!
//! Three sources make a [`Dataset`]: [`scenes`] draws one from a seed, [`vqa_v2`] reads VQA v2's
//! own file layout, [`captions`] pairs of image and caption. Everything downstream (tokenizer,
//! partition, training, evaluation) sees only this form. Nothing here knows tensors or devices.

pub mod captions;
pub mod catalogue;
pub mod compute;
pub mod evaluate;
pub mod evaluation;
pub mod fault;
pub mod image_file;
pub mod metrics;
pub mod picture;
pub mod prompt;
pub mod prompts;
pub mod scenes;
pub mod sheet;
pub mod source;
pub mod summary;
pub mod tokenizer;
pub mod vocabulary;
pub mod vqa_v2;

mod bounded;
mod error;
mod partition;
mod select;

pub use error::DataError;
pub use image_file::PictureError;
pub use partition::Part;
pub use picture::Picture;

/// VQA v2's three kinds of answer, which its report keeps apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AnswerType {
    /// "yes" or "no".
    YesNo,
    /// A count.
    Number,
    /// Everything else: a colour, a shape.
    Other,
}

impl AnswerType {
    /// The name VQA v2 gives it: "yes/no", "number", "other".
    pub fn name(self) -> &'static str {
        match self {
            Self::YesNo => "yes/no",
            Self::Number => "number",
            Self::Other => "other",
        }
    }

    /// The kind of that VQA v2 name, if it is one.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::YesNo, Self::Number, Self::Other].into_iter().find(|kind| kind.name() == name)
    }
}

/// One question about one picture, with VQA v2's ten answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VqaExample {
    /// Unique within its dataset; VQA v2 uses `image_id * 1000 + k`.
    pub question_id: u64,
    /// Index into [`Dataset::pictures`].
    pub picture: usize,
    /// Lower-case for generated questions, as written for real ones.
    pub question: String,
    /// The ten annotators' answers; generated and easy-VQA questions repeat one answer ten times.
    pub answers: Vec<String>,
    /// The majority answer (`multiple_choice_answer`): the training target and the partition key.
    pub answer: String,
    /// The kind the report files it under.
    pub answer_type: AnswerType,
    /// The first words of the question, by template.
    pub question_type: String,
    /// Whether question or answer holds a word held out of pre-training.
    pub is_new: bool,
}

/// One caption of one picture, with the rule that a drawing of it must satisfy.
#[derive(Clone, Debug, PartialEq)]
pub struct CaptionExample {
    /// Index into [`Dataset::pictures`].
    pub picture: usize,
    /// What the model is asked to draw.
    pub caption: String,
    /// The same in GenEval's terms; the picture satisfies it. None: drawings of it are not scored.
    pub prompt: Option<prompt::Prompt>,
    /// Whether the caption holds a word held out of pre-training.
    pub is_new: bool,
}

/// Pictures and what is said of them. Questions and captions refer to pictures by index.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Dataset {
    /// Every picture that a question or caption refers to.
    pub pictures: Vec<Picture>,
    /// The understanding half.
    pub questions: Vec<VqaExample>,
    /// The generation half; empty for plain VQA v2.
    pub captions: Vec<CaptionExample>,
}
