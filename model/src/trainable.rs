//! What a federation adapts: one face for every model, opened from a folder or from the program
//! itself.
//!
//! A [`BaseModel`] is known but not loaded: its digest, the layers an adapter can be put beside,
//! what it can be taught. [`BaseModel::load`] makes a [`Trainable`], which reads data, trains an
//! adapter, answers and draws. Nobody outside [`open`] asks which model it is; one that is a
//! process of its own would implement the same two traits.

mod checkpoint;
mod embedded;
mod evaluate;
mod train;

use std::any::Any;
use std::fmt;
use std::ops::{ControlFlow, Range};
use std::path::Path;
use std::sync::Arc;

use witan_adapter::{Adaptable, Adapter, Committed, LoraConfig, Strategy, peft, strategy};
use witan_data::Part;
use witan_data::fault::Fault;
use witan_data::source::{DataSource, Teachable};
use witan_data::tokenizer::Tokenizer;
use witan_data::{Dataset, Picture};

use crate::device::Device;
use crate::families::blip3o;
pub use crate::families::blip3o::tower::FOLDER as TOWER_FOLDER;
use crate::train::{Step, TrainPlan, Trained, TrainingState};
pub use checkpoint::{Checkpoint, tower_bytes};
pub use embedded::Embedded;
pub use evaluate::{Drawings, EvaluationData, Progress, evaluate, unwritten};

/// Hears how many of how many are done, and may stop the rest.
pub type Count<'a> = &'a mut dyn FnMut(usize, usize) -> ControlFlow<()>;

/// The model in the program, or the checkpoint in a folder.
///
/// # Errors
/// If the folder holds no whole BLIP3o.
pub fn open(folder: Option<&Path>) -> Result<Arc<dyn BaseModel>, Fault> {
    Ok(match folder {
        None => Arc::new(Embedded::open()),
        Some(folder) => Arc::new(Checkpoint::open(folder)?),
    })
}

/// A frozen model that adapters are made for, not loaded.
pub trait BaseModel: fmt::Debug + Send + Sync {
    /// The digest by which a federation names it: of all that says what it computes.
    ///
    /// # Errors
    /// If a file cannot be read.
    fn digest(&self) -> Result<[u8; 32], Fault>;

    /// The digest of the tower that makes its drawings' targets; none if it needs none, or has
    /// none.
    ///
    /// # Errors
    /// If a file cannot be read.
    fn tower_digest(&self) -> Result<Option<[u8; 32]>, Fault> {
        Ok(None)
    }

    /// The folder it lies in; none of the one in the program.
    fn folder(&self) -> Option<&Path>;

    /// How an adapter of it is made unless a federation says otherwise.
    fn lora(&self) -> LoraConfig;

    /// The layers that an adapter can be put beside.
    fn adaptable(&self) -> &Adaptable;

    /// How many numbers it holds.
    fn parameter_count(&self) -> u64;

    /// The only words it knows; none: it reads all.
    fn words(&self) -> Option<&Tokenizer>;

    /// What it draws.
    fn drawing(&self) -> DrawingKind;

    /// Whether it can be taught to draw.
    ///
    /// # Errors
    /// If what that needs is damaged.
    fn learns_captions(&self) -> Result<bool, Fault>;

    /// Refuses a strategy that cannot be used with it.
    ///
    /// # Errors
    /// Why not.
    fn check_strategy(&self, strategy: &Strategy) -> Result<(), Fault>;

    /// How many of it one machine has room for, whatever its cores.
    fn loaded_max(&self) -> usize;

    /// What drawings of captioned pictures should become, kept in the folder `cache`; those that
    /// are not there are made. Made before the model is loaded, because what makes them is as
    /// large.
    ///
    /// # Errors
    /// If a picture cannot be read, the disk refuses, or it was stopped.
    fn targets(
        &self,
        data: &Dataset,
        cache: &Path,
        device: &Device,
        count: Count<'_>,
    ) -> Result<Targets, Fault>;

    /// Loads it, with room for an adapter.
    ///
    /// # Errors
    /// If it cannot be loaded.
    fn load(&self, lora: &LoraConfig, device: &Device) -> Result<Box<dyn Trainable>, Fault>;

    /// The adapter before round 1: it changes nothing, and is the same on every member.
    fn initial_adapter(&self, lora: &LoraConfig, seed: u64) -> Adapter {
        Adapter::init(self.adaptable(), lora, seed)
    }

