//! What drawings of captioned pictures should become, kept in a folder.
//!
//! The tower that makes them is larger than the model, so it is asked once about each picture. A
//! file is named by the digest of the tower and of what it was shown: a picture that changes, or
//! another tower, makes another file.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use witan_data::{DataError, Dataset, Picture};

use super::error::ReadError;
use super::tower::Tower;
use crate::families::trunk::diffusion::DiffusionConfig;

/// The targets of one member's captioned pictures, by their places in its dataset.
#[derive(Clone, Debug)]
pub struct Targets {
    files: BTreeMap<usize, PathBuf>,
    /// Numbers of one: places times channels.
    numbers: usize,
}

impl Targets {
    /// Those of `data`'s captioned pictures, as the tower of this digest makes them, in a folder
    /// that need not exist.
    ///
    /// # Errors
    /// If a picture's file cannot be read.
    pub fn within(
        folder: &Path,
        tower: &[u8; 32],
        drawing: &DiffusionConfig,
        data: &Dataset,
    ) -> Result<Targets, DataError> {
        let mut files = BTreeMap::new();
        for caption in &data.captions {
            if let Entry::Vacant(place) = files.entry(caption.picture) {
                let shown = data.pictures[caption.picture].bytes()?;
                place.insert(folder.join(blake3::keyed_hash(tower, &shown).to_hex().as_str()));
            }
        }
        Ok(Targets { files, numbers: drawing.places * drawing.channels })
    }

    /// The pictures whose targets are still to be made.
    pub fn missing(&self) -> Vec<usize> {
        let bytes = (self.numbers * size_of::<f32>() + blake3::OUT_LEN) as u64;
        let is_whole = |path: &PathBuf| fs::metadata(path).is_ok_and(|file| file.len() == bytes);
        let missing = self.files.iter().filter(|(_, path)| !is_whole(path));
        missing.map(|(picture, _)| *picture).collect()
    }

    /// Has the tower make one, and keeps it.
    ///
    /// Panics if the picture is no captioned one.
    ///
    /// # Errors
    /// If the picture cannot be read, the tower is damaged, or the disk refuses.
    pub fn make(&self, place: usize, picture: &Picture, tower: &Tower) -> Result<(), ReadError> {
        let path = &self.files[&place];
        let values = tower.features(picture)?;
        if !values.iter().all(|value| value.is_finite()) {
            return Err(ReadError::NotFinite { name: picture.to_string() });
        }
        let mut bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        bytes.extend(blake3::hash(&bytes).as_bytes());
        keep(path, &bytes).map_err(|source| ReadError::Target { path: path.clone(), source })
    }

    /// What a drawing of this picture should become: `[places, channels]`.
    ///
    /// # Errors
    /// If it was not made, or its file is damaged.
    pub fn of(&self, picture: usize) -> Result<Vec<f32>, ReadError> {
        let path = &self.files[&picture];
        let bad = |source| ReadError::Target { path: path.clone(), source };
        let bytes = fs::read(path).map_err(bad)?;
        let split = bytes.len().saturating_sub(blake3::OUT_LEN);
        let (values, digest) = bytes.split_at(split);
        if values.len() != self.numbers * size_of::<f32>() || blake3::hash(values) != *digest {
            let damaged = "damaged; remove it, and the next start makes it again";
            return Err(bad(io::Error::new(io::ErrorKind::InvalidData, damaged)));
        }
        let (values, _) = values.as_chunks();
        Ok(values.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect())
    }
}

/// Writes a file as a whole or not at all.
fn keep(path: &Path, bytes: &[u8]) -> io::Result<()> {
    fs::create_dir_all(path.parent().unwrap_or(Path::new("")))?;
    let unfinished = path.with_extension("unfinished");
    let mut file = File::create(&unfinished)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&unfinished, path)
}
