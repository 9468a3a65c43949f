//! Words to numbers: one token a word, lower-case, "?" on its own.
//!
//! The list is fixed by code, so every member has the same ids: the specials, the base vocabulary,
//! the words of easy-VQA, the new words, then reserved places up to a multiple of eight. A word
//! outside the list is the caller's error and is named; nothing is ever silently replaced.

use std::path::Path;

use thiserror::Error;
use tokenizers::models::wordlevel::WordLevel;
use tokenizers::normalizers::Lowercase;
use tokenizers::pre_tokenizers::whitespace::Whitespace;
use tokenizers::{
    AddedToken, NormalizedString, Normalizer, OffsetReferential, OffsetType, PreTokenizedString,
    PreTokenizer,
};

use crate::vocabulary::{Colour, NEW_WORDS, Shape, Vocabulary, is_new_word, number_word, plural};

/// Fills short sequences; never learnt.
pub const PAD: u32 = 0;
/// Opens every sequence.
pub const BOS: u32 = 1;
/// Ends an answer.
pub const EOS: u32 = 2;
/// Asks for a drawing: the image queries follow.
pub const IMG: u32 = 3;
/// Stands between a question and its answer.
pub const ANS: u32 = 4;

/// A word-level tokenizer over the closed vocabulary of scenes and easy-VQA.
#[derive(Clone, Debug)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    words: Vec<String>,
}

/// A text holds a word that the model was never given.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("unknown word {word:?}; known words are for example {}", known.join(", "))]
pub struct WordError {
    /// The word, lower-case.
    pub word: String,
    /// Known words, those most like it first.
    pub known: Vec<String>,
}

/// The tokenizer file could not be written.
#[derive(Debug, Error)]
#[error("cannot write the tokenizer file")]
pub struct ExportError(#[source] tokenizers::Error);

impl Default for Tokenizer {
    fn default() -> Self {
        Self::new()
    }
}

impl Tokenizer {
    /// The tokenizer of every preset trained here. The ids never depend on anything but this file.
    pub fn new() -> Self {
        let words = word_list();
        let ids = words.iter().zip(0_u32..).map(|(word, id)| (word.clone(), id)).collect();
        let model = WordLevel::builder()
            .vocab(ids)
            .unk_token("<unk>".to_owned())
            .build()
            .expect("a word list without files always builds");
        let mut inner = tokenizers::Tokenizer::new(model);
        inner.with_normalizer(Some(Lowercase)).expect("no token is added yet");
        inner.with_pre_tokenizer(Some(Whitespace {}));
        let specials = SPECIALS.map(|special| AddedToken::from(special, true));
        inner.add_special_tokens(specials).expect("the specials are in the word list already");
        Self { inner, words }
    }

    /// The ids of a text's words, without specials.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, WordError> {
        let mut normalized = NormalizedString::from(text);
        Lowercase.normalize(&mut normalized).expect("lower-casing never fails");
        let mut pieces = PreTokenizedString::from(normalized);
        Whitespace {}.pre_tokenize(&mut pieces).expect("splitting at spaces never fails");
        let splits = pieces.get_splits(OffsetReferential::Original, OffsetType::Byte);
        splits
            .into_iter()
            .map(|(word, ..)| self.id(word).ok_or_else(|| self.unknown(word)))
            .collect()
    }

    /// The text of ids, words with one space between; specials and ids out of range are left out.
    pub fn decode(&self, ids: &[u32]) -> String {
        let words = ids.iter().filter(|id| **id >= SPECIALS.len() as u32);
        let words: Vec<&str> = words.filter_map(|id| self.word(*id)).collect();
        words.join(" ").replace(" ?", "?")
    }

    /// The id of a lower-case word, special or not.
    pub fn id(&self, word: &str) -> Option<u32> {
        self.inner.token_to_id(word)
    }

    /// The word of an id.
    pub fn word(&self, id: u32) -> Option<&str> {
        self.words.get(id as usize).map(String::as_str)
    }

    /// Every word that a text may hold, in alphabetical order.
    pub fn words(&self) -> Vec<&str> {
        let mut words: Vec<&str> = self.words.iter().map(String::as_str).collect();
        words.retain(|word| !word.starts_with('<'));
        words.sort_unstable();
        words
    }

    /// Rows of the embedding: a multiple of eight, at most 256.
    pub fn len(&self) -> usize {
        self.words.len()
    }

    /// Never; here because `len` is.
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// Whether the id is of a word held out of pre-training.
    pub fn is_new(&self, id: u32) -> bool {
        self.word(id).is_some_and(is_new_word)
    }

    /// Writes `tokenizer.json` in the format of Hugging Face's tokenizers.
    pub fn export(&self, path: &Path) -> Result<(), ExportError> {
        self.inner.save(path, true).map_err(ExportError)
    }

    fn unknown(&self, word: &str) -> WordError {
        let alike = |known: &str| {
            known.chars().zip(word.chars()).take_while(|(left, right)| left == right).count()
        };
        let mut known = self.words();
        known.retain(|known| known.len() > 2);
        known.sort_by_key(|known| std::cmp::Reverse(alike(known)));
        let known = known.into_iter().take(KNOWN_SHOWN).map(str::to_owned).collect();
        WordError { word: word.to_owned(), known }
    }
}

