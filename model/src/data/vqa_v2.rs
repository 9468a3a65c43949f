//! Reads VQA v2's own files: questions JSON, annotations JSON, images by id.
//!
//! A folder holds, for a split, `v2_OpenEnded_mscoco_{split}_questions.json`,
//! `v2_mscoco_{split}_annotations.json` and the images `COCO_{split}_{id:012}.jpg` (or `.png`),
//! beside them or in a folder `{split}`. `captions_{split}.jsonl` may add captions, which VQA v2
//! has not. Every file is bounded before it is read, and whatever is wrong is refused with the file
//! and the id; nothing is skipped, because a member that silently trains on less is worse than one
//! that stops.

mod layout;

pub use layout::Split;

use crate::data::vocabulary::has_new_word;
use crate::data::{AnswerType, CaptionExample, Dataset, Picture, PictureError, VqaExample};
use crate::evaluate::geneval::Prompt;
use layout::{Annotation, Annotations, Questions};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use thiserror::Error;

/// What is wrong with a VQA v2 folder.
#[derive(Debug, Error)]
pub enum VqaError {
    /// A file is not there.
    #[error("missing file {path}")]
    Missing {
        /// The file looked for.
        path: PathBuf,
    },
    /// A file is there and cannot be read.
    #[error("cannot read {path}")]
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
    #[error("image {image_id} in {path} cannot be decoded")]
    Image {
        /// The image.
        image_id: u64,
        /// The file.
        path: PathBuf,
        /// What the decoder says.
        source: PictureError,
    },
}

/// Reads a split whole; images are decoded to 64×64 at once (12 KiB each).
pub fn read(dir: &Path, split: Split) -> Result<Dataset, VqaError> {
    let questions_path = dir.join(split.questions_file());
    let annotations_path = dir.join(split.annotations_file());
    let questions: Questions = parse(&questions_path)?;
    let annotations: Annotations = parse(&annotations_path)?;
    let mut by_question: HashMap<u64, Annotation> = HashMap::new();
    for annotation in annotations.annotations {
        let question_id = annotation.question_id;
        if by_question.insert(question_id, annotation).is_some() {
            return Err(VqaError::Duplicate { path: annotations_path, question_id });
        }
    }
    let mut album = Album { dir, split, places: BTreeMap::new(), pictures: Vec::new() };
    let mut dataset = Dataset::default();
    let mut asked = HashSet::new();
    for question in questions.questions {
        let question_id = question.question_id;
        if !asked.insert(question_id) {
            return Err(VqaError::Duplicate { path: questions_path, question_id });
        }
        let Some(annotation) = by_question.remove(&question_id) else {
            return Err(VqaError::NoAnnotation { path: annotations_path, question_id });
        };
        let example = example(&annotations_path, question, annotation)?;
        let picture = album.place(example.picture as u64)?;
        dataset.questions.push(VqaExample { picture, ..example });
    }
    if let Some(&question_id) = by_question.keys().min() {
        return Err(VqaError::NoQuestion { path: annotations_path, question_id });
    }
    if dataset.questions.is_empty() {
        return Err(VqaError::Empty { path: questions_path });
    }
    for (image_id, prompt) in captions(&dir.join(split.captions_file()))? {
        dataset.captions.push(CaptionExample {
            picture: album.place(image_id)?,
            is_new: has_new_word(&prompt.prompt),
            caption: prompt.prompt.clone(),
            prompt,
        });
    }
    dataset.pictures = album.pictures;
    Ok(dataset)
}

/// The images read so far, each once.
struct Album<'a> {
    dir: &'a Path,
    split: Split,
    places: BTreeMap<u64, usize>,
    pictures: Vec<Picture>,
}

impl Album<'_> {
    /// The index of an image's picture, which is read if it is met for the first time.
    fn place(&mut self, image_id: u64) -> Result<usize, VqaError> {
        if let Some(place) = self.places.get(&image_id) {
            return Ok(*place);
        }
        let candidates = self.split.image_files(self.dir, image_id);
        let Some(path) = candidates.iter().find(|path| path.is_file()).cloned() else {
            let [path, ..] = candidates;
            return Err(VqaError::NoImage { image_id, path });
        };
        let bytes = bounded(&path, IMAGE_BYTES_MAX)?;
        let picture = Picture::from_bytes(&bytes).map_err(|source| VqaError::Image {
            image_id,
            path,
            source,
        })?;
        self.pictures.push(picture);
        self.places.insert(image_id, self.pictures.len() - 1);
        Ok(self.pictures.len() - 1)
    }
}

/// A question joined with its annotation; `picture` still holds the image id.
fn example(
    path: &Path,
    question: layout::Question,
    annotation: Annotation,
) -> Result<VqaExample, VqaError> {
    let layout::Question { question_id, image_id, question } = question;
    let path = path.to_owned();
    if annotation.image_id != image_id {
        let annotated = annotation.image_id;
        return Err(VqaError::OtherImage { path, question_id, asked: image_id, annotated });
    }
    let answers: Vec<String> = annotation.answers.into_iter().map(|one| one.answer).collect();
    if answers.len() != ANSWERS {
        return Err(VqaError::Answers { path, question_id, found: answers.len() });
    }
    let Some(answer_type) = AnswerType::from_name(&annotation.answer_type) else {
        return Err(VqaError::AnswerKind { path, question_id, found: annotation.answer_type });
    };
    let answer = annotation.multiple_choice_answer;
    Ok(VqaExample {
        question_id,
        picture: image_id as usize,
        is_new: has_new_word(&question) || has_new_word(&answer),
        question,
        answers,
        answer,
        answer_type,
        question_type: annotation.question_type,
    })
}

/// The captions of a split, image id and prompt, one JSON object a line; none where there is no
/// file.
fn captions(path: &Path) -> Result<Vec<(u64, Prompt)>, VqaError> {
    if !path.is_file() {
        return Ok(Vec::new());
    }
    let bytes = bounded(path, JSON_BYTES_MAX)?;
    let lines = serde_json::Deserializer::from_slice(&bytes).into_iter::<layout::Caption>();
    let pairs = lines.map(|line| line.map(|caption| (caption.image_id, caption.prompt)));
    pairs
        .collect::<Result<_, _>>()
        .map_err(|source| VqaError::Json { path: path.to_owned(), source })
}

fn parse<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, VqaError> {
    let bytes = bounded(path, JSON_BYTES_MAX)?;
    serde_json::from_slice(&bytes)
        .map_err(|source| VqaError::Json { path: path.to_owned(), source })
}

/// A file's bytes; the limit holds even if the file grows while it is read.
fn bounded(path: &Path, bytes_max: u64) -> Result<Vec<u8>, VqaError> {
    let unreadable = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => VqaError::Missing { path: path.to_owned() },
        _ => VqaError::Unreadable { path: path.to_owned(), source },
    };
    let length = fs::metadata(path).map_err(unreadable)?.len();
    let mut bytes = Vec::with_capacity(length.min(bytes_max) as usize);
    let mut file = File::open(path).map_err(unreadable)?.take(bytes_max + 1);
    file.read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > bytes_max {
        return Err(VqaError::TooLarge { path: path.to_owned(), bytes_max });
    }
    Ok(bytes)
}

const ANSWERS: usize = 10;
/// The largest official file, the training annotations, has some 400 MB.
const JSON_BYTES_MAX: u64 = 1 << 30;
/// COCO's largest image has well under 2 MB.
const IMAGE_BYTES_MAX: u64 = 16 << 20;

#[cfg(test)]
mod tests;
