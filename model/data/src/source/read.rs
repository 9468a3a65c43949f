//! Reads a data source: a member's share, the pool of all, the evaluation set nobody trains on.

use std::fmt::Write;

use super::{By, DataSource, Share};
use crate::catalogue::Catalogue;
use crate::error::Problem;
use crate::evaluation::{EvaluationSet, prompt_case};
use crate::fault::Fault;
use crate::partition::{self, Part, Partition, PartitionError};
use crate::scenes;
use crate::tokenizer::Tokenizer;
use crate::vocabulary::Vocabulary;
use crate::vqa_v2::{self, Split};
use crate::{CaptionExample, DataError, Dataset, VqaExample, captions};

/// A member's data.
#[derive(Clone, Debug)]
pub struct MemberData {
    /// Trained on.
    pub training: Dataset,
    /// The member's own scores are measured on it; never trained on.
    pub held_out: Dataset,
}

/// Everything that members train on, and which of it is whose, in roster order.
#[derive(Clone, Debug)]
pub struct Pool {
    /// All of it.
    pub whole: Dataset,
    /// Each member's part; the same on every member.
    pub parts: Vec<Part>,
}

impl Pool {
    /// One line for every question, caption and picture by name: what a digest of the pool is of.
    pub fn listing(&self) -> String {
        let mut all = String::new();
        for VqaExample { picture, question_id, question, answer, .. } in &self.whole.questions {
            let _ = writeln!(all, "{picture} {question_id} {question:?} {answer:?}");
        }
        for CaptionExample { picture, caption, .. } in &self.whole.captions {
            let _ = writeln!(all, "{picture} {caption:?}");
        }
        for picture in &self.whole.pictures {
            let _ = writeln!(all, "{picture}");
        }
        all
    }
}

/// How much of a folder's validation split an evaluation set is; of the scenes, it is always all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// A bounded sample, chosen by the seed of the partition: for the evaluation after each round.
    Sample,
    /// All of it.
    Whole,
}

/// Which kinds of example a source has that a model can learn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Teachable {
    /// Whether it has such questions.
    pub questions: bool,
    /// Whether it has such captions.
    pub captions: bool,
}

impl DataSource {
    /// Reads this member's data; of a folder of images, only this member's are decoded.
    ///
    /// # Errors
    /// If the source is wrong, or has too little for so many members.
    pub fn member_data(&self) -> Result<MemberData, Fault> {
        let share = self.share();
        let mine = match self.catalogue(Split::Train)? {
            None => {
                let Pool { whole, parts } = self.pool()?;
                whole.subset(&parts[share.index].questions, &parts[share.index].captions)
            }
            Some(catalogue) => {
                let parts = share.parts(&catalogue.questions, &catalogue.captions)?;
                let part = &parts[share.index];
                catalogue.subset(&part.questions, &part.captions).map_err(bad_data)?
            }
        };
        let (training, held_out) = mine.split_held_out(HELD_OUT_PER_MILLE);
        Ok(MemberData { training, held_out })
    }

    /// Reads every member's data.
    ///
    /// # Errors
    /// If the source is wrong, or has too little for so many members.
    pub fn pool(&self) -> Result<Pool, Fault> {
        let share = self.share();
        let whole = match self {
            Self::Scenes { seed, count, .. } => {
                scenes::dataset(Vocabulary::Domain, *seed, scene_count(share, *count))
            }
            Self::Vqa { .. } | Self::Captions { .. } => {
                let catalogue = self.catalogue(Split::Train)?;
                catalogue.unwrap_or_default().whole().map_err(bad_data)?
            }
        };
        let parts = share.parts(&whole.questions, &whole.captions)?;
        Ok(Pool { whole, parts })
    }

    /// Reads what no member trains on.
    ///
    /// # Errors
    /// If the source is wrong.
    pub fn evaluation_set(&self, extent: Extent) -> Result<EvaluationSet, Fault> {
        if let Self::Scenes { seed, .. } = self {
            let (dataset, prompts) = scenes::held_out(*seed);
            return Ok(EvaluationSet { dataset, prompts });
        }
        let catalogue = self.catalogue(Split::Val)?.unwrap_or_default();
        let dataset = match extent {
            Extent::Sample => {
                catalogue.sample(SAMPLE_QUESTIONS_MAX, SAMPLE_DRAWINGS_MAX, self.share().seed)
            }
            Extent::Whole => catalogue.whole(),
        };
        let dataset = dataset.map_err(bad_data)?;
        let prompts = dataset.captions.iter().filter_map(prompt_case).collect();
        Ok(EvaluationSet { dataset, prompts })
    }

    /// Looks through the questions and captions of all members; no image is read. `words` are the
    /// only ones a model knows, if it does not know all.
    ///
    /// # Errors
    /// If the source is wrong.
    pub fn teachable(&self, words: Option<&Tokenizer>) -> Result<Teachable, Fault> {
        let Some(catalogue) = self.catalogue(Split::Train)? else {
            return Ok(Teachable { questions: true, captions: true });
        };
        Ok(Teachable {
            questions: catalogue.questions.iter().any(|it| can_learn(words, it)),
            captions: catalogue.captions.iter().any(|it| can_draw(words, it)),
        })
    }

