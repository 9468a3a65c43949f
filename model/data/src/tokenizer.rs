//! Text to tokens: by the embedded model's closed list of words, or by a checkpoint's own
//! `tokenizer.json`.

mod subwords;
mod words;

pub use subwords::{TextError, TextTokenizer};
pub use words::{ANS, BOS, EOS, ExportError, IMG, PAD, Tokenizer, WordError};
