//! A member's data encoded for training: frozen features of every picture, and tokens.
//!
//! The vision encoder and the projector never change after pre-training, hence each picture
//! passes them once.

use std::ops::Range;

use burn::tensor::{Device, Tensor, TensorData};
use witan_data::Part;
use witan_data::tokenizer::{ANS, IMG, Tokenizer, WordError};
use witan_data::{Dataset, Picture};

use crate::families::tiny::cells::{PICTURE_SIDE, PICTURE_TOKENS};
use crate::families::tiny::config::ModelConfig;
use crate::families::tiny::patches::to_patches;
use crate::families::tiny::vision::pixels;
use crate::families::tiny::{Network, Umm};
use crate::host::floats;

/// A question in tokens, ending where the answer is due.
#[derive(Clone, Debug)]
pub struct EncodedQuestion {
    /// Index of the picture asked about.
    pub picture: usize,
    /// The known words and the answer mark.
    pub tokens: Vec<u32>,
    /// The token of the one-word answer; none, and then not trained on, if the answer is no
    /// single known word or the question holds an unknown one.
    pub answer: Option<u32>,
}

/// A caption in tokens, ending where the image queries follow.
#[derive(Clone, Debug)]
pub struct EncodedCaption {
    /// Index of the picture described.
    pub picture: usize,
    /// The words and the drawing mark.
    pub tokens: Vec<u32>,
}

/// Pictures as frozen features, questions and captions as tokens.
#[derive(Clone, Debug, Default)]
pub struct EncodedShard {
    /// What the projector makes of every picture.
    pub tokens: FeatureTable,
    /// What a drawing of it should become.
    pub targets: FeatureTable,
    /// The questions.
    pub questions: Vec<EncodedQuestion>,
    /// The captions.
    pub captions: Vec<EncodedCaption>,
    /// Questions asked only in part and captions left out, for their unknown words.
    skipped: usize,
    /// The first of those words.
    unknown: Option<WordError>,
}

/// One row of `16 * width` values a picture.
#[derive(Clone, Debug, Default)]
pub struct FeatureTable {
    values: Vec<f32>,
    width: usize,
}

impl EncodedShard {
    /// Encodes a member's data with the frozen parts of the model.
    ///
    /// Real questions hold words the tokenizer does not know. Such a question keeps its place and
    /// its known words, to be answered but not trained on; such a caption is left out.
    /// [`EncodedShard::skipped_count`] tells how many there were, [`EncodedShard::unknown`] the
    /// first of those words.
    pub fn encode(umm: &Umm, data: &Dataset) -> EncodedShard {
        let network = umm.frozen();
        let (merged, targets) = picture_features(&network, umm.config(), &data.pictures);
        let tokens = merged.map(&network.device(), |merged| network.project(merged));
        EncodedShard::with_features(umm.tokenizer(), data, tokens, targets)
    }

    /// A part of `data`, which this shard encodes whole: no picture is encoded again, and all stay.
    ///
    /// Panics where an index is out of range.
    pub fn part(&self, umm: &Umm, data: &Dataset, part: &Part) -> EncodedShard {
        let examples = Dataset {
            pictures: Vec::new(),
            questions: part.questions.iter().map(|index| data.questions[*index].clone()).collect(),
            captions: part.captions.iter().map(|index| data.captions[*index].clone()).collect(),
        };
        let (tokens, targets) = (self.tokens.clone(), self.targets.clone());
        EncodedShard::with_features(umm.tokenizer(), &examples, tokens, targets)
    }

    /// Puts tokenised questions and captions beside features already computed.
    pub fn with_features(
        tokenizer: &Tokenizer,
        data: &Dataset,
        tokens: FeatureTable,
        targets: FeatureTable,
    ) -> EncodedShard {
        let mut shard = EncodedShard { tokens, targets, ..EncodedShard::default() };
        for example in &data.questions {
            let answer = answer_token(tokenizer, &example.answer);
            let (tokens, answer) = match question_tokens(tokenizer, &example.question) {
                Ok(tokens) => (tokens, answer),
                Err(word) => {
                    shard.skip(word);
                    (known_tokens(tokenizer, &example.question), None)
                }
            };
            shard.questions.push(EncodedQuestion { picture: example.picture, tokens, answer });
        }
        for example in &data.captions {
            match caption_tokens(tokenizer, &example.caption) {
                Ok(tokens) => {
                    shard.captions.push(EncodedCaption { picture: example.picture, tokens })
                }
                Err(word) => shard.skip(word),
            }
        }
        shard
    }

    /// The first unknown word, if one was met.
    pub fn unknown(&self) -> Option<&WordError> {
        self.unknown.as_ref()
    }

    fn skip(&mut self, word: WordError) {
        self.skipped += 1;
        self.unknown.get_or_insert(word);
    }