fn word_list() -> Vec<String> {
    let mut words: Vec<String> = SPECIALS.map(str::to_owned).to_vec();
    let mut add = |word: String| {
        if !words.contains(&word) {
            words.push(word);
        }
    };
    GRAMMAR.split_whitespace().for_each(|word| add(word.to_owned()));
    (1..=4).for_each(|count| add(number_word(count).to_owned()));
    for vocabulary in [Vocabulary::Base, Vocabulary::Domain] {
        for word in Shape::ALL.into_iter().filter_map(|shape| vocabulary.shape(shape)) {
            add(word.to_owned());
            add(plural(word));
        }
        Colour::ALL.into_iter().filter_map(|colour| vocabulary.colour(colour)).for_each(|word| {
            add(word.to_owned());
        });
    }
    NEW_WORDS.split(' ').for_each(|word| add(word.to_owned()));
    let missing = words.len().next_multiple_of(8) - words.len();
    words.extend((0..missing).map(|number| format!("<reserved{number}>")));
    words
}

const SPECIALS: [&str; 5] = ["<pad>", "<bos>", "<eos>", "<img>", "<ans>"];
/// Every other word of our templates and of easy-VQA's.
const GRAMMAR: &str = "? a an the yes no not is are there in of and left right above below what \
    how many colour color shape shapes thing image picture present does contain";
const KNOWN_SHOWN: usize = 6;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenes;

    #[test]
    fn the_list_is_a_multiple_of_eight_and_small() {
        let tokenizer = Tokenizer::new();
        assert_eq!(tokenizer.len() % 8, 0);
        assert!(tokenizer.len() <= 256);
        assert_eq!(
            ["<pad>", "<bos>", "<eos>", "<img>", "<ans>"].map(|word| tokenizer.id(word)),
            [Some(PAD), Some(BOS), Some(EOS), Some(IMG), Some(ANS)]
        );
        assert_eq!(tokenizer.inner.get_vocab_size(true), tokenizer.len());
    }

    #[test]
    fn text_round_trips() {
        let tokenizer = Tokenizer::new();
        let ids = tokenizer.encode("What colour is the  Circle?").unwrap();
        assert_eq!(ids.len(), 6);
        assert_eq!(tokenizer.decode(&ids), "what colour is the circle?");
        assert_eq!(tokenizer.decode(&[BOS, ids[0], EOS, 9999]), "what");
    }

    #[test]
    fn an_unknown_word_is_named_with_known_ones() {
        let error = Tokenizer::new().encode("a red circlet").unwrap_err();
        assert_eq!(error.word, "circlet");
        assert!(error.known.iter().any(|word| word == "circle"));
        assert!(error.to_string().starts_with("unknown word \"circlet\""));
        let tokenizer = Tokenizer::new();
        let words = tokenizer.words();
        assert!(words.is_sorted() && words.contains(&"?") && !words.contains(&"<pad>"));
        assert!(words.iter().all(|word| tokenizer.encode(word).is_ok()));
    }

    #[test]
    fn every_generated_text_encodes() {
        let tokenizer = Tokenizer::new();
        for vocabulary in [Vocabulary::Base, Vocabulary::Domain] {
            let data = scenes::dataset(vocabulary, 3, 1500);
            for question in &data.questions {
                let ids = tokenizer.encode(&question.question).unwrap();
                let answer = tokenizer.encode(&question.answer).unwrap();
                assert_eq!(tokenizer.decode(&ids), question.question);
                let is_new = ids.iter().chain(&answer).any(|id| tokenizer.is_new(*id));
                assert_eq!(is_new, question.is_new);
            }
            for caption in &data.captions {
                assert!(tokenizer.encode(&caption.caption).is_ok());
            }
        }
    }

    #[test]
    fn the_exported_file_reads_back_the_same() {
        let tokenizer = Tokenizer::new();
        let path = std::env::temp_dir().join(format!("witan-tokenizer-{}", std::process::id()));
        tokenizer.export(&path).unwrap();
        let read = tokenizers::Tokenizer::from_file(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let text = "is the crimson square left of a star?";
        let ids = read.encode(text, false).unwrap().get_ids().to_vec();
        assert_eq!(ids, tokenizer.encode(text).unwrap());
    }

    #[test]
    fn specials_cannot_be_written_into_a_question() {
        assert!(Tokenizer::new().encode("<img> a circle").is_err());
    }
}