    /// An adapter for it that Python's peft or `witan export` wrote.
    ///
    /// # Errors
    /// If it is none, or another model's.
    fn import(&self, adapter: &Path) -> Result<(Adapter, LoraConfig), Fault> {
        peft::import(adapter, self.adaptable()).map_err(|error| {
            let message = format!("{}: {error}", adapter.display());
            Fault::input(message).hint(match self.folder() {
                None => {
                    "give a folder that `witan export --peft` wrote of the embedded model, or a \
                     plain LoRA of it that Python's peft saved; --model names a checkpoint"
                }
                Some(_) => {
                    "give a folder that `witan export --peft` wrote of this checkpoint, or a plain \
                     LoRA of it that Python's peft saved"
                }
            })
        })
    }

    /// Refuses a LoRA target that no layer is called by.
    ///
    /// # Errors
    /// Which it is.
    fn check_targets(&self, lora: &LoraConfig) -> Result<(), Fault> {
        let initial = self.initial_adapter(lora, 0);
        let layers: Vec<_> = strategy::layers(&initial).map(|layer| layer.path).collect();
        let adapts_none = |target: &&String| {
            let one = LoraConfig { targets: vec![target.to_string()], ..lora.clone() };
            !layers.iter().any(|layer| one.adapts(layer))
        };
        match lora.targets.iter().find(adapts_none) {
            None => Ok(()),
            Some(target) => {
                let usual = self.lora().targets.join(",");
                let message = format!("LoRA's targets: no layer of the model is called {target:?}");
                Err(Fault::input(message)
                    .hint(format!("name the ends of layers' names; usual are {usual}")))
            }
        }
    }

    /// Which kinds of example data have that it can learn.
    ///
    /// # Errors
    /// If the source is wrong, or what teaches it to draw is damaged.
    fn teachable(&self, data: &DataSource) -> Result<Teachable, Fault> {
        let teachable = data.teachable(self.words())?;
        Ok(Teachable { captions: teachable.captions && self.learns_captions()?, ..teachable })
    }

    /// What to do about data it cannot learn.
    fn teaching_hint(&self) -> &'static str {
        match self.words() {
            Some(_) => "the words a member can be taught: witan ask --words",
            None => {
                "see that every picture can be read; docs/INSTITUTIONS.md says what captions need"
            }
        }
    }
}

/// A loaded model with an adapter in.
pub trait Trainable: Send {
    /// Puts in what a round committed.
    ///
    /// # Errors
    /// If it is not of this model.
    fn adopt(&mut self, committed: &Committed) -> Result<(), Fault>;

    /// Reads data; captions are trained on only as far as there are targets for them.
    ///
    /// # Errors
    /// If the model cannot read them.
    fn read(&self, data: &Dataset, targets: Targets) -> Result<TrainingData, Fault>;

    /// Reads a part of data that were read as a whole; `targets` makes those of the part, if they
    /// are needed.
    ///
    /// # Errors
    /// As [`Trainable::read`], or what `targets` says.
    fn read_part(
        &self,
        whole: (&Dataset, &TrainingData),
        part: &Part,
        targets: &dyn Fn(&Dataset) -> Result<Targets, Fault>,
    ) -> Result<TrainingData, Fault>;

    /// Trains an adapter; the model holds it afterwards.
    ///
    /// # Errors
    /// If the loss leaves the finite numbers, data cannot be read any more, or it was stopped.
    fn train(
        &mut self,
        task: &TrainTask<'_>,
        observer: &mut dyn TrainObserver,
    ) -> Result<Trained, Fault>;

    /// The answers to some questions of data that were read.
    ///
    /// # Errors
    /// If data cannot be read any more.
    fn answers(&self, data: &TrainingData, questions: Range<usize>) -> Result<Vec<String>, Fault>;

    /// The answer to a question about the picture in a file, of at most so many tokens.
    ///
    /// # Errors
    /// If the file is no picture, or the question cannot be read.
    fn answer(&self, image: &Path, question: &str, tokens_max: usize) -> Result<String, Fault>;

    /// Draws some of the captions; caption `i` starts from stream `i` of the seed's noise.
    ///
    /// # Errors
    /// If a caption cannot be read.
    fn draw(
        &self,
        captions: &[&str],
        range: Range<usize>,
        seed: u64,
    ) -> Result<Vec<Drawing>, Fault>;