    /// Adds another shard's pictures, questions and captions behind this one's.
    pub fn append(&mut self, other: EncodedShard) {
        let pictures = self.targets.values.len() / (PICTURE_TOKENS * self.targets.width);
        self.tokens.values.extend(other.tokens.values);
        self.targets.values.extend(other.targets.values);
        let questions = other.questions.into_iter();
        self.questions
            .extend(questions.map(|q| EncodedQuestion { picture: q.picture + pictures, ..q }));
        let captions = other.captions.into_iter();
        self.captions
            .extend(captions.map(|c| EncodedCaption { picture: c.picture + pictures, ..c }));
        self.skipped += other.skipped;
        self.unknown = self.unknown.take().or(other.unknown);
    }

    /// How many questions can be trained on, and how many captions.
    pub fn example_count(&self) -> usize {
        self.questions.iter().filter(|question| question.answer.is_some()).count()
            + self.captions.len()
    }

    /// How many captions can be trained on.
    pub fn caption_count(&self) -> usize {
        self.captions.len()
    }

    /// How many questions and captions are not trained on because of an unknown word.
    pub fn skipped_count(&self) -> usize {
        self.skipped
    }

    /// How many questions there are.
    pub fn question_count(&self) -> usize {
        self.questions.len()
    }
}

impl FeatureTable {
    /// Values of one picture.
    pub(crate) fn row_len(&self) -> usize {
        PICTURE_TOKENS * self.width
    }

    /// The rows of some pictures: `[rows, 16, width]`.
    pub fn rows(&self, pictures: &[usize], device: &Device) -> Tensor<3> {
        let row = self.row_len();
        let mut values = Vec::with_capacity(pictures.len() * row);
        for &picture in pictures {
            values.extend_from_slice(&self.values[picture * row..(picture + 1) * row]);
        }
        Tensor::from_data(
            TensorData::new(values, [pictures.len(), PICTURE_TOKENS, self.width]),
            device,
        )
    }

    /// The table with every row passed through `map`, in chunks.
    pub(crate) fn map(
        &self,
        device: &Device,
        map: impl Fn(Tensor<3>) -> Tensor<3>,
    ) -> FeatureTable {
        let count = self.values.len() / (PICTURE_TOKENS * self.width);
        let mut table = FeatureTable { values: Vec::new(), width: self.width };
        for chunk in chunks(count) {
            let mapped = map(self.rows(&chunk.collect::<Vec<_>>(), device));
            table.width = mapped.dims()[2];
            table.values.extend(floats(mapped));
        }
        table
    }
}

/// The merged vision tokens and the normalised patches of cells of every picture.
pub fn picture_features(
    network: &Network,
    config: &ModelConfig,
    pictures: &[Picture],
) -> (FeatureTable, FeatureTable) {
    let mut tokens = FeatureTable { values: Vec::new(), width: 0 };
    let mut targets = FeatureTable { values: Vec::new(), width: 0 };
    for chunk in chunks(pictures.len()) {
        let chunk = pictures[chunk].iter().map(|picture| &picture.pixels[..]);
        let read = network.vision.forward(pixels(chunk, &network.device()), config);
        let merged = to_patches(read.clone());
        let patches = to_patches(network.vision.features(read));
        tokens.width = merged.dims()[2];
        targets.width = patches.dims()[2];
        tokens.values.extend(floats(merged));
        targets.values.extend(floats(patches));
    }
    (tokens, targets)
}

/// The tokens of a question, ending where the answer is due.
pub(crate) fn question_tokens(
    tokenizer: &Tokenizer,
    question: &str,
) -> Result<Vec<u32>, WordError> {
    let mut tokens = tokenizer.encode(question)?;
    tokens.push(ANS);
    Ok(tokens)
}

/// What is left of a question without its unknown words.
fn known_tokens(tokenizer: &Tokenizer, question: &str) -> Vec<u32> {
    let known = question.split_whitespace().filter_map(|word| tokenizer.encode(word).ok());
    known.flatten().chain([ANS]).collect()
}

/// The tokens of a caption, ending where the image queries follow.
pub(crate) fn caption_tokens(tokenizer: &Tokenizer, caption: &str) -> Result<Vec<u32>, WordError> {
    let mut tokens = tokenizer.encode(caption)?;
    tokens.push(IMG);
    Ok(tokens)
}

fn answer_token(tokenizer: &Tokenizer, answer: &str) -> Option<u32> {
    match tokenizer.encode(answer).ok()?[..] {
        [token] => Some(token),
        _ => None,
    }
}

pub(crate) fn chunks(count: usize) -> impl Iterator<Item = Range<usize>> {
    (0..count).step_by(CHUNK).map(move |start| start..(start + CHUNK).min(count))
}

/// Pictures or questions computed at once outside training: large enough for speed, small enough
/// for memory.
const CHUNK: usize = 64;
const _: () = assert!(PICTURE_SIDE == witan_data::picture::SIDE);
