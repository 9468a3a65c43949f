//! A data source before its images are decoded: all of its text, and the images' paths.
//!
//! A member needs all of the text to find its share and few of the images, hence two steps:
//! [`vqa_v2`] and [`captions`] read a split's text whole, [`Catalogue::subset`] decodes a part.
//! Whatever is wrong is refused with the file and the id or line; nothing is skipped, because a
//! member that silently trains on less is worse than one that stops.
//!
//! [`vqa_v2`]: super::vqa_v2
//! [`captions`]: super::captions

use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;

use rayon::prelude::*;

use super::error::Problem;
use super::picture::FILE_BYTES_MAX;
use super::select::{Selection, sample, select};
use super::{
    CaptionExample, DataError, Dataset, Picture, PictureError, VqaExample, bounded, image_file,
};

/// One split of a data source. What decodes its images fails on one that cannot be read.
#[derive(Clone, Debug, Default)]
pub struct Catalogue {
    /// Every question with its answers; `picture` counts the images in the order they are met.
    pub questions: Vec<VqaExample>,
    /// Every caption.
    pub captions: Vec<CaptionExample>,
    pub(super) images: Vec<Image>,
}

/// An image that is there and not yet decoded.
#[derive(Clone, Debug)]
pub(super) struct Image {
    /// What a person knows it by: "image 7", or the line that names it.
    pub name: String,
    pub path: PathBuf,
}

impl Catalogue {
    /// The questions of this one with the captions of the other.
    pub fn with_captions(mut self, other: Self) -> Self {
        let before = self.images.len();
        self.images.extend(other.images);
        let moved = |caption: CaptionExample| CaptionExample {
            picture: caption.picture + before,
            ..caption
        };
        self.captions = other.captions.into_iter().map(moved).collect();
        self
    }

    /// Tries every image, so that a bad one is known before anything depends on it: decodes all
    /// where that takes seconds, else reads their headers only.
    pub fn check_images(&self) -> Result<(), DataError> {
        let check = match self.images.len() <= IMAGES_DECODED_MAX {
            true => |image: &Image| image.decode().map(drop),
            false => Image::check_header,
        };
        let bad = self.images.par_iter().find_map_first(|image| check(image).err());
        bad.map_or(Ok(()), Err)
    }

    /// The questions and captions at these indices, with the pictures they refer to decoded to
    /// 64×64 (12 KiB each). Panics where an index is out of range.
    pub fn subset(&self, questions: &[usize], captions: &[usize]) -> Result<Dataset, DataError> {
        let Selection { questions, captions, pictures } =
            select((&self.questions, questions), (&self.captions, captions));
        let decoded = pictures.into_iter().map(|picture| self.images[picture].decode());
        Ok(Dataset { pictures: decoded.collect::<Result<_, _>>()?, questions, captions })
    }

    /// All of it.
    pub fn whole(&self) -> Result<Dataset, DataError> {
        let questions: Vec<usize> = (0..self.questions.len()).collect();
        let captions: Vec<usize> = (0..self.captions.len()).collect();
        self.subset(&questions, &captions)
    }

    /// At most so many questions and captions, chosen by the seed alone.
    pub fn sample(
        &self,
        questions_max: usize,
        captions_max: usize,
        seed: u64,
    ) -> Result<Dataset, DataError> {
        let questions = sample(self.questions.len(), questions_max, seed);
        let captions = sample(self.captions.len(), captions_max, seed);
        self.subset(&questions, &captions)
    }
}

impl Image {
    fn decode(&self) -> Result<Picture, DataError> {
        let bytes = bounded::bytes(&self.path, FILE_BYTES_MAX)?;
        let picture = Picture::from_bytes(&bytes).map_err(|source| self.bad(source))?;
        Ok(Picture { file: Some(self.path.as_path().into()), ..picture })
    }

    pub(super) fn check_header(&self) -> Result<(), DataError> {
        let unreadable = |source| Problem::Unreadable { path: self.path.clone(), source };
        let file = File::open(&self.path).map_err(unreadable)?;
        Ok(image_file::check_header(BufReader::new(file)).map_err(|source| self.bad(source))?)
    }

    fn bad(&self, source: PictureError) -> Problem {
        Problem::Image { image: self.name.clone(), path: self.path.clone(), source }
    }
}

/// Images of a split that are decoded only to be checked; COCO's 82 783 would take minutes.
const IMAGES_DECODED_MAX: usize = 20_000;