    /// Checks a source before anything is started: every file, id and image is there and can be
    /// read, and each member has a part. Returns those, by roster number, who will sit out: they
    /// have nothing that a model of only these words can learn.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self, words: Option<&Tokenizer>) -> Result<Vec<usize>, Fault> {
        if let Self::Scenes { share, count, .. } = self {
            let (examples, members) = (scene_count(share, *count), share.of);
            return match examples < members {
                true => Err(too_few(PartitionError::TooFew { examples, members })),
                false => Ok(Vec::new()),
            };
        }
        let train = self.catalogue(Split::Train)?.unwrap_or_default();
        let held_out = self.catalogue(Split::Val)?.unwrap_or_default();
        let parts = self.share().parts(&train.questions, &train.captions)?;
        train.check_images().map_err(bad_data)?;
        held_out.check_images().map_err(bad_data)?;
        let is_idle = |part: &Part| {
            let mut questions = part.questions.iter().map(|index| &train.questions[*index]);
            let mut captions = part.captions.iter().map(|index| &train.captions[*index]);
            !questions.any(|it| can_learn(words, it)) && !captions.any(|it| can_draw(words, it))
        };
        if words.is_none() {
            return Ok(Vec::new());
        }
        let idle: Vec<_> = (0..parts.len()).filter(|index| is_idle(&parts[*index])).collect();
        if idle.len() == parts.len() {
            let message = format!("{self} has nothing the model can be taught");
            return Err(Fault::input(message)
                .hint("it learns questions and captions of words it knows: witan ask --words"));
        }
        Ok(idle)
    }

    /// A split of the source's files; none of the scenes, which are drawn.
    fn catalogue(&self, split: Split) -> Result<Option<Catalogue>, Fault> {
        let read = match self {
            Self::Scenes { .. } => return Ok(None),
            Self::Captions { path, .. } => captions::read(path, split),
            Self::Vqa { path, captions: None, .. } => vqa_v2::read(path, split),
            Self::Vqa { path, captions: Some(file), .. } => vqa_v2::read(path, split)
                .and_then(|asked| Ok(asked.with_captions(captions::read(file, split)?))),
        };
        read.map(Some).map_err(bad_data)
    }
}

impl Share {
    fn parts(
        &self,
        questions: &[VqaExample],
        captions: &[CaptionExample],
    ) -> Result<Vec<Part>, Fault> {
        let how = match (self.by, self.alpha) {
            (Some(By::AnswerType), _) => Partition::ByAnswerType,
            (Some(By::Modality), _) => Partition::ByModality,
            (None, Some(alpha)) => Partition::Dirichlet(alpha),
            (None, None) => Partition::Iid,
        };
        partition::parts(questions, captions, self.of, how, self.seed).map_err(too_few)
    }
}

/// Whether a question can be trained on: all its words are known, and its answer is one of them.
pub fn can_learn(words: Option<&Tokenizer>, example: &VqaExample) -> bool {
    let is_word = |words: &Tokenizer| words.encode(&example.answer).is_ok_and(|it| it.len() == 1);
    words.is_none_or(|words| is_word(words) && words.encode(&example.question).is_ok())
}

/// Whether a caption can be drawn: all its words are known.
pub(crate) fn can_draw(words: Option<&Tokenizer>, caption: &CaptionExample) -> bool {
    words.is_none_or(|words| words.encode(&caption.caption).is_ok())
}

fn scene_count(share: &Share, count: Option<usize>) -> usize {
    count.unwrap_or(share.of * SCENES_PER_MEMBER)
}

fn too_few(error: PartitionError) -> Fault {
    Fault::input(error).hint("use fewer members")
}

fn bad_data(error: DataError) -> Fault {
    let hint = match &error.0 {
        Problem::Line { .. }
        | Problem::NoLine { .. }
        | Problem::NoCaption { .. }
        | Problem::NoImageFile { .. } => PAIR_HINT,
        _ => "`python3 scripts/easy_vqa.py DIR` makes a folder that can be read",
    };
    Fault::input(error).hint(hint)
}

const PAIR_HINT: &str =
    "a line of captions is such as {\"image\": \"a.png\", \"caption\": \"a red circle\"}";
/// Scenes of the embedded data for each member of a testnet.
pub const SCENES_PER_MEMBER: usize = 300;
/// The part of its pictures that a member keeps aside for its own scores, in thousandths.
const HELD_OUT_PER_MILLE: u32 = 100;
/// Questions of a sample from a folder: two points of accuracy are one standard error, and the
/// sample takes about as long as the embedded scenes do.
const SAMPLE_QUESTIONS_MAX: usize = 600;
/// Drawings of a sample, as many as of the embedded scenes.
const SAMPLE_DRAWINGS_MAX: usize = 240;

#[cfg(test)]
mod tests;
