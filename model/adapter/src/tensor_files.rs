//! A checkpoint in Hugging Face's layout: `model.safetensors`, or files beside
//! `model.safetensors.index.json`.
//!
//! Only headers are read when it is opened, and checked against the files' lengths; a tensor is
//! read from its place when it is asked for, so that a checkpoint larger than the memory can be
//! inspected. Files are read at offsets rather than mapped: a mapping needs `unsafe`, which this
//! workspace forbids, and ends the process if somebody cuts the file meanwhile.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use safetensors::tensor::{Dtype, Metadata};
use serde::Deserialize;

use crate::tensors::{HostTensor, WeightError, numbers};

/// The tensors of a folder, by name, unread.
#[derive(Clone, Debug)]
pub struct TensorFiles {
    files: Vec<Arc<File>>,
    paths: Vec<PathBuf>,
    tensors: BTreeMap<String, Place>,
}

/// Where a tensor lies, and what it is.
#[derive(Clone, Debug)]
pub struct Place {
    /// The number format.
    pub dtype: Dtype,
    /// Lengths of the axes, outermost first.
    pub shape: Vec<usize>,
    /// Bytes in the file.
    pub bytes: usize,
    file: usize,
    start: u64,
    /// Its name in the file.
    written: String,
}

/// Why a folder is no checkpoint.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// A file could not be read.
    #[error("cannot access {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The index is no index.
    #[error("{INDEX} is malformed: {0}")]
    Index(#[source] serde_json::Error),
    /// The index names a file outside its folder.
    #[error("{INDEX} names {name:?}, which is no file beside it")]
    Outside {
        /// What it names.
        name: String,
    },
    /// A tensor is in the files more than once.
    #[error(
        "tensor {name} appears twice: as {} in {} and as {} in {}",
        first[0], first[1], second[0], second[1]
    )]
    Twice {
        /// The name that both would have.
        name: String,
        /// The name it has at first, and the file's.
        first: [String; 2],
        /// The same of the second.
        second: [String; 2],
    },
    /// A file is cut, or no safetensors at all.
    #[error("{name} is cut or malformed ({bytes} bytes)")]
    Malformed {
        /// The file.
        name: String,
        /// Its length.
        bytes: u64,
    },
}

impl TensorFiles {
    /// Opens the files of a folder and reads their headers.
    pub fn open(folder: &Path) -> Result<TensorFiles, FilesError> {
        let mut files =
            TensorFiles { files: Vec::new(), paths: Vec::new(), tensors: BTreeMap::new() };
        for name in names(folder)? {
            files.paths.push(folder.join(&name));
            files.add(name)?;
        }
        Ok(files)
    }

    /// Every tensor by name: the name that its language model alone would give it.
    ///
    /// Qwen2.5-VL's newer files have `model.language_model.` and `model.visual.` where older ones
    /// have `model.` and `visual.`; here all have the older.
    pub fn tensors(&self) -> &BTreeMap<String, Place> {
        &self.tensors
    }

    /// The files, in the order of their names.
    pub fn paths(&self) -> &[PathBuf] {
        &self.paths
    }

    /// Reads a tensor as f32, all values finite; none if there is none of that name.
    pub fn read(&self, name: &str) -> Result<Option<HostTensor>, WeightError> {
        let Some(place) = self.tensors.get(name) else { return Ok(None) };
        let unreadable = |reason| WeightError::Unreadable { name: name.to_string(), reason };
        let mut bytes = vec![0; place.bytes];
        let file = &self.files[place.file];
        file.read_exact_at(&mut bytes, place.start).map_err(|error| unreadable(error.kind()))?;
        let values =
            numbers(place.dtype, &bytes).ok_or_else(|| unreadable(ErrorKind::Unsupported))?;
        match values.iter().all(|value| value.is_finite()) {
            true => Ok(Some(HostTensor { shape: place.shape.clone(), values })),
            false => Err(WeightError::NotFinite { name: name.to_string() }),
        }
    }

    /// Reads the header of the last of the paths.
    fn add(&mut self, name: String) -> Result<(), FilesError> {
        let path = &self.paths[self.files.len()];
        let wrap = |source| FilesError::File { path: path.clone(), source };
        let mut file = File::open(path).map_err(wrap)?;
        let bytes = file.metadata().map_err(wrap)?.len();
        let malformed = || FilesError::Malformed { name: name.clone(), bytes };
        let mut length = [0; 8];
        file.read_exact(&mut length).map_err(|_| malformed())?;
        let length = u64::from_le_bytes(length);
        if length > HEADER_MAX || length + 8 > bytes {
            return Err(malformed());
        }
        let mut header = vec![0; length as usize];
        file.read_exact(&mut header).map_err(wrap)?;
        let metadata: Metadata = serde_json::from_slice(&header).map_err(|_| malformed())?;
        // In the order of their names, so that the same fault is always named the same.
        let tensors: BTreeMap<_, _> = metadata.tensors().into_iter().collect();
        for (written, info) in tensors {
            let (start, end) = info.data_offsets;
            let numbers = info.shape.iter().try_fold(1_usize, |all, axis| all.checked_mul(*axis));
            let expected = numbers.and_then(|numbers| numbers.checked_mul(info.dtype.bitsize()));
            let found = end.checked_sub(start).filter(|_| end as u64 <= bytes - 8 - length);
            let found = found.filter(|found| expected == found.checked_mul(8));
            let place = Place {
                dtype: info.dtype,
                shape: info.shape.clone(),
                bytes: found.ok_or_else(malformed)?,
                file: self.files.len(),
                start: 8 + length + start as u64,
                written,
            };
            self.enter(place)?;
        }
        self.files.push(Arc::new(file));
        Ok(())
    }

    fn enter(&mut self, place: Place) -> Result<(), FilesError> {
        let file = |place: &Place| {
            let name = self.paths[place.file].file_name().unwrap_or_default();
            [place.written.clone(), name.to_string_lossy().into_owned()]
        };
        match self.tensors.entry(plain_name(&place.written)) {
            Entry::Vacant(free) => {
                free.insert(place);
                Ok(())
            }
            Entry::Occupied(taken) => Err(FilesError::Twice {
                name: taken.key().clone(),
                first: file(taken.get()),
                second: file(&place),
            }),
        }
    }
}

/// The files that hold tensors.
fn names(folder: &Path) -> Result<Vec<String>, FilesError> {
    #[derive(Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }
    let path = folder.join(INDEX);
    let index = match std::fs::read(&path) {
        Ok(bytes) => serde_json::from_slice::<Index>(&bytes).map_err(FilesError::Index)?,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(vec![SINGLE.to_owned()]),
        Err(source) => return Err(FilesError::File { path, source }),
    };
    let mut names: Vec<String> = index.weight_map.into_values().collect();
    names.sort();
    names.dedup();
    match names.iter().find(|name| Path::new(name).file_name() != Some(name.as_ref())) {
        Some(name) => Err(FilesError::Outside { name: name.clone() }),
        None => Ok(names),
    }
}

fn plain_name(name: &str) -> String {
    for (newer, older) in [
        ("model.language_model.", "model."),
        ("language_model.model.", "model."),
        ("language_model.lm_head.", "lm_head."),
        ("model.visual.", "visual."),
    ] {
        if let Some(rest) = name.strip_prefix(newer) {
            return format!("{older}{rest}");
        }
    }
    name.to_owned()
}

const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
/// No header of a checkpoint is nearly as long; refused before anything is allocated.
const HEADER_MAX: u64 = 100_000_000;
