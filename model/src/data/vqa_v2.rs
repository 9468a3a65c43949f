//! Reads VQA v2's own files: questions JSON, annotations JSON, images by id.
//!
//! A folder holds, for a split, `v2_OpenEnded_mscoco_{split}_questions.json`,
//! `v2_mscoco_{split}_annotations.json` and the images `COCO_{split}_{id:012}.jpg` (or `.png`),
//! beside them or in a folder `{split}`. `captions_{split}.jsonl` may add captions, which VQA v2
//! has not. Every file is bounded before it is read, and whatever is wrong is refused with the file
//! and the id; nothing is skipped, because a member that silently trains on less is worse than one
//! that stops.
//!
//! Reading goes in two steps, because a member needs all of the text to find its share and few of
//! the images: [`Catalogue::read`] checks a split whole, [`Catalogue::subset`] decodes a part.

mod error;
mod layout;

pub use error::VqaError;
pub use layout::Split;

use crate::data::select::{Selection, sample, select};
use crate::data::vocabulary::has_new_word;
use crate::data::{AnswerType, CaptionExample, Dataset, Picture, PictureError, VqaExample};
use layout::{Annotation, Annotations, Questions};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

/// A split before its images are decoded: everything that is said, and where the images lie.
#[derive(Clone, Debug)]
pub struct Catalogue {
    /// Every question with its answers; `picture` counts the images in the order they are met.
    pub questions: Vec<VqaExample>,
    /// Every caption; none where there is no captions file.
    pub captions: Vec<CaptionExample>,
    images: Vec<Image>,
}

/// An image that is there and not yet decoded.
#[derive(Clone, Debug)]
struct Image {
    id: u64,
    path: PathBuf,
}

impl Catalogue {
    /// Reads a split's text and finds its images.
    ///
    /// # Errors
    /// Whatever is wrong with the folder, an undecodable image apart.
    pub fn read(dir: &Path, split: Split) -> Result<Self, VqaError> {
        let questions_path = dir.join(split.questions_file());
        let annotations_path = dir.join(split.annotations_file());
        let asked: Questions = parse(&questions_path)?;
        let mut annotations = by_question(parse(&annotations_path)?, &annotations_path)?;
        let mut album = Album { dir, split, places: BTreeMap::new(), images: Vec::new() };
        let mut questions = Vec::with_capacity(asked.questions.len());
        let mut known = HashSet::new();
        for question in asked.questions {
            let question_id = question.question_id;
            if !known.insert(question_id) {
                return Err(VqaError::Duplicate { path: questions_path, question_id });
            }
            let Some(annotation) = annotations.remove(&question_id) else {
                return Err(VqaError::NoAnnotation { path: annotations_path, question_id });
            };
            questions.push(example(&annotations_path, question, annotation, &mut album)?);
        }
        if let Some(&question_id) = annotations.keys().min() {
            return Err(VqaError::NoQuestion { path: annotations_path, question_id });
        }
        if questions.is_empty() {
            return Err(VqaError::Empty { path: questions_path });
        }
        let captions = captions(&dir.join(split.captions_file()), &mut album)?;
        Ok(Self { questions, captions, images: album.images })
    }

    /// Tries every image, so that a bad one is known before anything depends on it: decodes all
    /// where that takes seconds, else reads their headers only.
    ///
    /// # Errors
    /// An image that cannot be read.
    pub fn check_images(&self) -> Result<(), VqaError> {
        let check: fn(&Image) -> Result<(), VqaError> =
            match self.images.len() <= IMAGES_DECODED_MAX {
                true => |image: &Image| image.decode().map(drop),
                false => Image::check_header,
            };
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let share = self.images.len().div_ceil(threads).max(1);
        let first_bad = move |images: &[Image]| images.iter().find_map(|image| check(image).err());
        let bad = std::thread::scope(|scope| {
            let shares = self.images.chunks(share);
            let workers: Vec<_> =
                shares.map(|images| scope.spawn(move || first_bad(images))).collect();
            let found = workers.into_iter().map(|worker| {
                worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            });
            found.collect::<Vec<_>>()
        });
        bad.into_iter().flatten().next().map_or(Ok(()), Err)
    }

