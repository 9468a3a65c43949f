//! A BLIP3o checkpoint as a trainable model: it reads all words, draws features, and one of it
//! fills a machine.
//!
//! The tower that makes its drawings' targets is larger than the model, so it is loaded only while
//! there are targets to be made, before the model is.

use std::fmt::Display;
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use witan_adapter::tensor_files::TensorFiles;
use witan_adapter::{Adaptable, Committed, LoraConfig, Strategy};
use witan_data::Part;
use witan_data::fault::Fault;
use witan_data::tokenizer::Tokenizer;
use witan_data::{Dataset, image_file};

use super::{
    BaseModel, Count, Drawing, DrawingKind, Targets, TrainObserver, TrainTask, Trainable,
    TrainingData, train,
};
use crate::device::Device;
use crate::families::blip3o::error::ReadError;
use crate::families::blip3o::tower::{FOLDER, Tower};
use crate::families::blip3o::{self, Blip3o, Blip3oConfig, Reader, Shard};
use crate::families::language::Activations;
use crate::inspect::checkpoint::CheckpointInfo;
use crate::inspect::probe;
use crate::train::Trained;

/// A checkpoint whose headers are read.
#[derive(Debug)]
pub struct Checkpoint {
    folder: PathBuf,
    info: CheckpointInfo,
    config: Blip3oConfig,
    adaptable: Adaptable,
    digest: OnceLock<[u8; 32]>,
    tower_digest: OnceLock<Option<[u8; 32]>>,
}

impl Checkpoint {
    /// The one in a folder.
    ///
    /// # Errors
    /// If the folder holds no whole BLIP3o.
    pub fn open(folder: &Path) -> Result<Self, Fault> {
        let info = probe::info(folder)?;
        probe::require_whole(folder, &info)?;
        let Some(config) = info.blip3o.clone() else {
            let message = format!("a {} neither sees nor draws", info.kind);
            return Err(bad(folder, &message)
                .hint("give a BLIP3o checkpoint; `witan model say` asks a language model"));
        };
        Ok(Self {
            folder: folder.to_owned(),
            adaptable: Blip3o::adaptable(&config),
            info,
            config,
            digest: OnceLock::new(),
            tower_digest: OnceLock::new(),
        })
    }

    fn tower_folder(&self) -> PathBuf {
        self.folder.join(FOLDER)
    }
}

impl BaseModel for Checkpoint {
    /// Of every file that says what it computes.
    fn digest(&self) -> Result<[u8; 32], Fault> {
        kept(&self.digest, || {
            let weights = self.info.files.paths().iter().cloned();
            let others = OTHERS.map(|name| self.folder.join(name)).into_iter();
            digest_of("witan base checkpoint", others.filter(|path| path.exists()).chain(weights))
        })
    }

    fn tower_digest(&self) -> Result<Option<[u8; 32]>, Fault> {
        kept(&self.tower_digest, || {
            let Some(files) = tower_files(&self.folder)? else { return Ok(None) };
            let config = self.tower_folder().join("config.json");
            let paths = files.paths().iter().cloned().chain(config.exists().then_some(config));
            digest_of("witan tower", paths).map(Some)
        })
    }

    fn folder(&self) -> Option<&Path> {
        Some(&self.folder)
    }

    fn lora(&self) -> LoraConfig {
        probe::lora(&self.info, RANK)
    }

    fn adaptable(&self) -> &Adaptable {
        &self.adaptable
    }

    fn parameter_count(&self) -> u64 {
        self.info.parameter_count()
    }

    fn words(&self) -> Option<&Tokenizer> {
        None
    }

    fn drawing(&self) -> DrawingKind {
        DrawingKind::Features
    }

    /// Only with the tower that makes targets.
    fn learns_captions(&self) -> Result<bool, Fault> {
        Ok(tower_files(&self.folder)?.is_some())
    }

