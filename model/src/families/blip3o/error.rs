//! Why data cannot be read for a BLIP3o.

use std::path::PathBuf;

use witan_data::tokenizer::TextError;
use witan_data::{DataError, Picture};

use super::pixels::{BoundsError, TooLong};

/// Why data cannot be read for a BLIP3o.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The tokenizer fails.
    #[error(transparent)]
    Text(#[from] TextError),
    /// The pixel bounds are malformed.
    #[error(transparent)]
    Bounds(#[from] BoundsError),
    /// A picture is gone or damaged.
    #[error(transparent)]
    Picture(#[from] DataError),
    /// What a drawing should become cannot be kept, or had back.
    #[error("{}: {source}", path.display())]
    Target {
        /// Its file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The tower makes nothing of a picture that could be learnt.
    #[error("{name}: the tower makes numbers of it that are not finite")]
    NotFinite {
        /// Where it lies.
        name: String,
    },
    /// A picture is too long.
    #[error("{name}: {error}")]
    Long {
        /// Where it lies.
        name: String,
        /// How long.
        error: TooLong,
    },
    /// A picture given as such is too long.
    #[error(transparent)]
    TooLong(#[from] TooLong),
    /// The tokenizer is another model's.
    #[error("tokenizer.json has no token {image} for pictures, or one beyond the model's {rows}")]
    Foreign {
        /// The model's token for pictures.
        image: u32,
        /// Tokens that the model knows.
        rows: usize,
    },
}

impl ReadError {
    pub(super) fn of(picture: &Picture, error: TooLong) -> ReadError {
        ReadError::Long { name: picture.to_string(), error }
    }
}