    /// The questions and captions at these indices, with the pictures they refer to decoded to
    /// 64×64 (12 KiB each). Panics where an index is out of range.
    ///
    /// # Errors
    /// An image that cannot be read.
    pub fn subset(&self, questions: &[usize], captions: &[usize]) -> Result<Dataset, VqaError> {
        let Selection { questions, captions, pictures } =
            select((&self.questions, questions), (&self.captions, captions));
        let decoded = pictures.into_iter().map(|picture| self.images[picture].decode());
        Ok(Dataset { pictures: decoded.collect::<Result<_, _>>()?, questions, captions })
    }

    /// All of it.
    ///
    /// # Errors
    /// An image that cannot be read.
    pub fn whole(&self) -> Result<Dataset, VqaError> {
        let questions: Vec<usize> = (0..self.questions.len()).collect();
        let captions: Vec<usize> = (0..self.captions.len()).collect();
        self.subset(&questions, &captions)
    }

    /// At most so many questions and captions, chosen by the seed alone.
    ///
    /// # Errors
    /// An image that cannot be read.
    pub fn sample(
        &self,
        questions_max: usize,
        captions_max: usize,
        seed: u64,
    ) -> Result<Dataset, VqaError> {
        let questions = sample(self.questions.len(), questions_max, seed);
        let captions = sample(self.captions.len(), captions_max, seed);
        self.subset(&questions, &captions)
    }
}

impl Image {
    fn decode(&self) -> Result<Picture, VqaError> {
        let bytes = bounded(&self.path, IMAGE_BYTES_MAX)?;
        Picture::from_bytes(&bytes).map_err(|source| self.bad(source))
    }

    fn check_header(&self) -> Result<(), VqaError> {
        let unreadable = |source| VqaError::Unreadable { path: self.path.clone(), source };
        let file = File::open(&self.path).map_err(unreadable)?;
        Picture::check_header(BufReader::new(file)).map_err(|source| self.bad(source))
    }

    fn bad(&self, source: PictureError) -> VqaError {
        VqaError::Image { image_id: self.id, path: self.path.clone(), source }
    }
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
    fn place(&mut self, image_id: u64) -> Result<usize, VqaError> {
        if let Some(place) = self.places.get(&image_id) {
            return Ok(*place);
        }
        let candidates = self.split.image_files(self.dir, image_id);
        let Some(path) = candidates.iter().find(|path| path.is_file()).cloned() else {
            let [path, ..] = candidates;
            return Err(VqaError::NoImage { image_id, path });
        };
        self.images.push(Image { id: image_id, path });
        self.places.insert(image_id, self.images.len() - 1);
        Ok(self.images.len() - 1)
    }
}

fn by_question(file: Annotations, path: &Path) -> Result<HashMap<u64, Annotation>, VqaError> {
    let mut annotations = HashMap::with_capacity(file.annotations.len());
    for annotation in file.annotations {
        let question_id = annotation.question_id;
        if annotations.insert(question_id, annotation).is_some() {
            return Err(VqaError::Duplicate { path: path.to_owned(), question_id });
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
fn captions(path: &Path, album: &mut Album) -> Result<Vec<CaptionExample>, VqaError> {
    if !path.is_file() {
        return Ok(Vec::new());
    }
    let bytes = bounded(path, JSON_BYTES_MAX)?;
    let lines = serde_json::Deserializer::from_slice(&bytes).into_iter::<layout::Caption>();
    let caption = |line: serde_json::Result<layout::Caption>| -> Result<CaptionExample, VqaError> {
        let layout::Caption { image_id, prompt } =
            line.map_err(|source| VqaError::Json { path: path.to_owned(), source })?;
        Ok(CaptionExample {
            picture: album.place(image_id)?,
            is_new: has_new_word(&prompt.prompt),
            caption: prompt.prompt.clone(),
            prompt,
        })
    };
    lines.map(caption).collect()
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
/// Images of a split that are decoded only to be checked; COCO's 82 783 would take minutes.
const IMAGES_DECODED_MAX: usize = 20_000;
/// COCO's largest image has well under 2 MB.
const IMAGE_BYTES_MAX: u64 = 16 << 20;

#[cfg(test)]
mod tests;
