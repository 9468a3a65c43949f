//! The model with an adapter, for people: answers and drawings.

use std::fmt::Display;
use std::path::Path;

use witan_home::Failure;
use witan_model::Umm;
use witan_model::data::Picture;
use witan_model::data::tokenizer::{Tokenizer, WordError};
use witan_model::sheet::{Sheet, Tile};

use super::chosen::{Chosen, Source};
use super::device::{self, Compute};

/// A loaded model.
pub struct Speaker {
    umm: Umm,
}

impl Speaker {
    /// Loads the base with an adapter.
    ///
    /// # Errors
    /// If there is no such device, or the adapter cannot be read.
    pub fn new(source: Source<'_>, compute: Compute) -> Result<Self, Failure> {
        let device = device::open(compute)?;
        Ok(Self { umm: Chosen::read(source)?.umm(&device)? })
    }

    /// The answer to a question about the picture in a file.
    ///
    /// # Errors
    /// If the file is no picture, or a word is unknown.
    pub fn answer(&self, image: &Path, question: &str) -> Result<String, Failure> {
        let named = |error: &dyn Display| {
            Failure::input(format!("{}: {error}", image.display()))
                .hint("give a PNG or JPEG file; `witan draw` makes one")
        };
        has_words(question)?;
        let bytes = std::fs::read(image).map_err(|error| named(&error))?;
        let picture = Picture::from_bytes(&bytes).map_err(|error| named(&error))?;
        self.umm.answer(&picture, question).map_err(unknown)
    }

    /// A drawing as PNG bytes.
    ///
    /// # Errors
    /// If a word is unknown.
    pub fn draw(&self, caption: &str, seed: u64) -> Result<Vec<u8>, Failure> {
        has_words(caption)?;
        let mut drawn = self.umm.draw(&[caption], seed).map_err(unknown)?;
        drawn.swap_remove(0).to_png().map_err(Failure::input)
    }

    /// The drawings of many captions on one sheet, as PNG bytes; caption `i` starts from stream `i` of the seed's noise.
    ///
    /// # Errors
    /// If a word is unknown.
    pub fn draw_sheet(&self, captions: &[String], seed: u64) -> Result<Vec<u8>, Failure> {
        let lines: Vec<&str> = captions.iter().map(String::as_str).collect();
        let drawn = self.umm.draw(&lines, seed).map_err(unknown)?;
        let tiles = drawn.into_iter().zip(captions);
        let tiles = tiles.map(|(picture, text)| Tile { picture, text: text.clone() }).collect();
        let sheet = Sheet { tiles, columns: COLUMNS, scale: SCALE, ..Sheet::default() };
        sheet.to_png().map_err(Failure::input)
    }
}

/// The words that a question or caption may hold, in alphabetical order.
pub fn words() -> Vec<String> {
    Tokenizer::new().words().into_iter().map(str::to_owned).collect()
}

fn has_words(text: &str) -> Result<(), Failure> {
    match text.trim().is_empty() {
        true => Err(Failure::usage("the text is empty")
            .hint("such as \"what colour is the circle?\" or \"a red circle\"")),
        false => Ok(()),
    }
}

fn unknown(error: WordError) -> Failure {
    Failure::input(error).hint("`witan ask --words` lists every word it knows")
}

const COLUMNS: usize = 6;
const SCALE: usize = 2;
