//! A member's data: read from where `node.toml` says, cut to this member's share, and split into what
//! it trains on and what it keeps aside to score with. Data never leave the thread that reads them.

use std::fmt::Write;

use witan_home::Failure;
use witan_home::settings::{By, DataSource, Share};
use witan_model::data::catalogue::Catalogue;
use witan_model::data::partition::{self, Part, Partition, PartitionError};
use witan_model::data::scenes::{self, PromptCase};
use witan_model::data::tokenizer::Tokenizer;
use witan_model::data::vocabulary::Vocabulary;
use witan_model::data::vqa_v2::{self, Split};
use witan_model::data::{CaptionExample, DataError, Dataset, VqaExample, captions};
use witan_model::families::tiny::shard as encoded;
use witan_protocol::digest::Digest;

/// A member's data.
#[derive(Clone, Debug)]
pub struct Shard {
    /// Trained on.
    pub training: Dataset,
    /// Scored on, never trained on.
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
    /// Of all that is asked and said, and of what; pictures by their names.
    pub fn digest(&self) -> Digest {
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
        Digest::of_kind("witan training data", all.as_bytes())
    }
}

/// What no member trains on: the federation's held-out questions and prompts.
#[derive(Clone, Debug)]
pub struct ExamPaper {
    /// The questions, with their pictures.
    pub dataset: Dataset,
    /// The prompts; none where the source has no captions.
    pub prompts: Vec<PromptCase>,
}

/// Reads a member's data; of a folder of images, only this member's are decoded.
///
/// # Errors
/// If the source is wrong, or has too little for so many members.
pub fn read(source: &DataSource) -> Result<Shard, Failure> {
    let share = source.share();
    let mine = match catalogue(source, Split::Train)? {
        None => {
            let Pool { whole, parts } = pool(source)?;
            whole.subset(&parts[share.index].questions, &parts[share.index].captions)
        }
        Some(catalogue) => {
            let parts = parts(&catalogue.questions, &catalogue.captions, share)?;
            let part = &parts[share.index];
            catalogue.subset(&part.questions, &part.captions).map_err(bad_data)?
        }
    };
    let (training, held_out) = mine.split_held_out(HELD_OUT_PER_MILLE);
    Ok(Shard { training, held_out })
}

/// Reads every member's data.
///
/// # Errors
/// If the source is wrong, or has too little for so many members.
pub fn pool(source: &DataSource) -> Result<Pool, Failure> {
    let share = source.share();
    let whole = match source {
        DataSource::Scenes { seed, count, .. } => {
            scenes::dataset(Vocabulary::Domain, *seed, scene_count(share, *count))
        }
        DataSource::Vqa { .. } | DataSource::Captions { .. } => {
            let catalogue = catalogue(source, Split::Train)?;
            catalogue.unwrap_or_default().whole().map_err(bad_data)?
        }
    };
    let parts = parts(&whole.questions, &whole.captions, share)?;
    Ok(Pool { whole, parts })
}

/// How much of a folder's validation split an exam is; of the scenes, it is always all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// A bounded sample, chosen by the seed of the partition: for the exam after each round.
    Sample,
    /// All of it.
    Whole,
}

/// Reads the exam.
///
/// # Errors
/// If the source is wrong.
pub fn exam(source: &DataSource, extent: Extent) -> Result<ExamPaper, Failure> {
    if let DataSource::Scenes { seed, .. } = source {
        let (dataset, prompts) = scenes::held_out(*seed);
        return Ok(ExamPaper { dataset, prompts });
    }
    let catalogue = catalogue(source, Split::Val)?.unwrap_or_default();
    let dataset = match extent {
        Extent::Sample => {
            catalogue.sample(EXAM_QUESTIONS_MAX, EXAM_DRAWINGS_MAX, source.share().seed)
        }
        Extent::Whole => catalogue.whole(),
    };
    let dataset = dataset.map_err(bad_data)?;
    let prompts = dataset.captions.iter().filter_map(prompt_case).collect();
    Ok(ExamPaper { dataset, prompts })
}

/// Of which kinds a source has what a model can be taught.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taught {
    /// Whether it has such questions.
    pub questions: bool,
    /// Whether it has such captions.
    pub captions: bool,
}

impl Taught {
    /// Looks through a source's questions and captions, of all members; no image is read. A model without `words` of
    /// its own knows them all.
    ///
    /// # Errors
    /// If the source is wrong.
    pub fn of(source: &DataSource, words: Option<&Tokenizer>) -> Result<Self, Failure> {
        let Some(catalogue) = catalogue(source, Split::Train)? else {
            return Ok(Self { questions: true, captions: true });
        };
        let is_asked = |it: &VqaExample| words.is_none_or(|words| encoded::is_taught(words, it));
        Ok(Self {
            questions: catalogue.questions.iter().any(is_asked),
            captions: catalogue
                .captions
                .iter()
                .any(|it| words.is_none_or(|words| is_said(words, it))),
        })
    }
}

