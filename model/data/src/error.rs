//! What can be wrong with files of data, with the file and the id or the line.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::image_file::PictureError;

/// What is wrong with files of data.
#[derive(Debug, Error)]
pub enum DataError {
    /// A file is not there.
    #[error("missing file {path}")]
    Missing {
        /// The file looked for.
        path: PathBuf,
    },
    /// A file is there and cannot be read.
    #[error("cannot read {path}: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A file is larger than any real one.
    #[error("{path} is larger than {bytes_max} bytes")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The limit.
        bytes_max: u64,
    },
    /// A JSON file is cut, or a field is missing or of another type.
    #[error("{path} is not what vqa v2 writes: {source}")]
    Json {
        /// The file.
        path: PathBuf,
        /// Line, column and what was expected.
        source: serde_json::Error,
    },
    /// A line is no JSON value, or a field is missing or of another type.
    #[error("{path}, line {line}, column {}: {}", source.column(), without_place(source))]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// Column and what was expected.
        source: serde_json::Error,
    },
    /// A line says nothing of its image.
    #[error("{path}, line {line}: the caption is empty")]
    NoCaption {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// A line's image is not there.
    #[error("{path}, line {line}: there is no image {image}")]
    NoImageFile {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The image looked for.
        image: PathBuf,
    },
    /// A file without a line.
    #[error("{path} has no line")]
    NoLine {
        /// The file.
        path: PathBuf,
    },
    /// A split without a question.
    #[error("{path} has no question")]
    Empty {
        /// The questions file.
        path: PathBuf,
    },
    /// Two entries have the same question id.
    #[error("{path} has question {question_id} twice")]
    Duplicate {
        /// The file.
        path: PathBuf,
        /// The id.
        question_id: u64,
    },
    /// A question has no annotation.
    #[error("{path} has no annotation for question {question_id}")]
    NoAnnotation {
        /// The annotations file.
        path: PathBuf,
        /// The question.
        question_id: u64,
    },
    /// An annotation has no question.
    #[error("{path} annotates question {question_id}, which is not asked")]
    NoQuestion {
        /// The annotations file.
        path: PathBuf,
        /// The annotation's question.
        question_id: u64,
    },
    /// Question and annotation are about different images.
    #[error(
        "{path}: question {question_id} is about image {asked}, its annotation about {annotated}"
    )]
    OtherImage {
        /// The annotations file.
        path: PathBuf,
        /// The question.
        question_id: u64,
        /// The question's image.
        asked: u64,
        /// The annotation's image.
        annotated: u64,
    },
    /// A question does not have ten answers.
    #[error("{path}: question {question_id} has {found} answers, vqa v2 has ten")]
    Answers {
        /// The annotations file.
        path: PathBuf,
        /// The question.
        question_id: u64,
        /// How many there are.
        found: usize,
    },
    /// An answer type that is none of the three.
    #[error(
        "{path}: question {question_id} has answer type {found:?}; known: yes/no, number, other"
    )]
    AnswerKind {
        /// The annotations file.
        path: PathBuf,
        /// The question.
        question_id: u64,
        /// What it says.
        found: String,
    },
    /// The image of a question or caption is not there.
    #[error("image {image_id} is missing: no {path} (nor .png)")]
    NoImage {
        /// The image.
        image_id: u64,
        /// The file looked for.
        path: PathBuf,
    },
    /// An image is there and does not decode.
    #[error("{image} in {path} cannot be read: {source}")]
    Image {
        /// Its id, or the line that names it.
        image: String,
        /// The file.
        path: PathBuf,
        /// What the decoder says.
        source: PictureError,
    },
}

/// A line's own error says "line 1" of every line.
fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.rfind(" at line ").map_or(text.clone(), |end| text[..end].to_owned())
}