    fn check_strategy(&self, strategy: &Strategy) -> Result<(), Fault> {
        match strategy {
            Strategy::FedEx => {
                let message =
                    "the strategy fedex adds to the base, and a checkpoint's stays as it is stored";
                Err(Fault::input(message).hint("agree on another strategy, such as flexlora"))
            }
            _ => Ok(()),
        }
    }

    fn loaded_max(&self) -> usize {
        1
    }

    fn targets(
        &self,
        data: &Dataset,
        cache: &Path,
        device: &Device,
        count: Count<'_>,
    ) -> Result<Targets, Fault> {
        if data.captions.is_empty() {
            return Ok(Targets::default());
        }
        let Some(digest) = self.tower_digest()? else { return Ok(Targets::default()) };
        let drawing = &self.config.trunk.diffusion;
        let targets = blip3o::Targets::within(cache, &digest, drawing, data);
        let targets = targets.map_err(Fault::input)?;
        let missing = targets.missing();
        if missing.is_empty() {
            return Ok(Targets(Some(targets)));
        }
        let folder = self.tower_folder();
        let tower = Tower::open(&self.folder, drawing, device)
            .map_err(|error| bad(&folder, &error).hint(COPY_AGAIN))?
            .ok_or_else(|| bad(&folder, &"it is gone"))?;
        for (done, picture) in missing.iter().enumerate() {
            if count(done, missing.len()).is_break() {
                return Err(Fault::stopped());
            }
            let made = targets.make(*picture, &data.pictures[*picture], &tower);
            made.map_err(|error| match error {
                ReadError::Target { .. } => Fault::environment(error)
                    .hint("free space on its disk; what is made already is kept"),
                ReadError::NotFinite { .. } => Fault::input(error).hint(COPY_AGAIN),
                other => Fault::input(other),
            })?;
        }
        let _ = count(missing.len(), missing.len());
        Ok(Targets(Some(targets)))
    }

    /// Layers are computed again: the weights stay as they are stored, and memory is what a member
    /// lacks first.
    fn load(&self, lora: &LoraConfig, device: &Device) -> Result<Box<dyn Trainable>, Fault> {
        let named = |error: &dyn Display| bad(&self.folder, error);
        let reader = Reader::open(&self.folder).map_err(|error| named(&error))?;
        let (files, again) = (&self.info.files, Activations::Recomputed);
        let blip3o = Blip3o::load(files, &self.config, Some(lora), again, device)
            .map_err(|error| named(&error))?;
        Ok(Box::new(Loaded { blip3o, reader }))
    }
}

/// A loaded checkpoint with its tokenizer.
struct Loaded {
    blip3o: Blip3o,
    reader: Reader,
}

impl Trainable for Loaded {
    fn adopt(&mut self, committed: &Committed) -> Result<(), Fault> {
        self.blip3o.set_adapter(&committed.adapter).map_err(Fault::input)
    }

    fn read(&self, data: &Dataset, targets: Targets) -> Result<TrainingData, Fault> {
        let shard = Shard::encode(&self.blip3o, &self.reader, data, targets.0);
        let shard = shard.map_err(Fault::input)?;
        let left_out = shard.undrawable_count();
        let nothing = (shard.example_count() == 0).then(|| match left_out {
            0 => Fault::input("neither a question nor a caption to train on"),
            some => Fault::input(format!(
                "no question, and {some} captions cannot be drawn without the tower that makes \
                 their targets"
            ))
            .hint(format!("put EVA-CLIP's tower into the checkpoint's folder {FOLDER}")),
        });
        Ok(TrainingData {
            questions: data.questions.len(),
            captions: shard.example_count() - data.questions.len(),
            left_out: (left_out > 0)
                .then(|| format!("{left_out} captions: the checkpoint has no {FOLDER}")),
            nothing,
            read: Arc::new(shard),
        })
    }

    fn read_part(
        &self,
        (data, _): (&Dataset, &TrainingData),
        part: &Part,
        targets: &dyn Fn(&Dataset) -> Result<Targets, Fault>,
    ) -> Result<TrainingData, Fault> {
        let data = data.subset(&part.questions, &part.captions);
        self.read(&data, targets(&data)?)
    }

