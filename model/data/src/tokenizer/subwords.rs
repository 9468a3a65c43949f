//! A checkpoint's own tokenizer, as its `tokenizer.json` describes it.

use std::path::{Path, PathBuf};

/// Text to tokens and back.
#[derive(Clone, Debug)]
pub struct TextTokenizer {
    all: tokenizers::Tokenizer,
    /// To which special tokens are text like any other.
    plain: tokenizers::Tokenizer,
}

/// What a tokenizer cannot do.
#[derive(Debug, thiserror::Error)]
pub enum TextError {
    /// The file is missing or describes none.
    #[error("{} is no tokenizer: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: tokenizers::Error,
    },
    /// A text that it has no tokens for.
    #[error("the text {text:?} has no tokens")]
    Empty {
        /// The text.
        text: String,
    },
    /// The tokenizer itself failed.
    #[error("the tokenizer failed: {0}")]
    Tokenizer(#[source] tokenizers::Error),
}

impl TextTokenizer {
    /// Reads `tokenizer.json` of a folder.
    pub fn open(folder: &Path) -> Result<TextTokenizer, TextError> {
        let path = folder.join("tokenizer.json");
        let read = tokenizers::Tokenizer::from_file(&path);
        let all = read.map_err(|source| TextError::File { path, source })?;
        let mut plain = all.clone();
        plain.set_encode_special_tokens(true);
        Ok(TextTokenizer { all, plain })
    }

    /// The tokens of a text, at least one, with whatever the tokenizer puts around it.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, TextError> {
        let encoding = self.all.encode(text, true).map_err(TextError::Tokenizer)?;
        match encoding.get_ids() {
            [] => Err(TextError::Empty { text: text.to_owned() }),
            tokens => Ok(tokens.to_vec()),
        }
    }

    /// The tokens of a user's text, in which `<|im_end|>` and the like are letters; maybe none.
    pub fn encode_said(&self, text: &str) -> Result<Vec<u32>, TextError> {
        let encoding = self.plain.encode(text, false).map_err(TextError::Tokenizer)?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The token of this very text, such as `<|im_end|>`, if there is one.
    pub fn token(&self, text: &str) -> Option<u32> {
        self.all.token_to_id(text)
    }

    /// The text of tokens, without special ones.
    pub fn decode(&self, tokens: &[u32]) -> Result<String, TextError> {
        self.all.decode(tokens, true).map_err(TextError::Tokenizer)
    }
}
