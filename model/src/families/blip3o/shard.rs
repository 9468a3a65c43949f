//! A member's data as BLIP3o reads them.
//!
//! Texts are tokens once and for all. Pictures stay in their files, because they are large: what
//! the frozen encoder saw of them is kept as far as a bound allows, what drawings of the captioned
//! ones should become lies in files too.

use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use image::RgbImage;
use witan_data::tokenizer::TextTokenizer;
use witan_data::{CaptionExample, Dataset, Picture, VqaExample};

use super::error::ReadError;
use super::pixels::PixelBounds;
use super::prompt::{self, Prompt};
use super::targets::Targets;
use super::variant::LUMINA;
use super::{Blip3o, Seen};

/// Texts and pictures to what BLIP3o reads.
#[derive(Clone, Debug)]
pub struct Reader {
    tokenizer: TextTokenizer,
    bounds: PixelBounds,
}

/// A member's data.
pub struct Shard {
    pictures: Vec<Picture>,
    bounds: PixelBounds,
    pub(super) questions: Vec<Asked>,
    pub(super) captions: Vec<Captioned>,
    /// Of the captioned pictures; none without a tower.
    targets: Option<Targets>,
    seen: Vec<OnceLock<Seen>>,
    /// Numbers kept of what was seen.
    kept: AtomicUsize,
    /// Captions left out because there is no tower.
    undrawable: usize,
}

/// A question in tokens, with one token for the picture however many it has.
pub(super) struct Asked {
    pub(super) picture: usize,
    pub(super) text: Vec<u32>,
    pub(super) answer: Vec<u32>,
}

pub(super) struct Captioned {
    pub(super) picture: usize,
    pub(super) text: Vec<u32>,
}

impl Reader {
    /// The tokenizer and the pixel bounds of a checkpoint's folder.
    ///
    /// # Errors
    /// If one of them is malformed.
    pub fn open(folder: &Path) -> Result<Reader, ReadError> {
        let tokenizer = TextTokenizer::open(folder)?;
        Ok(Reader { tokenizer, bounds: PixelBounds::of(folder)? })
    }

    /// A caption to draw, in tokens.
    ///
    /// # Errors
    /// If the tokenizer is another model's.
    pub fn caption(&self, blip3o: &Blip3o, caption: &str) -> Result<Vec<u32>, ReadError> {
        self.encode(blip3o, &prompt::caption(caption))
    }

    /// A question in tokens, with one token for its picture.
    ///
    /// # Errors
    /// If the tokenizer is another model's.
    pub fn question(&self, blip3o: &Blip3o, question: &str) -> Result<Vec<u32>, ReadError> {
        let text = self.encode(blip3o, &prompt::question(question, 1))?;
        match text.contains(&blip3o.config().image_token) {
            true => Ok(text),
            false => Err(foreign(blip3o)),
        }
    }

    /// What the frozen encoder sees in a picture.
    ///
    /// # Errors
    /// If it is too long.
    pub fn look(&self, blip3o: &Blip3o, picture: &RgbImage) -> Result<Seen, ReadError> {
        Ok(blip3o.look_at(picture, self.bounds)?)
    }

    /// The likeliest answer to a question in tokens about what was seen.
    ///
    /// # Errors
    /// If the tokenizer fails.
    pub fn answer(
        &self,
        blip3o: &Blip3o,
        seen: &Seen,
        question: &[u32],
        count: usize,
    ) -> Result<String, ReadError> {
        let text = unfolded(question, blip3o.config().image_token, seen.token_count());
        let said = blip3o.answer(seen, &text, self.tokenizer.token(prompt::END), count);
        Ok(self.tokenizer.decode(&said)?)
    }

    /// An answer to learn, and the token that ends it.
    fn answered(&self, blip3o: &Blip3o, answer: &str) -> Result<Vec<u32>, ReadError> {
        let end = self.tokenizer.token(prompt::END).ok_or_else(|| foreign(blip3o))?;
        let mut tokens = self.tokenizer.encode_said(answer)?;
        tokens.push(end);
        known(blip3o, tokens)
    }