    /// Questions or drawings computed together: between two of them progress is reported and a stop
    /// heard.
    fn batch_max(&self) -> usize;
}

/// What a model draws.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DrawingKind {
    /// Pictures.
    Pixels,
    /// Features, from which a decoder of the model's own makes pictures; nothing here judges them.
    Features,
}

/// A drawing.
#[derive(Clone, Debug)]
pub enum Drawing {
    /// A picture.
    Pixels(Picture),
    /// The features of one, as a safetensors file: `features`, `[1, places, channels]`.
    Features(Vec<u8>),
}

impl DrawingKind {
    /// The ending of its files.
    pub fn ending(self) -> &'static str {
        match self {
            Self::Pixels => "png",
            Self::Features => "safetensors",
        }
    }
}

impl Drawing {
    /// What it is.
    pub fn kind(&self) -> DrawingKind {
        match self {
            Self::Pixels(_) => DrawingKind::Pixels,
            Self::Features(_) => DrawingKind::Features,
        }
    }

    /// The bytes of its file.
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Pixels(picture) => picture.to_png().expect("a drawing has a picture's size"),
            Self::Features(bytes) => bytes.clone(),
        }
    }

    /// The picture, if it is one.
    pub fn picture(self) -> Option<Picture> {
        match self {
            Self::Pixels(picture) => Some(picture),
            Self::Features(_) => None,
        }
    }
}

/// What drawings should become; none where a model makes them itself, or nothing makes them.
#[derive(Clone, Debug, Default)]
pub struct Targets(Option<blip3o::Targets>);

/// Data as a model has read them; only models of the same base can use them.
#[derive(Clone)]
pub struct TrainingData {
    read: Arc<dyn Any + Send + Sync>,
    questions: usize,
    captions: usize,
    /// What is left out of them, in words.
    pub left_out: Option<String>,
    /// Why there is nothing to train on, if there is nothing.
    nothing: Option<Fault>,
}

impl TrainingData {
    /// Refuses data that have nothing to learn.
    ///
    /// # Errors
    /// What they lack.
    pub fn require_any(&self) -> Result<(), Fault> {
        self.nothing.clone().map_or(Ok(()), Err)
    }

    /// Whether a plan's batches take anything of them.
    pub fn teaches(&self, plan: &TrainPlan) -> bool {
        let takes = |have: usize, batch: usize| have > 0 && batch > 0;
        takes(self.questions, plan.batch_questions) || takes(self.captions, plan.batch_captions)
    }

    fn of<T: 'static>(&self) -> &T {
        self.read.downcast_ref().expect("data are used by the model that read them")
    }
}

/// One adapter to train.
pub struct TrainTask<'a> {
    /// What it starts from.
    pub start: &'a Adapter,
    /// What it learns from.
    pub data: &'a TrainingData,
    /// How.
    pub plan: &'a TrainPlan,
    /// Where an earlier run left it.
    pub paused: Option<TrainingState>,
}

/// Hears of a training.
pub trait TrainObserver: Send {
    /// A step was taken.
    fn on_step(&mut self, step: Step) -> Next;

    /// The training's state, to be kept: when [`Next::Keep`] asks for it, and before the training
    /// ends, whatever ends it.
    ///
    /// # Errors
    /// If it cannot be kept; the training ends.
    fn keep(&mut self, _state: &dyn Fn() -> TrainingState) -> Result<(), Fault> {
        Ok(())
    }
}

impl<F: FnMut(Step) -> Next + Send> TrainObserver for F {
    fn on_step(&mut self, step: Step) -> Next {
        self(step)
    }
}

/// What a training does after a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Takes the next step.
    Step,
    /// Has its state kept, then takes the next step.
    Keep,
    /// Ends early.
    Stop,
}

/// The picture in a file.
fn picture<T, E: fmt::Display>(
    image: &Path,
    decode: impl FnOnce(&[u8]) -> Result<T, E>,
) -> Result<T, Fault> {
    let named = |error: &dyn fmt::Display| {
        Fault::input(format!("{}: {error}", image.display()))
            .hint("give a PNG or JPEG file; `witan draw` makes one")
    };
    let bytes = std::fs::read(image).map_err(|error| named(&error))?;
    decode(&bytes).map_err(|error| named(&error))
}

#[cfg(test)]
mod tests;
