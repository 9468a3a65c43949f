//! Reads VQA v2's own files: questions JSON, annotations JSON, images by id.
//!
//! A folder holds, for a split, `v2_OpenEnded_mscoco_{split}_questions.json`,
//! `v2_mscoco_{split}_annotations.json` and the images `COCO_{split}_{id:012}.jpg` (or `.png`),
//! beside them or in a folder `{split}`. `captions_{split}.jsonl` may add captions, which VQA v2
//! has not. Every file is bounded before it is read.

mod layout;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

use super::catalogue::{Catalogue, Image};
use super::error::Problem;
use super::vocabulary::has_new_word;
use super::{AnswerType, CaptionExample, DataError, VqaExample, bounded};
pub use layout::Split;
use layout::{Annotation, Annotations, Questions};

/// Reads a split's text and finds its images.
///
/// # Errors
/// Whatever is wrong with the folder, an undecodable image apart.
pub fn read(dir: &Path, split: Split) -> Result<Catalogue, DataError> {
    let questions_path = dir.join(split.questions_file());
    let annotations_path = dir.join(split.annotations_file());
    let asked: Questions = bounded::json(&questions_path)?;
    let mut annotations = by_question(bounded::json(&annotations_path)?, &annotations_path)?;
    let mut album = Album { dir, split, places: BTreeMap::new(), images: Vec::new() };
    let mut questions = Vec::with_capacity(asked.questions.len());
    let mut known = HashSet::new();
    for question in asked.questions {
        let question_id = question.question_id;
        if !known.insert(question_id) {
            return Err(Problem::Duplicate { path: questions_path, question_id }.into());
        }
        let Some(annotation) = annotations.remove(&question_id) else {
            return Err(Problem::NoAnnotation { path: annotations_path, question_id }.into());
        };
        questions.push(example(&annotations_path, question, annotation, &mut album)?);
    }
    if let Some(&question_id) = annotations.keys().min() {
        return Err(Problem::NoQuestion { path: annotations_path, question_id }.into());
    }
    if questions.is_empty() {
        return Err(Problem::Empty { path: questions_path }.into());
    }
    let captions = captions(&dir.join(split.captions_file()), &mut album)?;
    Ok(Catalogue { questions, captions, images: album.images })
}

/// The images found so far, each once.
struct Album<'a> {
    dir: &'a Path,
    split: Split,
    places: BTreeMap<u64, usize>,
    images: Vec<Image>,
}

impl Album<'_> {
    /// The index of an image, which is looked for if it is met for the first time.
    fn place(&mut self, image_id: u64) -> Result<usize, DataError> {
        if let Some(place) = self.places.get(&image_id) {
            return Ok(*place);
        }
        let candidates = self.split.image_files(self.dir, image_id);
        let Some(path) = candidates.iter().find(|path| path.is_file()).cloned() else {
            let [path, ..] = candidates;
            return Err(Problem::NoImage { image_id, path }.into());
        };
        self.images.push(Image { name: format!("image {image_id}"), path });
        self.places.insert(image_id, self.images.len() - 1);
        Ok(self.images.len() - 1)
    }
}

fn by_question(file: Annotations, path: &Path) -> Result<HashMap<u64, Annotation>, Problem> {
    let mut annotations = HashMap::with_capacity(file.annotations.len());
    for annotation in file.annotations {
        let question_id = annotation.question_id;
        if annotations.insert(question_id, annotation).is_some() {
            return Err(Problem::Duplicate { path: path.to_owned(), question_id });
        }
    }
    Ok(annotations)
}

/// A question joined with its annotation and its image.
fn example(
    path: &Path,
    question: layout::Question,
    annotation: Annotation,
    album: &mut Album,
) -> Result<VqaExample, DataError> {
    let layout::Question { question_id, image_id, question } = question;
    let path = path.to_owned();
    if annotation.image_id != image_id {
        let annotated = annotation.image_id;
        return Err(Problem::OtherImage { path, question_id, asked: image_id, annotated }.into());
    }
    let answers: Vec<String> = annotation.answers.into_iter().map(|one| one.answer).collect();
    if answers.len() != ANSWERS {
        return Err(Problem::Answers { path, question_id, found: answers.len() }.into());
    }
    let Some(answer_type) = AnswerType::from_name(&annotation.answer_type) else {
        let found = annotation.answer_type;
        return Err(Problem::AnswerKind { path, question_id, found }.into());
    };
    let answer = annotation.multiple_choice_answer;
    Ok(VqaExample {
        question_id,
        picture: album.place(image_id)?,
        is_new: has_new_word(&question) || has_new_word(&answer),
        question,
        answers,
        answer,
        answer_type,
        question_type: annotation.question_type,
    })
}

/// The captions of a split, one JSON object a line; none where there is no file.
fn captions(path: &Path, album: &mut Album) -> Result<Vec<CaptionExample>, DataError> {
    if !path.is_file() {
        return Ok(Vec::new());
    }
    let lines = bounded::json_lines::<layout::Caption>(path)?.into_iter();
    lines
        .map(|(_, layout::Caption { image_id, prompt })| {
            Ok(CaptionExample {
                picture: album.place(image_id)?,
                is_new: has_new_word(&prompt.prompt),
                caption: prompt.prompt.clone(),
                prompt: Some(prompt),
            })
        })
        .collect()
}

const ANSWERS: usize = 10;

#[cfg(test)]
mod tests;