    fn encode(&self, blip3o: &Blip3o, prompt: &Prompt) -> Result<Vec<u32>, ReadError> {
        let tokenizer = &self.tokenizer;
        let said = tokenizer.encode_said(&prompt.said)?;
        let parts = [tokenizer.encode(&prompt.before)?, said, tokenizer.encode(&prompt.after)?];
        known(blip3o, parts.concat())
    }
}

impl Shard {
    /// Reads a member's data; its captions too, if there are targets for them.
    ///
    /// # Errors
    /// If the tokenizer is another model's.
    pub fn encode(
        blip3o: &Blip3o,
        reader: &Reader,
        data: &Dataset,
        targets: Option<Targets>,
    ) -> Result<Shard, ReadError> {
        let ask = |example: &VqaExample| -> Result<Asked, ReadError> {
            Ok(Asked {
                picture: example.picture,
                text: reader.question(blip3o, &example.question)?,
                answer: reader.answered(blip3o, &example.answer)?,
            })
        };
        let drawn = if targets.is_some() { &data.captions[..] } else { &[] };
        let say = |example: &CaptionExample| -> Result<Captioned, ReadError> {
            let text = reader.caption(blip3o, &example.caption)?;
            Ok(Captioned { picture: example.picture, text })
        };
        Ok(Shard {
            questions: data.questions.iter().map(ask).collect::<Result<_, _>>()?,
            captions: drawn.iter().map(say).collect::<Result<_, _>>()?,
            targets,
            seen: data.pictures.iter().map(|_| OnceLock::new()).collect(),
            pictures: data.pictures.clone(),
            bounds: reader.bounds,
            kept: AtomicUsize::new(0),
            undrawable: data.captions.len() - drawn.len(),
        })
    }

    /// How many questions and captions can be trained on.
    pub fn example_count(&self) -> usize {
        self.questions.len() + self.captions.len()
    }

    /// How many captions are left out because there is no tower.
    pub fn undrawable_count(&self) -> usize {
        self.undrawable
    }

    /// The likeliest answer to a question.
    ///
    /// Panics if there is no such question.
    ///
    /// # Errors
    /// If a picture cannot be read any more, or the tokenizer fails.
    pub fn answer(
        &self,
        blip3o: &Blip3o,
        reader: &Reader,
        question: usize,
    ) -> Result<String, ReadError> {
        let asked = &self.questions[question];
        let seen = self.see(blip3o, asked.picture)?;
        reader.answer(blip3o, &seen, &asked.text, LUMINA.training.answer_tokens_max)
    }

    pub(super) fn target(&self, picture: usize) -> Result<Vec<f32>, ReadError> {
        self.targets.as_ref().expect("captions are read only with targets").of(picture)
    }

    pub(super) fn see(&self, blip3o: &Blip3o, picture: usize) -> Result<Seen, ReadError> {
        if let Some(seen) = self.seen[picture].get() {
            return Ok(seen.clone());
        }
        let shown = &self.pictures[picture];
        let seen = blip3o
            .look_at(&shown.whole()?, self.bounds)
            .map_err(|error| ReadError::of(shown, error))?;
        let numbers = seen.token_count() * blip3o.config().trunk.language.hidden_size;
        if self.kept.load(Ordering::Relaxed) + numbers <= LUMINA.training.encoded_numbers_max {
            self.kept.fetch_add(numbers, Ordering::Relaxed);
            let _ = self.seen[picture].set(seen.clone());
        }
        Ok(seen)
    }
}

/// A text with `count` tokens of the picture in place of one.
pub(super) fn unfolded(text: &[u32], image: u32, count: usize) -> Vec<u32> {
    let times = |token: &u32| std::iter::repeat_n(*token, if *token == image { count } else { 1 });
    text.iter().flat_map(times).collect()
}

/// Refuses tokens that the model has no embedding for.
fn known(blip3o: &Blip3o, tokens: Vec<u32>) -> Result<Vec<u32>, ReadError> {
    let rows = blip3o.config().trunk.language.vocab_size;
    match tokens.iter().all(|token| (*token as usize) < rows) {
        true => Ok(tokens),
        false => Err(foreign(blip3o)),
    }
}

fn foreign(blip3o: &Blip3o) -> ReadError {
    let config = blip3o.config();
    ReadError::Foreign { image: config.image_token, rows: config.trunk.language.vocab_size }
}