/// Checks a source before anything is started: every file, id and image is there and can be read,
/// and each member has a part. Returns those, by roster number, who will sit out: they have nothing
/// that a model of only these words can be taught.
///
/// # Errors
/// The first thing that is wrong.
pub fn check(source: &DataSource, words: Option<&Tokenizer>) -> Result<Vec<usize>, Failure> {
    if let DataSource::Scenes { share, count, .. } = source {
        let (examples, members) = (scene_count(share, *count), share.of);
        return match examples < members {
            true => Err(too_few(PartitionError::TooFew { examples, members })),
            false => Ok(Vec::new()),
        };
    }
    let train = catalogue(source, Split::Train)?.unwrap_or_default();
    let held_out = catalogue(source, Split::Val)?.unwrap_or_default();
    let parts = parts(&train.questions, &train.captions, source.share())?;
    train.check_images().map_err(bad_data)?;
    held_out.check_images().map_err(bad_data)?;
    let Some(words) = words else { return Ok(Vec::new()) };
    let is_idle = |part: &Part| {
        let mut questions = part.questions.iter().map(|index| &train.questions[*index]);
        let mut captions = part.captions.iter().map(|index| &train.captions[*index]);
        !questions.any(|question| encoded::is_taught(words, question))
            && !captions.any(|caption| is_said(words, caption))
    };
    let idle: Vec<_> = (0..parts.len()).filter(|index| is_idle(&parts[*index])).collect();
    if idle.len() == parts.len() {
        let message = format!("{source} has nothing the model can be taught");
        return Err(Failure::input(message)
            .hint("it learns questions and captions of words it knows: witan ask --words"));
    }
    Ok(idle)
}

fn is_said(words: &Tokenizer, caption: &CaptionExample) -> bool {
    words.encode(&caption.caption).is_ok()
}

/// A caption as a prompt to draw from; none if no rule says what a right drawing is.
pub fn prompt_case(caption: &CaptionExample) -> Option<PromptCase> {
    Some(PromptCase { prompt: caption.prompt.clone()?, is_new: caption.is_new })
}

fn parts(
    questions: &[VqaExample],
    captions: &[CaptionExample],
    share: &Share,
) -> Result<Vec<Part>, Failure> {
    let how = match (share.by, share.alpha) {
        (Some(By::AnswerType), _) => Partition::ByAnswerType,
        (Some(By::Modality), _) => Partition::ByModality,
        (None, Some(alpha)) => Partition::Dirichlet(alpha),
        (None, None) => Partition::Iid,
    };
    partition::parts(questions, captions, share.of, how, share.seed).map_err(too_few)
}

fn too_few(error: PartitionError) -> Failure {
    Failure::input(error).hint("use fewer members")
}

fn scene_count(share: &Share, count: Option<usize>) -> usize {
    count.unwrap_or(share.of * SCENES_PER_MEMBER)
}

/// A split of a source's files; none of the scenes, which are drawn.
fn catalogue(source: &DataSource, split: Split) -> Result<Option<Catalogue>, Failure> {
    let read = match source {
        DataSource::Scenes { .. } => return Ok(None),
        DataSource::Captions { path, .. } => captions::read(path, split),
        DataSource::Vqa { path, captions: None, .. } => vqa_v2::read(path, split),
        DataSource::Vqa { path, captions: Some(file), .. } => vqa_v2::read(path, split)
            .and_then(|asked| Ok(asked.with_captions(captions::read(file, split)?))),
    };
    read.map(Some).map_err(bad_data)
}

fn bad_data(error: DataError) -> Failure {
    let is_of_pairs = matches!(
        error,
        DataError::Line { .. }
            | DataError::NoLine { .. }
            | DataError::NoCaption { .. }
            | DataError::NoImageFile { .. }
    );
    Failure::input(error).hint(match is_of_pairs {
        true => {
            "a line of captions is such as {\"image\": \"a.png\", \"caption\": \"a red circle\"}"
        }
        false => "`python3 scripts/easy_vqa.py DIR` makes a folder that can be read",
    })
}

/// Scenes of the embedded data for each member of a testnet.
pub const SCENES_PER_MEMBER: usize = 300;
/// The part of its pictures that a member keeps aside for its own scores, in thousandths.
const HELD_OUT_PER_MILLE: u32 = 100;
/// Questions of an exam from a folder: two points of accuracy are one standard error, and an exam
/// takes about as long as that of the embedded scenes.
const EXAM_QUESTIONS_MAX: usize = 600;
/// Drawings of such an exam, as many as of the embedded scenes.
const EXAM_DRAWINGS_MAX: usize = 240;

#[cfg(test)]
mod tests;
