//! What can be wrong with files of data: always the file, and the id or line if there is one.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::image_file::PictureError;

/// What is wrong with files of data, in one line that names the file and the id or the line.
#[derive(Debug, Error)]
#[error(transparent)]
pub struct DataError(#[from] pub(crate) Problem);

#[derive(Debug, Error)]
pub(crate) enum Problem {
    #[error("missing file {path}")]
    Missing { path: PathBuf },
    #[error("cannot read {path}: {source}")]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("{path} is larger than {bytes_max} bytes")]
    TooLarge { path: PathBuf, bytes_max: u64 },
    #[error("{path} is not what vqa v2 writes: {source}")]
    Json { path: PathBuf, source: serde_json::Error },
    #[error("{path}, line {line}, column {}: {}", source.column(), without_place(source))]
    Line { path: PathBuf, line: usize, source: serde_json::Error },
    #[error("{path}, line {line}: the caption is empty")]
    NoCaption { path: PathBuf, line: usize },
    #[error("{path}, line {line}: there is no image {image}")]
    NoImageFile { path: PathBuf, line: usize, image: PathBuf },
    #[error("{path} has no line")]
    NoLine { path: PathBuf },
    /// A split without a question.
    #[error("{path} has no question")]
    Empty { path: PathBuf },
    #[error("{path} has question {question_id} twice")]
    Duplicate { path: PathBuf, question_id: u64 },
    #[error("{path} has no annotation for question {question_id}")]
    NoAnnotation { path: PathBuf, question_id: u64 },
    #[error("{path} annotates question {question_id}, which is not asked")]
    NoQuestion { path: PathBuf, question_id: u64 },
    #[error(
        "{path}: question {question_id} is about image {asked}, its annotation about {annotated}"
    )]
    OtherImage { path: PathBuf, question_id: u64, asked: u64, annotated: u64 },
    #[error("{path}: question {question_id} has {found} answers, vqa v2 has ten")]
    Answers { path: PathBuf, question_id: u64, found: usize },
    #[error(
        "{path}: question {question_id} has answer type {found:?}; known: yes/no, number, other"
    )]
    AnswerKind { path: PathBuf, question_id: u64, found: String },
    /// `path` is the first of the files looked for.
    #[error("image {image_id} is missing: no {path} (nor .png)")]
    NoImage { image_id: u64, path: PathBuf },
    /// `image` is its id, or the line that names it.
    #[error("{image} in {path} cannot be read: {source}")]
    Image { image: String, path: PathBuf, source: PictureError },
}

/// A line's own error says "line 1" of every line.
fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.rfind(" at line ").map_or(text.clone(), |end| text[..end].to_owned())
}