    fn train(
        &mut self,
        task: &TrainTask<'_>,
        observer: &mut dyn TrainObserver,
    ) -> Result<Trained, Fault> {
        train::train(&mut self.blip3o, task.data.of::<Shard>(), task, observer)
    }

    fn answers(&self, data: &TrainingData, questions: Range<usize>) -> Result<Vec<String>, Fault> {
        let shard: &Shard = data.of();
        let answer = |question| shard.answer(&self.blip3o, &self.reader, question);
        questions.map(answer).collect::<Result<_, _>>().map_err(Fault::input)
    }

    fn answer(&self, image: &Path, question: &str, tokens_max: usize) -> Result<String, Fault> {
        let picture = super::picture(image, image_file::decode)?;
        let (blip3o, reader) = (&self.blip3o, &self.reader);
        let seen = reader.look(blip3o, &picture).map_err(|error| bad(image, &error))?;
        let question = reader.question(blip3o, question).map_err(misread)?;
        reader.answer(blip3o, &seen, &question, tokens_max).map_err(misread)
    }

    fn draw(
        &self,
        captions: &[&str],
        range: Range<usize>,
        seed: u64,
    ) -> Result<Vec<Drawing>, Fault> {
        let draw = |stream: usize| {
            let text = self.reader.caption(&self.blip3o, captions[stream]).map_err(misread)?;
            Ok(Drawing::Features(self.blip3o.features_file(&text, (seed, stream as u64))))
        };
        range.map(draw).collect()
    }

    fn batch_max(&self) -> usize {
        1
    }
}

/// The bytes of the tower in a checkpoint's folder, as it is kept while it makes targets; none if
/// there is no tower.
///
/// # Errors
/// If its files are damaged.
pub fn tower_bytes(folder: &Path) -> Result<Option<u64>, Fault> {
    let files = tower_files(folder)?;
    Ok(files.map(|files| files.tensors().values().map(|place| place.bytes as u64).sum()))
}

fn tower_files(folder: &Path) -> Result<Option<TensorFiles>, Fault> {
    let folder = folder.join(FOLDER);
    match folder.is_dir() {
        true => TensorFiles::open(&folder)
            .map(Some)
            .map_err(|error| bad(&folder, &error).hint(COPY_AGAIN)),
        false => Ok(None),
    }
}

/// The digest of files, each with its name.
fn digest_of(kind: &str, files: impl Iterator<Item = PathBuf>) -> Result<[u8; 32], Fault> {
    let mut whole = blake3::Hasher::new_derive_key(kind);
    for path in files {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let mut hasher = blake3::Hasher::new();
        File::open(&path)
            .and_then(|file| hasher.update_reader(file).map(drop))
            .map_err(|error| bad(&path, &error))?;
        whole.update(format!("{name} {}\n", hasher.finalize().to_hex()).as_bytes());
    }
    Ok(*whole.finalize().as_bytes())
}

/// What is made once, because it reads gigabytes.
fn kept<T: Copy>(cell: &OnceLock<T>, make: impl Fn() -> Result<T, Fault>) -> Result<T, Fault> {
    match cell.get() {
        Some(made) => Ok(*made),
        None => {
            let made = make()?;
            Ok(*cell.get_or_init(|| made))
        }
    }
}

fn misread(error: ReadError) -> Fault {
    Fault::input(error).hint("tokenizer.json must be the one that belongs to the weights")
}

fn bad(path: &Path, error: &dyn Display) -> Fault {
    Fault::input(format!("{}: {error}", path.display()))
}

const COPY_AGAIN: &str = "copy the tower again from where it came from";
/// FedUMM's rank.
const RANK: usize = 16;
/// What says how weights are used, beside them.
const OTHERS: [&str; 3] = ["config.json", "preprocessor_config.json", "tokenizer.json"];
